"""The Steps behind the numbers, with where and how each was made."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from surefoot.core import Plan, Step, Store, inputs_of, own_spec
from surefoot.report._numbers import duration, memory
from surefoot.report._tables import labels

Fact = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class StepEntry:
    """What the page says of one Step: its whole specification, and where and how it was made.

    `environment` numbers the machine and versions it was made with, from 1."""

    key: str
    kind: str
    version: int
    label: str
    state: Literal["made", "failed", "not run"]
    fields: tuple[Fact, ...]
    inputs: tuple[tuple[str, str], ...]
    facts: tuple[Fact, ...] = ()
    environment: int = 0
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A machine with the versions of what ran on it, and how many Steps were made there."""

    number: int
    machine: tuple[Fact, ...]
    packages: str
    count: int


def read_provenances(steps: Iterable[Step], plan: Plan, store: Store) -> dict[str, dict[str, Any]]:
    """The provenance of every Step that was made, by key."""
    kept = {step.key for step in plan.kept}
    return {step.key: store.provenance(step) for step in steps if step.key in kept}


def environments_of(provenances: dict[str, dict[str, Any]]) -> tuple[list[Environment], dict[str, int]]:
    """The different environments, the most used first, and the number of the environment of each key.

    A machine is one environment as long as no package changed its version there: a Step loads what it needs, and those
    that loaded less are not of another environment.
    """
    found: list[tuple[str, dict[str, str], list[str]]] = []
    for key, record in provenances.items():
        machine, packages = json.dumps(record.get("machine", {}), sort_keys=True), record.get("packages", {})
        known = next((one for one in found if one[0] == machine and _agree(one[1], packages)), None)
        if known is None:
            found.append((machine, dict(packages), [key]))
        else:
            known[1].update(packages)
            known[2].append(key)
    found.sort(key=lambda one: -len(one[2]))
    made = [
        Environment(
            number=number,
            machine=tuple((name, str(value)) for name, value in json.loads(machine).items() if value),
            packages=", ".join(f"{name} {version}" for name, version in sorted(packages.items())),
            count=len(keys),
        )
        for number, (machine, packages, keys) in enumerate(found, start=1)
    ]
    return made, {key: number for number, (_, _, keys) in enumerate(found, start=1) for key in keys}


def _agree(one: dict[str, str], other: dict[str, str]) -> bool:
    return all(one.get(name, version) == version for name, version in other.items())


def step_entries(
    steps: Sequence[Step], plan: Plan, store: Store, provenances: dict[str, dict[str, Any]], numbers: dict[str, int]
) -> dict[str, list[StepEntry]]:
    errors = {key: _error(path) for key, path in store.failures().items()} if plan.failed else {}
    by_kind: dict[str, list[Step]] = {}
    for step in steps:
        by_kind.setdefault(step.kind, []).append(step)
    return {
        kind: [
            _entry(step, label, provenances.get(step.key), numbers.get(step.key, 0), errors.get(step.key))
            for step, label in zip(group, labels(group), strict=True)
        ]
        for kind, group in by_kind.items()
    }


def _error(path: Path) -> str:
    return json.loads(path.read_text(encoding="utf-8")).get("error", "")


def _entry(step: Step, label: str, record: dict[str, Any] | None, environment: int, error: str | None) -> StepEntry:
    described = own_spec(step)
    plain = {
        name: value
        for name, value in described["fields"].items()
        if not any(isinstance(one, dict) for one in (value if isinstance(value, list) else [value]))
    }
    return StepEntry(
        key=step.key,
        kind=step.kind,
        version=described["version"],
        label=label,
        state="made" if record else "not run" if error is None else "failed",
        fields=tuple((name, json.dumps(value, ensure_ascii=False)) for name, value in plain.items()),
        inputs=tuple((inner.key, inner.kind.rpartition(".")[2]) for inner in inputs_of(step)),
        facts=_facts(record) if record else (),
        environment=environment,
        error="" if record else error or "",
    )


def _facts(record: dict[str, Any]) -> tuple[Fact, ...]:
    files = ", ".join(f"{name} ({size:,} bytes)" for name, (size, _) in record.get("files", {}).items())
    facts = (
        ("wall time", duration(record.get("wall_seconds", 0.0))),
        ("CPU time", duration(record.get("cpu_seconds", 0.0))),
        ("peak memory", memory(record.get("peak_memory_bytes"))),
        ("started", record.get("started", "")),
        ("commit", record.get("commit", "")),
        ("code", record.get("source", "")),
        ("files", files),
    )
    return tuple((name, value) for name, value in facts if value)
