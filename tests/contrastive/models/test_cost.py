"""Costs are counted on a run of the model and agree with closed forms and with OpenCLIP's published table."""

import csv
import os
from pathlib import Path

import pytest

from surefoot.contrastive import build, count_gmacs, count_parameters, ladder, ladder_config, openclip_config


def transformer_macs(width: int, layers: int, tokens: int, mlp_ratio: int = 4) -> int:
    """Query, key, value and output projections, two products of attention, two layers of the perceptron."""
    block = 4 * tokens * width**2 + 2 * tokens**2 * width + 2 * mlp_ratio * tokens * width**2
    return layers * block


def vit_macs(config: dict) -> int:
    """Multiply-accumulates of a ViT with a text transformer, written down from its definition."""
    vision, text, embedding = config["vision_cfg"], config["text_cfg"], config["embed_dim"]
    patches = (vision["image_size"] // vision["patch_size"]) ** 2
    stem = patches * vision["width"] * 3 * vision["patch_size"] ** 2
    image = stem + transformer_macs(vision["width"], vision["layers"], patches + 1) + vision["width"] * embedding
    words = transformer_macs(text["width"], text["layers"], text["context_length"]) + text["width"] * embedding
    return image + words


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-S-16", "ViT-L-14"])
def test_the_gmacs_of_a_vit_are_those_of_its_closed_form(name: str) -> None:
    config = openclip_config(name)
    assert count_gmacs(config) == pytest.approx(vit_macs(config) / 1e9, rel=1e-12)


@pytest.mark.parametrize("name", ["ViT-B-32", "RN50", "ViT-B-16"])
def test_costs_agree_with_the_table_that_openclip_publishes(name: str) -> None:
    if "SUREFOOT_DATA" not in os.environ:
        pytest.skip("SUREFOOT_DATA is not set: OpenCLIP's table of model profiles is not there")
    table = Path(os.environ["SUREFOOT_DATA"]) / "laws" / "open_clip_model_profile.csv"
    with table.open(encoding="utf-8") as stream:
        row = next(row for row in csv.DictReader(stream) if row["model"] == name)
    config = openclip_config(name)
    assert 2 * count_gmacs(config) == pytest.approx(float(row["gflops"]), rel=0.005)
    assert count_parameters(build(config)) / 1e6 == pytest.approx(float(row["mparams"]), rel=0.001)


def test_the_ladder_climbs_from_a_fifth_of_a_million_parameters_to_ten_million() -> None:
    configs = [ladder_config(name, vocabulary_size=2500) for name in ladder()]
    parameters = [count_parameters(build(config)) for config in configs]
    assert len(parameters) >= 5
    assert parameters == sorted(parameters)
    assert 1.5e5 < parameters[0] < 3e5
    assert 9e6 < parameters[-1] < 12e6
    gmacs = [count_gmacs(config) for config in configs]
    assert gmacs == sorted(gmacs)
