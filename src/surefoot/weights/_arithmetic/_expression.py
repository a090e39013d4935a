"""Linear expressions over checkpoints: a base and a sum of coefficients times differences. Nothing is computed here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, InitVar, dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from surefoot.core import SurefootError
from surefoot.weights._arithmetic._chunks import is_float, is_scale, twin
from surefoot.weights._arithmetic._methods import agreed, edit
from surefoot.weights._arithmetic._plan import Assignment, MergePlan
from surefoot.weights._arithmetic._rules import DEFAULT_RULES, EditRules
from surefoot.weights._files._adapters import check_transposed
from surefoot.weights._files._checkpoint import Checkpoint, LowRank, StoredTensor
from surefoot.weights._files._opening import moved_to, open_checkpoint

Policy = Literal["error", "base", "tied"]


@dataclass(frozen=True)
class Term:
    """`coefficient * (tuned - start)` on the names that a pattern of `only` fits (all when it is empty)."""

    coefficient: float
    tuned: Checkpoint
    start: Checkpoint
    only: tuple[str, ...] = ()

    def covers(self, name: str) -> bool:
        return not self.only or any(fnmatchcase(name, pattern) for pattern in self.only)

    def times(self, factor: float) -> "Term":
        return replace(self, coefficient=self.coefficient * factor)


@dataclass(frozen=True)
class TaskVector:
    """A direction in weight space (arXiv 2212.04089): `TaskVector(base, tuned)` is tuned - base; `+ - *` combine them.

    `base` is where the edit starts when it is applied. A LoRA adapter as `tuned` is taken as the change it stands for.
    Terms of one direction are added up, and terms are kept in one order, so that sums do not depend on theirs.
    """

    base: Checkpoint
    tuned: InitVar[Checkpoint | None] = None
    _: KW_ONLY
    terms: tuple[Term, ...] = ()

    def __post_init__(self, tuned: Checkpoint | None) -> None:
        terms = self.terms if tuned is None else (*self.terms, Term(1.0, tuned, self.base))
        object.__setattr__(self, "terms", _collected(terms))

    def __add__(self, other: "TaskVector | int") -> "TaskVector":
        if other == 0:  # the start of sum()
            return self
        if not isinstance(other, TaskVector):
            return NotImplemented
        return TaskVector(self.base, terms=self.terms + other.terms)

    __radd__ = __add__

    def __neg__(self) -> "TaskVector":
        return self * -1.0

    def __sub__(self, other: "TaskVector") -> "TaskVector":
        return self + (-other)

    def __mul__(self, factor: float) -> "TaskVector":
        if not isfinite(factor):
            raise SurefootError(f"A coefficient must be a finite number, not {factor}.")
        return TaskVector(self.base, terms=tuple(term.times(float(factor)) for term in self.terms))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> "TaskVector":
        return self * (1.0 / divisor)

    def filter(self, *patterns: str) -> "TaskVector":
        """The same edit on the tensors whose names fit one of the patterns (`visual.*`); the others stay the base's."""
        if not all(isinstance(one, str) for one in patterns):
            raise SurefootError(
                f"Patterns of names are texts, each for itself: filter('visual.*'), not {patterns[0]!r}."
            )
        if any(term.only for term in self.terms):
            raise SurefootError("This edit is already filtered; filter its parts before adding them.")
        return TaskVector(self.base, terms=tuple(replace(term, only=patterns) for term in self.terms))

    def on(self, base: Checkpoint) -> "TaskVector":
        """The same direction, to be applied to another base."""
        return TaskVector(base, terms=self.terms)


def _collected(terms: Sequence[Term]) -> tuple[Term, ...]:
    found: dict[tuple[int, int, tuple[str, ...]], Term] = {}
    for term in terms:
        if term.tuned is term.start:
            continue
        key = (id(term.tuned), id(term.start), term.only)
        known = found.get(key)
        found[key] = replace(term, coefficient=term.coefficient + known.coefficient) if known else term
    kept = (term for term in found.values() if term.coefficient != 0)
    return tuple(sorted(kept, key=lambda term: (term.tuned.label, term.start.label, term.only, term.coefficient)))


def analogy(a: TaskVector, b: TaskVector, c: TaskVector) -> TaskVector:
    """A is to B as C is to the answer: `C + (B - A)` (arXiv 2212.04089, section 5)."""
    return c + (b - a)


def mean(checkpoints: Sequence[Checkpoint], weights: Sequence[float] | None = None) -> TaskVector:
    """Weighted average (uniform soup, lo-fi), as an edit of the first checkpoint. Weights are divided by their sum."""
    if not checkpoints:
        raise SurefootError("An average needs at least one checkpoint.")
    if change := next((one.label for one in checkpoints if one.is_adapter), None):
        raise SurefootError(
            f"{change}: An average is of whole models, and an adapter is a change of one. Write what they are together "
            "first: surefoot weights add BASE ADAPTER --out FILE"
        )
    given = [1.0] * len(checkpoints) if weights is None else [float(weight) for weight in weights]
    if len(given) != len(checkpoints) or not isfinite(sum(given)) or abs(sum(given)) < 1e-8:
        raise SurefootError(f"{len(checkpoints)} checkpoints need as many weights, with a sum that is not 0: {given}.")
    first, total = checkpoints[0], sum(given)
    pairs = zip(checkpoints, given, strict=True)
    return TaskVector(first, terms=tuple(Term(weight / total, one, first) for one, weight in pairs))


def plan_edit(
    vector: TaskVector, coefficients: Sequence[float] = (1.0,), *, rules: EditRules = DEFAULT_RULES
) -> MergePlan:
    """The plan that writes `base + coefficient * vector` for each coefficient, under `rules`.

    Shapes must be equal. Raises SurefootError naming the first tensor that breaks a rule.
    """
    base = vector.base
    _check_patterns(vector)
    if change := next((one for one in (base, *(term.start for term in vector.terms)) if one.is_adapter), None):
        raise SurefootError(
            f"{change.label}: An adapter cannot be the base of an edit, nor the start of a difference, as it is none "
            "of weights. That of two adapters is a difference of edits: TaskVector(base, b) - TaskVector(base, a)."
        )
    if rules.extra == "error":
        _refuse_extra(vector)
    for term in vector.terms:
        check_transposed(base.tensors, term.tuned, filter(term.covers, term.tuned.tensors))
    assignments = tuple(_assign(vector, name, rules) for name in base.tensors)
    if rules.extra == "keep":
        tuned = {id(term.tuned): term.tuned for term in vector.terms}.values()
        assignments += kept_as_they_are(((one.label, one, _extra(vector, one)) for one in tuned), rules)
    return MergePlan(assignments=assignments, coefficients=tuple(map(float, coefficients)), rules=rules)


def _check_patterns(vector: TaskVector) -> None:
    names = tuple(vector.base.tensors)
    for pattern in dict.fromkeys(pattern for term in vector.terms for pattern in term.only):
        if not any(fnmatchcase(name, pattern) for name in names):
            raise SurefootError(
                f"{vector.base.label} has no tensor like {pattern!r}; first: {next(iter(names), None)!r}."
            )


def _extra(vector: TaskVector, one: Checkpoint) -> list[str]:
    terms = [term for term in vector.terms if one is term.tuned or one is term.start]
    missing = (name for name in one.tensors if name not in vector.base.tensors)
    return [name for name in missing if any(term.covers(name) for term in terms)]


def _refuse_extra(vector: TaskVector) -> None:
    for one in (one for term in vector.terms for one in (term.tuned, term.start)):
        if extra := _extra(vector, one):
            raise SurefootError(
                f"{one.label} has {len(extra)} tensors that {vector.base.label} lacks, first {extra[0]!r}; rename a "
                "prefix, filter, leave them out with extra='drop', or keep them as they are with extra='keep'."
            )


def kept_as_they_are(
    found: Iterable[tuple[str, Checkpoint, Sequence[str]]], rules: EditRules
) -> tuple[Assignment, ...]:
    """Tensors that only tuned checkpoints have, copied; `found` gives label, checkpoint and names."""
    sources: dict[str, dict[str, StoredTensor]] = {}
    for label, checkpoint, names in found:
        for name in names:
            sources.setdefault(name, {})[label] = checkpoint.tensors[name]
    return tuple(_kept(name, held, rules) for name, held in sources.items())


def _kept(name: str, held: Mapping[str, StoredTensor], rules: EditRules) -> Assignment:
    first, *others = held.values()
    if isinstance(first, LowRank):
        raise SurefootError(f"{next(iter(held))} changes {name!r}, which the base lacks; it cannot be kept.")
    if any((one.dtype, one.shape) != (first.dtype, first.shape) for one in others):
        raise SurefootError(f"Tensor {name!r}, which the base lacks, differs between {' and '.join(held)}.")
    floats = is_float(first)
    return Assignment(
        name=name,
        dtype=(rules.dtype if floats else None) or first.dtype,
        sources=tuple(held.values()),
        labels=tuple(held),
        method=agreed if floats else None,
    )


def _assign(vector: TaskVector, name: str, rules: EditRules) -> Assignment:
    base = vector.base.tensors[name]
    sources: list[StoredTensor] = [base]
    labels: list[str] = [vector.base.label]
    places: dict[int, int] = {}
    terms: list[tuple[float, int, int | None]] = []

    def place(one: Checkpoint) -> int:
        if id(one) not in places:
            places[id(one)] = len(sources) - 1
            sources.append(_matching(one, _name_in(one, name, vector.base, rules.missing), base))
            labels.append(one.label)
        return places[id(one)]

    for term in vector.terms:
        if term.covers(name) and _has_both(term, name, vector.base, rules.missing):
            tuned = place(term.tuned)
            same_start = term.start is vector.base or isinstance(sources[tuned + 1], LowRank)
            terms.append((term.coefficient, tuned, None if same_start else place(term.start)))
    if is_float(base) and not (rules.integers == "base" and is_scale(name, vector.base.tensors)):
        method = partial(edit, terms=tuple(terms))
        return Assignment(
            dtype=rules.dtype or base.dtype, sources=tuple(sources), labels=tuple(labels), method=method, name=name
        )
    kept = len(sources) if rules.integers == "equal" else 1
    return Assignment(name=name, dtype=base.dtype, sources=tuple(sources[:kept]), labels=tuple(labels[:kept]))


def _has_both(term: Term, name: str, base: Checkpoint, missing: Policy) -> bool:
    if term.tuned.is_adapter:
        return name in term.tuned.tensors
    return all(_name_in(one, name, base, missing) for one in (term.tuned, term.start))


def _name_in(one: Checkpoint, name: str, base: Checkpoint, missing: Policy) -> str:
    # Empty where the checkpoint has no such tensor and the base's is kept.
    return name if name in one.tensors else replacement(one, name, base.tensors, missing)


def replacement(one: Checkpoint, name: str, base: Mapping[str, StoredTensor], missing: Policy, label: str = "") -> str:
    """The name to read instead of one that a checkpoint lacks: its tied twin's, or none (empty) to keep the base's."""
    other = None if missing == "error" else twin(base, name, one.tensors)
    if missing == "tied" and other:
        return other
    if missing == "base" and not other:
        return ""
    said = {
        "error": "rename a prefix, filter, or keep the base's with missing='base' (take a tied one's twin with 'tied')",
        "base": f"the base ties it to {other!r}, and to keep it would untie them; take its twin's with missing='tied'",
        "tied": "in the base it has no twin that is bit for bit the same; rename a prefix, or filter",
    }
    raise SurefootError(f"{label or one.label} lacks the tensor {name!r}; {said[missing]}.")


def _matching(one: Checkpoint, name: str, base: StoredTensor) -> StoredTensor:
    found = one.tensors[name]
    if found.shape != base.shape:
        raise SurefootError(f"{one.label}: Tensor {name!r} is {list(found.shape)}, the base's is {list(base.shape)}.")
    if is_float(found) != is_float(base) or (not is_float(base) and found.dtype != base.dtype):
        raise SurefootError(f"{one.label}: Tensor {name!r} is {found.dtype}, the base's is {base.dtype}.")
    return found


def describe(vector: TaskVector) -> dict[str, Any]:
    """The expression as plain values; `restore` makes the expression of them again."""
    opened = {id(one): one for term in vector.terms for one in (vector.base, term.tuned, term.start)}
    opened.setdefault(id(vector.base), vector.base)
    order = list(opened)
    return {
        "checkpoints": [opened[key].origin or {"memory": opened[key].label} for key in order],
        "base": order.index(id(vector.base)),
        "terms": [
            [term.coefficient, order.index(id(term.tuned)), order.index(id(term.start)), list(term.only)]
            for term in vector.terms
        ],
    }


def restore(described: Mapping[str, Any], moved: Mapping[str, str] | None = None) -> TaskVector:
    """The expression that `describe` described. Raises SurefootError when a checkpoint was in memory or is gone.

    `moved` says where inputs lie that are not where the recipe says: path to path.
    """
    if any("memory" in origin for origin in described["checkpoints"]):
        raise SurefootError("This recipe used weights in memory, which cannot be opened again.")
    opened = [_reopened(origin, moved or {}) for origin in described["checkpoints"]]
    terms = [
        Term(coefficient, opened[tuned], opened[start], tuple(only))
        for coefficient, tuned, start, only in described["terms"]
    ]
    return TaskVector(opened[described["base"]], terms=tuple(terms))


def _reopened(origin: Mapping[str, Any], moved: Mapping[str, str]) -> Checkpoint:
    # Under the name that it had: digests are kept by name, and terms are sorted by it.
    place = moved_to(origin["path"], moved)
    found = open_checkpoint(**{**origin, "path": place})
    return replace(found, origin=origin, label=str(Path(origin["path"])) + found.label[len(str(Path(place))) :])
