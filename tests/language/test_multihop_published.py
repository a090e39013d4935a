"""Recorded transcripts of published models through the path of live ones (`SUREFOOT_DATA`)."""

import gzip
import json
import os
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from surefoot.language import (
    RELATIONS,
    Asking,
    Request,
    ScriptedClient,
    ask_multihop,
    birthplace_facts,
    country_facts,
    gap_table,
    is_right,
    our_prompts,
    parse_completion,
    read_multihop,
    read_prompts,
)
from surefoot.stats import wilson

ROOT = os.environ.get("SUREFOOT_DATA")
pytestmark = pytest.mark.skipif(not ROOT, reason="SUREFOOT_DATA is not set")
DATA = Path(ROOT or ".") / "multihop"
NAMES = {"direct": "direct_answer", "chain_of_thought": "chain_of_thought", "self_ask": "self_ask"}
# Of raw completions on Bamboogle, by the rule `cover`: questions with known hops, and those lost by each strategy.
BAMBOOGLE = {"text-davinci-002": (44, (26, 19, 5), (59, 43, 11)), "gpt-3.5-turbo": (70, (30, 20, 13), (43, 29, 19))}


def _rows(model: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / "transcripts" / f"bamboogle_{model}.json.gz") as stream:
        return json.load(stream)["per_question_results"]


def _recorded(model: str) -> ScriptedClient:
    known: dict[str, str] = {}
    for row in _rows(model):
        known |= {_squeezed(row[name]["prompt"]): row[name]["returned"] for name in NAMES.values()}
        hops = row["subquestions_result"]
        known |= {_squeezed(hops[f"{hop}_prompt"]): hops[f"{hop}_returned"] for hop in ("Q1", "Q2")}

    def answer(request: Request) -> str:
        return known.get(_squeezed(request.prompt), "")  # asking with the bridge given is ours: nobody recorded it

    return ScriptedClient(script=answer, name=model)


@pytest.mark.parametrize("model", BAMBOOGLE)
def test_recorded_completions_give_the_recomputed_gaps_of_bamboogle(model: str) -> None:
    questions = read_multihop(DATA / "bamboogle.json").questions
    as_published = Asking(force=False, stop=())
    prompts = read_prompts(DATA / "bamboogle_prompts.json")
    run = ask_multihop(_recorded(model), questions, list(NAMES), prompts=prompts, asking=as_published)
    given = [*chain.from_iterable(run.answers.values()), *chain.from_iterable(run.hop_answers)]
    assert all(answer.trace.calls[0].completion.text for answer in given)
    rows = [row for row in gap_table(run).records() if row["rule"] == "cover"]
    known, lost, percent = BAMBOOGLE[model]
    assert [row["hops known"] for row in rows] == [known] * 3
    assert tuple(row["whole wrong"] for row in rows) == lost
    assert tuple(round(100 * row["gap"]) for row in rows) == percent


def _squeezed(prompt: str) -> str:
    """A question of the file begins with a space, and published prompts end with one."""
    return " ".join(prompt.split())


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("text-davinci-002", (45.7, 5.8, 5.2)),
        ("gpt-3.5-turbo", (45.9, 15.8, 7.6)),
        ("babbage", (56, 14, 18)),
        ("ada", (63, 28, 34)),
    ],
)
def test_published_summaries_give_the_gaps_of_compositional_celebrities(
    model: str, expected: tuple[float, ...]
) -> None:
    path = DATA / "transcripts" / f"compositional_celebrities_summary_{model}.json"
    told = json.loads(path.read_text())["summary"]
    known = told["both_subquestions_correct_EM"]
    for name, percent in zip(NAMES.values(), expected, strict=True):
        lost = told[f"full_question_{name}_wrong_when_subquestions_correct_EM"]
        gap = wilson(lost, known)
        assert round(100 * gap.estimate, 1 if isinstance(percent, float) else None) == percent
        assert gap.low < gap.estimate < gap.high


def test_every_recorded_trace_can_be_taken_apart() -> None:
    read = 0
    for model in BAMBOOGLE:
        for row in _rows(model):
            for style in ("self_ask", "self_ask_zero_shot", "self_ask_two_hop_zero_shot"):
                said = row[style]["returned"]
                parsed = parse_completion(said)
                heads = ("follow up:", "follow-up 1", "subquestion 1")
                assert bool(parsed.follow_ups) == any(head in said.lower() for head in heads), said
                assert all(answer for _, answer in parsed.follow_ups[:-1]), said
                assert (parsed.answer is not None) == ("final answer" in said.lower()), said
                read += 1
    assert read == 750


def test_the_formats_of_the_data_folder_are_read() -> None:
    celebrities = read_multihop(DATA / "compositional_celebrities_subset.json")
    assert (celebrities.format, len(celebrities.questions)) == ("compositional-celebrities", 1000)
    prompts = read_prompts(DATA / "prompts.json")
    assert all(prompts.self_ask(one.question, one.category) for one in celebrities.questions)
    assert all(prompts.sub_question(one.question, 1, one.category) for one in celebrities.questions)
    assert our_prompts().direct(celebrities.questions[0].question, celebrities.questions[0].category)


def test_countries_give_the_second_hops_of_compositional_celebrities() -> None:
    values = {(fact.subject.casefold(), fact.relation): fact.object for fact in country_facts()}
    heads = "capital callingcode ccn3 tld currency currency_short currency_symbol rounded_lat rounded_lng"
    names = (*heads.split(), *(f"{language}_common_name" for language in ("jpn", "rus", "est", "urd", "spa")))
    relation_of = dict(zip((f"birthplace_{name}" for name in names), RELATIONS, strict=True))
    asked = [
        one
        for one in read_multihop(DATA / "compositional_celebrities_subset.json").questions
        if "place" in one.category
    ]
    same = 0
    for one in asked:
        found = values.get((one.hops[0].answers[0].casefold(), relation_of[one.category]), "")
        same += is_right("exact", found, "", one.answers)
    assert (same, len(asked)) == (734, 752)
    assert len(birthplace_facts(asked)) == 387
