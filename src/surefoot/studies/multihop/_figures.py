"""The figures of the study: gap against size, accuracy while training, causes, traces, and the published gaps."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial, update_wrapper
from typing import Any

from surefoot.core import Figure, Results
from surefoot.figures import Row, coefficient_curve, contact_sheet, interval_plot, text_picture
from surefoot.language import CAUSES
from surefoot.studies._drawn import seeds_row
from surefoot.studies.multihop._claims import WORDS, Where, one_hop, parameters_of, size_of, value_of
from surefoot.studies.multihop._gaps import FORMATS, HELD_OUT, runs_of
from surefoot.studies.multihop._model import FactModel
from surefoot.studies.multihop._published import NAMES, PublishedGaps
from surefoot.studies.multihop._world import direct_text, read_world, self_ask_text

_Sizes = Mapping[str, Sequence[FactModel]]
_KINDS = {f"{name}, {WORDS[part]}": (name, part) for name in FORMATS for part in HELD_OUT}


def own_figures(models: Sequence[FactModel]) -> tuple[Callable[[Results], Figure], ...]:
    """The figures of the study's own models, smallest first."""
    sizes = {size: [one for one in models if size_of(one) == size] for size in map(size_of, models)}
    largest = sizes[size_of(models[-1])]
    return (
        _drawn(_gap_against_size, sizes),
        _drawn(_accuracy_while_training, largest),
        _drawn(_causes, sizes),
        _drawn(_example_traces, models[-1]),
    )


def _drawn(draw: Callable[[Any, Results], Figure], own: object) -> Callable[[Results], Figure]:
    return update_wrapper(partial(draw, own), draw)  # a figure that fails is called by its name


def _rows(results: Results, own: Sequence[FactModel], step: int, where: Where, **named: float | str) -> Iterator[Row]:
    """A row over the seeds that have this number: a gap may be undefined."""
    values = [found for one in own if (found := value_of(results, one, step, where)) is not None]
    yield from [seeds_row(values, mean="y", shares=True, **named)] if values else []


def _gap_against_size(sizes: _Sizes, results: Results) -> Figure:
    return coefficient_curve(
        [
            row
            for size, own in sizes.items()
            for kind, (name, part) in _KINDS.items()
            for x in (parameters_of(results, own[0]) / 1e6,)
            for row in _rows(results, own, own[0].steps, ("gap", part, name), x=x, label=size, family=kind)
        ],
        name="gap-against-size",
        title="The compositionality gap against size",
        caption="At the end of training: of the questions whose hops are both right, asked alone, the share that "
        "is answered wrong; mean over seeds with Student's interval.",
        x_title="Parameters, millions",
        y_title="Compositionality gap",
        families=list(_KINDS),
    )


def _accuracy_while_training(largest: Sequence[FactModel], results: Results) -> Figure:
    points: list[Row] = []
    for step in largest[0].asked_at:
        alone = [one_hop(results, one, step) for one in largest]
        points.append(seeds_row(alone, mean="y", x=step, family="one hop", shares=True))
        for kind, (name, part) in _KINDS.items():
            points += _rows(results, largest, step, ("accuracy", part, name), x=step, family=kind)
    return coefficient_curve(
        points,
        name="accuracy-while-training",
        title=f"One hop and two while a model of {size_of(largest[-1])} trains",
        caption="Accuracy of the hops asked alone and of compositions never seen; mean over seeds with Student's "
        "interval.",
        x_title="Training step",
        y_title="Accuracy",
        families=["one hop", *_KINDS],
    )


def _causes(sizes: _Sizes, results: Results) -> Figure:
    effects = [
        {**row, "value": row["y"]}
        for size, own in sizes.items()
        for kind, (name, part) in _KINDS.items()
        for cause in CAUSES
        for where in (("lost", part, f"{name}: {cause}"),)
        for row in _rows(results, own, own[0].steps, where, label=cause, group=f"{kind}, {size}", family=cause)
        if row["y"]
    ]
    return interval_plot(
        effects,
        name="gap-causes",
        title="Why known hops do not make a right answer",
        caption="Share of the questions whose hops are both known, mean over seeds: they add up to the gap. Self-"
        "ask is told by its trace, a direct answer by asking again with the first follow-up answered: right then, "
        "the bridge was missing.",
        x_title="Share of questions with known hops",
        unit="share",
        families=CAUSES,
    )


def _example_traces(model: FactModel, results: Results) -> Figure:
    """Of each part two questions that the model answered directly, and two that it did not."""
    parameters_of(results, model)  # it is trained
    world, pictures = read_world(results.store.path(model.world)), list[Row]()
    told = json.loads(results.store.file(model, "answers.json").read_text(encoding="utf-8"))[str(model.steps)]
    for part, run in runs_of(model, world, told).items():
        for right in (True, False):
            answered = zip(run.questions, run.answers["direct"], run.answers["self-ask"], strict=True)
            chosen = [row for row in answered if (row[1].text == row[0].answers[0]) is right][:2]
            for one, direct, traced in chosen:
                given = ["".join(text(world.hops(one))[0]) for text in (direct_text, self_ask_text)]
                image = text_picture(f"{given[0]}{direct.text}\n{given[1]}{traced.trace.text}", lines=12)
                section = f"{WORDS[part]}, direct answer {'right' if right else 'wrong'}"
                pictures.append({"image": image, "label": f"Right: {one.answers[0]}.", "section": section})
    return contact_sheet(
        pictures,
        name="example-traces",
        title="What a model answers directly, and by asking itself",
        caption=f"A model of {size_of(model)}, seed {model.seed}, at the end of its training.",
    )


def published_gaps(results: Results) -> Figure:
    """The gaps of published models by strategy."""
    told = [one.measurement for one in results.select(PublishedGaps, metric="gap")]
    effects = [
        {"label": name, "family": name, "group": f"{one.task}, {one.shift}", "value": one.value, "n": one.n}
        | {"low": one.low, "high": one.high}
        for one in told
        for name in (one.group.replace("_", " "),)
    ]
    return interval_plot(
        effects,
        name="published-gaps",
        title="The compositionality gap of published models",
        caption="Bamboogle: recorded completions, replayed, by the rule cover; the other set: printed counts of exact "
        "matches. Wilson's intervals over the questions whose hops are known.",
        x_title="Compositionality gap",
        unit="share",
        families=[name.replace("_", " ") for name in NAMES],
    )
