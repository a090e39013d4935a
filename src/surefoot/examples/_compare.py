"""Comparing models example by example, from the scores that their artifacts or files keep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isfinite, isnan
from pathlib import Path
from typing import Literal

import numpy as np

from surefoot.core import Artifact, Store, SurefootError, Table, examples_path, flatten_spec
from surefoot.examples._examples import ExampleScores
from surefoot.stats import PairedDifference, holm, mcnemar, paired_difference, tied

NoWorse = Literal["yes", "no", "undecided"]
Unmatched = Literal["refuse", "drop"]
LEVEL, ALPHA = 0.95, 0.05
_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One model against the baseline: scores and the paired difference (model less baseline).

    `p_holm` is the p after Holm's correction for all models compared; `tied` and `baseline_tied` hold the letters of
    those that are not told apart, over all pairs. `no_worse` says whether the interval excludes a fall by more than the
    margin; None without a margin. `only_baseline` and `only_model` count answers that one alone has right.
    """

    model: str
    score: float
    paired: PairedDifference
    p_holm: float
    tied: str
    no_worse: NoWorse | None
    only_baseline: int | None
    only_model: int | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Models against a baseline on the examples that all have; `left_out` says in sentences what was dropped, `notes`
    what was not asked alike."""

    baseline: str
    baseline_score: float
    baseline_tied: str
    models: tuple[Compared, ...]
    margin: float | None
    left_out: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def no_worse(self) -> NoWorse | None:
        """The verdict over all models: no when one is worse by more than the margin, yes when none can be."""
        found = {one.no_worse for one in self.models}
        order: tuple[NoWorse, ...] = ("no", "undecided", "yes")
        return next((verdict for verdict in order if verdict in found), None)

    def table(self) -> Table:
        """One row a model; what is not known is None."""
        return Table(_COLUMNS, tuple(self._row(one) for one in self.models))

    def _row(self, one: Compared) -> tuple[object, ...]:
        paired = one.paired
        gap = paired.difference
        numbers = (gap.estimate, gap.low, gap.high, paired.p, one.p_holm, paired.smallest_seen)
        return (
            self.baseline, one.model, paired.n, paired.clusters, self.baseline_score, one.score,
            *(number if isfinite(number) else None for number in numbers),
            one.only_baseline, one.only_model, self.baseline_tied, one.tied, one.no_worse,
        )  # fmt: skip


_COLUMNS = (
    "baseline", "model", "examples", "clusters", "baseline score", "model score", "difference", "low", "high", "p",
    "p (Holm)", "smallest seen", "only baseline right", "only model right", "baseline tied", "model tied", "no worse",
)  # fmt: skip


def compare_examples(
    scores: ExampleScores, *, margin: float | None = None, unmatched: Unmatched = "refuse"
) -> Comparison:
    """Every model against the first, over the examples that all have, with the intervals of `paired_difference`.

    Right and wrong answers are compared by a score interval and McNemar's exact p, other scores by Student's t; where
    the scores have clusters, whole clusters are the sample. `margin` asks whether a model is no worse than the baseline
    by more than that (the 95 percent interval lies above -margin: a test at 2.5 percent); where all differences are
    equal the sign test tells. Raises `SurefootError` for
    examples that not all models have, unless `unmatched` is "drop", and for fewer than two examples or clusters.
    """
    if len(scores.names) < 2:
        raise SurefootError("Name at least one model to compare with the baseline.")
    if margin is not None:
        _check_margin(margin, scores)
    left_out = _left_out(scores)
    if left_out and unmatched == "refuse":
        raise SurefootError(f"{' '.join(left_out)} Measure all on the same, or drop them (compare --unmatched drop).")
    try:
        pairs = {pair: _difference(scores, *pair) for pair in combinations(range(len(scores.names)), 2)}
    except ValueError as error:
        raise SurefootError(f"{' and '.join(scores.names)} cannot be compared: {error}.") from error
    letters = _tied(scores, pairs)
    others = [pairs[0, place] for place in range(1, len(scores.names))]
    adjusted = holm([one.p for one in others])
    return Comparison(
        baseline=scores.names[0],
        baseline_score=float(scores.scores[0].mean()),
        baseline_tied=letters[0],
        models=tuple(
            _compared(scores, place, paired, p_holm=float(p), letters=letters[place], margin=margin)
            for place, (paired, p) in enumerate(zip(others, adjusted, strict=True), start=1)
        ),
        margin=margin,
        left_out=left_out,
        notes=scores.notes,
    )


def _check_margin(margin: float, scores: ExampleScores) -> None:
    low, high = float(scores.scores.min()), float(scores.scores.max())
    if np.isin(scores.scores, (0.0, 1.0)).all():
        low, high = 0.0, 1.0
    if not 0 <= margin < (high - low or float("inf")):
        raise SurefootError(
            f"margin is {margin:g}: it is the largest fall to bear, in the unit of the scores, which go from {low:g} "
            f"to {high:g}: at least 0, and less than from one end to the other."
        )


def stored_examples(store: Store, keys: Sequence[str], *, across_data: bool = False) -> dict[str, Path]:
    """The files of examples of artifacts by key, from beginnings of keys, the baseline first.

    Raises `SurefootError` where they were measured on different data (their Steps' field `data`), unless `across_data`:
    then examples of one id are paired, such as drawings of one thing in two styles.
    """
    found = {path.parent.name: path for path in (examples_path(store, key) for key in keys)}
    if len(found) < len(keys):
        raise SurefootError(f"{' and '.join(keys)} name an artifact twice: it cannot be compared with itself.")
    spec_of = store.specs()
    rows = {key: flatten_spec(Artifact(path.parent).spec, spec_of) for key, path in found.items()}
    (first, known), *others = ((key, _data_of(row)) for key, row in rows.items())
    for key, data in others:
        differing = sorted(name for name in known.keys() | data.keys() if known.get(name) != data.get(name))
        if differing and not across_data:
            name = differing[0]
            raise SurefootError(
                f"{first} and {key} were measured on different data: {name} is {known.get(name)} and {data.get(name)}. "
                "To pair their examples by id all the same, add --across-data."
            )
    return found


def _data_of(row: Mapping[str, object]) -> Mapping[str, object]:
    return {name: value for name, value in row.items() if name.split(".")[0] == "data"}


def _difference(scores: ExampleScores, baseline: int, model: int) -> PairedDifference:
    return paired_difference(scores.scores[model], scores.scores[baseline], clusters=scores.clusters, level=LEVEL)


def _tied(scores: ExampleScores, pairs: Mapping[tuple[int, int], PairedDifference]) -> list[str]:
    """Letters of the groups that are not told apart, by Holm's p over all pairs; the best model's group is a."""
    adjusted = dict(zip(pairs, holm([one.p for one in pairs.values()]).tolist(), strict=True))
    best_first = sorted(range(len(scores.names)), key=lambda place: -scores.scores[place].mean())
    names = [str(place) for place in best_first]
    letters = tied(names, {(str(a), str(b)): p for (a, b), p in adjusted.items()}, alpha=ALPHA)
    by_place = dict(zip(best_first, letters, strict=True))
    return [by_place[place] for place in range(len(scores.names))]


def _compared(
    scores: ExampleScores, place: int, paired: PairedDifference, *, p_holm: float, letters: str, margin: float | None
) -> Compared:
    baseline, model = scores.scores[0], scores.scores[place]
    answers = bool(np.isin(scores.scores[[0, place]], (0.0, 1.0)).all())
    counts = mcnemar(baseline == 1.0, model == 1.0) if answers else None
    return Compared(
        model=scores.names[place],
        score=float(model.mean()),
        paired=paired,
        p_holm=p_holm,
        tied=letters,
        no_worse=None if margin is None else _no_worse(paired, margin),
        only_baseline=counts.only_first if counts else None,
        only_model=counts.only_second if counts else None,
    )


def _no_worse(paired: PairedDifference, margin: float) -> NoWorse:
    """By the interval. Differences that are all equal have none: those of enough examples say what all of them do."""
    gap = paired.difference
    if isnan(gap.low):
        sure = paired.p < ALPHA  # the sign test: all rise, or all fall
        return "yes" if sure and gap.estimate > 0 else "no" if sure and gap.estimate < -margin else "undecided"
    return "yes" if gap.low > -margin else "no" if gap.high < -margin else "undecided"


def _left_out(scores: ExampleScores) -> tuple[str, ...]:
    return tuple(
        f"{name} has {len(ids)} of {size} examples that not all others have "
        f"({', '.join(ids[:_NAMED])}{', ...' if len(ids) > _NAMED else ''})."
        for (name, ids), size in zip(scores.unmatched.items(), scores.sizes, strict=True)
        if ids
    )
