"""Several tasks on a user's pictures in one go: each picture is decoded and embedded once for all of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any, Literal

from surefoot.contrastive._models._embed import EmbeddedFiles, Known, cut_said, embed_files
from surefoot.contrastive._pictures._captioned import captioned_pictures
from surefoot.contrastive._pictures._folder import read_labelled
from surefoot.contrastive._pictures._parquet import as_given, unpacked
from surefoot.contrastive._tasks._files import PromptedModel, name_pictures
from surefoot.contrastive._tasks._probe import LabelledFeatures, fit_probe
from surefoot.contrastive._tasks._retrieval import retrieval_measurements, retrieve
from surefoot.contrastive._tasks._zero_shot import classification_measurements
from surefoot.core import Measurement, SurefootError, counted
from surefoot.examples import Asked

Task = Literal["zero-shot", "retrieval", "probe", "few-shot"]
CASINGS: dict[str, Callable[[str], str]] = {"lower case": str.lower, "upper case": str.upper, "Title Case": str.title}
_MODES = {"shortest": "cropped", "squash": "squashed", "longest": "padded"}


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What is measured, on what. `train` and `validation` are labelled as the pictures are.

    `shots` are pictures a class for "few-shot", `draws` how often they are drawn. `template` makes a caption of the
    name of the folder where a picture has none. With `sensitivity` zero-shot and retrieval are measured again with
    other crops, interpolation and casing.
    """

    tasks: tuple[Task, ...]
    pictures: Path
    classes: Path | None = None
    train: Path | None = None
    validation: Path | None = None
    shots: tuple[int, ...] = (4,)
    draws: int = 3
    template: str | None = None
    sensitivity: bool = False
    count_refused: bool = False
    batch: int = 64
    workers: int | None = None


@dataclass(kw_only=True)
class SuiteResult:
    """Measurements (`group` says what was changed), by task the columns of `examples.parquet` and what was `asked`, and
    what to say."""

    measurements: list[Measurement] = field(default_factory=list)
    columns: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: dict[str, Asked] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def keep(
        self, task: str, columns: dict[str, Any], asked: Asked, measured: Iterable[Measurement], change: str = ""
    ) -> None:
        """Add what a task measured; of several changes the columns of the first are kept."""
        self.asked.setdefault(task, asked)
        self.columns.setdefault(task, columns | {"task": [task] * len(columns["example"])})
        self.measurements += [replace(one, task=task, group=change) for one in measured]


def run_suite(model: PromptedModel, suite: Suite) -> SuiteResult:
    """Measure the tasks, in their order. Raises `SurefootError` where a task lacks what it needs."""
    probes = {"probe", "few-shot"} & {*suite.tasks}
    if probes and suite.train is None:
        raise SurefootError("A probe needs labelled pictures to train on: give --train.")
    if probes and suite.sensitivity:
        raise SurefootError(f"--sensitivity is for zero-shot and retrieval: leave out --task {min(probes)}.")
    models = {"": model} | (_changed(model) if suite.sensitivity else {})
    known: Known = {}
    result = SuiteResult()

    def embedded(stored: Iterable[Any]) -> EmbeddedFiles:
        loaded = [one.loaded for one in models.values()]
        return embed_files(loaded, stored, batch=suite.batch, workers=suite.workers, known=known)

    with unpacked(suite.pictures) as pictures, unpacked(suite.train) as train, unpacked(suite.validation) as held:
        here = replace(suite, pictures=pictures or suite.pictures, train=train, validation=held)
        given = ((pictures, suite.pictures), (train, suite.train), (held, suite.validation))
        for task in dict.fromkeys(suite.tasks):
            if task == "zero-shot":
                _zero_shot(models, here, known, result)
            elif task == "retrieval":
                _retrieval(models, here, embedded, result)
            else:
                _probe(here, embedded, result, dict.fromkeys(suite.shots) if task == "few-shot" else (None,))
    result.notes = [
        *dict.fromkeys(reduce(lambda said, one: as_given(said, *one), given, note) for note in result.notes)
    ]
    return result


def _changed(model: PromptedModel) -> dict[str, PromptedModel]:
    """The model with one thing of the preparation changed at a time."""
    pixels = model.loaded.pixels
    other = "bilinear" if pixels.interpolation == "bicubic" else "bicubic"
    changed = {word: replace(pixels, resize_mode=mode) for mode, word in _MODES.items() if mode != pixels.resize_mode}
    changed[other] = replace(pixels, interpolation=other)
    found = {name: replace(model, loaded=replace(model.loaded, pixels=one)) for name, one in changed.items()}
    return found | {name: replace(model, casing=casing) for name, casing in CASINGS.items()}


def _zero_shot(models: Mapping[str, PromptedModel], suite: Suite, known: Known, result: SuiteResult) -> None:
    options = {"count_refused": suite.count_refused, "batch": suite.batch, "workers": suite.workers}
    named = name_pictures([*models.values()], suite.pictures, suite.classes, known=known, **options)
    result.notes += named.notes
    for (change, model), one, columns in zip(models.items(), named.results, named.columns, strict=True):
        asked = {"classes": named.classes, "prompts": model.templates}
        result.keep("zero-shot", columns, asked, classification_measurements(one, task="", shift=""), change)


def _retrieval(
    models: Mapping[str, PromptedModel],
    suite: Suite,
    embedded: Callable[[Iterable[Any]], EmbeddedFiles],
    result: SuiteResult,
) -> None:
    captions: dict[str, tuple[str, ...]] = {}
    without: list[str] = []

    def reads() -> Iterator[Callable[[], bytes]]:
        for one in captioned_pictures(suite.pictures, suite.template):
            if one.captions:
                captions[one.name] = one.captions
                yield one.read
            else:
                without.append(one.name)

    found = embedded(reads())
    names = [*captions]
    kept = [names[row] for row in found.rows]
    if not kept:
        raise SurefootError(f"{suite.pictures}: no picture has a caption, which retrieval needs. Give --caption.")
    left = {"have no caption": without, "cannot be decoded": [names[row] for row in found.refused]}
    for why, those in left.items():
        if those:
            many = counted(len(those), "picture")
            result.notes.append(f"Retrieval leaves out {many} that {why}, such as {those[0]}.")
    _refuse_uncounted(suite, found, "retrieval")
    result.notes += cut_said(models[""].loaded, [text for name in kept for text in captions[name]])
    for (change, model), images in zip(models.items(), found.embeddings, strict=True):
        ranked = retrieve(model.loaded, images, [[model.casing(text) for text in captions[name]] for name in kept])
        contents = [*found.contents, *(found.contents[picture] for picture in ranked.pictures)]
        result.keep(
            "retrieval",
            ranked.columns(kept) | {"content": contents},
            ranked.asked,
            retrieval_measurements(ranked, task="", shift=""),
            change,
        )


def _refuse_uncounted(suite: Suite, found: EmbeddedFiles, task: str) -> None:
    if suite.count_refused and found.refused:
        raise SurefootError(
            f"{counted(len(found.refused), 'picture')} cannot be decoded, and {task} does not count such as wrong: "
            "leave '--unreadable wrong' out, or them."
        )


def _probe(
    suite: Suite,
    embedded: Callable[[Iterable[Any]], EmbeddedFiles],
    result: SuiteResult,
    shots: Iterable[int | None],
) -> None:
    contents: dict[Path, tuple[str, ...]] = {}

    def labelled(place: Path) -> LabelledFeatures:
        listing, labels = read_labelled(place, suite.classes)
        found = embedded(item.stored for item in listing.pictures)
        contents[place] = found.contents
        if place == suite.pictures:
            _refuse_uncounted(suite, found, "a probe")
        for row, reason in [*found.refused.items()][:1]:
            many = counted(len(found.refused), "picture")
            result.notes.append(f"{many} of {place} left out, such as {listing.pictures[row].name} ({reason}).")
        return LabelledFeatures(
            features=found.embeddings[0],
            labels=tuple(labels.keys[row] for row in found.rows),
            ids=tuple(listing.pictures[row].name for row in found.rows),
            keys=tuple(labels.names),
        )

    train, test = labelled(suite.train or suite.pictures), labelled(suite.pictures)
    validation = labelled(suite.validation) if suite.validation else None
    for place in (suite.train, suite.validation):
        if place and (seen := len({*contents[place]} & {*contents[suite.pictures]})):
            result.notes.append(f"{counted(seen, 'picture')} of the test stand among what the probe was fitted on.")
    for count in shots:
        task = "linear probe" if count is None else f"{count}-shot probe"
        draws = 1 if count is None else suite.draws
        for draw in range(draws):
            probe = fit_probe(train, validation, shots=count, seed=draw)
            answers, name = probe.classify(test), f"draw {draw + 1}" if draws > 1 else ""
            result.notes.append(
                f"{' '.join(filter(None, (task, name)))}: trained on {counted(probe.trained, 'picture')}, inverse "
                f"penalty {probe.strength:.3g} chosen on {probe.validated} ({suite.validation or 'of --train'})."
            )
            measured = classification_measurements(answers, task="", shift="")
            columns = answers.columns(test.ids, probe.keys) | {"content": [*contents[suite.pictures]]}
            result.keep(task, columns, {"classes": probe.keys}, measured, name)
