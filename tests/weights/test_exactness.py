"""The bits of merged weights: exact at the ends, exactly rounded between them, and the same however they are made."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from making import bfloat16, data, model, write
from safetensors.numpy import load_file

from surefoot.core import SurefootError
from surefoot.weights import (
    EditRules,
    TaskVector,
    analogy,
    apply,
    apply_grid,
    from_state,
    mean,
    merge,
    open_checkpoint,
    plan_edit,
    state,
)
from surefoot.weights._arithmetic._random import keep_mask, random_bits, stream_key
from surefoot.weights._files._types import decode, encode
from surefoot.weights._output._writing import identity
from surefoot.weights._output._writing import write as write_plan

TYPES = ("F32", "F16", "BF16", "F64")


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return [write(tmp_path / f"{number}.safetensors", model(number, "BF16")) for number in range(4)]


@pytest.mark.parametrize("dtype", TYPES)
def test_interpolation_gives_the_bytes_of_both_ends(dtype: str, tmp_path: Path) -> None:
    special = np.array([0.0, -0.0, np.inf, -np.inf, 1e-40, -1.5, 3.0, 2.0, np.nan])
    ends = []
    for number in (0, 1):
        tensors = model(number, dtype)
        tensors["special"] = (
            dtype,
            special if number == 0 else np.array([-0.0, 0.0, np.inf, -np.inf, -1e-40, 7.0, 3.0, np.inf, 1.0]),
        )
        ends.append(write(tmp_path / f"end{number}.safetensors", tensors))
    base, tuned = map(open_checkpoint, ends)
    for alpha, end in zip((0.0, 1.0), ends, strict=True):
        out = apply(
            alpha * TaskVector(base, tuned), tmp_path / "out.safetensors", rules=EditRules(nonfinite="flag")
        ).path
        assert data(out) == data(end)


@pytest.mark.parametrize("coefficient", [0.3, -0.7, 1.0, 2.5])
@pytest.mark.parametrize("dtype", TYPES)
def test_frozen_elements_keep_their_bits_at_any_coefficient(dtype: str, coefficient: float, tmp_path: Path) -> None:
    # With an infinity beside them and without: where all is finite another part of the code keeps the sign of 0.
    for infinite in (-np.inf, -1.0):
        _keeps(np.array([0.0, -0.0, 1e-40, infinite, 0.3, 0.1]), dtype, coefficient, tmp_path)


def _keeps(frozen: np.ndarray, dtype: str, coefficient: float, tmp_path: Path) -> None:
    moved = frozen.copy()
    moved[-1] = 0.2
    paths = [
        write(tmp_path / f"{index}.safetensors", {"mask": (dtype, values)})
        for index, values in enumerate((frozen, moved, moved * [1, 1, 1, 1, 1, 1.5]))
    ]
    base, *tuned = map(open_checkpoint, paths)
    out = apply(coefficient * sum(TaskVector(base, one) for one in tuned), tmp_path / "out.safetensors").path
    width = len(data(out)) // 6
    assert data(out)[: 5 * width] == data(paths[0])[: 5 * width]
    assert data(out)[5 * width :] != data(paths[0])[5 * width :]


@pytest.mark.parametrize("dtype", TYPES)
def test_the_algebra_of_task_vectors_holds_bitwise(dtype: str, tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{number}.safetensors", model(number, dtype)) for number in range(4)]
    base, *tuned = map(open_checkpoint, paths)
    a, b, c = (TaskVector(base, one) for one in tuned)

    def bits(vector: TaskVector) -> bytes:
        return data(apply(vector, tmp_path / "out.safetensors").path)

    negated = -a
    assert bits(-negated) == bits(a)
    assert bits(a + b) == bits(b + a)
    assert bits(0.3 * a + 0.2 * b - c) == bits(-c + 0.2 * b + 0.3 * a)
    assert bits(analogy(a, a, c)) == bits(c)
    assert bits(a - a) == data(paths[0])
    assert bits(0.5 * (a + b)) == bits(0.5 * a + b / 2)


@pytest.mark.parametrize("dtype", TYPES)
def test_edits_are_exactly_rounded(dtype: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    scale = 1e-6 if dtype == "F16" else 1e-39  # the last third is of subnormal numbers
    size = np.concatenate([np.full(200, 0.02), np.full(200, 3.0), np.full(200, scale)])
    paths = [
        write(tmp_path / f"{index}.safetensors", {"w": (dtype, rng.standard_normal(600) * size)}) for index in range(3)
    ]
    exact = [state_64(path, dtype) for path in paths]
    base, *tuned = map(open_checkpoint, paths)
    edit = 0.25 * sum(TaskVector(base, one) for one in tuned)
    out = apply(edit, tmp_path / "out.safetensors", rules=EditRules(accumulate="float64")).path
    got, want = state_64(out, dtype), []
    for first, second, third in zip(*exact, strict=True):
        quarter = Fraction(second) / 4 + Fraction(third) / 4 - Fraction(first) / 2
        want.append(float(Fraction(first) + quarter))
    oracle = {
        "F64": np.array,
        "F32": lambda v: np.array(v).astype(np.float32).astype(float),
        "F16": lambda v: np.array(v).astype(np.float16).astype(float),
        "BF16": lambda v: (np.array([bfloat16(x) for x in v], np.uint32) << 16).view(np.float32).astype(float),
    }[dtype](want)
    off = np.abs(got - oracle)
    if dtype == "F64":  # sums of doubles in doubles: within two units of the largest number added
        assert (off <= 2 * np.spacing(np.abs(np.stack([*exact, oracle])).max(0))).all()
    else:
        assert np.mean(off > 0) <= 0.002


def state_64(path: Path, dtype: str) -> np.ndarray:
    return decode(np.frombuffer(data(path), np.uint8), dtype, np.empty(600, np.float64))


def test_rounding_goes_through_every_float16_and_bfloat16() -> None:
    patterns = np.arange(1 << 16, dtype=np.uint16)
    for dtype in ("F16", "BF16"):
        for accumulate in (np.float32, np.float64):
            values = decode(patterns.view(np.uint8), dtype, np.empty(patterns.size, accumulate))
            back = encode(values, dtype)[0].view(np.uint16)
            assert (back[~np.isnan(values)] == patterns[~np.isnan(values)]).all()
            assert np.isnan(decode(encode(values, dtype)[0], dtype, np.empty_like(values))[np.isnan(values)]).all()


@settings(max_examples=300, deadline=None)
@given(st.floats(allow_nan=False, width=64))
@example(1 + 2**-8 + 2**-40)  # just above half-way: 32 bits would round it to half-way first, and then down
@example(-(1 + 3 * 2**-8 - 2**-40))
def test_bfloat16_is_rounded_once(value: float) -> None:
    with np.errstate(over="ignore", under="ignore"):
        single = np.float32(value)
        expected = bfloat16(value) if np.isfinite(single) else int(single.view(np.uint32)) >> 16
        if np.isfinite(single) and abs(single) > 3.3961775292304957e38:
            return  # overflow to infinity is at the midpoint above the largest number; the oracle has no infinity
        assert int(encode(np.array([value]), "BF16")[0].view(np.uint16)[0]) == expected


CONFIGURATIONS = {
    "ties": {"merge_method": "ties", "parameters": {"density": 0.3}},
    "dare_ties": {"merge_method": "dare_ties", "parameters": {"density": 0.3}, "seed": 7},
    "dare_linear": {"merge_method": "dare_linear", "parameters": {"density": 0.6}, "seed": 7},
    "breadcrumbs": {"merge_method": "breadcrumbs", "parameters": {"density": 0.5, "gamma": 0.02}},
    "della": {"merge_method": "della", "parameters": {"density": 0.5, "epsilon": 0.2}, "seed": 7},
    "task_arithmetic": {"merge_method": "task_arithmetic"},
}


def configuration(name: str, paths: list[Path]) -> dict[str, object]:
    models = [{"model": str(path), "parameters": {"weight": 0.4}} for path in paths[1:]]
    return {"base_model": str(paths[0]), "models": models, **CONFIGURATIONS[name]}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_bits_do_not_depend_on_chunks_threads_or_the_order_of_models(
    name: str, paths: list[Path], tmp_path: Path
) -> None:
    from surefoot.weights import plan_merge

    plan = plan_merge(configuration(name, paths))[0]
    seen = set()
    for number, (chunk, threads) in enumerate(((1 << 15, 1), (37, 3), (64, 2))):
        out = tmp_path / f"out{number}.safetensors"
        write_plan(replace(plan, chunk=chunk), [out], threads=threads)
        seen.add(data(out))
    assert len(seen) == 1
    if name != "task_arithmetic":  # three terms in another order round differently; two do not, and masks never do
        swapped = merge(configuration(name, [paths[0], paths[2], paths[1]]), tmp_path / "swapped.safetensors").path
        straight = merge(configuration(name, paths[:3]), tmp_path / "straight.safetensors").path
        assert data(swapped) == data(straight)


def test_bits_do_not_depend_on_shards(paths: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "sharded"
    folder.mkdir()
    tensors = model(1, "BF16")
    places = {name: f"part{index % 2}.safetensors" for index, name in enumerate(tensors)}
    for file in set(places.values()):
        write(folder / file, {name: tensors[name] for name in tensors if places[name] == file})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    base = open_checkpoint(paths[0])
    whole = apply(0.3 * TaskVector(base, open_checkpoint(paths[1])), tmp_path / "a.safetensors")
    parts = apply(0.3 * TaskVector(base, open_checkpoint(folder)), tmp_path / "b.safetensors")
    assert data(whole.path) == data(parts.path)
    assert whole.inputs[str(paths[1])] == parts.inputs[str(folder / "model.safetensors.index.json")]


def test_a_grid_of_coefficients_gives_the_files_that_each_would_give_alone(paths: list[Path], tmp_path: Path) -> None:
    base, *tuned = map(open_checkpoint, paths)
    vector = sum(TaskVector(base, one) for one in tuned)
    grid = {step / 20: tmp_path / f"grid{step}.safetensors" for step in range(21)}
    for coefficient, report in zip(grid, apply_grid(vector, grid), strict=True):
        alone = apply(vector, tmp_path / "alone.safetensors", coefficient).path
        folded = apply(coefficient * vector, tmp_path / "folded.safetensors").path
        assert alone.read_bytes()[8:] != b"" and data(alone) == data(report.path) == data(folded)


def test_memory_and_disk_give_the_same_numbers(paths: list[Path], tmp_path: Path) -> None:
    base, tuned, *_ = map(open_checkpoint, paths)
    vector = 0.3 * TaskVector(base, tuned)
    written = open_checkpoint(apply(vector, tmp_path / "out.safetensors").path)
    again = state(TaskVector(written, terms=()))
    for name, values in state(vector).items():
        assert (values == again[name]).all()


def test_the_average_of_many_is_within_the_rounding_of_its_type() -> None:
    rng = np.random.default_rng(0)
    members = [{"w": rng.standard_normal(2000).astype(np.float32)} for _ in range(72)]
    average = state(mean([from_state(one) for one in members]))["w"]
    exact = np.mean([one["w"].astype(np.float64) for one in members], axis=0)
    assert np.abs(average - exact).max() < 20 * np.finfo(np.float32).eps
    same = state(mean([from_state(members[0], label=str(number)) for number in range(72)]))["w"]
    assert (same == members[0]["w"]).all()


def test_workers_that_share_nothing_are_averaged_as_one_outer_step_of_diloco() -> None:
    rng = np.random.default_rng(1)
    start = {"w": rng.standard_normal(100)}
    workers = [{"w": start["w"] + 0.1 * rng.standard_normal(100)} for _ in range(4)]
    local = state(mean([from_state(one, label=str(number)) for number, one in enumerate(workers)]))["w"]
    outer_gradient = start["w"] - np.mean([one["w"] for one in workers], axis=0)
    assert np.allclose(local, start["w"] - 1.0 * outer_gradient, rtol=0, atol=1e-15)
    alone = state(mean([from_state(workers[0])]))["w"]
    assert (alone == workers[0]["w"]).all()


def test_random_masks_are_uniform_independent_and_addressed_by_index() -> None:
    key = stream_key(3, "layer.weight", "model")
    whole = random_bits(key, 0, 200_000)
    assert (random_bits(key, 777, 1000) == whole[777:1777]).all()
    far = (1 << 32) - 500
    assert (random_bits(key, far, 1000)[500:] == random_bits(key, 1 << 32, 500)).all()
    counts = np.bincount(whole >> 24, minlength=256)
    assert ((counts - whole.size / 256) ** 2 / (whole.size / 256)).sum() < 340  # chi-square, 255 degrees: p > 0.0003
    other = random_bits(stream_key(3, "layer.weight", "other"), 0, 200_000)
    assert abs(np.corrcoef(whole, other)[0, 1]) < 0.01
    assert abs(np.corrcoef(whole[1:], whole[:-1])[0, 1]) < 0.01
    assert abs(keep_mask(key, 0, 200_000, 0.3).mean() - 0.3) < 0.005


def test_dare_keeps_the_expected_change(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    base = rng.standard_normal(40_000)
    paths = [write(tmp_path / "0.safetensors", {"w": ("F32", base)})]
    paths.append(write(tmp_path / "1.safetensors", {"w": ("F32", base + 0.1)}))
    config = {**configuration("dare_linear", paths), "parameters": {"density": 0.25, "weight": 1.0}}
    config["models"] = [{"model": str(paths[1])}]
    out = merge(config, tmp_path / "out.safetensors").path
    change = np.frombuffer(data(out), np.float32) - base
    kept = np.abs(change) > 1e-3
    assert abs(kept.mean() - 0.25) < 0.01
    assert np.allclose(change[kept], 0.4, atol=1e-5)


@pytest.mark.slow
def test_memory_is_flat_in_the_number_and_size_of_inputs(tmp_path: Path) -> None:
    def peak(count: int, size: int) -> int:
        paths = []
        for number in range(count + 1):
            path = tmp_path / f"{number}.safetensors"
            with path.open("wb") as file:  # a sparse file: zeros take no room and no time
                from surefoot.weights._files._safetensors import header_bytes

                file.write(header_bytes({"w": ("BF16", (size,))}, {}))
                file.truncate(file.tell() + 2 * size)
            paths.append(str(path))
        code = (
            "import resource, sys\nfrom surefoot.weights import *\n"
            "base, *tuned = map(open_checkpoint, sys.argv[1:])\n"
            "edit = 0.3 * sum(TaskVector(base, one) for one in tuned)\n"
            f"apply(edit, {str(tmp_path / 'out.safetensors')!r}, threads=2)\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
        return int(done.stdout)

    small = peak(2, 1 << 20)
    assert peak(2, 1 << 26) < small + 20_000  # KiB
    assert peak(12, 1 << 22) < small + 20_000


def test_a_killed_writer_leaves_no_output_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    paths = []
    for number in range(2):
        tensors = {
            f"w{index}": ("F32", np.random.default_rng([number, index]).standard_normal(400_000)) for index in range(8)
        }
        paths.append(write(tmp_path / f"{number}.safetensors", tensors))
    out, reference = tmp_path / "out.safetensors", tmp_path / "reference.safetensors"
    base, tuned = map(open_checkpoint, paths)
    apply(0.3 * TaskVector(base, tuned), reference)
    code = (
        "import sys, time\nfrom surefoot.weights import *\nfrom surefoot.weights._arithmetic import _plan\n"
        "_plan.PART_BYTES = 1 << 20\n"
        "base, tuned = map(open_checkpoint, sys.argv[1:3])\n"
        "apply(0.3 * TaskVector(base, tuned), sys.argv[3], threads=1, progress=lambda *_: time.sleep(0.3))"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(paths[0]), str(paths[1]), str(out)])
    journal = out.with_name(out.name + ".part.journal")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (journal.exists() and journal.read_text().count("\n") >= 3):
        time.sleep(0.05)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert not out.exists()
    done = journal.read_text().count("\n") - 1
    assert 0 < done < 8
    with pytest.MonkeyPatch.context() as patch:
        from surefoot.weights._arithmetic import _plan
        from surefoot.weights._output import _writing

        patch.setattr(_plan, "PART_BYTES", 1 << 20)
        computed = []
        original = _writing.compute
        patch.setattr(_writing, "compute", lambda *given: computed.append(1) or original(*given))
        apply(0.3 * TaskVector(base, tuned), out)
    assert len(computed) == 8 - done
    assert out.read_bytes() == reference.read_bytes()
    assert not journal.exists() and not out.with_name(out.name + ".part").exists()


def test_a_changed_input_starts_over_instead_of_mixing(paths: list[Path], tmp_path: Path) -> None:
    base, tuned, *_ = map(open_checkpoint, paths)
    out = tmp_path / "out.safetensors"
    plan = plan_edit(TaskVector(base, tuned))
    write_plan(plan, [out])
    size = out.stat().st_size
    journal = tmp_path / "out.safetensors.part.journal"
    journal.write_text("another key\n[0, []]\n")
    out.with_name("out.safetensors.part").write_bytes(b"\0" * size)  # all is as after a kill but for the key
    write_plan(plan, [out])
    assert data(out) == data(paths[1])
    key = identity(plan)
    assert identity(replace(plan, coefficients=(0.5,))) != key
    os.utime(paths[1], ns=(1, 1))
    assert identity(plan) != key
    stamp = paths[1].stat()
    key, content = identity(plan), paths[1].read_bytes()
    paths[1].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(paths[1], ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # as cp -p and rsync do
    assert identity(plan) != key


def test_fidelity_says_how_much_of_a_small_edit_bfloat16_loses(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base = (rng.standard_normal(100_000).astype(np.float32) * np.float32(0.02)).view(np.uint32) & 0xFFFF0000
    base = base.view(np.float32).astype(np.float64)
    tuned = base + rng.standard_normal(100_000) * 0.02 * 0.005
    paths = [write(tmp_path / f"{index}.safetensors", {"w": ("F32", one)}) for index, one in enumerate((base, tuned))]
    paths[0] = write(paths[0], {"w": ("BF16", base)})
    vector = 0.3 * TaskVector(*map(open_checkpoint, paths))
    report = apply(vector, tmp_path / "out.safetensors")
    assert 0.7 < report.lost < 1.0
    assert report.warnings and "lost when it was rounded" in report.warnings[0]
    kept = apply(vector, tmp_path / "wide.safetensors", rules=EditRules(dtype="F32"))
    assert kept.lost < 1e-3 and not kept.warnings
    assert kept.edit_norm == pytest.approx(np.linalg.norm(0.3 * (tuned - base)), rel=1e-3)


def test_a_result_that_is_not_finite_is_refused_or_flagged(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / f"{index}.safetensors", {"w": ("F16", np.array([6e4, value, 1.0]))})
        for index, value in enumerate((1.0, np.nan))
    ]
    vector = TaskVector(*map(open_checkpoint, paths))
    with pytest.raises(SurefootError, match="1 values would be NaN or infinite"):
        apply(vector, tmp_path / "out.safetensors", 0.4)
    assert not (tmp_path / "out.safetensors").exists()
    report = apply(vector, tmp_path / "out.safetensors", 0.4, rules=EditRules(nonfinite="flag"))
    assert report.nonfinite == 1 and "NaN" in report.warnings[0]


def test_a_full_disk_is_told_before_any_work(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    base, tuned, *_ = map(open_checkpoint, paths)
    with pytest.raises(SurefootError, match=r"No room for .* bytes: No space left"):
        apply(TaskVector(base, tuned), tmp_path / "out.safetensors")
    assert not list(tmp_path.glob("out*"))


def test_selection_of_a_threshold_is_exact_with_and_without_ties(monkeypatch: pytest.MonkeyPatch) -> None:
    from surefoot.weights._arithmetic import _selection
    from surefoot.weights._arithmetic._chunks import ChunkReader
    from surefoot.weights._files._checkpoint import Files

    rng = np.random.default_rng(0)
    for change in (rng.standard_normal(5000), rng.integers(-3, 4, 5000) * 0.5, np.zeros(5000), np.full(5000, -2.0)):
        base = from_state({"w": np.zeros(5000, np.float32)}).tensors["w"]
        tuned = from_state({"w": change.astype(np.float32)}).tensors["w"]
        inputs = ChunkReader(name="w", shape=(5000,), sources=(base, tuned), labels=("t",), files=Files(), chunk=700)
        ranks = [0, 1, 2499, 4998, 4999]
        expected = list(np.sort(np.abs(change.astype(np.float32)))[ranks])
        assert _selection.nth_magnitudes(inputs, [ranks]) == [expected]
        with monkeypatch.context() as patch:
            patch.setattr(_selection, "SMALL", 0)
            assert _selection.nth_magnitudes(inputs, [ranks]) == [expected]
            wide = replace(inputs, sources=(base, from_state({"w": change}).tensors["w"]), accumulate=np.float64)
            assert _selection.nth_magnitudes(wide, [ranks]) == [list(np.sort(np.abs(change))[ranks])]


@pytest.mark.parametrize("dtype", ["F64", "F32"])
@pytest.mark.parametrize("method", ["ties", "breadcrumbs"])
def test_in_64_bits_as_many_changes_are_kept_as_the_density_says(dtype: str, method: str, tmp_path: Path) -> None:
    # A threshold in 32 bits lies above the very change that it is, or below it, as it happens to be rounded.
    rng = np.random.default_rng(1)
    kind = {"F64": np.float64, "F32": np.float32}[dtype]
    base, tuned = ({str(row): rng.standard_normal(20).astype(kind) for row in range(12)} for _ in range(2))
    for name, values in (("base", base), ("tuned", tuned)):
        write(tmp_path / f"{name}.safetensors", {row: (dtype, array) for row, array in values.items()})
    options = {"weight": 1.0, "density": 0.25} | ({"gamma": 0.1} if method == "breadcrumbs" else {})
    model = {"model": str(tmp_path / "tuned.safetensors"), "parameters": options}
    base_model = str(tmp_path / "base.safetensors")
    told = {"merge_method": method, "base_model": base_model, "models": [model], "accumulate": "float64"}
    merge(told, tmp_path / "out")
    for row, values in load_file(next((tmp_path / "out").glob("*.safetensors"))).items():
        order = np.argsort(np.abs(tuned[row].astype(np.float64) - base[row]))
        kept = {"ties": order[-5:], "breadcrumbs": order[13:18]}[method]
        assert set(np.flatnonzero(values != base[row])) == set(kept)


def test_bfloat16_edits_are_off_the_exact_rounding_in_less_than_one_element_of_five_thousand(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    bits = (rng.standard_normal(400_000) * 0.02).astype(np.float32).view(np.uint32) & 0xFFFF0000
    base = bits.view(np.float32).astype(np.float64)
    values = [base, *(base + rng.standard_normal(base.size) * 0.002 for _ in range(3))]
    arrays = [(one.astype(np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32) for one in values]
    first, *tuned = (from_state({"w": one}, label=str(number)) for number, one in enumerate(arrays))
    out = apply(
        0.3 * sum(TaskVector(first, one) for one in tuned), tmp_path / "out.safetensors", rules=EditRules(dtype="BF16")
    ).path
    exact = arrays[0] + 0.3 * sum(one.astype(np.float64) - arrays[0] for one in arrays[1:])
    wanted = encode(exact, "BF16")[0].view(np.uint16)  # 64 bits rounded once: the test above compares it with fractions
    assert (np.frombuffer(data(out), np.uint16) != wanted).mean() < 0.0002


def test_della_keeps_by_the_rank_in_a_row_from_density_less_epsilon_to_density_plus_epsilon(tmp_path: Path) -> None:
    delta = np.tile([1.0, 3.0, 2.0], (4000, 1))
    for name, values in (("base", 0 * delta), ("tuned", delta)):
        write(tmp_path / f"{name}.safetensors", {"w": ("F32", values)})
    parameters = {"weight": 1, "density": 0.5, "epsilon": 0.4}
    models = [{"model": str(tmp_path / "tuned.safetensors")}]
    config = {"merge_method": "della_linear", "base_model": str(tmp_path / "base.safetensors"), "models": models}
    made = load_file(merge({**config, "parameters": parameters}, tmp_path / "out.safetensors").path)["w"]
    for column, share in ((0, 0.1), (1, 0.9), (2, 0.5)):
        kept = made[:, column][made[:, column] != 0]
        assert kept == pytest.approx(delta[0, column] / share)  # divided by its own probability
        assert len(kept) / 4000 == pytest.approx(share, abs=0.03)
