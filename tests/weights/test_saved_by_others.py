"""Checkpoints as trainers save them: states by key, names with what wrappers add, and weights that are not finite."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from surefoot.core import SurefootError
from surefoot.weights import TaskVector, from_state, merge, open_checkpoint, read_state
from surefoot.weights import state as state_of

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1.5], dtype=torch.bfloat16)}
EMA = {name: value + 1 for name, value in STATE.items()}
HALF = {name: value / 2 for name, value in STATE.items()}


def saved(folder: Path, content: Any, name: str = "model.pt") -> Path:
    torch.save(content, folder / name)
    return folder / name


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        torch.equal(found[name], expected[name]) and found[name].dtype == expected[name].dtype for name in found
    )


@pytest.mark.parametrize(
    ("content", "key", "expected"),
    [
        (STATE, None, STATE),
        ({"model": STATE}, None, STATE),
        ({"state_dict": STATE, "epoch": 3, "optimizer": {"state": {0: {"step": torch.tensor(1)}}}}, None, STATE),
        ({"state_dict": STATE, "args": Namespace(lr=0.1), "loss": torch.tensor(0.3)}, None, STATE),
        ({"model": STATE, "model_ema": EMA}, "model_ema", EMA),
        ({"generator": STATE}, None, STATE),
        ({"teacher": {"model": EMA}, "student": {"model": STATE}}, "teacher.model", EMA),
        ({"teacher.model": EMA, "student.model": STATE}, "teacher.model", EMA),
    ],
)
def test_a_state_is_found_by_its_key(content: Any, key: str | None, expected: Any, tmp_path: Path) -> None:
    assert same(read_state(saved(tmp_path, content), key=key), expected)


@pytest.mark.parametrize(
    ("content", "key", "message"),
    [
        ({"first": STATE, "second": EMA}, None, r"several states \(first, second\): name one by its key"),
        ({"state_dict": STATE, "model": EMA}, None, "several states"),
        ({"epoch": 3}, None, r"no tensors, only 'epoch'"),
        ({"model": STATE}, "ema", r"no state under the key 'ema'; it has 'model'"),
        ({"model": {**STATE, "note": "x"}}, None, r"'note' is not a tensor but str"),
        ([STATE], None, "a mapping from names to tensors, found list"),
    ],
)
def test_where_a_file_leaves_a_choice_it_is_left_to_the_user(
    content: Any, key: str | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(SurefootError, match=message):
        read_state(saved(tmp_path, content), key=key)


def test_a_file_says_which_state_was_taken_and_which_were_not(tmp_path: Path) -> None:
    file = saved(tmp_path, {"model": STATE, "model_ema": EMA})
    with pytest.warns(UserWarning, match="several states: model is taken, not model_ema. Name another by its key"):
        assert same(read_state(file), STATE)
    with pytest.warns(UserWarning, match="several states"):
        opened = open_checkpoint(file, pickle=True)
    assert opened.metadata == {"key": "model", "other keys": "model_ema"}
    save_file(STATE, tmp_path / "model.safetensors")
    with pytest.raises(SurefootError, match="hold states by key"):
        open_checkpoint(tmp_path / "model.safetensors", key="ema")


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_what_wrappers_add_to_names_is_taken_off(suffix: str, tmp_path: Path) -> None:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))

    plain = Net()
    wrapped = {
        "compiled": torch.compile(plain).state_dict(),
        "within": {name.replace("inner.", "inner._orig_mod."): one for name, one in plain.state_dict().items()},
        "parallel": {f"module.{name}": one for name, one in plain.state_dict().items()},
        "both": {f"_orig_mod.module.{name}": one for name, one in plain.state_dict().items()},
        "averaged": torch.optim.swa_utils.AveragedModel(plain).state_dict(),
    }
    assert "n_averaged" in wrapped["averaged"] and "_orig_mod.inner.0.bias" in wrapped["compiled"]
    for name, state in wrapped.items():
        file = tmp_path / f"{name}.{suffix}"
        held = {key: value.clone() for key, value in state.items()}
        save_file(held, file) if suffix == "safetensors" else torch.save(held, file)
        assert same(read_state(file), dict(plain.state_dict())), name
    mixed = {"module.a": torch.ones(1), "b": torch.ones(1)}
    assert read_state(saved(tmp_path, mixed)).keys() == mixed.keys()
    kept = read_state(tmp_path / f"parallel.{suffix}", rename={"module.inner.": "head."})
    assert "head.0.bias" in kept
    with pytest.raises(SurefootError, match="differ only by what a wrapper adds"):
        read_state(saved(tmp_path, {"a": torch.ones(1), "_orig_mod.a": torch.ones(1)}))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(value: float, tmp_path: Path) -> None:
    bad = {**STATE, "b": torch.tensor([value, 1.0, value], dtype=torch.float16)}
    file = saved(tmp_path, bad)
    with pytest.raises(SurefootError, match=r"2 weights in 1 tensors are NaN or infinite, first 2 of 'b'"):
        read_state(file)
    assert read_state(file, nonfinite="allow")["b"].dtype == torch.float16


def test_code_in_a_file_is_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    with pytest.raises(SurefootError, match="Not a file of plain tensors"):
        read_state(saved(tmp_path, {"model": STATE, "args": Trap()}))
    assert not (tmp_path / "sprung").exists()


def test_two_states_of_one_file_are_two_models(tmp_path: Path) -> None:
    """The base's file holds a tuned state, too; random masks of two states of one file are not the same."""
    states = {name: {"w": torch.full((400,), value)} for name, value in (("model", 0.0), ("ema", 10.0), ("best", 1.0))}
    torch.save(states, place := tmp_path / "run.pt")
    models = [{"model": str(place), "key": name, "parameters": {"weight": 1}} for name in ("ema", "best")]
    config = {"base_model": str(place), "key": "model", "pickle": True, "models": models}
    merged = load_file(merge({**config, "merge_method": "task_arithmetic"}, tmp_path / "out.safetensors").path)
    assert (merged["w"] == 11).all()
    dropped = {**config, "merge_method": "dare_linear", "parameters": {"density": 0.5}}
    values, counts = np.unique(
        load_file(merge(dropped, tmp_path / "out.safetensors").path)["w"].numpy(), return_counts=True
    )
    assert (
        values.tolist() == [0, 2, 20, 22] and counts.min() > 60
    )  # 100 each; both kept or none 200 where masks are one


def test_values_that_torch_only_views_as_negative_are_read_so() -> None:
    values = torch.conj(torch.complex(torch.arange(3.0), torch.arange(3.0)))
    held = from_state({"imaginary": values.imag, "whole": values})
    assert state_of(TaskVector(from_state({"imaginary": values.imag})))["imaginary"].tolist() == [0, -1, -2]
    assert np.frombuffer(held.tensors["whole"].data, np.complex64).tolist() == [0, 1 - 1j, 2 - 2j]  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_floats_of_eight_bits_are_read_and_their_nan_is_found(tmp_path: Path, dtype: torch.dtype) -> None:
    numbers = torch.tensor([0.5, -2.0, 16.0]).to(dtype)
    read = read_state(saved(tmp_path, {"w": numbers}))["w"]
    assert (read.dtype, read.tolist()) == (dtype, [0.5, -2.0, 16.0])
    numbers.view(torch.uint8)[1] = 0x7F
    with pytest.raises(SurefootError, match="1 weights in 1 tensors are NaN or infinite, first 1 of 'w'"):
        read_state(saved(tmp_path, {"w": numbers}))
