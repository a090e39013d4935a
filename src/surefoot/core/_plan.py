"""Questions asked before running: what is missing, how long it takes, why a Step is new, what may be stale."""

import ast
import hashlib
import inspect
import json
import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from heapq import nsmallest
from itertools import islice
from pathlib import Path
from statistics import median
from threading import Lock
from typing import Any

from surefoot.core._errors import SurefootError
from surefoot.core._step import Rebuilt, Spec, Step, find_kind, held_fields, inputs_of, own_spec, product_of, walk
from surefoot.core._store import Artifact, DamagedError, Store

_SAMPLED_ARTIFACTS = 50
_COMPARED, _COMPARED_IN_DEPTH, _DIFFERENCES = 500, 20, 100
_LEVELS, _STEPS_IN_A_ROW = 8, 256
_ENOUGH = 4  # timings for a range of their own
_TOGETHER = 0.3  # of the spread between Steps of a kind, what they share: it does not average out
_SPREAD = 1.5  # of fewer timings
_SPREAD_OF_MACHINES = 2.0  # of a reference while nothing was timed here
_CHANGED = "the source of its module changed, or that of a module that it imports"


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

    def at_least(self, likely: float) -> "Seconds":
        """The same range, moved where its likely time is less than that."""
        return self if self.likely >= likely else self.times(likely / (self.likely or 1.0))


@dataclass
class Pace:
    """How long Steps take here, as seconds a unit of cost by kind: `see` tells of each Step that was made.

    A kind that never ran here has its reference, which is scaled by how the kinds that did compare with theirs.
    """

    rates: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    seen: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def see(self, step: Step, seconds: float) -> None:
        """Take into account what one Step took; a few of these count more than all that was known before."""
        self.seen[step.kind].append(seconds / step.cost)

    def _known(self, kind: str) -> list[float]:
        seen = self.seen.get(kind, [])[-_SAMPLED_ARTIFACTS:]
        return seen if len(seen) >= _ENOUGH else self.rates.get(kind, [])[-_SAMPLED_ARTIFACTS:] + seen

    def rate(self, kind: str) -> Seconds | None:
        """Seconds a unit of cost, or None for a kind of which nothing is known."""
        if rates := sorted(self._known(kind)):
            few = len(rates) < _ENOUGH
            low, high = (rates[0], rates[-1]) if few else (rates[len(rates) // 4], rates[3 * len(rates) // 4])
            mean = sum(rates) / len(rates)
            return Seconds(low=min(low, mean), likely=mean, high=max(high, mean)).times(1.0, _SPREAD if few else 1.0)
        reference, speed = _references().get(kind.rpartition(".")[2]), self._speed()
        if reference is None or not kind.startswith("surefoot."):
            return None
        return reference.times(speed or 1.0, 1.0 if speed else _SPREAD_OF_MACHINES)

    def _speed(self) -> float | None:
        """Seconds here for a second of the reference machine."""
        shown = [
            sum(rates) / len(rates) / reference.likely
            for kind in {*self.rates, *self.seen}
            if (rates := self._known(kind)) and (reference := _references().get(kind.rpartition(".")[2]))
        ]
        return median(shown) if shown else None

    def total(self, costs: Mapping[str, float], counts: Mapping[str, int]) -> Seconds:
        """The time for these costs of so many Steps by kind; kinds of which nothing is known are left out.

        Kinds err apart from each other, Steps of a kind partly together.
        """
        work = {kind: rate.times(cost) for kind, cost in costs.items() if cost > 0 and (rate := self.rate(kind))}
        shares = {kind: math.hypot(_TOGETHER, 1 / math.sqrt(max(counts[kind], 1))) for kind in work}
        likely = sum(one.likely for one in work.values())
        below = math.hypot(*(min(shares[kind], 1) * (one.likely - one.low) for kind, one in work.items()))
        above = math.hypot(*(min(shares[kind], 1) * (one.high - one.likely) for kind, one in work.items()))
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
        costs: dict[str, float] = defaultdict(float)
        for step in self.missing:
            costs[step.kind] += step.cost
        return dict(costs)

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
        return self.seconds.times(1 / max(min(workers, len(self.missing)), 1)).at_least(self.chain)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One field, by its path from the root, that differs between a Step and its nearest made neighbour."""

    field: str
    made: Any
    asked: Any


def plan(steps: Iterable[Step], store: Store) -> Plan:
    """Sort the Steps into kept, missing and failed, and estimate the time from earlier artifacts of their kinds."""
    order = walk(steps)
    made, kept, failures = store.made(), store.held(order), store.failures()
    missing = [step for step in order if step.key not in kept]
    pace = _pace(missing, made)
    return Plan(
        kept=tuple(step for step in order if step.key in kept),
        missing=tuple(missing),
        failed=tuple(step for step in missing if step.key in failures),
        pace=pace,
        chain=longest_chain(missing, pace),
    )


def why(step: Step, store: Store) -> tuple[str | None, tuple[Difference, ...]]:
    """The key of the most similar artifact of this kind and the fields that differ; (None, ()) when there is none."""
    return next(why_each([step], store))


def why_each(steps: Iterable[Step], store: Store) -> Iterator[tuple[str | None, tuple[Difference, ...]]]:
    """`why` for many Steps, the store being read once. Each is compared with the 500 newest artifacts of its kind.

    Of those the twenty whose own fields are nearest are compared with what is below them, too, up to 100 differences.
    """
    spec_of, newest = store.specs(), _newest_by_kind(store)
    for step in steps:
        own = own_spec(step)
        others = [key for key in newest.get(step.kind, ()) if key != step.key]
        near = nsmallest(_COMPARED_IN_DEPTH, others, key=lambda key: _own_differences(spec_of(key), own))
        compared = [(key, tuple(islice(_differences(key, step, spec_of), _DIFFERENCES))) for key in near]
        yield min(compared, key=lambda pair: len(pair[1]), default=(None, ()))


def _newest_by_kind(store: Store) -> dict[str, list[str]]:
    newest: dict[str, list[str]] = defaultdict(list)
    for key, (path, _) in sorted(store.stamps().items(), key=lambda item: -item[1][1]):
        keys = newest[Path(path).parent.name]
        if len(keys) < _COMPARED:
            keys.append(key)
    return newest


def flatten(step: Step) -> dict[str, Any]:
    """A Step as one row: its plain fields and those of the Steps in it, by their path, such as `model.source.name`.

    A tuple of Steps is left out (a fit over a grid would give a column a cell) but for its length. A Step more than
    eight levels down is only its key, and so is one when 256 Steps are in the row already.
    """
    return _row(step, lambda held: {"kind": held.kind, "version": type(held).version, "fields": held_fields(held)})


def flatten_spec(spec: Spec, spec_of: Callable[[str], Spec]) -> dict[str, Any]:
    """`flatten` of what the store says of a Step; one below that it lacks is only its key."""

    def opened(held: Spec) -> Spec | None:
        with suppress(SurefootError):
            return spec_of(held["step"]) if "step" in held else held
        return None

    return _row(spec, opened)


def _row(root: Any, opened: Callable[[Any], Spec | None]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    waiting, count = deque([("", root, 0)]), 0
    while waiting:
        prefix, held, depth = waiting.popleft()
        count += 1
        spec = opened(held) if depth <= _LEVELS and count <= _STEPS_IN_A_ROW else None
        if spec is None:
            row[prefix[:-1]] = held["step"] if isinstance(held, dict) else held.key
            continue
        row |= {f"{prefix}kind": spec["kind"], f"{prefix}version": spec["version"]}
        for name, value in spec["fields"].items():
            if isinstance(value, (Step, dict)):
                waiting.append((f"{prefix}{name}.", value, depth + 1))
            elif isinstance(value, (tuple, list)) and any(isinstance(item, (Step, dict)) for item in value):
                row[f"{prefix}{name}.count"] = len(value)
            else:
                row[prefix + name] = json.dumps(value) if isinstance(value, (tuple, list)) else value
    return row


def stale(store: Store) -> list[tuple[Artifact, str]]:
    """Artifacts whose code has changed since, with the reason. A report only: nothing is recomputed by itself."""
    steps = store.steps()
    artifacts = map(Artifact, store.made().values())
    return [(artifact, reason) for artifact in artifacts if (reason := _stale_reason(artifact, steps))]


def made_otherwise(steps: Iterable[Step], store: Store) -> list[Step]:
    """The Steps of a user's own kinds that were made by other code than is there now, see `source_fingerprint`."""
    own = (step for step in walk(steps) if not step.kind.startswith("surefoot."))
    return [step for step in own if _source_of(store.path(step)) not in ("", source_fingerprint(type(step)))]


def _source_of(path: Path) -> str:
    with suppress(FileNotFoundError, NotADirectoryError, DamagedError):
        return Artifact(path).provenance.get("source", "")
    return ""


_ONE_AT_A_TIME = Lock()  # two threads that parse at once raise a SystemError in Python 3.11


@cache
def source_fingerprint(cls: type[Step]) -> str:
    """A hash of the code of the module that defines a Step, or '' without its source; comments do not count.

    Of a user's module that of the modules of the user that it imports is in it: those beside a file, or of one package.
    """
    try:
        file, module = Path(inspect.getsourcefile(cls) or "").absolute(), cls.__module__
        trees = {file: _parsed(file)}
    except (OSError, TypeError, ValueError, SyntaxError):  # being edited just now
        return ""
    waiting = [] if module.startswith("surefoot.") else [(file, module)]
    while waiting:
        for path, name in _imported(*(one := waiting.pop()), trees[one[0]]):
            if path not in trees and path.is_file():
                with suppress(OSError, ValueError, SyntaxError):
                    trees[path] = _parsed(path)
                    waiting.append((path, name))
    texts = [ast.unparse(trees.pop(file)), *sorted(map(ast.unparse, trees.values()))]
    # The text and not the tree: what `ast.dump` writes differs between versions of Python.
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def _parsed(path: Path) -> ast.Module:
    source = path.read_text(encoding="utf-8")
    with _ONE_AT_A_TIME:
        return ast.parse(source)


def _imported(file: Path, module: str, tree: ast.Module) -> Iterator[tuple[Path, str]]:
    """Where the modules that a module imports would lie, and their names: in its own package, or beside it."""
    package = module.split(".") if file.stem == "__init__" else module.split(".")[:-1]
    root = file.parents[len(package)]
    if not package and root.name in ("site-packages", "dist-packages"):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            names = [start, *(f"{start}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            first, *below = name.split(".")
            if first and first != "surefoot" and first in (package or [first])[:1]:
                place = root.joinpath(first, *below)
                yield from ((one, name) for one in (place.with_name(f"{place.name}.py"), place / "__init__.py"))


def _stale_reason(artifact: Artifact, steps: Rebuilt) -> str:
    try:
        cls = find_kind(artifact.kind)
        if cls.version != artifact.spec["version"]:
            return f"made at version {artifact.spec['version']}, the code is version {cls.version}"
        steps[artifact.key]
    except SurefootError as error:
        lost = str(error).startswith("No module") and not artifact.kind.startswith("surefoot.")
        return f"{error} Name its study file: surefoot stale FILE.py" if lost else str(error)
    return _CHANGED if artifact.provenance.get("source") != source_fingerprint(cls) else ""


def _own_differences(made: Spec, asked: Spec) -> int:
    mine, yours = made["fields"], asked["fields"]
    return sum(name not in mine or name not in yours or mine[name] != yours[name] for name in {**mine, **yours})


def _differences(key: str, asked: Step, spec_of: Callable[[str], Spec]) -> Iterator[Difference]:
    """The fields that differ, by path; Steps are opened only where their keys differ, each pair of them once."""
    waiting, seen = deque([("", key, asked)]), set[tuple[str, str]]()
    while waiting:
        prefix, key, step = waiting.popleft()
        if (key, step.key) in seen:
            continue
        seen.add((key, step.key))
        made, own = spec_of(key), own_spec(step)
        for name in ("kind", "version"):
            if made[name] != own[name]:
                yield Difference(field=prefix + name, made=made[name], asked=own[name])
        for name in {**own["fields"], **made["fields"]} if made["kind"] == own["kind"] else ():
            mine, yours = made["fields"].get(name), own["fields"].get(name)
            if mine == yours and isinstance(mine, bool) == isinstance(yours, bool):
                continue
            if isinstance(mine, dict) and isinstance(yours, dict):
                waiting.append((f"{prefix}{name}.", mine["step"], getattr(step, name)))
            else:
                yield Difference(field=prefix + name, made=_apart(mine, yours), asked=_apart(yours, mine))


def _apart(these: Any, those: Any) -> Any:
    """Of the Steps in a tuple the keys that only `these` has, or all where only the order differs."""
    if isinstance(these, dict):
        return these["step"]
    if not isinstance(these, list) or not any(isinstance(item, dict) for item in these):
        return json.dumps(these) if isinstance(these, list) else these
    keys = [item["step"] for item in these if isinstance(item, dict)]
    others = {item["step"] for item in those or () if isinstance(item, dict)}
    return ", ".join([key for key in keys if key not in others] or keys)


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
            with suppress(DamagedError):  # a run makes it anew: what it took is not known, and stops nothing
                known = artifact.provenance
                cost = known.get("cost") or product_of(artifact.spec["fields"], wanted[kind])
                if (took := known.get("wall_seconds")) is not None:  # put into the store by hand
                    pace.rates[kind].append(took / cost)
    return pace


def longest_chain(missing: Iterable[Step], pace: Pace) -> float:
    """Likely seconds of the longest chain, inputs before users."""
    ends: dict[str, float] = {}
    rates = {kind: pace.rate(kind) for kind in {step.kind for step in missing}}
    for step in missing:
        rate = rates[step.kind]
        before = max((ends.get(inner.key, 0.0) for inner in inputs_of(step)), default=0.0)
        ends[step.key] = before + (rate.likely * step.cost if rate else 0.0)
    return max(ends.values(), default=0.0)


@cache
def _references() -> dict[str, Seconds]:
    """Processor seconds a unit of cost by the name of the class; benchmarks/reference_seconds.py measures them."""
    references = json.loads(Path(__file__).with_name("_reference_seconds.json").read_text(encoding="utf-8"))
    return {name: Seconds(low=low, likely=likely, high=high) for name, (low, likely, high) in references.items()}
