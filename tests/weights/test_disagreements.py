"""Weights of equal shapes that do not mean the same: what differs is said, what belongs together stays."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surefoot.core import SurefootError
from surefoot.weights import EditRules, TaskVector, apply, apply_to, from_state, merge, open_checkpoint, state, verify

EMBEDDING, HEAD, LAYER = "model.embed_tokens.weight", "lm_head.weight", "model.layers.0.mlp.weight"
SETTINGS = {"num_hidden_layers": 1, "num_attention_heads": 2, "rope_theta": 1e4, "hidden_dropout": 0.1}


def _model(folder: Path, seed: int, *, config: Any = None, tokens: Any = None, **tensors: np.ndarray) -> Path:
    save = pytest.importorskip("safetensors.numpy").save_file
    rng = np.random.default_rng(seed)
    own = {EMBEDDING: (8, 4), LAYER: (4, 4), HEAD: (8, 4)}
    drawn = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in own.items()}
    folder.mkdir()
    save(drawn | tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(SETTINGS | (config or {})), "utf-8")
    if tokens:
        (folder / "tokenizer.json").write_text(json.dumps(tokens), "utf-8")
    return folder


def _average(out: Path, *models: Path, **more: Any) -> tuple[str, ...]:
    entries = [{"model": str(one), "parameters": {"weight": 1}} for one in models]
    return merge({"merge_method": "linear", "models": entries, **more}, out).warnings


def test_settings_that_differ_between_models_are_said(tmp_path: Path) -> None:
    one = _model(tmp_path / "one", 1)
    two = _model(tmp_path / "two", 2, config={"num_attention_heads": 4, "rope_theta": 1e6, "hidden_dropout": 0.0})
    (said,) = _average(tmp_path / "out", one, two)
    assert "num_attention_heads is 2 and 4, rope_theta is 10000.0 and 1000000.0; one model cannot be both" in said
    (said,) = apply(TaskVector(open_checkpoint(one), open_checkpoint(two)), tmp_path / "out.safetensors").warnings
    assert "num_attention_heads" in said
    assert "dropout" not in said


def test_settings_beside_pickles_are_read_too(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    one, two = _model(tmp_path / "one", 1), _model(tmp_path / "two", 2, config={"rope_theta": 1e6})
    for folder in (one, two):
        torch.save({"w": torch.ones(2, 2)}, folder / "pytorch_model.bin")
    pair = (open_checkpoint(folder / "pytorch_model.bin", pickle=True) for folder in (one, two))
    (said,) = apply(TaskVector(*pair), tmp_path / "out.safetensors").warnings
    assert "rope_theta is 10000.0 and 1000000.0; one model cannot be both" in said


def test_what_was_written_beside_the_weights_is_verified_with_them(tmp_path: Path) -> None:
    one, out = _model(tmp_path / "one", 1, tokens={"model": {"vocab": {"a": 0}}}), tmp_path / "out"
    _average(out, one, _model(tmp_path / "two", 2), out_dtype="bfloat16")
    config, recipe = out / "config.json", out / "model.safetensors.recipe.json"
    assert verify(out).holds
    text = config.read_text()
    config.write_text(text.replace("10000.0", "20000.0"))
    (out / "tokenizer.json").unlink()
    assert verify(out).disagreeing == ("config.json", "tokenizer.json") and not verify(out).holds
    config.write_text(text)
    (out / "tokenizer.json").write_bytes((one / "tokenizer.json").read_bytes())
    assert verify(out).holds
    said = json.loads(recipe.read_text())
    name, share = next(iter(said["worst"].items()))
    for wrong in ({}, {**said["worst"], name: share / 2}):
        recipe.write_text(json.dumps({**said, "worst": wrong}))
        assert verify(out).disagreeing == (recipe.name,)


def test_a_setting_that_lacks_is_its_default_unless_that_is_off(tmp_path: Path) -> None:
    one = _model(tmp_path / "one", 1, config={"head_dim": None, "rope_scaling": None})
    two = _model(tmp_path / "two", 2, config={"head_dim": 128, "mlp_bias": False, "transformers_version": "5"})
    assert _average(tmp_path / "out", one, two) == ()
    longer = _model(tmp_path / "longer", 2, config={"rope_scaling": {"factor": 8.0}, "sliding_window": 4096})
    (said,) = _average(tmp_path / "more", one, longer)
    assert "rope_scaling is None and {'factor': 8.0}, sliding_window is None and 4096" in said


@pytest.mark.parametrize("listed", [False, True])
def test_tokens_of_other_numbers_are_said(tmp_path: Path, listed: bool) -> None:
    def tokens(*names: str, added: int) -> dict[str, Any]:
        vocabulary = [[one, 0.0] for one in names] if listed else {one: place for place, one in enumerate(names)}
        return {"model": {"vocab": vocabulary}, "added_tokens": [{"content": "<x>", "id": added}]}

    one = _model(tmp_path / "one", 1, tokens=tokens("a", "b", "c", added=5))
    two = _model(tmp_path / "two", 2, tokens=tokens("b", "a", "c", added=6))
    (said,) = _average(tmp_path / "out", one, two)
    assert "have different numbers: 'a' is 0 and 1, 'b' is 1 and 0, '<x>' is 5 and 6" in said
    for folder, number in ((one, 0), (two, 1)):  # as GPT-2 has them
        (folder / "tokenizer.json").unlink()
        (folder / "vocab.json").write_text(json.dumps({"model": number, "a": 7}), "utf-8")
    (said,) = _average(tmp_path / "plain", one, two)
    assert said.endswith("have different numbers: 'model' is 0 and 1")
    same = _model(tmp_path / "same", 2, tokens=tokens("a", "b", "c", added=5) | {"version": "2"})
    again = _model(tmp_path / "again", 1, tokens=tokens("a", "b", "c", added=5))
    assert _average(tmp_path / "other", again, same) == ()


def test_an_edit_of_one_of_two_tied_matrices_is_said(tmp_path: Path) -> None:
    shared, moved = (np.random.default_rng(seed).standard_normal((8, 4)).astype(np.float32) for seed in (8, 9))
    base = _model(tmp_path / "base", 1, **{EMBEDDING: shared, HEAD: shared})
    tuned = _model(tmp_path / "tuned", 2, **{EMBEDDING: moved, HEAD: moved})
    vector = TaskVector(open_checkpoint(base), open_checkpoint(tuned))
    assert apply(vector, tmp_path / "both").warnings == ()
    for number, one in enumerate((vector.filter(EMBEDDING), vector.filter("lm_head*"))):
        (said,) = apply(one, tmp_path / f"one{number}").warnings
        assert f"{HEAD} and {EMBEDDING} are one matrix to the model" in said
    dare = {"merge_method": "dare_linear", "base_model": str(base), "parameters": {"weight": 1, "density": 0.5}}
    (said,) = merge({**dare, "models": [{"model": str(tuned)}]}, tmp_path / "dare", shard="100B").warnings
    assert "differ now" in said


def test_a_head_that_is_kept_beside_a_config_that_ties_it_is_said(tmp_path: Path) -> None:
    tied = _model(tmp_path / "tied", 1, config={"tie_word_embeddings": True})
    (said,) = apply(TaskVector(open_checkpoint(tied)), tmp_path / "out").warnings
    assert f"{HEAD} and {EMBEDDING} are one matrix to the model" in said


@pytest.mark.parametrize(("whole", "scale"), [("weight", "weight_scale_inv"), ("weight", "SCB"), ("qweight", "scales")])
def test_a_quantized_matrix_of_the_base_keeps_its_scale(tmp_path: Path, whole: str, scale: str) -> None:
    def quantized(sign: int) -> dict[str, np.ndarray]:
        numbers = np.full((4, 4), sign, np.int8)
        return {f"model.layers.0.up.{whole}": numbers, f"model.layers.0.up.{scale}": np.full(4, 2.0 + sign, np.float32)}

    one = _model(tmp_path / "one", 1, **quantized(1))
    two = _model(tmp_path / "two", 2, **quantized(-1))
    _average(tmp_path / "out", one, two, integers="base")
    edit = TaskVector(open_checkpoint(one), open_checkpoint(two))
    for made in (open_checkpoint(tmp_path / "out"), None):
        found = state(TaskVector(made) if made else edit, rules=EditRules(integers="base"))
        np.testing.assert_array_equal(found[f"model.layers.0.up.{scale}"], np.full(4, 3.0, np.float32))
        np.testing.assert_array_equal(found[f"model.layers.0.up.{whole}"], np.ones((4, 4), np.int8))
    with pytest.raises(SurefootError, match="is not a number to average"):
        state(edit)


def test_one_shard_of_several_is_no_checkpoint(tmp_path: Path) -> None:
    folder = _model(tmp_path / "one", 1)
    part = (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    with pytest.raises(SurefootError, match="is one of 2 shards, and neither the others nor an index lie beside it"):
        open_checkpoint(folder)
    assert set(open_checkpoint(part).tensors) == {EMBEDDING, LAYER, HEAD}
    part.rename(folder / "model-00001-of-00001.safetensors")
    assert set(open_checkpoint(folder).tensors) == {EMBEDDING, LAYER, HEAD}


@pytest.mark.parametrize("shard", [None, "100B", "1MB"])
@pytest.mark.parametrize(("key", "wrong"), [("edit_norm", 0.5), ("lost", 0.2), ("nonfinite", 3), ("tensors", 2)])
def test_verify_compares_the_numbers_of_the_report(tmp_path: Path, shard: str | None, key: str, wrong: float) -> None:
    one, two = _model(tmp_path / "one", 1), _model(tmp_path / "two", 2)
    vector = TaskVector(open_checkpoint(one), open_checkpoint(two))
    made = apply(vector, tmp_path / "out", 0.3, rules=EditRules(dtype="BF16"), shard=shard)
    recipe = made.path.with_name(made.path.name + ".recipe.json")
    assert verify(tmp_path / "out").holds
    recipe.write_text(json.dumps(json.loads(recipe.read_text("utf-8")) | {key: wrong}), "utf-8")
    assert verify(tmp_path / "out").disagreeing == (recipe.name,)


@pytest.mark.parametrize("shard", [None, "100B"])
def test_verify_compares_the_warnings_of_the_report(tmp_path: Path, shard: str | None) -> None:
    one, two = _model(tmp_path / "one", 1), _model(tmp_path / "two", 2, config={"num_attention_heads": 8})
    vector = TaskVector(open_checkpoint(one), open_checkpoint(two))
    made = apply(vector, tmp_path / "out", 1e-3, rules=EditRules(dtype="BF16"), shard=shard)
    recipe = made.path.with_name(made.path.name + ".recipe.json")
    said = json.loads(recipe.read_text("utf-8"))
    assert len(made.warnings) > 1 and any("of the edit was lost" in one for one in made.warnings)
    assert verify(tmp_path / "out").holds and [*made.warnings] == said["warnings"]
    for warning in made.warnings:
        recipe.write_text(json.dumps(said | {"warnings": [*{*said["warnings"]} - {warning}]}), "utf-8")
        assert verify(tmp_path / "out").disagreeing == (recipe.name,)
    recipe.write_text(json.dumps(said), "utf-8")
    two.rename(tmp_path / "moved")  # the warning names the place where it was
    assert verify(tmp_path / "out", moved={str(two): str(tmp_path / "moved")}).holds


def test_patterns_are_texts(tmp_path: Path) -> None:
    vector = TaskVector(*(open_checkpoint(_model(tmp_path / str(seed), seed)) for seed in (1, 2)))
    with pytest.raises(SurefootError, match=r"Patterns of names are texts, each for itself"):
        vector.filter(["model.*"])  # pyright: ignore[reportArgumentType]


def test_a_stack_of_a_tied_model_has_a_way(tmp_path: Path) -> None:
    own, tied = _model(tmp_path / "own", 1), _model(tmp_path / "tied", 2, config={"tie_word_embeddings": True})
    tensors = state(TaskVector(open_checkpoint(tied)))
    pytest.importorskip("safetensors.numpy").save_file(
        {name: one for name, one in tensors.items() if name != HEAD}, tied / "model.safetensors"
    )

    def stacked(*models: Path, **more: Any) -> set[str]:
        slices = [{"sources": [{"model": str(one), "layer_range": [0, 1]}]} for one in models]
        out = tmp_path / "-".join(one.name for one in models)
        merge({"merge_method": "passthrough", "slices": slices, **more}, out)
        return set(open_checkpoint(out).tensors)

    with pytest.raises(SurefootError, match=r"tied lacks .*'lm_head.weight'; if it is tied there, begin"):
        stacked(own, tied)
    assert stacked(tied, own, extra="drop") == {EMBEDDING, LAYER, LAYER.replace(".0.", ".1.")}


def test_an_edit_of_one_of_two_tied_matrices_is_not_lost_in_a_model(tmp_path: Path) -> None:
    """The other one of the pair, which the edit leaves as it is, was written over it."""
    torch = pytest.importorskip("torch")
    model = torch.nn.ModuleDict({"embed": torch.nn.Embedding(8, 4), "head": torch.nn.Linear(4, 8, bias=False)})
    model["head"].weight = model["embed"].weight
    before = {name: one.clone() for name, one in model.state_dict().items()}
    vector = TaskVector(from_state(before), from_state({name: one + 1 for name, one in before.items()}))
    for one in ("embed*", "head*"):
        with pytest.raises(SurefootError, match=r"ties 'embed.weight' and 'head.weight', and they differ in the edit"):
            apply_to(vector.filter(one), model)
        assert torch.equal(model["embed"].weight, before["embed.weight"])
    apply_to(vector, model)
    assert torch.equal(model["head"].weight, before["embed.weight"] + 1)


@pytest.mark.parametrize("beside", [True, False])
def test_shards_of_two_results_or_not_all_of_one_do_not_hold(tmp_path: Path, beside: bool) -> None:
    """Each shard is what it says of itself."""
    vector = TaskVector(*(open_checkpoint(_model(tmp_path / str(seed), seed)) for seed in (1, 2)))
    for name, coefficient in (("out", 0.3), ("other", 0.4)):
        apply(vector, tmp_path / name, coefficient, shard="200B")
    place, other = tmp_path / "out", tmp_path / "other"
    index = place / "model.safetensors.index.json"
    recipe = place / f"{index.name}.recipe.json"
    assert verify(place).holds and verify(index).holds
    told = (recipe.name,) if beside else ()
    said = json.loads(recipe.read_text("utf-8"))
    recipe.write_text(json.dumps(said | {"inputs": dict.fromkeys(said["inputs"], "xxh3_128:00")}), "utf-8")
    assert verify(place).disagreeing == (recipe.name,)
    recipe.write_text(json.dumps(said), "utf-8")
    if not beside:
        recipe.unlink()
    places = json.loads(index.read_text("utf-8"))
    last = place / max(places["weight_map"].values())
    last.write_bytes((other / last.name).read_bytes())
    assert verify(place).disagreeing[:1] == (last.name,)
    last.unlink()
    left = {name: file for name, file in places["weight_map"].items() if file != last.name}
    index.write_text(json.dumps(places | {"weight_map": left}), "utf-8")
    assert verify(place).disagreeing == (f"{index.name}, without {min(places['weight_map'].keys() - left)}", *told)
