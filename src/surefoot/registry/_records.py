"""Lists kept as JSON text, and whose work a directory holds."""

import json
from pathlib import Path
from typing import Any

CREDIT = "credit.json"


def write_json(path: Path, value: Any) -> None:
    """Write JSON text, one row of a list a line."""
    rows = [json.dumps(row, ensure_ascii=False) for row in value]
    path.write_text("[\n" + ",\n".join(rows) + "\n]\n" if rows else "[]\n", encoding="utf-8")


def read_json(path: Path) -> list[Any]:
    """Read what `write_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))
