"""Mistakes of a user and damaged files: each is named, and nothing half written is left."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from making import data, model, write
from safetensors.numpy import load_file, save_file

from surefoot.core import SurefootError
from surefoot.weights import EditRules, TaskVector, apply, apply_grid, from_state, mean, merge, open_checkpoint, verify
from surefoot.weights._output import _writing as writing
from surefoot.weights._output._journal import claimed, reserve


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.chdir(tmp_path)
    return [write(tmp_path / f"{name}.safetensors", model(number)) for number, name in enumerate(("base", "a", "b"))]


def ties(**change: Any) -> dict[str, Any]:
    models = [{"model": "a.safetensors"}, {"model": "b.safetensors"}]
    settings = {"weight": 0.5, "density": 0.5}
    return {
        "merge_method": "ties",
        "base_model": "base.safetensors",
        "parameters": settings,
        "models": models,
        **change,
    }


def settings(**values: Any) -> dict[str, Any]:
    return {"parameters": {"weight": 0.5, "density": 0.5, **values}}


def one(**entry: Any) -> dict[str, Any]:
    return {"models": [{"model": "a.safetensors", **entry}]}


def slice_of(value: Any) -> dict[str, Any]:
    sources = [{"model": "a.safetensors", "layer_range": value}]
    return {"merge_method": "passthrough", "parameters": {}, "models": None, "slices": [{"sources": sources}]}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"parameters": 3}, "must map names to values, not 3"),
    ({"dtype": ["float32"]}, r"The type \['float32'\] cannot be written"),
    ({"base_model": 3}, "base_model is the path of a checkpoint"),
    ({"seed": "one"}, "seed must be a whole number"),
    ({"integers": "average"}, "rule integers cannot be 'average': choose one of equal, base"),
    ({"missing": "skip"}, "rule missing cannot be 'skip'"),
    ({"accumulate": "float16"}, "rule accumulate cannot be 'float16': choose one of float32, float64"),
    ({"nonfinite": True}, "rule nonfinite cannot be True"),
    ({"digest": "md5"}, "rule digest cannot be 'md5'"),
    ({"pickle": 1}, "pickle is true or false, not 1"),
    (one(parameters=[1]), "must map names to values"),
    (settings(weight=float("nan")), "'weight' must be finite"),
    (settings(density=1.5), "'density' is a share, from 0 to 1, not 1.5"),
    (settings(density={"a": 1}), "A condition on tensors has a value"),
    (settings(density=[{"filter": "head", "value": [{"value": 1}]}]), "a number or a gradient as its value"),
    (settings(density=[1, "x"]), "A gradient is a list of numbers"),
    (settings(normalize="false"), "'normalize' is true or false, not 'false'"),
    (settings(**{"lambda": "x"}), "'lambda' must be a number"),
    (settings(rescale=True), "ties has no parameter 'rescale'; it has density, lambda, normalize, weight"),
    ({"merge_method": "slerp", **one(), "parameters": {"t": "x"}}, "'t' must be a number"),
    ({"merge_method": "slerp", **one(), "parameters": {"t": 0.5, "lambda": 2}}, "slerp has no parameter 'lambda'"),
    (
        {"merge_method": "passthrough", "models": [{"model": "a.safetensors"}] * 2, "parameters": {}},
        "passthrough copies one model, and 2 are given",
    ),
    (slice_of(3), r"layer_range 3 of a.safetensors must be \[first, end\)"),
    (slice_of([0, 1]), "no numbered layers"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_a_wrong_value_in_a_configuration_is_named_before_anything_is_written(
    change: dict[str, Any], message: str, files: list[Path]
) -> None:
    content = {key: value for key, value in ties(**change).items() if value is not None}
    with pytest.raises(SurefootError, match=message):
        merge(content, "out.safetensors")
    assert files and not list(Path().glob("out*"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("merge_method: linear\nmerge_method: slerp\n", "line 2: the key 'merge_method' stands there twice"),
        ("models:\n- model: a\n  parameters: {weight: 1, density: 1, weight: 2}\n", "line 3: the key 'weight' stands"),
        ("a: &a [1]\nb: {c: *a, d: *a, c: 1}\n", "line 2: the key 'c' stands there twice"),
        ("[" * 20_000, "too deep within each other"),
        ("merge_method: linear\n---\nmerge_method: slerp\n", "Not YAML: expected a single document"),
        ("!!python/object/apply:os.system [ls]", "Not YAML: could not determine a constructor"),
    ],
)
def test_a_file_that_says_two_things_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "merge.yml").write_text(text)
    with pytest.raises(SurefootError, match=message):
        merge(tmp_path / "merge.yml", tmp_path / "out.safetensors")


def test_switches_that_are_off_and_shared_settings_are_understood(files: list[Path]) -> None:
    merge(ties(), "plain.safetensors")
    merge(ties(**settings(rescale=False, int8_mask=True, normalize=1)), "said.safetensors")
    assert files and data(Path("plain.safetensors")) == data(Path("said.safetensors"))


def test_a_base_that_a_linear_merge_does_not_list_is_refused(files: list[Path]) -> None:
    """mergekit averages it in: whoever wrote the configuration may think that it takes no part."""
    content = {**ties(), "merge_method": "linear", "parameters": {"weight": 0.5}}
    with pytest.raises(SurefootError, match=r"The base_model base\.safetensors is not among the models"):
        merge(content, "with.safetensors")
    assert files and not Path("with.safetensors").exists()


def test_a_tensor_that_the_base_of_a_merge_lacks_is_refused_or_dropped_when_asked(files: list[Path]) -> None:
    write(files[1], {**model(1), "more": ("F32", np.ones(3))})
    with pytest.raises(SurefootError, match=r"a.safetensors has 1 tensors .* first 'more'; leave them out with extra"):
        merge(ties(), "out.safetensors")
    merge(ties(extra="drop"), "out.safetensors")
    assert "more" not in load_file("out.safetensors")


def test_a_merge_opens_pickles_only_when_its_configuration_says_so(files: list[Path]) -> None:
    torch.save({name: torch.tensor(value) for name, value in load_file(files[1]).items()}, "a.pt")
    content = ties(models=[{"model": "a.pt"}, {"model": "b.safetensors"}])
    with pytest.raises(SurefootError, match="only when asked for"):
        merge(content, "out.safetensors")
    merge({**content, "pickle": True}, "out.safetensors")
    merge(ties(), "plain.safetensors")
    assert data(Path("out.safetensors")) == data(Path("plain.safetensors"))


def test_pickles_of_old_torch_are_read_and_those_of_whole_models_are_refused(tmp_path: Path) -> None:
    values = {"w": torch.arange(6.0).reshape(2, 3)}
    torch.save(values, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    opened = open_checkpoint(tmp_path / "old.pt", pickle=True)
    assert data(apply(TaskVector(opened), tmp_path / "out.safetensors").path) == values["w"].numpy().tobytes()
    torch.save(torch.nn.Linear(3, 2), tmp_path / "whole.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:300])
    for name in ("whole", "cut"):
        with pytest.raises(SurefootError, match="save the model's state dict as safetensors") as caught:
            open_checkpoint(tmp_path / f"{name}.pt", pickle=True)
        assert "weights_only" not in str(caught.value)  # torch's own advice is to load it unsafely


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({1: np.ones(2)}, "named by text, not by 1"),
        ({"w": torch.eye(2).to_sparse()}, "is sparse or has no data"),
        ({"w": torch.empty(2, device="meta")}, "is sparse or has no data"),
        ({"w": torch.ones(2, dtype=torch.complex128)}, "which a checkpoint cannot hold"),
    ],
)
def test_what_a_checkpoint_cannot_hold_is_refused(state: dict[Any, Any], message: str) -> None:
    with pytest.raises(SurefootError, match=message):
        from_state(state)


@pytest.mark.parametrize("file", [3, None, "x\0.safetensors", "..", "/etc/x.safetensors", "PART.SAFETENSORS"])
def test_an_index_names_plain_files(file: Any, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": file}}))
    with pytest.raises(SurefootError, match=r"plain name|null byte"):
        open_checkpoint(tmp_path)


def test_an_index_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text("[" * 100_000)
    with pytest.raises(SurefootError, match="Not an index of shards"):
        open_checkpoint(tmp_path)


def adapter(folder: Path, options: str, down: np.ndarray, up: np.ndarray) -> Path:
    folder.mkdir()
    factors = {"base_model.model.q.lora_A.weight": down, "base_model.model.q.lora_B.weight": up}
    save_file(factors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(options)
    return folder


DOWN, UP = np.ones((2, 5), np.float32), np.ones((4, 2), np.float32)


@pytest.mark.parametrize(
    ("options", "down", "up", "message"),
    [
        ("[]", DOWN, UP, "a mapping is expected"),
        ("{}", DOWN, UP, "lora_alpha must be a number, not None"),
        ('{"lora_alpha": NaN}', DOWN, UP, "lora_alpha must be a number"),
        ('{"lora_alpha": 8, "alpha_pattern": 3}', DOWN, UP, "a mapping is expected"),
        ('{"lora_alpha": 8, "alpha_pattern": {"(": 1}}', DOWN, UP, "not a regular expression"),
        ('{"lora_alpha": 8, "use_dora": true}', DOWN, UP, "use_dora 'True'"),
        ('{"lora_alpha": 8}', DOWN[:0], UP[:, :0], "two matrices of floating-point numbers"),
        ('{"lora_alpha": 8}', DOWN.astype(np.int8), UP, "two matrices of floating-point numbers"),
        ('{"lora_alpha": 8}', DOWN, UP[:, :1], "not two matrices that fit"),
    ],
)
def test_an_adapter_that_does_not_fit_its_configuration_is_refused(
    options: str, down: np.ndarray, up: np.ndarray, message: str, tmp_path: Path
) -> None:
    with pytest.raises(SurefootError, match=message):
        open_checkpoint(adapter(tmp_path / "adapter", options, down, up))


def test_patterns_of_alpha_are_regular_expressions_for_the_end_of_a_name(tmp_path: Path) -> None:
    for number, (pattern, alpha) in enumerate((("[qk]", 6), ("base.*", 2), ("q", 6), ("ueue", 2))):
        options = json.dumps({"lora_alpha": 2, "alpha_pattern": {pattern: 6}})
        opened = open_checkpoint(adapter(tmp_path / str(number), options, DOWN, UP))
        written = apply(TaskVector(from_state({"q.weight": np.zeros((4, 5))}), opened), tmp_path / "o.safetensors").path
        assert (load_file(written)["q.weight"] == alpha / 2 * 2).all(), pattern


def edit() -> TaskVector:
    return TaskVector(*(open_checkpoint(f"{name}.safetensors") for name in ("base", "a")))


def test_two_writers_of_one_output_do_not_mix(files: list[Path]) -> None:
    with claimed(Path("out.safetensors.part")), pytest.raises(SurefootError, match="Another process is writing it"):
        apply(edit(), "out.safetensors")
    assert files and not Path("out.safetensors").exists()
    assert data(apply(edit(), "out.safetensors").path) == data(Path("a.safetensors"))
    assert not list(Path().glob("*.part*"))


def test_a_claim_is_not_taken_on_a_file_that_has_got_its_last_name(tmp_path: Path) -> None:
    part = tmp_path / "x.part"
    with claimed(part) as first:
        part.replace(tmp_path / "x")
        with claimed(part) as second:
            assert not os.path.samestat(os.fstat(first), os.fstat(second))


def test_a_refused_result_leaves_nothing_of_any_size(files: list[Path]) -> None:
    values = model(1)
    values["visual.b"] = ("F32", np.full(7, np.nan))
    write(files[1], values)
    with pytest.raises(SurefootError, match=r"'visual.b': 7 values would be NaN"):
        apply_grid(edit(), {0.1: "x.safetensors", 0.2: "y.safetensors"})
    assert sorted(path.name for path in Path().iterdir()) == ["a.safetensors", "b.safetensors", "base.safetensors"]


def test_of_several_outputs_none_is_left_when_there_is_no_room_for_all(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, path: Path, size: int) -> None:
        if path.name.startswith("y"):
            raise SurefootError("no room")
        reserve(descriptor, path, size)

    monkeypatch.setattr(writing, "reserve", full)
    with pytest.raises(SurefootError, match="no room"):
        apply_grid(edit(), {0.1: "x.safetensors", 0.2: "y.safetensors"})
    assert files and not list(Path().glob("[xy]*"))


def test_what_the_disk_says_of_a_journal_or_a_folder_is_told_without_a_trace(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(writing, "record", full)
        with pytest.raises(SurefootError, match="No space left on device; run again to go on from here"):
            apply(edit(), "out.safetensors")
    assert Path("out.safetensors.part").exists()
    assert files and data(apply(edit(), "out.safetensors").path) == data(Path("a.safetensors"))
    with pytest.raises(SurefootError, match=r"base.safetensors/new: Could not be written: Not a directory\."):
        apply(edit(), "base.safetensors/new")
    with pytest.raises(SurefootError, match=r"/dev/full: Could not be written: File exists\."):
        apply(edit(), "/dev/full")


def test_numbers_that_are_none_are_refused_before_anything_is_written(files: list[Path]) -> None:
    with pytest.raises(SurefootError, match="finite number, not nan"):
        apply(edit(), "out.safetensors", float("nan"))
    with pytest.raises(SurefootError, match="finite number, not inf"):
        _ = float("inf") * edit()
    with pytest.raises(SurefootError, match="sum that is not 0"):
        mean([open_checkpoint(path) for path in files[:2]], [1.0, float("nan")])
    with pytest.raises(SurefootError, match="-1 threads cannot work"):
        apply(edit(), "out.safetensors", threads=-1)
    assert not list(Path().glob("out*"))


def tied(number: int, names: tuple[str, ...]) -> dict[str, Any]:
    words = np.random.default_rng(number).standard_normal((30, 8))
    return {**dict.fromkeys(names, ("F32", words)), "zero": ("F32", np.zeros((3, 3))), "norm": ("F32", np.ones(8))}


def test_a_tied_tensor_that_is_stored_once_is_not_silently_untied(tmp_path: Path) -> None:
    base = open_checkpoint(write(tmp_path / "base.safetensors", tied(0, ("embed", "head"))))
    path = write(tmp_path / "tuned.safetensors", tied(1, ("embed",)))
    vector, out = TaskVector(base, open_checkpoint(path)), tmp_path / "out.safetensors"
    with pytest.raises(SurefootError, match=r"lacks the tensor 'head'; rename .* tied one's twin with 'tied'"):
        apply(vector, out, 0.5)
    with pytest.raises(SurefootError, match=r"ties it to 'embed', .* would untie them; .* missing='tied'"):
        apply(vector, out, 0.5, rules=EditRules(missing="base"))
    made = load_file(apply(vector, out, 0.5, rules=EditRules(missing="tied")).path)
    assert (made["head"] == made["embed"]).all() and (made["head"] != load_file(path)["embed"]).any()
    assert verify(out).holds
    config = {"merge_method": "task_arithmetic", "base_model": base.label, "parameters": {"weight": 0.5}}
    config["models"] = [{"model": str(path)}]
    with pytest.raises(SurefootError, match="would untie them"):
        merge({**config, "missing": "base"}, tmp_path / "merged.safetensors")
    merged = load_file(merge({**config, "missing": "tied"}, tmp_path / "merged.safetensors").path)
    assert (merged["head"] == made["head"]).all()


def test_what_only_looks_tied_is_kept_or_refused(tmp_path: Path) -> None:
    tensors = {**tied(0, ("embed",)), "other": ("F32", np.zeros((3, 3)))}
    base = open_checkpoint(write(tmp_path / "base.safetensors", tensors))
    vector = TaskVector(base, open_checkpoint(write(tmp_path / "tuned.safetensors", tied(1, ("embed",)))))
    made = load_file(apply(vector, tmp_path / "out.safetensors", rules=EditRules(missing="base")).path)
    assert (made["other"] == 0).all()
    with pytest.raises(SurefootError, match="has no twin that is bit for bit the same"):
        apply(vector, tmp_path / "out.safetensors", rules=EditRules(missing="tied"))
