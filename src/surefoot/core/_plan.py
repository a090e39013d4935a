"""Questions asked before running: what is missing, how long it takes, why a Step is new, what may be stale."""

import ast
import hashlib
import inspect
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from statistics import median
from typing import Any

from surefoot.core._errors import SurefootError
from surefoot.core._step import Spec, Step, find_kind, from_spec, inputs_of, to_spec, walk
from surefoot.core._store import Artifact, Store

_SAMPLED_ARTIFACTS = 50
_ENOUGH = 4  # timings for a range of their own
_TOGETHER = 0.3  # of the spread between Steps of a kind, what they share: it does not average out
_SPREAD = 1.5  # of fewer timings
_SPREAD_OF_MACHINES = 2.0  # of a reference while nothing was timed here


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """An estimate of work for one worker: the likely time and a range that most often holds it."""

    low: float
    likely: float
    high: float

    def times(self, factor: float, spread: float = 1.0) -> "Seconds":
        """So much more of it, and less sure of it by `spread`."""
        low, high = self.low * factor / spread, self.high * factor * spread
        return Seconds(low=low, likely=self.likely * factor, high=high)


@dataclass
class Pace:
    """How long Steps take here, as seconds a unit of cost by kind: `see` tells of each Step that was made.

    A kind that never ran here has its reference, which is scaled by how the kinds that did compare with theirs.
    """

    rates: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    seen: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def see(self, step: Step, seconds: float) -> None:
        """Take into account what one Step took; a few of these count more than all that was known before."""
        self.seen[step.kind].append(seconds / cost_of(step))

    def _known(self, kind: str) -> list[float]:
        seen = self.seen.get(kind, [])[-_SAMPLED_ARTIFACTS:]
        return seen if len(seen) >= _ENOUGH else self.rates.get(kind, [])[-_SAMPLED_ARTIFACTS:] + seen

    def rate(self, kind: str) -> Seconds | None:
        """Seconds a unit of cost, or None for a kind of which nothing is known."""
        rates = sorted(self._known(kind))
        if rates:
            few = len(rates) < _ENOUGH
            low, high = (rates[0], rates[-1]) if few else (rates[len(rates) // 4], rates[3 * len(rates) // 4])
            mean = sum(rates) / len(rates)
            return Seconds(low=min(low, mean), likely=mean, high=max(high, mean)).times(1.0, _SPREAD if few else 1.0)
        known, speed = _references().get(kind.rpartition(".")[2]), self._speed()
        if known is None or not kind.startswith("surefoot."):
            return None
        return known.times(speed or 1.0, 1.0 if speed else _SPREAD_OF_MACHINES)

    def _speed(self) -> float | None:
        """Seconds here for a second of the reference machine."""
        shown = [
            sum(rates) / len(rates) / known.likely
            for kind in {*self.rates, *self.seen}
            if (rates := self._known(kind)) and (known := _references().get(kind.rpartition(".")[2]))
        ]
        return median(shown) if shown else None

    def total(self, costs: Mapping[str, float], counts: Mapping[str, int]) -> Seconds:
        """The time for these costs of so many Steps by kind; kinds of which nothing is known are left out.

        Kinds err apart from each other, Steps of a kind partly together.
        """
        known = {kind: rate.times(cost) for kind, cost in costs.items() if cost > 0 and (rate := self.rate(kind))}
        shares = {kind: math.hypot(_TOGETHER, 1 / math.sqrt(max(counts[kind], 1))) for kind in known}
        likely = sum(one.likely for one in known.values())
        below = math.hypot(*(min(shares[kind], 1) * (one.likely - one.low) for kind, one in known.items()))
        above = math.hypot(*(min(shares[kind], 1) * (one.high - one.likely) for kind, one in known.items()))
        return Seconds(low=max(likely - below, 0.0), likely=likely, high=likely + above)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would do, and at what pace. `chain` is the longest chain of missing Steps, in likely seconds."""

    kept: tuple[Step, ...]
    missing: tuple[Step, ...]
    failed: tuple[Step, ...]
    pace: Pace
    chain: float = 0.0

    @cached_property
    def costs(self) -> dict[str, float]:
        """What is missing, in units of cost by kind."""
        found: dict[str, float] = defaultdict(float)
        for step in self.missing:
            found[step.kind] += cost_of(step)
        return dict(found)

    @property
    def unknown(self) -> int:
        """How many missing Steps are of kinds whose time is not known."""
        return sum(self.pace.rate(step.kind) is None for step in self.missing)

    @property
    def seconds(self) -> Seconds:
        """The estimate for one worker, without the Steps that are `unknown`."""
        return self.pace.total(self.costs, Counter(step.kind for step in self.missing))

    def on(self, workers: int) -> Seconds:
        """The estimate for so many workers: never less than the longest chain."""
        spread = self.seconds.times(1 / max(min(workers, len(self.missing)), 1))
        return spread if spread.likely >= self.chain else spread.times(self.chain / (spread.likely or 1.0))


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One field, by its path from the root, that differs between a Step and its nearest made neighbour."""

    field: str
    made: Any
    asked: Any


def plan(steps: Iterable[Step], store: Store) -> Plan:
    """Sort the Steps into kept, missing and failed, and estimate the time from earlier artifacts of their kinds."""
    order = walk(steps)
    made, failures = store.made(), store.failures()
    missing = [step for step in order if step.key not in made]
    pace = _pace(missing, made)
    return Plan(
        kept=tuple(step for step in order if step.key in made),
        missing=tuple(missing),
        failed=tuple(step for step in missing if step.key in failures),
        pace=pace,
        chain=_longest_chain(missing, pace),
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


def cost_of(step: Step) -> float:
    """The product of the fields that the running time is proportional to; 1 without any."""
    return _cost({name: getattr(step, name) for name in type(step).cost_fields}, type(step).cost_fields)


def _pace(missing: Iterable[Step], made: dict[str, Path]) -> Pace:
    """What earlier artifacts of the kinds that are missing took."""
    pace = Pace()
    wanted = {step.kind: type(step).cost_fields for step in missing}
    sampled: dict[str, list[Path]] = defaultdict(list)
    for path in made.values():
        if path.parent.name in wanted and len(sampled[path.parent.name]) < _SAMPLED_ARTIFACTS:
            sampled[path.parent.name].append(path)
    for kind, paths in sampled.items():
        for artifact in map(Artifact, paths):
            cost = _cost(_own_fields(artifact), wanted[kind])
            pace.rates[kind].append(artifact.provenance["wall_seconds"] / cost)
    return pace


def _longest_chain(missing: Iterable[Step], pace: Pace) -> float:
    """Likely seconds of the longest chain, inputs before users."""
    ends: dict[str, float] = {}
    rates = {kind: pace.rate(kind) for kind in {step.kind for step in missing}}
    for step in missing:
        rate = rates[step.kind]
        before = max((ends.get(inner.key, 0.0) for inner in inputs_of(step)), default=0.0)
        ends[step.key] = before + (rate.likely * cost_of(step) if rate else 0.0)
    return max(ends.values(), default=0.0)


@cache
def _references() -> dict[str, Seconds]:
    """Processor seconds a unit of cost by the name of the class; benchmarks/reference_seconds.py measures them."""
    told = json.loads(Path(__file__).with_name("_reference_seconds.json").read_text(encoding="utf-8"))
    return {name: Seconds(low=low, likely=likely, high=high) for name, (low, likely, high) in told.items()}


def _own_fields(artifact: Artifact) -> dict[str, Any]:
    return artifact.spec["steps"][artifact.spec["root"]]["fields"]


def _cost(fields: dict[str, Any], names: tuple[str, ...]) -> float:
    product = 1.0
    for name in names:
        product *= fields.get(name) or 1.0  # an older artifact may lack the field
    return product or 1.0
