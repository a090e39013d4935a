"""LoRA adapters as PEFT saves them: merged as PEFT merges them, or refused by the name of what is more than B A."""

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from surefoot.core import SurefootError
from surefoot.weights import TaskVector, extract, from_state, mean, open_checkpoint, state

FILE = Path(__file__).with_name("peft_outputs.safetensors")
MADE = load_file(FILE)
with safe_open(FILE, "numpy") as opened:
    CONFIGS: dict[str, str] = json.loads(opened.metadata()["configs"])
BASE = from_state({name.partition("/")[2]: one for name, one in MADE.items() if name.startswith("base/")}, label="base")
REFUSED = {
    "pissa": "init_lora_weights 'pissa' changes the base weights",
    "pissa_niter_4": "init_lora_weights 'pissa_niter_4' changes",
    "olora": "init_lora_weights 'olora' changes",
    "dora": "use_dora 'True' is more than",
    "bias": "bias 'lora_only' is more than",
    "saved": r"modules_to_save \"\['head'\]\" is more than",
    "own_bias": "lora_bias 'True' is more than",
}


def part(prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): one for name, one in MADE.items() if name.startswith(prefix)}


def adapter(folder: Path, kind: str, **changed: object) -> Path:
    save_file(part(f"{kind}/adapter/"), folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({**json.loads(CONFIGS[kind]), **changed}))
    return folder


@pytest.mark.parametrize("kind", [kind for kind in CONFIGS if kind not in REFUSED])
def test_an_adapter_gives_what_peft_makes_of_it(kind: str, tmp_path: Path) -> None:
    made = state(TaskVector(BASE, open_checkpoint(adapter(tmp_path, kind))))
    expected = part(f"{kind}/merged/")
    assert made.keys() == expected.keys()
    for name, value in expected.items():
        assert np.abs(made[name] - value).max() < 1e-6, name
    assert sum((made[name] != BASE_VALUES[name]).any() for name in made) in (1, 2)


BASE_VALUES = part("base/")


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_more_than_a_product_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    with pytest.raises(SurefootError, match=REFUSED[kind]):
        open_checkpoint(adapter(tmp_path, kind))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"init_lora_weights": "loftq"}, "init_lora_weights 'loftq'"),
        ({"init_lora_weights": "corda"}, "init_lora_weights 'corda'"),
        ({"init_lora_weights": "lora_ga"}, "init_lora_weights 'lora_ga'"),
        ({"peft_type": "LOHA"}, "peft_type LOHA"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"trainable_token_indices": [3]}, "trainable_token_indices"),
        ({"target_parameters": ["experts.w"]}, "target_parameters"),
        ({"alora_invocation_tokens": [1, 2]}, "alora_invocation_tokens"),
        ({"use_qalora": True}, "use_qalora"),
        ({"r": 3}, r"The rank of \w+ is 3 by r and rank_pattern; its factors \[2, \d+\] and \[\d+, 2\] have 2"),
        ({"rank_pattern": {".*": 4}}, "is 4 by r and rank_pattern"),
        ({"rank_pattern": [4]}, "a mapping is expected"),
        ({"r": "2"}, "The key r must be a number, not '2'"),
        ({"target_modules": ["irst", "third"]}, "By target_modules first is not adapted.*not their configuration"),
        ({"target_modules": "fir.+s"}, "By target_modules first is not adapted"),
        ({"target_modules": ["("], "exclude_modules": "("}, "The modules that it names cannot be read"),
        ({"target_modules": 3}, "The modules that it names cannot be read"),
        ({"exclude_modules": ["first"]}, "By exclude_modules first is not adapted"),
        ({"exclude_modules": ".*st"}, "By exclude_modules first is not adapted"),
        ({"a_setting_of_next_year": 1}, "a_setting_of_next_year '1' is more than"),
    ],
)
def test_a_setting_that_is_not_known_is_not_passed_over(
    changed: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SurefootError, match=message):
        open_checkpoint(adapter(tmp_path, "plain", **changed))


MODULES = ("layers.0.q", "m.layers.0.q", "m.layers.1.q", "m.layers.1.experts.0.q", "m.blocks.1.q", "q", "m.layers.1.vq")
CHOICES: tuple[dict[str, object], ...] = (
    {"target_modules": ["q"]},
    {"target_modules": r".*\.1\.[vq]+"},
    {"target_modules": ["q", "vq"], "exclude_modules": ["layers.1.q"]},
    {"target_modules": ["q", "vq"], "exclude_modules": r"m\..*q"},
    {"target_modules": ["q"], "layers_to_transform": 1},
    {"target_modules": ["q"], "layers_to_transform": [0, 2]},
    {"target_modules": ["q"], "layers_to_transform": []},
    {"target_modules": ["q"], "layers_to_transform": [1], "layers_pattern": "layers"},
    {"target_modules": ["q"], "layers_to_transform": [0], "layers_pattern": ["blocks", "layers"]},
)


LEFT: tuple[set[str], ...] = (
    {"m.layers.1.vq"},
    {"layers.0.q", "m.layers.0.q", "m.layers.1.experts.0.q", "q"},
    {"m.layers.1.q"},
    {"m.layers.0.q", "m.layers.1.q", "m.layers.1.experts.0.q", "m.blocks.1.q", "m.layers.1.vq"},
    {"layers.0.q", "m.layers.0.q", "m.layers.1.vq"},
    {"layers.0.q", "m.layers.1.q", "m.layers.1.experts.0.q", "m.blocks.1.q", "m.layers.1.vq"},
    {"m.layers.1.vq"},
    {"layers.0.q", "m.layers.0.q", "m.blocks.1.q", "m.layers.1.vq"},
    {"m.layers.1.q", "m.layers.1.experts.0.q", "m.blocks.1.q", "m.layers.1.vq"},
)


@pytest.mark.parametrize("choice", CHOICES)
def test_factors_of_a_module_that_peft_would_leave_are_refused(choice: dict[str, object], tmp_path: Path) -> None:
    """What PEFT 0.21 reads of these settings, `LEFT`, was asked of its `check_target_module_exists`."""
    left = set()
    for module in MODULES:
        factors = {"A": np.ones((2, 3), np.float32), "B": np.ones((3, 2), np.float32)}
        save_file(
            {f"base_model.model.{module}.lora_{name}.weight": one for name, one in factors.items()},
            tmp_path / "adapter_model.safetensors",
        )
        config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, **choice}
        (tmp_path / "adapter_config.json").write_text(json.dumps(config))
        try:
            open_checkpoint(tmp_path)
        except SurefootError:
            left.add(module)
    assert left == LEFT[CHOICES.index(choice)]


def tuned_state(**changed: np.ndarray) -> dict[str, np.ndarray]:
    return {**BASE_VALUES, **{name.replace("__", "."): one.astype(np.float32) for name, one in changed.items()}}


def test_several_adapters_in_one_file_are_refused(tmp_path: Path) -> None:
    kind = next(kind for kind in CONFIGS if kind not in REFUSED)
    place = adapter(tmp_path, kind)
    for names, several in ((("default",), False), (("default", "other"), True)):
        made = part(f"{kind}/adapter/").items()
        named = {key.replace(".weight", f".{name}.weight"): one for key, one in made for name in names}
        save_file(named, place / "adapter_model.safetensors")
        with pytest.raises(SurefootError, match="It holds several adapters of") if several else nullcontext():
            assert open_checkpoint(place).tensors


def test_an_average_that_would_depend_on_its_order_is_refused(tmp_path: Path) -> None:
    kind = next(kind for kind in CONFIGS if kind not in REFUSED)
    for order in ([BASE, open_checkpoint(adapter(tmp_path, kind))], [open_checkpoint(adapter(tmp_path, kind)), BASE]):
        with pytest.raises(SurefootError, match="An average is of whole models, and an adapter is a change of one"):
            mean(order)


def test_an_extracted_adapter_is_the_nearest_of_its_rank_in_the_form_of_peft(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    deltas = {name: rng.standard_normal(BASE_VALUES[f"{name}.weight"].shape) for name in ("first", "second")}
    tuned = tuned_state(**{f"{name}__weight": BASE_VALUES[f"{name}.weight"] + one for name, one in deltas.items()})
    report = extract(BASE, from_state(tuned, label="tuned"), tmp_path, 2)
    assert report.matrices == 2 and report.left_out == ()
    assert load_file(report.path).keys() == part("plain/adapter/").keys()
    made = state(TaskVector(BASE, open_checkpoint(tmp_path)))
    missed = total = 0.0
    for name, delta in deltas.items():
        values = np.linalg.svd(delta, compute_uv=False)
        rest = np.linalg.norm(made[f"{name}.weight"] - tuned[f"{name}.weight"])
        assert rest == pytest.approx(np.sqrt((values[2:] ** 2).sum()), rel=1e-5)
        missed, total = missed + rest**2, total + (delta**2).sum()
    assert report.lost == pytest.approx(np.sqrt(missed / total), rel=1e-5)


def test_a_change_of_a_small_rank_comes_back_whole_and_the_rest_is_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    product = rng.standard_normal((6, 1)) @ rng.standard_normal((1, 7))
    bias = BASE_VALUES["head.bias"] + 1
    tuned = from_state(tuned_state(first__weight=BASE_VALUES["first.weight"] + product, head__bias=bias), label="tuned")
    report = extract(BASE, tuned, tmp_path, 4)
    assert report.left_out == ("head.bias",) and report.matrices == 1
    assert report.lost == pytest.approx(np.sqrt(3 / (3 + (product**2).sum())), rel=1e-3)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["target_modules"] == ["first"]
    opened = open_checkpoint(tmp_path)
    made = state(TaskVector(BASE, opened))["first.weight"]
    assert np.abs(made - (BASE_VALUES["first.weight"] + product)).max() < 1e-6


def test_layers_that_are_stored_transposed_are_known_by_their_biases(tmp_path: Path) -> None:
    delta = np.random.default_rng(2).standard_normal((5, 4))
    tuned = from_state(tuned_state(third__weight=BASE_VALUES["third.weight"] + delta), label="tuned")
    extract(BASE, tuned, tmp_path / "one", 5)
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "model.safetensors").write_bytes(b"weights")
    with pytest.raises(
        SurefootError, match=r"base holds a checkpoint \(model.safetensors\): an adapter needs a folder"
    ):
        extract(BASE, tuned, tmp_path / "base", 5)
    assert [path.name for path in (tmp_path / "base").iterdir()] == ["model.safetensors"]
    assert json.loads((tmp_path / "one" / "adapter_config.json").read_text())["fan_in_fan_out"] is True
    shapes = {
        name.split(".")[-2]: one.shape for name, one in load_file(tmp_path / "one/adapter_model.safetensors").items()
    }
    assert shapes == {"lora_A": (4, 5), "lora_B": (4, 4)}
    made = state(TaskVector(BASE, open_checkpoint(tmp_path / "one")))["third.weight"]
    assert np.abs(made - (BASE_VALUES["third.weight"] + delta)).max() < 1e-6
    both = tuned_state(third__weight=BASE_VALUES["third.weight"] + 1, first__weight=BASE_VALUES["first.weight"] + 1)
    with pytest.raises(SurefootError, match="extract each kind alone"):
        extract(BASE, from_state(both, label="both"), tmp_path / "two", 5)
    assert extract(BASE, from_state(both, label="both"), tmp_path / "two", 5, only=["first.*"]).matrices == 1


def test_what_is_no_change_of_layers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SurefootError, match="No matrix of a layer differs"):
        extract(BASE, from_state(BASE_VALUES, label="same"), tmp_path / "out", 2)
    with pytest.raises(SurefootError, match="rank of 1 or more"):
        extract(BASE, BASE, tmp_path / "out", 0)
    broken = from_state(tuned_state(first__weight=BASE_VALUES["first.weight"] * np.nan), label="broken")
    with pytest.raises(SurefootError, match=r"'first.weight': its change is not finite"):
        extract(BASE, broken, tmp_path / "out", 2)
    assert not (tmp_path / "out").exists()
