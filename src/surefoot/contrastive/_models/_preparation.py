"""How a checkpoint wants its pictures: the config beside it, OpenCLIP's table of published weights, or the user."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from surefoot.contrastive._models._pixels import Pixels
from surefoot.core import SurefootError, digest_of, missing_module

Config = dict[str, Any]
Published = Mapping[str, Any]
CONFIG_FILE = "open_clip_config.json"
_FIELDS = ("mean", "std", "interpolation", "resize_mode")
_ALLOWED = {
    "interpolation": ("bicubic", "bilinear", "random"),
    "resize_mode": ("shortest", "longest", "squash"),
    "mode": ("RGB",),
}
_ACTIVATION = "quick_gelu"


@dataclass(frozen=True, kw_only=True)
class PixelOptions:
    """What the user says of the preparation of pictures; None leaves what was found."""

    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    interpolation: Literal["bilinear", "bicubic"] | None = None
    resize_mode: Literal["shortest", "longest", "squash"] | None = None

    @property
    def given(self) -> Config:
        """The options that are not None."""
        return {name: value for name, value in asdict(self).items() if value is not None}


AS_FOUND = PixelOptions()


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How pictures are prepared for a checkpoint, the model's config with its activation, and what both follow."""

    pixels: Pixels
    config: Config
    source: str
    notes: tuple[str, ...] = ()


def prepare(
    name: str,
    config: Config,
    checkpoint: Path,
    *,
    config_file: Path | None = None,
    tag: str | None = None,
    options: PixelOptions = AS_FOUND,
) -> Preparation:
    """The preparation of pictures for a checkpoint of an OpenCLIP model.

    Options come first, then `config_file` (`open_clip_config.json` beside the checkpoint), then OpenCLIP's table of
    published weights: at the `tag`, else at the one that the names or the hash of the file tell, else what all
    published weights of the model share. QuickGELU is switched on where the config or the tag says so. Raises
    `SurefootError` for an unknown tag, a config of another model, and where published weights of the model differ and
    nothing says which these are.
    """
    beside = config_file or (checkpoint if checkpoint.is_dir() else checkpoint.parent) / CONFIG_FILE
    if tag is None and beside.is_file():
        found = _beside(beside, config)
    else:
        found = _published(name, config, checkpoint, tag, options)
    if not options.given:
        return found
    told = f"{', '.join(options.given)} as given, else {found.source}"
    return replace(found, pixels=replace(found.pixels, **options.given), source=told)


def read_config(path: Path) -> tuple[Config, Config]:
    """Model and preprocessing of an `open_clip_config.json`. Raises `SurefootError` when it has no model."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        model = content.get("model_cfg", content)
        if not {"embed_dim", "vision_cfg", "text_cfg"} <= model.keys():
            raise ValueError("no model_cfg with embed_dim, vision_cfg and text_cfg")
        preprocessing = content.get("preprocess_cfg") or {}
        if not all(isinstance(part, dict) for part in (model["vision_cfg"], model["text_cfg"], preprocessing)):
            raise ValueError("vision_cfg, text_cfg and preprocess_cfg must be objects")
        if not isinstance(model.get(_ACTIVATION, False), bool):
            raise ValueError(f"{_ACTIVATION} is {model[_ACTIVATION]!r}, not true or false")
        return model, preprocessing
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise SurefootError(f"{path} does not describe an OpenCLIP model: {error}.") from error


def _beside(path: Path, config: Config) -> Preparation:
    model, preprocessing = read_config(path)
    for part in ("embed_dim", "vision_cfg", "text_cfg"):
        theirs, ours = (one[part] if isinstance(one[part], dict) else {part: one[part]} for one in (model, config))
        differing = [
            key for key in theirs.keys() & ours.keys() if not key.startswith("hf_") and theirs[key] != ours[key]
        ]
        if differing:
            key = min(differing)
            raise SurefootError(
                f"{path} describes another model: {key} is {theirs[key]}, not {ours[key]}. Give its folder as the "
                "model, or keep the checkpoint elsewhere."
            )
    quick = bool(model.get(_ACTIVATION))
    unread = ", ".join(sorted(preprocessing.keys() - {*_FIELDS, "mode", "fill_color", "size"}))
    if config.get(_ACTIVATION) and not quick:
        raise SurefootError(f"{path} is of a model without QuickGELU: name the model without -quickgelu.")
    found = _prepared(config, _checked(preprocessing, path), quick, str(path))
    told = (f"Its preprocess_cfg has {unread}, which OpenCLIP does not read",) if unread else ()
    return replace(found, notes=(*found.notes, *told))


def _prepared(config: Config, preprocessing: Published, quick: bool, source: str) -> Preparation:
    """What a source says of pictures, and QuickGELU where it says so."""
    notes = (f"QuickGELU, as {source} says.",) if quick and not config.get(_ACTIVATION) else ()
    told = config | ({_ACTIVATION: True} if quick else {})
    return Preparation(pixels=_pixels(config, preprocessing), config=told, source=source, notes=notes)


def _published(name: str, config: Config, checkpoint: Path, tag: str | None, options: PixelOptions) -> Preparation:
    import open_clip

    tags = {one: open_clip.get_pretrained_cfg(name, one) for one in open_clip.list_pretrained_tags_by_model(name)}
    told = tag and _clean(tag)
    if told and (not name or (Path(name) / CONFIG_FILE).is_file()):
        raise SurefootError(
            f"--pretrained-tag {tag} is for OpenCLIP's models by name, and {name or checkpoint} is a folder: its "
            f"{CONFIG_FILE} says how pictures are prepared, else --mean, --std, --interpolation and --resize-mode do."
        )
    if told and told not in tags:
        raise SurefootError(f"OpenCLIP has published no {name} as '{tag}'. Its tags: {', '.join(tags) or 'none'}.")
    if known := told or _recognised(name, checkpoint, tags):
        return _prepared(config, tags[known], bool(tags[known].get(_ACTIVATION)), f"OpenCLIP's {name} {known}")
    return _unknown(name, config, checkpoint, tags, options)


def _unknown(
    name: str, config: Config, checkpoint: Path, tags: Mapping[str, Published], options: PixelOptions
) -> Preparation:
    """What all published weights share. Where they differ only in their activation, the model's name decides."""
    shared = {field: [cfg[field] for cfg in tags.values()] for field in _FIELDS} if tags else {}
    differing = [field for field, values in shared.items() if any(value != values[0] for value in values)]
    if open_fields := [field for field in differing if field not in options.given]:
        values = {str(tags[one][open_fields[0]]): one for one in tags}
        told = "; ".join(f"{value} for {one}" for value, one in values.items())
        raise SurefootError(
            f"It is unclear how pictures are prepared for {checkpoint}: published {name} differ in "
            f"{', '.join(open_fields)} ({told}). Say which it is or was tuned from with --pretrained-tag "
            f"({', '.join(tags)}), or give {', '.join('--' + field.replace('_', '-') for field in open_fields)}."
        )
    quick = [one for one, cfg in tags.items() if cfg.get(_ACTIVATION)]
    unsure = (
        f"{name} without QuickGELU, as its name says. Of its published weights {', '.join(quick)} need it: for these, "
        "or what was tuned from them, give --pretrained-tag."
    )
    return Preparation(
        pixels=_pixels(config, {field: values[0] for field, values in shared.items()}),
        config=config,
        source=f"what all published {name} share" if tags else "OpenCLIP's defaults",
        notes=(unsure,) if quick and not config.get(_ACTIVATION) else (),
    )


def _pixels(config: Config, preprocessing: Published) -> Pixels:
    from open_clip.transform import PreprocessCfg, merge_preprocess_dict

    merged = merge_preprocess_dict(PreprocessCfg(), dict(preprocessing))
    size = config["vision_cfg"].get("image_size", 224)
    mean, std = (three(merged[field]) for field in ("mean", "std"))
    sides = size if isinstance(size, Sequence) and len(size) == 2 else [size]
    if not all(type(side) is int and side > 0 for side in sides):
        raise SurefootError(f"The model's image_size is {size!r}: it must be a number of pixels, or height and width.")
    square = sides[0] if len(set(sides)) == 1 else size
    return Pixels(
        size=square if isinstance(square, int) else (int(square[0]), int(square[1])),
        mean=mean,
        std=std,
        interpolation="bilinear" if merged["interpolation"] == "bilinear" else "bicubic",  # OpenCLIP: "random" too
        resize_mode=merged["resize_mode"] or "shortest",
        fill_color=tuple(fill) if isinstance(fill := merged["fill_color"], list) else fill,
    )


def _checked(preprocessing: Published, path: Path) -> Published:
    """What a file says of preprocessing, as it stands there. Raises for what OpenCLIP could not mean."""
    for field, allowed in _ALLOWED.items():
        if (value := preprocessing.get(field)) is not None and value not in allowed:
            raise SurefootError(f"{path}: {field} is {value!r}, not one of {', '.join(allowed)}.")
    for field in ("mean", "std"):
        value = preprocessing.get(field, 0.5)
        three = value if isinstance(value, list) and len(value) == 3 else [value]
        if not all(isinstance(one, (int, float)) and not isinstance(one, bool) and 0 <= one <= 1 for one in three):
            raise SurefootError(f"{path}: {field} is {value!r}: it must be a number from 0 to 1, or three of them.")
    fill = preprocessing.get("fill_color", 0)
    colours = fill if isinstance(fill, list) and len(fill) == 3 else [fill]
    if not all(type(one) is int and 0 <= one <= 255 for one in colours):
        raise SurefootError(
            f"{path}: fill_color is {fill!r}: it must be a whole number from 0 to 255, or three of them."
        )
    return preprocessing


def three(values: Any) -> tuple[float, float, float]:
    """A number a channel, from three or from one for all."""
    red, green, blue = values if isinstance(values, (list, tuple)) else (values,) * 3
    return float(red), float(green), float(blue)


def _recognised(name: str, checkpoint: Path, tags: Mapping[str, Published]) -> str | None:
    """The tag that the name of the file, of a folder above it, or the hash in the published name tell."""
    stem = checkpoint.stem if checkpoint.is_file() else checkpoint.name
    parts = {part.lower() for part in (stem, *checkpoint.resolve().parent.parts[-4:])}
    for tag, published in tags.items():
        url, hub = (str(published.get(key) or "").rstrip("/") for key in ("url", "hf_hub"))
        names = {Path(url).stem, hub.rpartition("/")[2], f"models--{hub.replace('/', '--')}"} - {"", "models--"}
        generic = Path(url).stem.lower() == name.lower()  # RN50.pt may be anybody's
        if parts & ({one.lower() for one in names} - ({name.lower()} if generic else set())):
            return tag
        if _clean(stem) in (tag, f"{_clean(name)}_{tag}"):
            return tag
    hashes = {tag: _hash_in(str(published.get("url") or "")) for tag, published in tags.items()}
    if any(hashes.values()) and checkpoint.is_file() and checkpoint.suffix != ".safetensors":
        digest = digest_of(checkpoint)
        return next((tag for tag, begin in hashes.items() if begin and digest.startswith(begin)), None)
    return None


def _hash_in(url: str) -> str:
    """The beginning of the file's SHA-256 that a published address holds: a folder of 64 digits, or 8 at the end."""
    found = re.search(r"/([0-9a-f]{64})/|-([0-9a-f]{8})\.pth?$", url)
    return next(filter(None, found.groups()), "") if found else ""


def _clean(text: str) -> str:
    return text.lower().replace("-", "_")


def check_timm(name: str) -> None:
    """Raise where there is no such model of timm."""
    try:
        from timm import is_model
    except ModuleNotFoundError as error:
        raise missing_module("timm") from error
    if not is_model(name):
        raise SurefootError(f"timm has no model '{name}': timm.list_models() names them all.")
