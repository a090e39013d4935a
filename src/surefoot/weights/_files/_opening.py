"""A file, an index of shards or a folder opened as a checkpoint."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from surefoot.core import SurefootError
from surefoot.weights._files._adapters import adapter_changes
from surefoot.weights._files._checkpoint import Checkpoint
from surefoot.weights._files._pickles import open_pickle
from surefoot.weights._files._safetensors import Header, read_header
from surefoot.weights._files._types import WRAPPERS

# What a folder may hold, best first; the second tuple is looked at only when pickles are allowed.
SAFE = (
    "model.safetensors.index.json",
    "adapter_model.safetensors",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "model.safetensors",
)
PICKLED = (
    "pytorch_model.bin.index.json",
    "open_clip_pytorch_model.bin",
    "open_clip_model.pt",
    "pytorch_model.bin",
    "adapter_model.bin",
)
_PICKLE_SUFFIXES = (".pt", ".bin", ".pth", ".ckpt")
_WRAPPED = re.compile("|".join(rf"(?:(?<=\.)|^){re.escape(part)}" for part in WRAPPERS))


class MissingCheckpoint(SurefootError):
    """There is nothing where a checkpoint should be."""


def open_checkpoint(
    path: Path | str, *, pickle: bool = False, rename: Mapping[str, str] | None = None, key: str | None = None
) -> Checkpoint:
    """Open a safetensors file, an index of shards, a folder (OpenCLIP, Hugging Face, LoRA adapter) or a pickle.

    Only headers are read. `.pt`, `.bin`, `.pth` and `.ckpt` files are opened only with `pickle=True`, and then through
    torch's weights-only loader, which builds tensors and plain containers and runs no code; `key` names the state to
    take where such a file holds several. What torch's wrappers add to names (`module.`, `_orig_mod.`) is taken off,
    unless `rename`, which replaces prefixes (see `Checkpoint.renamed`), speaks of it. Raises SurefootError when the
    file is missing, damaged or of no known kind.
    """
    try:
        found = _locate(Path(path), pickle)
    except OSError as error:  # a name that is too long, a folder that is not to be read
        raise SurefootError(f"{str(path)[:200]}: Cannot be read: {error.strerror}.") from None
    if found.name.endswith(".index.json"):
        opened = _sharded(found, pickle)
    elif found.suffix == ".safetensors":
        header = read_header(found)
        opened = Checkpoint(label=str(found), tensors=header.tensors, metadata=header.metadata)
    elif found.suffix in _PICKLE_SUFFIXES:
        opened = open_pickle(found, pickle, key)
    else:
        raise SurefootError(f"{found}: Not a checkpoint; expected .safetensors, .index.json, .pt, .bin or a folder.")
    if key and found.suffix not in _PICKLE_SUFFIXES:
        raise SurefootError(f"{found}: Only .pt, .pth, .bin and .ckpt files hold states by key; leave out {key!r}.")
    config = found.parent / "adapter_config.json"
    if found.name.startswith("adapter_model") or any(".lora_A." in name for name in opened.tensors):
        opened = adapter_changes(opened, config)  # before names change: its settings speak of them as they were
    if not any(part in old for old in rename or {} for part in ("module.", *WRAPPERS)):
        opened = _unwrapped(opened)
    origin = {"path": str(path), "pickle": pickle, "rename": dict(rename or {}), "key": key}
    opened = replace(opened, origin=origin)
    return opened.renamed(rename) if rename else opened


def _unwrapped(opened: Checkpoint) -> Checkpoint:
    # torch.compile and FSDP add a word anywhere; DataParallel and weight averaging a first one to all names.
    names = {name: _WRAPPED.sub("", name) for name in opened.tensors}
    counted = {name for name in names if name == "n_averaged"}  # of torch.optim.swa_utils
    own = opened.is_adapter  # of some layers only, which a model may keep under that word
    while not own and (rest := names.keys() - counted) and all(names[one].startswith("module.") for one in rest):
        names = {name: names[name].removeprefix("module.") for name in rest}
    if len(set(names.values())) != len(names):
        raise SurefootError(f"{opened.label}: Two tensors differ only by what a wrapper adds to their names.")
    return replace(opened, tensors={new: opened.tensors[old] for old, new in names.items()})


def moved_to(path: str, moved: Mapping[str, str]) -> str:
    """Where a path lies now: `moved` maps old paths, or folders above them, to new ones; the longest that fits wins."""
    for old in sorted(moved, key=len, reverse=True):
        if path == old or path.startswith(old.rstrip("/") + "/"):
            return moved[old] + path[len(old) :]
    return path


def _locate(path: Path, pickle: bool) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise MissingCheckpoint(f"{path}: No such file or folder.")
    one, index = path / SAFE[-1], path / SAFE[0]
    if one.is_file() and index.is_file() and f'"{one.name}"' not in index.read_text("utf-8", "replace"):
        raise SurefootError(f"{path}: Loaders differ in which they take, {one.name} or {index.name}; name one.")
    there = [name for name in SAFE + (PICKLED if pickle else ()) if (path / name).is_file()]
    if len({name.startswith("adapter_model") for name in there}) > 1:
        raise SurefootError(
            f"{path}: It holds a model and an adapter ({', '.join(there)}); name the file that is meant."
        )
    if there:
        return path / there[0]
    indexes = sorted(path.glob("*.safetensors.index.json"))
    candidates = indexes or sorted(path.glob("*.safetensors"))
    if not candidates and pickle:
        candidates = sorted(file for file in path.iterdir() if file.suffix in _PICKLE_SUFFIXES)
    if len(candidates) == 1:
        if (part := re.search(r"-\d+-of-(\d+)\.", candidates[0].name)) and int(part[1]) > 1:
            raise SurefootError(
                f"{candidates[0]} is one of {int(part[1])} shards, and neither the others nor an index "
                "lie beside it; fetch them, or name the file where that part alone is meant."
            )
        return candidates[0]
    if candidates:
        raise SurefootError(
            f"{path}: Several checkpoints ({', '.join(file.name for file in candidates[:5])}); name one."
        )
    pickled = any(file.suffix in _PICKLE_SUFFIXES for file in path.iterdir())
    hint = "; it has pickles, which are opened only when asked for (pickle=True, --pickle)" if pickled else ""
    raise SurefootError(f"{path}: No safetensors in this folder{hint}.")


def _sharded(index: Path, pickle: bool) -> Checkpoint:
    try:
        content = json.loads(index.read_text("utf-8"))
        places: dict[str, str] = content["weight_map"]
        files = sorted(set(places.values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SurefootError(f"{index}: Not an index of shards: {str(error)[:120]!r}.") from None
    for file in files:
        plain = isinstance(file, str) and Path(file).name == file
        if not plain or not file.endswith((".safetensors", ".bin")):
            raise SurefootError(
                f"{index}: Shard {file!r} must be the plain name of a .safetensors or .bin file beside the index."
            )
    headers = {file: _shard(index.parent / file, pickle) for file in files}
    held = {(name, file) for file, header in headers.items() for name in header.tensors}
    if wrong := held ^ set(places.items()):
        name, file = min(wrong)
        raise SurefootError(f"{index}: Index and shards disagree, first about tensor {name!r} in {file}.")
    tensors = {name: tensor for header in headers.values() for name, tensor in header.tensors.items()}
    metadata = {key: value for header in headers.values() for key, value in header.metadata.items()}
    return Checkpoint(label=str(index), tensors=tensors, metadata=metadata)


def _shard(path: Path, pickle: bool) -> Header | Checkpoint:
    return read_header(path) if path.suffix == ".safetensors" else open_pickle(path, pickle)
