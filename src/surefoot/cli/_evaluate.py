"""The verb evaluate: zero-shot accuracy of any OpenCLIP model on any labelled pictures."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from surefoot.cli._output import Format, emit
from surefoot.contrastive import ImageFolder, check_templates, classification_measurements, classify
from surefoot.core import Store, StoredInputs, SurefootError, Table, missing_module
from surefoot.examples import write_examples

if TYPE_CHECKING:
    from surefoot.contrastive import LoadedModel

_COLUMNS = ("metric", "value", "low", "high", "n")
_TEMPLATES = ("a photo of a {}.", "a drawing of a {}.", "{}")


def evaluate(
    *,
    model: Annotated[str, Parameter(help="An OpenCLIP model name, or the directory of a model that Surefoot made.")],
    images: Annotated[Path, Parameter(help="A folder with a subfolder a class, or WebDataset .tar files.")],
    pretrained: Annotated[
        Path | None, Parameter(help="The checkpoint of an OpenCLIP model: .safetensors, or .pt of tensors only.")
    ] = None,
    classes: Annotated[
        Path | None, Parameter(help="One class name a line, or a TSV or CSV of picture (or folder) and class.")
    ] = None,
    templates: Annotated[
        Path | None, Parameter(help="One prompt a line, {} for the class. Default: three; {} alone for our own models.")
    ] = None,
    examples: Annotated[Path | None, Parameter(help="A directory for examples.parquet: one row a picture.")] = None,
    format: Format | None = None,
    out: Annotated[Path | None, Parameter(help="A file: .tsv, .json, .tex, .parquet or .txt.")] = None,
) -> None:
    """Name the pictures of a folder with any OpenCLIP model: zero-shot accuracy with intervals.

    Nothing is downloaded, and checkpoints are read without running code in them.

    Example: surefoot evaluate --model ViT-B-32 --pretrained model.safetensors --images photos --classes classes.txt
    """
    own = Path(model).is_dir()
    prompts = _read_templates(templates) if templates else ("{}",) if own else _TEMPLATES
    check_templates(prompts)
    folder = ImageFolder(path=str(images), classes=str(classes) if classes else None).pinned()
    loaded = _load(model, pretrained)
    with TemporaryDirectory() as place:
        made = Path(place) / "images"
        made.mkdir()
        list(folder.make(made, StoredInputs(Store(Path(place) / "store"))))
        scores, columns = classify(loaded, made, prompts)
    if examples:
        examples.mkdir(parents=True, exist_ok=True)
        write_examples(examples, columns)
    found = classification_measurements(scores, task="", shift="")
    rows = tuple(tuple(getattr(one, name) for name in _COLUMNS) for one in found)
    emit(Table(columns=_COLUMNS, rows=rows), format, out)


def _load(model: str, pretrained: Path | None) -> "LoadedModel":
    try:
        from surefoot.contrastive import load_model, load_openclip

        if Path(model).is_dir():
            if pretrained:
                raise SurefootError(f"{model} is a directory and has its own weights: leave out --pretrained.")
            return load_model(model)
        if pretrained is None:
            raise SurefootError(f"Give the checkpoint of {model} with --pretrained: nothing is downloaded.")
        return load_openclip(model, pretrained)
    except ModuleNotFoundError as error:
        raise missing_module(str(error.name)) from error


def _read_templates(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SurefootError(f"The templates {path} cannot be read: {error}.") from error
    return tuple(line.strip() for line in lines if line.strip())
