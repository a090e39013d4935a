"""What a merge method sees of one tensor: chunks of its inputs as floats, and exact statistics of the whole of it."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from surefoot.core import SurefootError
from surefoot.weights._arithmetic._random import keep_mask, random_bits, stream_key
from surefoot.weights._files._checkpoint import Array, Files, LowRank, StoredTensor
from surefoot.weights._files._types import BYTES, FLOATS, Bytes, Floats, decode

_SCALE = re.compile(r"\.(?:(?:weight|input)[._](?:scale|absmax|quant|nested|zero)[^.]*|q?scales|SCB|scale_weight)$")
CHUNK = 1 << 16  # elements: large enough for the cost of a call, small enough for the caches of a processor


@dataclass(frozen=True)
class Chunk:
    """Elements `start` to `start + count` of all inputs of one tensor; decoded when asked for."""

    inputs: "ChunkReader"
    start: int
    count: int
    raw: tuple[Bytes | None, ...]

    @cached_property
    def base(self) -> Floats:
        """The base in the accumulation type. Not to be written to."""
        return self._decoded(0)

    def tuned(self, index: int) -> Floats:
        """A fresh array with the values of tuned input `index`."""
        return self._decoded(index + 1) if self.raw[index + 1] is not None else self.base + self.delta(index)

    def delta(self, index: int) -> Floats:
        """A fresh array with tuned input `index` minus the base."""
        source = self.inputs.sources[index + 1]
        if isinstance(source, LowRank):
            return _product(source, self.start, self.count, self.inputs.accumulate)
        out = self._decoded(index + 1)
        return np.subtract(out, self.base, out=out)

    def random(self, seed: int, index: int) -> np.ndarray:
        """Uniform 32-bit numbers of tuned input `index` for the elements of this chunk."""
        return random_bits(self._key(seed, index), self.start, self.count)

    def keep(self, seed: int, index: int, probability: float) -> np.ndarray:
        """True with `probability` for each element of tuned input `index`."""
        return keep_mask(self._key(seed, index), self.start, self.count, probability)

    def ranks(self, index: int) -> np.ndarray:
        """Rank by the size of delta of each element in its row (first axis against the rest), 0 to 1, as float64."""
        width = self.inputs.size // self.inputs.shape[0] if len(self.inputs.shape) > 1 else self.inputs.size
        first, last = self.start // width * width, -(-(self.start + self.count) // width) * width
        silent = replace(self.inputs, chunk=last - first, seen=None)
        magnitudes = np.abs(next(silent.chunks(first, last - first)).delta(index)).reshape(-1, width)
        order = np.argsort(magnitudes, axis=1, kind="stable")
        ranks = np.empty(order.shape)
        np.put_along_axis(ranks, order, np.arange(width) / max(width - 1, 1), axis=1)
        return ranks.reshape(-1)[self.start - first :][: self.count]

    def _key(self, seed: int, index: int) -> tuple[int, int]:
        return stream_key(seed, self.inputs.name, self.inputs.labels[index])

    def retreat(self, index: int) -> Floats:
        """A fresh array with the base minus tuned input `index`: +0, never -0, where the two are equal."""
        if self.raw[index + 1] is None:
            return np.subtract(0.0, self.delta(index), dtype=self.inputs.accumulate)
        out = self._decoded(index + 1)
        return np.subtract(self.base, out, out=out)

    def _decoded(self, position: int) -> Floats:
        raw, source = self.raw[position], self.inputs.sources[position]
        if raw is None:
            raise SurefootError(f"Tensor {self.inputs.name!r}: a low-rank change needs a base.")
        return decode(raw, source.dtype, np.empty(self.count, self.inputs.accumulate))

    @property
    def untouched(self) -> bool:
        """True when every tuned input has the type and the bytes of the base here."""
        dtype, first, others = self.inputs.sources[0].dtype, self.raw[0], self.raw[1:]
        alike = all(source.dtype == dtype for source in self.inputs.sources)
        return alike and all(other is not None and _same(first, other) for other in others)

    def equal_elements(self) -> np.ndarray:
        """True for elements that have the bytes of the base (of another type: its value) in every tuned input."""
        equal, first, dtype = np.ones(self.count, np.bool_), self.raw[0], self.inputs.sources[0].dtype
        for index, other in enumerate(self.raw[1:]):
            if other is None or first is None:
                return np.zeros(self.count, np.bool_)
            if self.inputs.sources[index + 1].dtype == dtype:
                equal &= (first.reshape(self.count, -1) == other.reshape(self.count, -1)).all(1)
            else:
                equal &= self.base == self.tuned(index)
        return equal


def _same(first: Bytes | None, other: Bytes) -> bool:
    if first is None or first.size != other.size or first[:64].tobytes() != other[:64].tobytes():
        return False
    return first.tobytes() == other.tobytes()


def _product(source: LowRank, start: int, count: int, accumulate: Any) -> Floats:
    # Rank-one terms added one by one: unlike a matrix product, the bits do not depend on the shape of the block.
    columns = source.shape[1]
    first, last = start // columns, -(-(start + count) // columns)
    block = np.zeros((last - first, columns), accumulate)
    for rank in range(source.down.shape[0]):
        block += source.up[first:last, rank, None].astype(accumulate) * source.down[rank]
    return block.reshape(-1)[start - first * columns :][:count]


@dataclass(frozen=True, kw_only=True)
class ChunkReader:
    """All inputs of one output tensor. `sources[0]` is the base (or the first input when a method knows no base)."""

    name: str
    shape: tuple[int, ...]
    sources: tuple[StoredTensor, ...]
    labels: tuple[str, ...]
    files: Files
    accumulate: Any = np.float32
    chunk: int = CHUNK
    seen: Callable[[int, Bytes], None] | None = field(default=None, compare=False)

    @property
    def count(self) -> int:
        return len(self.sources) - 1

    @property
    def size(self) -> int:
        return prod(self.shape)

    def chunks(self, start: int = 0, count: int | None = None) -> Iterator[Chunk]:
        """Chunks of the elements `start` to `start + count`, in order."""
        end = self.size if count is None else start + count
        for first in range(start, end, self.chunk):
            yield self._read(first, min(self.chunk, end - first))

    def _read(self, start: int, count: int) -> Chunk:
        raw: list[Bytes | None] = []
        for position, source in enumerate(self.sources):
            if isinstance(source, LowRank):
                raw.append(None)
                continue
            room = 0 if isinstance(source, Array) else count * BYTES[source.dtype]
            raw.append(self.files.read(source, start, count, np.empty(room, np.uint8)))
            if self.seen:
                self.seen(position, raw[-1])  # pyright: ignore[reportArgumentType]
        return Chunk(self, start, count, tuple(raw))

    def total(self, function: Callable[[Chunk], Any]) -> Any:
        """Sum of `function` over all chunks, in float64."""
        return sum(np.asarray(function(chunk), np.float64) for chunk in self.chunks())

    def gram(self, *, whole: bool = False) -> np.ndarray:
        """Inner products, in 64 bits, of the deltas of the tuned inputs, or of all inputs themselves (`whole`)."""

        def products(chunk: Chunk) -> np.ndarray:
            each = map(chunk.tuned if whole else chunk.delta, range(self.count))
            rows = [chunk.base, *each] if whole else list(each)
            return np.array([[wide_dot(one, other) for other in rows] for one in rows])

        return np.broadcast_to(self.total(products), (self.count + whole,) * 2)


def dot(one: Floats, other: Floats) -> float:
    """Inner product without the threads of a linear algebra library, in 64 bits where 32 hold none."""
    found = float(np.einsum("i,i", one, other))
    return found if 1e-25 < abs(found) < np.inf else wide_dot(one, other)


def wide_dot(one: Floats, other: Floats) -> float:
    """Inner product in 64 bits, for statistics that a whole tensor is multiplied by."""
    return float(np.einsum("i,i", one, other, dtype=np.float64))


def twin(base: Mapping[str, StoredTensor], name: str, there: Mapping[str, StoredTensor]) -> str | None:
    """The matrix of `base` that is tied to `name`, bit for bit the same, and that `there` has; None when there is none.

    A matrix of one value only is tied to none: many are zero at first.
    """
    source = base[name]
    for other, candidate in base.items():
        alike = (candidate.shape, candidate.dtype) == (source.shape, source.dtype) and len(source.shape) > 1
        if alike and other != name and other in there and tied(name, source, candidate):
            return other
    return None


def tied(name: str, one: StoredTensor, other: StoredTensor) -> bool:
    """True for two tensors of one type and shape that are bit for bit the same, and not of one value only."""
    if isinstance(one, LowRank) or isinstance(other, LowRank):
        return False
    with Files() as files:
        pair = ChunkReader(name=name, shape=one.shape, sources=(one, other), labels=("",), files=files)
        chunks = pair.chunks()
        first = next(chunks, None)
        varied = first is not None and first.raw[0] is not None and np.unique(first.raw[0]).size > 2
        return varied and first is not None and first.untouched and all(chunk.untouched for chunk in chunks)


def is_float(source: StoredTensor) -> bool:
    """True for the types that arithmetic is done on."""
    return source.dtype in FLOATS


def is_scale(name: str, base: Mapping[str, StoredTensor]) -> bool:
    """True for the scales of a quantized matrix (8-bit floats, whole numbers), which mean nothing beside another's."""
    stem = name[: found.start()] if (found := _SCALE.search(name)) else None
    whole = (base.get(f"{stem}.{one}") for one in ("weight", "qweight", "weight_packed"))
    return stem is not None and any(one is not None and not is_float(one) for one in whole)
