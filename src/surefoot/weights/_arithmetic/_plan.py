"""What is to be made: output tensors, what each is made of and how, and the rules that hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite, prod
from typing import Any

from surefoot.core import SurefootError
from surefoot.weights._arithmetic._chunks import CHUNK
from surefoot.weights._arithmetic._kernel import WIDER
from surefoot.weights._arithmetic._merging import Method
from surefoot.weights._arithmetic._rules import DEFAULT_RULES, EditRules
from surefoot.weights._arithmetic._selection import SMALL
from surefoot.weights._files._checkpoint import StoredTensor
from surefoot.weights._files._types import BYTES

ROW = 1 << 20  # elements of one piece of work; digests are taken by row, so this number is part of the digest


_SELECTING, _RANKING = ("ties", "breadcrumbs", "sce", "arcee_fusion"), ("della", "della_linear")
PART_BYTES = 1 << 27  # output bytes between two entries of the journal


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One output tensor: its inputs (the base first) and the method, with its parameters bound, that makes it."""

    name: str
    dtype: str
    sources: tuple[StoredTensor, ...]
    labels: tuple[str, ...]  # of the checkpoints that the sources are from
    method: Method | None = None  # None copies the first source

    @property
    def shape(self) -> tuple[int, ...]:
        return self.sources[0].shape

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * BYTES[self.dtype]


@dataclass(frozen=True, kw_only=True)
class LayerOrder:
    """Where the layers of a sliced tower come from, in their order: the path of a model and the number there.

    `tower` is what stands before the numbers in names, and `before` how many layers the base has there.
    """

    tower: str
    before: int
    order: tuple[tuple[str, int], ...]


@dataclass(frozen=True, kw_only=True)
class MergePlan:
    """What is to be written: tensors in file order, and one coefficient for each output file."""

    assignments: tuple[Assignment, ...]
    coefficients: tuple[float, ...] = (1.0,)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    rules: EditRules = DEFAULT_RULES
    chunk: int = CHUNK
    layers: LayerOrder | None = None
    shard: bool = False  # the assignments are not all that the recipe gives

    def __post_init__(self) -> None:
        if wrong := [one for one in self.coefficients if not isfinite(one)]:
            raise SurefootError(f"A coefficient must be a finite number, not {wrong[0]}.")

    @property
    def written_as(self) -> str | None:
        """The type that is asked for, or the widest that inputs of several types made; None where types stay."""
        wider = {one.dtype for one in self.assignments if one.method and one.dtype != one.sources[0].dtype}
        return self.rules.dtype or max(wider, key=BYTES.__getitem__, default=None)

    @property
    def read_bytes(self) -> int:
        """Bytes of the inputs; a method that needs statistics reads them more than once."""
        return sum(source.nbytes for one in self.assignments for source in one.sources)

    @property
    def written_bytes(self) -> int:
        """Bytes of all outputs."""
        return sum(one.nbytes for one in self.assignments) * len(self.coefficients)

    def memory_bound(self, threads: int) -> int:
        """Upper bound in bytes of what the engine holds beside the interpreter, whatever the sizes of tensors."""
        widest = max((len(one.sources) for one in self.assignments), default=0)
        of_chunks = self.chunk * WIDER * 4 * (2 * widest + len(self.coefficients) + 8)
        return threads * (of_chunks + max(map(self._held_whole, self.assignments), default=0))

    def _held_whole(self, one: Assignment) -> int:
        # What a method holds of a whole tensor to select from it, or of a row to rank it.
        name, size = getattr(getattr(one.method, "func", one.method), "__name__", ""), prod(one.shape)
        wide = self.rules.accumulate == "float64" or any(source.dtype == "F64" for source in one.sources)
        row = size // max(one.shape[0], 1) if len(one.shape) > 1 else size
        held = 8 * min(size, SMALL) if name in _SELECTING else 48 * row if name in _RANKING else 0
        return held << wide


def parts(plan: MergePlan) -> list[range]:
    """Assignments in groups of about `PART_BYTES`, the unit of the journal."""
    groups: list[range] = []
    first, held = 0, 0
    for index, one in enumerate(plan.assignments):
        held += one.nbytes
        if held >= PART_BYTES or index + 1 == len(plan.assignments):
            groups.append(range(first, index + 1))
            first, held = index + 1, 0
    return groups


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one piece of work saw: input digests, and for each output sums over its elements."""

    name: str
    start: int
    digests: tuple[str | None, ...]
    edit: tuple[float, ...]  # sum of squares of the exact change
    lost: tuple[float, ...]  # sum of squares of what rounding took
    nonfinite: tuple[int, ...]
