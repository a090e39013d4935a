"""Scaling laws: time and result of a five-parameter fit, side by side with two peers in one run.

    python benchmarks/laws.py [--skip-slow]

Peers: `chinchilla` 0.2.0 and `simple-scaling-laws` 0.2.0. The second needs Python 3.12: run this file with a Python
3.12 that has both peers, numpy and scipy, with `src` on PYTHONPATH (surefoot.stats needs no more). A peer that is not
installed is said to be missing. Times are CPU seconds of this process and its children; read them as ratios.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

from surefoot.stats import fit_law, intervals

TRUTH = {"alpha": 0.3473, "beta": 0.3672, "floor": 1.8172, "A": 477.84, "B": 2143.86}


def chinchilla_like(n: int = 240, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sizes, tokens and losses drawn from the published law with one percent of noise."""
    generator = np.random.default_rng(seed)
    size = np.exp(generator.uniform(np.log(5e7), np.log(1.6e10), n))
    data = np.exp(generator.uniform(np.log(1e9), np.log(3e11), n))
    loss = TRUTH["floor"] + TRUTH["A"] * size ** -TRUTH["alpha"] + TRUTH["B"] * data ** -TRUTH["beta"]
    return size, data, loss * np.exp(generator.normal(0, 0.01, n))


def cpu() -> float:
    """CPU seconds of this process and its finished children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def timed(name: str, work: Callable[[], str]) -> float:
    """Run, print CPU and wall seconds with what came out, and return the CPU seconds."""
    start, wall = cpu(), time.perf_counter()
    result = work()
    spent = cpu() - start
    print(f"{name:58s} {spent:8.2f} s CPU {time.perf_counter() - wall:8.2f} s wall   {result}", flush=True)
    return spent


def ours(huber: float | None, method: str) -> str:
    """Five parameters with intervals."""
    size, data, loss = chinchilla_like()
    law = fit_law(np.column_stack([size, data]), loss, "two-variable", huber=huber)
    found = intervals(law, method=method)  # type: ignore[arg-type]
    return ", ".join(f"{name} {one}" for name, one in found.by_name.items())


def simple_scaling_laws() -> str:
    """The peer's separable power law with its own 1,000 bootstrap draws."""
    import polars as pl
    import simple_scaling_laws as peer

    size, data, loss = chinchilla_like()
    frame = pl.DataFrame(
        {
            "training_run_id": [f"run{i}" for i in range(len(size))],
            "model_size__params": size,
            "dataset_size__tokens": data,
            "test_loss__main": loss,
        }
    )
    model = peer.fit(frame, law="separable-power")
    return str(model).replace("\n", " ")[:160]


def chinchilla(starts: int) -> str:
    """The peer's grid of `starts` to the fifth BFGS starts, without intervals."""
    from chinchilla import Chinchilla

    size, data, loss = chinchilla_like()
    grid = {
        "E": np.linspace(1.0, 2.0, starts),
        "A": np.geomspace(100, 2000, starts),
        "B": np.geomspace(100, 5000, starts),
        "alpha": np.linspace(0.2, 0.6, starts),
        "beta": np.linspace(0.2, 0.6, starts),
    }
    with tempfile.TemporaryDirectory() as folder:
        peer = Chinchilla(folder, param_grid=grid, seed_ranges={"C": (1e18, 1e22), "N_to_D": (1, 100)}, log_level=40)
        for n, d, y in zip(size, data, loss, strict=True):
            peer.database.append(C=6 * n * d, N=n, D=d, loss=y)
        peer.fit(parallel=False)
        names = ("E", "A", "B", "alpha", "beta")
        return ", ".join(f"{name} {getattr(peer, name):.4g}" for name in names)


def bootstraps() -> None:
    """A thousand bootstraps of a power law over ten thousand points."""
    generator = np.random.default_rng(0)
    x = np.geomspace(1, 1e6, 10_000)
    y = 3 * x**-0.2 * np.exp(generator.normal(0, 0.1, 10_000))
    for method in ("pairs", "wild"):
        timed(
            f"power law, 10,000 points, 1,000 bootstraps ({method})",
            lambda method=method: str(intervals(fit_law(x, y), method=method).by_name["exponent"]),
        )


def main() -> None:
    """Print the table."""
    ours(None, "t")
    mine = timed("surefoot, five parameters, profile intervals", lambda: ours(None, "profile"))
    timed("surefoot, Huber 1e-3, 1,000 bootstraps of runs", lambda: ours(1e-3, "pairs"))
    timed("surefoot, 1,000 wild bootstraps", lambda: ours(None, "wild"))
    bootstraps()
    peers = [("simple_scaling_laws", "simple-scaling-laws 0.2.0, 1,000 draws", simple_scaling_laws)]
    if "--skip-slow" not in sys.argv:
        # Its own advice is a grid of 4 or more a parameter (4^5 = 1,024 starts): 32 times as long as this.
        peers.append(("chinchilla", "chinchilla 0.2.0, 2^5 starts, no intervals", lambda: chinchilla(2)))
    for module, name, work in peers:
        if find_spec(module) is None:
            print(f"{name}: not installed for Python {sys.version_info.major}.{sys.version_info.minor}")
            continue
        print(f"    ratio to surefoot: {timed(name, work) / mine:.1f}")


if __name__ == "__main__":
    main()
