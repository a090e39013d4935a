"""What the tests of studies share: artifacts that are planted in a store instead of made."""

from collections.abc import Callable
from pathlib import Path

import pytest

from surefoot.core import Measurement, Step, Store, write_record


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
