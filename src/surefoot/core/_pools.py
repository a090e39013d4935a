"""Places where Steps are made. Every pool is a `concurrent.futures.Executor`; none can change a result."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any

from surefoot.core._errors import SurefootError, missing_module
from surefoot.core._step import Resources
from surefoot.core._worker import Job, StoppedError

# One thread a worker: Steps side by side fill the cores, and the thread count can change a floating-point sum.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
ONE_THREAD: dict[str, str] = dict.fromkeys(THREAD_VARIABLES, "1")
_PATIENCE_SECONDS = 10.0  # for a worker that was told to end
_QUIET = "ignore:resource_tracker:UserWarning"  # what Python says when a runner is killed, with a line of its source
_UNGUARDED = 77  # how a worker ends in which the user's script begins a run
_SLURM_TICK_SECONDS = 0.5
_SLURM_JOBS, _SLURM_ARRAY = 256, 1000  # in the queue at once; in one array (Slurm's own limit is 1,001)
_SLURM_TRIES = 5  # for a job that Slurm itself lost
_SLURM_LOST = ("PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "REQUEUED", "REVOKED")
_SLURM_SETTINGS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "partition": ("slurm_partition", str),
    "account": ("slurm_account", str),
    "qos": ("slurm_qos", str),
    "constraint": ("slurm_constraint", str),
    "memory_gb": ("mem_gb", float),
    "hours": ("timeout_min", lambda text: round(60 * float(text))),
    "cores": ("cpus_per_task", int),
    "gpus": ("gpus_per_node", int),
}


@contextmanager
def open_pool(name: str = "processes", workers: int | None = None) -> Iterator[Executor]:
    """A pool by name: 'processes', 'here' (this process, one Step after another), 'dask[:ADDRESS]', 'ray[:ADDRESS]',
    'slurm[:PARTITION]' or 'slurm:partition=P,account=A,qos=Q,constraint=C,memory_gb=16,hours=2,cores=4,gpus=1'.

    `workers` is at least 1 and defaults to the number of cores; for Slurm it is how many jobs are in the queue at once
    (256). What a Step says of its `resources` goes before the settings of Slurm. Raises `SurefootError` for an unknown
    name or setting.
    """
    if workers is not None and workers < 1:
        raise SurefootError(f"A pool needs at least 1 worker, got {workers}.")
    engine, _, address = name.partition(":")
    openers: dict[str, Callable[[], Any]] = {
        "processes": lambda: process_pool(workers),
        "here": _thread_pool,
        "dask": lambda: _dask_pool(address, workers),
        "ray": lambda: _ray_pool(address, workers),
        "slurm": lambda: _slurm_pool(address, workers),
    }
    if engine not in openers:
        raise SurefootError(f"There is no pool named '{engine}'. Choose one of: {', '.join(openers)}.")
    try:
        pool = openers[engine]()
    except ModuleNotFoundError as error:
        raise missing_module(str(error.name)) from error
    try:
        yield pool
    except BaseException:
        stop_at_once(pool)
        raise
    pool.shutdown()


def process_pool(workers: int | None = None) -> Executor:
    """Worker processes on this machine, one thread each, forked from a clean server that holds no threads.

    A worker that dies takes only its own call with it (`BrokenExecutor`), and another takes its place.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(_UNGUARDED)  # a worker imports the user's script, which begins its run anew
    # The fork server starts at the first worker and keeps this environment for all of them.
    os.environ.update(ONE_THREAD)
    crew = _Crew(ThreadPoolExecutor(workers or os.cpu_count(), thread_name_prefix="surefoot worker"))
    return _Wrapping(lambda *call: crew.threads.submit(crew.call, *call), crew.end)


@dataclass
class _Crew:
    """A thread for each worker process: `ProcessPoolExecutor` with several would end all of them when one dies."""

    threads: ThreadPoolExecutor
    pools: dict[int, ProcessPoolExecutor] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    ended: bool = False

    def call(self, *call: Any) -> Any:
        mine = threading.get_ident()
        with self.lock:
            if self.ended:
                raise BrokenExecutor("the pool was ended")
            pool = self.pools.get(mine) or self.pools.setdefault(mine, _one_worker())
            future = pool.submit(_call_or_leave, *call)
            processes = _processes(pool)
        try:
            return future.result()
        except BrokenExecutor as error:
            self.pools.pop(mine, None)
            raise BrokenExecutor(_how_it_ended(processes)) from error

    def end(self, wait: bool) -> None:
        if wait:
            self.threads.shutdown()
        with self.lock:
            self.ended = True
            pools = list(self.pools.values())
        self.threads.shutdown(wait=False, cancel_futures=True)
        running = [process for pool in pools for process in _processes(pool)]
        managers: list[Any] = [pool._executor_manager_thread for pool in pools]
        for pool in pools:
            pool.shutdown(wait=wait, cancel_futures=True)
        if not wait:
            _end_processes(running)
            for manager in filter(None, managers):  # Python's own exit would wake what it is closing
                manager.join(_PATIENCE_SECONDS)


def _one_worker() -> ProcessPoolExecutor:
    if _QUIET not in sys.warnoptions:
        sys.warnoptions.append(_QUIET)
    context = multiprocessing.get_context("forkserver")
    return ProcessPoolExecutor(1, mp_context=context, initializer=_call_or_leave, initargs=(_begin_worker,))


def _processes(pool: ProcessPoolExecutor) -> list[BaseProcess]:
    return list((pool._processes or {}).values())


def _how_it_ended(processes: Sequence[BaseProcess]) -> str:
    for process in processes:
        process.join(_PATIENCE_SECONDS)
    code = next((process.exitcode for process in processes if process.exitcode is not None), None)
    if code == _UNGUARDED:
        raise SurefootError(
            f"The script {getattr(sys.modules['__main__'], '__file__', '')} begins its run again in every worker: put "
            "what it does under if __name__ == '__main__':, or take the pool 'here', which has no workers."
        ) from None
    if code is None or code >= 0:
        return f"it ended itself with exit code {code}"
    why = " (out of memory, or by hand)" if -code == signal.SIGKILL else ""
    return f"killed by {signal.Signals(-code).name}{why}"


def stop_at_once(pool: Executor) -> None:
    """Drop what waits and end what runs, so that leases are freed and no process stays behind."""
    pool.shutdown(wait=False, cancel_futures=True)


def _begin_worker() -> None:
    """Ctrl-C reaches the whole terminal; only the runner answers it, and ends its workers with SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    os.environ.update(ONE_THREAD)
    warnings.showwarning = _say_warning
    threading.Thread(target=_follow_parent, daemon=True, name="follow the runner").start()


def _say_warning(message: Warning | str, *_: object, **__: object) -> None:
    """As the command says its own: a sentence, not a line of source."""
    text = " ".join(str(message).split())
    print("surefoot: warning:", "".join(one if one.isprintable() else "\ufffd" for one in text), file=sys.stderr)


def _leave(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the pool sends a second one, which would cut the cleaning short
    raise StoppedError(128 + number)


def _follow_parent() -> None:
    """A worker whose runner was killed would wait for work for ever: end with it."""
    if runner := multiprocessing.parent_process():
        runner.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_PATIENCE_SECONDS)
        os._exit(1)


def _call_or_leave(function: Callable[..., Any], *arguments: Any) -> Any:
    """A pool's worker hands every exception to the runner and takes the next call: told to end, it must end."""
    try:
        return function(*arguments)
    except StoppedError as order:
        os._exit(order.args[0])


def _end_processes(running: Sequence[BaseProcess]) -> None:
    for process in running:
        process.terminate()
    deadline = time.monotonic() + _PATIENCE_SECONDS
    for process in running:
        process.join(timeout=max(0.0, deadline - time.monotonic()))
        process.kill()


def _thread_pool() -> Executor:
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="surefoot")
    return _Wrapping(pool.submit, partial(_end_threads, pool))


def _end_threads(pool: ThreadPoolExecutor, wait: bool) -> None:
    pool.shutdown(wait=wait, cancel_futures=not wait)
    for thread in () if wait else pool._threads:
        thread.join(timeout=0.2)  # one without work ends by itself, and would print what is raised in it
        # A thread cannot be ended from outside; an exception in it is the nearest that Python has.
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(StoppedError))


def _dask_pool(address: str, workers: int | None) -> Executor:
    from distributed import Client

    # A free port of this machine: without an address every cluster asks for 8787, and the second one is warned.
    local = {"n_workers": workers or os.cpu_count(), "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    client = Client(address) if address else Client(**local)
    executor = client.get_executor(pure=False)

    def end(wait: bool) -> None:
        executor.shutdown(wait=wait)
        client.close()

    return _Wrapping(lambda *call: executor.submit(_call, *call), end)


def _ray_pool(address: str, workers: int | None) -> Executor:
    import ray

    ray.init(
        address=address or None, num_cpus=None if address else workers, include_dashboard=False, log_to_driver=False
    )
    remote = ray.remote(_call)
    return _Wrapping(lambda *call: remote.remote(*call).future(), lambda wait: ray.shutdown())


def _slurm_pool(address: str, workers: int | None) -> Executor:
    import submitit

    settings = {"hours": "24", "cores": "1"} | _slurm_settings(address)
    cluster = _Slurm(submitit.AutoExecutor(folder=".surefoot-slurm"), settings, workers or _SLURM_JOBS)
    watcher = threading.Thread(target=cluster.watch, daemon=True, name="watch Slurm")
    watcher.start()

    def end(wait: bool) -> None:
        cluster.ending = "when all is done" if wait else "at once"
        watcher.join()

    return _Wrapping(cluster.start, end)


def _slurm_settings(address: str) -> dict[str, str]:
    """'gpu' is a partition; 'partition=gpu,hours=2' are settings. They are tried here, before any work."""
    pairs = [part.partition("=") for part in address.split(",") if part]
    given = {name.strip(): value.strip() for name, is_pair, value in pairs if is_pair}
    if len(pairs) == 1 and not given:
        given = {"partition": pairs[0][0]}
    if len(given) != len(pairs) or set(given) - set(_SLURM_SETTINGS):
        raise SurefootError(f"Slurm cannot be asked for '{address}'. Settings are: {', '.join(_SLURM_SETTINGS)}.")
    for name, value in given.items():
        try:
            _SLURM_SETTINGS[name][1](value)
        except ValueError as error:
            raise SurefootError(f"The setting {name} of Slurm must be a number, got '{value}'.") from error
    return given


@dataclass
class _SlurmCall:
    """One call on its way: its future, the job that makes it now, and how often it was tried."""

    call: tuple[Any, ...]
    future: "Future[Any]" = field(default_factory=Future)
    job: Any = None
    tries: int = 0

    @property
    def resources(self) -> Resources:
        return next((part.resources for part in self.call if isinstance(part, Job)), Resources())


@dataclass
class _Slurm:
    """Calls become jobs, as arrays, never more than `limit` in the queue; one thread follows them all.

    A job that Slurm lost (preempted, its machine gone) is submitted again, whatever becomes of the others.
    """

    cluster: Any
    settings: dict[str, str]
    limit: int
    waiting: list[_SlurmCall] = field(default_factory=list)
    queued: list[_SlurmCall] = field(default_factory=list)
    ending: str = ""

    def start(self, *call: Any) -> "Future[Any]":
        one = _SlurmCall(call)
        one.future.set_running_or_notify_cancel()
        self.waiting.append(one)
        return one.future

    def watch(self) -> None:
        while not self.ending or (self.ending != "at once" and (self.waiting or self.queued)):
            time.sleep(_SLURM_TICK_SECONDS)  # calls that come together become one array
            self._submit()
            self._collect()
        for one in self.queued:
            one.job.cancel(check=False)

    def _submit(self) -> None:
        room = min(self.limit - len(self.queued), _SLURM_ARRAY)
        taken, self.waiting[:room] = self.waiting[:room], []
        alike: dict[Resources, list[_SlurmCall]] = defaultdict(list)
        for one in taken:
            alike[one.resources].append(one)
        for resources, calls in alike.items():
            try:
                self.cluster.update_parameters(**self._parameters(resources))
                with self.cluster.batch():
                    jobs = [self.cluster.submit(_call, *one.call) for one in calls]
            except Exception as error:  # submitit hands on whatever sbatch or the file system said
                said = SurefootError(f"Slurm took no jobs ({error!r:.300}). Check the settings of --pool slurm:...")
                for one in calls:
                    one.future.set_exception(said)
                continue
            for one, job in zip(calls, jobs, strict=True):
                one.job, one.tries = job, one.tries + 1
            self.queued += calls

    def _parameters(self, hint: Resources) -> dict[str, Any]:
        asked = {_SLURM_SETTINGS[name][0]: _SLURM_SETTINGS[name][1](text) for name, text in self.settings.items()}
        asked["cpus_per_task"] = max(asked["cpus_per_task"], hint.cores)
        if hint.gpus or asked.get("gpus_per_node"):
            asked["gpus_per_node"] = max(asked.get("gpus_per_node", 0), hint.gpus)
        if hint.memory_gb is not None:
            asked["mem_gb"] = hint.memory_gb
        if hint.hours is not None:
            asked["timeout_min"] = round(60 * hint.hours)
        return asked

    def _collect(self) -> None:
        for one in [one for one in self.queued if one.job.done()]:
            self.queued.remove(one)
            state = str(one.job.state)
            if state.startswith(_SLURM_LOST) and one.tries < _SLURM_TRIES:
                self.waiting.append(one)
                continue
            try:
                one.future.set_result(one.job.result())
            except Exception as error:  # the job's own, or submitit's for one that left no result
                one.future.set_exception(BrokenExecutor(f"Slurm ended its job: {state}, {error!r:.200}"))


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    os.environ.update(ONE_THREAD)
    return function(*arguments)


class _Wrapping(Executor):
    """An executor out of two functions: one starts a call and returns its future, one ends all (`wait` or at once)."""

    def __init__(self, start: Callable[..., Future[Any]], end: Callable[[bool], None]) -> None:
        self._start, self._end = start, end

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._start(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._end(wait)
