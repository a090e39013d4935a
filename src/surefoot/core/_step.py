"""A Step: a piece of work that is known by what it is, not by how it runs."""

import hashlib
import json
import math
import re
import sys
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from enum import Enum
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from surefoot.core._errors import SurefootError, missing_module
from surefoot.core._measurement import Measurement

KEY_LENGTH = 20
Spec = dict[str, Any]
_RESERVED = ("key", "kind", "version", "requires", "cost", "cost_fields", "resources", "make")
_DIGEST = re.compile(r"(?<![0-9a-f])([0-9a-f]{6})[0-9a-f]{26,}(?![0-9a-f])")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]").search  # text that no UTF-8 file can hold

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one Step needs of a machine: a hint for pools that hand out machines, never part of a key.

    `memory_gb` (10^9 bytes) and `hours` (the longest wall time) are None where the pool's own setting is enough.
    """

    cores: int = 1
    gpus: int = 0
    memory_gb: float | None = None
    hours: float | None = None


def unkeyed(default: Value) -> Value:
    """A field of a Step that stands outside its key and outside equality: where a user's file lies now, a hint.

    It is in the spec and travels to the worker. It may never change what is made: what does must be in the key (the
    digest of the file). It holds plain values or tuples of them, no Steps.
    """
    return field(default=default, compare=False, metadata={"unkeyed": True})


class Inputs(ABC):
    """What a Step may read while it is made: the finished artifacts of the Steps that it holds."""

    @abstractmethod
    def __getitem__(self, step: "Step") -> Path:
        """The directory of a held Step. Raises `SurefootError` when it was not made."""

    @abstractmethod
    def measurements(self, step: "Step") -> tuple[Measurement, ...]:
        """What a held Step measured."""


class Step(ABC):
    """A piece of work: a frozen, keyword-only dataclass whose fields are plain values, tuples, or other Steps.

    Its `key` is a hash of its kind, its `version`, its non-default fields, and the keys of the Steps in it. Raise
    `version` when the same fields begin to mean another result. Nothing about how it runs can enter the key: a field
    for that is `unkeyed`.
    """

    version: ClassVar[int] = 1
    requires: ClassVar[tuple[str, ...]] = ()
    """Modules that `make` imports and the base install lacks; they are looked for before any work starts."""
    cost_fields: ClassVar[tuple[str, ...]] = ()
    """Numeric fields that the running time is proportional to; they scale the estimate of `plan`."""
    resources: ClassVar[Resources] = Resources()
    """What one Step of this kind needs of a machine, for pools that ask for it."""

    @abstractmethod
    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Fill the empty directory `out` and return what was measured.

        `inputs[step]` is the directory of a Step held by this one, and `inputs.measurements(step)` what it measured.
        """

    @cached_property
    def key(self) -> str:
        """The identity of this Step: 20 hexadecimal digits."""
        for step in _depth_first(self, skip=lambda inner: "key" in vars(inner)):
            if step is not self:
                vars(step)["key"] = _hash(step)
        return _hash(self)

    @cached_property
    def cost(self) -> float:
        """What its running time is proportional to among its kind: the product of `cost_fields`, 1 without any."""
        return product_of({name: getattr(self, name) for name in type(self).cost_fields}, type(self).cost_fields)

    @property
    def kind(self) -> str:
        """The qualified public name of the class, with private modules left out."""
        return kind_of(type(self))


@cache
def kind_of(cls: type[Step]) -> str:
    """The qualified public name of a Step class; it must lead back to the class when imported."""
    public = [part for part in cls.__module__.split(".") if not part.startswith("_")]
    kind = ".".join([*public, cls.__qualname__])
    if "." in cls.__qualname__ or not public or cls.__module__ == "__main__" or find_kind(kind) is not cls:
        raise SurefootError(
            f"The Step class {cls.__qualname__} of {cls.__module__} cannot be found again by name: define it at the "
            f"top level of an importable file, so that '{kind}' leads to it and to no other class."
        )
    return kind


def product_of(fields: Spec, names: Iterable[str]) -> float:
    """The product of these fields, what is 0 or missing (an older artifact may lack a field) being 1."""
    return math.prod(float(fields.get(name) or 1.0) for name in names)


def inputs_of(step: Step) -> tuple[Step, ...]:
    """The Steps that a Step holds directly, in the order of its fields, each once."""
    held = [inner for value in held_fields(step).values() for inner in _steps_in(value)]
    return tuple({id(inner): inner for inner in held}.values())


def walk(steps: Iterable[Step]) -> list[Step]:
    """All Steps in `steps` and below, inputs before their users, each key once."""
    seen: dict[str, Step] = {}
    for root in steps:
        for step in _depth_first(root, skip=lambda inner: inner.key in seen):
            seen.setdefault(step.key, step)
    return list(seen.values())


@cache
def step_fields(cls: type[Step]) -> tuple[Field[Any], ...]:
    """The fields of a Step class, after a check that the class keeps the rules for Steps."""
    parameters = getattr(cls, "__dataclass_params__", None)
    if not is_dataclass(cls) or parameters is None or not parameters.frozen:
        raise SurefootError(f"{cls.__qualname__} must be a frozen dataclass: @dataclass(frozen=True, kw_only=True).")
    if taken := [own.name for own in fields(cls) if own.name in _RESERVED or not own.init]:
        raise SurefootError(f"{cls.__qualname__} may not have a field '{taken[0]}': Steps use that name, or set it.")
    if positional := [own.name for own in fields(cls) if not own.kw_only]:
        raise SurefootError(f"{cls.__qualname__}.{positional[0]} must be keyword-only: @dataclass(kw_only=True).")
    return fields(cls)


@cache
def keyed_fields(cls: type[Step]) -> tuple[Field[Any], ...]:
    """The fields that make the key: all but the `unkeyed` ones."""
    return tuple(own for own in step_fields(cls) if "unkeyed" not in own.metadata)


def held_fields(step: Step) -> dict[str, Any]:
    return {own.name: getattr(step, own.name) for own in keyed_fields(type(step))}


def non_default_fields(step: Step) -> dict[str, Any]:
    """The canonical values of the keyed fields that differ from their defaults. Raises for a value of a wrong type."""
    _unkeyed_values(step)
    values = {name: _canonical(step, name, value) for name, value in held_fields(step).items()}
    defaults = _canonical_defaults(type(step))
    return {name: value for name, value in values.items() if name not in defaults or not _same(defaults[name], value)}


def _same(one: Any, other: Any) -> bool:
    """Whether two canonical values are written alike: to Python True is 1, in a key it is not."""
    return one == other and (one is other or json.dumps(one) == json.dumps(other))


def to_spec(step: Step) -> Spec:
    """The Step as plain JSON data: every Step below it once, by key."""
    return {"format": 1, "root": step.key, "steps": {inner.key: own_spec(inner) for inner in walk([step])}}


def from_spec(spec: Spec) -> Step:
    """The Step that a spec describes; its key must be the one that the spec gives."""
    steps = spec.get("steps") if isinstance(spec, dict) else None
    if not isinstance(steps, dict) or spec.get("format") != 1 or spec.get("root") not in steps:
        raise SurefootError("This is not the spec of a Step: expected 'format' 1, 'root' (a key) and 'steps' (by key).")
    return Rebuilt(steps.__getitem__)[spec["root"]]


@dataclass(frozen=True)
class Rebuilt:
    """Steps by key, rebuilt from their own specs: each once, and only when it is asked for.

    What cannot be rebuilt is remembered with the reason, so that many users of it cost no more than one.
    """

    spec_of: Callable[[str], Spec]
    made: dict[str, Step | SurefootError] = field(default_factory=dict)

    def __getitem__(self, key: str) -> Step:
        stack, opened = [key], set[str]()
        while stack:
            top = stack[-1]
            below = [] if top in self.made or top in opened else self._below(top)
            opened.add(top)
            stack += below
            if not below:
                self.made.setdefault(stack.pop(), self._build(top))
        return _step_or_error(self.made[key])

    def _below(self, key: str) -> list[str]:
        """The Steps that one holds and that are not rebuilt yet; none where that cannot be told: building says why."""
        with suppress(KeyError, TypeError, AttributeError, SurefootError):
            return [held for held in held_keys(self.spec_of(key)) if held not in self.made]
        return []

    def _build(self, key: str) -> Step | SurefootError:
        try:
            return self.made[key] if key in self.made else _build(key, self.spec_of(key), self.made)
        except (KeyError, TypeError, AttributeError) as error:
            return SurefootError(f"The spec of the Step {key} cannot be read back: {error!r}.")
        except SurefootError as error:
            return error


def held_keys(spec: Spec) -> list[str]:
    """The keys of the Steps that a Step holds by its own spec, each once."""
    return list(dict.fromkeys(_references(spec["fields"].values())))


def _references(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, dict):
            yield value["step"]
        elif isinstance(value, list):
            yield from _references(value)


def _step_or_error(found: Step | SurefootError) -> Step:
    if isinstance(found, SurefootError):
        raise SurefootError(str(found))
    return found


def _build(key: str, spec: Spec, made: dict[str, Step | SurefootError]) -> Step:
    cls = find_kind(spec["kind"])
    if spec["version"] != cls.version:
        raise SurefootError(
            f"{spec['kind']} {key} was described at version {spec['version']}, "
            f"the installed code is version {cls.version}: install the matching Surefoot or run it anew."
        )
    # An unkeyed field that the class has no longer is no part of what the Step is: it is left out.
    beside = {name: value for name, value in spec.get("unkeyed", {}).items() if name in _unkeyed_names(cls)}
    given = _known_fields(cls, spec["fields"]) | beside
    step = cls(**{name: _decode(value, made) for name, value in given.items()})
    if step.key != key:
        raise SurefootError(
            f"{spec['kind']} {key} gives the key {step.key} when read back: a default changed without a "
            "new version, or the spec was edited."
        )
    return step


def _known_fields(cls: type[Step], given: Spec) -> Spec:
    names = [own.name for own in step_fields(cls)]
    for name in given:
        if name not in names:
            near = get_close_matches(name, names, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else f" It has: {', '.join(names)}."
            raise SurefootError(f"{kind_of(cls)} has no field '{name}'.{hint}")
    return given


def find_kind(kind: str) -> type[Step]:
    """The Step class with this qualified public name."""
    module, _, name = kind.rpartition(".")
    try:
        cls = getattr(import_module(module), name, None)
    except ModuleNotFoundError as error:
        if module.startswith(f"{error.name}.") or module == error.name:
            raise SurefootError(f"No module '{module}' for the Step kind '{kind}'.") from error
        raise missing_module(str(error.name)) from error
    except (Exception, SystemExit) as error:  # whatever the import of a user's file raises
        raise SurefootError(f"'{kind}' is not to be had, its module fails: {error!r}") from error
    if not (isinstance(cls, type) and issubclass(cls, Step)):
        raise SurefootError(f"'{kind}' is not a kind of Step: the module '{module}' must export it.")
    return cls


def _depth_first(root: Step, skip: Callable[[Step], bool]) -> Iterator[Step]:
    """Inputs before users, without recursion: a chain of Steps may be longer than Python's stack."""
    stack: list[tuple[Step, bool]] = [(root, False)]
    visited: set[int] = set()
    while stack:
        step, opened = stack.pop()
        if opened:
            yield step
        elif id(step) not in visited and not skip(step):
            visited.add(id(step))
            stack.append((step, True))
            stack.extend((inner, False) for inner in reversed(inputs_of(step)))


def _steps_in(value: Any) -> Iterator[Step]:
    if isinstance(value, Step):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _steps_in(item)


def _hash(step: Step) -> str:
    identity = [step.kind, type(step).version, non_default_fields(step)]
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def _canonical(step: Step, name: str, value: Any) -> Any:
    """The value as JSON data in which equal numbers are equal: 1.0 is 1, and -0.0 is 0."""
    _check_type(step, name, value)
    return _encode(value, whole_floats=False)


@cache
def _canonical_defaults(cls: type[Step]) -> dict[str, Any]:
    defaults: dict[str, Any] = {}
    for own in keyed_fields(cls):
        if own.default is not MISSING:
            defaults[own.name] = _encode(own.default, whole_floats=False)
        elif own.default_factory is not MISSING:
            defaults[own.name] = _encode(own.default_factory(), whole_floats=False)
    return defaults


def _encode(value: Any, *, whole_floats: bool) -> Any:
    if isinstance(value, Step):
        return {"step": value.key}
    if isinstance(value, tuple):
        return [_encode(item, whole_floats=whole_floats) for item in value]
    if isinstance(value, float) and value.is_integer() and not whole_floats:
        return int(value)
    return value


def _decode(value: Any, made: dict[str, Step | SurefootError]) -> Any:
    if isinstance(value, dict):
        return _step_or_error(made[value["step"]])
    if isinstance(value, list):
        return tuple(_decode(item, made) for item in value)
    return value


def own_spec(step: Step) -> Spec:
    """What a Step is as plain JSON data: kind, version, fields, the Steps in it as their keys."""
    values = {name: _encode(value, whole_floats=True) for name, value in held_fields(step).items()}
    beside = {"unkeyed": found} if (found := _unkeyed_values(step)) else {}
    return {"kind": step.kind, "version": type(step).version, "fields": values} | beside


def _unkeyed_names(cls: type[Step]) -> list[str]:
    return [own.name for own in step_fields(cls) if "unkeyed" in own.metadata]


def _unkeyed_values(step: Step) -> dict[str, Any]:
    """The unkeyed fields as plain data. Raises for a Step in one: it would not be made before its user."""
    values = {name: getattr(step, name) for name in _unkeyed_names(type(step))}
    for name, value in values.items():
        _check_type(step, name, value)
        if any(_steps_in(value)):
            raise SurefootError(f"{kind_of(type(step))}: field '{name}' holds a Step, so it may not be unkeyed.")
    return {name: _encode(value, whole_floats=True) for name, value in values.items()}


@cache
def _hints(cls: type[Step]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls)
    except NameError as error:
        raise SurefootError(
            f"{kind_of(cls)}: the type of a field cannot be found ({error}): import it outside of TYPE_CHECKING."
        ) from error


_PLAIN = (float, int, str, bool, None, type(None))
_COMPOSED = (typing.Union, types.UnionType, Literal, tuple)


def _check_type(step: Step, name: str, value: Any) -> None:
    hint = _hints(type(step))[name]
    if _fits(value, hint):
        return
    step_kind = isinstance(hint, type) and not typing.get_args(hint) and issubclass(hint, Step)
    plain = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
    if not (step_kind or hint in _PLAIN or typing.get_origin(hint) in _COMPOSED):
        plain = f"a plain value, a Step, or a tuple of them as tuple[int, ...] (its annotation {plain} is none)"
    shown = "a finite number" if hint is float else plain
    raise SurefootError(f"{kind_of(type(step))}: field '{name}' must be {shown}, got {value!r:.100}.")


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is one that a field with this annotation may hold, and that a worker reads back as it was."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in arguments)
    if origin is Literal:
        return any(value == option and type(value) is type(option) for option in arguments)
    if isinstance(value, Enum):
        return False
    if origin is tuple:
        return type(value) is tuple and _items_fit(value, arguments)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is str:
        return isinstance(value, str) and not _LONE_SURROGATE(value)
    if hint in (None, type(None)):
        return value is None
    return (hint is bool and isinstance(value, bool)) or _is_step(value, hint)


def _items_fit(value: tuple[Any, ...], arguments: tuple[Any, ...]) -> bool:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return all(_fits(item, arguments[0]) for item in value)
    return len(value) == len(arguments) and all(map(_fits, value, arguments))


def _is_step(value: Any, hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Step) and isinstance(value, hint)


def describe(step: Step) -> str:
    """A Step in one short line for people: its class and its own plain fields that differ from their defaults."""
    shown = non_default_fields(step)
    plain = [f"{name}={shortened(value)}" for name, value in shown.items() if not isinstance(value, (dict, list))]
    inner = [f"{name}={value['step'][:6]}" for name, value in shown.items() if isinstance(value, dict)]
    return f"{type(step).__name__}({', '.join([*plain, *inner])})"


def shortened(value: Any) -> str:
    """A value as text in which a digest has six digits, as a key has."""
    return _DIGEST.sub(r"\1", str(value))
