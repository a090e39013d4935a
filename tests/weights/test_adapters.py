"""LoRA adapters as PEFT saves them: merged as PEFT merges them, or refused by the name of what is more than B A."""

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from surefoot.cli import app
from surefoot.core import SurefootError
from surefoot.weights import TaskVector, apply, extract, from_state, mean, open_checkpoint, state, statistics

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


def low_rank(folder: Path, modules: dict[str, tuple[int, int]], **config: object) -> dict[str, np.ndarray]:
    """Write an adapter of rank 2, and give its products B A by the names that the base has."""
    rng, factors, products = np.random.default_rng(3), dict[str, np.ndarray](), dict[str, np.ndarray]()
    for module, (rows, columns) in modules.items():
        down, up = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, columns), (rows, 2)))
        factors |= {f"base_model.model.{module}.lora_A.weight": down, f"base_model.model.{module}.lora_B.weight": up}
        products[f"{module.replace('_orig_mod.', '')}.weight"] = up @ down
    folder.mkdir(exist_ok=True)
    save_file(factors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": [*modules], **config}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return products


def test_attention_that_peft_wraps_whole_is_named_with_its_cure(tmp_path: Path) -> None:
    low_rank(tmp_path, {"attn": (6, 2), "attn.base_layer.out_proj": (2, 2)}, target_modules=["attn"])
    with pytest.raises(SurefootError, match=r"wraps whole \(nn\.MultiheadAttention\)\. Merge it into its base"):
        open_checkpoint(tmp_path)


def test_patterns_are_of_names_as_they_were_before_a_wrapper_is_taken_off(tmp_path: Path) -> None:
    base = {f"{name}.weight": np.zeros((3, 3), np.float32) for name in ("layers.0.q", "layers.1.q")}
    modules = {f"_orig_mod.layers.{layer}.q": (3, 3) for layer in (0, 1)}
    made = low_rank(tmp_path, modules, alpha_pattern={"_orig_mod.layers.0.q": 20, "^layers.1.q": 9})
    found = state(TaskVector(from_state(base), open_checkpoint(tmp_path)))
    assert found["layers.0.q.weight"] == pytest.approx(10 * made["layers.0.q.weight"], rel=1e-6)
    assert found["layers.1.q.weight"] == pytest.approx(made["layers.1.q.weight"], rel=1e-6)


def test_an_adapter_is_no_start_of_a_difference(tmp_path: Path) -> None:
    for name in ("a", "b"):
        low_rank(tmp_path / name, {"first": (6, 7)})
    first, second = (open_checkpoint(tmp_path / name) for name in ("a", "b"))
    with pytest.raises(SurefootError, match="nor the start of a difference"):
        state(TaskVector(first, second).on(BASE))
    assert (
        state(TaskVector(BASE, second) - TaskVector(BASE, first))["first.weight"] == BASE_VALUES["first.weight"]
    ).all()


def test_square_layers_are_stored_as_the_other_layers_of_the_model(tmp_path: Path) -> None:
    """PEFT 0.21 takes W + (B A)^T of a Conv1D whatever fan_in_fan_out says, which one layer of another kind turns."""
    base = {"c_attn.weight": np.zeros((4, 12)), "c_attn.bias": np.zeros(12), "c_proj.weight": np.zeros((4, 4)),
            "c_proj.bias": np.zeros(4), "head.weight": np.zeros((4, 4))}  # fmt: skip
    tuned = {**base, "c_proj.weight": np.arange(16.0).reshape(4, 4)}
    opened = from_state(base, label="base")
    extract(opened, from_state(tuned), tmp_path / "made", 4)
    factors = load_file(tmp_path / "made" / "adapter_model.safetensors")
    up, down = (factors[f"base_model.model.c_proj.lora_{one}.weight"] for one in "BA")
    assert json.loads((tmp_path / "made" / "adapter_config.json").read_text())["fan_in_fan_out"] is True
    product = (up @ down).T
    made = state(TaskVector(opened, open_checkpoint(tmp_path / "made")))["c_proj.weight"]
    assert np.abs(product - tuned["c_proj.weight"]).max() < 1e-5 and np.abs(made - product).max() < 1e-5
    for module, said in (("c_proj", False), ("head", True)):
        low_rank(tmp_path / "told", {module: (4, 4)}, fan_in_fan_out=said)
        with pytest.raises(SurefootError, match=f"fan_in_fan_out is {said}, .* square {module} may be one"):
            state(TaskVector(opened, open_checkpoint(tmp_path / "told")))
    with pytest.raises(SurefootError, match="extract each kind alone"):
        extract(opened, from_state({**tuned, "head.weight": np.eye(4), "c_attn.weight": np.ones((4, 12))}), tmp_path, 4)


def test_the_rank_of_a_module_is_not_that_of_one_whose_name_ends_so(tmp_path: Path) -> None:
    base = {"head.weight": np.zeros((1, 5)), "layers.0.head.weight": np.zeros((5, 5))}
    tuned = {"head.weight": np.ones((1, 5)), "layers.0.head.weight": np.eye(5)}
    extract(from_state(base), from_state(tuned), tmp_path, 3)
    made = state(TaskVector(from_state(base), open_checkpoint(tmp_path)))
    assert made["head.weight"] == pytest.approx(np.ones((1, 5)))
    assert np.linalg.norm(made["layers.0.head.weight"] - np.eye(5)) == pytest.approx(2**0.5)


def test_an_adapter_is_not_written_over_nor_taken_for_the_model_beside_it(tmp_path: Path) -> None:
    low_rank(tmp_path, {"first": (6, 7)})
    with pytest.raises(SurefootError, match="is one of the inputs"):
        apply(TaskVector(BASE, open_checkpoint(tmp_path)), tmp_path / "adapter_model.safetensors")
    save_file(BASE_VALUES, tmp_path / "model.safetensors")
    with pytest.raises(SurefootError, match=r"a model and an adapter \(adapter_model.safetensors, model.safetensors\)"):
        open_checkpoint(tmp_path)


def test_factors_of_64_bits_are_scaled_in_64_bits(tmp_path: Path) -> None:
    low_rank(tmp_path, {"first": (6, 7)}, lora_alpha=1 / 3)
    wide = {name: one.astype(np.float64) for name, one in load_file(tmp_path / "adapter_model.safetensors").items()}
    save_file(wide, tmp_path / "adapter_model.safetensors")
    base = {"first.weight": np.zeros((6, 7))}
    down, up = wide.values() if "lora_A" in next(iter(wide)) else [*wide.values()][::-1]
    made = state(TaskVector(from_state(base), open_checkpoint(tmp_path)))["first.weight"]
    assert made == pytest.approx(up @ down / 6, rel=1e-13)


def test_a_change_of_eight_bit_floats_is_not_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No arithmetic is done on them: what has no size here is named, and not said to be none."""
    torch = pytest.importorskip("torch")
    for number, name in enumerate(("base", "tuned")):
        narrow = torch.full((4, 4), 1.0 + number).to(torch.float8_e4m3fn)
        some = {"a.weight": narrow, "b.weight": torch.full((4, 4), 1.0 + number), "n": torch.tensor(3 + number)}
        apply(TaskVector(from_state(some)), tmp_path / f"{name}.safetensors")
    base, tuned = (open_checkpoint(tmp_path / f"{name}.safetensors") for name in ("base", "tuned"))
    report = extract(base, tuned, tmp_path / "adapter", 1)
    assert report.matrices == 1 and report.left_out == ("a.weight", "n")
    some = {f"w{at}": np.zeros(3) for at in range(3)} | {"q.weight": np.zeros((2, 2))}
    moved = {name: one + at for at, (name, one) in enumerate(some.items(), 1)}
    report = extract(from_state(some), from_state(moved), tmp_path / "ranked", 1)
    assert report.left_out == ("w2", "w1", "w0")  # the most changed first
    found = statistics([TaskVector(base, tuned), TaskVector(base)])
    assert found.uncounted == ("a.weight", "n") and found.norms.tolist() == [4, 0]
    app(["weights", "diff", base.label, tuned.label], result_action="return_value")
    assert (
        "2 tensors of whole numbers or 8-bit floats differ and are not counted: a.weight, n" in capsys.readouterr().err
    )
