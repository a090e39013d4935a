"""Places where Steps are made. Every pool is a `concurrent.futures.Executor`; none can change a result."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from surefoot.core._errors import SurefootError, missing_module

# One thread a worker: Steps side by side fill the cores, and the thread count can change a floating-point sum.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
ONE_THREAD: dict[str, str] = dict.fromkeys(THREAD_VARIABLES, "1")


@contextmanager
def open_pool(name: str = "processes", workers: int | None = None) -> Iterator[Executor]:
    """A pool by name: 'processes', 'here' (this process, one Step after another), 'dask[:ADDRESS]', 'ray[:ADDRESS]' or
    'slurm[:PARTITION]'. `workers` defaults to the number of cores. Raises `SurefootError` for an unknown name.
    """
    engine, _, address = name.partition(":")
    openers: dict[str, Callable[[], Any]] = {
        "processes": lambda: process_pool(workers),
        "here": lambda: ThreadPoolExecutor(max_workers=1),
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


def process_pool(workers: int | None = None) -> ProcessPoolExecutor:
    """Worker processes on this machine, one thread each, forked from a clean server that holds no threads."""
    # The fork server starts at the first worker and keeps this environment for all of them.
    os.environ.update(ONE_THREAD)
    context = multiprocessing.get_context("forkserver" if sys.platform != "win32" else "spawn")
    return ProcessPoolExecutor(workers or os.cpu_count(), mp_context=context, initializer=_begin_worker)


def stop_at_once(pool: Executor) -> None:
    """Drop what waits and end what runs: workers of this machine get SIGTERM, so that their leases are freed."""
    running = list((getattr(pool, "_processes", None) or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in running:
        process.terminate()
    for process in running:
        process.join(timeout=10)


def _begin_worker() -> None:
    """Ctrl-C reaches the whole terminal; only the runner answers it, and ends its workers with SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)


def _leave(number: int, frame: object) -> None:
    sys.exit(128 + number)


def _dask_pool(address: str, workers: int | None) -> Executor:
    from distributed import Client

    local = {"n_workers": workers or os.cpu_count(), "threads_per_worker": 1, "dashboard_address": None}
    client = Client(address) if address else Client(**local)
    return _Closing(client.get_executor(pure=False), client.close)


def _ray_pool(address: str, workers: int | None) -> Executor:
    import ray

    ray.init(
        address=address or None,
        num_cpus=None if address else workers,
        include_dashboard=False,
        log_to_driver=False,
    )
    remote = ray.remote(_call)
    return _Closing(_Submitting(lambda *call: remote.remote(*call).future()), ray.shutdown)


def _slurm_pool(partition: str, workers: int | None) -> Executor:
    import submitit

    executor = submitit.AutoExecutor(folder=".surefoot-slurm")
    executor.update_parameters(cpus_per_task=1, **({"slurm_partition": partition} if partition else {}))
    waiters = ThreadPoolExecutor(workers or 256)
    return _Closing(_Submitting(lambda *call: waiters.submit(executor.submit(_call, *call).result)), waiters.shutdown)


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    os.environ.update(ONE_THREAD)
    return function(*arguments)


class _Submitting(Executor):
    """An executor out of one function that starts a call and returns its future."""

    def __init__(self, start: Callable[..., Future[Any]]) -> None:
        self._start = start

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._start(fn, *args, **kwargs)


class _Closing(Executor):
    """An executor that closes the connection it was made with."""

    def __init__(self, inner: Executor, close: Callable[[], Any]) -> None:
        self._inner, self._close = inner, close

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._inner.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._inner.shutdown(wait=wait, cancel_futures=cancel_futures)
        self._close()
