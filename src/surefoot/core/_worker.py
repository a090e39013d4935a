"""Making one Step, in whatever process the pool chose."""

import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

from surefoot.core._errors import SurefootError, missing_module
from surefoot.core._files import (
    StoreError,
    full_disk_is_said,
    make_directory,
    publish,
    store_is_writable,
    sync_tree,
    write_text,
)
from surefoot.core._lease import HeldError, Lease, lease
from surefoot.core._measurement import Measurement
from surefoot.core._plan import source_fingerprint
from surefoot.core._step import KEY_LENGTH, Rebuilt, Resources, Spec, Step, own_spec
from surefoot.core._store import DamagedError, Store, StoredInputs, write_record

QUICK_SECONDS = 1.0
Status = Literal["made", "kept", "held", "failed", "stop"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything a worker needs to make one Step, as plain data: it travels through any engine.

    `specs` is the file that `write_specs` wrote for the run. `known_failure` is the stamp of the failure that this try
    is to better; one recorded since stands. With `died` the Step is not made but recorded as failed: no worker outlived
    it.
    """

    key: str
    specs: str
    root: str
    import_paths: tuple[str, ...] = ()
    commit: str = ""
    expired_lease: int | None = None
    known_failure: int | None = None
    died: str = ""
    resources: Resources = field(default_factory=Resources)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a job ended: its status, wall seconds, and the error's text when it failed or when all must stop."""

    status: Status
    seconds: float = 0.0
    error: str = ""


class StoppedError(SystemExit):
    """This worker was told to end: it passes through `make`, whose work is removed and whose lease is freed."""


def write_specs(path: Path, steps: Iterable[Step]) -> None:
    """Write the Steps of a run into one file, a line each: jobs name a key in it, so that no graph travels twice."""
    with path.open("w", encoding="utf-8") as stream:
        stream.writelines(f"{step.key} {json.dumps(own_spec(step))}\n" for step in steps)


@lru_cache(maxsize=4)
def _specs(path: str) -> Rebuilt:
    """The Steps of a run, each rebuilt when this process first needs it."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SurefootError("The run that asked for this Step has ended: run again.") from error
    lines = {line[:KEY_LENGTH]: line[KEY_LENGTH:] for line in text.split("\n")}
    return Rebuilt(lambda key: json.loads(lines[key]))


def execute(job: Job) -> Outcome:
    """Make one Step and publish it; safe to call twice, from anywhere, at once.

    The outcome is `stop` when no other Step could be made either: the disk is full, the store cannot be written, or
    the code of the Step is not here. Errors travel as text, since engines treat exceptions in different ways.
    """
    sys.path.extend(path for path in job.import_paths if path not in sys.path)
    store = Store(Path(job.root))
    try:
        step = _specs(job.specs)[job.key]
        final = store.path(step)
        with ExitStack() as stack:
            with store_is_writable(store.root):
                make_directory(final.parent)
                held = stack.enter_context(lease(_beside(final, "lease"), expired=job.expired_lease))
            if store.has(step):
                return Outcome(status="kept")
            failed = _failure_since(_beside(final, "failed.json"), job.known_failure)
            return failed or _make(step, store, held, job)
    except HeldError:
        return Outcome(status="held")
    except SurefootError as error:
        return Outcome(status="stop", error=str(error))


def resume_directory(out: Path) -> Path:
    """A directory that outlives a killed try of the Step that is made in `out`: keep checkpoints there.

    It is created when asked for, and deleted when the Step is published. Write each file in it with one rename; or
    append whole records to a log with fsync, and drop a last one that was cut short when you read it.
    """
    path = out.parent / "resume"
    path.mkdir(exist_ok=True)
    return path


def report_progress(out: Path, done: float, total: float, **values: float) -> None:
    """Say how far the Step made in `out` is; `values` (such as loss) are shown beside the bar."""
    numbers = {name: float(value) for name, value in values.items()}
    text = json.dumps({"done": float(done), "total": float(total), "values": numbers})
    temporary = out.parent / "progress.json.tmp"
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(out.parent / "progress.json")


def _make(step: Step, store: Store, held: Lease, job: Job) -> Outcome:
    final = store.path(step)
    out = _beside(final, "part") / held.token
    clock = _Clock.start()
    try:
        with store_is_writable(store.root):
            _empty_work_directory(out)
            _beside(final, "failed.json").unlink(missing_ok=True)
        if job.died:
            raise SurefootError(job.died)
        measurements = _measured(step, out, StoredInputs(store, Path(job.specs)))
        provenance = clock.stop() | _origin(job, step)
        with full_disk_is_said(store.root):
            write_record(out, step, measurements, provenance)
            # A quick Step is left to the disk's own time. A power failure may undo or spoil it: what is spoiled has
            # another size or digest than its record says, and is made again.
            if lasting := provenance["wall_seconds"] >= QUICK_SECONDS:
                sync_tree(out)
        with held.kept():
            publish(out, final, lasting=lasting)
        shutil.rmtree(out.parent, ignore_errors=True)
        return Outcome(status="made", seconds=provenance["wall_seconds"])
    except (HeldError, StoreError, StoppedError):
        raise
    except DamagedError as error:  # nothing is wrong with this Step: it is tried again by the next run
        return Outcome(status="failed", error=str(error))
    except (Exception, SystemExit) as error:
        return _record_failure(error, held, step, final, clock.stop() | _origin(job, step))
    finally:
        _clear(out)


def _failure_since(path: Path, known: int | None) -> Outcome | None:
    """What another runner recorded since this one looked: it need not be found a second time."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return None if path.stat().st_mtime_ns == known else Outcome(status="failed", error=record["error"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # none, or a damaged one: try
        return None


def _empty_work_directory(out: Path) -> None:
    """`<key>.part/<token>`; what an earlier maker left is removed (it is dead, or lost its lease), but for `resume`."""
    out.parent.mkdir(exist_ok=True)
    for left in out.parent.iterdir():
        if left.is_file():
            left.unlink()
        elif left.name != "resume":
            shutil.rmtree(left, ignore_errors=True)
    out.mkdir()


def _clear(out: Path) -> None:
    """Remove unfinished work, and the directory around it unless checkpoints lie there."""
    shutil.rmtree(out, ignore_errors=True)
    with suppress(OSError):
        (out.parent / "progress.json").unlink(missing_ok=True)
        out.parent.rmdir()


def _measured(step: Step, out: Path, inputs: StoredInputs) -> tuple[Measurement, ...]:
    with full_disk_is_said(inputs.store.root):
        try:
            measured = step.make(out, inputs)
            measurements = [measured] if measured is None else list(measured)
        except ModuleNotFoundError as error:
            raise missing_module(str(error.name)) from error
    if strange := [item for item in measurements if not isinstance(item, Measurement)]:
        raise SurefootError(f"{step.kind}.make must return Measurements (or an empty tuple), got {strange[0]!r:.100}.")
    return tuple(measurements)


def _record_failure(error: BaseException, held: Lease, step: Step, final: Path, provenance: Spec) -> Outcome:
    trace = "".join(traceback.format_exception(error))
    text = str(error) if isinstance(error, SurefootError) else f"{type(error).__name__}: {error}"
    record = {"error": text, "trace": trace, "step": own_spec(step), "provenance": provenance}
    with held.kept(), store_is_writable(final.parent):
        write_text(_beside(final, "failed.json"), json.dumps(record, indent=1))
    return Outcome(status="failed", seconds=provenance["wall_seconds"], error=text)


def _beside(final: Path, suffix: str) -> Path:
    return final.with_name(f"{final.name}.{suffix}")


@dataclass(frozen=True)
class _Clock:
    started: str
    wall: float
    cpu: float

    @classmethod
    def start(cls) -> "_Clock":
        _reset_peak_memory()
        return cls(datetime.now(UTC).isoformat(timespec="milliseconds"), time.perf_counter(), _cpu_seconds())

    def stop(self) -> Spec:
        return {
            "started": self.started,
            "ended": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "wall_seconds": round(time.perf_counter() - self.wall, 4),
            "cpu_seconds": round(_cpu_seconds() - self.cpu, 4),
            "peak_memory_bytes": _peak_memory(),
        }


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _reset_peak_memory() -> None:
    """Ask Linux to count the peak from here, so that it is this Step's and not an earlier one's."""
    with suppress(OSError):  # no /proc here (macOS), or a container that may not write in it
        Path("/proc/self/clear_refs").write_text("5")


def _peak_memory() -> int:
    """Bytes; since `_reset_peak_memory` on Linux, else since the process began."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _origin(job: Job, step: Step) -> Spec:
    source = source_fingerprint(type(step))
    origin = {"commit": job.commit, "source": source, "cost": step.cost}
    return origin | {"machine": _machine_description(), "packages": _packages()}


def _packages() -> dict[str, Any]:
    return _packages_of(len(sys.modules))


@lru_cache(maxsize=1)
def _packages_of(loaded_modules: int) -> dict[str, Any]:
    # A copy is taken at once; a list of the items could meet an import in another thread.
    modules = [(name, module) for name, module in sys.modules.copy().items() if "." not in name]
    loaded = {name: getattr(module, "__dict__", {}).get("__version__") for name, module in modules}
    return {name: version for name, version in sorted(loaded.items()) if isinstance(version, str)}


@cache
def _machine_description() -> dict[str, Any]:
    return {
        "name": platform.node(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def current_commit() -> str:
    """The commit of the working directory, '+changes' when files differ from it, or '' outside a repository."""
    command = ["git", "--no-optional-locks", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
    try:
        described = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return described.stdout.strip() if described.returncode == 0 else ""
