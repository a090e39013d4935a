"""Merges against the numbers of mergekit 0.1.5, kept beside this file (see make_mergekit_outputs.py)."""

from pathlib import Path

import numpy as np
import pytest
from merging import CONFIGURATIONS, configuration, values, write_models
from safetensors.numpy import load_file

from surefoot.core import SurefootError
from surefoot.weights import merge, verify

EXPECTED = load_file(Path(__file__).with_name("mergekit_outputs.safetensors"))
# Sums in another order: mergekit adds weighted tensors up and divides, or multiplies by sines of 32 bits; the distance
# is then a few units in the last place of the largest number that was added, not of the result.
OPERANDS = {name: np.abs(np.stack([values(model)[name] for model in range(4)])).max(0) for name in values(0)}


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
        unit = np.spacing(np.maximum(np.abs(value), OPERANDS[tensor].max() if "slerp" in name else OPERANDS.get(tensor)))
        off = np.abs(mine[tensor] - value) / unit
        assert off.max() <= 1.5, (tensor, off.max(), np.mean(off > 0))
    assert verify(tmp_path / "out.safetensors").holds
