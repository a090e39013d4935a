"""Merges against the numbers of mergekit 0.1.5, kept beside this file (see make_mergekit_outputs.py).

Where the two differ in 32 bits, formulas in 64 bits tell why: mergekit's own rounding is up to four units in the last
place of the largest number it adds from the exact value, ours two and a half; with `accumulate: float64` ours is the
exact value, rounded once, and all of the difference is mergekit's.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from merging import CONFIGURATIONS, configuration, values, write_models
from safetensors.numpy import load_file, save_file

from surefoot.core import SurefootError
from surefoot.weights import EditRules, TaskVector, apply, mean, merge, open_checkpoint, state, verify

EXPECTED = load_file(Path(__file__).with_name("mergekit_outputs.safetensors"))
# Both sides sum in 32 bits, in another order: the base plus changes here; weighted inputs over their sum, or products
# with 32-bit cosines and sines, there. The distance is in units in the last place of the largest number added.
UNITS = {
    "linear": 2, "linear_sum": 1, "slerp": 3, "slerp_gradient": 3, "task_arithmetic": 2, "task_arithmetic_filtered": 2,
    "model_stock": 2, "nuslerp": 3, "nuslerp_base": 4, "slices": 1, "sce": 2, "sce_selected": 4, "karcher": 4,
    "multislerp": 4, "multislerp_base": 6, "nearswap": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_models(folder)
    return folder


@pytest.mark.parametrize("name", [name for name in CONFIGURATIONS if name != "arcee_fusion"])
def test_a_merge_gives_the_numbers_of_mergekit(name: str, models: Path, tmp_path: Path) -> None:
    merge(configuration(name, models), tmp_path / "out.safetensors")
    mine = load_file(tmp_path / "out.safetensors")
    theirs = {key.partition("/")[2]: value for key, value in EXPECTED.items() if key.startswith(f"{name}/")}
    assert mine.keys() == theirs.keys()
    for tensor, value in theirs.items():
        if name not in UNITS:
            assert (mine[tensor] == value).all(), tensor
            continue
        added = np.abs(np.stack([value, *(values(model).get(tensor, value) for model in range(4))])).max(0)
        assert (np.abs(mine[tensor] - value) <= UNITS[name] * np.spacing(added)).all(), tensor
    assert verify(tmp_path / "out.safetensors").holds


def test_a_fusion_takes_the_elements_that_mergekit_takes_but_for_those_at_the_bound(
    models: Path, tmp_path: Path
) -> None:
    mine = load_file(merge(configuration("arcee_fusion", models), tmp_path / "out.safetensors").path)
    taken = at_the_bound = 0
    for tensor, (base, tuned) in {name: (values(0)[name], values(1)[name]) for name in mine}.items():
        wide, other = base.astype(np.float64), tuned.astype(np.float64)
        shares = [np.exp(one) / np.exp(one).sum(-1, keepdims=True) for one in (other, wide)]
        divergence = (shares[0] * np.log(shares[0] / shares[1])).sum(-1, keepdims=True)
        matters = np.abs(other - wide) * divergence
        low, median, high = np.sort(matters.reshape(-1))[[int(q * (matters.size - 1)) for q in (0.25, 0.5, 0.75)]]
        bound = median + 1.5 * (high - low)
        sure = np.abs(matters - bound) > 0.02 * bound  # a divergence in 32 bits is off by about a hundredth
        assert (mine[tensor] == np.where(matters >= bound, tuned, base))[sure].all()
        theirs = EXPECTED[f"arcee_fusion/{tensor}"]
        assert (np.abs(mine[tensor] - theirs) <= np.spacing(np.abs(theirs)))[sure].all()
        taken, at_the_bound = taken + int((mine[tensor] == tuned).sum()), at_the_bound + int((~sure).sum())
    assert 500 < taken < 1500 and at_the_bound < 100


def test_a_mean_on_the_sphere_is_where_the_ways_to_all_inputs_cancel_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(50) + 2 for _ in range(4)]
    for number, one in enumerate(inputs):
        save_file({"w": one}, tmp_path / f"{number}.safetensors")
    entries = [{"model": str(tmp_path / f"{number}.safetensors"), "parameters": {"weight": 1}} for number in range(4)]
    content = {"merge_method": "karcher", "models": entries[:4], "parameters": {"tol": 1e-12, "max_iter": 100}}
    for entry in entries:
        del entry["parameters"]
    made = load_file(merge(content, tmp_path / "out.safetensors").path)["w"]
    lengths = [np.linalg.norm(one) for one in inputs]
    assert np.linalg.norm(made) == pytest.approx(np.mean(lengths), rel=1e-12)
    mean, ways = made / np.linalg.norm(made), np.zeros(50)
    for one, length in zip(inputs, lengths, strict=True):
        cosine = one @ mean / length
        ways += np.arccos(cosine) / np.sqrt(1 - cosine**2) * (one / length - cosine * mean)
    assert np.linalg.norm(ways) < 1e-10
    with pytest.raises(SurefootError, match="directions cancel out"):
        for number, one in enumerate((inputs[0], -inputs[0], inputs[0] * 0)):
            save_file({"w": one}, tmp_path / f"{number}.safetensors")
        weighted = [{**entry, "parameters": {"weight": 1}} for entry in entries[:3]]
        merge({"merge_method": "multislerp", "models": weighted}, tmp_path / "out.safetensors")


def test_a_tensor_that_an_adapter_leaves_alone_counts_as_the_base(tmp_path: Path) -> None:
    base, tuned = np.full((2, 2), 1.0, np.float32), np.full((2, 2), 3.0, np.float32)
    save_file({"a.weight": base, "b.weight": base}, tmp_path / "base.safetensors")
    save_file({"a.weight": tuned, "b.weight": tuned}, tmp_path / "tuned.safetensors")
    (tmp_path / "adapter").mkdir()
    factors = {f"base_model.model.a.lora_{side}.weight": np.eye(2, dtype=np.float32) for side in "AB"}
    save_file(factors, tmp_path / "adapter" / "adapter_model.safetensors")
    (tmp_path / "adapter" / "adapter_config.json").write_text('{"peft_type": "LORA", "lora_alpha": 2, "r": 2}')
    start, out = str(tmp_path / "base.safetensors"), tmp_path / "out.safetensors"
    models = [
        {"model": str(tmp_path / "tuned.safetensors"), "parameters": {"weight": 0.5}},
        {"model": f"{start}+{tmp_path / 'adapter'}", "parameters": {"weight": 0.5}},
    ]
    content = {"merge_method": "task_arithmetic", "base_model": start, "models": models}
    made = load_file(merge({**content, "parameters": {"normalize": True}}, out).path)
    assert (made["b.weight"] == 2).all() and made["a.weight"].tolist() == [[2.5, 2], [2, 2.5]]
    slerped = {"merge_method": "slerp", "base_model": start, "models": models[1:], "parameters": {"t": 0.5}}
    assert (load_file(merge({**slerped, "models": [{"model": models[1]["model"]}]}, out).path)["b.weight"] == 1).all()


def test_an_adapter_is_no_change_of_another_layer_than_its_own(tmp_path: Path) -> None:
    base = {f"layers.{layer}.q.weight": np.full((2, 2), layer, np.float32) for layer in range(2)}
    save_file(base, tmp_path / "base.safetensors")
    (tmp_path / "adapter").mkdir()
    factors = {f"base_model.model.layers.1.q.lora_{side}.weight": np.eye(2, dtype=np.float32) for side in "AB"}
    save_file(factors, tmp_path / "adapter" / "adapter_model.safetensors")
    (tmp_path / "adapter" / "adapter_config.json").write_text('{"peft_type": "LORA", "lora_alpha": 2, "r": 2}')
    start = str(tmp_path / "base.safetensors")

    def made(first: int) -> list[list[float]]:
        sources = [
            {"model": start, "layer_range": [first, first + 1]},
            {"model": f"{start}+{tmp_path / 'adapter'}", "layer_range": [1, 2], "parameters": {"weight": 0.5}},
        ]
        content = {"merge_method": "task_arithmetic", "base_model": start, "slices": [{"sources": sources}]}
        return load_file(merge(content, tmp_path / "out.safetensors").path)["layers.0.q.weight"].tolist()

    assert made(1) == [[1.5, 1], [1, 1.5]]
    with pytest.raises(SurefootError, match="layer by layer, and their layer_range differ"):
        made(0)


@pytest.mark.parametrize("method", ["linear", "karcher", "passthrough"])
def test_an_adapter_is_never_added_to_another_model_than_its_base(method: str, tmp_path: Path) -> None:
    one = np.eye(2, dtype=np.float32)
    for number, name in enumerate(("base", "other")):
        save_file({"a.weight": one + number}, tmp_path / f"{name}.safetensors")
    (tmp_path / "adapter").mkdir()
    factors = {f"base_model.model.a.lora_{side}.weight": one for side in "AB"}
    save_file(factors, tmp_path / "adapter" / "adapter_model.safetensors")
    (tmp_path / "adapter" / "adapter_config.json").write_text('{"peft_type": "LORA", "lora_alpha": 2, "r": 2}')
    base, other = (str(tmp_path / f"{name}.safetensors") for name in ("base", "other"))
    adapted, weight = f"{base}+{tmp_path / 'adapter'}", {"parameters": {"weight": 1.0}} if method == "linear" else {}
    models = [{"model": name, **weight} for name in ([adapted] if method == "passthrough" else [other, adapted])]
    content = {"merge_method": method, "base_model": base, "models": models}
    with pytest.raises(SurefootError, match=f"{method} takes models as they are, .* surefoot weights add .*base.safe"):
        merge(content, tmp_path / "out.safetensors")
    with pytest.raises(SurefootError, match="slerp needs two models with base_model counted, not 3"):
        merge({**content, "merge_method": "slerp", "parameters": {"t": 0.5}, "models": [
            {"model": other}, {"model": adapted}
        ]}, tmp_path / "out.safetensors")  # fmt: skip
    summed = apply(
        TaskVector(open_checkpoint(base), open_checkpoint(tmp_path / "adapter")), tmp_path / "sum.safetensors"
    )
    merged = merge({"merge_method": "linear", "models": [
        {"model": name, "parameters": {"weight": 1.0}} for name in (other, str(summed.path))
    ]}, tmp_path / "out.safetensors")  # fmt: skip
    assert (load_file(merged.path)["a.weight"] == (2 * one + one + 1) / 2).all()


def arc(one: np.ndarray, other: np.ndarray, t: float) -> np.ndarray:
    """The great circle between two vectors in 64 bits (Shoemake 1985)."""
    angle = np.arccos(np.sum(one * other) / np.linalg.norm(one) / np.linalg.norm(other))
    return (np.sin((1 - t) * angle) * one + np.sin(t * angle) * other) / np.sin(angle)


def stock(base: np.ndarray, *tuned: np.ndarray) -> np.ndarray:
    """Equation 3 of arXiv 2403.19522 in 64 bits."""
    changes = [(one - base).reshape(-1) for one in tuned]
    pairs = [(0, 1), (0, 2), (1, 2)]
    norms = [np.linalg.norm(one) for one in changes]
    cosine = np.mean([changes[i] @ changes[j] / norms[i] / norms[j] for i, j in pairs])
    share = 3 * cosine / (1 + 2 * cosine)
    return base + share * (np.mean(tuned, axis=0) - base)


EXACT: dict[str, Callable[..., np.ndarray]] = {
    "linear": lambda base, a, b, c: (0.2 * base + 0.5 * a + 0.4 * b) / 1.1,
    "linear_sum": lambda base, a, b, c: 0.5 * a + 0.4 * b,
    "slerp": lambda base, a, b, c: arc(base, a, 0.35),
    "task_arithmetic": lambda base, a, b, c: base + 0.8 * (0.5 * (a - base) + 0.3 * (b - base) - 0.2 * (c - base)),
    "model_stock": stock,
    "nuslerp": lambda base, a, b, c: arc(a, b, 0.4 / 1.1),
    "nuslerp_base": lambda base, a, b, c: base + arc(a - base, b - base, 0.4 / 1.1),
}


@pytest.mark.parametrize("name", EXACT)
def test_where_mergekit_differs_the_exact_value_is_ours(name: str, models: Path, tmp_path: Path) -> None:
    config = configuration(name, models)
    single = load_file(merge(config, tmp_path / "single.safetensors").path)
    double = load_file(merge({**config, "accumulate": "float64"}, tmp_path / "double.safetensors").path)
    inputs = [values(model) for model in range(4)]
    ours, theirs = 0.0, 0.0
    for tensor, mine in double.items():
        wide = [one[tensor].astype(np.float64) for one in inputs]
        exact = EXACT[name](*wide)
        unit = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
        # Half a unit, and what is left of the 64 bits after numbers cancelled.
        slack = 1e-14 * np.max(np.abs([*wide, exact]), axis=0)
        assert (np.abs(mine - exact) <= 0.5 * unit + slack).all(), tensor
        peer = EXPECTED[f"{name}/{tensor}"].astype(np.float64)
        assert (np.abs(mine - peer) <= np.abs(peer - exact) + 0.5 * unit + slack).all(), tensor
        largest = np.spacing(np.max(np.abs([*wide, exact]), axis=0).astype(np.float32))
        assert (np.abs(single[tensor] - exact) <= 2.5 * largest).all(), tensor
        assert (np.abs(single[tensor] - peer) <= np.abs(peer - exact) + 2.5 * largest).all(), tensor
        ours, theirs = ours + ((single[tensor] - exact) ** 2).sum(), theirs + ((peer - exact) ** 2).sum()
    if name != "linear_sum":  # a product with 48 bits of the weight has one rounding more; it breaks ties rightly
        assert ours < 1.05 * theirs


@pytest.mark.parametrize("kind", ["adapter", "model"])
def test_a_slice_drops_nothing_of_its_layers_without_a_word(kind: str, tmp_path: Path) -> None:
    base = {f"layers.{layer}.q.weight": np.full((4, 4), layer, np.float32) for layer in range(2)}
    save_file(base, tmp_path / "base.safetensors")
    if kind == "model":
        more = {f"layers.{layer}.q.bias": np.ones(4, np.float32) for layer in range(2)}
        save_file({**base, **more}, tmp_path / "tuned.safetensors")
    else:
        (tmp_path / "tuned").mkdir()
        factors = {f"base_model.model.layers.1.other.lora_{one}.weight": np.ones((4, 4), np.float32) for one in "AB"}
        save_file(factors, tmp_path / "tuned" / "adapter_model.safetensors")
        (tmp_path / "tuned" / "adapter_config.json").write_text('{"r": 4, "lora_alpha": 4}')
    start = str(tmp_path / "base.safetensors")
    tuned = f"{start}+{tmp_path}/tuned" if kind == "adapter" else str(tmp_path / "tuned.safetensors")
    sources = [{"model": tuned, "layer_range": [0, 2], "parameters": {"weight": 1}}]
    config = {"merge_method": "task_arithmetic", "base_model": start, "slices": [{"sources": sources}]}
    with pytest.raises(SurefootError, match=r"has 'layers.\d.(q.bias|other.weight)' in a layer of a slice, and .*base"):
        merge(config, tmp_path / "out.safetensors")
    merged = load_file(merge({**config, "extra": "drop"}, tmp_path / "out.safetensors").path)
    assert merged.keys() == base.keys() and all((merged[name] == base[name]).all() for name in base)


def test_a_tensor_that_a_model_lacks_counts_as_the_base_as_in_an_average(tmp_path: Path) -> None:
    for number, names in enumerate(("ab", "ab", "a")):
        save_file({name: np.full(3, number, np.float32) for name in names}, tmp_path / f"{number}.safetensors")
    models = [{"model": str(tmp_path / f"{number}.safetensors"), "parameters": {"weight": 1}} for number in range(3)]
    config = {"merge_method": "linear", "models": models, "missing": "base"}
    merged = load_file(merge(config, tmp_path / "out.safetensors").path)
    assert merged["a"] == pytest.approx([1, 1, 1]) and merged["b"] == pytest.approx([1 / 3] * 3)
    checkpoints = [open_checkpoint(one["model"]) for one in models]
    averaged = state(mean(checkpoints), rules=EditRules(missing="base"))
    assert averaged["b"] == pytest.approx(merged["b"])


def test_a_layer_of_a_number_that_the_base_has_not_is_filled_from_its_own_place(tmp_path: Path) -> None:
    for name, count, missing in (("base", 1, -1), ("tuned", 2, 1)):
        tensors = {f"layers.{layer}.w": np.full(2, layer + 1, np.float32) for layer in range(count)}
        tensors |= {f"layers.{layer}.b": np.full(2, 7, np.float32) for layer in range(count) if layer != missing}
        save_file(tensors, tmp_path / f"{name}.safetensors")
    base, tuned = (str(tmp_path / f"{name}.safetensors") for name in ("base", "tuned"))
    sources = [{"model": base, "layer_range": [0, 1]}, {"model": tuned, "layer_range": [1, 2]}]
    config = {"merge_method": "task_arithmetic", "base_model": base, "slices": [{"sources": sources}]}
    content = {**config, "parameters": {"weight": 0.5}, "missing": "base"}
    merged = load_file(merge(content, tmp_path / "out.safetensors").path)
    assert merged["layers.0.w"].tolist() == [1.5, 1.5] and merged["layers.0.b"].tolist() == [7, 7]
