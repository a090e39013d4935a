"""Makes `mergekit_outputs.safetensors`: what mergekit 0.1.5 gives for the configurations and models of `merging.py`.

Run it with the Python of an environment that has mergekit, PyYAML and safetensors:
    MERGEKIT_YAML=/path/to/mergekit-yaml python tests/weights/make_mergekit_outputs.py
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from safetensors.numpy import load_file, save_file

sys.path.insert(0, str(Path(__file__).parent))
from merging import CONFIGURATIONS, configuration, write_models


def main() -> None:
    """Run every configuration once, in 32-bit floats."""
    outputs = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_models(place)
        for name in CONFIGURATIONS:
            config = configuration(name, place)
            (place / "config.yml").write_text(yaml.safe_dump(config))
            command = [os.environ.get("MERGEKIT_YAML", "mergekit-yaml"), str(place / "config.yml"), str(place / name)]
            subprocess.run([*command, "--no-copy-tokenizer"], check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
            made = load_file(place / name / "model.safetensors")
            outputs |= {f"{name}/{tensor}": value for tensor, value in made.items()}
    save_file(outputs, Path(__file__).with_name("mergekit_outputs.safetensors"))


if __name__ == "__main__":
    main()
