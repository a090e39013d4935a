"""Makes `mergekit_outputs.safetensors`: what mergekit 0.1.5 gives for the configurations and models of `merging.py`.

Run it, without a network, with the Python of an environment that has mergekit and safetensors:
    HF_HUB_OFFLINE=1 python tests/weights/make_mergekit_outputs.py
"""

import sys
import tempfile
from pathlib import Path

from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions
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
            content = MergeConfiguration.model_validate(configuration(name, place))
            run_merge(content, str(place / name), MergeOptions(copy_tokenizer=False))
            made = load_file(place / name / "model.safetensors")
            outputs |= {f"{name}/{tensor}": value for tensor, value in made.items()}
    save_file(outputs, Path(__file__).with_name("mergekit_outputs.safetensors"))


if __name__ == "__main__":
    main()
