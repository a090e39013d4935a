"""Finding a study by name, by file, or among those that other packages bring."""

import inspect
import sys
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from surefoot.core import Claim, Step, Study, SurefootError, missing_module, what_failed

STUDIES: Mapping[str, str] = {
    "quickstart": "a small but whole robustness study on drawings: sizes, sources, shifts, in minutes",
    "scaling": "scaling laws of published contrastive models and our own, with intervals and compared sources",
    "sources": "the source of training data under shift: single, mixed, filtered, and mixtures predicted beforehand",
    "arithmetic": "task vectors: forget by negation, add tasks, analogies, with controls, on drawings",
    "patching": "patching by interpolation: one task, several, unseen classes, sizes, and words that mislead",
    "patch_own": "your own OpenCLIP model patched for your own pictures: what was gained, what was kept",
    "local": "workers that fine-tune alone and are averaged once, beside those that communicate, on drawings",
    "trees": "subgroup robustness: tree ensembles against robust and fair learners, on eight public tables",
    "reading": "robustness in question answering: the published readers and our own, by adaptation and shift",
    "multihop": "the compositionality gap: small models that learn facts, by size and step; published transcripts",
    "pairs": "filtering image-text pairs by similarity: what it buys, under shift too, and where it is too strict",
    "scrutiny": "audits of forensic systems near a case and overall: real evidence, and planted defects",
}


@dataclass(frozen=True)
class StudyOption:
    """One option of a study as the command line shows it: its name, its type and its default."""

    name: str
    type: str
    default: str


def list_studies() -> dict[str, str]:
    """The studies by name with a line on each: those of Surefoot, then those that other packages bring."""
    brought = entry_points(group="surefoot.studies")
    return {**STUDIES, **{entry.name: f"of the package {entry.dist.name if entry.dist else '?'}" for entry in brought}}


def study_options(name: str) -> list[StudyOption]:
    """The options of a study. Raises for an unknown one."""
    make = _maker(name)
    hints = _hints(name, make)
    return [
        StudyOption(option, _type_name(hints.get(option, str)), _text_of(parameter.default))
        for option, parameter in inspect.signature(make).parameters.items()
    ]


def load_study(name: str, options: Mapping[str, str] | None = None) -> Study:
    """The study of this name: one that comes with Surefoot, a Python file, or one that another package brings.

    The module has a function `study(*, option=default, ...) -> Study`; `options` are texts for its parameters. Raises
    `SurefootError` for an unknown study or option, and for one whose code fails, with the line where it does.
    """
    make = _maker(name)
    typed = _typed(name, make, options or {})
    try:
        made = make(**typed)
    except SurefootError:
        raise
    except (Exception, SystemExit) as error:
        raise SurefootError(f"The study {name} cannot be built: {what_failed(error)}") from error
    if not isinstance(made, Study):
        raise SurefootError(f"{name}: its function 'study' returned {type(made).__name__}, not a Study.")
    for field, kind, found in (("steps", Step, made.steps), ("claims", Claim, made.claims)):
        if wrong := [item for item in found if not isinstance(item, kind)]:
            raise SurefootError(f"{name}: its {field} must all be {kind.__name__}s, got {wrong[0]!r:.80}.")
    names = [claim.name for claim in made.claims]
    if twice := [one for one in names if names.count(one) > 1]:
        raise SurefootError(f"{name}: two of its claims are named {twice[0]!r:.80}: give each its own name.")
    return made


def refuse_idle(study: Callable[..., Study], given: Mapping[str, object], *idle: tuple[bool, str, str]) -> None:
    """Raise `SurefootError` for an option that is not at its default and would do nothing beside another.

    `idle` are: whether it is so now, what the other option is then, and the names of the idle ones, with spaces.
    """
    parameters = inspect.signature(study).parameters
    for now, beside, names in idle:
        if now and (void := [name for name in names.split() if given[name] != parameters[name].default]):
            raise SurefootError(f"With {beside} {' and '.join(void)} would do nothing: leave one or the other out.")


def _maker(name: str) -> Callable[..., Any]:
    try:
        make = getattr(_module(name), "study", None)
    except SurefootError:
        raise
    except ModuleNotFoundError as error:
        raise missing_module(str(error.name)) from error
    except (Exception, SystemExit) as error:
        raise SurefootError(f"The study {name} cannot be read: {what_failed(error)}") from error
    if not callable(make):
        raise SurefootError(f"{name}: expected a function named 'study' that returns a Study.")
    return make


def _module(name: str) -> Any:
    if name.endswith(".py"):
        return _from_file(Path(name))
    if name in STUDIES:
        return import_module(f"surefoot.studies.{name}")
    brought = {entry.name: entry for entry in entry_points(group="surefoot.studies")}
    if name in brought:
        return import_module(brought[name].value)
    known = [*STUDIES, *brought]
    near = get_close_matches(name, known, n=1)
    hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(known)}; or give a Python file."
    raise SurefootError(f"There is no study named '{name}'. {hint}")


def _from_file(path: Path) -> Any:
    """Import a study by its file name, so that workers can find its Steps again by the same name."""
    if not path.is_file():
        raise SurefootError(f"There is no study file {path}.")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    if "." in path.stem:
        raise SurefootError(f"The name of {path} has a dot, so that workers cannot import it: rename the study file.")
    module = import_module(path.stem)
    found = Path(str(module.__file__)).resolve()
    if found != path.resolve():
        raise SurefootError(f"The name of {path} is taken by the module {found}: rename the study file.")
    return module


def _typed(name: str, make: Callable[..., Any], options: Mapping[str, str]) -> dict[str, Any]:
    parameters, hints = inspect.signature(make).parameters, _hints(name, make)
    if unknown := [option for option in options if option not in parameters]:
        raise SurefootError(
            f"The study {name} has no option '{unknown[0]}'. It has: {', '.join(parameters) or 'none'}."
        )
    return {option: _convert(option, text, hints.get(option, str)) for option, text in options.items()}


def _hints(name: str, make: Callable[..., Any]) -> dict[str, Any]:
    """The type of each option: as annotated, else that of its default."""
    try:
        said = typing.get_type_hints(make)
    except NameError as error:
        raise SurefootError(f"The study {name} has an option whose type cannot be found: {error}.") from error
    parameters = inspect.signature(make).parameters
    return {option: _type_of(parameter.default) for option, parameter in parameters.items()} | said


def _type_of(default: Any) -> Any:
    if isinstance(default, tuple | list) and default:
        inner = typing.Union[tuple(map(type, default))]  # noqa: UP007
        return tuple[inner, ...] if isinstance(default, tuple) else list[inner]
    return str if default is None or default is inspect.Parameter.empty else type(default)


def _type_name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("typing.", "")


def _text_of(default: Any) -> str:
    """A default as it would be given: a tuple with commas, the value of an enum."""
    if isinstance(default, Enum):
        return str(default.value)
    if isinstance(default, tuple | list):
        return ",".join(map(str, default))
    return "" if default is inspect.Parameter.empty else str(default)


def _convert(option: str, text: str, hint: Any) -> Any:
    """Text as an int, float, bool, str, one of them or None, a choice, or a tuple or list of these with commas.

    Of several types the narrowest that can be; other classes are called with the text (`Path`, an enum by its value).
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _one_of(option, text, arguments)
    if tuple in (hint, origin) or list in (hint, origin):
        return _several(option, text, arguments, list if list in (hint, origin) else tuple)
    if origin is typing.Literal:
        allowed = {str(value): value for value in arguments}
        if text not in allowed:
            raise SurefootError(f"Option {option} must be one of {', '.join(allowed)}, got '{text}'.")
        return allowed[text]
    if origin or not isinstance(hint, type) or (issubclass(hint, Collection) and not issubclass(hint, str)):
        raise SurefootError(
            f"Option {option} is {_type_name(hint)}, which no text can give: let it be int, float, bool, str, Literal, "
            "one of them or None, or a tuple of one."
        )
    if hint is float and text.strip().lower().lstrip("+-") == "nan":
        raise SurefootError(f"Option {option} must be a number, got '{text}'.")
    try:
        if hint is bool:
            return {"true": True, "yes": True, "false": False, "no": False}[text.lower()]
        return hint(text)
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise SurefootError(f"Option {option} must be {_type_name(hint)}, got '{text}'.") from error


def _one_of(option: str, text: str, hints: Sequence[Any]) -> Any:
    if type(None) in hints and text.lower() == "none":
        return None
    for hint in sorted((one for one in hints if one is not type(None)), key=_width):
        with suppress(SurefootError):
            return _convert(option, text, hint)
    names = " or ".join(map(_type_name, hints)).replace("NoneType", "None")
    raise SurefootError(f"Option {option} must be {names}, got '{text}'.")


def _width(hint: Any) -> int:
    """A text is the last that something may be, and a whole number is no fraction."""
    return {str: 3, float: 1}.get(hint, 2 if isinstance(hint, type) and hint not in (bool, int) else 0)


def _several(option: str, text: str, hints: Sequence[Any], kind: Callable[[Any], Any]) -> Any:
    """The parts between commas: of one type, or of one each where as many are named."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    inner = hints or (str,)
    if any(typing.get_origin(one) in (tuple, list) or one in (tuple, list) for one in inner):
        raise SurefootError(f"Option {option} is a list of lists, which no text can give: let it be a tuple of texts.")
    each = list(inner) if kind is tuple and hints and hints[-1] is not ... else [inner[0]] * len(parts)
    if len(parts) != len(each):
        raise SurefootError(f"Option {option} must be {len(each)} values, with commas between, got '{text}'.")
    return kind(_convert(option, part, one) for part, one in zip(parts, each, strict=True))
