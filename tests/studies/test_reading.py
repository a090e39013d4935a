"""The study `reading`: the published findings to the printed digit, and claims that turn with what is planted."""

import csv
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import t

from surefoot.core import Measurement, Results, Step, Store, StoredInputs, SurefootError, Verdict, decide
from surefoot.language import Predictions, Question, QuestionScores, score_questions
from surefoot.laws import AVERAGE, RobustnessFit
from surefoot.report import write_card
from surefoot.studies.reading import (
    PublishedLandscape,
    ReaderCard,
    card_words,
    published_fit,
    published_folder,
    reader_card,
    study,
)
from surefoot.studies.reading._landscape import by_shift, found_in, robustness_of, what_moves_it

Publish = Callable[[Store, Step, list[Measurement]], Path]
DATA = os.environ.get("SUREFOOT_DATA")
GAINS = {
    "icl": 0.12,
    "few-shot prompt": 0.10,
    "prompt finetuned": 0.06,
    "zeroshot": 0.07,
    "few-shot span": 0.0,
    "adapter": 0.0,
    "robust": 0.0,
}
"""What each adaptation has over the line of the fully fine-tuned, as fractions."""
KINDS = {"few-shot prompt": "fewshot", "few-shot span": "fewshot", "adapter": "finetuned", "robust": "finetuned"}


def planted(results: Publish, root: Path, folder: Path) -> Results:
    """The published part of the study on the evaluations in a folder, made with few replicates."""
    store, made = Store(root / "store"), study(published=str(folder), own=False)
    steps = tuple(replace(step, replicates=200) for step in made.steps if isinstance(step, PublishedLandscape))
    for step in steps:
        place = results(store, step, [])
        results(store, step, list(step.make(place, StoredInputs(store))))
    return Results(store, steps)


def verdicts(folder: Path, results: Results) -> dict[str, Verdict]:
    return {claim.name: one for claim, one in decide(study(published=str(folder), own=False).claims, results)}


def models(gains: dict[str, float], noise: float, families: int = 6) -> Iterator[tuple[list[object], list[object]]]:
    """Rows of both published files: a line of fully fine-tuned models, and others with a gain over it."""
    generator = np.random.default_rng(4)

    def scored(name: str, kind: str, family: str, gain: float) -> Iterator[list[object]]:
        x = float(generator.uniform(*((0.2, 0.4) if kind == "zeroshot" else (0.6, 0.94))))
        yield [name, family, "squad", 100 * x, 0.5, 0.5, kind]
        for place, shift in enumerate(("squadshifts_new_wiki", "drop", "race")):
            line = expit(0.7 * logit(x) - 0.4 - 0.3 * place)
            y = float(line) + gain * (1 if place else -0.4) + noise * float(generator.normal())
            yield [name, family, shift, 100 * min(max(y, 0.02), 0.98), 1.0, 1.0, kind]

    named: list[tuple[str, str, float, str]] = [(f"plain-{i}", "finetuned", 0.0, "") for i in range(30)]
    for group, gain in gains.items():
        kind = KINDS.get(group, group)
        mark = {"few-shot prompt": "-mask-fill", "few-shot span": ""}.get(group, "")
        named += [(f"{group.replace(' ', '-')}{mark}-{i}", kind, gain, group) for i in range(12)]
    for place, (name, kind, gain, group) in enumerate(named):
        for row in scored(name, kind, f"family {place % families}", gain):
            yield row, [name, group == "adapter", 100, group == "robust"]


def write(folder: Path, gains: dict[str, float] = GAINS, noise: float = 0.01) -> Path:
    rows = list(models(gains, noise))
    folder.mkdir()
    heads = ("model_name,model_family,dataset,f1,f1_lower,f1_upper,type", "model_name,is_adapter,model_size,is_robust")
    notes = {str(note[0]): note for _, note in rows}
    for name, head, lines in (
        ("published_evaluations.csv", heads[0], [row for row, _ in rows]),
        ("published_evaluations_annotations.csv", heads[1], list(notes.values())),
    ):
        with (folder / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(head.split(","))
            writer.writerows(lines)
    return folder


@pytest.fixture(scope="module")
def world(publish: Publish, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    root = tmp_path_factory.mktemp("reading")
    folder = write(root / "published")
    return folder, planted(publish, root, folder)


def test_what_was_planted_is_what_is_claimed(world: tuple[Path, Results]) -> None:
    folder, results = world
    found = verdicts(folder, results)
    statuses = {name.removeprefix("published: "): one.status for name, one in found.items()}
    assert statuses == {
        "in context": "supported",
        "few-shot prompt": "supported",
        "prompt fine-tuned": "supported",
        "zero-shot": "undecided",
        "few-shot span": "supported",
        "adapter": "supported",
        "robust training": "supported",
        "accuracy decides": "supported",
        "accuracy decides under every shift": "supported",
        "in context on squadshifts_new_wiki": "supported",
    }
    gained = found["published: in context"]
    assert gained.effect == pytest.approx(0.12 * (2 - 0.4) / 3, abs=0.01)
    assert "lie beyond the range of the fully fine-tuned readers" in found["published: zero-shot"].detail
    assert found["published: zero-shot"].low is not None
    assert found["published: zero-shot"].low > 0


def test_bounds_are_those_of_the_landscape_and_shares_have_fishers(world: tuple[Path, Results]) -> None:
    folder, results = world
    found, main = verdicts(folder, results), found_in(results, PublishedLandscape)
    gained, measured = (
        robustness_of(results, PublishedLandscape, "in context"),
        main["mean_effective_robustness", AVERAGE, "in context"],
    )
    assert measured.low is not None and measured.high is not None
    bounds = (measured.low / 100, measured.high / 100)
    claim = found["published: in context"]
    assert (gained.low, gained.high) == (claim.low, claim.high) == pytest.approx(bounds)
    assert gained.freedom == measured.n - 1 == 11
    assert gained.stderr == pytest.approx((bounds[1] - bounds[0]) / 2 / t.ppf(0.975, 11))
    # Of all three shifts together: the least was chosen by its value.
    for name, shifts in (("accuracy decides", 1), ("accuracy decides under every shift", 3)):
        share = found[f"published: {name}"]
        assert share.effect is not None and share.n == 30
        half = t.ppf(1 - 0.025 / shifts, 27) / 27**0.5
        bounds = tuple(np.tanh(np.arctanh(share.effect**0.5) + np.array([-half, half])) ** 2)
        assert (share.low, share.high) == pytest.approx(bounds)
        error = (bounds[1] - bounds[0]) / 2 / t.ppf(0.975, 27)
        assert f"; p {2 * t.sf(abs(share.effect - 0.8) / error, 27):.2g}, among" in share.detail


def test_gains_with_the_other_sign_contradict_and_losses_are_differences(publish: Publish, tmp_path: Path) -> None:
    gains = {group: -gain for group, gain in GAINS.items()} | {"adapter": -0.1, "robust": 0.1}
    folder = write(tmp_path / "published", gains)
    found = verdicts(folder, planted(publish, tmp_path, folder))
    for name in ("in context", "few-shot prompt", "prompt fine-tuned", "adapter", "robust training"):
        assert found[f"published: {name}"].status == "contradicted", name
    assert found["published: in context on squadshifts_new_wiki"].status == "contradicted"
    assert found["published: adapter"].bound == pytest.approx(-0.03)
    assert found["published: robust training"].bound == pytest.approx(0.03)


def test_what_is_too_noisy_to_tell_is_neither_a_gain_nor_none(publish: Publish, tmp_path: Path) -> None:
    folder = write(tmp_path / "published", dict.fromkeys(GAINS, 0.0), noise=0.12)
    found = verdicts(folder, planted(publish, tmp_path, folder))
    assert {found[f"published: {name}"].status for name in ("in context", "few-shot prompt")} == {"undecided"}
    assert found["published: adapter"].status == "undecided"
    assert found["published: accuracy decides under every shift"].status != "supported"


def test_families_drawn_whole_are_another_interval_and_are_told(world: tuple[Path, Results]) -> None:
    _, results = world
    alone = found_in(results, PublishedLandscape)["mean_effective_robustness", AVERAGE, "in context"]
    whole = found_in(results, PublishedLandscape, cluster=True)["mean_effective_robustness", AVERAGE, "in context"]
    assert (alone.low, alone.high) != (whole.low, whole.high)
    assert alone.value == whole.value


def test_a_folder_must_be_named_and_what_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUREFOOT_DATA", raising=False)
    with pytest.raises(SurefootError, match="-o published=DIR"):
        published_folder()
    folder = write(tmp_path / "published")
    step = PublishedLandscape(folder=str(folder)).pinned()
    with (folder / "published_evaluations.csv").open("a") as file:
        file.write("more,f,squad,50,1,1,icl\n")
    with pytest.raises(SurefootError, match="changed"):
        list(step.make(tmp_path, StoredInputs(Store(tmp_path / "store"))))


@pytest.fixture(scope="module")
def real(publish: Publish, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    if not DATA:
        pytest.skip("SUREFOOT_DATA is not set")
    return published_folder(), planted(publish, tmp_path_factory.mktemp("real"), published_folder())


@pytest.mark.parametrize(
    ("group", "points", "n", "status"),
    [
        ("in context", 13.7, 10, "supported"),
        ("few-shot prompt", 11.4, 35, "supported"),
        ("zero-shot", 7.2, 6, "undecided"),
        ("prompt fine-tuned", 6.3, 31, "supported"),
        ("few-shot span", 0.0, 52, "supported"),
        ("adapter", 1.2, 18, "supported"),
        ("robust training", 0.4, 9, "supported"),
    ],
)
def test_the_published_findings(real: tuple[Path, Results], group: str, points: float, n: int, status: str) -> None:
    found = verdicts(*real)[f"published: {group}"]
    assert found.effect is not None
    assert round(100 * found.effect, 1) == pytest.approx(points, abs=0.05)
    assert (found.n, found.status) == (n, status)


def test_the_published_line_and_what_is_left_out(real: tuple[Path, Results]) -> None:
    main = found_in(real[1], PublishedLandscape)
    assert main["slope", AVERAGE, ""].value == pytest.approx(0.602, abs=5e-4)
    assert main["intercept", AVERAGE, ""].value == pytest.approx(-0.888, abs=5e-4)
    assert main["r2", AVERAGE, ""].value == pytest.approx(0.932, abs=5e-4)
    assert main["slope", AVERAGE, ""].n == 31
    assert main["left_out", "", ""].value == 15


def test_each_shift_and_each_scale(real: tuple[Path, Results]) -> None:
    _, results = real
    shifts = by_shift(results, PublishedLandscape, "in context")
    assert (next(iter(shifts)), list(shifts)[-1]) == ("squadshifts_new_wiki", "drop")
    assert round(shifts["drop"].value, 1) == 32.9
    assert round(shifts["squadshifts_new_wiki"].value, 1) == -3.3
    for group, points in (("few-shot span", 17.9), ("zero-shot", 31.5)):
        linear = re.search(r"linear axes ([+-][\d.]+)", what_moves_it(results, PublishedLandscape, group))
        assert linear
        assert float(linear[1]) == pytest.approx(points, abs=0.15)
    r2 = {
        shift: one.value for (metric, shift, _), one in found_in(results, PublishedLandscape).items() if metric == "r2"
    }
    printed = {"squadshifts_new_wiki": 0.994, "squadshifts_nyt": 0.987, "hotpotqa": 0.976, "squadshifts_amazon": 0.958}
    printed |= {"squadshifts_reddit": 0.947, "bioasq": 0.933, "relationextraction": 0.921, "race": 0.904, "drop": 0.887}
    printed |= {"naturalquestionsshort": 0.815, "triviaqa-web": 0.705, "searchqa": 0.577, "duorc.paraphraserc": 0.553}
    printed |= {"newsqa": 0.539, "textbookqa": 0.365}
    assert {name: round(r2[name], 3) for name in printed} == printed


def test_an_error_is_that_of_the_interval(real: tuple[Path, Results]) -> None:
    found = robustness_of(real[1], PublishedLandscape, "prompt fine-tuned")
    assert found.low is not None
    assert found.high is not None
    assert 0.05 < found.low < 0.063 < found.high < 0.08


def test_every_figure_of_the_published_landscape_is_drawn(real: tuple[Path, Results]) -> None:
    drawn = {figure.name: figure for figure in (draw(real[1]) for draw in study(own=False).figures)}
    assert set(drawn) == {"published-landscape", "published-effective-robustness", "published-scales"}
    assert sum(row["part"] == "point" for row in drawn["published-landscape"].table()) == 192
    assert len(drawn["published-effective-robustness"].table()) == 7 * 16
    assert len([row for row in drawn["published-scales"].table() if "value" in row]) == 7 * 3


def answered(name: str, share: float, n: int = 3000, articles: int = 60) -> QuestionScores:
    """A reader that has this share of a set right; articles differ a little."""
    generator = np.random.default_rng([ord(letter) for letter in name])
    right = np.sort(generator.permutation(n)[: round(share * n)])
    asked = [
        Question(
            id=f"{name}-{place}",
            question=f"What is <b>{place}</b>?",
            context=f"It is answer {place}, as <script>alert({place})</script> says.",
            answers=(f"answer {place}",),
            starts=(6,),
            article=f"article {place % articles}",
            paragraph=f"{place:04x}",
        )
        for place in range(n)
    ]
    said = {one.id: "nothing" for one in asked} | {asked[place].id: f"answer {place}" for place in right}
    return score_questions(asked, Predictions(said), "squad-1.1")


SHIFTS = ("squadshifts_new_wiki", "drop", "race")


@pytest.fixture(scope="module")
def line(world: tuple[Path, Results]) -> RobustnessFit:
    return published_fit(world[0], SHIFTS)


def placed(line: RobustnessFit, gain: float, n: int = 3000, margin: float = 2.0) -> ReaderCard:
    """The card of a reader of F1 .8 with a gain over the planted line under every shift."""
    scored = {"squad": answered("squad", 0.8, n)}
    for place, shift in enumerate(SHIFTS):
        scored[shift] = answered(shift, float(expit(0.7 * logit(0.8) - 0.4 - 0.3 * place)) + gain, n)
    return reader_card(line, scored, margin=margin)


@pytest.mark.parametrize(
    ("gain", "margin", "place"),
    [(0.1, 2.0, "above"), (-0.1, 2.0, "below"), (0.0, 5.0, "on the line"), (0.02, 2.0, "open")],
)
def test_a_card_says_on_which_side_of_the_line_a_reader_is(
    line: RobustnessFit, gain: float, margin: float, place: str
) -> None:
    card = placed(line, gain, margin=margin)
    assert [one.shift for one in card.sets] == [AVERAGE, *SHIFTS]
    assert {one.place for one in card.sets} == {place}
    for one in card.sets:
        assert one.points == pytest.approx(100 * gain, abs=1.5)
        assert one.low < 100 * gain < one.high
        assert not one.extrapolated
    assert card.in_distribution[1] < 0.8 < card.in_distribution[2]


def test_the_interval_of_a_card_holds_questions_in_articles_and_the_line(line: RobustnessFit) -> None:
    """More questions narrow it, down to what the line leaves; questions that fall together by article do not count."""
    few, many = (placed(line, 0.0, n).sets[1] for n in (500, 8000))
    assert few.high - few.low > 2 * (many.high - many.low)
    average, *alone = (one.f1_high - one.f1_low for one in placed(line, 0.0, 2000).sets)
    assert average == pytest.approx(sum(width**2 for width in alone) ** 0.5 / len(SHIFTS), rel=0.05)
    scored = {name: answered(name, 0.7) for name in ("squad", *SHIFTS)}
    alone = reader_card(line, scored).sets[1]
    half = np.arange(3000) % 60 < 42
    of_articles = replace(scored[SHIFTS[0]], f1=half.astype(float))
    together = reader_card(line, scored | {SHIFTS[0]: of_articles}).sets[1]
    assert together.f1 == pytest.approx(alone.f1)
    assert together.high - together.low > 3 * (alone.high - alone.low)


def test_a_card_says_how_many_questions_would_decide_what_is_open(line: RobustnessFit) -> None:
    card = placed(line, 0.06, 400)
    (average, first, *_) = card.sets
    assert first.place == "open"
    assert first.needed is not None
    assert placed(line, 0.06, int(1.3 * first.needed)).sets[1].place == "above"
    assert placed(line, 0.06, first.needed // 3).sets[1].place == "open"
    assert average.questions == 1200
    near = placed(line, 0.02, 3000).sets[1]
    assert "would" in card_words(card)[2]
    assert near.place == "open"


def test_a_reader_weaker_than_every_fully_fine_tuned_one_gets_no_verdict(line: RobustnessFit) -> None:
    scored = {"squad": answered("squad", 0.2)} | {shift: answered(shift, 0.6) for shift in SHIFTS}
    card = reader_card(line, scored)
    assert {(one.place, one.needed, one.extrapolated) for one in card.sets} == {("open", None, True)}
    assert "no verdict" in card_words(card)[1]


def test_lost_questions_are_shown_and_nothing_of_theirs_runs(line: RobustnessFit, tmp_path: Path) -> None:
    card = placed(line, -0.1)
    assert len(card.lost) == 20
    assert {one.answer for one in card.lost} == {"nothing"}
    page = write_card(card, tmp_path / "card.html", source="my <reader>").read_text(encoding="utf-8")
    assert "Less robust than a fully fine-tuned reader" in page
    assert "Robustness card of my &lt;reader&gt;" in page
    assert "<script" not in page
    assert "&lt;script&gt;alert(" in page
    assert all(one.question.context.split(",")[0] in page for one in card.lost)
    assert "3,000 questions here and 7,938 where it was published" in page


def test_what_nobody_answered_is_said_and_is_no_lost_question(line: RobustnessFit) -> None:
    scored = {name: answered(name, 0.7, 300) for name in ("squad", *SHIFTS)}
    told = {one.id: said for one, said in zip(scored["squad"].questions, scored["squad"].answers, strict=True)}
    some = Predictions({name: told[name] for name in list(told)[:100]})
    card = reader_card(
        line, scored | {"squad": score_questions(scored["squad"].questions, some, "squad-1.1")}, shown=300
    )
    assert "200 questions of 'squad' have no prediction: they are wrong." in card.remarks
    assert card.in_distribution[0] < 0.34
    assert {one.question.id for one in card.lost if one.shift == "squad"} <= set(some.answers)
    assert len(card.lost) > 3 * 60


def test_a_card_needs_answers_in_distribution_and_more_than_one_article(line: RobustnessFit) -> None:
    scored = {name: answered(name, 0.7, 50) for name in SHIFTS}
    with pytest.raises(SurefootError, match="answers on 'squad'"):
        reader_card(line, scored)
    with pytest.raises(SurefootError, match="of one article"):
        reader_card(line, scored | {"squad": answered("squad", 0.7, 50, articles=1)})
