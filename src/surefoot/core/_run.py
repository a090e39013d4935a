"""run: the one verb. It yields events; whoever shows them is a listener."""

import queue
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal
from uuid import uuid4

from surefoot.core._errors import SurefootError, missing_module
from surefoot.core._files import make_directory, remove, store_is_writable
from surefoot.core._lease import EXPIRY_SECONDS, guard, holder_is_alive, holder_state, lease, told
from surefoot.core._step import Step, inputs_of, walk
from surefoot.core._store import RUNS, Store
from surefoot.core._worker import Job, Outcome, current_commit, execute, write_specs

TICK_SECONDS = 0.25
QUEUED_LOOKED_AT = 32
TRIES = 2  # of a Step whose worker died under it
EventKind = Literal["kept", "started", "progress", "made", "failed", "blocked", "elsewhere"]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to one Step.

    `kept` it was in the store already; `started`, `progress` (with `done` of `total` and `values`), `made` (with
    `seconds`); `failed` (with `error`); `blocked` (`error` names the failed Step that it needs); `elsewhere` another
    runner is making it.
    """

    kind: EventKind
    step: Step
    seconds: float = 0.0
    error: str = ""
    done: float = 0.0
    total: float = 0.0
    values: tuple[tuple[str, float], ...] = ()


def run(steps: Iterable[Step], store: Store, pool: Executor, *, retry: bool = False) -> Iterator[Event]:
    """Make what is missing of `steps` and of the Steps below them, in `pool`; what is in the store is kept.

    A failed Step blocks only its users; it is tried again only with `retry`. One under which a worker dies is tried
    once more, alone on this machine, and has then failed. The pool decides where and how many at once, never what comes
    out. Raises `SurefootError` when a needed module is missing, the disk is full, or the pool starts no Step.
    """
    order = walk(steps)
    made = store.held(order)
    missing = [step for step in order if step.key not in made]
    check_modules(missing)
    yield from (Event(kind="kept", step=step) for step in order if step.key in made)
    if missing:
        with _described(store, missing) as specs:
            yield from _Runner(store, pool, order, missing, retry, specs).events()


@contextmanager
def _described(store: Store, steps: Iterable[Step]) -> Iterator[Path]:
    """The file from which the workers of this run read what the Steps are; what dead runs left is removed."""
    place = store.root / RUNS
    with ExitStack() as stack:
        with store_is_writable(store.root):
            make_directory(place)
            with guard(place / "specs"):
                for left in [path for path in place.iterdir() if path.name != ".guard" and not holder_is_alive(path)]:
                    remove(left)
            specs = place / f"{uuid4().hex[:12]}.specs"
            stack.enter_context(lease(specs.with_suffix(".lease")))
            checked = specs.with_suffix(".checked")  # made here alone: a worker that outlives the run makes none
            for path in (specs, checked):
                stack.callback(remove, path)
            checked.mkdir()
            write_specs(specs, walk(steps))
        yield specs


@contextmanager
def nobody_else(store: Store) -> Iterator[None]:
    """The body may remove what a run could need: none goes on, and none begins meanwhile.

    Raises `SurefootError` while a run uses the store.
    """
    if not store.root.is_dir():
        yield
        return
    place = store.root / RUNS
    with store_is_writable(store.root):
        make_directory(place)
    with guard(place / "clean"):
        makers = [path for path in [*place.iterdir(), *store.leftovers()] if path.suffix == ".lease"]
        for path in filter(holder_is_alive, makers):
            raise SurefootError(
                f"A run uses the store {store.root}: wait for its end, or stop it first. (Its lease is {path}: delete "
                "it if the machine of that run is gone.)"
            )
        yield


def check_modules(steps: Iterable[Step]) -> None:
    """Raise before any work when a module that a Step requires is not installed."""
    check_installed(dict.fromkeys(name for step in steps for name in type(step).requires))


def check_installed(names: Iterable[str]) -> None:
    """Raise for the first of these modules that is not installed."""
    for name in names:
        if find_spec(name.partition(".")[0]) is None:
            raise missing_module(name)


@dataclass
class _Watched:
    """A lease held elsewhere: when did its time of change last move, by our own clock?"""

    changed: int
    since: float


@dataclass
class _Runner:
    store: Store
    pool: Executor
    order: list[Step]
    missing: list[Step]
    retry: bool
    specs: Path
    answers: "queue.SimpleQueue[tuple[Step, Future[Outcome]]]" = field(default_factory=queue.SimpleQueue)
    waiting_for: dict[str, int] = field(default_factory=dict)
    users: dict[str, list[Step]] = field(default_factory=lambda: defaultdict(list))
    submitted: dict[str, Step] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)
    elsewhere: dict[str, _Watched] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    closed: set[str] = field(default_factory=set)
    known: dict[str, int] = field(default_factory=dict)
    died: Counter[str] = field(default_factory=Counter)
    suspects: list[Step] = field(default_factory=list)
    shown: dict[str, int] = field(default_factory=dict)
    looked: float = 0.0
    commit: str = field(default_factory=current_commit)

    def events(self) -> Iterator[Event]:
        self._count_inputs()
        failures = self.store.failures()
        if self.retry:
            self.known = {key: stamp for key, path in failures.items() if (stamp := _changed(path))}
        for step in [step for step in self.missing if not self.waiting_for[step.key]]:
            yield from self._begin(step, None if self.retry else failures.get(step.key))
        while self.submitted or self.elsewhere or self.suspects:
            if self.suspects and not self.submitted:
                self._submit(self.suspects.pop(0))
            yield from self._answered()
            yield from self._look_around()

    def _count_inputs(self) -> None:
        """Each missing Step waits for what it holds, and so does a kept one while something behind it is missing."""
        waiting = {step.key for step in self.missing}
        self.kept = {step.key for step in self.order} - waiting
        for step in self.order:
            held = {inner.key for inner in inputs_of(step)} & waiting
            if held or step.key in waiting:
                waiting.add(step.key)
                self.waiting_for[step.key] = len(held)
                for key in held:
                    self.users[key].append(step)

    def _begin(self, step: Step, failure: Path | None) -> Iterator[Event]:
        if failure and (error := told(failure).get("error")):
            yield from self._fail(step, f"{error} (in an earlier run; try again with --retry)")
        else:
            self._submit(step)

    def _recorded_failure(self, step: Step) -> Path | None:
        path = _beside(self.store, step, "failed.json")
        return path if not self.retry and path.exists() else None

    def _job(self, step: Step, expired: int | None = None, died: str = "") -> Job:
        return Job(
            key=step.key,
            specs=str(self.specs.absolute()),
            root=str(self.store.root.absolute()),
            import_paths=tuple(path or str(Path.cwd()) for path in sys.path),
            commit=self.commit,
            expired_lease=expired,
            known_failure=self.known.get(step.key),
            died=died,
            resources=step.resources,
        )

    def _submit(self, step: Step, expired: int | None = None) -> None:
        self.submitted[step.key] = step
        future = self.pool.submit(execute, self._job(step, expired))
        future.add_done_callback(lambda done: self.answers.put((step, done)))

    def _answered(self) -> Iterator[Event]:
        """Wait a tick for the first answer, then take all that are there."""
        block = True
        while True:
            try:
                step, future = self.answers.get(timeout=TICK_SECONDS) if block else self.answers.get_nowait()
            except queue.Empty:
                return
            block = False
            del self.submitted[step.key]
            yield from self._closing(step, self._outcome(step, future))

    def _outcome(self, step: Step, future: "Future[Outcome]") -> Outcome | None:
        """How a Step ended; None when its worker died under it and it is to be tried again."""
        try:
            outcome = future.result()
        except SurefootError:
            raise
        except Exception as error:  # each engine has its own for a worker that died
            return self._after_a_death(step, error)
        if outcome.status == "stop":
            raise SurefootError(outcome.error)
        return outcome

    def _after_a_death(self, step: Step, error: Exception) -> Outcome | None:
        """A lease that was left says that its worker died at this Step; without one the pool itself may be broken."""
        lease = _beside(self.store, step, "lease")
        began = lease.exists()
        self.died[step.key] += 1
        if self.died[step.key] < TRIES:
            if holder_state(lease) == "dead":
                self.suspects.append(step)  # on this machine: with others beside it memory might be short again
            else:
                self._submit(step)
            return None
        if not began:
            raise SurefootError(
                f"The pool failed ({error!r:.200}) while making {step.kind} {step.key}. Finished Steps are kept: run "
                "again to go on."
            ) from error
        died = f"Its worker died {TRIES} times, the last time alone: {str(error) or repr(error):.300}."
        return execute(self._job(step, expired=_changed(lease), died=died))

    def _closing(self, step: Step, outcome: Outcome | None) -> Iterator[Event]:
        if outcome is None:
            return
        if outcome.status == "held":
            self.elsewhere[step.key] = _Watched(0, time.monotonic())
            yield Event(kind="elsewhere", step=step)
        elif outcome.status == "failed":
            yield from self._fail(step, outcome.error)
        else:
            kind = "made" if outcome.status == "made" else "kept"
            yield Event(kind=kind, step=step, seconds=outcome.seconds)
            yield from self._release_users(step)

    def _release_users(self, step: Step) -> Iterator[Event]:
        self.closed.add(step.key)
        settled = [step]
        while settled:
            for user in self.users[settled.pop().key]:
                self.waiting_for[user.key] -= 1
                if self.waiting_for[user.key] or user.key in self.closed:
                    continue
                if user.key in self.kept:
                    settled.append(user)
                else:
                    yield from self._begin(user, self._recorded_failure(user))

    def _fail(self, step: Step, error: str) -> Iterator[Event]:
        self.closed.add(step.key)
        yield Event(kind="failed", step=step, error=error)
        blocked = list(self.users[step.key])
        while blocked:
            user = blocked.pop()
            if user.key not in self.closed:
                self.closed.add(user.key)
                if user.key not in self.kept:
                    yield Event(kind="blocked", step=user, error=f"needs {step.kind} {step.key}, which failed")
                blocked.extend(self.users[user.key])

    def _look_around(self) -> Iterator[Event]:
        """What the files beside the artifacts say: who started, how far, and who finished or died elsewhere."""
        if time.monotonic() - self.looked < TICK_SECONDS:
            return
        self.looked = time.monotonic()
        queued = 0
        for key, step in list(self.submitted.items()):
            if key not in self.started and _beside(self.store, step, "lease").exists():
                self.started.add(key)
                yield Event(kind="started", step=step)
            queued += key not in self.started
            if queued > QUEUED_LOOKED_AT:
                break  # pools start Steps about in the order of submission: those behind wait too
            yield from self._progress(step)
        for step in [step for step in self.missing if step.key in self.elsewhere] if self.elsewhere else ():
            yield from self._watch(step)

    def _progress(self, step: Step) -> Iterator[Event]:
        path = _beside(self.store, step, "part") / "progress.json"
        changed = _changed(path)
        progress = told(path) if changed and changed != self.shown.get(step.key) else {}
        if changed and progress:
            self.shown[step.key] = changed
            values = tuple(progress["values"].items())
            yield Event(kind="progress", step=step, done=progress["done"], total=progress["total"], values=values)

    def _watch(self, step: Step) -> Iterator[Event]:
        """Follow a Step that another runner makes: take its result, or its place when it is gone."""
        path = _beside(self.store, step, "lease")
        watched, changed, holder = self.elsewhere[step.key], _changed(path), holder_state(path)
        if self.store.has(step):
            del self.elsewhere[step.key]
            yield Event(kind="kept", step=step)
            yield from self._release_users(step)
        elif changed is None or holder in ("none", "dead"):
            del self.elsewhere[step.key]
            yield from self._begin(step, self._recorded_failure(step))
        elif changed != watched.changed or holder == "alive":
            self.elsewhere[step.key] = _Watched(changed, time.monotonic())
        elif time.monotonic() - watched.since > EXPIRY_SECONDS:
            del self.elsewhere[step.key]
            self._submit(step, expired=changed)


def _beside(store: Store, step: Step, suffix: str) -> Path:
    return store.path(step).with_name(f"{step.key}.{suffix}")


def _changed(path: Path) -> int | None:
    """When a file that may vanish at any moment was changed, in nanoseconds, or None."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None
