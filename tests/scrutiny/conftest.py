"""One scrutiny of a toy system, run once for all tests that read its bundle; `simulated` is a module beside them."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from surefoot.core import open_pool
from surefoot.scrutiny import run_scrutiny, write_plan

sys.path.insert(0, str(Path(__file__).parent))
CASE = Path(__file__).with_name("case.py")


@pytest.fixture(scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    bundle = tmp_path_factory.mktemp("scrutiny") / "toy.bundle"
    write_plan(CASE, bundle)
    with open_pool("here") as pool:
        findings = run_scrutiny(CASE, bundle, pool=pool)
    yield bundle, findings
