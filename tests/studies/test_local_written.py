"""Lo-fi on readers and on a language model: what the claims make of planted scores, and what workers share."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t

from surefoot.core import Measurement, Results, Step, Store, Verdict, decide, walk
from surefoot.examples import write_examples
from surefoot.language import FinetuneLanguage, QuestionSample, SpanReader
from surefoot.studies import load_study
from surefoot.studies.local._written import Written, readers, texts
from surefoot.training import Average

Publish = Callable[[Store, Step, list[Measurement]], Path]
SEEDS, RATES = (0, 1, 2), (1e-4, 1e-3)
CLUSTERS, EACH = 12, 3


def folder(tmp_path: Path) -> Path:
    for name in ("squad_v1.1_dev", *(f"squadshifts_{one}_v1.0" for one in ("new_wiki", "amazon_reviews", "reddit"))):
        (tmp_path / f"{name}.json.gz").write_bytes(name.encode())
    return tmp_path


def quality(method: str, rate: float, shifted: bool) -> float:
    """Lo-fi is best at the low rate, together at the high one; there it is better, and under shift it is worse."""
    if method == "start":
        return 0.2
    best = {"one worker alone": 1e-4, "lo-fi": 1e-4, "together at each step": 1e-3}[method]
    reached = {"one worker alone": 0.5, "lo-fi": 0.6, "together at each step": 0.55 if shifted else 0.601}[method]
    return reached - 0.2 * (rate != best)


def plant(publish: Publish, store: Store, kind: Written) -> dict[tuple[int, str, float, str], np.ndarray]:
    """Scores by question of every model: of what is better when lower, one less what others have."""
    generator, planted = np.random.default_rng(0), {}
    hard = {name: 0.1 * generator.standard_normal((CLUSTERS, EACH)) for name in (*kind.tests, "")}
    for seed, trial in enumerate(kind.trials):
        models = [(method, rate, one) for method, by in trial.methods().items() for rate, one in by.items()]
        for method, rate, model in [("start", 0.0, trial.base), *models]:
            for place, (name, data) in enumerate({**kind.tests, "": kind.chosen_on}.items()):
                noise = 0.004 * generator.standard_normal((CLUSTERS, EACH))
                values = quality(method, rate, 0 < place < len(kind.tests)) + hard[name] + noise
                values = 1 - values if kind.lower else values
                planted[seed, method, rate, name] = values
                found = [Measurement(metric=kind.metric, value=float(values.mean()), n=values.size)]
                out = publish(store, kind.score(model, data, name), found)
                names = np.repeat([f"cluster {at}" for at in range(CLUSTERS)], EACH)
                ids = [f"{cluster} {at}" for at, cluster in enumerate(names)]
                write_examples(out, {"example": ids, "score": values.ravel(), kind.cluster: names})
    return planted


def verdicts_of(kind: Written, store: Store, name: str) -> Mapping[str, Verdict]:
    study = load_study("local", {"parts": name, "seeds": "0,1,2", "rates": "1e-4,1e-3"})
    results = Results(store, tuple(walk(study.steps)))
    assert [make(results).name for make in study.figures] == [f"lofi-{kind.name.replace(' ', '-')}"]
    rows = study.figures[0](results).table()
    assert len(rows) == 4 * len(kind.tests)
    return {claim.name.removeprefix(f"{kind.name}-"): verdict for claim, verdict in decide(study.claims, results)}


@pytest.mark.parametrize("name", ["readers", "texts"])
def test_each_method_at_its_own_rate_is_compared_over_seeds_and_clusters(
    name: str, publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUREFOOT_DATA", str(tmp_path))
    (tmp_path / "reading").mkdir()
    files = folder(tmp_path / "reading")
    kind = readers(SEEDS, 30, RATES, files) if name == "readers" else texts(SEEDS, 12, RATES)
    store = Store(tmp_path / "store")
    planted = plant(publish, store, kind)
    verdicts = verdicts_of(kind, store, name)
    own, *shifted = kind.tests
    sign = -1 if kind.lower else 1

    def expected(pair: tuple[str, str], sets: list[str]) -> tuple[float, float, float]:
        rates = {"one worker alone": 1e-4, "lo-fi": 1e-4, "together at each step": 1e-3}
        table = np.array([
            np.concatenate([
                sign * np.subtract(*(planted[seed, each, rates[each], one] for each in pair)).mean(1)
                for one in sets
            ])
            for seed in range(len(SEEDS))
        ])  # fmt: skip
        seeds, columns = table.shape
        grand, rows, cols = table.mean(), table.mean(1), table.mean(0)
        free = np.array([seeds - 1, columns - 1, (seeds - 1) * (columns - 1)])
        rest = table - rows[:, None] - cols + grand
        squares = np.array([columns * rows.var(ddof=1), seeds * cols.var(ddof=1), (rest**2).sum() / free[2]])
        variance = squares @ [1, 1, -1]
        freedom = variance**2 / (squares**2 / free).sum()
        if variance < max(squares[:2]):
            at = int(squares[:2].argmax())
            variance, freedom = squares[at], free[at]
        half = t.ppf(0.975, freedom) * (variance / table.size) ** 0.5
        return grand, grand - half, grand + half

    together = ("lo-fi", "together at each step")
    for claim, pair, sets in (
        ("lofi-parity", together, [own]),
        ("lofi-helps-under-shift", together, shifted),
        ("average-above-worker", ("lo-fi", "one worker alone"), [own]),
    ):
        found = verdicts[claim]
        assert (found.effect, found.low, found.high) == pytest.approx(expected(pair, sets)), claim
        assert found.status == "supported", claim
        rate = "0.0001, the lowest offered" if "alone" in pair[1] else "0.001, the highest offered"
        assert f"lo-fi at 0.0001, the lowest offered and {pair[1]} at {rate}" in found.detail


def test_workers_share_a_start_and_no_data_and_see_together_what_one_training_sees(tmp_path: Path) -> None:
    for kind in (readers((3,), 30, RATES, folder(tmp_path)), texts((3,), 12, RATES)):
        (trial,) = kind.trials
        for rate in RATES:
            workers, together = trial.alone[rate], trial.together[rate]
            assert {one.shard for one in workers} == {(part, 4) for part in range(4)}  # type: ignore[attr-defined]
            assert len({one.seed for one in workers}) == 4  # type: ignore[attr-defined]
            start = "encoder" if isinstance(together, SpanReader) else "model"
            assert {getattr(one, start) for one in (*workers, together)} == {trial.base}
            assert isinstance(together, (SpanReader, FinetuneLanguage))
            assert together == replace(
                workers[0],
                shard=(0, 1),
                batch=4 * workers[0].batch,
                seed=300,  # type: ignore[attr-defined, type-var]
            )
            assert trial.lofi[rate] == Average(models=workers, base=trial.base, only=())


def test_what_a_rate_is_chosen_on_is_neither_trained_nor_tested_on(tmp_path: Path) -> None:
    kind = readers((0,), 30, RATES, folder(tmp_path))
    longer = readers((0,), 30, RATES, folder(tmp_path), start=200).trials[0]
    assert isinstance(longer.base, SpanReader)
    assert longer.base.steps == 200
    assert longer.lofi[RATES[0]] != kind.trials[0].lofi[RATES[0]]
    base = kind.trials[0].base
    assert isinstance(base, SpanReader)
    trained, chosen, test = base.questions, kind.chosen_on, kind.tests["SQuAD"]
    assert all(isinstance(one, QuestionSample) for one in (trained, chosen, test))
    assert (trained.part, chosen.part, test.part) == ("train", "held-out", "held-out")  # type: ignore[attr-defined]
    assert trained.questions == chosen.questions == QuestionSample(questions=test.questions, part="train")  # type: ignore[attr-defined]
    assert trained.split_seed == chosen.split_seed == 1  # type: ignore[attr-defined]
