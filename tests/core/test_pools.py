"""The engine decides where and how many at once; it can never change a result."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
from core_steps import Fragile, Number, Total, Wave

from surefoot.core import Resources, Step, Store, SurefootError, open_pool, run, walk

SMALL = Total(parts=(Wave(frequency=2.0),))
WAVES = tuple(Wave(frequency=0.1 * place) for place in range(1, 6))
STUDY = Total(parts=(Total(parts=WAVES), SMALL, Number(value=3)))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Every file of the study but for its provenance, made one Step after another in this process."""
    store = Store(tmp_path_factory.mktemp("reference"))
    with open_pool("here") as pool:
        assert {event.kind for event in run([STUDY], store, pool)} <= {"started", "made"}
    return content(store)


def content(store: Store) -> dict[str, bytes]:
    files = (path for path in store.root.rglob("*") if path.is_file() and path.name != ".guard")
    return {path.relative_to(store.root).as_posix(): without_provenance(path) for path in files}


def without_provenance(path: Path) -> bytes:
    """The bytes of a file; of a record those that do not say when and where it was made."""
    lines = path.read_bytes().splitlines(keepends=True)
    told = (b'{"format": 2, "sha256": ', b'"provenance": ')
    return b"".join(line for line in lines if path.name != "record.json" or not line.startswith(told))


def assert_same(name: str, workers: int, store: Store, reference: dict[str, bytes], study: Step = STUDY) -> None:
    with open_pool(name, workers) as pool:
        events = list(run([study, Fragile(way="raise")], store, pool))
    errors = [event.error for event in events if event.error]
    assert errors == ["ValueError: the kettle boiled over"]
    for path in store.failures().values():
        path.unlink()
        path.parent.joinpath(".guard").unlink()
        path.parent.rmdir()
    made = content(store)
    assert len([name for name in made if name.endswith("record.json")]) == len(walk([study]))
    assert made == {name: reference[name] for name in made}


@pytest.fixture
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Dask and submitit write beside the working directory."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    yield


@pytest.mark.parametrize(("name", "workers"), [("here", 1), ("processes", 1), ("processes", 3)])
def test_processes_and_threads_measure_the_same_to_the_byte(
    store: Store, reference: dict[str, bytes], name: str, workers: int
) -> None:
    assert_same(name, workers, store, reference)


def test_dask_measures_the_same_to_the_byte(
    store: Store, reference: dict[str, bytes], in_a_folder_of_its_own: None
) -> None:
    pytest.importorskip("distributed")
    assert_same("dask", 2, store, reference)


def test_ray_measures_the_same_to_the_byte(
    store: Store, reference: dict[str, bytes], in_a_folder_of_its_own: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    assert_same("ray", 2, store, reference)


def test_submitit_measures_the_same_to_the_byte(
    store: Store, reference: dict[str, bytes], in_a_folder_of_its_own: None
) -> None:
    """Without Slurm on the machine submitit starts each job as a process: the same adapter, the same files."""
    pytest.importorskip("submitit")
    assert_same("slurm", 8, store, reference, study=SMALL)


def test_a_script_that_begins_its_run_in_every_worker_is_told_once(store: Store, tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from core_steps import Number\n"
        "from pathlib import Path\n"
        "from surefoot.core import Store, open_pool, run\n"
        "with open_pool('processes', 2) as pool:\n"
        f"    list(run([Number(value=float(seed)) for seed in range(4)], Store(Path({str(store.root)!r})), pool))\n"
    )
    places = [str(Path(__file__).parent / "steps"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, env=environment)
    assert (ended.returncode, ended.stderr.count("Traceback")) == (1, 1)
    last = ended.stderr.splitlines()[-1]
    assert f"The script {script} begins its run again in every worker: put what it does under if __name__" in last


def test_an_unknown_pool_is_named_with_the_known_ones() -> None:
    message = r"no pool named 'moon'. Choose one of: processes, here, dask, ray, slurm"
    with pytest.raises(SurefootError, match=message), open_pool("moon"):
        pass


def test_an_engine_that_is_not_installed_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SurefootError, match=r"python -m pip install 'surefoot\[dask\]'"), open_pool("dask"):
        pass


def test_the_number_of_workers_and_the_order_never_change_a_key() -> None:
    keys = {step.key for step in walk([STUDY])}
    before = dict(os.environ)
    with open_pool("processes", 1):
        assert {step.key for step in walk(reversed(walk([STUDY])))} == keys
    os.environ.clear()
    os.environ.update(before)


def test_workers_compute_with_one_thread(store: Store) -> None:
    with open_pool("processes", 1) as pool:
        assert pool.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"
        assert pool.submit(os.getenv, "OPENBLAS_NUM_THREADS").result() == "1"


class Forgetful(Executor):
    """An engine with its own idea of what a dead worker is."""

    def submit(self, fn: object, /, *args: object, **kwargs: object) -> "Future[object]":  # type: ignore[override]
        future: Future[object] = Future()
        future.set_exception(RuntimeError("KilledWorker: the nanny gave up\nwith many\nlines"))
        return future


def test_whatever_an_engine_says_of_a_dead_worker_is_one_message(store: Store) -> None:
    step = Number(value=1.0)
    with pytest.raises(SurefootError, match=r"The pool failed .*the nanny gave up") as caught:
        list(run([step], store, Forgetful()))
    assert step.key in str(caught.value)
    assert "\n" not in str(caught.value)


class Doubling(Executor):
    """An engine that makes everything twice at once, as one does that lost sight of a worker."""

    def __init__(self, pool: Executor) -> None:
        self.pool = pool

    def submit(self, fn: object, /, *args: object, **kwargs: object) -> "Future[object]":  # type: ignore[override]
        self.pool.submit(fn, *args)  # type: ignore[arg-type]
        return self.pool.submit(fn, *args)  # type: ignore[arg-type]


def test_an_engine_that_does_a_job_twice_makes_the_step_once(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "log"
    steps: list[Step] = [Number(value=float(value), log=str(log)) for value in range(10)]
    with ThreadPoolExecutor(4) as pool:
        events = list(run(steps, store, Doubling(pool)))
    assert {event.kind for event in events} <= {"started", "made", "kept", "elsewhere"}
    assert sorted(log.read_text().split()) == [f"{value}.0" for value in range(10)]
    assert len(store.made()) == 10


# --- Slurm, by an executor that keeps what it was asked and loses what it is told to lose


class FakeJob:
    """Made when its result is asked for; it goes on for ever while its state is RUNNING."""

    def __init__(self, state: str, call: tuple[Callable[..., object], ...]) -> None:
        self.state, self.call, self.cancelled = state, call, False

    def done(self) -> bool:
        return self.state != "RUNNING"

    def cancel(self, check: bool = True) -> None:
        self.cancelled = True

    def result(self) -> object:
        if self.state != "COMPLETED":
            raise RuntimeError("Job has not produced any output")
        function, *arguments = self.call
        return function(*arguments)


class FakeCluster:
    """Stands for submitit's AutoExecutor; `states` are those of the jobs in the order of submission."""

    states: ClassVar[list[str]] = []
    asked: ClassVar[list[dict[str, object]]] = []
    arrays: ClassVar[list[int]] = []
    jobs: ClassVar[list[FakeJob]] = []
    refuses: ClassVar[str] = ""

    def __init__(self, folder: str) -> None:
        self.parameters: dict[str, object] = {}

    def update_parameters(self, **parameters: object) -> None:
        self.parameters |= parameters

    @contextmanager
    def batch(self) -> Iterator[None]:
        self.asked.append(dict(self.parameters))
        self.arrays.append(0)
        yield
        if self.refuses:
            raise OSError(self.refuses)

    def submit(self, *call: Callable[..., object]) -> FakeJob:
        self.arrays[-1] += 1
        self.jobs.append(FakeJob(self.states.pop(0) if self.states else "COMPLETED", call))
        return self.jobs[-1]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> type[FakeCluster]:
    submitit = pytest.importorskip("submitit")
    monkeypatch.setattr(submitit, "AutoExecutor", FakeCluster)
    monkeypatch.setattr("surefoot.core._pools._SLURM_TICK_SECONDS", 0.02)
    for name, value in (("states", []), ("asked", []), ("arrays", []), ("jobs", []), ("refuses", "")):
        monkeypatch.setattr(FakeCluster, name, value)
    return FakeCluster


def numbers(count: int) -> list[Step]:
    return [Number(value=float(value)) for value in range(count)]


def test_jobs_go_to_slurm_as_arrays_and_never_more_than_the_limit(store: Store, cluster: type[FakeCluster]) -> None:
    with open_pool("slurm", 8) as pool:
        kinds = Counter(event.kind for event in run(numbers(20), store, pool))
    assert kinds["made"] == 20
    assert sum(cluster.arrays) == 20
    assert max(cluster.arrays) == 8
    assert len(cluster.arrays) <= 5


def test_a_preempted_job_is_submitted_again_and_no_other_is_cancelled(store: Store, cluster: type[FakeCluster]) -> None:
    cluster.states += ["PREEMPTED", "COMPLETED", "NODE_FAIL", "COMPLETED", "PREEMPTED by higher"]
    with open_pool("slurm", 8) as pool:
        kinds = Counter(event.kind for event in run(numbers(4), store, pool))
    assert (kinds["made"], kinds["failed"]) == (4, 0)
    assert sum(cluster.arrays) == 4 + 3
    assert not any(job.cancelled for job in cluster.jobs)


def test_a_job_that_slurm_loses_again_and_again_is_given_up(store: Store, cluster: type[FakeCluster]) -> None:
    cluster.states += ["PREEMPTED"] * 10
    with pytest.raises(SurefootError, match="PREEMPTED"), open_pool("slurm") as pool:
        list(run(numbers(1), store, pool))
    assert sum(cluster.arrays) == 2 * 5  # the pool tries five times, and the runner asks the pool twice


def test_jobs_in_the_queue_are_cancelled_when_a_run_is_stopped(cluster: type[FakeCluster]) -> None:
    cluster.states += ["RUNNING"] * 2
    with pytest.raises(KeyboardInterrupt), open_pool("slurm") as pool:
        for _ in range(2):
            pool.submit(len, ())
        while len(cluster.jobs) < 2 or cluster.arrays != [2]:
            time.sleep(0.01)
        raise KeyboardInterrupt
    assert [job.cancelled for job in cluster.jobs] == [True, True]


def test_a_job_that_leaves_no_result_is_tried_again_then_the_pool_is_at_fault(
    store: Store, cluster: type[FakeCluster]
) -> None:
    cluster.states += ["OUT_OF_MEMORY"]
    with open_pool("slurm", 1) as pool:
        kinds = Counter(event.kind for event in run(numbers(2), store, pool))
    assert (kinds["made"], kinds["failed"]) == (2, 0)
    cluster.states += ["OUT_OF_MEMORY"] * 2
    with pytest.raises(SurefootError, match="OUT_OF_MEMORY"), open_pool("slurm", 1) as pool:
        list(run([Number(value=9.0)], store, pool))


def test_a_submission_that_fails_is_one_clear_error(store: Store, cluster: type[FakeCluster]) -> None:
    cluster.refuses = "sbatch: error: invalid partition specified: gpo"
    message = r"Slurm took no jobs .*invalid partition.* Check the settings"
    with pytest.raises(SurefootError, match=message), open_pool("slurm:gpo") as pool:
        list(run(numbers(3), store, pool))


def test_settings_and_hints_reach_slurm_and_no_key(
    store: Store, cluster: type[FakeCluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Wave(frequency=1.0).key
    monkeypatch.setattr(Wave, "resources", Resources(cores=4, gpus=1, memory_gb=32, hours=1.5))
    with open_pool("slurm:partition=long,account=ours,memory_gb=8,hours=48,cores=2") as pool:
        list(run([Number(value=1.0), Wave(frequency=1.0)], store, pool))
    plain, hinted = sorted(cluster.asked, key=lambda asked: asked["cpus_per_task"])  # type: ignore[arg-type,return-value]
    common = {"slurm_partition": "long", "slurm_account": "ours"}
    assert plain == {**common, "mem_gb": 8.0, "timeout_min": 2880, "cpus_per_task": 2}
    assert hinted == {**common, "mem_gb": 32, "timeout_min": 90, "cpus_per_task": 4, "gpus_per_node": 1}
    assert store.has(Wave(frequency=1.0))
    assert Wave(frequency=1.0).key == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("slurm:memory=8", "Settings are: partition, account"),
        ("slurm:gpu,hours=2", "Slurm cannot be asked for 'gpu,hours=2'"),
        ("slurm:hours=long", "setting hours of Slurm must be a number, got 'long'"),
    ],
)
def test_a_setting_of_slurm_that_is_none_is_named(cluster: type[FakeCluster], name: str, message: str) -> None:
    with pytest.raises(SurefootError, match=message), open_pool(name):
        pass


@pytest.mark.parametrize("workers", [0, -3])
def test_a_pool_without_workers_is_refused(workers: int) -> None:
    with pytest.raises(SurefootError, match=f"at least 1 worker, got {workers}"), open_pool("processes", workers):
        pass
