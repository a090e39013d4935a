"""Edits applied in memory, with the bits that the file would have; and statistics of edits in one pass."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from surefoot.core import SurefootError
from surefoot.weights._arithmetic._chunks import Chunk, ChunkReader, dot, is_float
from surefoot.weights._arithmetic._engine import compute, reader_of
from surefoot.weights._arithmetic._expression import TaskVector, plan_edit
from surefoot.weights._arithmetic._plan import MergePlan
from surefoot.weights._arithmetic._rules import DEFAULT_RULES, EditRules
from surefoot.weights._files._checkpoint import Array, Checkpoint, Files, LowRank
from surefoot.weights._files._types import Bytes, decode

_NUMPY = {"I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1", "U64": "u8", "U32": "u4", "U16": "u2", "U8": "u1"}


def loaded(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with all its tensors read into memory: for many edits of a model that fits there."""
    with Files() as files:
        tensors = {
            name: tensor
            if isinstance(tensor, Array | LowRank)
            else Array(
                dtype=tensor.dtype,
                shape=tensor.shape,
                data=files.read(tensor, 0, tensor.size, np.empty(tensor.nbytes, np.uint8)),
            )
            for name, tensor in checkpoint.tensors.items()
        }
    return replace(checkpoint, tensors=tensors)


def _computed(plan: MergePlan) -> dict[str, Bytes]:
    buffer = np.empty(plan.written_bytes, np.uint8)

    def sink(_output: int, position: int, raw: Bytes) -> None:
        buffer[position : position + raw.size] = raw.reshape(-1)

    with Files() as files, ThreadPoolExecutor(1) as workers:
        compute(plan, range(len(plan.assignments)), sink, files, workers)
    ends = np.cumsum([one.nbytes for one in plan.assignments])
    return {one.name: buffer[end - one.nbytes : end] for one, end in zip(plan.assignments, ends, strict=True)}


def state(vector: TaskVector, coefficient: float = 1.0, *, rules: EditRules = DEFAULT_RULES) -> dict[str, np.ndarray]:
    """`base + coefficient * vector` as arrays; BF16 values come, rounded as in a file, in 32-bit arrays.

    Raises SurefootError for eight-bit floats and complex numbers, of which there are no arrays.
    """
    plan = plan_edit(vector, (coefficient,), rules=rules)
    found = _computed(plan)
    return {one.name: _array(found[one.name], one.dtype).reshape(one.shape) for one in plan.assignments}


def _array(raw: Bytes, dtype: str) -> np.ndarray:
    if dtype == "BF16":
        return decode(raw, dtype, np.empty(raw.size // 2, np.float32))
    kinds = {**_NUMPY, "F16": "f2", "F32": "f4", "F64": "f8", "BOOL": "?"}
    if dtype not in kinds:
        raise SurefootError(f"Numpy has no type for {dtype}.")
    return raw.view(kinds[dtype])


def apply_to(vector: TaskVector, model: Any, coefficient: float = 1.0, *, rules: EditRules = DEFAULT_RULES) -> None:
    """Write `base + coefficient * vector` into a torch model, or a mapping of torch tensors, in place.

    Tensors of the model that the base lacks stay as they are. Raises SurefootError when a tensor of the base has no
    counterpart of its shape in the model, and when two that the model ties would differ. The values are those of the
    base's types, converted to the model's.
    """
    import torch

    target: Mapping[str, torch.Tensor] = model.state_dict() if hasattr(model, "state_dict") else model
    plan = plan_edit(vector, (coefficient,), rules=rules)
    for one in plan.assignments:
        if one.name not in target or tuple(target[one.name].shape) != one.shape:
            found = list(target[one.name].shape) if one.name in target else "no such tensor"
            raise SurefootError(f"The model has {found} where the edit has {one.name!r} of shape {list(one.shape)}.")
    types = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32, "F64": torch.float64}
    made, places = _computed(plan), dict[tuple[int, torch.Size], str]()
    for name, raw in made.items():
        other = places.setdefault((target[name].data_ptr(), target[name].shape), name)
        if other != name and not np.array_equal(raw, made[other]):
            raise SurefootError(f"The model ties {other!r} and {name!r}, and they differ in the edit: edit both alike.")
    with torch.no_grad():
        for one, raw in zip(plan.assignments, made.values(), strict=True):
            whole = torch.from_numpy(raw)
            typed = whole.view(types[one.dtype]) if one.dtype in types else torch.from_numpy(_array(raw, one.dtype))
            target[one.name].copy_(typed.reshape(one.shape))


@dataclass(frozen=True, kw_only=True)
class Values:
    """What the values of one tensor are: how many are NaN or infinite, and of the others the range and the norm."""

    nonfinite: int
    low: float
    high: float
    norm: float


def values(checkpoint: Checkpoint) -> dict[str, Values]:
    """The range of each tensor of floating-point numbers, in one pass over the files and flat memory."""
    found: dict[str, Values] = {}
    with Files() as files:
        for name, tensor in checkpoint.tensors.items():
            if is_float(tensor) and not isinstance(tensor, LowRank):
                view = ChunkReader(name=name, shape=tensor.shape, sources=(tensor,), labels=(), files=files)
                found[name] = _values(replace(view, accumulate=np.float64))
    return found


def _values(inputs: ChunkReader) -> Values:
    nonfinite, low, high, squares = 0, np.inf, -np.inf, 0.0
    for chunk in inputs.chunks():
        finite = chunk.base[np.isfinite(chunk.base)]
        nonfinite += chunk.count - finite.size
        low, high = min(low, finite.min(initial=np.inf)), max(high, finite.max(initial=-np.inf))
        squares += dot(finite, finite)
    return Values(nonfinite=nonfinite, low=float(low), high=float(high), norm=float(np.sqrt(squares)))


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Of several task vectors of one base: names, inner products (Gram matrix) in all and by layer, relative size.

    `gram` is (n, n); `layers` maps a group of tensors (`visual.transformer.resblocks.3`) to its own Gram matrix;
    `base_norm` is the norm of the whole base. `uncounted` names tensors that differ and are in none of these: whole
    numbers and 8-bit floats.
    """

    names: tuple[str, ...]
    gram: np.ndarray
    layers: Mapping[str, np.ndarray]
    base_norm: float
    uncounted: tuple[str, ...] = ()

    @property
    def norms(self) -> np.ndarray:
        """Euclidean norm of each vector."""
        return np.sqrt(np.diag(self.gram))

    @property
    def cosines(self) -> np.ndarray:
        """Cosine of each pair, (n, n); NaN where a vector is zero."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.gram / np.outer(self.norms, self.norms)


def statistics(vectors: Sequence[TaskVector], *, rules: EditRules = DEFAULT_RULES) -> Statistics:
    """Norms and inner products of task vectors of one base, in one pass over the files and flat memory."""
    if not vectors or any(vector.base is not vectors[0].base for vector in vectors):
        raise SurefootError("Statistics compare task vectors of one base: open the base once and use it in each.")
    plans = [plan_edit(vector, rules=rules) for vector in vectors]
    layers: dict[str, np.ndarray] = defaultdict(lambda: np.zeros((len(vectors) + 1,) * 2))
    with Files() as files:
        for number, name in enumerate(vectors[0].base.tensors):
            if plans[0].assignments[number].method is not None:
                layers[layer_of(name)] += _products(plans, number, files)
    total = sum(layers.values(), np.zeros((len(vectors) + 1,) * 2))
    return Statistics(
        names=tuple(" + ".join(term.tuned.label for term in vector.terms) for vector in vectors),
        gram=total[1:, 1:],
        layers={name: found[1:, 1:] for name, found in layers.items()},
        base_norm=float(np.sqrt(total[0, 0])),
        uncounted=tuple(dict.fromkeys(name for plan in plans for name in uncounted(plan))),
    )


def uncounted(plan: MergePlan) -> tuple[str, ...]:
    """Names of the tensors that differ and that no arithmetic is done on: whole numbers, 8-bit floats."""
    with Files() as files:
        still = ((one, reader_of(plan, one, files).chunks()) for one in plan.assignments if one.method is None)
        return tuple(one.name for one, chunks in still if not all(chunk.untouched for chunk in chunks))


def _products(plans: Sequence[MergePlan], number: int, files: Files) -> np.ndarray:
    rows = [plan.assignments[number] for plan in plans]
    views = [reader_of(plan, row, files) for plan, row in zip(plans, rows, strict=True)]
    kernels = [row.method(view) for row, view in zip(rows, views, strict=True) if row.method]

    def change(position: int, chunk: Chunk) -> np.ndarray:
        found = kernels[position].compute(chunk)
        return (found * found.dtype.type(-kernels[position].gain)).astype(np.float64)

    total = np.zeros((len(rows) + 1,) * 2)
    for chunks in zip(*(view.chunks() for view in views), strict=True):
        base = chunks[0].base.astype(np.float64)
        parts = np.stack([base, *(change(position, chunk) for position, chunk in enumerate(chunks))])
        total += np.einsum("ik,jk->ij", parts, parts)
    return total


def layer_of(name: str) -> str:
    """The part of a tensor's name up to its layer number, or its first two parts."""
    found = re.match(r"^(.*?\.\d+)\.", name)
    return found[1] if found else ".".join(name.split(".")[:2])
