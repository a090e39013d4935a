"""Headers of safetensors files: read with suspicion, written with offsets known before the data.

The format: eight bytes of little-endian header length, that much JSON, then one buffer without holes.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from surefoot.core import SurefootError
from surefoot.weights._files._types import BYTES, check_name

HEADER_LIMIT = 100_000_000  # the limit of the reference implementation: a larger header is an attack or an accident
ALIGNMENT = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Tensor:
    """Where one tensor lies: its type (safetensors name), its shape, its file and the first byte in that file."""

    dtype: str
    shape: tuple[int, ...]
    path: Path
    start: int

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * BYTES[self.dtype]


@dataclass(frozen=True, kw_only=True)
class Header:
    """A checked header: tensors in the order of the file, and the string metadata."""

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_header(path: Path) -> Header:
    """Read and check the header of one safetensors file, without its data."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            start = _header_end(path, file.read(8), size)
            text = file.read(start - 8)
    except (OSError, ValueError) as error:  # a name with a null byte in it is a ValueError
        raise SurefootError(f"{path}: Cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    entries = _parse(path, text)
    metadata = _metadata(path, entries.pop("__metadata__", {}))
    for name in entries:
        check_name(str(path), name)
    tensors = {name: _tensor(path, name, entry, start) for name, entry in entries.items()}
    ordered = dict(sorted(tensors.items(), key=lambda item: (item[1].start, item[1].nbytes)))
    _check_layout(path, ordered, start, size)
    return Header(tensors=ordered, metadata=metadata)


def header_bytes(tensors: Mapping[str, tuple[str, Sequence[int]]], metadata: Mapping[str, str]) -> bytes:
    """Header of a new file whose tensors follow each other in the order given; padded with spaces to 8 bytes."""
    entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for name, (dtype, shape) in tensors.items():
        end = position + prod(shape) * BYTES[dtype]
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return struct.pack("<Q", len(text)) + text


def _header_end(path: Path, prefix: bytes, size: int) -> int:
    if len(prefix) < 8:
        raise SurefootError(f"{path}: {size} bytes are too few for a safetensors file.")
    length = struct.unpack("<Q", prefix)[0]
    if length > HEADER_LIMIT:
        raise SurefootError(f"{path}: The header claims {length} bytes, more than the limit of {HEADER_LIMIT}.")
    if 8 + length > size:
        raise SurefootError(f"{path}: The header claims {length} bytes, but the file has {size} in all (truncated?).")
    return 8 + length


def _parse(path: Path, text: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name appears twice")
        return found

    try:
        entries = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise SurefootError(f"{path}: The header is not valid JSON: {str(error)[:120]}.") from None
    if not isinstance(entries, dict):
        raise SurefootError(f"{path}: The header is not a JSON object.")
    return entries


def _metadata(path: Path, found: Any) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise SurefootError(f"{path}: __metadata__ must map strings to strings.")
    return found


def _tensor(path: Path, name: str, entry: Any, start: int) -> Tensor:
    where = f"{path}: tensor {name[:80]!r}"
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise SurefootError(f"{where} needs dtype, shape and data_offsets.")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BYTES:
        raise SurefootError(f"{where} has the unknown type {str(dtype)[:40]!r}; known: {', '.join(BYTES)}.")
    if not _whole(shape) or not _whole(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise SurefootError(f"{where} needs whole numbers: shape {str(shape)[:60]}, offsets {str(offsets)[:60]}.")
    tensor = Tensor(dtype=dtype, shape=tuple(shape), path=path, start=start + offsets[0])
    if tensor.nbytes != offsets[1] - offsets[0]:
        raise SurefootError(
            f"{where}: {dtype} {str(shape)[:60]} is {tensor.nbytes} bytes, not {offsets[1] - offsets[0]}."
        )
    return tensor


def _whole(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _check_layout(path: Path, ordered: Mapping[str, Tensor], start: int, size: int) -> None:
    position = start
    for name, tensor in ordered.items():
        if tensor.start != position:
            kind = "overlaps the one before it" if tensor.start < position else "leaves a hole before it"
            raise SurefootError(f"{path}: Tensor {name[:80]!r} {kind} (byte {tensor.start}, expected {position}).")
        position += tensor.nbytes
    if position != size:
        raise SurefootError(f"{path}: The header describes {position} bytes, the file has {size} (truncated?).")
