"""Slices of layers: what stands around them, which tower they count, and a configuration that says what is there."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making import write
from safetensors.numpy import load_file, save_file

from surefoot.core import SurefootError
from surefoot.weights import EditRules, TaskVector, apply, merge, open_checkpoint, plan_merge, verify

LAYOUTS: dict[str, dict[str, list[str]]] = json.loads(
    Path(__file__).with_name("mergekit_layouts.json").read_text("utf-8")
)
UNSLICED = {"phi-1": "numbers 'layers.0.wte.weight' among its layers"} | {
    f"{name} multi_modal_projector": "no numbered layers"
    for name in ("qwen2_5_vl", "qwen2_vl", "qwen3_vl", "qwen3_vl_dense")
}


def model(folder: Path, value: float, names: list[str], config: dict[str, Any] | None = None) -> str:
    folder.mkdir()
    save_file({name: np.array([value], np.float32) for name in names}, folder / "model.safetensors")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def stacked(*parts: tuple[str, int, int], **more: Any) -> dict[str, Any]:
    slices = [{"sources": [{"model": name, "layer_range": [first, end]}]} for name, first, end in parts]
    return {"merge_method": "passthrough", "slices": slices, **more}


@pytest.mark.parametrize("architecture", LAYOUTS)
def test_what_stands_before_the_layers_is_of_the_first_slice_and_the_rest_of_the_last_as_in_mergekit(
    architecture: str, tmp_path: Path
) -> None:
    layout = LAYOUTS[architecture]
    names = list(dict.fromkeys([*layout["before"], *layout["layers"], *layout["after"]]))
    first, last = model(tmp_path / "a", 1, names), model(tmp_path / "b", 2, names)
    content, out = stacked((first, 0, 1), (last, 0, 2)), tmp_path / "out.safetensors"
    if architecture in UNSLICED:
        with pytest.raises(SurefootError, match=UNSLICED[architecture]):
            merge(content, out)
        return
    made = {name: float(value[0]) for name, value in load_file(merge(content, out).path).items()}
    assert {name: made[name] for name in layout["before"]} == dict.fromkeys(layout["before"], 1.0)
    assert {name: made[name] for name in layout["after"]} == dict.fromkeys(layout["after"], 2.0)
    assert [made[name] for name in layout["layers"]] == [1.0, 2.0]


SEVERAL = [name for name in LAYOUTS if " " in name and name not in UNSLICED]


@pytest.mark.parametrize("part", SEVERAL)
def test_a_tower_of_several_has_the_ends_that_mergekit_gives_it_and_all_else_is_of_the_first_slice(
    part: str, tmp_path: Path
) -> None:
    """The head of a vision-language model, which lies outside of all towers, is the language model's."""
    family, own = part.partition(" ")[0], LAYOUTS[part]
    parts = [layout for name, layout in LAYOUTS.items() if name.startswith(f"{family} ")]
    names = list(dict.fromkeys(name for one in parts for side in ("before", "layers", "after") for name in one[side]))
    first, last = model(tmp_path / "a", 1, names), model(tmp_path / "b", 2, names)
    tower = own["layers"][0].split(".0.")[0]
    content = {**stacked((first, 0, 1), (last, 0, 2)), "layers": tower}
    made = load_file(merge(content, tmp_path / "out.safetensors").path)
    second = {name for name, value in made.items() if value[0] == 2}
    after = {name for name in names if "merger" in name} if "vision" in part else set()  # which mergekit slices apart
    assert second == {*own["after"], *after, *(name for name in made if re.match(rf"{re.escape(tower)}\.[12]\.", name))}


@pytest.mark.parametrize(("tower", "head"), [("text_model", "text_projection"), ("vision_model", "visual_projection")])
def test_each_tower_of_clip_has_its_own_projection(tower: str, head: str, tmp_path: Path) -> None:
    parts = ("embeddings.w", "encoder.layers.0.w", "encoder.layers.1.w", "final_norm.w")
    names = [f"{one}.{part}" for one in ("text_model", "vision_model") for part in parts]
    names += ["text_projection.weight", "visual_projection.weight", "logit_scale"]
    first, last = model(tmp_path / "a", 1, names), model(tmp_path / "b", 2, names)
    content = {**stacked((first, 0, 1), (last, 1, 2)), "layers": f"{tower}.encoder.layers"}
    made = load_file(merge(content, tmp_path / "out.safetensors").path)
    ends = {f"{tower}.encoder.layers.1.w", f"{tower}.final_norm.w", f"{head}.weight"}
    assert {name for name, value in made.items() if value[0] == 2} == ends


CLIP = [
    "visual.conv1.weight", "visual.ln_pre.weight", "visual.ln_post.weight", "visual.proj", "token_embedding.weight",
    "positional_embedding", "ln_final.weight", "text_projection", "logit_scale",
    *(f"visual.transformer.resblocks.{layer}.ln_1.weight" for layer in range(3)),
    *(f"transformer.resblocks.{layer}.ln_1.weight" for layer in range(3)),
]  # fmt: skip
CLIP_CONFIG = {"model_cfg": {"embed_dim": 1, "vision_cfg": {"layers": 3}, "text_cfg": {"layers": 3, "heads": 3}}}


def test_a_tower_of_two_is_sliced_only_by_its_name(tmp_path: Path) -> None:
    first, last = model(tmp_path / "a", 1, CLIP), model(tmp_path / "b", 2, CLIP)
    (tmp_path / "a" / "open_clip_config.json").write_text(json.dumps(CLIP_CONFIG))
    content = stacked((first, 0, 2), (last, 1, 3))
    towers = r"transformer.resblocks \(3 layers\), visual.transformer.resblocks \(3 layers\)"
    with pytest.raises(SurefootError, match=f"several towers.*key layers: {towers}"):
        merge(content, tmp_path / "out")
    with pytest.raises(SurefootError, match=f"no tower 'text'.*{towers}"):
        merge({**content, "layers": "text"}, tmp_path / "out")
    for tower, other, key in (
        ("visual.transformer.resblocks", "transformer.resblocks", "vision_cfg"),
        ("transformer.resblocks", "visual.transformer.resblocks", "text_cfg"),
    ):
        out = tmp_path / key
        merge({**content, "layers": tower}, out)
        made = {name: float(value[0]) for name, value in load_file(out / "model.safetensors").items()}
        assert [made[f"{tower}.{layer}.ln_1.weight"] for layer in range(4)] == [1, 1, 2, 2]
        assert [made[f"{other}.{layer}.ln_1.weight"] for layer in range(3)] == [1, 1, 1]
        ends = ("visual.ln_post.weight", "visual.proj") if "visual" in tower else ("ln_final.weight", "text_projection")
        others = set(made) - set(ends) - {"logit_scale"}
        assert [made[name] for name in ends] == [2, 2]
        assert {made[name] for name in others if not name.startswith(tower)} == {1}
        config = json.loads((out / "open_clip_config.json").read_text())["model_cfg"]
        assert config == {**CLIP_CONFIG["model_cfg"], key: {**CLIP_CONFIG["model_cfg"][key], "layers": 4}}
        assert verify(out).holds


def test_a_tensor_of_unknown_place_is_said_where_the_ends_are_of_two_models(tmp_path: Path) -> None:
    names = ["model.embed_tokens.weight", "model.layers.0.mlp.weight", "model.memory", "model.norm.weight"]
    first, last = model(tmp_path / "a", 1, names), model(tmp_path / "b", 2, names)
    with pytest.warns(UserWarning, match=r"'model\.memory' stands by its name neither before nor after the layers"):
        merge(stacked((first, 0, 1), (last, 0, 1)), tmp_path / "out.safetensors")
    assert load_file(tmp_path / "out.safetensors")["model.memory"] == 2
    merge(stacked((first, 0, 1), (first, 0, 1)), tmp_path / "one.safetensors")  # of one model: nothing to be said


def test_a_layer_range_of_a_model_is_refused(tmp_path: Path) -> None:
    names = LAYOUTS["llama"]["layers"]
    entry = {"model": model(tmp_path / "a", 1, names), "layer_range": [0, 1]}
    with pytest.raises(SurefootError, match="has a layer_range, which models are merged without; write slices"):
        merge({"merge_method": "linear", "models": [entry]}, tmp_path / "out")
    with pytest.raises(SurefootError, match=r"layer_range \[0, 3\] of .* ends behind its 2 layers \(model.layers\)"):
        merge(stacked((entry["model"], 0, 3)), tmp_path / "out")


def test_of_an_unlisted_base_the_layers_are_those_of_the_sources_where_these_are_the_same(tmp_path: Path) -> None:
    names = [f"model.layers.{layer}.w" for layer in range(3)]
    base, one, two = (model(tmp_path / name, value, names) for name, value in (("b", 1.0), ("c", 2.0), ("d", 4.0)))
    content = {"merge_method": "task_arithmetic", "base_model": base, "parameters": {"weight": 1}}
    for last, said in ((2, None), (3, "The layer_range of sources differ, and .*b is not among them")):
        sources = [{"model": one, "layer_range": [0, 2]}, {"model": two, "layer_range": [last - 2, last]}]
        merged = {**content, "slices": [{"sources": sources}]}
        if said:
            with pytest.raises(SurefootError, match=said):
                merge(merged, tmp_path / "out")
            continue
        made = load_file(merge(merged, tmp_path / "same.safetensors").path)
        assert made == {name: np.float32([5]) for name in names[:2]}


NAMES = ["model.embed_tokens.weight", *(f"model.layers.{layer}.w" for layer in range(8)), "model.norm.weight"]
LISTS = {"layer_types": [f"a{layer}" for layer in range(8)], "mlp_only_layers": [1, 6], "eos_token_id": list(range(8))}


@pytest.mark.parametrize("within", [(), ("text_config",)])
def test_lists_with_an_entry_for_each_layer_follow_the_layers(within: tuple[str, ...], tmp_path: Path) -> None:
    def config(letter: str, **more: Any) -> dict[str, Any]:
        own = {**LISTS, "layer_types": [f"{letter}{layer}" for layer in range(8)], "num_hidden_layers": 8, **more}
        return {"text_config": own} if within else own

    first = model(tmp_path / "a", 1, NAMES, config("a", max_window_layers=4))
    last = model(tmp_path / "b", 2, NAMES, config("b", mlp_only_layers=[7]))
    report = merge(stacked((first, 0, 3), (last, 5, 8), (first, 1, 2)), tmp_path / "out")
    made = json.loads((tmp_path / "out" / "config.json").read_text())
    made = made["text_config"] if within else made
    assert made["num_hidden_layers"] == 7
    assert made["layer_types"] == ["a0", "a1", "a2", "b5", "b6", "b7", "a1"]
    assert made["mlp_only_layers"] == [1, 5, 6]
    assert made["eos_token_id"] == list(range(8))
    assert "config.json: max_window_layers goes by the place of a layer" in report.warnings[0]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"moe_layers": [*range(8)]}, {"moe_layers": [*range(7)]}),  # Llama 4 with experts in each layer
        ({"num_kv_heads": [*range(1, 9)]}, {"num_kv_heads": [1, 2, 3, 6, 7, 8, 2]}),
        ({"no_rope_layers": [1, 1, 1, 0, 1, 1, 1, 0]}, {"no_rope_layers": [1, 1, 1, 1, 1, 0, 1]}),
        ({"hybrid_override_pattern": "M-M*-M-E"}, {"hybrid_override_pattern": "M-MM-E-"}),  # Nemotron-H
        (  # Kimi Linear counts from 1
            {"linear_attn_config": {"full_attn_layers": [4, 8], "kda_layers": [1, 2, 3, 5, 6, 7], "head_dim": 8}},
            {"linear_attn_config": {"full_attn_layers": [6], "kda_layers": [1, 2, 3, 4, 5, 7], "head_dim": 8}},
        ),
        ({"rope_scaling": {"short_factor": [1.0] * 8}}, {"rope_scaling": {"short_factor": [1.0] * 8}}),
        (
            {"backbone": {"model_type": "vit", "layer_idx": [1, 6]}},
            {"backbone": {"model_type": "vit", "layer_idx": [1, 6]}},
        ),
    ],
)
@pytest.mark.parametrize("count", ["num_hidden_layers", "num_transformer_layers"])  # the latter of OpenELM
def test_what_is_said_of_layers_in_another_form_follows_them(
    count: str, said: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    one = model(tmp_path / "a", 1, NAMES, {count: 8, **said})
    merge(stacked((one, 0, 3), (one, 5, 8), (one, 1, 2)), tmp_path / "out")
    assert json.loads((tmp_path / "out/config.json").read_text()) == {count: 7, **expected}


@pytest.mark.parametrize(
    ("name", "number", "told"),
    [
        ("first_k_dense_replace", 1, True),
        ("moe_layer_start_index", 1, True),
        ("num_kv_shared_layers", 2, True),
        ("attn_layer_period", 2, True),
        ("moe_layer_freq", 1, False),
        ("num_dense_layers", 0, False),
    ],
)
def test_a_setting_that_goes_by_the_place_of_a_layer_is_told(
    name: str, number: int, told: bool, tmp_path: Path
) -> None:
    one = model(tmp_path / "a", 1, NAMES, {"num_hidden_layers": 8, name: number})
    warnings = merge(stacked((one, 0, 3), (one, 5, 8)), tmp_path / "out").warnings
    assert [f"{name} goes by the place of a layer" in said for said in warnings] == [True] * told


def test_a_configuration_that_does_not_count_its_layers_is_not_left_untrue(tmp_path: Path) -> None:
    first = model(tmp_path / "a", 1, NAMES, {"number_of_blocks": 8})
    with pytest.raises(SurefootError, match=r"config.json: No setting says that there are 8 layers"):
        merge(stacked((first, 0, 3), (first, 1, 3)), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    merge(stacked((first, 0, 8)), tmp_path / "out")
    assert merge(stacked((first, 0, 3), (first, 1, 3)), tmp_path / "out.safetensors").tensors == 7


def test_each_side_of_an_encoder_and_decoder_has_its_own_count(tmp_path: Path) -> None:
    names = [f"{side}.block.{layer}.w" for side in ("encoder", "decoder") for layer in range(4)]
    first = model(tmp_path / "a", 1, names, {"num_layers": 4, "num_decoder_layers": 4})
    for tower, counts in (("encoder", (2, 4)), ("decoder", (4, 2))):
        merge(stacked((first, 0, 2), layers=f"{tower}.block"), tmp_path / tower)
        config = json.loads((tmp_path / tower / "config.json").read_text())
        assert (config["num_layers"], config["num_decoder_layers"]) == counts


@pytest.mark.parametrize("key", ["torch_dtype", "dtype"])
def test_a_type_that_is_written_is_said_in_the_configuration(key: str, tmp_path: Path) -> None:
    config = {key: "float32", "text_config": {key: "float32", "hidden_size": 1}}
    base = model(tmp_path / "a", 1, NAMES, config)
    expected = {key: "bfloat16", "text_config": {key: "bfloat16", "hidden_size": 1}}
    apply(TaskVector(open_checkpoint(base)), tmp_path / "edit", rules=EditRules(dtype="BF16"))
    linear = {"merge_method": "linear", "models": [{"model": base, "parameters": {"weight": 1}}]}
    merge({**linear, "dtype": "float32", "out_dtype": "bfloat16"}, tmp_path / "merge")
    merge({**linear, "dtype": "bfloat16"}, tmp_path / "shards", shard="10KB")
    for out in ("edit", "merge", "shards"):
        assert json.loads((tmp_path / out / "config.json").read_text()) == expected
    merge(linear, tmp_path / "same")
    assert json.loads((tmp_path / "same" / "config.json").read_text()) == config


@pytest.mark.parametrize(
    ("types", "written"),
    [("BF16 F16", "F32"), ("BF16 F32", "F32"), ("F32 BF16", "F32"), ("F16 F64", "F64"), ("BF16 BF16", "BF16")],
)
def test_inputs_of_several_types_are_written_in_one_that_holds_all_as_by_mergekit(
    types: str, written: str, tmp_path: Path
) -> None:
    """mergekit 0.1.5 promotes as torch does, and leaves bfloat16 in config.json, so that the loader rounds again."""
    names = {"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64"}
    values = {"w": np.array([1.0, 2.0]), "v": np.array([1.0 + 2**-7, 3.0])}
    for name, kind in zip("ab", types.split(), strict=True):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "model.safetensors", {key: (kind, one) for key, one in values.items()})
        (tmp_path / name / "config.json").write_text(json.dumps({"torch_dtype": names[kind]}))
    models = [{"model": str(tmp_path / name), "parameters": {"weight": 0.5}} for name in "ab"]
    for method in ("linear", "task_arithmetic"):
        config = {"merge_method": method, "models": models} | (
            {"base_model": models[0]["model"]} if "_" in method else {}
        )
        merge(config, tmp_path / method)
        assert {one.dtype for one in open_checkpoint(tmp_path / method).tensors.values()} == {written}
        told = json.loads((tmp_path / method / "config.json").read_text())["torch_dtype"]
        assert told == names[written]
    merge({**config, "dtype": "bfloat16"}, tmp_path / "asked")
    assert {one.dtype for one in open_checkpoint(tmp_path / "asked").tensors.values()} == {"BF16"}


def test_a_stack_opens_in_the_usual_loader_with_its_layers(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=11, hidden_size=8, intermediate_size=12, num_hidden_layers=4, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=16, use_sliding_window=True, max_window_layers=2,
    )  # fmt: skip
    for name in ("a", "b"):
        Qwen2ForCausalLM(config).save_pretrained(tmp_path / name)
    first, last = str(tmp_path / "a"), str(tmp_path / "b")
    merge(stacked((first, 0, 3), (last, 1, 4), out_dtype="bfloat16"), tmp_path / "out")
    loaded, info = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto", output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert len(loaded.model.layers) == 6 and loaded.dtype == torch.bfloat16
    kinds = config.layer_types or []
    assert loaded.config.layer_types == [*kinds[:3], *kinds[1:]] and len(set(kinds)) == 2
    theirs = load_file(tmp_path / "b" / "model.safetensors")["model.layers.3.mlp.up_proj.weight"]
    assert torch.equal(loaded.model.layers[5].mlp.up_proj.weight, torch.tensor(theirs).bfloat16())


def test_shards_are_not_written_over_those_of_an_input(tmp_path: Path) -> None:
    base = model(tmp_path / "base", 1, NAMES)
    apply(TaskVector(open_checkpoint(base)), tmp_path / "split", shard="12B")
    before = {file.name: file.read_bytes() for file in (tmp_path / "split").iterdir()}
    linear = {"merge_method": "linear", "models": [{"model": str(tmp_path / "split"), "parameters": {"weight": 1}}]}
    for folder in (tmp_path / "split", tmp_path / "base" / ".." / "split"):
        with pytest.raises(SurefootError, match=r"holds the input model-.*; write into another folder"):
            merge(linear, folder, shard="20B")
    assert {file.name: file.read_bytes() for file in (tmp_path / "split").iterdir()} == before
    with pytest.raises(SurefootError, match="from another checkpoint"):
        merge({**linear, "models": [{"model": base, "parameters": {"weight": 1}}]}, tmp_path / "split", shard="20B")
    assert {file.name: file.read_bytes() for file in (tmp_path / "split").iterdir()} == before


@pytest.mark.parametrize(("own", "expected"), [("a", 3 * 2 + 5), ("b", 2 + 3 * 5)])
def test_a_filter_of_one_model_is_part_of_its_own_name_and_not_of_the_written_one_as_in_mergekit(
    own: str, expected: float, tmp_path: Path
) -> None:
    names = [f"model.layers.{layer}.weight" for layer in range(3)]
    paths = {name: model(tmp_path / name, value, names) for name, value in (("a", 2.0), ("b", 5.0))}
    ranges, filtered = {"a": [1, 2], "b": [2, 3]}, {"a": "layers.1", "b": "layers.2"}
    weights = {
        name: [{"filter": filtered[own] if name == own else "*", "value": 3 if name == own else 1}, {"value": 9}]
        for name in paths
    }
    sources = [
        {"model": paths[name], "layer_range": ranges[name], "parameters": {"weight": weights[name]}} for name in paths
    ]
    merge(
        {"merge_method": "linear", "parameters": {"normalize": False}, "slices": [{"sources": sources}]},
        tmp_path / "out",
    )
    assert load_file(tmp_path / "out" / "model.safetensors") == {"model.layers.0.weight": np.float32([expected])}
    scaled = {"model": paths["a"], "layer_range": [1, 2], "parameters": {"scale": [{"filter": "layers.1", "value": 7}]}}
    merge({"merge_method": "passthrough", "slices": [{"sources": [scaled]}]}, tmp_path / "scaled")
    assert load_file(tmp_path / "scaled" / "model.safetensors") == {"model.layers.0.weight": np.float32([14])}


@pytest.mark.parametrize("method", ["linear", "karcher", "passthrough"])
def test_a_base_that_mergekit_counts_as_one_more_model_is_not_left_out_in_silence(method: str, tmp_path: Path) -> None:
    base, other = (model(tmp_path / name, 2.0, ["model.norm.weight"]) for name in "ab")
    listed = {"merge_method": method, "base_model": base, "models": [{"model": other}]}
    with pytest.raises(SurefootError, match="is not among the models: mergekit counts it"):
        merge(listed, tmp_path / "out")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["layer1.0.w", "layer2.0.w", "fc.w"], "2 tensors such as 'layer1.0.w' are"),
        (["first.w", "second.w"], "All tensors are"),
        (["blocks.0.w", "blocks.1.w", "norm.w"], None),
    ],
)
def test_a_gradient_over_layers_that_no_name_numbers_is_said(
    names: list[str], told: str | None, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    base, tuned = (model(tmp_path / name, value, names) for name, value in (("a", 1.0), ("b", 2.0)))
    config = {"merge_method": "task_arithmetic", "base_model": base, "models": [{"model": tuned}]}
    plan_merge({**config, "parameters": {"weight": 0.5}})
    assert not recwarn.list
    plan_merge({**config, "parameters": {"weight": [0, 1]}})
    assert [f"{told} by their names in no numbered layer" in str(one.message) for one in recwarn] == [True] * bool(told)
