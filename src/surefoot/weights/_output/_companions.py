"""The files beside a checkpoint: copied, with what the new weights make untrue in their configuration put right."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from surefoot.core import SurefootError
from surefoot.weights._arithmetic._plan import LayerOrder, MergePlan
from surefoot.weights._files._types import FLOAT_NAMES

_PATTERNS = ("*.json", "*.txt", "*.model", "*.jinja")
_CONFIGURATIONS = ("config.json", "open_clip_config.json")
_COUNTS = {
    "num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_encoder_layers", "num_decoder_layers",
    "encoder_layers", "decoder_layers", "depth", "layers", "num_transformer_layers", "num_blocks",
}  # fmt: skip
_OTHER_LISTS = re.compile(  # as long as the layers by chance
    r"architectures|token|_mean$|_std$|image|label|language|factor|kernel|stride|_rates$|_ratios$"
)
_INDICES = re.compile(r"layer|idx|ind(ex|ic)")
_BY_POSITION = re.compile(
    r"pattern$|max_window_layers|first_k_dense_replace|num_(?:dense|kv_shared|global|first\w*|last\w*)_layers"
    r"|(?:start|end)_index$|layer_id$|_layer$"
)
_EVERY = re.compile(r"sparse_step$|interval$|period$|layer_step$|every_n_layers$|layer_(?:freq|group_size)$|frequency$")
# Which sides of a configuration may count the layers of a tower, best first.
_SIDES = {
    "": ("", "text", "decoder"), "text": ("text", "decoder", ""), "decoder": ("decoder", "text", ""),
    "vision": ("vision", "encoder"), "encoder": ("encoder", "vision", ""),
}  # fmt: skip
_Holder = tuple[tuple[str, ...], dict[str, Any], str]  # keys on the way to a mapping, the mapping, the key in it


def companions_of(folder: Path | None, plan: MergePlan) -> tuple[dict[str, bytes], list[str]]:
    """The files that belong beside the result, by name, and what its user must see to.

    In config.json and open_clip_config.json the type of the weights is that which is written; where layers were sliced,
    their number and every list with an entry for each layer or of numbers of layers are those of the result. Raises
    SurefootError when a configuration does not say its number of layers.
    """
    files: dict[str, bytes] = {}
    warnings: list[str] = []
    for file in (one for pattern in _PATTERNS for one in sorted(folder.glob(pattern))) if folder else ():
        if not file.name.endswith((".index.json", ".recipe.json")):
            files[file.name] = file.read_bytes()
            if file.name in _CONFIGURATIONS and (plan.written_as or plan.layers):
                config = _read(file)
                warnings += _rectify(file, config, plan)
                files[file.name] = (json.dumps(config, indent=2) + "\n").encode()
    return files, warnings


def _read(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SurefootError(f"{file}: Cannot be read: {str(error)[:120]}.") from None
    if not isinstance(config, dict):
        raise SurefootError(f"{file}: Not the configuration of a model: a mapping is expected.")
    return config


def _rectify(file: Path, config: dict[str, Any], plan: MergePlan) -> list[str]:
    names = {safe: name for name, safe in FLOAT_NAMES.items()}
    if plan.written_as and file.name == "config.json":
        _retype(config, names[plan.written_as])
        if not {"torch_dtype", "dtype"} & set(config):
            config["torch_dtype"] = names[plan.written_as]
    return _relayer(file, config, plan.layers) if plan.layers else []


def _retype(config: dict[str, Any], dtype: str) -> None:
    for key, value in config.items():
        if isinstance(value, dict):
            _retype(value, dtype)
        elif key in ("torch_dtype", "dtype"):
            config[key] = dtype


def _relayer(file: Path, config: dict[str, Any], layers: LayerOrder) -> list[str]:
    holders = _holders(config, layers)
    if not holders:
        if len(layers.order) == layers.before:
            return []
        raise SurefootError(
            f"{file}: No setting says that there are {layers.before} layers ({', '.join(sorted(_COUNTS))}), so that "
            f"the {len(layers.order)} of the result cannot be told; write a file of its own name instead of a folder."
        )
    changed: list[str] = []
    moved = [number for _, number in layers.order] != list(range(len(layers.order)))
    for path, held, key in holders:
        _relist(file, path, held, layers, inner=False)
        held[key] = len(layers.order)
        changed += [name for name, value in held.items() if moved and _goes_by_position(name, value)]
    return [
        f"{file.name}: {name} goes by the place of a layer, and layers have moved: look whether it still holds"
        for name in changed
    ]


def _goes_by_position(name: str, value: Any) -> bool:
    number = value if type(value) is int else 0
    return number > 1 if _EVERY.search(name) else number != 0 and bool(_BY_POSITION.search(name))


def _relist(file: Path, path: tuple[str, ...], held: dict[str, Any], layers: LayerOrder, *, inner: bool) -> None:
    named = {name: value for name, value in held.items() if _INDICES.search(name) and isinstance(value, list)}
    whole = [value for value in named.values() if all(type(one) is int for one in value) and value == sorted({*value})]
    first = int(any(layers.before in one for one in whole) and not any(0 in one for one in whole))  # counted from 1
    for name, value in held.items():
        if isinstance(value, dict) and not {*_COUNTS, "model_type"} & value.keys():  # which is another tower
            _relist(file, (*path, name), value, layers, inner=True)
        if isinstance(value, str) and len(value) == layers.before and name.endswith("pattern"):
            held[name] = "".join(_relisted(file, (*path, name), list(value), layers, first))
        elif isinstance(value, list) and value and not _OTHER_LISTS.search(name) and (name in named or not inner):
            held[name] = _relisted(file, (*path, name), value, layers, first)


def _relisted(file: Path, path: tuple[str, ...], value: list[Any], layers: LayerOrder, first: int) -> list[Any]:
    known = range(first, first + layers.before)
    indices = _INDICES.search(path[-1]) and all(type(one) is int and one in known for one in value)
    per_layer = len(value) == len(known) and not (indices and value == [*known])  # all of them, where it names layers
    if not per_layer and not indices:
        return value
    found: list[Any] = []
    for place, (origin, number) in enumerate(layers.order):
        own = _of_model(Path(origin) / file.name, path)
        listed: Sequence[Any] = own if isinstance(own, list | str) else value
        if not per_layer:
            found += [place + first] if number + first in [*listed] else []
        elif number < len(listed):
            found.append(listed[number])
        else:
            raise SurefootError(f"{file}: {path[-1]} has no entry for layer {number} of {origin}.")
    return found


def _of_model(file: Path, path: tuple[str, ...]) -> Any:
    found: Any = _read(file) if file.is_file() else None
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _holders(config: dict[str, Any], layers: LayerOrder) -> list[_Holder]:
    found = list(_counting(config, layers.before, ()))
    for side in _SIDES[_side(layers.tower)]:
        if fitting := [one for one in found if _side(".".join((*one[0], one[2]))) == side]:
            return fitting
    return found if len(found) == 1 else []


def _counting(config: dict[str, Any], count: int, path: tuple[str, ...]) -> Iterator[_Holder]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _counting(value, count, (*path, key))
        elif key in _COUNTS and value == count and type(value) is int:
            yield path, config, key


def _side(text: str) -> str:
    if re.search(r"vis|image|video|audio", text):
        return "vision"
    words = {"decoder": "decoder", "encoder": "encoder", "text": "text", "language": "text"}
    return next((side for word, side in words.items() if word in text), "")
