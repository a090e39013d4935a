"""Making one Step, in whatever process the pool chose."""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

from surefoot.core._errors import SurefootError, missing_module
from surefoot.core._files import DiskFullError, file_digests, full_disk_is_said, publish, write_text
from surefoot.core._lease import HeldError, lease
from surefoot.core._measurement import Measurement, dump_measurements
from surefoot.core._plan import source_fingerprint
from surefoot.core._step import Spec, Step, from_spec
from surefoot.core._store import MEASUREMENTS, PROVENANCE, STEP, Inputs, Store

Status = Literal["made", "kept", "held", "failed"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything a worker needs to make one Step, as plain text: it travels through any engine."""

    spec: str
    root: str
    import_paths: tuple[str, ...] = ()
    commit: str = ""
    expired_lease: int | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a job ended: its status, wall seconds, and the error's text when it failed."""

    status: Status
    seconds: float = 0.0
    error: str = ""


def execute(job: Job) -> Outcome:
    """Make one Step and publish it; safe to call twice, from anywhere, at once. Raises `DiskFullError`."""
    sys.path.extend(path for path in job.import_paths if path not in sys.path)
    store = Store(Path(job.root))
    spec = json.loads(job.spec)
    step = from_spec(spec)
    final = store.path(step)
    with full_disk_is_said(store.root):
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            with lease(_beside(final, "lease"), expired=job.expired_lease) as token:
                return Outcome(status="kept") if store.has(step) else _make(step, spec, store, token, job)
        except HeldError:
            return Outcome(status="held")


def resume_directory(out: Path) -> Path:
    """A directory that outlives a killed try of the Step that is made in `out`: keep checkpoints there.

    It is created when asked for, and deleted when the Step is published. Write each file in it with one rename.
    """
    path = out.parent / "resume"
    path.mkdir(exist_ok=True)
    return path


def report_progress(out: Path, done: float, total: float, **values: float) -> None:
    """Say how far the Step made in `out` is; `values` (such as loss) are shown beside the bar."""
    text = json.dumps({"done": done, "total": total, "values": values})
    temporary = out.parent / "progress.json.tmp"
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(out.parent / "progress.json")


def _make(step: Step, spec: Spec, store: Store, token: str, job: Job) -> Outcome:
    final = store.path(step)
    out = _empty_work_directory(_beside(final, "part"), token)
    clock = _Clock.start()
    try:
        measurements = _measured(step, out, store)
        provenance = clock.stop() | _origin(job, step)
        _write_records(out, spec, measurements, provenance)
        publish(out, final)
        shutil.rmtree(out.parent)
        _beside(final, "failed.json").unlink(missing_ok=True)
        return Outcome(status="made", seconds=provenance["wall_seconds"])
    except DiskFullError:
        raise
    except Exception as error:
        return _record_failure(error, final, spec, clock.stop() | _origin(job, step))
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _empty_work_directory(part: Path, token: str) -> Path:
    """`<key>.part/<token>`; what an earlier maker left is removed (it is dead, or lost its lease), but for `resume`."""
    part.mkdir(exist_ok=True)
    for left in part.iterdir():
        if left.is_file():
            left.unlink()
        elif left.name != "resume":
            shutil.rmtree(left)
    (part / token).mkdir()
    return part / token


def _measured(step: Step, out: Path, store: Store) -> Iterable[Measurement]:
    with full_disk_is_said(store.root):
        try:
            return tuple(step.make(out, Inputs(store)))
        except ModuleNotFoundError as error:
            raise missing_module(str(error.name)) from error


def _write_records(out: Path, spec: Spec, measurements: Iterable[Measurement], provenance: Spec) -> None:
    taken = [name for name in (STEP, MEASUREMENTS, PROVENANCE) if (out / name).exists()]
    if taken:
        raise SurefootError(f"A Step may not write a file named {taken[0]}: the store keeps its own record there.")
    provenance["files"] = file_digests(out)
    (out / MEASUREMENTS).write_text(dump_measurements(measurements), encoding="utf-8")
    (out / PROVENANCE).write_text(json.dumps(provenance), encoding="utf-8")
    (out / STEP).write_text(json.dumps(spec, ensure_ascii=False), encoding="utf-8")


def _record_failure(error: Exception, final: Path, spec: Spec, provenance: Spec) -> Outcome:
    trace = "".join(traceback.format_exception(error))
    text = str(error) if isinstance(error, SurefootError) else f"{type(error).__name__}: {error}"
    record = {"error": text, "trace": trace, "spec": spec, "provenance": provenance}
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
    path = Path("/proc/self/clear_refs")
    if os.access(path, os.W_OK):
        path.write_text("5")


def _peak_memory() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _origin(job: Job, step: Step) -> Spec:
    source = source_fingerprint(type(step))
    return {
        "commit": job.commit,
        "source": source,
        "machine": _machine_description(),
        "packages": _packages(),
    }


def _packages() -> dict[str, Any]:
    """Versions of the packages that are loaded in this process."""
    loaded = {name: vars(module).get("__version__") for name, module in list(sys.modules.items()) if "." not in name}
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
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )


def current_commit() -> str:
    """The commit of the working directory, '+changes' when files differ from it, or '' outside a repository."""
    described = (
        subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"],
            capture_output=True,
            text=True,
            check=False,
        )
        if shutil.which("git")
        else None
    )
    return described.stdout.strip() if described and described.returncode == 0 else ""
