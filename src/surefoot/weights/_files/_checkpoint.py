"""A checkpoint is a mapping from names to tensors that lie in files or in memory; nothing is read before it is used."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from surefoot.core import SurefootError
from surefoot.weights._files._safetensors import Tensor
from surefoot.weights._files._types import BYTES, Bytes, check_name, decode


@dataclass(frozen=True, kw_only=True, slots=True)
class Array:
    """A tensor in memory: its bytes are shared with whoever made it."""

    dtype: str
    shape: tuple[int, ...]
    data: Bytes

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        return self.data.size


@dataclass(frozen=True, kw_only=True, slots=True)
class LowRank:
    """The change `up @ down` of one matrix (LoRA): `up` is (rows, rank) and already scaled, `down` (rank, columns).

    `transposed` says that its adapter is of layers stored so (fan_in_fan_out), `path` the file that it was read from.
    """

    up: np.ndarray
    down: np.ndarray
    transposed: bool = False
    path: Path = Path()

    @property
    def dtype(self) -> str:
        """Factors are held as 32-bit floats."""
        return "F32"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.up.shape[0], self.down.shape[1])

    @property
    def size(self) -> int:
        return self.up.shape[0] * self.down.shape[1]

    @property
    def nbytes(self) -> int:
        return self.up.nbytes + self.down.nbytes


StoredTensor = Tensor | Array | LowRank


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Named tensors. `label` says where they came from; `metadata` is the string metadata of the file.

    `origin` is what `open_checkpoint` was called with, so that a recipe can open it again; None for one in memory.
    """

    label: str
    tensors: Mapping[str, StoredTensor]
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
        tensors: dict[str, StoredTensor] = {}
        for name, tensor in self.tensors.items():
            old = next((prefix for prefix in prefixes if name.startswith(prefix)), None)
            new = name if old is None else prefixes[old] + name[len(old) :]
            used.update(() if old is None else (old,))
            check_name(self.label, new)
            if new in tensors:
                raise SurefootError(f"{self.label}: Renaming gives the name {new!r} to two tensors.")
            tensors[new] = tensor
        if unused := set(prefixes) - used:
            raise SurefootError(
                f"{self.label}: No tensor begins with {sorted(unused)}; first: {next(iter(tensors), None)!r}."
            )
        return replace(self, tensors=tensors)


OF_TORCH = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8",
    "bool": "BOOL", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "complex64": "C64",
}  # fmt: skip


def from_state(
    state: Mapping[str, Any], *, label: str = "memory", metadata: Mapping[str, str] | None = None
) -> Checkpoint:
    """A checkpoint over arrays or torch tensors in memory (a state dict); contiguous ones are shared, not copied.

    Raises SurefootError for a name that is not text, and for a value that is not a tensor, is sparse or without data,
    or has a type that safetensors does not know.
    """
    for name in state:
        check_name(label, name)
    tensors = {name: _array(name, value) for name, value in state.items()}
    return Checkpoint(label=label, tensors=tensors, metadata=metadata or {})


def _array(name: str, value: Any) -> Array:
    if not hasattr(value, "dtype") or not hasattr(value, "shape"):
        raise SurefootError(
            f"The entry {name!r} is not a tensor but {type(value).__name__}; pass the state dict of the model."
        )
    dtype = OF_TORCH.get(str(value.dtype).removeprefix("torch."))
    if dtype is None:
        raise SurefootError(f"Tensor {name!r} has the type {value.dtype}, which a checkpoint cannot hold.")
    shape = tuple(int(length) for length in value.shape)
    if isinstance(value, np.ndarray):
        flat = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
    else:
        import torch

        if value.layout != torch.strided or value.is_meta:
            raise SurefootError(f"Tensor {name!r} is sparse or has no data; only dense tensors are held.")
        flat = value.detach().to("cpu").resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8).numpy()
    return Array(dtype=dtype, shape=shape, data=flat)


def load(source: StoredTensor) -> np.ndarray:
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
                raise SurefootError(
                    f"{path}: Ended at byte {position + done} while it was read; it has been truncated."
                )
            done += got

    def _descriptor(self, path: Path) -> int:
        found = self.opened.get(path)
        if found is None:
            fresh = os.open(path, os.O_RDONLY)
            found = self.opened.setdefault(path, fresh)  # two threads may race: one file stays, the other is closed
            if found != fresh:
                os.close(fresh)
        return found
