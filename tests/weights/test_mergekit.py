"""Merges against the numbers of mergekit 0.1.5, kept beside this file (see make_mergekit_outputs.py)."""

from pathlib import Path

import numpy as np
import pytest
from merging import CONFIGURATIONS, configuration, values, write_models
from safetensors.numpy import load_file

from surefoot.weights import merge, verify

EXPECTED = load_file(Path(__file__).with_name("mergekit_outputs.safetensors"))
# Both sides sum in 32 bits, in another order: the base plus changes here, weighted inputs over their sum or products
# with 32-bit sines there. The distance is then some units in the last place of the largest number that was added.
UNITS = {
    "linear": 2, "linear_sum": 1, "slerp": 4, "slerp_gradient": 3, "task_arithmetic": 2, "task_arithmetic_filtered": 2,
    "model_stock": 2, "nuslerp": 3, "nuslerp_base": 4, "slices": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_models(folder)
    return folder


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_merge_gives_the_numbers_of_mergekit(name: str, models: Path, tmp_path: Path) -> None:
    merge(configuration(name, models), tmp_path / "out.safetensors")
    mine = load_file(tmp_path / "out.safetensors")
    theirs = {key.partition("/")[2]: value for key, value in EXPECTED.items() if key.startswith(f"{name}/")}
    assert mine.keys() == theirs.keys()
    for tensor, value in theirs.items():
        if name not in UNITS:
            assert (mine[tensor] == value).all(), tensor
            continue
        added = np.abs(np.stack([value, *(values(model).get(tensor, value) for model in range(4))])).max(0)
        assert (np.abs(mine[tensor] - value) <= UNITS[name] * np.spacing(added)).all(), tensor
    assert verify(tmp_path / "out.safetensors").holds
