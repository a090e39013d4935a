"""The study of sources: its grid, and its claims on a planted world of Gaussian sources."""

import re
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from scipy.stats import t as student

from surefoot.contrastive import MixedPairs, Pretrain, WeightEdit, png_of
from surefoot.core import Measurement, Results, Step, Store, StoredInputs, Study, SurefootError, Verdict, decide, walk
from surefoot.examples import write_examples
from surefoot.laws import MixtureFit
from surefoot.registry import write_json
from surefoot.studies import load_study
from surefoot.studies._hypotheses import claims_of
from surefoot.studies.pairs import Photographs
from surefoot.studies.pairs._steps import THINGS
from surefoot.studies.sources import TwoWay, _claims, _steps
from surefoot.studies.sources._claims import Footing, footing
from surefoot.studies.sources._steps import (
    DRAWN,
    JUDGES,
    PHOTOS,
    RATIOS,
    REFERENCE,
    SHIFTS,
    SOURCES,
    STYLES_SEEN,
    UNSEEN,
)

Publish = Callable[[Store, Step, list[Measurement]], Path]
PICTURES = 200
TINY = {"seeds": "0,1", "sizes": "50,100", "pairs": "100", "held_out": "8", "tested": "100", "samples": "64"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of one colour each, in folders by class."""
    root = tmp_path_factory.mktemp("photos")
    for part, each in (("train", 21), ("test", 1)):
        for place, thing in enumerate(THINGS):
            (root / part / thing).mkdir(parents=True)
            for row in range(each):
                picture = png_of(np.full((8, 8, 3), (20 * place, 10 * row, 250), np.uint8))
                (root / part / thing / f"{row}.png").write_bytes(picture)
    return root


@pytest.fixture(scope="module")
def study(photos: Path) -> Study:
    return load_study("sources", {"photos": str(photos), **TINY})


def data_of(model: Step) -> MixedPairs:
    model = model.base if isinstance(model, WeightEdit) else model
    assert isinstance(model, Pretrain) and isinstance(model.data, MixedPairs)
    return model.data


def shares_of(data: MixedPairs) -> np.ndarray:
    """The share of each source, known by its style or (last) by its being no drawings."""
    found = np.zeros(len(SOURCES))
    for source, count in zip(data.sources, data.counts, strict=True):
        drawn = getattr(source, "drawings", None)
        found[STYLES_SEEN.index(drawn[0].style) if drawn else -1] = count / sum(data.counts)
    return found


def test_the_grid_has_what_the_paper_compares_at_equal_counts(study: Study) -> None:
    tests = [step for step in study.steps if isinstance(step, TwoWay)]
    models = [one for one in dict.fromkeys(model for test in tests for model in test.models)
              if isinstance(one, Pretrain) and not one.start]  # fmt: skip
    drawn = {(tuple(shares_of(data_of(one)).round(2)), sum(data_of(one).counts), data_of(one).seed)
             for one in models if data_of(one).judge is None}  # fmt: skip
    for source, size, seed in ((s, n, k) for s in range(7) for n in (50, 100) for k in (0, 1)):
        assert (tuple(np.eye(7)[source]), size, seed) in drawn
    pairs = {shares for shares, size, seed in drawn if seed == 0 and size == 100 and sum(np.array(shares) > 0) == 2}
    assert len(pairs) >= 21
    kept = [data_of(one) for one in models if data_of(one).judge]
    assert {(round(one.kept * sum(one.counts)), one.counts) for one in kept} == {(100, (100, 100))}
    assert {shares_of(data_of(one.judge)).argmax() for one in kept if one.judge} == {*map(STYLES_SEEN.index, JUDGES)}
    outputs = [test for test in tests if len(test.models) == 2]
    assert {sum(data_of(model).counts) for test in outputs for model in test.models} == {50}
    assert len({(model.samples, model.batch, model.model) for model in models if isinstance(model, Pretrain)}) == 1
    assert all(set(test.shifts) == {*UNSEEN, PHOTOS, DRAWN} for test in tests)


def test_merges_are_of_models_that_continue_from_one_start_as_the_mixture_does(study: Study) -> None:
    models = [test.models[0] for test in study.steps if isinstance(test, TwoWay)]
    merges = [model for model in models if isinstance(model, WeightEdit)]
    mixtures = [model for model in models if isinstance(model, Pretrain) and model.start]
    assert len(merges) == len(mixtures) == 12
    for merge, mixture in zip(merges, mixtures, strict=True):
        assert (merge.grid, merge.only) == ((0.5,), ("*",))
        assert {getattr(one, "start", None) for one in merge.plus} == {merge.base} == {mixture.start}
        both = np.mean([shares_of(data_of(one)) for one in merge.plus], axis=0)
        assert both == pytest.approx(shares_of(data_of(mixture)))
        assert {getattr(one, "samples", 0) for one in merge.plus} == {mixture.samples} == {64 // 3}  # of the start's


def test_held_out_mixtures_stand_on_the_predictions_about_them(study: Study) -> None:
    forecast = next(step for step in study.steps if isinstance(step, MixtureFit))
    after = [data_of(test.models[0]) for test in study.steps if isinstance(test, TwoWay) and len(test.models) == 1]
    mixtures = [data for data in after if data.after]
    assert len(mixtures) == 8 and all(data.after == (forecast,) for data in mixtures)
    for data, asked, size in zip(mixtures, forecast.asked, forecast.asked_sizes, strict=True):
        assert shares_of(data) == pytest.approx(np.array(asked) / sum(asked), abs=0.02)
        assert abs(sum(data.counts) - size) <= 1
    assert not any(data_of(m).after for r in forecast.results if isinstance(r, TwoWay) for m in r.models)


MARGINS = np.array([1.0, 0.9, 1.0, 0.9, 0.8, 0.7, 0.0])
"""How far a source is above chance in the reference, in probit with 200 pairs."""


def robustness(like: str) -> np.ndarray:
    """Slopes (sources, shifts): of a world as in the paper the sources' differ and cross, else all are the same."""
    slopes = np.full((7, 3), 0.7)
    if like == "paper":
        slopes[:6, 0] = (0.3, 0.5, 0.4, 0.6, 0.7, 1.1)
        slopes[:6, 1] = (1.1, 0.9, 1.0, 0.8, 0.6, 0.3)
        slopes[:6, 2] = (0.9, 0.6, 0.8, 0.7, 0.7, 0.4)
    return slopes


def places(test: TwoWay, like: str) -> dict[str, float]:
    """Probit accuracy of what was tested under each shift, as the Gaussian model has it, with a run's own noise."""
    found = []
    for model in test.models:
        data = data_of(model)
        shares = shares_of(data)
        if isinstance(model, WeightEdit):
            shares = np.mean([shares_of(data_of(one)) for one in model.plus], axis=0)
        if data.judge is not None and like == "paper":
            shares = 0.4 * shares + 0.6 * shares_of(data_of(data.judge))
        size = 100 if isinstance(model, WeightEdit) else data.kept * sum(data.counts)
        own = shares * MARGINS * (1 + 0.15 * np.log(size / 200))
        spread = np.sqrt(0.7 + 0.3 * (shares**2).sum())
        found.append([own.sum() / spread, *(own @ robustness(like) / spread)])
    generator = np.random.default_rng([*test.key.encode()])
    value = dict(zip(UNSEEN, np.mean(found, axis=0) + generator.normal(scale=0.006, size=4), strict=True))
    drawn = float(np.mean([shares_of(data_of(model))[-1] for model in test.models])) < 0.5
    return {**value, PHOTOS: 0.1 if drawn else 0.5, DRAWN: 0.4 if drawn else 0.2}


def plant(publish: Publish, study: Study, store: Store, like: str) -> Results:
    """The accuracies of all models, and the predictions that follow from them."""
    difficulty = norm.ppf((np.arange(PICTURES) + 0.5) / PICTURES)
    for test in (step for step in study.steps if isinstance(step, TwoWay)):
        names, scores, told = list[str](), list[float](), list[Measurement]()
        for shift, place in places(test, like).items():
            own = norm.cdf(place * 2**0.5 + difficulty)
            names += [f"{shift}:{number:04X}" for number in range(PICTURES)]
            scores += own.tolist()
            told.append(Measurement(metric="two_way", value=float(own.mean()), n=PICTURES, shift=shift))
        write_examples(publish(store, test, told), {"example": names, "score": scores})
    forecast = next(step for step in study.steps if isinstance(step, MixtureFit))
    publish(store, forecast, list(forecast.make(store.root, StoredInputs(store))))
    return Results(store, tuple(walk(study.steps)))


World = Callable[[str], Results]


@pytest.fixture(scope="module")
def worlds(study: Study, publish: Publish, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The planted results of a world, each planted once."""
    return cache(lambda like: plant(publish, study, Store(tmp_path_factory.mktemp(like)), like))


def verdicts(study: Study, results: Results) -> dict[str, Verdict]:
    return {claim.name: verdict for claim, verdict in decide(study.claims, results)}


def test_every_figure_shows_the_planted_world(study: Study, worlds: World) -> None:
    results = worlds("paper")
    drawn = {}
    for draw in study.figures[:-1]:
        figure = draw(results)
        drawn[figure.name] = figure.table()
    assert len(drawn) == 7
    ends = {row["family"]: row["y"] for row in drawn["dilution"] if row["x"] == 1.0}
    measured = {name: y for name, y in ends.items() if not name.endswith("mediant")}
    assert len(measured) == 3
    for name, y in measured.items():
        assert ends[f"{name}: mediant"] == pytest.approx(y, abs=1e-9)
    held = [row for row in drawn["forecasts"] if row["part"] == "point"]
    assert len(held) == 32 and all(abs(row["x"] - row["y"]) < 0.03 for row in held)
    assert all({"log_share", "equal_shares"} <= row.keys() for row in held)
    cells = {(row["row"], row["column"]): row["value"] for row in drawn["cells"]}
    assert cells["photographs", "photographs"] == pytest.approx(norm.cdf(0.5), abs=0.01)
    with pytest.raises(SurefootError, match="was not drawn yet"):
        study.figures[-1](results)


def test_a_world_like_the_papers_supports_its_claims(study: Study, worlds: World) -> None:
    found = verdicts(study, worlds("paper"))
    wrong = {name: (one.status, one.effect, one.detail) for name, one in found.items() if one.status != "supported"}
    assert not wrong.keys() - {"intervals-hold"}, wrong
    assert (found["intervals-hold"].effect or 0) > 0.85
    assert found["sources-differ"].effect == pytest.approx(0.2, abs=0.08)
    assert found["photographs-to-drawings"].effect == pytest.approx(norm.cdf(0.5) - norm.cdf(0.2), abs=0.01)
    halved = found["half-the-error"]
    said = re.search(r"points: law of mixtures (.+), log shares (.+), equal shares ([^;]+)", halved.detail)
    assert said and 100 * (halved.effect or 0) == pytest.approx(float(said[1]) - float(said[2]) / 2, abs=0.01)


def test_where_sources_are_alike_nothing_of_them_is_supported(study: Study, worlds: World) -> None:
    found = verdicts(study, worlds("alike"))
    named = ("sources-differ", "ranking-changes", "dilution", "not-below", "more-not-better", "filter-moves",
             "filter-over-chance")  # fmt: skip
    assert {found[name].status for name in named} <= {"undecided", "contradicted"}
    assert abs(found["dilution"].effect or 0) < 0.01
    assert all(abs(found[name].effect or 0) < 0.005 for name in ("mediant", "output-as-input"))


def test_before_anything_ran_claims_say_what_is_missing(study: Study, tmp_path: Path) -> None:
    results = Results(Store(tmp_path / "store"), tuple(walk(study.steps)))
    assert {verdict.status for _, verdict in decide(study.claims, results)} == {"unmeasured"}


def test_sizes_that_do_not_fit_are_refused(photos: Path) -> None:
    for options in ({"sizes": one} for one in ("100,50", "100", "50,50,100", "-50,50,100", "0,50,100", "50,101", "")):
        with pytest.raises(SurefootError, match="increasing order, with that of pairs and half of it"):
            load_study("sources", {"photos": str(photos), **TINY, **options})
    for options in ({"seeds": "999,1000"}, {"held_out": "1"}, {"samples": "2"}, {"tested": "0"}, {"tested": "99"}):
        with pytest.raises(SurefootError, match="below 1000, held_out 2 or more, samples 3 or more, and tested 100"):
            load_study("sources", {"photos": str(photos), **TINY, **options})


def test_two_way_accuracy_is_the_share_of_other_classes_below_with_ties_as_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(0)
    np.save(tmp_path / "images.npy", np.zeros((6, 8, 8, 3), np.uint8))
    np.save(tmp_path / "labels.npy", labels := np.array([0, 1, 2, 3, 3, 2]))
    write_json(tmp_path / "classes.json", ["cat", "dog", "ship", "unknown"])
    heads = generator.normal(size=(2, 4, 5))
    heads[:, 3] = heads[:, 2]  # words that neither model knows
    images, scales = generator.normal(size=(2, 6, 5)), (2.0, 7.0)
    monkeypatch.setattr(_steps, "embed_images", lambda one, pictures: torch.tensor(images[one.number]))
    monkeypatch.setattr(
        _steps, "class_head", lambda one, *_: SimpleNamespace(embeddings=torch.tensor(heads[one.number]))
    )
    loaded: list[Any] = [
        SimpleNamespace(number=place, model=SimpleNamespace(logit_scale=torch.tensor(scale).log()))
        for place, scale in enumerate(scales)
    ]
    for models in ([0], [1], [0, 1]):
        logits = np.sum([scales[one] * images[one] @ heads[one].T for one in models], axis=0)
        expected = [
            np.mean([np.sign(row[label] - other) / 2 + 0.5 for other in np.delete(row, label)])
            for row, label in zip(logits.round(9), labels, strict=True)
        ]
        found = _steps.two_way_scores([loaded[one] for one in models], tmp_path, "{}")
        assert found == pytest.approx(expected)
    assert expected[3] in (1 / 6, 0.5, 5 / 6)


def planned(*seeds: int) -> _steps.Plan:
    shown = Photographs(count=1), Photographs(count=1, part=1)
    return _steps.Plan(seeds=seeds, sizes=(50, 100), pairs=100, held_out=1, model="rn-4", samples=64, photos=shown)


def test_a_thing_is_in_one_block_whatever_the_style_that_draws_it(worlds: World) -> None:
    """Scores of one thing in two styles are alike: without a block they must go together."""
    blocks: dict[str, set[tuple[float, ...]]] = {}
    for (test, _), (_, pictures) in footing(worlds("paper"), planned(0, 1)).parts.items():
        blocks.setdefault(test, set()).add(tuple(pictures))
    assert {len(each) for each in blocks.values()} == {1}


def test_the_error_of_a_mean_is_over_draws_that_sizes_share_and_over_blocks_of_things(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Closed form: of each source the variance of the means of seeds, whatever the sizes within them add."""
    plan, generator = planned(0, 1, 2), np.random.default_rng(7)
    easy, drawn = generator.uniform(-3, 3, 20), generator.normal(scale=4, size=(2, 3))
    tests = [[[plan.single(style, size, seed) for size in plan.sizes] for seed in plan.seeds]
             for style in STYLES_SEEN[:2]]  # fmt: skip
    right = 60 + easy + drawn[:, :, None, None] + np.array([8, 0])[:, None] + generator.normal(size=(2, 3, 2, 20))
    parts = {(tests[a][b][c].key, REFERENCE): np.array([right[a, b, c], np.full(20, 100.0)])
             for a, b, c in product(range(2), range(3), range(2))}  # fmt: skip
    monkeypatch.setattr(_claims, "footing", lambda *_: Footing(plan, parts))

    def rows(found: Footing) -> list[float]:
        first, second = ([found.accuracy(one, REFERENCE) for of_seed in each for one in of_seed] for each in tests)
        return [2 * a - b for a, b in zip(first, second, strict=True)]

    found, _ = _claims.crossed(plan, rows, "", Results(Store(Path("none")), ()))
    of_draws = [weight**2 * np.var(each.mean(axis=(1, 2)) / 100, ddof=1) / 3
                for weight, each in zip((2, 1), right, strict=True)]  # fmt: skip
    blocks = (2 * right[0] - right[1]).mean(axis=(0, 1)) / 100
    squares = np.array([*of_draws, np.var(blocks, ddof=1) / 20])
    assert (found.value, found.n) == (pytest.approx(blocks.mean()), 6)
    assert found.stderr == pytest.approx(squares.sum() ** 0.5)
    assert found.freedom == pytest.approx(squares.sum() ** 2 / (squares**2 / [2, 2, 19]).sum())


def test_every_test_that_a_claim_reads_belongs_to_one_draw() -> None:
    plan = planned(0, 1)
    named = [key for each in plan.draws.values() for key in each]
    mixtures = {plan.tested(mix).key for mix in plan.mixtures}
    outputs = {plan.output_mixed(plan.couples[-1], seed).key for seed in plan.seeds}
    every = {step.key for step in plan.steps if isinstance(step, TwoWay)}
    assert len(named) == len(set(named)) and set(named) == every - mixtures - outputs
    for (_, seed), tests in plan.draws.items():
        for key, others in tests.items():
            assert key not in others and len(others) == 1 and others[0] in named, seed


def test_what_a_seed_measures_is_chosen_on_the_other_seeds_and_on_all_pictures() -> None:
    plan, parts = planned(0, 1), {}
    for (place, style), (seed, size) in product(enumerate(STYLES_SEEN), plan.by_size):
        better = place if seed else -place  # the second seed finds the last style best, the first finds the first
        for shift in UNSEEN:
            own = 0.7 + (0.01 * better if shift != UNSEEN[0] else 0)
            parts[plan.single(style, size, seed).key, shift] = np.array([[100 * own] * 20, [100.0] * 20])
    found = Footing(plan, parts)
    assert found.ranked(SHIFTS[0], 0) == list(STYLES_SEEN)
    assert found.ranked(SHIFTS[0], 1) == list(STYLES_SEEN[::-1])
    parts[plan.single(STYLES_SEEN[-1], 100, 1).key, SHIFTS[0]][0, 0] = 0  # a block of which all answers are wrong
    harmed = Footing(plan, parts).ranked(SHIFTS[0], 0)
    assert harmed == Footing(plan, parts, without=0).ranked(SHIFTS[0], 0) != found.ranked(SHIFTS[0], 1)[::-1]


def test_what_a_judge_keeps_is_compared_with_the_other_and_with_as_many_at_random() -> None:
    """All are equal in the reference, so that differences in robustness are those in accuracy."""
    plan, parts = planned(0, 1), dict[tuple[str, str], np.ndarray]()

    def put(test: Step, place: float, shifts: tuple[str, ...] = UNSEEN) -> None:
        for shift in shifts:
            own = 0.7 if shift == REFERENCE else place
            parts[test.key, shift] = np.array([[100 * own] * 20, [100.0] * 20])

    for style, (seed, size) in product(STYLES_SEEN, plan.by_size):
        put(plan.single(style, size, seed), 0.8 if style == JUDGES[1] else 0.6)
    for mix in plan.filtered:
        put(plan.tested(mix), {JUDGES[1]: 0.75, JUDGES[0]: 0.61, "": 0.7}[mix.judge] + 0.01 * mix.seed)
    found = Footing(plan, parts)
    assert _claims._kept_less(0, found) == pytest.approx([0.14, 0.14])
    assert _claims._kept_less(None, found) == pytest.approx([0.05, 0.05])
    put(plan.tested(next(mix for mix in plan.filtered if not mix.judge and mix.seed == 1)), 0.5)
    assert _claims._kept_less(None, Footing(plan, parts)) == pytest.approx([0.05, 0.26])


def test_dilution_is_the_mean_over_all_ratios_of_the_parent_less_the_mixture() -> None:
    plan, parts = planned(0, 1), dict[tuple[str, str], np.ndarray]()

    def put(test: Step, place: float) -> None:
        for shift in UNSEEN:
            own = 0.7 if shift == REFERENCE else place
            parts[test.key, shift] = np.array([[100 * own] * 20, [100.0] * 20])

    for (place, style), (seed, size) in product(enumerate(STYLES_SEEN), plan.by_size):
        put(plan.single(style, size, seed), 0.6 + 0.02 * place)
    for seed, couple in plan.by_couple:
        for ratio in RATIOS:
            put(plan.mixed(couple, ratio, seed), 0.5 + 0.2 * ratio**2)
    found, mixture = Footing(plan, parts), 0.5 + 0.2 * np.mean(np.square(RATIOS))
    parents = [[0.6 + 0.02 * STYLES_SEEN.index(one) for one in couple] for _, couple in plan.by_couple]
    assert _claims._dilution(1, found) == pytest.approx([max(pair) - mixture for pair in parents])
    assert _claims._dilution(-1, found) == pytest.approx([mixture - min(pair) for pair in parents])


def test_an_interval_holds_what_lies_between_its_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = np.array([[0.5, 0.61, 0.6, 0.55], [0.49, 0.7, 0.5, 0.52]])
    told = {"measured": measured, "low": np.full((2, 4), 0.5), "high": np.full((2, 4), 0.6)}
    monkeypatch.setattr(_claims, "forecasts", lambda *_: told)
    found, said = _claims._covered(planned(0, 1), Results(Store(Path("none")), ()))
    assert (found.value, found.n) == (pytest.approx(5 / 8), 2)
    assert said == "5 of 8 intervals hold; their mean half width is 5.0 points"


def test_where_every_interval_holds_the_share_is_as_uncertain_as_one_interval_a_mixture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbers = {"measured": 0.5, "low": 0.4, "high": 0.6, "predicted": 0.5, "log_share": 0.5, "equal_shares": 0.5}
    told = {name: np.full((30, 4), number) for name, number in numbers.items()}
    monkeypatch.setattr(_claims, "forecasts", lambda *_: told)
    plan, none = planned(0, 1), Results(Store(Path("none")), ())
    found, _ = _claims._covered(plan, none)
    assert (found.low, found.high) == (pytest.approx(0.025 ** (1 / 30)), 1.0)  # Clopper-Pearson of 30 of 30
    (claim,) = (one for one in claims_of(_claims.hypotheses(plan)) if one.name == "intervals-hold")
    assert claim.check(none).status == "undecided"
    told["measured"][0, 0] = 0.7
    found, _ = _claims._covered(plan, none)
    half = student.ppf(0.975, 29) * 0.25 / 30
    assert (found.low, found.high) == (pytest.approx(1 - 0.25 / 30 - half), 1.0)  # no share is above one
