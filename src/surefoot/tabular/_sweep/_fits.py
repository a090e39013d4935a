"""Fit many configurations of a learner on one design, keep their predictions, and measure every one of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from surefoot.core import Inputs, Measurement, Step, SurefootError, in_memory, report_progress
from surefoot.stats import LEAST_ROWS, GroupMetrics, disparities, group_metrics, wilson_bounds, worst_group, worst_loss
from surefoot.tabular._learners._configurations import Configuration
from surefoot.tabular._learners._fit import LEARNERS, NETWORKS, fit_many
from surefoot.tabular._sweep._represent import FairTable, represented
from surefoot.tabular._tables._design import Design, GroupedRows, OpenedDesign, open_design

SCORED = ("validation", "test")
MOST_CONFIGURATIONS = 256
"""The most of one Step: minutes of work, so that a cluster shares a grid and a stop loses little."""
_LEAST_RUNG_ROWS = 1000
_KEPT_LOSSES = ("cross_entropy", "cvar", "cvar_doro", "calibration_error", "loss_variance")


@dataclass(frozen=True, kw_only=True)
class TableFits(Step):
    """Configurations of one learner on one split, so that what they share (bins, features, base fits) is made once.

    It keeps `configurations.parquet` (a row a configuration: every metric on validation and test) and the scores
    themselves in half precision, with every decision at one half kept, so that a later metric needs no refit.
    Measurements are of the configuration at `replicate`, on the part that `shift` names.

    `halving` of 1 fits all in full. Above 1 (successive halving, as ASHA's rungs) all start on a share of the training
    rows (networks: of the epochs), and the best 1 in `halving`, by accuracy or worst-group accuracy on validation, goes
    on to `halving` times as much (with all lengths of an ensemble, which are one fit); those that stop are recorded
    with their share and never compared with the others.

    `representations` are stages made before: the configurations of "representation-gbm" find theirs there by its
    weights, and without them each is learned here.

    Nothing is fitted when no group has 20 rows of validation and of test.
    """

    version: ClassVar[int] = 4  # a logistic regression does not depend on the others of its Step
    requires: ClassVar[tuple[str, ...]] = ("sklearn",)

    design: Design
    learner: str
    configurations: tuple[tuple[tuple[str, bool | int | float | str], ...], ...]
    epochs: int = 20
    seed: int = 0
    halving: int = 1
    representations: tuple[FairTable, ...] = ()

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Fit and measure; raises `SurefootError` for an unknown learner or no configuration."""
        if self.learner not in LEARNERS:
            raise SurefootError(f"There is no learner named '{self.learner}'. Known: {', '.join(LEARNERS)}.")
        if not self.configurations or self.halving < 1:
            raise SurefootError("A sweep needs at least one configuration, and halving of at least 1.")
        self._check_representations()
        _one_thread()
        parts = open_design(inputs[self.design])
        _check_groups(parts)
        fits = _Fits.empty(len(self.configurations), parts)
        _climb(self, parts, fits, (inputs, out))
        halves = {part: to_half(fits.scores[part]) for part in SCORED}
        np.savez_compressed(out / "scores.npz", validation=halves["validation"], test=halves["test"])
        columns = _columns(self, parts, fits)
        write_columns(out / "configurations.parquet", columns)
        return _measured(columns, parts)

    def _check_representations(self) -> None:
        """Every configuration must find its representation, of this design."""
        made = {(table.label, table.parity) for table in self.representations if table.design == self.design}
        wanted = {(dict(each).get("label"), dict(each).get("parity")) for each in self.configurations}
        if self.representations and (self.learner != "representation-gbm" or not wanted <= made):
            raise SurefootError(
                "The representations do not fit the learner, the design or the configurations' weights."
            )


def table_fits(
    design: Design,
    learner: str,
    configurations: Sequence[Configuration],
    *,
    epochs: int = 20,
    halving: int = 1,
    representations: Sequence[FairTable] = (),
) -> tuple[TableFits, ...]:
    """The Steps of a learner on one design, each of at most 256 configurations and of whole ensembles.

    So a cluster shares a full grid, and what is stopped loses minutes. Each halves its own configurations. Raises
    `SurefootError` for a `halving` that no Step has configurations for.
    """
    if halving > MOST_CONFIGURATIONS:
        raise SurefootError(
            f"Halving by {halving} would stop nothing: a Step has at most {MOST_CONFIGURATIONS} configurations. "
            f"Take a factor of 2 to {MOST_CONFIGURATIONS}."
        )
    ensembles: dict[Configuration, list[Configuration]] = {}
    for each in configurations:
        shared = tuple(pair for pair in each if pair[0] != "n_estimators")
        ensembles.setdefault(shared, []).append(each)
    chunks: list[list[Configuration]] = [[]]
    for ensemble in ensembles.values():
        if len(chunks[-1]) + len(ensemble) > MOST_CONFIGURATIONS and chunks[-1]:
            chunks.append([])
        chunks[-1] += ensemble
    fits = []
    for chunk in chunks:
        weights = {(dict(each).get("label"), dict(each).get("parity")) for each in chunk}
        stages = tuple(table for table in representations if (table.label, table.parity) in weights)
        named: dict[str, Any] = {"epochs": epochs, "halving": halving, "representations": stages}
        fits.append(TableFits(design=design, learner=learner, configurations=tuple(chunk), **named))
    return tuple(fits)


def _check_groups(parts: OpenedDesign) -> None:
    """Raise when no group is large enough for a worst group to be chosen or told."""
    for name in SCORED:
        sizes = np.bincount(getattr(parts, name).g, minlength=len(parts.groups))
        if sizes.max() < LEAST_ROWS:
            shown = "; ".join(map("{} {}".format, parts.groups, sizes))
            raise SurefootError(
                f"No group has {LEAST_ROWS} {name} rows ({shown}): take fewer sensitive columns, or more rows."
            )


@dataclass
class _Fits:
    """The scores (configurations, rows) of each part, and the share and CPU seconds of each fit."""

    scores: dict[str, NDArray[np.float32]]
    share: NDArray[np.float64]
    seconds: NDArray[np.float64]

    @staticmethod
    def empty(count: int, parts: OpenedDesign) -> _Fits:
        rows = {"validation": len(parts.validation.y), "test": len(parts.test.y)}
        scores = {part: np.full((count, rows[part]), 0.5, np.float32) for part in SCORED}
        return _Fits(scores, np.zeros(count), np.zeros(count))


def _climb(step: TableFits, parts: OpenedDesign, fits: _Fits, at: tuple[Inputs, Path]) -> None:
    """One rung after another; without halving, the only rung is the whole."""
    places = list(range(len(step.configurations)))
    rungs = rung_shares(step.halving, len(parts.train.y), len(places), by_epochs=step.learner in NETWORKS)
    for share in rungs:
        fitted = 0
        for stage in _stages(step, parts, places, at[0]):
            for _ in _fit_stage(step, stage, fits, share):
                fitted += 1
                report_progress(at[1], fitted, len(places), share=share)
        if share < 1:
            places = _survivors(step, parts.validation, fits.scores["validation"], places)


def rung_shares(halving: int, rows: int, configurations: int, *, by_epochs: bool) -> list[float]:
    """The shares of successive halving, lowest first: at most three, none below 1,000 rows or above the need."""
    if halving == 1:
        return [1.0]
    shares = [float(halving) ** -power for power in (2, 1, 0)]
    needed = [share for share in shares if configurations * share >= 1 or share == 1]
    return [share for share in needed if share == 1 or by_epochs or share * rows >= _LEAST_RUNG_ROWS]


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """Configurations that are fitted by one learner on the same rows, with the CPU seconds that the rows cost."""

    learner: str
    places: Sequence[int]
    configurations: Sequence[Mapping[str, Any]]
    parts: OpenedDesign
    seconds: float = 0.0


def _stages(step: TableFits, parts: OpenedDesign, places: Sequence[int], inputs: Inputs) -> Iterator[_Stage]:
    """The places by the representation they want; one stage for all of them when there is none."""
    wanted = {place: dict(step.configurations[place]) for place in places}
    if not step.representations:
        yield _Stage(learner=step.learner, places=places, configurations=list(wanted.values()), parts=parts)
        return
    for table in step.representations:
        here = [
            place
            for place in places
            if (wanted[place]["label"], wanted[place]["parity"]) == (table.label, table.parity)
        ]
        if here:
            boosting = [_without(wanted[place], ("label", "parity")) for place in here]
            rows, seconds = represented(inputs[table], parts)
            yield _Stage(learner="lightgbm", places=here, configurations=boosting, parts=rows, seconds=seconds)


def _without(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def _fit_stage(step: TableFits, stage: _Stage, fits: _Fits, share: float) -> Iterator[int]:
    """Fit a stage on a share of the training rows (networks: of the epochs); yields the places as they are done."""
    network = step.learner in NETWORKS
    epochs = max(1, round(step.epochs * share)) if network else step.epochs
    scored = [stage.parts.validation, stage.parts.test]
    train = stage.parts.train if network or share == 1 else _subset(stage.parts.train, share, step.seed)
    for fitted in fit_many(stage.learner, stage.configurations, train, scored, seed=step.seed, epochs=epochs):
        place = stage.places[fitted.place]
        for part, scores in zip(SCORED, fitted.scores, strict=True):
            fits.scores[part][place] = scores
        # A representation is paid for once, by those that use it.
        paid = stage.seconds / len(stage.places) if fits.share[place] == 0 else 0.0
        fits.share[place] = share
        fits.seconds[place] += fitted.seconds + paid
        yield place


def _survivors(step: TableFits, part: GroupedRows, scores: NDArray[np.float32], places: Sequence[int]) -> list[int]:
    """The best 1 in `halving`, taking turns between the ranking by accuracy and that by worst-group accuracy.

    What goes on are whole ensembles, by the best of their lengths: the shorter ones come out of the longest.
    """
    found = group_metrics(part.y, scores[list(places)], part.g, probabilities=False)
    worst = np.nan_to_num(worst_group(found).value)
    ranks = [np.argsort(np.argsort(-value, kind="stable")) for value in (found.overall["accuracy"], worst)]
    order = np.lexsort((ranks[0], np.minimum(*ranks)))
    ensembles: dict[Any, list[int]] = {}
    for at in order:
        shared = _without(dict(step.configurations[places[at]]), ("n_estimators",))
        ensembles.setdefault(tuple(sorted(shared.items())), []).append(places[at])
    kept = list(ensembles.values())[: max(1, -(-len(ensembles) // step.halving))]
    return sorted(place for members in kept for place in members)


def _columns(step: TableFits, parts: OpenedDesign, fits: _Fits) -> dict[str, Any]:
    titles = [json.dumps(dict(each)) for each in step.configurations]
    columns: dict[str, Any] = {
        "place": np.arange(len(titles)),
        "learner": np.array([step.learner] * len(titles), dtype=object),
        "configuration": np.array(titles, dtype=object),
        "share": fits.share,
        "cpu_seconds": fits.seconds,
    }
    for name in SCORED:
        part = getattr(parts, name)
        found = group_metrics(
            part.y, fits.scores[name], part.g, groups=parts.groups, probabilities=LEARNERS[step.learner].probabilities
        )
        columns |= {f"{name}_{metric}": values for metric, values in flat_metrics(found).items()}
    return columns


def flat_metrics(found: GroupMetrics) -> dict[str, NDArray[np.float64]]:
    """Every metric as one column of the configurations: overall, worst group, disparities, and each group."""
    worst = worst_group(found)
    flat = {
        "accuracy": found.overall["accuracy"],
        "balanced_accuracy": found.overall["balanced_accuracy"],
        "worst_group_balanced_accuracy": worst_group(found, "balanced_accuracy").value,
        "selection_rate": found.overall["selection_rate"],
        "worst_group_accuracy": worst.value,
        "worst_group_low": worst.low,
        "worst_group_high": worst.high,
        "worst_group": worst.group.astype(np.float64),
        "worst_group_rows": worst.n.astype(np.float64),
        **disparities(found),
    }
    for name in _KEPT_LOSSES:
        if name in found.overall:
            flat[name] = found.overall[name]
            flat[f"worst_{name}"] = worst_loss(found, name)
    for metric in ("accuracy", "true_positive_rate", "false_positive_rate", "selection_rate"):
        for place in range(len(found.groups)):
            flat[f"{metric}_of_{place}"] = found.by_group[metric][:, place]
    return flat


def _measured(columns: Mapping[str, Any], parts: OpenedDesign) -> Iterable[Measurement]:
    for part in SCORED:
        n = len(getattr(parts, part).y)
        accuracy = columns[f"{part}_accuracy"]
        low, high = wilson_bounds(np.rint(accuracy * n), n)
        for place in np.flatnonzero(columns["share"] == 1):
            at = {"shift": part, "replicate": int(place)}
            interval = {"low": float(low[place]), "high": float(high[place])}
            yield Measurement(metric="accuracy", value=accuracy[place], n=n, **interval, **at)
            yield from _worst_measured(columns, parts, part, int(place), at)
    yield Measurement(metric="cpu_seconds", value=float(columns["cpu_seconds"].sum()), n=len(columns["place"]))


def _worst_measured(
    columns: Mapping[str, Any], parts: OpenedDesign, part: str, place: int, at: Mapping[str, Any]
) -> Iterable[Measurement]:
    worst = {
        name: columns[f"{part}_{name}"][place]
        for name in ("worst_group_accuracy", "worst_group_low", "worst_group_high")
    }
    if not np.isfinite(worst["worst_group_accuracy"]):
        return
    rows = int(columns[f"{part}_worst_group_rows"][place])
    yield Measurement(
        metric="worst_group_accuracy",
        value=worst["worst_group_accuracy"],
        low=worst["worst_group_low"],
        high=worst["worst_group_high"],
        n=rows,
        group=parts.groups[int(columns[f"{part}_worst_group"][place])],
        **at,
    )
    gap = columns[f"{part}_accuracy_disparity"][place]
    if np.isfinite(gap):
        yield Measurement(metric="accuracy_disparity", value=gap, n=rows, **at)


def to_half(scores: NDArray[np.float32]) -> NDArray[np.float16]:
    """Scores in half precision whose decision at one half is that of the full ones."""
    half = scores.astype(np.float16)
    half[(half >= 0.5) & (scores < 0.5)] = np.nextafter(np.float16(0.5), np.float16(0))
    return half


def write_columns(path: Path, columns: Mapping[str, Any]) -> None:
    with in_memory() as connection:
        connection.register("table_columns", dict(columns))
        connection.table("table_columns").write_parquet(str(path), compression="zstd")


def _subset(part: GroupedRows, share: float, seed: int) -> GroupedRows:
    generator = np.random.default_rng([seed, len(part.y)])
    strata = 2 * np.asarray(part.g).astype(np.intp) + np.asarray(part.y)
    order = np.lexsort((generator.random(len(strata)), strata))
    _, starts, sizes = np.unique(strata[order], return_index=True, return_counts=True)
    rank = np.arange(len(strata)) - np.repeat(starts, sizes)
    rows = np.sort(order[rank < np.maximum(1, np.repeat(sizes, sizes) * share)])
    return GroupedRows(x=np.asarray(part.x)[rows], y=np.asarray(part.y)[rows], g=np.asarray(part.g)[rows])


def _one_thread() -> None:
    """One thread a fit: Steps side by side fill the cores, and the number of threads can change a sum."""
    import sys

    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
