"""What the tests of studies share: artifacts that are planted in a store instead of made."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from surefoot.core import Measurement, Step, Store, write_record
from surefoot.examples import EXAMPLES, write_examples


@pytest.fixture(scope="session")
def answer() -> Callable[[Path, float, int], None]:
    """Write answers to 4,000 things of which this share is right; things are as hard for every model of a seed."""

    written: dict[tuple[int, int], bytes] = {}

    def plant(place: Path, share: float, seed: int) -> None:
        count = round(4000 * share)
        if (count, seed) not in written:
            order = np.random.default_rng(seed).permutation(4000)
            right = np.arange(4000) < count
            write_examples(place, {"example": [f"style:{thing:04X}" for thing in order], "score": right.astype(float)})
            written[count, seed] = (place / EXAMPLES).read_bytes()
        (place / EXAMPLES).write_bytes(written[count, seed])

    return plant


@pytest.fixture(scope="session")
def publish() -> Callable[[Store, Step, list[Measurement]], Path]:
    """Publish a Step with these measurements and no files; gives its directory."""

    def plant(store: Store, step: Step, measurements: list[Measurement]) -> Path:
        place = store.path(step)
        place.mkdir(parents=True, exist_ok=True)
        (place / "record.json").unlink(missing_ok=True)
        write_record(place, step, measurements)
        return place

    return plant
