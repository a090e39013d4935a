"""Write the reference costs of `plan`: processor seconds a unit of cost for each kind of Step in the given stores.

Run studies on a quiet machine with one worker, then: python benchmarks/reference_seconds.py STORE... Kinds that these
stores do not speak of keep what they have; Steps that today's code cannot rebuild, or that nobody timed, are left out
and counted. The shipped table is partly from a busy machine and set by hand to agree with the times that the tutorials
tell; edits are from single points of their search times the points of the studies, reading and multihop from the first
Steps of their studies. The likely value is the mean, the range is from the tenth to the ninetieth percentile of what
was made, of fewer than four half as much again on each side.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from surefoot.core import Artifact, Store, SurefootError
from surefoot.core import _plan as planning

TARGET = Path(planning.__file__).with_name("_reference_seconds.json")
LEAST_SECONDS, IN_A_LINE = 1e-4, 9
ENOUGH, SPREAD = 4, 1.5


def main(stores: list[str]) -> None:
    """Measure, keep what these stores do not speak of, and write."""
    rates: dict[str, list[float]] = defaultdict(list)
    left_out = 0
    for store in (Store(Path(root)) for root in stores):
        steps = store.steps()
        for key, path in store.made().items():
            try:
                step, seconds = steps[key], Artifact(path).provenance["cpu_seconds"]
            except (SurefootError, KeyError):  # of other code, or put into the store by hand
                left_out += 1
                continue
            if step.kind.startswith("surefoot."):
                rates[type(step).__name__].append(max(seconds, LEAST_SECONDS) / step.cost)
    kept = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.exists() else {}
    found = {name: [float(f"{value:.3g}") for value in _range(np.array(all_))] for name, all_ in rates.items()}
    each = [f"{json.dumps(name)}: {json.dumps(range_)}" for name, range_ in sorted((kept | found).items())]
    lines = (", ".join(each[start : start + IN_A_LINE]) for start in range(0, len(each), IN_A_LINE))
    TARGET.write_text("{\n  " + ",\n  ".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{sum(map(len, rates.values()))} Steps of {len(rates)} kinds taken, {left_out} left out.")


def _range(rates: np.ndarray) -> tuple[float, float, float]:
    """The tenth percentile, the mean and the ninetieth; the mean is what a sum of many takes."""
    low, high = np.quantile(rates, (0.1, 0.9)) * ((1, 1) if len(rates) >= ENOUGH else (1 / SPREAD, SPREAD))
    return min(low, rates.mean()), rates.mean(), max(high, rates.mean())


if __name__ == "__main__":
    main(sys.argv[1:])
