"""Finding a study by name, by file, or among those that other packages bring."""

import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from surefoot.core import Study, SurefootError

STUDIES: Mapping[str, str] = {
    "quickstart": "a small but whole robustness study on drawings: sizes, sources, shifts, in minutes",
    "scaling": "scaling laws of published contrastive models and our own, with intervals and compared sources",
    "arithmetic": "task vectors: forget by negation, add tasks, analogies, with controls, on drawings",
    "patching": "patching by interpolation: one task, several, unseen classes, sizes, and words that mislead",
    "patch_own": "your own OpenCLIP model patched for your own pictures: what was gained, what was kept",
    "local": "workers that fine-tune alone and are averaged once, beside those that communicate, on drawings",
    "trees": "subgroup robustness: tree ensembles against robust and fair learners, on seven public tables",
}


def load_study(name: str, options: Mapping[str, str] | None = None) -> Study:
    """The study of this name: one that comes with Surefoot, a Python file, or one that another package brings.

    The module has a function `study(*, option=default, ...) -> Study`; `options` are texts for its parameters. Raises
    `SurefootError` for an unknown study or option.
    """
    module = _module(name)
    make = getattr(module, "study", None)
    if not callable(make):
        raise SurefootError(f"{name}: expected a function named 'study' that returns a Study.")
    made = make(**_typed(name, make, options or {}))
    if not isinstance(made, Study):
        raise SurefootError(f"{name}: its function 'study' returned {type(made).__name__}, not a Study.")
    return made


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
    module = import_module(path.stem)
    found = Path(str(module.__file__)).resolve()
    if found != path.resolve():
        raise SurefootError(f"The name of {path} is taken by the module {found}: rename the study file.")
    return module


def _typed(name: str, make: Callable[..., Any], options: Mapping[str, str]) -> dict[str, Any]:
    parameters, hints = inspect.signature(make).parameters, typing.get_type_hints(make)
    unknown = [option for option in options if option not in parameters]
    if unknown:
        raise SurefootError(
            f"The study {name} has no option '{unknown[0]}'. It has: {', '.join(parameters) or 'none'}."
        )
    return {option: _convert(option, text, hints.get(option, str)) for option, text in options.items()}


def _convert(option: str, text: str, hint: Any) -> Any:
    """Text as an int, float, bool, str, one of them or None, or a comma-separated tuple of one of them."""
    if isinstance(hint, types.UnionType):
        return _convert(option, text, next(one for one in typing.get_args(hint) if one is not type(None)))
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0]
        return tuple(_convert(option, part.strip(), inner) for part in text.split(",") if part.strip())
    try:
        if hint is bool:
            return {"true": True, "yes": True, "false": False, "no": False}[text.lower()]
        return hint(text)
    except (KeyError, ValueError) as error:
        raise SurefootError(f"Option {option} must be {getattr(hint, '__name__', hint)}, got '{text}'.") from error
