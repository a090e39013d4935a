"""Questions asked before running: what is missing, how long it takes, why a Step is new, what may be stale."""

import ast
import hashlib
import inspect
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from surefoot.core._errors import SurefootError
from surefoot.core._step import Spec, Step, find_kind, from_spec, step_fields, to_spec, walk
from surefoot.core._store import Artifact, Store

_SAMPLED_ARTIFACTS = 50


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would do. `seconds` is an estimate for one worker; None when some kind was never timed here."""

    kept: tuple[Step, ...]
    missing: tuple[Step, ...]
    failed: tuple[Step, ...]
    seconds_by_kind: dict[str, float | None]

    @property
    def seconds(self) -> float | None:
        """The estimate for all missing Steps, or None when a kind has no timing yet."""
        known = [seconds for seconds in self.seconds_by_kind.values() if seconds is not None]
        return sum(known) if len(known) == len(self.seconds_by_kind) else None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One field, by its path from the root, that differs between a Step and its nearest made neighbour."""

    field: str
    made: Any
    asked: Any


def plan(steps: Iterable[Step], store: Store) -> Plan:
    """Sort the Steps into kept, missing and failed, and estimate the time from earlier artifacts of each kind."""
    order = walk(steps)
    made, failures = store.made(), store.failures()
    missing = [step for step in order if step.key not in made]
    by_kind: dict[str, list[Step]] = defaultdict(list)
    for step in missing:
        by_kind[step.kind].append(step)
    return Plan(
        kept=tuple(step for step in order if step.key in made),
        missing=tuple(missing),
        failed=tuple(step for step in missing if step.key in failures),
        seconds_by_kind={kind: _estimate(group, kind, made) for kind, group in by_kind.items()},
    )


def why(step: Step, store: Store) -> tuple[str | None, tuple[Difference, ...]]:
    """The key of the most similar artifact of this kind and the fields that differ; (None, ()) when there is none."""
    asked = to_spec(step)
    candidates = [Artifact(path) for path in store.made().values() if path.parent.name == step.kind]
    compared = [(artifact.key, _differences(artifact.spec, asked)) for artifact in candidates]
    compared = [(key, differences) for key, differences in compared if key != step.key]
    return min(compared, key=lambda pair: len(pair[1]), default=(None, ()))


def flatten(spec: Spec) -> dict[str, Any]:
    """A spec as one row: plain fields by their path from the root, such as `model.source.name`.

    A tuple of Steps is left out (a fit over a grid would give a column a cell) but for its length.
    """
    row: dict[str, Any] = {}
    stack = [("", spec["root"])]
    while stack:
        prefix, key = stack.pop()
        described = spec["steps"][key]
        row[f"{prefix}kind"] = described["kind"]
        row[f"{prefix}version"] = described["version"]
        for name, value in described["fields"].items():
            if isinstance(value, dict):
                stack.append((f"{prefix}{name}.", value["step"]))
            elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
                row[f"{prefix}{name}.count"] = len(value)
            else:
                row[prefix + name] = json.dumps(value) if isinstance(value, list) else value
    return row


def stale(store: Store) -> list[tuple[Artifact, str]]:
    """Artifacts whose code has changed since, with the reason. A report only: nothing is recomputed by itself."""
    found = []
    for path in store.made().values():
        artifact = Artifact(path)
        reason = _stale_reason(artifact)
        if reason:
            found.append((artifact, reason))
    return found


@cache
def source_fingerprint(cls: type[Step]) -> str:
    """A hash of the code of the module that defines a Step, or '' without its source; comments do not count."""
    try:
        source = Path(inspect.getsourcefile(cls) or "").read_text(encoding="utf-8")
    except (OSError, TypeError):
        return ""
    # The text and not the tree: what `ast.dump` writes differs between versions of Python.
    return hashlib.sha256(ast.unparse(ast.parse(source)).encode()).hexdigest()[:16]


def _stale_reason(artifact: Artifact) -> str:
    described = artifact.spec["steps"][artifact.key]
    try:
        cls = find_kind(described["kind"])
    except SurefootError as error:
        return str(error)
    if cls.version != described["version"]:
        return f"made at version {described['version']}, the code is version {cls.version}"
    try:
        from_spec(artifact.spec)
    except SurefootError as error:
        return str(error)
    fingerprint = artifact.provenance.get("source")
    return "the source of its module changed" if fingerprint != source_fingerprint(cls) else ""


def _differences(made: Spec, asked: Spec) -> tuple[Difference, ...]:
    """The fields that differ; of a tuple of Steps held by the root, the keys that only one of the two holds."""
    one, other = flatten(made) | _tuples(made), flatten(asked) | _tuples(asked)
    found = []
    for name in dict.fromkeys([*other, *one]):
        mine, yours = one.get(name), other.get(name)
        if mine != yours or isinstance(mine, bool) != isinstance(yours, bool):
            mine, yours = _apart(mine, yours), _apart(yours, mine)
            found.append(Difference(field=name, made=mine, asked=yours))
    return tuple(found)


def _tuples(spec: Spec) -> dict[str, tuple[str, ...]]:
    """The keys in the tuples of Steps that the root holds, by field."""
    held = spec["steps"][spec["root"]]["fields"].items()
    lists = {name: value for name, value in held if isinstance(value, list)}
    keys = {name: tuple(item["step"] for item in value if isinstance(item, dict)) for name, value in lists.items()}
    return {name: found for name, found in keys.items() if found}


def _apart(these: Any, those: Any) -> Any:
    """Of keys, those that only `these` has, or all where only the order differs; anything else as it is."""
    if not isinstance(these, tuple):
        return these
    return ", ".join([key for key in these if key not in (those or ())] or these)


def _estimate(group: list[Step], kind: str, made: dict[str, Path]) -> float | None:
    """Seconds for these Steps at the median rate of earlier ones, a rate being seconds a unit of cost."""
    names = type(group[0]).cost_fields
    earlier = [Artifact(path) for path in made.values() if path.parent.name == kind][:_SAMPLED_ARTIFACTS]
    rates = [artifact.provenance["wall_seconds"] / _cost(_own_fields(artifact), names) for artifact in earlier]
    if not rates:
        return None
    asked = [{field.name: getattr(step, field.name) for field in step_fields(type(step))} for step in group]
    return median(rates) * sum(_cost(fields, names) for fields in asked)


def _own_fields(artifact: Artifact) -> dict[str, Any]:
    return artifact.spec["steps"][artifact.spec["root"]]["fields"]


def _cost(fields: dict[str, Any], names: tuple[str, ...]) -> float:
    product = 1.0
    for name in names:
        product *= fields.get(name) or 1.0  # an older artifact may lack the field
    return product or 1.0
