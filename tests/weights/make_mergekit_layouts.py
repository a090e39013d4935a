"""Makes `mergekit_layouts.json`: names before and after the layers of each architecture that mergekit 0.1.5 describes.

Run it with the Python of an environment that has mergekit.
"""

import json
from pathlib import Path
from typing import Any

from mergekit.architecture import json_definitions


def main() -> None:
    """Ask mergekit's own definitions, with the prefixes that it gives modules, for one tensor of two layers."""
    found: dict[str, Any] = {}
    folder = Path(json_definitions.__file__).parents[1] / "_data" / "architectures"
    for file in sorted(folder.glob("*.json")):
        whole = json.loads(file.read_text())
        for module, part in (whole.get("modules") or {"": {"architecture": whole}}).items():
            shape = part["architecture"]
            prefix = part.get("weight_prefix") or ""
            prefix += "." if prefix and not prefix.endswith(".") else ""  # as whisper has it
            if not shape["layer_templates"]["weights"]:
                continue
            first = shape["layer_templates"]["weights"][0]["name"]
            layers = [f"{prefix}{first.replace('${layer_index}', str(index))}" for index in (0, 1)]
            found[f"{file.stem}{f' {module}' if module else ''}"] = {
                "before": [f"{prefix}{one['name']}" for one in shape["pre_weights"]],
                "after": [f"{prefix}{one['name'].replace('${num_layers}', '2')}" for one in shape["post_weights"]],
                "layers": layers,
            }
    place = Path(__file__).with_name("mergekit_layouts.json")
    place.write_text(json.dumps(found, indent=None, sort_keys=True, separators=(",", ":")) + "\n", "utf-8")


if __name__ == "__main__":
    main()
