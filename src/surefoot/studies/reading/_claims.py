"""The findings of arXiv 2210.12517 as claims on a landscape: the published one, and the study's own."""

from collections.abc import Iterable, Iterator
from functools import partial
from math import atanh, sqrt, tanh
from typing import Any

from surefoot.core import Results, SurefootError
from surefoot.laws import AVERAGE
from surefoot.stats import error_of_bounds, t_quantile
from surefoot.studies._hypotheses import Hypothesis, Pooled
from surefoot.studies.reading._landscape import R2, Landscape, by_shift, found_in, robustness_of, what_moves_it
from surefoot.studies.reading._published import BASELINE, CONTROL, PublishedLandscape

PAPER = "arXiv 2210.12517"
_MEASURED: dict[str, Any] = {"as_measured": True, "counted": "readers", "shown": "effective robustness"}
MARGIN = 0.03
"""Three points, half of what prompt fine-tuning on the full data gives: less than this makes no difference."""
DECIDES = 0.8
"""Accuracy in distribution decides accuracy under shift where it explains this share of its variance."""
_SUBJECTS = {
    "in context": "Readers that learn in context",
    "few-shot prompt": "Readers prompt fine-tuned on a few examples",
    "prompt fine-tuned": "Readers prompt fine-tuned on all examples",
    "zero-shot": "Zero-shot readers",
    "few-shot span": "fine-tuning a span head on a few examples",
    "adapter": "adapters (LoRA and the like)",
    "robust training": "robust training",
}
_NO_MORE = ("few-shot span", "adapter", "robust training")
_MORE = "{} are more robust than " + BASELINE + " ones of the same accuracy ({})."
_NEAR = f"within {100 * MARGIN:g} points of the line of {BASELINE} readers"
_SAME = f"It makes no difference to robustness to use {{}} ({_NEAR}; {{}})."
_DECIDE = {
    "accuracy decides": f"Accuracy in distribution explains more than {100 * DECIDES:g} percent of the variance of "
    f"accuracy averaged over shifts, among {BASELINE} readers ({{}}).",
    "accuracy decides under every shift": "It does so under every shift alone ({}).",
}
_OURS = "ours: the paper shows the average"


def landscape_claims(kind: Landscape, groups: Iterable[str]) -> Iterator[Hypothesis]:
    """What the paper says, as far as a landscape with these adaptations can be asked."""
    where = "the published evaluations" if kind is PublishedLandscape else "the study's own readers"
    known, label = set(groups), _label(kind)
    for group, subject in _SUBJECTS.items():
        if group in known:
            same = group in _NO_MORE
            yield Hypothesis(
                name=f"{label}: {group}",
                sentence=(_SAME if same else _MORE).format(subject, where),
                effect=partial(_robustness, kind, group),
                source=f"{PAPER}, abstract",
                **({"bound": MARGIN, "within": True} if same else {}),
                **_MEASURED,
            )
    shares: dict[str, Any] = _MEASURED | {"unit": "share", "shown": "R2"}
    for weakest, (name, sentence) in enumerate(_DECIDE.items()):
        yield Hypothesis(
            name=f"{label}: {name}",
            sentence=sentence.format(where),
            effect=partial(_explained, kind, bool(weakest)),
            source=_OURS if weakest else f"{PAPER}, section 4",
            bound=DECIDES,
            **shares,
        )


def _robustness(kind: Landscape, group: str, results: Results) -> tuple[Pooled, str]:
    return robustness_of(results, kind, group), what_moves_it(results, kind, group)


def _explained(kind: Landscape, weakest: bool, results: Results) -> tuple[Pooled, str]:
    """R2 of the average of shifts with Fisher's interval at the number of readers, or the least of a shift: that one's
    interval holds for all of them together (Bonferroni), since it was chosen by its value.
    """
    main = found_in(results, kind)
    by_name = {shift: one for (metric, shift, _), one in main.items() if metric == R2}
    alone = {shift: one for shift, one in by_name.items() if shift not in (AVERAGE, CONTROL)}
    if not alone:
        raise SurefootError("The landscape has no line: too few fully fine-tuned readers.")
    shift = min(alone, key=lambda name: alone[name].value) if weakest else AVERAGE
    found = by_name.get(shift) or next(iter(alone.values()))
    if found.n < 4:
        raise SurefootError("A share of variance needs four fully fine-tuned readers or more.")
    level = 1 - 0.05 / (len(alone) if weakest else 1)
    z, half = atanh(min(sqrt(found.value), 1 - 1e-9)), t_quantile(level, found.n - 3) / sqrt(found.n - 3)
    low, high = tanh(max(z - half, 0.0)) ** 2, tanh(z + half) ** 2
    said = ", ".join(f"{name} {one.value:.3f}" for name, one in sorted(alone.items(), key=lambda item: -item[1].value))
    error = error_of_bounds(low, high, freedom=found.n - 3)
    pooled = Pooled(value=found.value, stderr=error, n=found.n, freedom=found.n - 3, bounds=(low, high))
    return pooled, (f"the least, {shift}, decides; " if weakest else "") + f"by shift: {said}"


def loses_there(kind: Landscape, group: str, shift: str) -> Hypothesis:
    """That an average hides a shift, named beforehand, under which an adaptation loses."""

    def effect(results: Results) -> tuple[Pooled, str]:
        most = list(by_shift(results, kind, group).items())[-1]
        return robustness_of(results, kind, group, shift), f"under {most[0]} they have {most[1].value:+.1f}"

    return Hypothesis(
        name=f"{_label(kind)}: {group} on {shift}",
        sentence=f"'More robust' is an average: on {shift}, readers that learn {group} lie below the line.",
        effect=effect,
        below=True,
        source=_OURS,
        **_MEASURED,
    )


def _label(kind: Landscape) -> str:
    return "published" if kind is PublishedLandscape else "own"
