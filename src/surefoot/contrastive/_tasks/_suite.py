"""Several tasks on a user's pictures in one go: each picture is decoded and embedded once for all of them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from surefoot.contrastive._models._embed import EmbeddedFiles, Known, embed_files
from surefoot.contrastive._pictures._captioned import captioned_pictures
from surefoot.contrastive._pictures._folder import read_labelled
from surefoot.contrastive._pictures._parquet import unpacked
from surefoot.contrastive._tasks._files import NamedPictures, PromptedModel, name_pictures
from surefoot.contrastive._tasks._probe import LabelledFeatures, fit_probe
from surefoot.contrastive._tasks._retrieval import retrieval_measurements, retrieve
from surefoot.contrastive._tasks._zero_shot import classification_measurements
from surefoot.core import Measurement, SurefootError, counted

Task = Literal["zero-shot", "retrieval", "probe", "few-shot"]
AS_PREPARED = ""
CASINGS: dict[str, Callable[[str], str]] = {"lower case": str.lower, "upper case": str.upper, "Title Case": str.title}


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What is measured, on what. `train` and `validation` are labelled as the pictures are.

    `shots` are pictures a class for "few-shot", `draws` how often they are drawn.
    `template` makes a caption of the name of the folder where a picture has none. With `sensitivity` zero-shot and
    retrieval are measured again with other crops, interpolation and casing.
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


@dataclass(frozen=True, kw_only=True)
class SuiteResult:
    """Measurements (`group` says what was changed), the columns of `examples.parquet` by task, and what to say."""

    measurements: tuple[Measurement, ...]
    columns: dict[str, dict[str, Any]]
    notes: tuple[str, ...]


@dataclass(kw_only=True)
class _Run:
    """A suite while it runs: the model with what is changed of it, and the embeddings so far by content."""

    suite: Suite
    models: tuple[PromptedModel, ...]
    changes: tuple[str, ...]
    known: Known = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)
    columns: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def embedded(self, stored: Iterable[Any]) -> EmbeddedFiles:
        models, suite = [one.loaded for one in self.models], self.suite
        return embed_files(models, stored, batch=suite.batch, workers=suite.workers, known=self.known)

    def keep(self, task: str, columns: dict[str, Any], measured: Iterable[Measurement], change: str = "") -> None:
        if not change:
            self.columns[task] = columns
        self.measurements += [replace(one, task=task, group=change) for one in measured]


def run_suite(model: PromptedModel, suite: Suite) -> SuiteResult:
    """Measure the tasks, in their order. Raises `SurefootError` where a task lacks what it needs."""
    if {"probe", "few-shot"} & {*suite.tasks} and suite.train is None:
        raise SurefootError("A probe needs labelled pictures to train on: give --train.")
    changed = _changed(model) if suite.sensitivity else {AS_PREPARED: model}
    run = _Run(suite=suite, models=tuple(changed.values()), changes=tuple(changed))
    with unpacked(suite.pictures) as pictures, unpacked(suite.train) as train, unpacked(suite.validation) as held:
        run.suite = replace(suite, pictures=pictures or suite.pictures, train=train, validation=held)
        for task in dict.fromkeys(suite.tasks):
            _TASKS[task](run)
    return SuiteResult(measurements=tuple(run.measurements), columns=run.columns, notes=tuple(dict.fromkeys(run.notes)))


def _changed(model: PromptedModel) -> dict[str, PromptedModel]:
    """The model as it is, and with one thing of the preparation changed at a time."""
    pixels = model.loaded.pixels
    modes = {"shortest": "cropped", "squash": "squashed", "longest": "padded"}
    other = "bilinear" if pixels.interpolation == "bicubic" else "bicubic"
    changed = {word: replace(pixels, resize_mode=mode) for mode, word in modes.items() if mode != pixels.resize_mode}
    changed[other] = replace(pixels, interpolation=other)
    found = {AS_PREPARED: model}
    found |= {name: replace(model, loaded=replace(model.loaded, pixels=one)) for name, one in changed.items()}
    return found | {name: replace(model, casing=casing) for name, casing in CASINGS.items()}


def _zero_shot(run: _Run) -> None:
    suite = run.suite
    options = {"count_refused": suite.count_refused, "batch": suite.batch, "workers": suite.workers}
    named: NamedPictures = name_pictures(run.models, suite.pictures, suite.classes, known=run.known, **options)
    run.notes += named.notes
    for change, result, columns in zip(run.changes, named.results, named.columns, strict=True):
        run.keep("zero-shot", columns, classification_measurements(result, task="", shift=""), change)


def _retrieval(run: _Run) -> None:
    captions: list[tuple[str, ...]] = []
    names: list[str] = []
    without: list[str] = []

    def reads() -> Iterator[Callable[[], bytes]]:
        for one in captioned_pictures(run.suite.pictures, run.suite.template):
            if one.captions:
                names.append(one.name)
                captions.append(one.captions)
                yield one.read
            else:
                without.append(one.name)

    found = run.embedded(reads())
    said = [captions[row] for row in found.rows]
    if not said:
        raise SurefootError(f"{run.suite.pictures}: no picture has a caption, which retrieval needs. Give --template.")
    left = {"have no caption": without, "cannot be decoded": [names[row] for row in found.refused]}
    run.notes += [
        f"Retrieval leaves out {counted(len(those), 'picture')} that {why}, such as {those[0]}."
        for why, those in left.items()
        if those
    ]
    for change, model, images in zip(run.changes, run.models, found.embeddings, strict=True):
        texts = [[model.casing(text) for text in one] for one in said]
        result = retrieve(model.loaded, images, texts)
        columns = result.columns([names[row] for row in found.rows])
        run.keep("retrieval", columns, retrieval_measurements(result, task="", shift=""), change)


def _labelled(run: _Run, place: Path) -> LabelledFeatures:
    """Features of labelled pictures; what cannot be decoded is said."""
    listing, labels = read_labelled(place, run.suite.classes)
    found = run.embedded(item.stored for item in listing.pictures)
    if found.refused:
        row, reason = next(iter(found.refused.items()))
        name = listing.pictures[row].name
        run.notes.append(f"{counted(len(found.refused), 'picture')} of {place} left out, such as {name} ({reason}).")
    return LabelledFeatures(
        features=found.embeddings[0],
        labels=tuple(labels.keys[row] for row in found.rows),
        ids=tuple(listing.pictures[row].name for row in found.rows),
        keys=tuple(labels.names),
    )


def _probe(run: _Run) -> None:
    _probed(run, "linear probe", None, 1)


def _few_shot(run: _Run) -> None:
    for shots in run.suite.shots:
        _probed(run, f"{shots}-shot probe", shots, run.suite.draws)


def _probed(run: _Run, task: str, shots: int | None, draws: int) -> None:
    suite = run.suite
    train, test = _labelled(run, suite.train or suite.pictures), _labelled(run, suite.pictures)
    validation = _labelled(run, suite.validation) if suite.validation else None
    for draw in range(draws):
        probe = fit_probe(train, validation, shots=shots, seed=draw)
        result = probe.classify(test)
        name = f"draw {draw + 1}" if draws > 1 else ""
        run.notes.append(
            f"{task} {name}".strip() + f": trained on {counted(probe.trained, 'picture')}, inverse penalty "
            f"{probe.strength:.3g} chosen on {probe.validated} ({suite.validation or 'of --train'})."
        )
        run.columns.setdefault(task, result.columns(test.ids, probe.keys))
        run.keep(task, run.columns[task], classification_measurements(result, task="", shift=""), name)


_TASKS: dict[str, Callable[[_Run], None]] = {
    "zero-shot": _zero_shot,
    "retrieval": _retrieval,
    "probe": _probe,
    "few-shot": _few_shot,
}
