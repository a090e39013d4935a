"""Merge configurations in the format of mergekit, read into plans."""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from surefoot.core import SurefootError, missing_module
from surefoot.weights._arithmetic._chunks import is_float, is_scale
from surefoot.weights._arithmetic._expression import kept_as_they_are, replacement
from surefoot.weights._arithmetic._merging import Method
from surefoot.weights._arithmetic._methods import METHODS, parameters
from surefoot.weights._arithmetic._plan import Assignment, LayerOrder, MergePlan
from surefoot.weights._arithmetic._rules import EditRules
from surefoot.weights._files._adapters import check_transposed
from surefoot.weights._files._checkpoint import Checkpoint, LowRank, StoredTensor
from surefoot.weights._files._opening import moved_to, open_checkpoint
from surefoot.weights._files._types import promoted
from surefoot.weights._mergekit._layers import first_names, numbered, tower_of, towers
from surefoot.weights._mergekit._settings import (
    OWN,
    check_tokenizer,
    conditions,
    edit_rules,
    evaluated,
    layer_range,
    mapping,
    number,
    prefixes,
    refuse_twice,
    switch,
    warn_of_idle,
)

_KEYS = {
    "merge_method", "base_model", "models", "slices", "parameters", "dtype", "out_dtype", "tokenizer_source",
    "tokenizer",
}  # fmt: skip
_REFUSED = {
    "chat_template": "templates are not merged: take the key out and put the template beside the result",
    "residual_weight": "take the key out; give the sources of the slice weights instead",
    "residual_only": "take the key out; give the sources of the slice weights instead",
}
_FIXED = {"nuslerp_flatten": True, "nuslerp_row_wise": False, "filter_wise": False}  # the one way that is offered
_NAMES = {"lambda": "scale"}  # what Python cannot call a parameter
_PER_MODEL_DEFAULTS = {"density": 1.0, "gamma": 0.01, "epsilon": 0.15}
_ACCEPTED = {"int8_mask"}  # of mergekit: it chooses how mergekit works, not what comes out
_SWITCHES = {"rescale", "normalize"}  # of mergekit: off where a method does not have them
_NO_BASE = ("linear", "passthrough", "karcher")  # a base counts as one more model, where it is listed
_FREE = ("nuslerp", "multislerp")  # with a base or without


@dataclass(frozen=True, kw_only=True)
class _Shelf:
    content: Mapping[str, Any]
    moved: Mapping[str, str]
    opened: dict[tuple[str, str], Checkpoint] = field(default_factory=dict)

    def open(self, reference: Any, entry: Mapping[str, Any]) -> Checkpoint:
        if not isinstance(reference, str) or not reference:
            raise SurefootError(f"A model is named by its path, not by {reference!r}.")
        outer = {} if reference == self.content.get("base_model") else self.content
        rename = prefixes(entry.get("rename", outer.get("rename")), reference)
        key = entry.get("key", self.content.get("key"))
        known = (reference, repr((rename, key)))
        if known not in self.opened:
            path, plus, adapter = reference.partition("+")
            if plus and Path(reference).exists():
                path, plus = reference, ""
            place = moved_to(adapter if plus else path, self.moved)
            pickle = bool(self.content.get("pickle"))
            self.opened[known] = open_checkpoint(place, pickle=pickle, rename=rename, key=key)
            if plus and not self.opened[known].is_adapter:
                raise SurefootError(f"{adapter} is not a LoRA adapter; after '+' comes an adapter of {path}.")
        return self.opened[known]


@dataclass(frozen=True, eq=False)
class _Model:
    reference: str
    checkpoint: Checkpoint
    settings: Mapping[str, Any]
    layers: tuple[int, int] | None = None
    key: str | None = None  # another state of the base's file is another model


@dataclass(frozen=True)
class _Slice:
    models: tuple[_Model, ...]  # the base first when there is one
    has_base: bool
    settings: tuple[Mapping[str, Any], ...]  # from the closest to the widest


@dataclass(frozen=True)
class _Target:
    part: _Slice
    name: str
    origin: str  # the name in the first model of the slice
    share: float = 0.0  # how deep the layer lies, 0 to 1
    offset: int | None = None  # layers after the first of the slice


def read_configuration(source: Path | str | Mapping[str, Any]) -> dict[str, Any]:
    """The content of a YAML file as plain values. Raises SurefootError with the line when it is not YAML."""
    if isinstance(source, Mapping):
        return dict(source)
    try:
        import yaml
    except ImportError:
        raise missing_module("yaml") from None
    try:
        text = Path(source).read_text("utf-8")
        content = yaml.safe_load(text)
        refuse_twice([yaml.compose(text, yaml.SafeLoader)], str(source))
    except RecursionError:
        raise SurefootError(f"{source}: Its lists or mappings lie too deep within each other.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SurefootError(f"{source}: Cannot be read: {error}.") from None
    except yaml.YAMLError as error:
        raise SurefootError(f"{source}: Not YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict):
        raise SurefootError(f"{source}: A merge configuration is a mapping with merge_method and models or slices.")
    return content


def plan_merge(content: Mapping[str, Any], *, moved: Mapping[str, str] | None = None) -> tuple[MergePlan, Checkpoint]:
    """The plan of a configuration, and the checkpoint whose companion files belong to the result.

    Understood are `merge_method`, `base_model`, `models` or `slices` with `layer_range`, `parameters` (numbers,
    gradients over the layers, filters by part of the name; the closest to the model wins), `dtype` and `out_dtype`; and
    of our own the rules of `EditRules`, `seed`, `pickle`, `key`, `rename` and `layers`. Arithmetic is in
    32 bits whatever `dtype` is: it only names the type of the output. Raises SurefootError naming the key or value that
    is not understood. `moved` says where inputs lie that are not where the configuration says: path to path.
    """
    content = _single_module(content)
    method = _method(content)
    rules = edit_rules(content)
    shelf = _Shelf(content=content, moved=moved or {})
    slices = _slices(content, shelf)
    firsts = [part.models[0] for part in slices]
    template = next((one for one in firsts if one.reference == content.get("base_model")), firsts[0]).checkpoint
    layers, targets = None, [*_whole(slices[0], template)]
    if "slices" in content:
        tower = tower_of(template.tensors, content.get("layers"), template.label)
        layers, targets = _order(slices, template, tower), [*_targets(slices, template, tower)]
        for part in slices if rules.extra != "drop" else ():
            _refuse_extra_in_layers(part, tower)
    extra = list(_extra(slices, template, layers.tower if layers else None))
    if rules.extra == "error" and extra:
        model, names = extra[0]
        raise SurefootError(
            f"{model.reference} has {len(names)} tensors that {template.label} lacks, first {names[0]!r}; leave them "
            "out with extra: drop, or keep them as they are with extra: keep."
        )
    names = {name for one in targets for name in (one.name, *(_name_in(model, one) for model in one.part.models))}
    warn_of_idle(content, names)
    assignments = tuple(_assignment(content, method, target, rules) for target in targets)
    if rules.extra == "keep":
        assignments += kept_as_they_are(((model.reference, model.checkpoint, names) for model, names in extra), rules)
    return MergePlan(assignments=assignments, rules=rules, layers=layers), template


def _single_module(content: Mapping[str, Any]) -> dict[str, Any]:
    # mergekit's form for models of several parts: with one part it says what the keys above it would say.
    modules = content.get("modules")
    if modules is None:
        return dict(content)
    if not isinstance(modules, dict) or len(modules) != 1 or {"models", "slices"} & set(content):
        raise SurefootError(
            "The key modules: exactly one is understood, with no models or slices beside it; write one configuration "
            "for each module, and merge the checkpoint of each."
        )
    (inner,) = modules.values()
    if not isinstance(inner, dict) or set(inner) - {"models", "slices", "parameters"}:
        raise SurefootError("The key modules: a module has models or slices, and parameters.")
    outer = {key: value for key, value in content.items() if key != "modules"}
    widest, closest = _parameters(outer), _parameters(inner)
    both = {name: conditions(closest[name]) + conditions(widest[name]) for name in closest.keys() & widest.keys()}
    return {**outer, **inner, "parameters": {**widest, **closest, **both}}


def _parameters(found: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(found.get("parameters"), "parameters")


def _known_keys(found: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in sorted(set(found) - known, key=str):
        hint = _REFUSED.get(key, f"it has {', '.join(sorted(known))}")
        raise SurefootError(f"{where} has the key {key!r}, which is not understood: {hint}.")


def _method(content: Mapping[str, Any]) -> Method:
    _known_keys(content, _KEYS | set(OWN), "The configuration")
    check_tokenizer(content)
    name = content.get("merge_method")
    if not isinstance(name, str) or name not in METHODS:
        raise SurefootError(f"The merge_method {name!r} is unknown; one of {', '.join(METHODS)}.")
    if name not in (*_NO_BASE, *_FREE) and not content.get("base_model"):
        raise SurefootError(f"The merge_method {name} needs base_model.")
    if (base := content.get("base_model")) is not None and (not isinstance(base, str) or not base):
        raise SurefootError(f"The key base_model is the path of a checkpoint, not {base!r}.")
    if ("models" in content) == ("slices" in content):
        raise SurefootError("The configuration needs either models or slices.")
    return METHODS[name]


def _slices(content: Mapping[str, Any], shelf: _Shelf) -> list[_Slice]:
    base, outer = content.get("base_model"), _parameters(content)
    if "models" in content:
        entries = _listed(content["models"], "models")
        if ranged := [one for one in entries if "layer_range" in one]:
            raise SurefootError(
                f"The entry of {ranged[0].get('model')!r} has a layer_range, which models are merged without; write "
                "slices with sources instead."
            )
        return [_slice(entries, content, base, shelf, (outer,))]
    found = []
    for entry in _listed(content["slices"], "slices"):
        _known_keys(entry, {"sources", "base_model", "parameters"}, "A slice")
        settings = (_parameters(entry), outer)
        sources = _listed(entry.get("sources"), "sources")
        found.append(_slice(sources, content, entry.get("base_model", base), shelf, settings))
        ranges = [one.layers for one in found[-1].models]
        if len({layers and layers[1] - layers[0] for layers in ranges}) != 1 or None in ranges:
            raise SurefootError("Every source of a slice, the base too, needs a layer_range, all of one length.")
    return found


def _slice(
    entries: list[Mapping[str, Any]],
    content: Mapping[str, Any],
    base: str | None,
    shelf: _Shelf,
    settings: tuple[Mapping[str, Any], ...],
) -> _Slice:
    if content["merge_method"] == "passthrough" and len(entries) != 1:
        raise SurefootError(f"passthrough copies one model, and {len(entries)} are given: name one (of each slice).")
    models = [_model(entry, shelf, base) for entry in entries]
    listed = next((one for one in models if one.reference == base and one.key in (None, content.get("key"))), None)
    optional = content["merge_method"] in _NO_BASE
    if base is None or (listed is None and optional):
        if change := next((one.reference for one in models if one.checkpoint.is_adapter), ""):
            raise SurefootError(
                f"{change}: {content['merge_method']} takes models as they are, and an adapter is a change of a base. "
                f"Write what they are together first: surefoot weights add {change.replace('+', ' ', 1)} --out FILE"
            )
        if base is not None and "models" in content:
            said = f"The base_model {base} is not among the models: mergekit counts it as one more of them"
            raise SurefootError(f"{said}. List it there, or take base_model out.")
        return _Slice(tuple(models), False, settings)
    if not listed and len({one.layers for one in models}) > 1:
        raise SurefootError(f"The layer_range of sources differ, and {base} is not among them: list it with its own.")
    first = listed or _Model(base, shelf.open(base, {}), {}, models[0].layers)
    if moved := next((one for one in models if one.checkpoint.is_adapter and one.layers != first.layers), None):
        raise SurefootError(
            f"{moved.reference}: An adapter is merged as a change of base_model, layer by layer, and their layer_range "
            f"differ. Write what they are together first: surefoot weights add {base} ADAPTER --out FILE"
        )
    for one in models:
        check_transposed(first.checkpoint.tensors, one.checkpoint, one.checkpoint.tensors)
    return _Slice((first, *(one for one in models if one is not listed)), not optional, settings)


def _listed(value: Any, name: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not value or not all(isinstance(one, dict) for one in value):
        raise SurefootError(f"The key {name} must be a list of mappings, and not empty.")
    return value


def _model(entry: Mapping[str, Any], shelf: _Shelf, base: str | None) -> _Model:
    _known_keys(entry, {"model", "layer_range", "parameters", "rename", "key"}, f"The entry of {entry.get('model')!r}")
    if "model" not in entry:
        raise SurefootError(f"An entry lacks the key model: {dict(entry)}.")
    checkpoint = shelf.open(reference := entry["model"], entry)
    if checkpoint.is_adapter and reference.partition("+")[0] != base:
        own = reference.partition("+")[0]
        cure = f"write {base}+ADAPTER" if base else f"add base_model: {own}, and a merge_method that has one"
        raise SurefootError(f"{reference}: An adapter is merged as a change of base_model; {cure}.")
    layers = layer_range(entry.get("layer_range"), reference)
    return _Model(reference, checkpoint, _parameters(entry), layers, entry.get("key"))


def _whole(part: _Slice, template: Checkpoint) -> Iterator[_Target]:
    last: dict[str, int] = {}
    for name in template.tensors:
        head, layer, _ = numbered(name)
        last[head] = max(last.get(head, 0), layer)
    for name in template.tensors:
        head, layer, _ = numbered(name)
        share = 0.0 if layer < 0 else layer / last[head] if last[head] else 1.0
        yield _Target(part, name, name, share)


def _targets(slices: list[_Slice], template: Checkpoint, tower: str) -> Iterator[_Target]:
    first, last = ([(one.reference, one.settings) for one in end.models] for end in (slices[0], slices[-1]))
    same = first == last and slices[0].settings == slices[-1].settings
    first_slice = first_names(template.tensors, tower, said=not same)
    for name in template.tensors:
        if numbered(name)[0] != tower:
            yield _Target(slices[0] if name in first_slice else slices[-1], name, name)
    position = 0
    for part in slices:
        first, end = part.models[0].layers or (0, 0)
        for offset in range(end - first):
            share = offset / (end - first - 1) if end - first > 1 else 1.0
            for name in part.models[0].checkpoint.tensors:
                head, layer, tail = numbered(name)
                if head == tower and layer == first + offset:
                    yield _Target(part, f"{head}{position + offset}{tail}", name, share, offset)
        position += end - first


def _order(slices: list[_Slice], template: Checkpoint, tower: str) -> LayerOrder:
    order: list[tuple[str, int]] = []
    for part in slices:
        for one in part.models:
            count = towers(one.checkpoint.tensors).get(tower, 0)
            if not one.checkpoint.is_adapter and one.layers and one.layers[1] > count:
                said = f"The layer_range {list(one.layers)} of {one.reference} ends behind its {count} layers"
                raise SurefootError(f"{said} ({tower[:-1]}).")
        origin = (part.models[0].checkpoint.origin or {}).get("path", "")
        order += [(str(origin), number) for number in range(*(part.models[0].layers or (0, 0)))]
    return LayerOrder(tower=tower, before=towers(template.tensors)[tower], order=tuple(order))


def _extra(slices: list[_Slice], template: Checkpoint, tower: str | None) -> Iterator[tuple[_Model, list[str]]]:
    # Of a model that only gives layers, those that no slice names are left out as the slices say.
    for model in dict.fromkeys(one for part in slices for one in part.models):
        names = [name for name in model.checkpoint.tensors if name not in template.tensors]
        if names := [name for name in names if numbered(name)[0] != tower]:
            yield model, names


def _refuse_extra_in_layers(part: _Slice, tower: str) -> None:
    first, *others = part.models
    for model, (start, end) in ((one, one.layers or (0, 0)) for one in others):
        for name in model.checkpoint.tensors:
            head, layer, tail = numbered(name)
            own = f"{head}{layer - start + (first.layers or (0, 0))[0]}{tail}"
            if head == tower and start <= layer < end and own not in first.checkpoint.tensors:
                said = f"{model.reference} has {name!r} in a layer of a slice, and {first.reference} has no {own!r}"
                raise SurefootError(f"{said}; leave it out with extra: drop, or name only the layers that fit.")


def _assignment(content: Mapping[str, Any], method: Method, target: _Target, rules: EditRules) -> Assignment:
    models = [*target.part.models]
    sources, labels = tuple(_find(one, target, rules) for one in models), _labels(models)
    for label, source in zip(labels[1:], sources[1:], strict=True):
        if source.shape != sources[0].shape or is_float(source) != is_float(sources[0]):
            raise SurefootError(
                f"{label}: Tensor {target.name!r} is {source.dtype} {list(source.shape)}, "
                f"that of {labels[0]} {sources[0].dtype} {list(sources[0].shape)}."
            )
    kept = rules.integers == "base" and is_scale(target.origin, models[0].checkpoint.tensors)
    if kept or not is_float(sources[0]):
        count = 1 if rules.integers == "base" else len(sources)
        return Assignment(name=target.name, dtype=sources[0].dtype, sources=sources[:count], labels=labels[:count])
    bound = partial(method, **_bound(method, target, models, content))
    dtype = rules.dtype or promoted([one.dtype for one in sources if one is sources[0] or not isinstance(one, LowRank)])
    return Assignment(name=target.name, dtype=dtype, sources=sources, labels=labels, method=bound)


def _labels(models: list[_Model]) -> tuple[str, ...]:
    named = [one.reference for one in models]  # random masks go by these: two states of one file have each its own
    own = (f"{one.reference} {one.key or ''} {one.layers or ''}" for one in models)
    return tuple(name if named.count(name) == 1 else more for name, more in zip(named, own, strict=True))


def _name_in(one: _Model, target: _Target) -> str:
    if target.offset is None or one.layers is None:
        return target.origin
    head, _, tail = numbered(target.origin)
    return f"{head}{one.layers[0] + target.offset}{tail}"


def _find(one: _Model, target: _Target, rules: EditRules) -> StoredTensor:
    name, base = _name_in(one, target), target.part.models[0]
    there, own = one.checkpoint.tensors, base.checkpoint.tensors
    if name in there:
        return there[name]
    of_layer = name not in own and rules.missing == "base"  # a layer whose number the base has not
    if one is base or (name not in own and not one.checkpoint.is_adapter and not of_layer):
        cure = (
            "" if target.offset is not None else "; if it is tied there, begin with it (or its like), with extra: drop"
        )
        raise SurefootError(f"{one.reference} lacks the tensor {name!r}{cure}.")
    kept = one.checkpoint.is_adapter or of_layer  # what an adapter says nothing of it leaves as it is
    other = "" if kept else replacement(one.checkpoint, name, own, rules.missing, one.reference)
    return there[other] if other else own[target.origin]


def _bound(method: Method, target: _Target, models: list[_Model], content: Mapping[str, Any]) -> dict[str, Any]:
    needed = parameters(method)
    _refuse_unknown(str(content["merge_method"]), needed, models, target.part)
    bound: dict[str, Any] = {}
    tuned = models if "has_base" in needed and not target.part.has_base else models[1:]
    for name, (per_model, default) in needed.items():
        if name == "has_base":
            bound[name] = target.part.has_base
        elif name == "base_weight":
            bound[name] = number(_setting("weight", models[0], target), "weight", models[0].reference)
        elif name == "seed":
            bound[name] = content.get("seed", 0)
        elif per_model:
            fallback = _PER_MODEL_DEFAULTS.get(name)
            values = ((_setting(name, one, target), one) for one in tuned)
            bound[name] = tuple(
                number(fallback if value is None else value, name, one.reference) for value, one in values
            )
        else:
            bound[name] = _shared(name, default, needed, models[0], target)
    return bound


def _shared(name: str, default: Any, needed: Mapping[str, Any], first: _Model, target: _Target) -> Any:
    said = next((key for key, to in _NAMES.items() if to == name and "weight" in needed), name)
    value = _setting(said, first, target, shared=needed.keys() != {"scale"})
    if value is None and default is not inspect.Parameter.empty:
        return default
    if value is None:
        raise SurefootError(f"Parameter {said!r} is missing for tensor {target.name!r}.")
    return switch(value, said) if isinstance(default, bool) else number(value, said, target.name)


def _refuse_unknown(method: str, needed: Mapping[str, Any], models: list[_Model], part: _Slice) -> None:
    scaled = {key for key, to in _NAMES.items() if to in needed and "weight" in needed}
    known = {*needed, *scaled, *_ACCEPTED}
    for settings in (*part.settings, *(one.settings for one in models)):
        for name, value in settings.items():
            if name in _FIXED and value != _FIXED[name]:
                raise SurefootError(
                    f"The parameter {name}: {value!r} is not offered; leave it out, or write {_FIXED[name]!r}."
                )
            if name not in known and name not in _FIXED and not (name in _SWITCHES and value is False):
                hidden = {"has_base", "base_weight", "seed"} | ({"scale"} if scaled else set())
                offered = sorted({*needed, *scaled} - hidden)
                raise SurefootError(f"The method {method} has no parameter {name!r}; it has {', '.join(offered)}.")


def _setting(name: str, model: _Model, target: _Target, *, shared: bool = False) -> Any:
    # As in mergekit: a filter of what each model has is part of that model's own name, else of the written one.
    for settings in (model.settings, *target.part.settings):
        if name in settings:
            value = evaluated(settings[name], target.name if shared else _name_in(model, target), target.share)
            if value is not None:
                return value
    return None
