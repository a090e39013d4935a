"""What the study claims and shows of filtering by similarity, over seeds and test pictures."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from surefoot.contrastive import Retrieval
from surefoot.core import Figure, Results, SurefootError
from surefoot.figures import coefficient_curve
from surefoot.stats import group_auc, mean_t
from surefoot.studies._drawn import Row, TaskAccuracies, accuracies_of, crossed_interval
from surefoot.studies._hypotheses import Hypothesis, Pooled, pooled
from surefoot.studies.pairs._steps import ALL, DRAWINGS, KINDS, PHOTOS, RANDOM, RIGHT, TRUE, Choice, PairsSeed, scored

LAION, DATACOMP = "arXiv 2210.08402, section 3", "arXiv 2304.14108, section 4"
MARGIN = 0.05
"""What filtered pairs may have less than right ones."""
_BINS = 40

Trials = Sequence[PairsSeed]


def hypotheses(trials: Trials) -> Iterator[Hypothesis]:
    """The claims over these seeds; the first of the `shares` is the filter, the least is called too strict."""
    top, least = trials[0].shares[0], min(trials[0].shares)
    ranks, effect = "Similarity ranks a right text above a wrong one.", partial(_separated, trials)
    yield Hypothesis(name="similarity-separates", sentence=ranks, effect=effect, source=LAION, bound=0.5, unit="share",
                     counted="seeds", shown="area under the curve")  # fmt: skip
    gains, most = "Filtering by similarity raises zero-shot accuracy, of as many pairs", f"the best {top:.0%}"
    lack = f"lack less than {100 * MARGIN:g} points on those of as many right texts"
    compared: tuple[tuple[str, str, Choice, str, str, float], ...] = (
        ("filtering-gains", f"{gains}.", RANDOM, PHOTOS, LAION, 0),
        ("gains-under-shift", f"{gains}, on drawings, too.", RANDOM, DRAWINGS, LAION, 0),
        ("above-all", f"Models of {most} are better than those of all candidates.", ALL, PHOTOS, DATACOMP, 0),
        ("too-strict", f"Keeping the best {least:.0%} is too strict: models are worse.", least, PHOTOS, DATACOMP, 0),
        ("near-right", f"Models of {most} {lack}.", TRUE, PHOTOS, "ours", -MARGIN),
    )
    for name, sentence, other, shift, source, bound in compared:
        effect = partial(_difference, trials, top, other, shift)
        yield Hypothesis(name=name, sentence=sentence, source=source, effect=effect, bound=bound, counted="seeds",
                         shown="difference in accuracy")  # fmt: skip
    found = f"Models of {most} find a photograph by its text better than those of as many at random."
    yield Hypothesis(name="retrieves-better", sentence=found, source=LAION, effect=partial(_found, trials), bound=0,
                     counted="seeds", shown="difference in recall at 10")  # fmt: skip


def _accuracies(trials: Trials, choice: Choice, shift: str, found: TaskAccuracies) -> list[float]:
    return [found.value(one.models[choice], one.tests[shift]) for one in trials]


def _difference(trials: Trials, first: Choice, other: Choice, shift: str, results: Results) -> tuple[Pooled, str]:
    def both(found: TaskAccuracies) -> NDArray[np.float64]:
        return np.array([_accuracies(trials, choice, shift, found) for choice in (first, other)])

    mean = crossed_interval(lambda found: (both(found)[0] - both(found)[1]).tolist(), results)
    said = "Accuracy {:.1%} less {:.1%}".format(*both(accuracies_of(results)).mean(axis=1))
    return pooled(mean, len(trials)), said


def _separated(trials: Trials, results: Results) -> tuple[Pooled, str]:
    """The area under the curve of each seed's candidates, which no other seed has."""
    areas, shares, top = [], [], trials[0].shares[0]
    for one in trials:
        rows = scored(results.store.path(one.embedded), "kind, similarity")
        right = [kind == RIGHT for kind, _ in rows]
        areas.append(float(group_auc(right, [score for _, score in rows], [0] * len(rows)).value[-1]))
        shares.append(fmean(right[: round(top * len(rows))]))
    return pooled(mean_t(areas), len(areas)), f"Of the texts of the best {top:.0%} {fmean(shares):.1%} are right"


def _found(trials: Trials, results: Results) -> tuple[Pooled, str]:
    """The difference of each seed, whose models, photographs and texts no other seed has."""
    recalls = {one.step: one.value for one in results.select(Retrieval, metric="image_retrieval_recall@10")}
    if missing := [step for one in trials for step in one.retrieval if step not in recalls]:
        raise SurefootError(f"Photographs were not looked for with {len(missing)} models yet.")
    first, other = np.array([[recalls[step] for step in one.retrieval] for one in trials]).T
    return pooled(mean_t(first - other), len(trials)), f"Recall {first.mean():.1%} less {other.mean():.1%}"


def figures(trials: Trials) -> tuple[Callable[[Results], Figure], ...]:
    """The figures over these seeds."""
    return tuple(partial(make, trials) for make in (_thresholds, _similarities))


def _thresholds(trials: Trials, results: Results) -> Figure:
    rows, first = list[Row](), trials[0]
    for shift, choice in product(first.tests, sorted(first.models, key=str)):
        mean = crossed_interval(partial(_accuracies, trials, choice, shift), results)
        x, family = (first.shares[0], f"{shift}, {choice}") if isinstance(choice, str) else (choice, shift)
        bounds = {"low": mean.low, "high": mean.high, "n": len(trials)}
        rows.append({"x": x, "y": mean.estimate, "family": family, **bounds})
    caption = f"""Zero-shot top-1 accuracy of models that saw {first.samples:,} pairs, repeats counted, of the most
    similar of {first.candidates.count:,} candidates. Bands: 95 percent, over {len(trials)} seeds and test pictures.
    Dashed: the filter of the claims; there, also as many pairs at random, and as many right ones."""
    return coefficient_curve(rows, name="thresholds", title="Accuracy against the share that a filter keeps",
                             caption=" ".join(caption.split()), x_title="Share of candidates that is kept",
                             y_title="Top-1 accuracy", chosen=first.shares[0])  # fmt: skip


def _similarities(trials: Trials, results: Results) -> Figure:
    pairs = [row for one in trials for row in scored(results.store.path(one.embedded), "kind, similarity")]
    edges = np.histogram_bin_edges([score for _, score in pairs], _BINS)
    by_kind = {name: [score for kind, score in pairs if kind == name] for name in KINDS}
    rows = [{"x": float(left), "y": int(count) / len(scores), "family": kind, "n": len(scores)}
            for kind, scores in by_kind.items() if scores
            for left, count in zip(edges, np.histogram(scores, edges)[0], strict=False)]  # fmt: skip
    caption = f"The share of the texts of each kind in {_BINS} bins of similarity (lower ends), all seeds together."
    return coefficient_curve(rows, name="similarities", title="Similarity of picture and text, by what the text is",
                             caption=caption, x_title="Similarity (cosine)", y_title="Share of texts")  # fmt: skip
