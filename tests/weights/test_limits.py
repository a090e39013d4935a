"""What other tests leave out: payloads, eight-bit floats, long soups, long headers, a disk that fills, two types."""

import errno
import json
import os
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from making import data, model, write
from safetensors.numpy import save_file

from surefoot.core import SurefootError
from surefoot.weights import (
    Checkpoint,
    EditRules,
    TaskVector,
    apply,
    from_state,
    mean,
    merge,
    open_checkpoint,
    plan_merge,
    state,
)
from surefoot.weights._arithmetic import _kernel as kernel
from surefoot.weights._files._checkpoint import Array
from surefoot.weights._files._types import encode

HALVES = {"BF16": (0x7FC1, 0xFFA5, 0x7F80, 0xFF80, 0x8000, 0x0001), "F16": (0x7E01, 0xFC33, 0x7C00, 0xFC00, 0x8000, 1)}


def checkpoint(label: str, dtype: str, bits: np.ndarray) -> Checkpoint:
    array = Array(dtype=dtype, shape=bits.shape, data=bits.view(np.uint8))
    return Checkpoint(label=label, tensors={"w": array})


@pytest.mark.parametrize("dtype", HALVES)
def test_payloads_infinities_and_signs_that_all_share_keep_their_bits_beside_others_that_move(
    dtype: str, tmp_path: Path
) -> None:
    shared = np.array(HALVES[dtype], np.uint16)
    moving = encode(np.linspace(-1, 1, 40), dtype)[0].view(np.uint16)
    base = checkpoint("base", dtype, np.concatenate([shared, moving]))
    tuned = checkpoint("tuned", dtype, np.concatenate([shared, moving[::-1]]))
    made = np.frombuffer(data(apply(0.5 * TaskVector(base, tuned), tmp_path / "out.safetensors").path), np.uint16)
    assert (made[: shared.size] == shared).all()
    assert (made[shared.size :] != moving).any()


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "I8", "U64", "BOOL"])
def test_types_without_arithmetic_pass_through_when_they_agree_and_are_refused_when_not(
    dtype: str, tmp_path: Path
) -> None:
    width = 8 if dtype == "U64" else 1
    bits = np.arange(16, dtype=np.uint8).reshape(-1, width).reshape(-1)
    array = Array(dtype=dtype, shape=(16 // width,), data=bits)
    other = Array(dtype=dtype, shape=(16 // width,), data=bits[::-1].copy())
    base, same, changed = (
        Checkpoint(label=label, tensors={"w": one}) for label, one in (("base", array), ("a", array), ("b", other))
    )
    assert data(apply(0.7 * TaskVector(base, same), tmp_path / "out.safetensors").path) == bits.tobytes()
    with pytest.raises(SurefootError, match="not a number to average"):
        apply(0.7 * TaskVector(base, changed), tmp_path / "out.safetensors")


def test_a_soup_of_seventy_two_has_no_more_than_the_error_of_its_rounding(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    start = rng.standard_normal(5000) * 0.02
    rounded = [encode(start + rng.standard_normal(5000) * 0.002, "BF16") for _ in range(72)]
    exact = np.mean([values.astype(np.float64) for _, values in rounded], axis=0)
    members = [checkpoint(str(number), "BF16", raw.view(np.uint16)) for number, (raw, _) in enumerate(rounded)]
    made = state(mean(members))["w"]
    floor = encode(exact, "BF16")[1]
    assert np.linalg.norm(made - exact) <= 1.0001 * np.linalg.norm(floor - exact)
    assert np.mean(made != floor) <= 0.0005


def test_a_header_of_a_hundred_thousand_tensors_is_read_and_an_endless_name_is_cut_in_the_message(
    tmp_path: Path,
) -> None:
    entries = {
        f"layers.{index}.w": {"dtype": "U8", "shape": [1], "data_offsets": [index, index + 1]}
        for index in range(100_000)
    }
    text = json.dumps(entries).encode()
    (tmp_path / "long.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * 100_000)
    assert len(open_checkpoint(tmp_path / "long.safetensors").tensors) == 100_000
    text = json.dumps({"w" * 5_000_000: {"dtype": "U8", "shape": [2], "data_offsets": [0, 1]}}).encode()
    (tmp_path / "bad.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"\0")
    with pytest.raises(SurefootError, match="is 2 bytes, not 1") as caught:
        open_checkpoint(tmp_path / "bad.safetensors")
    assert len(str(caught.value)) < 500


def test_a_disk_that_fills_while_it_is_written_leaves_no_output_and_the_next_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write(tmp_path / f"{number}.safetensors", model(number, "BF16")) for number in range(2)]
    vector = 0.3 * TaskVector(*map(open_checkpoint, paths))
    out, written = tmp_path / "out.safetensors", os.pwrite

    def full(descriptor: int, content: bytes, position: int) -> int:
        if position > 1000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written(descriptor, content[:100], position)  # a short write, as near the end of a disk

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(SurefootError, match="No space left on device; run again to go on from here"):
            apply(vector, out)
    assert not out.exists() and out.with_name("out.safetensors.part").exists()
    apply(vector, out)
    assert data(out) == data(apply(vector, tmp_path / "other.safetensors").path)


def test_infinities_that_inputs_of_two_types_share_stay(tmp_path: Path) -> None:
    base = from_state({"mask": np.array([0.0, -np.inf, 1.0], np.float32)}, label="base")
    tuned = checkpoint("tuned", "BF16", encode(np.array([0.5, -np.inf, 1.0]), "BF16")[0].view(np.uint16))
    renamed = Checkpoint(label="tuned", tensors={"mask": tuned.tensors["w"]})
    made = np.frombuffer(data(apply(0.5 * TaskVector(base, renamed), tmp_path / "out.safetensors").path), np.float32)
    assert made.tolist() == [0.25, -np.inf, 1.0]


def test_equal_bytes_of_two_types_are_not_taken_for_equal_numbers() -> None:
    bits = np.full(8, 0x3C00, np.uint16)  # 1 in F16, 0.0078125 in BF16
    made = state(0.5 * TaskVector(checkpoint("base", "F16", bits), checkpoint("tuned", "BF16", bits)))["w"]
    assert made.tolist() == [0.50390625] * 8


def half(values: list[float], label: str, dtype: type = np.float16) -> Checkpoint:
    return from_state({"w": np.array(values, dtype)}, label=label)


@pytest.mark.parametrize("alpha", [0.0, 0.9, 1.0])
def test_bytes_that_are_copied_are_checked_like_those_that_are_computed(alpha: float, tmp_path: Path) -> None:
    base, wide = half([1, 2, 3, 4], "base"), half([1, 2, 1e6, 5], "wide", np.float32)
    infinite, missing = half([1, 2, np.inf, 5], "infinite"), half([1, 2, np.nan, 5], "missing")
    out = tmp_path / "out.safetensors"
    for start, tuned, bad in ((base, wide, alpha > 0), (base, infinite, alpha > 0), (base, missing, alpha > 0),
                              (missing, base, alpha < 1), (missing, missing, False)):  # fmt: skip
        vector = TaskVector(start, from_state({"w": np.array(load_array(tuned))}, label="tuned"))
        if bad:
            with pytest.raises(SurefootError, match="1 values would be NaN or infinite"):
                apply(vector, out, alpha)
            assert apply(vector, out, alpha, rules=EditRules(nonfinite="flag")).nonfinite == 1
        else:
            assert apply(vector, out, alpha).nonfinite == 0


def load_array(one: Checkpoint) -> np.ndarray:
    tensor = one.tensors["w"]
    assert isinstance(tensor, Array)
    return tensor.data.view({"F16": np.float16, "F32": np.float32}[tensor.dtype])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    "method", [{"merge_method": "passthrough"}, {"merge_method": "linear", "parameters": {"weight": 1}}]
)
def test_one_model_that_is_not_finite_is_not_passed_on(value: float, method: dict[str, Any], tmp_path: Path) -> None:
    file = apply(TaskVector(half([1, value], "m")), tmp_path / "m.safetensors", rules=EditRules(nonfinite="flag")).path
    content = {**method, "models": [{"model": str(file)}]}
    with pytest.raises(SurefootError, match="1 values would be NaN or infinite"):
        merge(content, tmp_path / "out.safetensors")
    assert merge({**content, "nonfinite": "flag"}, tmp_path / "out.safetensors").nonfinite == 1


def test_the_end_of_an_arc_is_checked_and_reported(tmp_path: Path) -> None:
    for name, values in (("base", [1.0, 2, 3]), ("tuned", [1.0, 2, 7])):
        apply(TaskVector(half(values, name)), tmp_path / f"{name}.safetensors")
    models = [{"model": str(tmp_path / "base.safetensors")}, {"model": str(tmp_path / "tuned.safetensors")}]
    content = {"merge_method": "slerp", "base_model": models[0]["model"], "models": models}
    for t, norm in ((0, 0.0), (1, 4.0)):
        report = merge({**content, "parameters": {"t": t}}, tmp_path / "out.safetensors")
        assert report.edit_norm == norm and report.lost == 0


def test_the_report_of_a_patch_does_not_jump_at_its_ends(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal(5000).astype(np.float32)
    tuned = values + rng.standard_normal(5000).astype(np.float32) * np.float32(0.02)
    base, other = half(values.tolist(), "base"), half(tuned.tolist(), "tuned", np.float32)
    norm = np.linalg.norm(tuned.astype(np.float64) - load_array(base))
    reports = [apply(TaskVector(base, other), tmp_path / "out.safetensors", alpha) for alpha in (0.999, 1.0)]
    assert [report.edit_norm for report in reports] == pytest.approx([0.999 * norm, norm], rel=1e-4)
    assert 0 < reports[1].lost == pytest.approx(reports[0].lost, rel=0.1)
    same = apply(TaskVector(base, half(tuned.tolist(), "tuned")), tmp_path / "out.safetensors", 1.0)
    assert same.edit_norm == pytest.approx(norm, rel=1e-3) and same.lost == 0


@pytest.mark.parametrize("compiled", [True, False])
def test_a_report_measures_changes_of_any_size(compiled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Squares of 1e-24 and 1e20 are beyond 32 bits, and 32-bit floats at 1 hold no third of their last digit."""
    if not compiled:
        monkeypatch.setattr(kernel, "library", lambda: None)
    one, step = np.float32(1), np.float32(2**-23)
    for start, end, share, lost in ((0, 1e-24, 0.5, 0), (0, 1e20, 0.5, 0), (one, one + step, 0.3, 1)):
        base, tuned = (from_state({"w": np.full(3000, value, np.float32)}) for value in (start, end))
        report = apply(share * TaskVector(base, tuned), tmp_path / "out.safetensors")
        norm = share * (float(np.float32(end)) - float(start)) * 3000**0.5
        assert (report.edit_norm, report.lost) == pytest.approx((norm, lost), rel=1e-5, abs=1e-30 if norm < 1 else 1e-6)
        assert ("dtype F64" in "".join(report.warnings)) == bool(lost)
    base, tuned = (from_state({"w": torch.full((3000,), value).bfloat16()}) for value in (1e-24, 1.01e-24))
    report = apply(0.3 * TaskVector(base, tuned), tmp_path / "out.safetensors")
    assert report.lost == pytest.approx(1) and report.warnings  # less than half of the last digit


@pytest.mark.parametrize(
    ("method", "shape", "settings"),
    [
        ("linear", (1000, 1000), {"weight": 1}), ("task_arithmetic", (1000, 1000), {"weight": 1}),
        ("ties numpy", (2000, 2000), {"weight": 1, "density": 0.5}), ("slerp", (1000, 1000), {"t": 0.4}),
        ("sce", (2000, 2000), {"select_topk": 0.3}), ("arcee_fusion", (1500, 1500), {}),
        ("della", (2, 500_000), {"weight": 1, "density": 0.5}),
    ],
)  # fmt: skip
def test_a_merge_holds_no_more_than_its_plan_says(
    method: str, shape: tuple[int, ...], settings: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surefoot.weights._output._writing.calm_allocator", lambda: None)  # it holds nothing
    if "numpy" in method:
        monkeypatch.setattr(kernel, "library", lambda: None)
    names = ("base", "one") if method in ("arcee_fusion", "slerp") else ("base", "one", "two")
    for seed, name in enumerate(names):
        values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
        save_file({"w": values}, tmp_path / f"{name}.safetensors")
    models = [{"model": str(tmp_path / f"{name}.safetensors")} for name in names]
    content = {"merge_method": method.split(maxsplit=1)[0], "base_model": models[0]["model"], "models": models}
    content["parameters"] = settings
    bound = plan_merge(content)[0].memory_bound(1)
    tracemalloc.start()
    merge(content, tmp_path / "out.safetensors", threads=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= bound, (peak, bound)
    assert peak > bound / 12 or kernel.library() is None
