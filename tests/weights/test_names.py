"""Names of tensors: renamed in a configuration, kept where the base lacks them, refused where no file can hold them."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from surefoot.core import SurefootError
from surefoot.weights import EditRules, TaskVector, apply, from_state, merge, open_checkpoint, verify

ONE, TWO = np.full(3, 1.0, np.float32), np.full(3, 2.0, np.float32)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_file({"a.w": ONE, "b.w": ONE}, "base.safetensors")
    save_file({"net.a.w": TWO, "net.b.w": TWO}, "net.safetensors")
    save_file({"a.w": TWO, "b.w": TWO, "head.w": TWO, "steps": np.array([3])}, "more.safetensors")
    return tmp_path


def content(*models: str | dict[str, Any], **more: Any) -> dict[str, Any]:
    entries = [{"model": one} if isinstance(one, str) else one for one in models]
    weighted = [{"parameters": {"weight": 0.5}, **one} for one in entries]
    return {"merge_method": "task_arithmetic", "base_model": "base.safetensors", "models": weighted, **more}


def made(configuration: dict[str, Any]) -> dict[str, list[float]]:
    out = merge(configuration, "out.safetensors").path
    assert verify(out).holds
    return {name: value.tolist() for name, value in load_file(out).items()}


def test_prefixes_are_renamed_for_all_tuned_models_or_for_one(place: Path) -> None:
    expected = {"a.w": [1.5] * 3, "b.w": [1.5] * 3}
    assert made(content("net.safetensors", rename={"net.": ""})) == expected
    assert made(content({"model": "net.safetensors", "rename": {"net.": ""}})) == expected
    mixed = content({"model": "net.safetensors", "rename": {"net.": ""}}, "more.safetensors", extra="drop")
    assert made(mixed) == {name: [2.0] * 3 for name in expected}
    other = content("net.safetensors", {"model": "more.safetensors", "rename": {}}, rename={"net.": ""}, extra="drop")
    assert made(other) == {name: [2.0] * 3 for name in expected}
    for rename, message in (({"nat.": ""}, "No tensor begins with"), ({"net.": 1}, "key rename of"), (3, "key rename")):
        with pytest.raises(SurefootError, match=message):
            merge(content("net.safetensors", rename=rename), "out.safetensors")


def test_tensors_that_the_base_lacks_are_kept_as_they_are(place: Path) -> None:
    kept = made(content("more.safetensors", extra="keep"))
    assert kept == {"a.w": [1.5] * 3, "b.w": [1.5] * 3, "head.w": [2.0] * 3, "steps": [3]}
    base, more = map(open_checkpoint, ("base.safetensors", "more.safetensors"))
    out = apply(TaskVector(base, more), "out.safetensors", 0.5, rules=EditRules(extra="keep", dtype="BF16")).path
    assert open_checkpoint(out).tensors["head.w"].dtype == "BF16" and verify(out).holds
    assert open_checkpoint(out).tensors["steps"].dtype == "I64"
    filtered = apply(TaskVector(base, more).filter("a.*"), "out.safetensors", rules=EditRules(extra="keep")).path
    assert load_file(filtered).keys() == {"a.w", "b.w"}


def test_two_models_that_the_base_lacks_a_tensor_of_must_agree(place: Path) -> None:
    save_file({"a.w": TWO, "b.w": TWO, "head.w": TWO}, "same.safetensors")
    save_file({"a.w": TWO, "b.w": TWO, "head.w": ONE}, "other.safetensors")
    save_file({"a.w": TWO, "b.w": TWO, "head.w": TWO[:2]}, "short.safetensors")
    save_file({"a.w": TWO, "b.w": TWO, "head.w": TWO * np.nan}, "broken.safetensors")
    assert made(content("more.safetensors", "same.safetensors", extra="keep"))["head.w"] == [2.0] * 3
    for name in ("other", "short"):
        with pytest.raises(SurefootError, match=r"'head.w', which the base lacks, differs"):
            merge(content("more.safetensors", f"{name}.safetensors", extra="keep"), "out.safetensors")
    with pytest.raises(SurefootError, match=r"'head.w': 3 values would be NaN"):
        merge(content("broken.safetensors", extra="keep"), "out.safetensors")


def test_the_head_of_a_stack_is_kept_beside_its_layers(place: Path) -> None:
    layers = {f"layers.{number}.w": ONE for number in range(2)}
    save_file(layers, "one.safetensors")
    save_file({**layers, "head.w": TWO}, "two.safetensors")
    slices = [{"sources": [{"model": f"{name}.safetensors", "layer_range": [0, 2]}]} for name in ("one", "two")]
    stack = {"merge_method": "passthrough", "slices": slices}
    assert made({**stack, "extra": "keep"}).keys() == {*(f"layers.{number}.w" for number in range(4)), "head.w"}
    with pytest.raises(SurefootError, match="or keep them as they are with extra: keep"):
        merge(stack, "out.safetensors")


def test_a_state_is_named_by_its_key_in_a_configuration(place: Path) -> None:
    states = {
        "model": {"a.w": torch.ones(3), "b.w": torch.ones(3)},
        "ema": {"a.w": torch.ones(3), "b.w": torch.zeros(3)},
    }
    torch.save(states, "tuned.pt")
    entry = {"model": "tuned.pt", "key": "ema"}
    assert made(content(entry, pickle=True)) == {"a.w": [1.0] * 3, "b.w": [0.5] * 3}
    with pytest.warns(UserWarning, match="model is taken, not ema"):
        found = made(content("tuned.pt", pickle=True))
    assert found == {"a.w": [1.0] * 3, "b.w": [1.0] * 3}
    with pytest.raises(SurefootError, match="key names a state"):
        merge(content("tuned.pt", pickle=True, key=3), "out.safetensors")


@pytest.mark.parametrize("name", ["\ud800", "a\udfff.w", "__metadata__"])
def test_a_name_that_no_file_can_hold_is_refused(name: str, place: Path) -> None:
    with pytest.raises(SurefootError, match="Tensors are named by text"):
        from_state({name: ONE})
    with pytest.raises(SurefootError, match="Tensors are named by text"):
        from_state({"a": ONE}).renamed({"a": name})
    if name != "__metadata__":
        entry = {name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
        header = json.dumps(entry).encode()
        Path("odd.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
        with pytest.raises(SurefootError, match="holds half a character"):
            open_checkpoint("odd.safetensors")
