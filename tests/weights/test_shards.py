"""Output in shards, and parts computed by the workers of a pool: the same bytes, complete or not at all."""

import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from making import data, model, write
from safetensors.numpy import save_file

from surefoot.core import SurefootError
from surefoot.weights import (
    Checkpoint,
    MergePlan,
    TaskVector,
    apply,
    apply_grid,
    from_state,
    merge,
    open_checkpoint,
    state,
    verify,
)
from surefoot.weights._arithmetic import _plan
from surefoot.weights._output import _shards as shards


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return [write(tmp_path / f"{number}.safetensors", model(number, "BF16", size=4000)) for number in range(3)]


@pytest.fixture
def vector(paths: list[Path]) -> TaskVector:
    base, *tuned = map(open_checkpoint, paths)
    return 0.3 * sum(TaskVector(base, one) for one in tuned)


def test_shards_hold_the_tensors_of_one_file_with_an_index_as_hugging_face_writes_it(
    vector: TaskVector, tmp_path: Path
) -> None:
    whole = apply(vector, tmp_path / "whole.safetensors")
    report = apply(vector, tmp_path / "out", shard="100B")
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == len(data(whole.path)) and report.tensors == whole.tensors
    assert set(index["weight_map"]) == set(open_checkpoint(whole.path).tensors)
    files = sorted(path.name for path in (tmp_path / "out").glob("*.safetensors"))
    assert files == [f"model-{number + 1:05d}-of-{len(files):05d}.safetensors" for number in range(len(files))]
    assert len(files) > 1 and files == sorted(set(index["weight_map"].values()))
    assert b"".join(data(tmp_path / "out" / file) for file in files) == data(whole.path)
    parts, one = state(TaskVector(open_checkpoint(tmp_path / "out"))), state(TaskVector(open_checkpoint(whole.path)))
    assert all((parts[name] == one[name]).all() for name in one)
    assert report.inputs == whole.inputs and report.lost == pytest.approx(whole.lost)


def test_sharded_output_is_verified_shard_by_shard(vector: TaskVector, tmp_path: Path) -> None:
    apply(vector, tmp_path / "out", shard=100)
    assert verify(tmp_path / "out").holds
    first, second = sorted((tmp_path / "out").glob("*.safetensors"))[:2]
    assert verify(second).holds
    content = bytearray(first.read_bytes())
    content[-3] ^= 1
    first.write_bytes(content)
    assert verify(tmp_path / "out").differing == 1


def test_a_grid_is_written_in_shards_in_one_reading(vector: TaskVector, tmp_path: Path) -> None:
    apply_grid(vector, {0.5: tmp_path / "half", 1.0: tmp_path / "one"}, shard="1KB")
    for coefficient, name in ((0.5, "half"), (1.0, "one")):
        alone = apply(vector, tmp_path / "alone.safetensors", coefficient).path
        files = sorted((tmp_path / name).glob("*.safetensors"))
        assert b"".join(map(data, files)) == data(alone)


def test_after_an_interruption_complete_shards_stay_and_no_index_is_there(
    vector: TaskVector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, written, original = tmp_path / "out", list[str](), shards.write
    apply(vector, tmp_path / "reference", shard=100)

    def failing(plan: MergePlan, paths: list[Path], **options: object) -> object:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(paths[0].name)
        return original(plan, paths, **options)  # pyright: ignore[reportArgumentType]

    with monkeypatch.context() as patch:
        patch.setattr(shards, "write", failing)
        with pytest.raises(KeyboardInterrupt):
            apply(vector, out, shard=100)
    assert len(list(out.glob("*.safetensors"))) == 2 and not (out / "model.safetensors.index.json").exists()
    monkeypatch.setattr(
        shards, "write", lambda plan, paths, **rest: written.append("") or original(plan, paths, **rest)
    )
    apply(vector, out, shard=100)
    files = sorted(path.name for path in out.glob("*.safetensors"))
    assert len(written) == len(files)  # none was computed twice
    for file in files:
        assert (out / file).read_bytes() == (tmp_path / "reference" / file).read_bytes()
    assert not list(out.glob("*.part")) and not list(out.glob("*.journal"))


@pytest.mark.parametrize("kind", ["adapter", "pickle", "memory"])
def test_what_was_begun_from_other_weights_in_memory_is_not_gone_on_with(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = open_checkpoint(
        write(tmp_path / "base.safetensors", {name: ("F32", np.zeros((5, 4))) for name in ("a.weight", "b.weight")})
    )

    def tuned(value: float) -> Checkpoint:
        ones = {f"{name}.lora_{one}.weight": np.ones(shape, np.float32) for name in "ab" for one, shape in FACTORS}
        if kind == "adapter":
            save_file({name: one * value for name, one in ones.items()}, tmp_path / "adapter_model.safetensors")
            (tmp_path / "adapter_config.json").write_text('{"r": 1, "lora_alpha": 1}')
            return open_checkpoint(tmp_path / "adapter_model.safetensors")
        full = {name: torch.full((5, 4), value**2) for name in base.tensors}
        torch.save(full, tmp_path / "tuned.pt")
        return from_state(full) if kind == "memory" else open_checkpoint(tmp_path / "tuned.pt", pickle=True)

    original = shards.write
    with monkeypatch.context() as patch:
        patch.setattr(
            shards, "write", lambda plan, paths, **rest: _killed_at(2, paths) or original(plan, paths, **rest)
        )
        with pytest.raises(KeyboardInterrupt):
            apply(TaskVector(base, tuned(1.0)), tmp_path / "out", shard=80)
    apply(TaskVector(base, tuned(2.0)), tmp_path / "out", shard=80)
    made = state(TaskVector(open_checkpoint(tmp_path / "out")))
    assert {name: set(one.flatten().tolist()) for name, one in made.items()} == {"a.weight": {4.0}, "b.weight": {4.0}}


FACTORS = (("A", (1, 4)), ("B", (5, 1)))


def _killed_at(number: int, paths: list[Path]) -> None:
    if f"-{number:05d}-of" in paths[0].name:
        raise KeyboardInterrupt


@pytest.mark.parametrize("size", ["", "0", "2XB", "-1", "many"])
def test_a_size_that_is_none_is_refused(size: str, vector: TaskVector, tmp_path: Path) -> None:
    with pytest.raises(SurefootError, match="size of a shard"):
        apply(vector, tmp_path / "out", shard=size)


def test_shards_and_a_single_file_are_never_mixed(vector: TaskVector, tmp_path: Path) -> None:
    with pytest.raises(SurefootError, match="into a folder"):
        apply(vector, tmp_path / "out.safetensors", shard="1KB")
    apply(vector, tmp_path / "one")
    with pytest.raises(SurefootError, match="from another checkpoint"):
        apply(vector, tmp_path / "one", shard="1KB")
    apply(vector, tmp_path / "many", shard="1KB")
    with pytest.raises(SurefootError, match="from another checkpoint"):
        apply(vector, tmp_path / "many")


@pytest.mark.parametrize("shard", [None, "1KB"])
def test_another_checkpoint_in_a_folder_is_never_replaced_and_the_same_edit_is(
    shard: str | None, vector: TaskVector, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    path = apply(vector, out, shard=shard).path
    before = {one.name: one.read_bytes() for one in out.iterdir()}
    for other, coefficient in ((0.5 * vector, 1.0), (vector, 0.4)):
        with pytest.raises(SurefootError, match=f"{path.name} is there from another checkpoint: remove it, or name"):
            apply(other, out, coefficient, shard=shard)
    assert apply(vector, out, shard=shard).path == path
    assert {one.name: one.read_bytes() for one in out.iterdir()} == before
    path.with_name(f"{path.name}.recipe.json").unlink()  # as after a kill between the two
    apply(vector, out, shard=shard)
    for name in ("adapter_model.safetensors", "open_clip_model.safetensors", "pytorch_model.bin"):
        folder = tmp_path / Path(name).stem
        folder.mkdir()
        (folder / name).touch()
        with pytest.raises(SurefootError, match=f"{name} is there from another checkpoint"):
            apply(vector, folder, shard=shard)
    whole = bytes(100)
    path.write_bytes(whole)  # not ours, or damaged
    with pytest.raises(SurefootError, match="from another checkpoint"):
        apply(vector, out, shard=shard)
    assert path.read_bytes() == whole


def test_the_workers_of_a_pool_write_the_same_bytes(
    paths: list[Path], vector: TaskVector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_plan, "PART_BYTES", 500)
    ties = {
        "merge_method": "ties",
        "base_model": str(paths[0]),
        "parameters": {"density": 0.4, "weight": 0.5},
        "models": [{"model": str(path)} for path in paths[1:]],
    }
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        here = apply(vector, tmp_path / "here.safetensors").path.read_bytes()
        there = apply(vector, tmp_path / "there.safetensors", pool=pool).path.read_bytes()
        assert here == there
        assert merge(ties, tmp_path / "a.safetensors", pool=pool).path.read_bytes() == (
            merge(ties, tmp_path / "b.safetensors").path.read_bytes()
        )
        apply(vector, tmp_path / "sharded", shard=100, pool=pool)
    files = sorted((tmp_path / "sharded").glob("*.safetensors"))
    assert b"".join(map(data, files)) == data(tmp_path / "here.safetensors")


def test_a_mistake_in_a_worker_is_told_and_leaves_no_output(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / f"{index}.safetensors", {"w": ("F16", np.array([6e4, value]))})
        for index, value in enumerate((1.0, -6e4))
    ]
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(SurefootError, match="would be NaN or infinite"),
    ):
        apply(-4.0 * TaskVector(*map(open_checkpoint, paths)), tmp_path / "out.safetensors", pool=pool)
    assert not (tmp_path / "out.safetensors").exists()
