"""Showing a run while it goes: bars with time left on a terminal, plain lines elsewhere."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from surefoot.cli._output import say
from surefoot.core import Event, Measurement, Pace, Plan, Seconds, Step, describe, longest_chain

_PLAIN_SECONDS = 10.0
_CHAINED = 200  # Steps left among which the longest chain is looked for at each event; of more the work hides it
_OPEN = ("made", "failed", "blocked", "kept")


@dataclass
class TimeLeft:
    """An estimate of the seconds left, from what is known of each kind and what this run has shown."""

    plan: Plan
    workers: int
    costs: dict[str, float] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    left: dict[str, Step] = field(default_factory=dict)
    running: dict[str, tuple[Step, float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.costs = dict(self.plan.costs)
        self.counts = Counter(step.kind for step in self.plan.missing)
        self.left = {step.key: step for step in self.plan.missing}

    def see(self, event: Event) -> None:
        step = event.step
        if event.kind == "made":
            self.plan.pace.see(step, event.seconds)
        if event.kind in ("started", "progress"):
            _, since, _ = self.running.get(step.key, (step, time.monotonic(), 0.0))
            self.running[step.key] = (step, since, event.done / event.total if event.total else 0.0)
        elif event.kind in _OPEN:
            self.running.pop(step.key, None)
            if self.left.pop(step.key, None):
                self.costs[step.kind] -= step.cost
                self.counts[step.kind] -= 1

    def estimate(self) -> tuple[Seconds, int]:
        """The time left, and how many Steps of unknown kinds are not in it."""
        pace = self.plan.pace
        shown = Pace({**pace.rates, **self._shown_by_running()}, pace.seen)
        costs = {kind: self.costs[kind] - self._done(kind, shown.rate(kind)) for kind in self.costs}
        total = shown.total(costs, self.counts)
        unknown = {kind for kind, cost in self.costs.items() if cost > 0 and shown.rate(kind) is None}
        at_once = max(min(self.workers, len(self.left)), 1)
        spread = total.times(1 / at_once).at_least(self._chain(shown))
        return spread, sum(step.kind in unknown for step in self.left.values()) if unknown else 0

    def _chain(self, pace: Pace) -> float:
        """Likely seconds of the longest chain left, less the most that its running Step can have behind it."""
        if len(self.left) > _CHAINED:
            return 0.0
        rates = [(one, rate) for one in self.running.values() if (rate := pace.rate(one[0].kind))]
        behind = max((_behind(*one, rate) * rate.likely for one, rate in rates), default=0.0)
        return longest_chain(self.left.values(), pace) - behind

    def _shown_by_running(self) -> dict[str, list[float]]:
        """The rates of kinds of which no Step was ever made, by how far one has come that runs."""
        found: dict[str, list[float]] = defaultdict(list)
        for step, since, share in self.running.values():
            if share > 0.02 and self.plan.pace.rate(step.kind) is None:
                found[step.kind].append((time.monotonic() - since) / share / step.cost)
        return found

    def _done(self, kind: str, rate: Seconds | None) -> float:
        """What the running Steps of a kind have behind them, in units of cost."""
        return sum(_behind(*one, rate) for one in self.running.values() if one[0].kind == kind)


def _behind(step: Step, since: float, share: float, rate: Seconds | None) -> float:
    each = rate.likely * step.cost if rate else 0.0
    reached = share or (min((time.monotonic() - since) / each, 0.95) if each else 0.0)
    return reached * step.cost


def follow(
    events: Iterable[Event], plan: Plan, workers: int, measured: Callable[[Step], Iterable[Measurement]] | None = None
) -> Counter[str]:
    """Show the events as they come, and the first number that is `measured`; how many Steps ended in each way."""
    console = Console(stderr=True)
    counts: Counter[str] = Counter()
    left = TimeLeft(plan, workers)
    with _display(console, left, len(plan.missing) + len(plan.kept)) as show:
        for event in events:
            left.see(event)
            counts[event.kind] += event.kind in _OPEN
            if event.kind == "failed":
                say(f"failed {describe(event.step)}: {event.error}", console)
            known = measured(event.step) if measured and event.kind == "made" else ()
            for one in [one for one in known if None not in (one.low, one.high)][:1]:
                measured = None
                numbers = f"{one.value:.4g} [{one.low:.4g}, {one.high:.4g}]"
                say(f"A first number: {one.metric} {numbers} of {describe(event.step)}", console)
            show(event, counts)
    return counts


@contextmanager
def _display(console: Console, left: TimeLeft, total: int) -> Iterator["_Show"]:
    if not console.is_terminal:
        yield _Lines(total, left)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Bars(progress, progress.add_task("Steps", total=total, note=""), left)


@dataclass
class _Bars:
    progress: Progress
    whole: TaskID
    left: TimeLeft
    bars: dict[str, TaskID] = field(default_factory=dict)

    def __call__(self, event: Event, counts: Counter[str]) -> None:
        step = event.step
        if event.kind in ("started", "progress"):
            self._show_running(event, step)
        elif step.key in self.bars:
            self.progress.remove_task(self.bars.pop(step.key))
        self.progress.update(self.whole, completed=sum(counts.values()), note=_time_left(self.left))

    def _show_running(self, event: Event, step: Step) -> None:
        if step.key not in self.bars:
            name = describe(step)
            self.bars[step.key] = self.progress.add_task(f"  {name[:56]}", total=None, note="")
        if event.kind == "progress":
            note = "  ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in event.values)
            self.progress.update(self.bars[step.key], completed=int(event.done), total=int(event.total), note=note)


@dataclass
class _Lines:
    """One line at the start, one about every ten seconds, one at the end: fit for a log."""

    total: int
    left: TimeLeft
    said: float = field(default_factory=time.monotonic)

    def __call__(self, event: Event, counts: Counter[str]) -> None:
        done = sum(counts.values())
        if time.monotonic() - self.said > _PLAIN_SECONDS or (done == self.total and event.kind in _OPEN):
            self.said = time.monotonic()
            say(f"{done} of {self.total} Steps  {_time_left(self.left)}".rstrip())


_Show = _Bars | _Lines


def _time_left(left: TimeLeft) -> str:
    return time_of(*left.estimate(), len(left.left), " left")


def time_of(seconds: Seconds, unknown: int, steps: int, after: str) -> str:
    """The time of so many Steps; not known where that of every fifth or more is not, for these may take all of it."""
    if steps and unknown >= steps / 5:
        return f"time not known ({unknown} of {steps} Steps are of kinds that never ran here)"
    more = f" and the time of {unknown} Steps of kinds that never ran here" if unknown else ""
    return f"{duration_range(seconds)}{after}{more}" if seconds.likely else ""


def duration_range(seconds: Seconds) -> str:
    """'about 42 s' where the range is narrow, else '4 to 9 min'."""
    if seconds.high < 1.25 * seconds.low or seconds.high < 1.0:
        return f"about {duration(seconds.likely)}"
    size, name = next(
        (size, name) for size, name in ((3600, "h"), (60, "min"), (1, "s")) if seconds.high >= 2 * size or size == 1
    )
    low, high = (
        f"{value / size:.2g}" if value < 10 * size else f"{value / size:.0f}" for value in (seconds.low, seconds.high)
    )
    return f"{low} to {high} {name}"


def duration(seconds: float) -> str:
    """Seconds in words fit for a line: '0.3 s', '42 s', '3 min 10 s', '2 h 5 min'."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
