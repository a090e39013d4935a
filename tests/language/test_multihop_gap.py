"""The gap of runs whose answers are known, its causes, and the file from which its tables are made again."""

import gzip
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from surefoot.core import SurefootError
from surefoot.examples import compare_examples, read_examples
from surefoot.language import (
    CAUSES,
    STRATEGIES,
    Asking,
    Completion,
    Document,
    FollowUp,
    Hop,
    LocalSearch,
    MultiHopQuestion,
    MultiHopRun,
    Request,
    ScriptedClient,
    Trace,
    TracedAnswer,
    agreement_table,
    ask_multihop,
    cause_of_loss,
    causes_figure,
    causes_table,
    gap_table,
    is_right,
    pairs_table,
    read_multihop,
    read_run,
    run_notes,
    write_run,
    write_run_examples,
)
from surefoot.stats import mcnemar, wilson

N = 40


def _question(at: int) -> MultiHopQuestion:
    return MultiHopQuestion(
        id=f"q{at}",
        question=f"What is the capital of the birthplace of Person{at}?",
        answers=(f"City{at}",),
        hops=(
            Hop(question=f"Where was Person{at} born?", answers=(f"Land{at}",), supports=(f"b{at}",)),
            Hop(question=f"What is the capital of Land{at}?", answers=(f"City{at}",), supports=(f"c{at}",)),
        ),
    )


QUESTIONS = [_question(at) for at in range(N)]
DOCUMENTS = [Document(id=f"b{at}", text=f"Person{at} was born in Land{at}.") for at in range(N)]
DOCUMENTS += [Document(id=f"c{at}", text=f"City{at} is the capital of Land{at}.") for at in range(0, N, 2)]


def _model(request: Request) -> str:
    """Knows the first hop of all but each tenth, the second of all; each third question, and the others with help."""
    mine = request.prompt.rsplit("Question: ", 1)[1]
    at = int("".join(mark for mark in mine.split("Person")[-1].split("Land")[-1] if mark.isdigit())[:2] or 0)
    at = int(mine.split("Person")[1].split("?")[0].split(" ")[0]) if "Person" in mine else at
    if "Are follow up" in mine:
        if "City" in mine or "capital of Land" in mine:
            return f"So the final answer is: City{at}."
        return f"Follow up: {'What is the capital of Land' if 'Land' in mine else 'Where was Person'}{at}?"
    if mine.startswith("Where was") and "capital" not in mine:
        return "Nobody knows" if at % 10 == 0 else f"Land{at}."
    if "birthplace" in mine and "Land" not in mine:
        return f"City{at}" if at % 3 == 0 else "No idea"
    return f"The city of City{at}"


@pytest.fixture(scope="module")
def run() -> MultiHopRun:
    client = ScriptedClient(script=_model)
    return ask_multihop(client, QUESTIONS, STRATEGIES, search=LocalSearch(DOCUMENTS), asking=Asking(hops=3))


def _row(table: object, **wanted: object) -> dict[str, object]:
    (row,) = [row for row in table.records() if all(row[name] == value for name, value in wanted.items())]  # pyright: ignore[reportAttributeAccessIssue]
    return row


def test_the_gap_is_its_definition_and_its_interval_wilsons(run: MultiHopRun) -> None:
    row = _row(gap_table(run), rule="cover_answer", strategy="direct")
    known = [at for at in range(N) if at % 10]
    lost = [at for at in known if at % 3]
    expected = wilson(len(lost), len(known))
    assert (row["hops known"], row["whole wrong"]) == (len(known), len(lost))
    assert (row["gap"], row["gap low"], row["gap high"]) == (expected.estimate, expected.low, expected.high)
    assert row["right without hops"] == sum(at % 10 == 0 and at % 3 == 0 for at in range(N))
    assert row["accuracy"] == sum(at % 3 == 0 for at in range(N)) / N
    assert row["note"] == ""


def test_without_a_known_question_the_gap_is_undefined_and_on_few_it_is_warned_of(run: MultiHopRun) -> None:
    row = _row(gap_table(run), rule="exact", strategy="direct")  # "The city of ..." is never exact
    assert (row["hops known"], row["gap"], row["gap low"]) == (0, None, None)
    assert row["note"] == "gap undefined: no question has all its sub-questions right"
    few = ask_multihop(ScriptedClient(script=_model), QUESTIONS[:20], ["direct"], of=N)
    note = _row(gap_table(few), rule="cover", strategy="direct")["note"]
    assert note == f"gap on fewer than 30 questions; a sample of {N}: not to be compared with all"


def test_a_question_without_sub_questions_counts_for_accuracy_alone() -> None:
    whole = [replace(one, hops=()) if at % 2 else one for at, one in enumerate(QUESTIONS)]
    found = ask_multihop(ScriptedClient(script=_model), whole, ["direct"])
    row = _row(gap_table(found), rule="cover_answer", strategy="direct")
    assert row["accuracy"] == sum(at % 3 == 0 for at in range(N)) / N
    assert row["hops known"] == sum(at % 10 > 0 and at % 2 == 0 for at in range(N))
    assert row["right without hops"] == sum(at % 10 == 0 and at % 3 == 0 for at in range(N))
    assert "20 questions have fewer than two sub-questions, or not" in " ".join(run_notes(found))


def test_recall_of_supports_stands_beside_accuracy_or_is_not_measured(run: MultiHopRun) -> None:
    row = _row(gap_table(run), rule="cover", strategy="self_ask_search")
    assert row["recall on"] == N
    assert row["recall"] == 0.5 + 0.5 * 0.5  # the second document is there for each other question
    bare = [replace(one, hops=tuple(replace(hop, supports=()) for hop in one.hops)) for one in QUESTIONS[:3]]
    found = ask_multihop(ScriptedClient(script=_model), bare, ["self_ask_search"], search=LocalSearch(DOCUMENTS))
    row = _row(gap_table(found), rule="cover", strategy="self_ask_search")
    assert row["recall"] is None
    assert "recall not measured" in str(row["note"])


def test_strategies_are_compared_on_the_same_questions_by_mcnemars_exact_test(run: MultiHopRun) -> None:
    row = _row(pairs_table(run), rule="cover_answer", measure="accuracy", first="direct", second="self_ask_search")
    first = [at % 3 == 0 for at in range(N)]
    assert row["questions"] == N
    assert row["p"] == mcnemar(first, [True] * N).p
    assert row["difference"] == 1 - sum(first) / N
    gap = _row(pairs_table(run), rule="cover_answer", measure="gap", first="direct", second="self_ask_search")
    both = gap_table(run)
    gaps = [_row(both, rule="cover_answer", strategy=name)["gap"] for name in ("direct", "self_ask_search")]
    assert gap["difference"] == pytest.approx(gaps[1] - gaps[0])  # pyright: ignore[reportOperatorIssue]
    assert not [row for row in pairs_table(run).records() if row["rule"] == "exact" and row["measure"] == "gap"]


def test_a_judge_stands_beside_the_rules_and_its_agreement_is_shown(run: MultiHopRun) -> None:
    asked: list[str] = []

    def judging(request: Request) -> str:
        asked.append(request.prompt)
        told = dict(line.split(": ", 1) for line in request.prompt.split("\n\n")[1].split("\n")[:3])
        return (
            "I cannot say"
            if "Nobody" in told["Answer"]
            else "\n\nYes."
            if told["Right answer"] in told["Answer"]
            else "no"
        )

    client, judge = ScriptedClient(script=_model), ScriptedClient(script=judging, name="strict")
    judged = ask_multihop(client, QUESTIONS, ["direct", "chain_of_thought"], judge=judge)
    assert len(asked) == len(set(asked))
    alone = gap_table(ask_multihop(client, QUESTIONS, ["direct", "chain_of_thought"]))
    beside = gap_table(judged)
    assert [row for row in beside.rows if row[0] != "judge"] == list(alone.rows)  # rules are as without a judge
    assert _row(beside, rule="judge", strategy="direct")["hops known"] == N - 4
    row = _row(agreement_table(judged), rule="cover_answer")
    assert (row["judge"], row["agreement"], row["kappa"]) == ("strict", 1.0, 1.0)
    assert 0.8 < float(str(row["low"])) < 1.0
    assert "4 answers; they count as wrong" in " ".join(run_notes(judged))


@pytest.mark.parametrize(
    ("rule", "answer", "gold", "right"),
    [
        ("exact", "The Titan, IIIE", "titan iiie", True),
        ("exact", "-5", "5", False),
        ("exact", "−5", "-5", True),
        ("exact", "1,812", "1812", True),
        ("exact", "1.5", "15", False),
        ("exact", "$", "£", False),
        ("exact", "", "$", False),
        ("exact", "$", "$", True),
        ("exact", "10:30", "10:30", True),
        ("exact", "", "a", False),
        *(("exact", f"{before}1812{after}", "1812", True) for before, after in [("**", "**."), ("(", ")"), ("", "!")]),
        ("exact", "the 1812", "1812", True),
        ("exact", "$5", "5", True),
        ("exact", "5.0", "5", True),
        ("exact", ".5", "5", False),
        ("exact", "(-5)", "-5", True),
        ("exact", "1812 AD", "1812", False),
        ("exact", "9007199254740993", "9007199254740992", False),
        ("exact", "Cafe\u0301", "Caf\u00e9", True),
        ("cover", "the Cafe\u0301 Noir", "Caf\u00e9", True),
        ("cover_answer", "-29 days", "29 days", False),
        ("cover_answer", "3.5 million people", "35 million", False),
        ("cover_answer", "1990-1995", "1995", True),
        ("f1", "-29", "29", False),
        ("f1", "3.5", "35", False),
        ("f1", "1.000", "1000", False),
        ("f1", "1,000.0", "1000", True),
        ("cover", "It was James Madison of course", "james madison", True),
        ("cover", "1989", "9", True),
        ("cover_answer", "1989", "9", False),
        ("cover_answer", "June 16, 1812", "1812", True),
        ("cover_answer", "-5 degrees", "5", False),
        ("cover_answer", "+91", "+91", True),
        ("cover_answer", "New York City", "york city", True),
        ("cover_answer", "Madison", "James Madison", False),
        ("cover_answer", "", "x", False),
        ("f1", "James K. Madison", "James Madison", True),
        ("f1", "Madison of the United States", "James Madison", False),
        ("f1", "", "x", False),
    ],
)
def test_rules(rule: str, answer: str, gold: str, right: bool) -> None:
    assert is_right(rule, answer, answer, (gold,)) is right


def _traced(text: str, ended: str, *steps: tuple[str, str], strategy: str = "self_ask") -> TracedAnswer:
    told = "".join(f"Follow up: {asked}\nIntermediate answer: {found}.\n" for asked, found in steps)
    follow_ups = tuple(FollowUp(question=asked, answer=found) for asked, found in steps)
    return TracedAnswer(
        text=text, trace=Trace(strategy, f"{told}So the final answer is: {text}", ended, (), follow_ups)
    )  # pyright: ignore[reportArgumentType]


def _planted(cause: str, at: int, chance: random.Random) -> TracedAnswer:
    one, other = _question(at), chance.randrange(100, 200)
    hops = [hop.question for hop in one.hops]
    right = (hops[0], f"Land{at}")
    if cause == "wrong fact":
        steps = ((hops[0], f"Land{other}"), (f"What is the capital of Land{other}?", f"City{other}"))
        return _traced(f"City{other}", "answered", *steps)
    if cause == "wrong order":
        steps = [(hops[1], f"City{other}"), right]
        return _traced(chance.choice([f"Land{at}", f"City{other}"]), chance.choice(["answered", "asked"]), *steps)
    if cause == "parser":
        return _traced("", "no answer", right, (hops[1], f"City{at}"))
    if cause == "hop limit":
        return _traced(f"Land{at}", "hop limit", *[right] * 4)
    return _traced(
        chance.choice([f"It is City{at}.", f"the city-of-City{at}", f"CITY{at}, Land{at}"]), "answered", right
    )


TRUE_CAUSE = {
    "wrong fact": "bridge not found",
    "wrong order": "second hop not applied",
    "parser": "no answer",
    "hop limit": "no answer",
    "spelling": "not recognised",
}


def test_a_longer_name_is_not_the_name_that_it_holds() -> None:
    one = replace(_question(1), answers=("Niger",))
    assert (
        cause_of_loss(one, _traced("Nigeria", "answered", (one.hops[0].question, "Land1"))) == "second hop not applied"
    )


def test_planted_causes_are_named_right() -> None:
    chance = random.Random(0)
    planted = [(cause, at) for at in range(80) for cause in TRUE_CAUSE]
    found = [cause_of_loss(_question(at), _planted(cause, at, chance)) for cause, at in planted]
    right = Counter(cause for (cause, _), name in zip(planted, found, strict=True) if name == TRUE_CAUSE[cause])
    assert len(planted) == 400
    assert right.total() >= 0.95 * 400, right
    assert all(count >= 0.95 * 80 for count in right.values()), right


def test_without_steps_the_bridge_is_given_to_tell_causes_apart(run: MultiHopRun) -> None:
    row = _row(causes_table(run), rule="cover_answer", strategy="direct", cause="bridge not found")
    assert row["from"] == "bridge given"
    assert row["questions"] == sum(bool(at % 10 and at % 3) for at in range(N))  # with the bridge given it is right
    given = run.bridge_given[7]
    assert given
    told = given.trace.calls[0].request.prompt.rsplit("Question: ", 1)[1]
    assert told == f"Where was Person7 born? Land7. {QUESTIONS[7].question}\nAnswer:"  # and not the second hop
    answer = _traced("No idea", "answered", strategy="direct")
    assert cause_of_loss(_question(1), answer) == "not known"
    assert cause_of_loss(_question(1), answer, with_bridge=False) == "second hop not applied"
    assert cause_of_loss(_question(1), answer, with_bridge=False, judged=True) == "not recognised"


def test_the_causes_of_a_strategy_add_up_to_its_gap_and_make_one_figure(run: MultiHopRun) -> None:
    causes = causes_table(run).records()
    for row in gap_table(run).records():
        own = [one for one in causes if (one["rule"], one["strategy"]) == (row["rule"], row["strategy"])]
        assert sum(one["questions"] for one in own) == row["whole wrong"]
    figure = causes_figure(causes_table(run))
    assert {row["label"] for row in figure.table()} <= set(CAUSES)
    with pytest.raises(SurefootError, match="no question has all its hops right"):
        causes_figure(causes_table(run), "exact")


def test_a_short_name_in_capitals_is_not_the_word() -> None:
    one = replace(_question(1), hops=(Hop(question="Where?", answers=("US",)), _question(1).hops[1]))
    for said, cause in (
        ("Let us think.", "bridge not found"),
        ("In the US.", "second hop not applied"),
        ("In the U.S. of America.", "second hop not applied"),
    ):
        answer = TracedAnswer(text="x", trace=Trace("chain_of_thought", said, "answered", ()))
        assert cause_of_loss(one, answer) == cause


class _Refusing:
    """Says what the script says, and refuses some prompts."""

    name = identity = "refusing"

    def __init__(self, *refused: str, script: Callable[[Request], str]) -> None:
        self.refused, self.script = refused, script

    def answer(self, requests: Sequence[Request]) -> list[Completion]:
        return [
            Completion(text="", finish="error", error="It is refused.")
            if any(part in one.prompt.rsplit("Question: ", 1)[1] for part in self.refused)
            else Completion(text=self.script(one))
            for one in requests
        ]


def test_what_a_server_refused_is_neither_right_nor_wrong(tmp_path: Path) -> None:
    # The reference is the run without the refused questions: 3 (wholly), 4 (its sub-question; with it no gap).
    client = _Refusing("birthplace of Person3?", "Where was Person4 born", script=_model)
    asked = [replace(one, id=f"{at}") for at, one in enumerate(QUESTIONS[1:35], start=1)]
    run = ask_multihop(client, asked, ["direct", "self_ask"])
    write_run(run, tmp_path / "run.jsonl")
    assert gap_table(read_run(tmp_path / "run.jsonl")) == gap_table(run)
    row = _row(gap_table(run), rule="cover_answer", strategy="direct")
    known = [at for at in range(1, 35) if at % 10 and at not in (3, 4)]
    lost = [at for at in known if at % 3]
    assert (row["questions"], row["refused"], row["with hops"]) == (33, 1, 32)
    assert row["accuracy"] == sum(at % 3 == 0 for at in range(1, 35) if at != 3) / 33
    assert (row["hops known"], row["whole wrong"]) == (len(known), len(lost))
    note = "1 questions refused by the server are left out; 1 with a refused sub-question have no gap"
    assert str(row["note"]).startswith(note)
    pair = _row(pairs_table(run), rule="cover_answer", measure="accuracy")
    assert pair["questions"] == 33
    causes = [
        one for one in causes_table(run).records() if (one["rule"], one["strategy"]) == ("cover_answer", "direct")
    ]
    assert sum(one["questions"] for one in causes) == len(lost)
    assert {one["hops known"] for one in causes} == {len(known)}
    (file,) = write_run_examples(replace(run, answers={"direct": run.answers["direct"]}), tmp_path, "cover_answer")
    assert len(read_examples({"a": file, "b": file}).examples) == 33
    assert "3 answers were refused by the server: they count for nothing." in run_notes(run)  # two strategies, one hop
    with pytest.raises(SurefootError, match=r"refusing answered none of \d+ requests: It is refused."):
        ask_multihop(_Refusing("", script=_model), asked, ["direct"])


def test_what_a_judge_refused_is_no_verdict() -> None:
    judge = ScriptedClient(script=lambda request: "no" if "City3\n" in request.prompt else "yes")

    class Judge:
        name = identity = "judge"

        def answer(self, requests: Sequence[Request]) -> list[Completion]:
            refused = Completion(text="", finish="error", error="Filtered.")
            return [refused if "Person9?" in one.prompt else judge.answer([one])[0] for one in requests]

    run = ask_multihop(ScriptedClient(script=_model), QUESTIONS[:20], ["chain_of_thought"], judge=Judge())
    row = _row(gap_table(run), rule="judge")
    assert (row["questions"], row["refused"]) == (19, 1)
    assert not any("neither" in note for note in run_notes(run))
    assert any("server refused" in note for note in run_notes(run))
    assert {row["answers"] for row in agreement_table(run).records()} == {19}
    with pytest.raises(SurefootError, match="refusing answered none of 4 requests"):
        ask_multihop(ScriptedClient(script=_model), QUESTIONS[:1], ["direct"], judge=_Refusing("", script=_model))


def test_a_question_of_one_hop_has_no_gap(tmp_path: Path) -> None:
    path = tmp_path / "bamboogle.json"
    rows = [
        {"Question": one.question, "Answer": one.answers[0]}
        | {f"Q{at}": hop.question for at, hop in zip(places, one.hops, strict=False)}
        | {f"A{at}": hop.answers[0] for at, hop in zip(places, one.hops, strict=False)}
        for one, places in zip(QUESTIONS[1:6], ((1, 2), (1,), (1, 3), (2,), ()), strict=True)
    ]
    path.write_text(json.dumps(rows))
    run = ask_multihop(ScriptedClient(script=_model), read_multihop(path).questions, ["direct"])
    row = _row(gap_table(run), rule="cover_answer")
    assert (row["questions"], row["with hops"], row["hops known"], row["whole wrong"]) == (5, 1, 1, 1)
    assert "4 questions have fewer than two sub-questions" in " ".join(run_notes(run))
    bare = ask_multihop(ScriptedClient(script=_model), read_multihop(path).questions[1:], ["direct"])
    assert _row(gap_table(bare), rule="exact")["note"] == "gap undefined: no question has two sub-questions"


def test_an_empty_completion_is_recorded(tmp_path: Path) -> None:
    run = ask_multihop(ScriptedClient(script=lambda request: ""), QUESTIONS[:2], ["direct", "self_ask"])
    write_run(run, tmp_path / "run.jsonl")
    assert gap_table(read_run(tmp_path / "run.jsonl")) == gap_table(run)
    old = (tmp_path / "run.jsonl").read_text().replace('"text": "", ', "")  # as 0.1 wrote it
    (tmp_path / "run.jsonl").write_text(old)
    assert gap_table(read_run(tmp_path / "run.jsonl")) == gap_table(run)


@pytest.mark.parametrize("name", ["run.jsonl", "run.jsonl.gz"])
def test_a_run_is_measured_again_from_its_file_alone(run: MultiHopRun, tmp_path: Path, name: str) -> None:
    judge = ScriptedClient(script=lambda request: "yes", name="kind")
    judged = ask_multihop(
        ScriptedClient(script=_model), QUESTIONS, STRATEGIES, of=99, search=LocalSearch(DOCUMENTS), judge=judge
    )
    write_run(judged, tmp_path / name)
    again = read_run(tmp_path / name)
    for table in (gap_table, pairs_table, causes_table, agreement_table):
        assert table(again) == table(judged)
    assert run_notes(again) == run_notes(judged)
    write_run(again, tmp_path / f"second-{name}")
    assert (tmp_path / f"second-{name}").read_bytes() == (tmp_path / name).read_bytes()


def test_a_file_that_is_no_run_or_was_cut_is_refused(run: MultiHopRun, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    write_run(run, path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if '"request"' not in line))
    with pytest.raises(SurefootError, match="no answer of script to the prompt that ends"):
        read_run(path)
    path.write_text("\n".join(line for line in lines if '"query"' not in line))
    with pytest.raises(SurefootError, match="No results of bm25"):
        read_run(path)
    head = json.loads(lines[0])
    for broken in ({"a": 1}, head | {"asking": {"hops": "x"}}, head | {"prompts": {"name": 1}}, head | {"of": None}):
        path.write_text("\n".join([json.dumps(broken), *lines[1:]]))
        with pytest.raises(SurefootError, match=r"run\.jsonl"):
            read_run(path)
    path.write_bytes(gzip.compress(b"x")[:-3])
    with pytest.raises(SurefootError):
        read_run(path)


def test_answers_of_strategies_are_examples_that_compare_takes(run: MultiHopRun, tmp_path: Path) -> None:
    files = write_run_examples(run, tmp_path, "cover_answer")
    named = {file.parent.name: file for file in files}
    compared = compare_examples(read_examples({name: named[name] for name in ("direct", "self_ask_search")}))
    row = _row(pairs_table(run), rule="cover_answer", measure="accuracy", first="direct", second="self_ask_search")
    assert compared.models[0].paired.difference.estimate == row["difference"]
    fewer = ask_multihop(ScriptedClient(script=_model), QUESTIONS[:20], ["direct"])
    (other,) = write_run_examples(fewer, tmp_path / "fewer", "cover_answer")
    with pytest.raises(SurefootError, match="20 of 40 examples that not all others have"):
        compare_examples(read_examples({"all": named["direct"], "some": other}))
