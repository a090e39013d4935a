"""The packages that models, texts and facts of this wing come from, pinned in `packages.json`."""

import json
from pathlib import Path

from surefoot.registry import Package

_ROWS = json.loads(Path(__file__).with_name("packages.json").read_text(encoding="utf-8"))
PACKAGES: dict[str, Package] = {row["name"]: Package(**row) for row in _ROWS}
"""By name."""
