"""The language part of the study of task vectors: forget a style of text, add two, with perplexity as the control."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import fmean

from surefoot.core import Claim, Figure, Results, Step, SurefootError, Verdict, verdict_above
from surefoot.figures import interval_plot
from surefoot.language import TEXT_STYLES, FinetuneLanguage, LanguageEdit, Perplexity, SmolLM2, TextSet
from surefoot.stats import mean_t
from surefoot.studies._drawn import changes_by

PAPER = "2212.04089"
STYLES, CONTROL = ("scripture", "code"), "address"
LAST_BLOCKS = ("model.layers.2?.*",)  # a third of the 30 blocks: a third of the cost of training them all
EXCERPTS = 16
TEST_EXCERPTS = 32


@dataclass(frozen=True, kw_only=True)
class Language:
    """A language model, tuned on two styles of text, and the edits made of that."""

    base: SmolLM2
    tuned: Mapping[str, FinetuneLanguage]
    forgotten: Mapping[str, LanguageEdit]
    added: LanguageEdit
    tests: Mapping[str, TextSet]

    def models(self) -> dict[str, Step]:
        tuned = {f"tuned on {style}": model for style, model in self.tuned.items()}
        forgotten = {f"{style} subtracted": model for style, model in self.forgotten.items()}
        return {"start": self.base, **tuned, **forgotten, "both added": self.added}

    def measured(self) -> Iterator[Perplexity]:
        for model in self.models().values():
            for style, data in self.tests.items():
                yield Perplexity(model=model, data=data, task="perplexity", shift=style)


def language(steps: int, seed: int = 0) -> Language:
    """The Steps: `steps` batches of four windows of 128 tokens of each style."""
    base = SmolLM2()
    validation = {style: TextSet(style=style, part="validation", excerpts=EXCERPTS) for style in (*STYLES, CONTROL)}
    tuned = {
        style: FinetuneLanguage(
            model=base,
            data=TextSet(style=style, part="train", excerpts=4 * steps),
            steps=steps,
            learning_rate=3e-4,
            trained=LAST_BLOCKS,
            seed=seed,
        )
        for style in STYLES
    }
    control = (validation[CONTROL],)
    forgotten = {
        style: LanguageEdit(base=base, minus=(model,), objective="forget", target=(validation[style],), control=control)
        for style, model in tuned.items()
    }
    both = tuple(validation[style] for style in STYLES)
    added = LanguageEdit(base=base, plus=tuple(tuned.values()), objective="add", target=both, control=control)
    tests = {style: TextSet(style=style, part="test", excerpts=TEST_EXCERPTS) for style in (*STYLES, CONTROL)}
    return Language(base=base, tuned=tuned, forgotten=forgotten, added=added, tests=tests)


def language_claims(parts: Language) -> tuple[Claim, ...]:
    """The claims over texts: one model, so the intervals are over documents, not over trainings."""
    return (
        Claim(
            name="language-forgets",
            sentence="Subtracting a style of text from a language model costs that style more than it costs other "
            "text.",
            check=partial(_forgets, parts),
            source=f"{PAPER}, section 3.2",
        ),
        Claim(
            name="language-adds",
            sentence="Adding two styles improves a language model on both at once.",
            check=partial(_adds, parts),
            source=f"{PAPER}, section 4.2",
        ),
    )


def _change(parts: Language, results: Results, model: Step, style: str) -> list[float]:
    """By document: mean loss of a model less that of the start, in nats per token, over the same texts."""
    steps = [Perplexity(model=one, data=parts.tests[style], shift=style) for one in (parts.base, model)]
    if not all(results.store.has(step) for step in steps):
        raise SurefootError("The language part was not measured yet.")
    sums, counts = changes_by("document", results, *steps)
    return (sums / counts).tolist()


def _forgets(parts: Language, results: Results) -> Verdict:
    """Difference of two means over different documents, with Welch's interval."""
    from scipy.stats import ttest_ind

    own = [value for style, model in parts.forgotten.items() for value in _change(parts, results, model, style)]
    other = [value for model in parts.forgotten.values() for value in _change(parts, results, model, CONTROL)]
    bounds = ttest_ind(own, other, equal_var=False).confidence_interval(0.95)
    detail = (
        "Rise of the loss on the subtracted style less its rise on the control (inaugural addresses), in nats a token, "
        f"over documents; the control's perplexity is {math.exp(sum(other) / len(other)) - 1:+.1%}."
    )
    return verdict_above(fmean(own) - fmean(other), bounds.low, bounds.high, len(own) + len(other), detail=detail)


def _adds(parts: Language, results: Results) -> Verdict:
    falls = [-value for style in STYLES for value in _change(parts, results, parts.added, style)]
    found = mean_t(falls)
    detail = "Fall of the loss on the two styles in nats a token, over documents."
    return verdict_above(found.estimate, found.low, found.high, len(falls), detail=detail)


def language_figure(parts: Language) -> Callable[[Results], Figure]:
    """Perplexity of every model on every style of text."""

    def make(results: Results) -> Figure:
        rows = []
        for style, data in parts.tests.items():
            for name, model in parts.models().items():
                step = Perplexity(model=model, data=data, shift=style)
                found = next((one for one in results.store.measurements(step) if one.metric == "perplexity"), None)
                if found is not None:
                    bounds = {"low": found.low, "high": found.high, "n": found.n}
                    title = TEXT_STYLES[style].title
                    rows.append({"label": name, "group": title, "family": name, "value": found.value, **bounds})
        return interval_plot(
            rows,
            name="language",
            title="Styles of text in a language model: subtracted, and added",
            caption="Perplexity of SmolLM2-135M on test texts (lower is better); bars: 95 percent, over documents. Its "
            f"last ten blocks were tuned on each style; {TEXT_STYLES[CONTROL].title} is the control.",
            x_title="Perplexity",
            unit="number",
            reference=None,
            families=list(parts.models()),
        )

    return make
