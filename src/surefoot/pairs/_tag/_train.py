"""A head from labelled embeddings: logistic regression, and how well its probabilities hold on rows kept apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from surefoot.core import SurefootError, Table
from surefoot.pairs._search._embed import IMAGES, TEXTS, has_direction
from surefoot.pairs._search._where import KEPT, rows_of, select
from surefoot.pairs._stages._manifest import read_manifest, sources_in
from surefoot.pairs._tag._heads import Head, write_head

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAST, _BINS, _APART = 20, 10, 0.2
_PENALTIES = [0.01, 0.1, 1.0, 10.0, 100.0, 1000.0]


def train_head(
    directory: Path, label: str, out: Path, *, of: Literal["images", "texts"] = "images", seed: int = 0
) -> Table:
    """Train a head on rows of an embedded stage, write it to `out` (`.npz`), and tell how it does on others.

    `label` is an SQL condition over the columns of a row: true, false, or null where nobody looked. A fifth of the
    rows is kept apart, equal vectors on one side. The strength of the penalty is chosen by five folds of the rest.
    Told are the Brier score (Student's interval), the expected calibration error in ten bins (`calibration_bounds`),
    right answers at one half, and for each bin the share that is true (Wilson's), all at 95 percent. Raises
    `SurefootError` for a condition that is none, and fewer than 20 rows of either label on a side.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    vectors, labels = _labelled(directory, label, IMAGES if of == "images" else TEXTS)
    apart = _apart(vectors, seed)
    counts = [int((labels[side] == value).sum()) for side in (apart, ~apart) for value in (False, True)]
    if min(counts) < _LEAST:
        raise SurefootError(
            f"Too few rows have a label: {counts[2]} false and {counts[3]} true to train on, {counts[0]} and "
            f"{counts[1]} apart. Label more, so that each is at least {_LEAST}."
        )
    chosen = GridSearchCV(LogisticRegression(max_iter=2000), {"C": _PENALTIES}, scoring="neg_log_loss", cv=5)
    model: Any = chosen.fit(vectors[~apart], labels[~apart]).best_estimator_
    layer = (model.coef_.astype(np.float32), model.intercept_.astype(np.float32))
    rules = read_manifest(directory).recipe.rules
    head = Head(layers=(layer,), output="sigmoid", model=str(rules.get("digest", "")))
    write_head(out, head)
    return _told(labels[apart], head(vectors[apart]), trained=int((~apart).sum()))


def _labelled(directory: Path, label: str, suffix: str) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The vectors (n, dimension) and labels (n,) of rows that are kept and have both."""
    vectors, labels = [], []
    for source in sources_in(directory):
        with rows_of([source.path]) as connection:
            select(connection, "count(*)", label)
            asked = f"SELECT vector, ({label}\n)::BOOLEAN FROM rows WHERE {KEPT} AND vector IS NOT NULL ORDER BY vector"
            found = [row for row in connection.execute(asked).fetchall() if row[1] is not None]
        stored = np.load(source.path.with_suffix(suffix), mmap_mode="r")
        vectors.append(stored[[at for at, _ in found]].astype(np.float32))
        labels += [value for _, value in found]
    whole, said = np.concatenate(vectors), np.array(labels, bool)
    there = has_direction(whole)
    return whole[there], said[there]


def _apart(vectors: NDArray[np.float32], seed: int) -> NDArray[np.bool_]:
    """A fifth of the different vectors, each with all rows that have it: a picture seen in training proves nothing."""
    _, which = np.unique(vectors, axis=0, return_inverse=True)
    groups = np.random.default_rng(seed).permutation(which.max() + 1 if len(which) else 0)
    return np.isin(which.ravel(), groups[: round(len(groups) * _APART)])


def _told(labels: NDArray[np.bool_], scores: NDArray[np.float32], trained: int) -> Table:
    from surefoot.stats import calibration_bounds, mean_t, wilson

    n, truth = len(labels), labels.astype(np.float64)
    bins = np.minimum((scores * _BINS).astype(int), _BINS - 1)
    brier, right = mean_t((scores - truth) ** 2), wilson(int(((scores >= 0.5) == labels).sum()), n)
    error = float(np.abs(np.bincount(bins, scores - truth, _BINS)).sum() / n)
    low, high = (float(bound[0]) for bound in calibration_bounds(labels, scores))
    rows = [
        ("trained on", trained, None, None, trained),
        ("Brier score", brier.estimate, brier.low, brier.high, n),
        ("expected calibration error", error, low, high, n),
        ("right at 0.5", right.estimate, right.low, right.high, n),
    ]
    for one in np.unique(bins):
        among = labels[bins == one]
        share = wilson(int(among.sum()), len(among))
        name = f"true where {one / _BINS:.1f} to {(one + 1) / _BINS:.1f} is said"
        rows.append((name, share.estimate, share.low, share.high, len(among)))
    return Table(("of", "value", "low", "high", "n"), tuple(rows))
