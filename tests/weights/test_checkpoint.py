"""Opening checkpoints: real layouts, rules for keys and types, and files that mean harm."""

import json
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from making import data, model, write
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_torch
from safetensors.torch import save_file as save_torch

from surefoot.core import SurefootError
from surefoot.weights import (
    EditRules,
    TaskVector,
    apply,
    apply_to,
    from_state,
    open_checkpoint,
    state,
    statistics,
    values,
)


def raw_file(path: Path, header: Any, body: bytes = b"", *, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + body)
    return path


def entry(begin: int, end: int, *, dtype: str = "F32", shape: Any = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [(end - begin) // 4] if shape is None else shape, "data_offsets": [begin, end]}


HOSTILE = {
    "empty": (b"", b"", 0, "not valid JSON"),
    "huge header": ({}, b"", 1 << 62, "more than the limit"),
    "header past the end": ({}, b"", 5000, "truncated"),
    "not JSON": (b"{,}", b"", None, "not valid JSON"),
    "not UTF-8": (b"{\xff}", b"", None, "not valid JSON"),
    "a list": ([], b"", None, "not a JSON object"),
    "deeply nested": (b'{"a":' * 200_000, b"", None, "not valid JSON"),
    "a name twice": (b'{"a":1,"a":2}', b"", None, "a name appears twice"),
    "numbers in metadata": ({"__metadata__": {"a": 1}}, b"", None, "strings to strings"),
    "no offsets": ({"w": {"dtype": "F32", "shape": [1]}}, b"", None, "needs dtype, shape and data_offsets"),
    "unknown type": ({"w": entry(0, 4, dtype="F3")}, b"\0" * 4, None, "unknown type 'F3'"),
    "type is a list": ({"w": {**entry(0, 4), "dtype": ["F32"]}}, b"\0" * 4, None, "unknown type"),
    "negative shape": ({"w": entry(0, 4, shape=[-1, -1])}, b"\0" * 4, None, "whole numbers"),
    "true as shape": ({"w": entry(0, 4, shape=[True])}, b"\0" * 4, None, "whole numbers"),
    "fractional offset": ({"w": {**entry(0, 4), "data_offsets": [0, 4.0]}}, b"\0" * 4, None, "whole numbers"),
    "offsets reversed": ({"w": entry(4, 0, shape=[1])}, b"\0" * 4, None, "whole numbers"),
    "huge offsets": ({"w": entry(0, 1 << 70)}, b"\0" * 4, None, "truncated"),
    "shape that overflows": ({"w": entry(0, 4, shape=[1 << 62, 1 << 62])}, b"\0" * 4, None, "bytes, not 4"),
    "overlap": ({"a": entry(0, 8), "b": entry(4, 12)}, b"\0" * 12, None, "overlaps"),
    "hole": ({"a": entry(0, 4), "b": entry(8, 12)}, b"\0" * 12, None, "leaves a hole"),
    "starts late": ({"a": entry(4, 8)}, b"\0" * 8, None, "leaves a hole"),
    "truncated data": ({"a": entry(0, 400)}, b"\0" * 100, None, "truncated"),
    "trailing data": ({"a": entry(0, 4)}, b"\0" * 5, None, "the file has"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_header_is_refused_with_the_reason(kind: str, tmp_path: Path) -> None:
    header, body, length, message = HOSTILE[kind]
    with pytest.raises(SurefootError, match=message) as caught:
        open_checkpoint(raw_file(tmp_path / "bad.safetensors", header, body, length=length))
    assert len(str(caught.value)) < 500


def test_a_file_of_a_few_bytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"abc")
    with pytest.raises(SurefootError, match="too few"):
        open_checkpoint(tmp_path / "bad.safetensors")


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{number}.safetensors", model(number)) for number in range(2)]
    vector = TaskVector(*map(open_checkpoint, paths))
    paths[1].write_bytes(paths[1].read_bytes()[:-200])
    with pytest.raises(SurefootError, match="has been truncated"):
        apply(vector, tmp_path / "out.safetensors", 0.5)


def test_files_agree_with_the_reference_library_both_ways(tmp_path: Path) -> None:
    tensors = {
        "half": np.arange(6, dtype=np.float16).reshape(2, 3), "count": np.array(7), "flag": np.array([True, False]),
        "empty": np.zeros((0, 4), np.float32), "name \u00fc\"": np.ones((2, 1, 2)),
    }  # fmt: skip
    save_file(tensors, tmp_path / "in.safetensors", metadata={"format": "pt"})
    opened = open_checkpoint(tmp_path / "in.safetensors")
    assert {name: tensor.shape for name, tensor in opened.tensors.items()} == {
        name: value.shape for name, value in tensors.items()
    }
    out = load_file(apply(TaskVector(opened), tmp_path / "out.safetensors").path)
    assert all((out[name] == value).all() and out[name].dtype == value.dtype for name, value in tensors.items())


def test_pickles_are_opened_only_when_asked_and_only_as_plain_tensors(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "harm",))

    torch.save({"state_dict": {"module.w": torch.arange(4.0), "module.n": torch.tensor(3)}}, tmp_path / "good.pt")
    with pytest.raises(SurefootError, match="only when asked for"):
        open_checkpoint(tmp_path / "good.pt")
    assert set(open_checkpoint(tmp_path / "good.pt", pickle=True).tensors) == {"w", "n"}
    (tmp_path / "bad.pt").write_bytes(pickle.dumps(Harm()))
    with pytest.raises(SurefootError, match="nothing else is loaded"):
        open_checkpoint(tmp_path / "bad.pt", pickle=True)
    assert not (tmp_path / "harm").exists()
    torch.save({"epoch": 3, "w": torch.ones(2)}, tmp_path / "mixed.pt")
    with pytest.raises(SurefootError, match="'epoch' is not a tensor"):
        open_checkpoint(tmp_path / "mixed.pt", pickle=True)


def test_a_pickle_and_a_safetensors_file_of_one_model_merge_to_the_same_bits(tmp_path: Path) -> None:
    base = {"w": torch.randn(50, generator=torch.Generator().manual_seed(0)).bfloat16()}
    tuned = {"w": torch.randn(50, generator=torch.Generator().manual_seed(1)).bfloat16()}
    for name, tensors in (("base", base), ("tuned", tuned)):
        torch.save(tensors, tmp_path / f"{name}.pt")
        save_torch(tensors, tmp_path / f"{name}.safetensors")
    pickled = [open_checkpoint(tmp_path / f"{name}.pt", pickle=True) for name in ("base", "tuned")]
    plain = [open_checkpoint(tmp_path / f"{name}.safetensors") for name in ("base", "tuned")]
    outs = [apply(0.3 * TaskVector(*pair), tmp_path / "out.safetensors").path.read_bytes() for pair in (pickled, plain)]
    assert outs[0][-100:] == outs[1][-100:]


def test_shards_of_pickles_are_one_checkpoint(tmp_path: Path) -> None:
    values = {"a.w": torch.arange(6.0).reshape(2, 3), "b.w": torch.ones(4).bfloat16()}
    places = {"a.w": "pytorch_model-00001-of-00002.bin", "b.w": "pytorch_model-00002-of-00002.bin"}
    for name, file in places.items():
        torch.save({name: values[name]}, tmp_path / file)
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    with pytest.raises(SurefootError, match="opened only when asked for"):
        open_checkpoint(tmp_path)
    with pytest.raises(SurefootError, match="opened only when asked for"):
        open_checkpoint(tmp_path / "pytorch_model.bin.index.json")
    save_torch(values, tmp_path / "one.safetensors")
    out = apply(TaskVector(open_checkpoint(tmp_path, pickle=True)), tmp_path / "out.safetensors").path
    made, one = load_torch(out), load_torch(tmp_path / "one.safetensors")
    assert made.keys() == one.keys() and all(torch.equal(made[name], one[name]) for name in one)


def test_folders_are_found_by_what_they_hold(tmp_path: Path) -> None:
    for folder, file in (
        ("clip", "open_clip_model.safetensors"),
        ("face", "model.safetensors"),
        ("other", "x.safetensors"),
    ):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / file, model(0))
        assert "visual.a" in open_checkpoint(tmp_path / folder).tensors
    (tmp_path / "face" / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"visual.a": "part.safetensors"}})
    )
    with pytest.raises(SurefootError, match=r"Loaders differ in which they take, model.safetensors or .*; name one"):
        open_checkpoint(tmp_path / "face")
    places = dict.fromkeys(model(0), "model.safetensors")  # an index of this one file is no second checkpoint
    (tmp_path / "face" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    assert "visual.a" in open_checkpoint(tmp_path / "face").tensors
    write(tmp_path / "other" / "y.safetensors", model(0))
    with pytest.raises(SurefootError, match="Several checkpoints"):
        open_checkpoint(tmp_path / "other")
    (tmp_path / "pickled").mkdir()
    torch.save({"w": torch.ones(2)}, tmp_path / "pickled" / "open_clip_pytorch_model.bin")
    with pytest.raises(SurefootError, match="it has pickles"):
        open_checkpoint(tmp_path / "pickled")
    assert "w" in open_checkpoint(tmp_path / "pickled", pickle=True).tensors


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"w": "../outside.safetensors"}, "plain name"),
        ({"w": "part.safetensors", "v": "part.safetensors"}, "disagree, first about tensor 'v'"),
        ({}, "disagree|no tensors|disagree"),
        ([], "Not an index"),
    ],
)
def test_an_index_that_does_not_fit_its_shards_is_refused(weight_map: Any, message: str, tmp_path: Path) -> None:
    write(tmp_path / "part.safetensors", {"w": ("F32", np.ones(3))})
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    if weight_map == {}:
        assert not open_checkpoint(index).tensors
        return
    with pytest.raises(SurefootError, match=message):
        open_checkpoint(index)


def test_each_rule_for_keys_shapes_and_types_has_its_error(tmp_path: Path) -> None:
    base = open_checkpoint(write(tmp_path / "base.safetensors", model(0)))

    def tuned(change: dict[str, Any], drop: str = "") -> TaskVector:
        tensors = {**model(1), **change}
        tensors.pop(drop, None)
        return TaskVector(base, open_checkpoint(write(tmp_path / "tuned.safetensors", tensors)))

    out = tmp_path / "out.safetensors"
    with pytest.raises(SurefootError, match=r"lacks the tensor 'head'.*missing='base'"):
        apply(tuned({}, drop="head"), out)
    assert data(apply(tuned({}, drop="head"), out, rules=EditRules(missing="base")).path)
    with pytest.raises(SurefootError, match=r"1 tensors that .* lacks, first 'more'.*extra='drop'"):
        apply(tuned({"more": ("F32", np.ones(3))}), out)
    assert "more" not in load_file(apply(tuned({"more": ("F32", np.ones(3))}), out, rules=EditRules(extra="drop")).path)
    with pytest.raises(SurefootError, match=r"'visual.b' is \[8\], the base's is \[7\]"):
        apply(tuned({"visual.b": ("F32", np.ones(8))}), out)
    with pytest.raises(SurefootError, match=r"'visual.b' is I64, the base's is F32"):
        apply(tuned({"visual.b": ("I64", np.ones(7))}), out)
    with pytest.raises(SurefootError, match=r"'steps' \(I64\) differs.*integers='base'"):
        apply(tuned({"steps": ("I64", np.array([9, 9]))}), out)
    assert list(
        load_file(apply(tuned({"steps": ("I64", np.array([9, 9]))}), out, rules=EditRules(integers="base")).path)[
            "steps"
        ]
    ) == [
        3,
        4,
    ]
    with pytest.raises(SurefootError, match="type 'F31' cannot be written"):
        apply(tuned({}), out, rules=EditRules(dtype="F31"))
    with pytest.raises(SurefootError, match="one of the inputs"):
        apply(tuned({}), tmp_path / "base.safetensors")


def test_mixed_types_are_computed_wide_and_written_as_the_base(tmp_path: Path) -> None:
    base = open_checkpoint(write(tmp_path / "base.safetensors", model(0, "BF16")))
    tuned = open_checkpoint(write(tmp_path / "tuned.safetensors", model(1, "F32")))
    apply(0.5 * TaskVector(base, tuned), tmp_path / "out.safetensors")
    assert open_checkpoint(tmp_path / "out.safetensors").tensors["visual.a"].dtype == "BF16"
    apply(0.5 * TaskVector(base, tuned), tmp_path / "out.safetensors", rules=EditRules(dtype="F32"))
    middle = load_file(tmp_path / "out.safetensors")["visual.a"]
    assert np.allclose(middle, (state(TaskVector(base))["visual.a"] + model(1)["visual.a"][1]) / 2, atol=1e-8)


def test_prefixes_are_renamed_and_filters_leave_the_rest_alone(tmp_path: Path) -> None:
    base = open_checkpoint(write(tmp_path / "base.safetensors", model(0)))
    wrapped = {f"model.{name}": value for name, value in model(1, frozen=False).items()}
    path = write(tmp_path / "tuned.safetensors", wrapped)
    vector = TaskVector(base, open_checkpoint(path, rename={"model.": ""}))
    edited, whole = state(vector.filter("visual.*")), model(1, frozen=False)
    assert np.allclose(edited["visual.a"], whole["visual.a"][1])
    assert (edited["head"] == model(0)["head"][1].astype(np.float32)).all()
    with pytest.raises(SurefootError, match="No tensor begins with"):
        open_checkpoint(path, rename={"nothing.": ""})
    with pytest.raises(SurefootError, match="to two tensors"):
        from_state({"a.w": np.ones(1), "b.w": np.ones(1)}).renamed({"a.": "", "b.": ""})


@pytest.mark.parametrize(
    ("options", "scale"), [({}, 2.0), ({"use_rslora": True}, 8 / 2), ({"alpha_pattern": {"q": 4}}, 1.0)]
)
def test_a_lora_adapter_is_the_change_it_stands_for(options: dict[str, Any], scale: float, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base = {"blocks.0.q.weight": rng.standard_normal((6, 10)), "blocks.0.k.weight": rng.standard_normal((6, 10))}
    down, up = rng.standard_normal((4, 10)).astype(np.float32), rng.standard_normal((6, 4)).astype(np.float32)
    (tmp_path / "adapter").mkdir()
    prefix = "base_model.model.blocks.0.q"
    save_file(
        {f"{prefix}.lora_A.weight": down, f"{prefix}.lora_B.weight": up},
        tmp_path / "adapter" / "adapter_model.safetensors",
    )
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 8, **options}))
    adapter = open_checkpoint(tmp_path / "adapter")
    out = state(0.5 * TaskVector(from_state(base), adapter))
    assert np.allclose(out["blocks.0.q.weight"], base["blocks.0.q.weight"] + 0.5 * scale * (up @ down), atol=1e-5)
    assert (out["blocks.0.k.weight"] == base["blocks.0.k.weight"]).all()
    assert apply(TaskVector(from_state(base), adapter), tmp_path / "out.safetensors").edit_norm > 0


def test_an_edit_is_written_into_a_torch_model_in_place() -> None:
    layer = torch.nn.Linear(3, 2).bfloat16()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    tuned = {name: value + 1 for name, value in before.items()}
    apply_to(TaskVector(from_state(before), from_state(tuned)), layer, 1.0)
    assert all(torch.equal(value, tuned[name]) for name, value in layer.state_dict().items())
    apply_to(TaskVector(from_state(before), from_state(tuned)), layer, 0.0)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    with pytest.raises(SurefootError, match="no such tensor"):
        apply_to(TaskVector(from_state({"other": torch.ones(1)})), layer)


def test_statistics_are_those_of_the_flattened_vectors(tmp_path: Path) -> None:
    checkpoints = [open_checkpoint(write(tmp_path / f"{number}.safetensors", model(number))) for number in range(3)]
    vectors = [TaskVector(checkpoints[0], one) for one in checkpoints[1:]]
    found = statistics([*vectors, 0.5 * (vectors[0] - vectors[1]), -0.7 * (vectors[0] + vectors[1])])
    states = [state(TaskVector(one)) for one in checkpoints]
    flat = [np.concatenate([one[name].reshape(-1) for name in one if name != "steps"]).astype(float) for one in states]
    first, second = flat[1] - flat[0], flat[2] - flat[0]
    deltas = np.stack([first, second, 0.5 * (first - second), -0.7 * (first + second)])
    assert np.allclose(found.gram, deltas @ deltas.T, rtol=1e-4)
    assert found.base_norm == pytest.approx(np.linalg.norm(flat[0]))
    assert np.allclose(sum(found.layers.values()), found.gram)


def test_statistics_of_64_bits_are_in_64_bits(tmp_path: Path) -> None:
    base = {"w": np.random.default_rng(0).standard_normal(100)}
    near, single = {"w": base["w"] + 1e-9}, {"w": base["w"].astype(np.float32)}
    assert statistics([TaskVector(from_state(base), from_state(near))]).norms == pytest.approx([1e-8], rel=1e-6)
    rounding = np.linalg.norm(single["w"] - base["w"])
    assert statistics([TaskVector(from_state(single), from_state(base))]).norms == pytest.approx([rounding], rel=1e-9)


def test_the_values_of_a_tensor_are_counted_over_all_of_it() -> None:
    numbers = np.linspace(-3.0, 5.0, 200_000).astype(np.float32)
    numbers[[0, 70_000, -1]] = np.nan, np.inf, -np.inf  # in three chunks
    found = values(from_state({"w": numbers}))["w"]
    finite = numbers[np.isfinite(numbers)].astype(np.float64)
    assert (found.nonfinite, found.low, found.high) == (3, finite.min(), finite.max())
    assert found.norm == pytest.approx(np.linalg.norm(finite))


def test_statistics_by_layer_put_the_experts_of_a_layer_together() -> None:
    names = ("model.layers.3.mlp.experts.1.w", "model.layers.3.attn.w", "model.layers.12.attn.w", "model.embed.weight")
    base = {name: np.zeros(2, np.float32) for name in names}
    tuned = {name: np.full(2, place + 1, np.float32) for place, name in enumerate(names)}
    found = statistics([TaskVector(from_state(base), from_state(tuned))]).layers
    squares = {"model.layers.3": 2 * (1 + 4), "model.layers.12": 2 * 9, "model.embed": 2 * 16}
    assert {name: float(gram[0, 0]) for name, gram in found.items()} == squares
