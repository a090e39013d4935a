"""OpenCLIP models by name or directory, with weights from local files."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, Self

from surefoot.contrastive._models._artifact import LoadedModel, ModelDescription, fill, save_model
from surefoot.contrastive._models._build import (
    TOKENIZER_FILES,
    build,
    hosted_tokenizer,
    open_tokenizer,
    openclip_config,
    tokenizer_in,
)
from surefoot.contrastive._models._cost import count_gmacs, count_parameters
from surefoot.contrastive._models._preparation import AS_FOUND, CONFIG_FILE, PixelOptions, prepare, read_config
from surefoot.core import Inputs, Measurement, Step, SurefootError, check_pinned, digest_of, unkeyed
from surefoot.weights import read_state

_BESIDE = (*TOKENIZER_FILES, "config.json")


@dataclass(frozen=True, kw_only=True)
class OpenClipModel(Step):
    """A user's own OpenCLIP model as a model artifact, known by its contents (see `pinned`).

    `model` is one of OpenCLIP's names, or empty for a `checkpoint` that is a directory with `open_clip_config.json`;
    else `checkpoint` is a local file (.safetensors, or .pt/.pth/.bin of tensors only). Pictures are prepared as
    `load_openclip` says, with the other fields as there; `model.json` keeps what was used. It can be fine-tuned, edited
    and measured like a model that was trained here. Measures `parameters` and `gmacs_per_sample`. Raises
    `SurefootError` as `load_openclip` does, and for a file that has changed since.
    """

    model: str = ""
    checkpoint: str = unkeyed("")
    tokenizer: str | None = unkeyed(None)
    digest: str = ""
    tag: str | None = None
    key_in_file: str | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    interpolation: Literal["bilinear", "bicubic"] | None = None
    resize_mode: Literal["shortest", "longest", "squash"] | None = None
    version: ClassVar[int] = 2  # of what Finetune makes of it: a text tower with dropout was in training for the head
    requires: ClassVar[tuple[str, ...]] = ("torch", "open_clip", "safetensors")

    def pinned(self) -> Self:
        """With whole paths and the digest of the checkpoint, its config and its tokenizer as they are now.

        Raises where there is no checkpoint.
        """
        path = Path(self.checkpoint).resolve()
        _check_exists(path)
        tokenizer = Path(self.tokenizer).resolve() if self.tokenizer else None
        loaded = [path, *([tokenizer] if tokenizer else [])]
        if path.is_file() and (path.parent / CONFIG_FILE).is_file():
            loaded.append(path.parent / CONFIG_FILE)
        config = openclip_config(self.model) if self.model else read_config(path / CONFIG_FILE)[0]
        if path.is_file() and hosted_tokenizer(config) and not tokenizer:  # it is read from beside the weights
            loaded += [path.parent / name for name in _BESIDE if (path.parent / name).is_file()]
        digests = [digest_of(one) for one in loaded]
        digest = digests[0] if len(digests) == 1 else "+".join(one[:32] for one in digests)
        return replace(self, checkpoint=str(path), digest=digest, tokenizer=str(tokenizer) if tokenizer else None)

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Read the checkpoint, and write the model."""
        check_pinned(self)
        options = PixelOptions(
            mean=self.mean, std=self.std, interpolation=self.interpolation, resize_mode=self.resize_mode
        )
        tokenizer = Path(self.tokenizer) if self.tokenizer else None
        loaded = load_openclip(
            self.model, self.checkpoint, tag=self.tag, options=options, tokenizer=tokenizer, key=self.key_in_file
        )
        gmacs = count_gmacs(loaded.description.config, loaded.tokenizer_directory)
        description = replace(loaded.description, gmacs_per_sample=gmacs)
        save_model(loaded.model, description, out, loaded.tokenizer_directory)
        return [
            Measurement(metric="parameters", value=description.parameters, n=1),
            Measurement(metric="gmacs_per_sample", value=description.gmacs_per_sample, n=1),
        ]


def load_openclip(
    name: str,
    checkpoint: Path | str,
    *,
    tag: str | None = None,
    options: PixelOptions = AS_FOUND,
    tokenizer: Path | None = None,
    key: str | None = None,
) -> LoadedModel:
    """One of OpenCLIP's models with the weights of a local checkpoint, as `surefoot.weights.read_state` reads it.

    With an empty name `checkpoint` is a directory of weights and `open_clip_config.json`, as on a hub; `name` may be
    such a directory, too, and `checkpoint` other weights of its model. Pictures are
    prepared as `open_clip_config.json` beside the weights says, or OpenCLIP's table of published weights by `tag` or
    file name, `options` first (see `prepare`). `tokenizer` is a directory with the files of one of Hugging Face, by
    default that of the weights. `key` names the state to take in a .pt file of several. Raises `SurefootError` for an
    unknown name, a missing or damaged file, a pickle that holds code, weights that are not finite or of another
    architecture, and where it is unclear how pictures are prepared.
    """
    path = Path(checkpoint)
    model_folder = Path(name) if name and (Path(name) / CONFIG_FILE).is_file() else None
    named = openclip_config(name) if name and not model_folder else None
    _check_exists(path)
    folder = path if path.is_dir() else path.parent
    places = [one / CONFIG_FILE for one in (folder, model_folder) if one]
    config_file = next((one for one in places if one.is_file()), places[0])
    config = named or read_config(config_file)[0]
    prepared = prepare(name, config, path, config_file=config_file, tag=tag, options=options)
    directory = tokenizer_in(tokenizer, folder, model_folder) if hosted_tokenizer(config) else None
    if tokenizer and directory != tokenizer:
        why = (
            f"it has none of {', '.join(TOKENIZER_FILES)}"
            if hosted_tokenizer(config)
            else "OpenCLIP brings the model's"
        )
        raise SurefootError(f"The tokenizer {tokenizer} would not be used: {why}.")
    texts = open_tokenizer(config, directory)
    model = build(prepared.config, directory)
    shown = (model_folder or folder).resolve().name if not named else name
    fill(model, read_state(path, key=key), path, shown)
    description = ModelDescription(
        name=shown,
        config=prepared.config,
        pixels=prepared.pixels,
        vocabulary=None,
        parameters=count_parameters(model),
        gmacs_per_sample=0.0,
        samples=0,
        source=". ".join((prepared.source, *prepared.notes)),
    )
    return LoadedModel(
        model=model.eval(),
        tokenizer=texts,
        pixels=prepared.pixels,
        name=shown,
        description=description,
        tokenizer_directory=directory,
    )


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise SurefootError(f"There is no checkpoint {path}: give the path of a file or directory.")
