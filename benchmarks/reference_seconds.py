"""Write the reference costs of `plan`: processor seconds a unit of cost for each kind of Step in the given stores.

Run studies on a quiet machine with one worker, then: python benchmarks/reference_seconds.py STORE... The shipped table
is partly from a busy machine and set by hand to agree with the times that the tutorials tell; edits are from single
points of their search times the points of the studies: it waits for such a run.
The likely value is the mean, the range is from the tenth to the ninetieth percentile of what was made.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from surefoot.core import Artifact, Store, cost_of, from_spec
from surefoot.core import _plan as planning

TARGET = Path(planning.__file__).with_name("_reference_seconds.json")
LEAST_SECONDS = 1e-4


def main(stores: list[str]) -> None:
    """Measure, keep what these stores do not speak of, and write."""
    rates: dict[str, list[float]] = defaultdict(list)
    for artifact in (Artifact(path) for root in stores for path in Store(Path(root)).made().values()):
        seconds = max(artifact.provenance["cpu_seconds"], LEAST_SECONDS)
        step = from_spec(artifact.spec)
        if step.kind.startswith("surefoot."):
            rates[type(step).__name__].append(seconds / cost_of(step))
    kept = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.exists() else {}
    found = {name: [float(f"{value:.3g}") for value in _range(np.array(all_))] for name, all_ in rates.items()}
    lines = (f"  {json.dumps(name)}: {json.dumps(range_)}" for name, range_ in sorted((kept | found).items()))
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _range(rates: np.ndarray) -> tuple[float, float, float]:
    """The tenth percentile, the mean and the ninetieth; the mean is what a sum of many takes."""
    low, high = np.quantile(rates, (0.1, 0.9))
    return min(low, rates.mean()), rates.mean(), max(high, rates.mean())


if __name__ == "__main__":
    main(sys.argv[1:])
