"""The study's own landscape on planted answers: what is claimed, and what the questions leave open."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pytest
from scipy.special import expit, logit

from surefoot.core import Measurement, Results, Step, Store, StoredInputs, Study, decide, walk
from surefoot.language import Question, QuestionSample, ReadingScores, write_questions
from surefoot.laws import AVERAGE, ShiftFit
from surefoot.studies.reading import study
from surefoot.studies.reading._landscape import by_shift, found_in, question_errors, robustness_of
from surefoot.studies.reading._published import CONTROL

Publish = Callable[[Store, Step, list[Measurement]], Path]
DATA = os.environ.get("SUREFOOT_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="SUREFOOT_DATA is not set")
ARTICLES, OF_EACH = 30, 20


def plant(
    publish: Publish, root: Path, gains: dict[str, float], *, by_article: str = "", sets: tuple[str, ...] = ()
) -> tuple[Study, Results]:
    """Answers of the small grid: a line, gains of some adaptations; articles move the readers of one of them.

    With `sets` there are answers to these alone, and no fit.
    """
    made, store = study(), Store(root / "store")
    fits = [step for step in made.steps if isinstance(step, ShiftFit)]
    names = list(dict.fromkeys(fits[0].models))
    skills = np.random.default_rng(0).permutation(np.linspace(0.2, 0.75, len(names)))
    skill = dict(zip(names, skills.tolist(), strict=True))
    planted = {
        result: (name, group)
        for fit in (fits[0], fits[-1])
        for name, group, result in zip(fit.models, fit.groups, fit.results, strict=True)
        if isinstance(result, ReadingScores) and (not sets or result.task in sets)
    }
    rows, files = range(ARTICLES * OF_EACH), duckdb.connect()
    shared = {"example": [f"q{row}" for row in rows], "article": [f"a{row // OF_EACH}" for row in rows]}
    files.register("shared", {name: np.array(cells, dtype=object) for name, cells in shared.items()})
    files.execute("CREATE TABLE asked AS SELECT *, 'nothing' AS answer FROM shared")
    for result, (name, group) in planted.items():
        generator = np.random.default_rng([ord(letter) for letter in name + result.task])
        of_set = np.random.default_rng([ord(letter) for letter in result.task])
        shared = (group == by_article) * 1.5 * of_set.normal(size=ARTICLES).repeat(OF_EACH)
        line = (
            skill[name]
            if result.task in ("squad", CONTROL)
            else expit(0.9 * logit(skill[name]) - 0.5) + gains.get(group, 0.0)
        )
        score = generator.random(ARTICLES * OF_EACH) < expit(logit(np.clip(line, 0.02, 0.98)) + shared)
        measured = [Measurement(metric="f1", value=score.mean(), n=score.size, stderr=0.02, task=result.task)]
        place = publish(store, result, measured) / "examples.parquet"
        files.register("scores", {"score": score.astype(float)})
        files.execute(f"COPY (FROM asked POSITIONAL JOIN scores) TO '{place}' (FORMAT parquet)")
    files.close()
    if sets:
        return made, Results(store, tuple(walk(made.steps)))
    asked = [
        Question(f"q{row}", f"What is {row}?", f"It is <b>{row}</b>.", (str(row),), (9,), f"a{row // OF_EACH}", "p")
        for row in rows
    ]
    write_questions(root, asked)
    for step in walk(made.steps):
        if isinstance(step, QuestionSample):
            shutil.copy(root / "questions.json", publish(store, step, []))
    for step in fits:
        publish(store, step, list(step.make(publish(store, step, []), StoredInputs(store))))
    return made, Results(store, tuple(walk(made.steps)))


@pytest.fixture(scope="module")
def world(publish: Publish, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Results]:
    return plant(
        publish, tmp_path_factory.mktemp("own"), {"in context": 0.2, "zero-shot": 0.2, "robust training": -0.2}
    )


def test_what_was_planted_is_what_is_claimed_of_our_own_readers(world: tuple[Study, Results]) -> None:
    made, results = world
    found = {claim.name: one for claim, one in decide(made.claims, results) if claim.name.startswith("own: ")}
    assert found["own: robust training"].status == "contradicted"
    assert found["own: adapter"].status in ("supported", "undecided")
    assert found["own: in context"].effect == pytest.approx(0.2, abs=0.06)
    assert found["own: accuracy decides"].effect is not None
    assert {name.removeprefix("own: ") for name in found} >= {"zero-shot", "few-shot span", "adapter"}


def test_the_grid_has_forty_readers_or_more_and_trains_on_no_tested_article(world: tuple[Study, Results]) -> None:
    made, _ = world
    fit = next(step for step in made.steps if isinstance(step, ShiftFit))
    assert len(set(fit.models)) >= 40
    parts = {step.part for step in walk(made.steps) if isinstance(step, QuestionSample) and _trains(made, step)}
    assert parts == {"train"}
    of_squad = [one for one in fit.results if isinstance(one, ReadingScores) and one.task == "squad"]
    assert {one.questions.part for one in of_squad if isinstance(one.questions, QuestionSample)} == {"held-out"}
    assert "points would be seen nine times of ten" in made.summary


def test_where_nothing_shifts_nothing_is_found_and_no_average_holds_it(world: tuple[Study, Results]) -> None:
    """XQuAD in English is SQuAD's own paragraphs: of held-out articles, and beside the shifts, not among them."""
    made, results = world
    found = found_in(results, ShiftFit)
    assert abs(found["mean_effective_robustness", CONTROL, "in context"].value) < 5
    assert found["mean_effective_robustness", AVERAGE, "in context"].value > 14
    assert CONTROL not in by_shift(results, ShiftFit, "in context")
    control = [one for one in walk(made.steps) if isinstance(one, ReadingScores) and one.task == CONTROL]
    samples = {one.questions for one in control if isinstance(one.questions, QuestionSample)}
    assert len(control) >= 40
    assert {one.part for one in samples} == {"held-out"}
    assert CONTROL in {row["column"] for row in made.figures[4](results).table()}


def _trains(made: Study, sample: QuestionSample) -> bool:
    tested = {one.questions for one in walk(made.steps) if isinstance(one, ReadingScores)}
    return sample not in tested


def jackknifed(results: Results, fit: ShiftFit, group: str, shift: str) -> float:
    """The error of mean effective robustness when each article of each of both sets is left out in turn."""
    scores = {
        (name, one.task): duckdb.read_parquet(str(results.store.path(one) / "examples.parquet"))
        .project("score")
        .fetchnumpy()["score"]
        .reshape(ARTICLES, OF_EACH)
        .mean(axis=1)
        for name, one in zip(fit.models, fit.results, strict=True)
        if isinstance(one, ReadingScores) and one.task in ("squad", shift)
    }
    names = list(dict.fromkeys(fit.models))
    plain = np.isin(names, fit.baseline)
    members = np.array([dict(zip(fit.models, fit.groups, strict=True))[name] == group for name in names])

    def over(x: np.ndarray, y: np.ndarray) -> float:
        line = np.polyfit(logit(x[plain]), logit(y[plain]), 1)
        return float((y - expit(np.polyval(line, logit(x))))[members].mean())

    x, y = (np.array([scores[name, task] for name in names]) for task in ("squad", shift))
    without = [[np.delete(one, at, axis=1).mean(axis=1) for at in range(ARTICLES)] for one in (x, y)]
    moved = [[over(part, y.mean(axis=1)) for part in without[0]], [over(x.mean(axis=1), part) for part in without[1]]]
    return float(((ARTICLES - 1) ** 2 / ARTICLES * np.var(moved, axis=1, ddof=1)).sum() ** 0.5)


def test_intervals_hold_the_questions_by_article_too(
    world: tuple[Study, Results], publish: Publish, tmp_path: Path
) -> None:
    _, results = world
    alone = found_in(results, ShiftFit)["mean_effective_robustness", AVERAGE, "adapter"]
    joined = robustness_of(results, ShiftFit, "adapter")
    assert alone.low is not None
    assert joined.low is not None
    assert joined.low < alone.low / 100
    fit = next(step for step in results.steps if isinstance(step, ShiftFit))
    even = question_errors(results, fit)["adapter", "squadshifts_amazon"]
    # A few readers of 600 questions each: about what independent questions would give.
    assert 0.3 < even / (0.48 / (6 * ARTICLES * OF_EACH) ** 0.5) < 3
    of_questions = 1.959964 * 100 * question_errors(results, fit)["adapter", AVERAGE]
    assert joined.low == pytest.approx((alone.value - np.hypot(alone.value - alone.low, of_questions)) / 100)
    assert even == pytest.approx(jackknifed(results, fit, "adapter", "squadshifts_amazon"), rel=0.2)
    _, moved = plant(publish, tmp_path, {}, by_article="adapter", sets=("squad", "squadshifts_amazon"))
    together = question_errors(moved, next(step for step in moved.steps if isinstance(step, ShiftFit)))
    assert together["adapter", "squadshifts_amazon"] > 2 * even
    assert together["few-shot span", "squadshifts_amazon"] < 2 * even


def test_our_own_figures_are_drawn_and_wrong_answers_shown(world: tuple[Study, Results]) -> None:
    made, results = world
    drawn = {figure.name: figure for figure in (draw(results) for draw in made.figures[3:])}
    assert set(drawn) == {"own-landscape", "own-effective-robustness", "own-scales", "wrong-answers"}
    rows = drawn["wrong-answers"].table()
    assert rows
    assert all(row["image"].startswith("data:image/svg+xml;base64,") for row in rows)
    assert "Answered: nothing. Right: " in rows[0]["label"]
