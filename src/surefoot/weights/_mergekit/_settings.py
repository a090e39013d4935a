"""Values in a merge configuration: gradients over the layers, filters by name, and what each key may be."""

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import fields
from math import isfinite
from typing import Any

from surefoot.core import SurefootError
from surefoot.weights._arithmetic._rules import EditRules
from surefoot.weights._mergekit._layers import numbered, towers

_RULES = tuple(one.name for one in fields(EditRules) if one.name != "dtype")
OWN = {*_RULES, "seed", "pickle", "layers", "rename", "key"}  # keys of our own beside those of mergekit
_SHARES = ("density", "gamma", "epsilon", "select_topk")  # parameters that are a share of the elements


def refuse_twice(nodes: list[Any], source: str) -> None:
    """YAML readers take the last of two equal keys without a word."""
    seen: set[int] = set()
    while nodes:
        node = nodes.pop()
        if id(node) in seen or not isinstance(getattr(node, "value", None), list):
            continue
        seen.add(id(node))
        pairs = [one for one in node.value if isinstance(one, tuple)]
        keys = [key.value for key, _ in pairs if isinstance(key.value, str)]
        for key in [key for key, _ in pairs if keys.count(key.value) > 1][1:]:
            raise SurefootError(f"{source}: line {key.start_mark.line + 1}: the key {key.value!r} stands there twice.")
        nodes += [value for _, value in pairs] or node.value


def edit_rules(content: Mapping[str, Any]) -> EditRules:
    """The rules that a configuration names, and the type that it writes; its other keys of our own are checked."""
    seed, pickle = content.get("seed", 0), content.get("pickle", False)
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise SurefootError(f"The key seed must be a whole number, not {seed!r}.")
    if not isinstance(pickle, bool):
        raise SurefootError(f"The key pickle is true or false, not {pickle!r}.")
    for key, what in (("layers", "a tower such as model.layers"), ("key", "a state in a .pt file, such as ema")):
        if not isinstance(content.get(key, ""), str):
            raise SurefootError(f"The key {key} names {what}, not {content[key]!r}.")
    dtype = content.get("out_dtype") or content.get("dtype")
    return EditRules(dtype=dtype, **{name: content[name] for name in _RULES if name in content})


def check_tokenizer(content: Mapping[str, Any]) -> None:
    """Raise for any vocabulary but the base's."""
    tokenizer = content.get("tokenizer") or {}
    named = {"tokenizer_source": content.get("tokenizer_source", "base")}
    if isinstance(tokenizer, dict):
        named |= {f"tokenizer.{key}": value for key, value in tokenizer.items()}
    else:
        named["tokenizer"] = tokenizer
    for key, value in named.items():
        if key not in ("tokenizer_source", "tokenizer.source") or value not in ("base", content.get("base_model")):
            raise SurefootError(
                f"The key {key}: {value!r}: vocabularies are not merged, only 'base' is understood; bring the "
                "checkpoints to one vocabulary first."
            )


def mapping(value: Any, where: str) -> Mapping[str, Any]:
    """The value as a mapping from names, empty when nothing is given. Raises SurefootError when it is none."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise SurefootError(f"The key {where} must map names to values, not {value!r}.")
    return value


def prefixes(value: Any, reference: str) -> Mapping[str, str] | None:
    """Prefixes of names and what takes their place, or None when nothing is given."""
    if value is not None and not (isinstance(value, dict) and all(isinstance(one, str) for one in value.values())):
        raise SurefootError(
            f"The key rename of {reference} maps prefixes to prefixes, as {{'model.': ''}}, not {value!r}."
        )
    return mapping(value, "rename") if value is not None else None


def layer_range(value: Any, reference: Any) -> tuple[int, int] | None:
    """`[first, end)` as two whole numbers, or None when nothing is given."""
    if value is None:
        return None
    whole = isinstance(value, list | tuple) and len(value) == 2 and all(type(one) is int for one in value)
    if not whole or not 0 <= value[0] < value[1]:
        raise SurefootError(f"The layer_range {value!r} of {reference} must be [first, end).")
    return value[0], value[1]


def number(value: Any, name: str, where: str) -> float:
    """A finite number, a share where the parameter is one."""
    if value is None:
        raise SurefootError(f"{where}: Parameter {name!r} is missing.")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SurefootError(f"{where}: Parameter {name!r} must be a number, not {value!r}.")
    if not isfinite(value):
        raise SurefootError(f"{where}: Parameter {name!r} must be finite, not {value!r}.")
    if name in _SHARES and not 0 <= value <= 1:
        raise SurefootError(f"{where}: Parameter {name!r} is a share, from 0 to 1, not {value!r}.")
    return float(value)


def switch(value: Any, name: str) -> bool:
    if not isinstance(value, bool | int | float) or value not in (0, 1):
        raise SurefootError(f"Parameter {name!r} is true or false, not {value!r}.")
    return bool(value)


def evaluated(setting: Any, name: str, share: float) -> Any:
    """The value for the tensor `name` at depth `share` (0 to 1); None where no filter fits.

    A list of numbers is a gradient over the layers; a list of `{filter, value}` takes the first whose filter is part of
    the name.
    """
    listed: Any = [setting] if isinstance(setting, dict) else setting
    if not isinstance(listed, list):
        return _plain(setting)
    if listed and all(isinstance(one, dict) for one in listed):
        for condition in listed:
            _check_condition(condition)
        fitting = (one["value"] for one in listed if one.get("filter") in (None, "*") or str(one["filter"]) in name)
        return evaluated(next(fitting, None), name, share)
    listed = [_plain(one) for one in listed]
    if not listed or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in listed):
        raise SurefootError(f"A gradient is a list of numbers, not {listed}.")
    place = share * (len(listed) - 1)
    low = int(place)
    high = min(low + 1, len(listed) - 1)
    return (1 - (place - low)) * listed[low] + (place - low) * listed[high]


def conditions(setting: Any) -> list[Any]:
    """A setting as a list of conditions, so that those of a wider setting can follow where none of them fits."""
    conditional = isinstance(setting, list) and any(isinstance(one, dict) for one in setting)
    return setting if conditional else [setting if isinstance(setting, dict) else {"value": setting}]


def warn_of_idle(content: Mapping[str, Any], names: Iterable[str]) -> None:
    """Warn of filters that are part of no name, and of layers that a gradient does not reach."""
    listed = sorted(names)
    for one in sorted(one for one in _filters(content) if not any(one in name for name in listed)):
        warnings.warn(f"The filter {one!r} is part of no tensor's name: it does nothing.", stacklevel=3)
    stray = [name for name in listed if numbered(name)[1] < 0 and re.search(r"\d\.", name)]
    if _has_gradient(content) and (stray or not towers(listed)):
        said = f"{len(stray)} tensors such as {stray[0]!r} are" if stray else "All tensors are"
        told = f"{said} by their names in no numbered layer (layers.3, blocks.3): they take the first number of a list."
        warnings.warn(told, stacklevel=3)


def _filters(content: Any) -> set[str]:
    inner = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    own = content.get("filter") if isinstance(content, dict) else None
    return {str(own)} - {"None", "*"} | {name for one in inner for name in _filters(one)}


def _has_gradient(content: Any) -> bool:
    if isinstance(content, dict):
        return any(_has_gradient(inner) for key, inner in content.items() if key != "layer_range")
    listed = [_plain(one) for one in content] if isinstance(content, list) else []
    numbers = len(listed) > 1 and all(isinstance(one, int | float) for one in listed)
    return numbers or any(map(_has_gradient, listed))


def _check_condition(condition: Mapping[str, Any]) -> None:
    if "value" not in condition or set(condition) - {"filter", "value"}:
        raise SurefootError(f"A condition on tensors has a value and, at most, a filter: {dict(condition)}.")
    value = condition["value"]
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, dict) for one in value)):
        raise SurefootError(f"A condition on tensors has a number or a gradient as its value, not {value!r}.")


def _plain(value: Any) -> Any:
    # YAML 1.1 reads 1e-1, which has no point in it, as text.
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
