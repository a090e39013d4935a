"""Places where Steps are made. Every pool is a `concurrent.futures.Executor`; none can change a result."""

import ctypes
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

from surefoot.core._errors import SurefootError, missing_module
from surefoot.core._worker import StoppedError

# One thread a worker: Steps side by side fill the cores, and the thread count can change a floating-point sum.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
ONE_THREAD: dict[str, str] = dict.fromkeys(THREAD_VARIABLES, "1")
_PATIENCE_SECONDS = 10.0  # for a worker that was told to end
_SLURM_MINUTES = 24 * 60


@contextmanager
def open_pool(name: str = "processes", workers: int | None = None) -> Iterator[Executor]:
    """A pool by name: 'processes', 'here' (this process, one Step after another), 'dask[:ADDRESS]', 'ray[:ADDRESS]' or
    'slurm[:PARTITION]'. `workers` defaults to the number of cores. Raises `SurefootError` for an unknown name.
    """
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
    """Worker processes on this machine, one thread each, forked from a clean server that holds no threads."""
    # The fork server starts at the first worker and keeps this environment for all of them.
    os.environ.update(ONE_THREAD)
    context = multiprocessing.get_context("forkserver")
    pool = ProcessPoolExecutor(workers or os.cpu_count(), mp_context=context, initializer=_begin_worker)
    return _Wrapping(lambda *call: pool.submit(_call_or_leave, *call), partial(_end_processes, pool))


def stop_at_once(pool: Executor) -> None:
    """Drop what waits and end what runs, so that leases are freed and no process stays behind."""
    pool.shutdown(wait=False, cancel_futures=True)


def _begin_worker() -> None:
    """Ctrl-C reaches the whole terminal; only the runner answers it, and ends its workers with SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    os.environ.update(ONE_THREAD)
    threading.Thread(target=_follow_parent, daemon=True, name="follow the runner").start()


def _leave(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the pool sends a second one, which would cut the cleaning short
    raise StoppedError(128 + number)


def _follow_parent() -> None:
    """A worker whose runner was killed would wait for work for ever: end with it."""
    runner = multiprocessing.parent_process()
    if runner:
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


def _end_processes(pool: ProcessPoolExecutor, wait: bool) -> None:
    running = list((pool._processes or {}).values())
    pool.shutdown(wait=wait, cancel_futures=not wait)
    if not wait:
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
        # A thread cannot be ended from outside; an exception in it is the nearest that Python has.
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(StoppedError))


def _dask_pool(address: str, workers: int | None) -> Executor:
    from distributed import Client

    local = {"n_workers": workers or os.cpu_count(), "threads_per_worker": 1, "dashboard_address": None}
    client = Client(address) if address else Client(**local)
    executor = client.get_executor(pure=False)

    def end(wait: bool) -> None:
        executor.shutdown(wait=wait)
        client.close()

    return _Wrapping(lambda *call: executor.submit(_call, *call), end)


def _ray_pool(address: str, workers: int | None) -> Executor:
    import ray

    ray.init(
        address=address or None,
        num_cpus=None if address else workers,
        include_dashboard=False,
        log_to_driver=False,
    )
    remote = ray.remote(_call)
    return _Wrapping(lambda *call: remote.remote(*call).future(), lambda wait: ray.shutdown())


def _slurm_pool(partition: str, workers: int | None) -> Executor:
    import submitit

    cluster = submitit.AutoExecutor(folder=".surefoot-slurm")
    place = {"slurm_partition": partition} if partition else {}
    cluster.update_parameters(cpus_per_task=1, timeout_min=_SLURM_MINUTES, **place)
    waiters = ThreadPoolExecutor(workers or 256)
    jobs: list[Any] = []

    def start(*call: Any) -> Future[Any]:
        jobs.append(cluster.submit(_call, *call))
        return waiters.submit(jobs[-1].result)

    def end(wait: bool) -> None:
        for job in [] if wait else jobs:
            job.cancel(check=False)
        waiters.shutdown(wait=wait, cancel_futures=not wait)

    return _Wrapping(start, end)


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
