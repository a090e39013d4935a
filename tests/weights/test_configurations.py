"""Any configuration of a merge is done right, or refused with one sentence: never a traceback, never another number."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from surefoot.cli import main
from surefoot.weights import merge, verify

SHAPES = {"embed.w": (5,), "layers.0.w": (3, 4), "layers.1.w": (3, 4)}
NAMES = ("base", "a", "b", "c")
MODELS = {
    name: {
        tensor: np.random.default_rng([place, at]).standard_normal(shape).astype(np.float32)
        for at, (tensor, shape) in enumerate(SHAPES.items())
    }
    for place, name in enumerate(NAMES)
}
SOME = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
# The exact value, which mergekit's formulas give in 64 bits; rounding to 32 bits and sums in them are within this.
NEAR = {"rtol": 2e-6, "atol": 2e-6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models")
    for name, tensors in MODELS.items():
        save_file(tensors, place / f"{name}.safetensors")
    (place / "damaged.safetensors").write_bytes((place / "a.safetensors").read_bytes()[:-7])
    (place / "text.safetensors").write_text("not a checkpoint")
    return place


def merged(config: Any, folder: Path) -> int:
    """`surefoot weights merge` of a configuration whose models lie in the folder; the exit code."""
    out = folder / "out.safetensors"
    for left in folder.glob("out.safetensors*"):
        left.unlink()
    text = yaml.safe_dump(config, allow_unicode=True).replace("@", f"{folder}/")
    (folder / "merge.yml").write_text(text, encoding="utf-8")
    words = ["surefoot", "weights", "merge", str(folder / "merge.yml"), str(out)]
    with patch.object(sys, "argv", words), pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def entry(name: str, **parameters: Any) -> dict[str, Any]:
    return {"model": f"@{name}.safetensors", "parameters": parameters}


weight = st.floats(-2, 2).map(lambda value: round(value, 3))
# A number, a gradient over the two layers, or one for the tensors whose names hold a word.
setting = st.one_of(
    weight,
    st.lists(weight, min_size=2, max_size=3),
    st.builds(lambda one, rest: [{"filter": "embed", "value": one}, {"value": rest}], weight, weight),
)


def at(value: Any, tensor: str) -> float:
    """A setting at a tensor: layers lie evenly from 0 to 1, what stands before them at 0."""
    if isinstance(value, list) and isinstance(value[0], dict):
        return value[0]["value"] if "embed" in tensor else value[1]["value"]
    if isinstance(value, list):
        return float(np.interp(1.0 if "layers.1" in tensor else 0.0, np.linspace(0, 1, len(value)), value))
    return value


@SOME
@given(
    weights=st.dictionaries(st.sampled_from(NAMES[1:]), setting, min_size=1),
    method=st.sampled_from(["linear", "task_arithmetic"]),
    normalize=st.booleans(),
    scale=weight,
)
def test_sums_are_those_of_numpy(
    folder: Path, weights: dict[str, Any], method: str, normalize: bool, scale: float
) -> None:
    config: dict[str, Any] = {
        "merge_method": method,
        "models": [entry(name, weight=one) for name, one in weights.items()],
    }
    config["parameters"] = {"normalize": normalize}
    if method == "task_arithmetic":
        config |= {"base_model": "@base.safetensors", "parameters": {"normalize": normalize, "lambda": scale}}
    totals = [sum(at(one, tensor) for one in weights.values()) for tensor in SHAPES]
    if normalize and min(map(abs, totals)) < 0.05:
        return  # divided by next to nothing
    assert merged(config, folder) == 0
    found = load_file(folder / "out.safetensors")
    for tensor, total in zip(SHAPES, totals, strict=True):
        wide = {name: MODELS[name][tensor].astype(np.float64) for name in NAMES}
        start = wide["base"] if method == "task_arithmetic" else np.zeros(SHAPES[tensor])
        change = sum(at(one, tensor) * (wide[name] - start) for name, one in weights.items())
        change = change / (total if normalize else 1) * (scale if method == "task_arithmetic" else 1)
        largest = max(float(np.abs(change).max()), 1) * max(1, 1 / abs(total)) if normalize else 4
        np.testing.assert_allclose(found[tensor], start + change, rtol=2e-6, atol=2e-6 * largest)
    assert verify(folder / "out.safetensors").holds


def test_where_no_filter_of_a_module_fits_the_setting_around_it_holds(folder: Path) -> None:
    inner = {"weight": [{"filter": "layers.0", "value": 0.25}], "lambda": {"filter": "layers", "value": 2.0}}
    config = {
        "merge_method": "task_arithmetic",
        "base_model": "@base.safetensors",
        "modules": {"all": {"models": [{"model": "@a.safetensors"}], "parameters": inner}},
        "parameters": {"weight": [{"filter": "embed", "value": 0.5}, {"value": [1.0, 3.0]}], "lambda": 0.5},
    }
    assert merged(config, folder) == 0
    found = load_file(folder / "out.safetensors")
    for tensor, share in {"embed.w": 0.5 * 0.5, "layers.0.w": 0.25 * 2, "layers.1.w": 3.0 * 2}.items():
        base, tuned = (MODELS[name][tensor].astype(np.float64) for name in ("base", "a"))
        np.testing.assert_allclose(found[tensor], base + share * (tuned - base), **NEAR)


@SOME
@given(t=st.one_of(st.floats(0, 1), st.lists(st.floats(0, 1), min_size=2, max_size=3)))
def test_ways_on_the_sphere_are_those_of_numpy(folder: Path, t: Any) -> None:
    models = [entry("base"), entry("a")]
    config = {"merge_method": "slerp", "base_model": "@base.safetensors", "models": models, "parameters": {"t": t}}
    assert merged(config, folder) == 0
    found = load_file(folder / "out.safetensors")
    for tensor in SHAPES:
        first, last = (MODELS[name][tensor].astype(np.float64) for name in ("base", "a"))
        angle = np.arccos((first * last).sum() / np.linalg.norm(first) / np.linalg.norm(last))
        share = at(t, tensor)
        expected = (np.sin((1 - share) * angle) * first + np.sin(share * angle) * last) / np.sin(angle)
        np.testing.assert_allclose(found[tensor], expected, **NEAR)


def test_nearly_parallel_models_are_interpolated_along_the_chord(folder: Path) -> None:
    near = {name: one + np.float32(0.01) * MODELS["a"][name] for name, one in MODELS["base"].items()}
    save_file(near, folder / "near.safetensors")
    models = [entry("base"), entry("near")]
    config = {"merge_method": "slerp", "base_model": "@base.safetensors", "models": models, "parameters": {"t": 0.25}}
    assert merged(config, folder) == 0
    for tensor, found in load_file(folder / "out.safetensors").items():
        np.testing.assert_allclose(found, 0.75 * MODELS["base"][tensor] + 0.25 * near[tensor], **NEAR)


METHODS = (
    "linear", "slerp", "nuslerp", "multislerp", "karcher", "task_arithmetic", "ties", "dare_linear", "dare_ties",
    "breadcrumbs", "breadcrumbs_ties", "della", "della_linear", "sce", "model_stock", "nearswap", "arcee_fusion",
    "passthrough",
)  # fmt: skip
PARAMETERS = (
    "weight", "density", "gamma", "epsilon", "t", "lambda", "normalize", "select_topk", "max_iter", "tol", "scale",
    "rescale", "normalize_weights", "int8_mask", "wieght",
)  # fmt: skip
KEYS = (
    "dtype", "out_dtype", "seed", "missing", "extra", "integers", "accumulate", "nonfinite", "digest", "pickle", "key",
    "rename", "layers", "tokenizer_source", "models", "slices", "parameters", "base_model", "merge_method", "modules",
    "chat_template", "residual_weight",
)  # fmt: skip
odd = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.just(10**30), st.floats(), st.text(max_size=4), st.just([]),
    st.just({}), st.just("@base.safetensors"), st.just("@damaged.safetensors"), st.just("bfloat16"), st.just("linear"),
    st.just([[1]]), st.just({"filter": "w", "value": 1}), st.just([{"filter": "w", "value": [0, 1]}]), st.just("1e-1"),
)  # fmt: skip
reference = st.sampled_from([*(f"@{name}.safetensors" for name in (*NAMES, "damaged", "text", "gone")), "", "@", "a+b"])
ordinary = st.one_of(st.sampled_from([0, 0.3, 0.5, 1, True, [0.2, 0.8]]), odd)


@st.composite
def configurations(draw: st.DrawFn) -> Any:
    """A configuration as somebody may write it, with a few things in it that nobody should."""
    tuned = st.fixed_dictionaries(
        {"model": st.one_of(st.sampled_from(["@a.safetensors", "@b.safetensors"]), reference)},
        optional={"parameters": st.dictionaries(st.sampled_from(PARAMETERS), ordinary, max_size=3), "layer_range": odd},
    )
    config: dict[str, Any] = {"merge_method": draw(st.sampled_from(METHODS)), "base_model": "@base.safetensors"}
    models = draw(st.lists(tuned, min_size=1, max_size=3))
    if draw(st.integers(0, 3)):
        config["models"] = models
    else:
        ends = draw(st.sampled_from([[0, 1], [0, 2], [1, 2], [0, 9], [1, 1]]))
        config["slices"] = [{"sources": [one | {"layer_range": ends} for one in models]}]
    config["parameters"] = draw(st.dictionaries(st.sampled_from(PARAMETERS), ordinary, max_size=4))
    config |= draw(st.dictionaries(st.sampled_from(KEYS), odd, max_size=2))
    return draw(st.one_of(st.just(config), st.just(config), st.just(config), odd))


def changed(folder: Path) -> Iterator[str]:
    for name, tensors in MODELS.items():
        now = load_file(folder / f"{name}.safetensors")
        if any((now[tensor] != value).any() for tensor, value in tensors.items()):
            yield name


@settings(SOME, max_examples=200)
@given(config=configurations())
def test_what_nobody_should_write_is_one_sentence(
    folder: Path, config: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    code = merged(config, folder)
    said = capsys.readouterr().err.splitlines()
    assert code in (0, 2), said
    if code:
        assert said[-1].startswith("surefoot: ") and said[-1].endswith((".", "?")), said
        assert not (folder / "out.safetensors").exists()
    else:
        found = load_file(folder / "out.safetensors")
        flagged = isinstance(config, dict) and config.get("nonfinite") == "flag"
        assert flagged or all(np.isfinite(one.astype(np.float64)).all() for one in found.values())
        assert verify(folder / "out.safetensors").holds
    assert not list(changed(folder))


def test_a_filter_that_fits_no_tensor_is_said(folder: Path) -> None:
    told = [{"filter": "layers", "value": 1.0}, {"filter": "mlpp", "value": 9.0}, {"filter": "*", "value": 0.5}]
    models = [{"model": f"{folder}/{name}.safetensors", "parameters": {"weight": told}} for name in ("a", "b")]
    config = {"merge_method": "linear", "models": models}
    with pytest.warns(UserWarning, match="The filter 'mlpp' is part of no tensor's name") as said:
        merge(config, folder / "filtered.safetensors")
    assert len(said) == 1
