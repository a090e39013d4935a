"""A checkpoint is a mapping from names to tensors that lie in files or in memory; nothing is read before it is used."""

import json
import os
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from surefoot.core import SurefootError, missing_module
from surefoot.weights._numbers import Bytes, decode
from surefoot.weights._safetensors import BYTES, FLOATS, Header, Tensor, read_header


@dataclass(frozen=True, kw_only=True, slots=True)
class Array:
    """A tensor in memory: its bytes are shared with whoever made it."""

    dtype: str
    shape: tuple[int, ...]
    data: Bytes

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Number of bytes."""
        return self.data.size


@dataclass(frozen=True, kw_only=True, slots=True)
class LowRank:
    """The change `up @ down` of one matrix (LoRA): `up` is (rows, rank) and already scaled, `down` (rank, columns)."""

    up: np.ndarray
    down: np.ndarray

    @property
    def dtype(self) -> str:
        """Factors are held as 32-bit floats."""
        return "F32"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the product."""
        return (self.up.shape[0], self.down.shape[1])

    @property
    def size(self) -> int:
        """Number of elements of the product."""
        return self.up.shape[0] * self.down.shape[1]

    @property
    def nbytes(self) -> int:
        """Number of bytes of the factors."""
        return self.up.nbytes + self.down.nbytes


Source = Tensor | Array | LowRank


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Named tensors. `label` says where they came from; `metadata` is the string metadata of the file.

    `origin` is what `open_checkpoint` was called with, so that a recipe can open it again; None for one in memory.
    """

    label: str
    tensors: Mapping[str, Source]
    metadata: Mapping[str, str] = field(default_factory=dict)
    origin: Mapping[str, Any] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    @property
    def is_adapter(self) -> bool:
        """True when the tensors are low-rank changes and not weights."""
        return any(isinstance(tensor, LowRank) for tensor in self.tensors.values())

    def renamed(self, prefixes: Mapping[str, str]) -> "Checkpoint":
        """The same tensors with prefixes of their names replaced, such as `{"module.": "", "model.": "visual."}`.

        The first prefix that fits a name is the one that is used. Raises SurefootError when a prefix fits no name or
        when two tensors would get one name.
        """
        used: set[str] = set()
        tensors: dict[str, Source] = {}
        for name, tensor in self.tensors.items():
            old = next((prefix for prefix in prefixes if name.startswith(prefix)), None)
            new = name if old is None else prefixes[old] + name[len(old) :]
            used.update(() if old is None else (old,))
            if new in tensors:
                raise SurefootError(f"{self.label}: renaming gives the name {new!r} to two tensors")
            tensors[new] = tensor
        if unused := set(prefixes) - used:
            raise SurefootError(
                f"{self.label}: no tensor begins with {sorted(unused)}; first: {next(iter(tensors), None)!r}"
            )
        return replace(self, tensors=tensors)


# What a folder may hold, best first; the second tuple is looked at only when pickles are allowed.
_SAFE = (
    "model.safetensors.index.json",
    "adapter_model.safetensors",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "model.safetensors",
)
_PICKLED = (
    "pytorch_model.bin.index.json",
    "open_clip_pytorch_model.bin",
    "open_clip_model.pt",
    "pytorch_model.bin",
    "adapter_model.bin",
)
_PICKLE_SUFFIXES = (".pt", ".bin", ".pth", ".ckpt")


def open_checkpoint(path: Path | str, *, pickle: bool = False, rename: Mapping[str, str] | None = None) -> Checkpoint:
    """Open a safetensors file, an index of shards, a folder (OpenCLIP, Hugging Face, LoRA adapter) or a pickle.

    Only headers are read. `.pt`, `.bin`, `.pth` and `.ckpt` files are opened only with `pickle=True`, and then through
    torch's weights-only loader, which builds tensors and plain containers and runs no code. `rename` replaces prefixes
    (see `Checkpoint.renamed`). Raises SurefootError when the file is missing, damaged or of no known kind.
    """
    found = _locate(Path(path), pickle)
    if found.name.endswith(".index.json"):
        opened = _sharded(found, pickle)
    elif found.suffix == ".safetensors":
        header = read_header(found)
        opened = Checkpoint(label=str(found), tensors=header.tensors, metadata=header.metadata)
    elif found.suffix in _PICKLE_SUFFIXES:
        opened = _pickled(found, pickle)
    else:
        raise SurefootError(f"{found}: not a checkpoint; expected .safetensors, .index.json, .pt, .bin or a folder")
    config = found.parent / "adapter_config.json"
    if found.name.startswith("adapter_model") or any(".lora_A." in name for name in opened.tensors):
        opened = _adapter(opened, config)
    origin = {"path": str(path), "pickle": pickle, "rename": dict(rename or {})}
    opened = replace(opened, origin=origin)
    return opened.renamed(rename) if rename else opened


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
        raise SurefootError(f"{path}: no such file or folder")
    for name in _SAFE + (_PICKLED if pickle else ()):
        if (path / name).is_file():
            return path / name
    indexes = sorted(path.glob("*.safetensors.index.json"))
    candidates = indexes or sorted(path.glob("*.safetensors"))
    if not candidates and pickle:
        candidates = sorted(file for file in path.iterdir() if file.suffix in _PICKLE_SUFFIXES)
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise SurefootError(
            f"{path}: several checkpoints ({', '.join(file.name for file in candidates[:5])}); name one"
        )
    pickled = any(file.suffix in _PICKLE_SUFFIXES for file in path.iterdir())
    hint = "; it has pickles, which are opened only when asked for (pickle=True, --pickle)" if pickled else ""
    raise SurefootError(f"{path}: no safetensors in this folder{hint}")


def _sharded(index: Path, pickle: bool) -> Checkpoint:
    try:
        content = json.loads(index.read_text("utf-8"))
        places: dict[str, str] = content["weight_map"]
        files = sorted(set(places.values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SurefootError(f"{index}: not an index of shards: {str(error)[:120]!r}") from None
    for file in files:
        plain = isinstance(file, str) and Path(file).name == file
        if not plain or not file.endswith((".safetensors", ".bin")):
            raise SurefootError(
                f"{index}: shard {file!r} must be the plain name of a .safetensors or .bin file beside the index"
            )
    headers = {file: _shard(index.parent / file, pickle) for file in files}
    held = {(name, file) for file, header in headers.items() for name in header.tensors}
    if wrong := held ^ set(places.items()):
        name, file = min(wrong)
        raise SurefootError(f"{index}: index and shards disagree, first about tensor {name!r} in {file}")
    tensors = {name: tensor for header in headers.values() for name, tensor in header.tensors.items()}
    metadata = {key: value for header in headers.values() for key, value in header.metadata.items()}
    return Checkpoint(label=str(index), tensors=tensors, metadata=metadata)


def _shard(path: Path, pickle: bool) -> Header | Checkpoint:
    return read_header(path) if path.suffix == ".safetensors" else _pickled(path, pickle)


def _pickled(path: Path, allowed: bool) -> Checkpoint:
    if not allowed:
        raise SurefootError(f"{path} is a pickle; pickles are opened only when asked for (pickle=True, --pickle)")
    try:
        import torch
    except ImportError:
        raise missing_module("torch") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice to load what is refused here
            # Files of before torch 1.6 are no archives and cannot be mapped: they are read as a whole.
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # torch raises many kinds for one reason: the file is not plain tensors
        raise SurefootError(
            f"{path}: not a file of plain tensors (a whole model, TorchScript or damaged: {type(error).__name__}), "
            "and nothing else is loaded; save the model's state dict as safetensors where it was made"
        ) from None
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict):
        raise SurefootError(f"{path}: expected a mapping from names to tensors, found {type(loaded).__name__}")
    state = from_state(loaded, label=str(path))
    everywhere = bool(state.tensors) and all(name.startswith("module.") for name in state.tensors)
    return state.renamed({"module.": ""}) if everywhere else state


_OF_NUMPY = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8",
    "bool": "BOOL", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "complex64": "C64",
}  # fmt: skip


def from_state(state: Mapping[str, Any], *, label: str = "memory") -> Checkpoint:
    """A checkpoint over arrays or torch tensors in memory (a state dict); contiguous ones are shared, not copied.

    Raises SurefootError for a name that is not text, and for a value that is not a tensor, is sparse or without data,
    or has a type that safetensors does not know.
    """
    if wrong := [name for name in state if not isinstance(name, str)]:
        raise SurefootError(f"{label}: tensors are named by text, not by {wrong[0]!r}")
    return Checkpoint(label=label, tensors={name: _array(name, value) for name, value in state.items()})


def _array(name: str, value: Any) -> Array:
    if not hasattr(value, "dtype") or not hasattr(value, "shape"):
        raise SurefootError(f"{name!r} is not a tensor but {type(value).__name__}; pass the state dict of the model")
    dtype = _OF_NUMPY.get(str(value.dtype).removeprefix("torch."))
    if dtype is None:
        raise SurefootError(f"{name!r} has the type {value.dtype}, which a checkpoint cannot hold")
    shape = tuple(int(length) for length in value.shape)
    if isinstance(value, np.ndarray):
        flat = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
    else:
        import torch

        if value.layout != torch.strided or value.is_meta:
            raise SurefootError(f"{name!r} is a sparse tensor or has no data; only dense tensors are held")
        flat = value.detach().to("cpu").contiguous().reshape(-1).view(torch.uint8).numpy()
    return Array(dtype=dtype, shape=shape, data=flat)


def _adapter(opened: Checkpoint, config: Path) -> Checkpoint:
    """LoRA (arXiv 2106.09685): a matrix changes by (alpha / r) B A; by (alpha / sqrt(r)) B A where rank-stabilised."""
    try:
        options = json.loads(config.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        raise SurefootError(f"{opened.label}: a LoRA adapter needs a readable {config.name} beside it") from None
    if not isinstance(options, dict) or not isinstance(options.get("alpha_pattern") or {}, dict):
        raise SurefootError(f"{config}: not the configuration of a LoRA adapter: a mapping is expected")
    if options.get("use_dora"):
        raise SurefootError(
            f"{config}: weight-decomposed adapters (DoRA) are not linear in their factors; merge it first"
        )
    tensors: dict[str, Source] = {}
    for name, tensor in opened.tensors.items():
        stem, factor, _ = name.partition(".lora_A.")
        other = name.replace(".lora_A.", ".lora_B.")
        if not factor and ".lora_B." in name and name.replace(".lora_B.", ".lora_A.") in opened.tensors:
            continue
        if not factor or other not in opened.tensors:
            raise SurefootError(
                f"{opened.label}: {name!r} is not a LoRA factor with a partner; only A and B are merged"
            )
        module = stem.removeprefix("base_model.model.")
        alpha = _alpha(config, options, module)
        tensors[f"{module}.weight"] = _low_rank(name, (tensor, opened.tensors[other]), options, alpha)
    return replace(opened, tensors=tensors)


def _low_rank(name: str, factors: tuple[Source, Source], options: Mapping[str, Any], alpha: float) -> LowRank:
    if not all(one.dtype in FLOATS and len(one.shape) == 2 and one.size for one in factors):
        said = ", ".join(f"{one.dtype} {list(one.shape)}" for one in factors)
        raise SurefootError(f"{name!r}: LoRA factors are two matrices of floating-point numbers that fit, not {said}")
    down, up = map(load, factors)
    rank = down.shape[0]
    if up.shape[1] != rank:
        raise SurefootError(
            f"{name!r}: LoRA factors {list(up.shape)} and {list(down.shape)} are not two matrices that fit"
        )
    scale = alpha / (rank**0.5 if options.get("use_rslora") else rank)
    up = up * np.float32(scale)
    if options.get("fan_in_fan_out"):
        down, up = np.ascontiguousarray(up.T), np.ascontiguousarray(down.T)
    return LowRank(up=up, down=down)


def _alpha(config: Path, options: Mapping[str, Any], module: str) -> float:
    # A key of the patterns is a regular expression for the end of a module's name, as PEFT reads it.
    try:
        fits = (
            value
            for key, value in (options.get("alpha_pattern") or {}).items()
            if re.fullmatch(rf"(.*\.)?({key})", module)
        )
        value = next(fits, options.get("lora_alpha"))
    except re.error as error:
        raise SurefootError(f"{config}: alpha_pattern is not a regular expression: {error}") from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise SurefootError(f"{config}: lora_alpha must be a number, not {value!r}")
    return float(value)


def load(source: Source) -> np.ndarray:
    """The whole tensor as 32-bit floats (64-bit when it is): for small ones."""
    if isinstance(source, LowRank):
        return source.up @ source.down
    with Files() as files:
        raw = files.read(source, 0, source.size, np.empty(source.nbytes, np.uint8))
    out = np.empty(source.size, np.float64 if source.dtype == "F64" else np.float32)
    return decode(raw, source.dtype, out).reshape(source.shape)


@dataclass(frozen=True)
class Files:
    """Open files, for positioned reads from any number of threads. A context manager."""

    opened: dict[Path, int] = field(default_factory=dict)

    def __enter__(self) -> "Files":
        return self

    def __exit__(self, *_: object) -> None:
        while self.opened:
            os.close(self.opened.popitem()[1])

    def read(self, tensor: Tensor | Array, start: int, count: int, buffer: Bytes) -> Bytes:
        """Bytes of `count` elements from element `start`: in `buffer`, or a view when the tensor is in memory."""
        width = BYTES[tensor.dtype]
        if isinstance(tensor, Array):
            return tensor.data[start * width : (start + count) * width]
        wanted = buffer[: count * width]
        self._fill(tensor.path, tensor.start + start * width, wanted)
        return wanted

    def _fill(self, path: Path, position: int, wanted: Bytes) -> None:
        done = 0
        while done < wanted.size:
            got = os.preadv(self._descriptor(path), [wanted.data[done:]], position + done)
            if got == 0:
                raise SurefootError(f"{path}: ended at byte {position + done} while it was read; it has been truncated")
            done += got

    def _descriptor(self, path: Path) -> int:
        found = self.opened.get(path)
        if found is None:
            fresh = os.open(path, os.O_RDONLY)
            found = self.opened.setdefault(path, fresh)  # two threads may race: one file stays, the other is closed
            if found != fresh:
                os.close(fresh)
        return found
