"""The verb evaluate: what any image-text model or image encoder makes of any pictures."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, validators

from surefoot.cli._common import Exit
from surefoot.cli._compare import judge
from surefoot.cli._output import Format, check_place, emit, say
from surefoot.contrastive import (
    InferencePrecision,
    PixelOptions,
    PromptedModel,
    Suite,
    Task,
    check_templates,
    classification_measurements,
    name_pictures,
    run_suite,
    unpacked,
)
from surefoot.core import SurefootError, Table, missing_module, write_text
from surefoot.examples import EXAMPLES, Comparison, compare_examples, read_examples, write_examples

if TYPE_CHECKING:
    from surefoot.contrastive import LoadedModel, NamedPictures

_COLUMNS = ("metric", "value", "low", "high", "n")
_TEMPLATES = ("a photo of a {}.", "a drawing of a {}.", "{}")
_MODEL_FILES = ("model.json", "open_clip_config.json")
_MODEL, _BASELINE = "model", "baseline"
_USED = "evaluation.json"
_PROBES = ("probe", "few-shot")
_OF_TASKS = {
    **dict.fromkeys(("train", "validation"), _PROBES),
    **dict.fromkeys(("shots", "draws"), _PROBES[1:]),
    "caption": ("retrieval",),
    "classes": ("zero-shot", *_PROBES),
    "templates": ("zero-shot",),
}
"""Options by the tasks that use them."""
_AtLeastOne = validators.Number(gte=1)
_IsThere = validators.Path(exists=True)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ModelFlags:
    """Which model, with which weights, and how pictures are prepared for it."""

    model: Annotated[
        str,
        Parameter(
            help="An OpenCLIP name, a folder with open_clip_config.json, a model that Surefoot made, or an image "
            "encoder: timm:NAME, or torch:MODULE:FUNCTION of yours."
        ),
    ]
    pretrained: Annotated[
        Path | None, Parameter(help="The checkpoint of an OpenCLIP model: .safetensors, or .pt of tensors only.")
    ] = None
    pretrained_tag: Annotated[
        str | None,
        Parameter(help="Prepare pictures as for this published tag of the model (openai, laion2b_s32b_b82k)."),
    ] = None
    mean: Annotated[tuple[float, float, float] | None, Parameter(help="Mean of each channel, from 0 to 1.")] = None
    std: Annotated[tuple[float, float, float] | None, Parameter(help="Standard deviation of each channel.")] = None
    interpolation: Annotated[Literal["bilinear", "bicubic"] | None, Parameter(help="How pictures are resized.")] = None
    resize_mode: Annotated[
        Literal["shortest", "longest", "squash"] | None, Parameter(help="Which sides are scaled to the model's size.")
    ] = None
    tokenizer: Annotated[
        Path | None, Parameter(help="A folder with the files of a Hugging Face tokenizer (SigLIP and others).")
    ] = None
    size: Annotated[
        int | None, Parameter(help="The side of the pictures of a torch: encoder. Default: 224.", validator=_AtLeastOne)
    ] = None
    key: Annotated[str | None, Parameter(help="The state to take in a .pt file of several, such as ema.")] = None
    device: Annotated[str, Parameter(help="Where to compute: cpu, cuda, cuda:1, mps.")] = "cpu"
    precision: Annotated[
        InferencePrecision, Parameter(help="32 bits, or automatic mixed precision where the device is faster so.")
    ] = "float32"

    def load(self, folder: Path | None, weights: Path | None) -> "LoadedModel":
        """A model of Surefoot or of OpenCLIP in a folder, else the named one with these weights."""
        from surefoot.contrastive import ENCODERS, load_encoder, load_model, load_openclip, placed

        encoder = self.model.startswith(ENCODERS)
        of_others = {"--pretrained-tag": self.pretrained_tag, "--tokenizer": self.tokenizer} if encoder else {}
        for option, value in (of_others or {"--size": self.size}).items():
            if value is not None:
                raise SurefootError(
                    f"{option} is for {'models with words' if encoder else 'torch: encoders'}: leave it out."
                )
        if encoder:
            loaded = load_encoder(self.model, weights, options=self._options, size=self.size, key=self.key)
            return placed(loaded, self.device, self.precision)
        is_model = folder is not None and any((folder / name).is_file() for name in _MODEL_FILES)
        if folder and (not folder.is_dir() or (weights and not is_model)):  # a folder may bear the name of a model
            folder = None
        if folder and weights and (weights.is_dir() or not (folder / "open_clip_config.json").is_file()):
            raise SurefootError(f"{folder} is a directory and has its own weights: leave out --pretrained.")
        place = weights or folder
        if place is None:
            raise SurefootError(f"Give the checkpoint of {self.model} with --pretrained: nothing is downloaded.")
        options = self._options
        if place.is_dir() and not (place / "open_clip_config.json").is_file():
            if options.given or self.pretrained_tag or self.tokenizer or self.key:
                raise SurefootError(
                    f"{place} is a model that Surefoot made: it keeps how pictures are prepared, and its tokenizer. "
                    "Leave out --pretrained-tag, --mean, --std, --interpolation, --resize-mode, --tokenizer and --key."
                )
            return placed(load_model(place), self.device, self.precision)
        named = {"tag": self.pretrained_tag, "tokenizer": self.tokenizer, "key": self.key}
        loaded = load_openclip("" if place.is_dir() else self.model, place, options=options, **named)
        return placed(loaded, self.device, self.precision)

    @property
    def _options(self) -> PixelOptions:
        return PixelOptions(
            mean=self.mean, std=self.std, interpolation=self.interpolation, resize_mode=self.resize_mode
        )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TaskFlags:
    """What is measured, on features that all tasks share."""

    task: Annotated[
        tuple[Task, ...],
        Parameter(help="zero-shot, retrieval, probe, few-shot; several in one run share the features."),
    ] = ("zero-shot",)
    train: Annotated[
        Path | None, Parameter(help="Labelled pictures that a probe is trained on.", validator=_IsThere)
    ] = None
    validation: Annotated[
        Path | None,
        Parameter(
            help="Labelled pictures that choose the probe's penalty. Default: some of --train.", validator=_IsThere
        ),
    ] = None
    shots: Annotated[
        tuple[int, ...], Parameter(help="Pictures a class of a few-shot probe; may be given again. Default: 4.")
    ] = ()
    draws: Annotated[
        int | None, Parameter(help="How often the few shots are drawn. Default: 3.", validator=_AtLeastOne)
    ] = None
    caption: Annotated[
        str | None, Parameter(help="The caption of a picture without one, {} for the name of its folder.")
    ] = None
    sensitivity: Annotated[
        bool, Parameter(help="Measure again with other crops, interpolation and casing, one at a time.", negative="")
    ] = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PictureFlags:
    """Which pictures, how they are called, and how they are read."""

    images: Annotated[
        Path,
        Parameter(help="A folder with a subfolder a class, WebDataset .tar files, or Parquet.", validator=_IsThere),
    ]
    classes: Annotated[
        Path | None,
        Parameter(help="One class name a line, or rows FOLDER<tab>CLASS (also of pictures).", validator=_IsThere),
    ] = None
    templates: Annotated[
        Path | None, Parameter(help="One prompt a line, {} for the class. Default: three; {} alone for our own models.")
    ] = None
    batch_size: Annotated[int, Parameter(help="Pictures at once.", validator=_AtLeastOne)] = 64
    workers: Annotated[
        int | None, Parameter(help="Threads that decode. Default: the number of cores.", validator=_AtLeastOne)
    ] = None
    unreadable: Annotated[
        Literal["leave-out", "wrong"], Parameter(help="What becomes of pictures that cannot be decoded.")
    ] = "leave-out"


def evaluate(
    *,
    models: ModelFlags,
    pictures: PictureFlags,
    tasks: TaskFlags = TaskFlags(),
    baseline: Annotated[
        Path | None,
        Parameter(
            help="Compare with this: another checkpoint of the model, a model's folder, or its examples.parquet."
        ),
    ] = None,
    margin: Annotated[
        float | None,
        Parameter(help="The largest fall of top-1 below the baseline to bear, from 0 to 1: 0.01 is a point."),
    ] = None,
    examples: Annotated[
        Path | None,
        Parameter(help="A folder for examples.parquet (a row a picture) and evaluation.json (what was used)."),
    ] = None,
    format: Format | None = None,
    out: Annotated[Path | None, Parameter(help="A file: .tsv, .csv, .json, .md, .tex, .parquet or .txt.")] = None,
) -> Exit:
    """Measure any OpenCLIP model or image encoder on pictures: zero-shot, retrieval, probes, with intervals."""
    if margin is not None and baseline is None:
        raise SurefootError("--margin is a fall below a baseline: give --baseline FILE.")
    if margin is not None and not 0 <= margin < 1:
        raise SurefootError(f"--margin is {margin:g}: a fall of top-1 is from 0 to less than 1; 0.01 is a point.")
    _check_used(tasks, pictures)
    check_place(out, format)
    if examples is not None and examples.exists() and not examples.is_dir():
        raise SurefootError(f"--examples names a folder, and {examples} is a file.")
    read = () if baseline is None else (baseline.resolve(), (baseline / EXAMPLES).resolve())
    if examples and (examples / EXAMPLES).resolve() in read:
        raise SurefootError(f"--examples {examples} would overwrite the baseline: name another folder.")
    several = tasks.sensitivity or tasks.task != ("zero-shot",)
    if several and baseline is not None:
        raise SurefootError("--baseline compares zero-shot accuracy: leave out --task and --sensitivity.")
    prompted = _prompted(models, pictures, baseline)
    if several:
        emit(_measured(prompted, pictures, tasks, examples), format, out)
        return Exit.HOLDS
    how = {"count_refused": pictures.unreadable == "wrong", "batch": pictures.batch_size, "workers": pictures.workers}
    with unpacked(pictures.images) as place:
        named = name_pictures([*prompted.values()], place or pictures.images, pictures.classes, **how)
    used = _said(prompted, named.notes)
    with TemporaryDirectory() as place:
        files = _write(Path(place) if examples is None else examples, named, used)
        if baseline and _BASELINE not in files:
            files[_BASELINE] = baseline / EXAMPLES if baseline.is_dir() else baseline
        found = _compared(files, margin) if baseline else None
    emit(_table(dict(zip(prompted, named.results, strict=True)), found), format, out)
    return judge(found) if found else Exit.HOLDS


def _check_used(tasks: TaskFlags, pictures: PictureFlags) -> None:
    """Raise for an option of tasks that are not asked for: it would do nothing."""
    given = vars(tasks) | {"classes": pictures.classes, "templates": pictures.templates}
    for option, of in _OF_TASKS.items():
        if given[option] not in (None, ()) and not {*of} & {*tasks.task}:
            raise SurefootError(f"--{option} is for --task {' or '.join(of)}, which is not asked for: leave it out.")


def _prompted(models: ModelFlags, pictures: PictureFlags, baseline: Path | None) -> dict[str, PromptedModel]:
    """The model, and the baseline where it is one, with their templates."""
    templates = _read_templates(pictures.templates) if pictures.templates else None
    with_weights = [(_MODEL, models.pretrained), *_baseline_to_load(baseline)]
    try:
        loaded = {
            name: models.load(Path(models.model) if name == _MODEL else None, path) for name, path in with_weights
        }
    except ModuleNotFoundError as error:
        raise missing_module(str(error.name)) from error
    return {name: PromptedModel(loaded=one, templates=templates or _own(one)) for name, one in loaded.items()}


def _measured(
    prompted: dict[str, PromptedModel], pictures: PictureFlags, tasks: TaskFlags, examples: Path | None
) -> Table:
    """Several tasks of one model, with a column of what was changed; the rows of examples a folder a task."""
    suite = Suite(
        tasks=tasks.task,
        pictures=pictures.images,
        classes=pictures.classes,
        train=tasks.train,
        validation=tasks.validation,
        shots=tasks.shots or Suite.shots,
        draws=tasks.draws or Suite.draws,
        template=tasks.caption,
        sensitivity=tasks.sensitivity,
        count_refused=pictures.unreadable == "wrong",
        batch=pictures.batch_size,
        workers=pictures.workers,
    )
    found = run_suite(prompted[_MODEL], suite)
    used = _said(prompted, found.notes)[_MODEL] | {"notes": found.notes}
    for task, columns in found.columns.items() if examples else ():
        folder = Path(str(examples)) / task.replace(" ", "-")
        folder.mkdir(parents=True, exist_ok=True)
        write_examples(folder, columns, found.asked[task])
        write_text(folder / _USED, json.dumps(used, indent=1) + "\n")
    rows = [(one.task, one.group, *(getattr(one, column) for column in _COLUMNS)) for one in found.measurements]
    return Table(columns=("task", "change", *_COLUMNS), rows=tuple(rows))


def _said(prompted: dict[str, PromptedModel], notes: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What the models were used with, which is said, and the notes after it."""
    used = {name: _used(one) for name, one in prompted.items()}
    for name, one in used.items():
        say(f"Pictures of the {name} {one['name']}: {one['prepared']}, from {one['from']}.")
    for note in notes:
        say(note)
    return used


def _baseline_to_load(baseline: Path | None) -> list[tuple[str, Path]]:
    """The baseline where it is a model: a folder of one, or weights; a file of examples is compared as it is."""
    if baseline is None:
        return []
    if not baseline.exists():
        raise SurefootError(f"The baseline {baseline} does not exist: give weights, a folder or an examples.parquet.")
    examples = baseline.suffix == ".parquet" or (baseline / EXAMPLES).is_file()
    if model := next((name for name in _MODEL_FILES if examples and (baseline / name).is_file()), None):
        raise SurefootError(
            f"The baseline {baseline} holds a model ({model}) and the examples of an earlier evaluation. Name "
            f"{baseline / EXAMPLES} to compare with these, or take that file out to measure the model again."
        )
    return [] if examples else [(_BASELINE, baseline)]


def _own(loaded: "LoadedModel") -> tuple[str, ...]:
    return _TEMPLATES if loaded.description.vocabulary is None else ("{}",)


def _read_templates(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SurefootError(f"The templates {path} cannot be read: {error}.") from error
    templates = tuple(line.strip() for line in lines if line.strip())
    check_templates(templates)
    return templates


def _used(prompted: PromptedModel) -> dict[str, Any]:
    loaded = prompted.loaded
    return {
        "name": loaded.name,
        "pixels": asdict(loaded.pixels),
        "prepared": loaded.pixels.said,
        "from": loaded.description.source or "the model's own",
        "templates": list(prompted.templates),
        "device": loaded.device,
        "precision": loaded.precision,
    }


def _write(place: Path, named: "NamedPictures", used: dict[str, dict[str, Any]]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for (name, one), columns in zip(used.items(), named.columns, strict=True):
        folder = place if name == _MODEL else place / name
        folder.mkdir(parents=True, exist_ok=True)
        write_examples(folder, columns, {"classes": named.classes, "prompts": one["templates"]})
        kept = one | {key: list(getattr(named, key)) for key in ("refused", "unread", "notes", "classes")}
        write_text(folder / _USED, json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
        files[name] = folder / EXAMPLES
    return files


def _compared(files: dict[str, Path], margin: float | None) -> Comparison:
    """The model less the baseline, on the same pictures or not at all."""
    ordered = {name: files[name] for name in (_BASELINE, _MODEL)}
    return compare_examples(read_examples(ordered), margin=margin)


def _table(results: dict[str, Any], found: Comparison | None) -> Table:
    rows = [
        (name, *(getattr(one, column) for column in _COLUMNS))
        for name, result in results.items()
        for one in classification_measurements(result, task="", shift="")
    ]
    if found is None:
        return Table(columns=_COLUMNS, rows=tuple(row[1:] for row in rows))
    paired = found.models[0].paired
    gap = paired.difference
    rows.append(("model less baseline", "top1", gap.estimate, gap.low, gap.high, paired.n))
    return Table(columns=("model", *_COLUMNS), rows=tuple(rows))
