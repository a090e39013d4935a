"""evaluate: what was used and left out is said and kept, and a baseline is a gate on the same pictures."""

import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import open_clip
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from safetensors.torch import load_file, save_file

from surefoot.cli import app
from surefoot.core import SurefootError
from surefoot.stats import paired_difference

TEXT = {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16}
PARTS = ((0, "cat"), (1, "dog"), (2, "owl"))
CONFIG = {"model_cfg": {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT}, "preprocess_cfg": {"mean": 0.25}}


def evaluate(model: object, images: Path, *words: object) -> int:
    """How `surefoot evaluate --model MODEL --images IMAGES WORDS` ends, in this process; a mistake is raised."""
    told = ["evaluate", "--model", str(model), "--images", str(images), *map(str, words)]
    return app(told, result_action="return_value", exit_on_error=False)


def compare(*words: object) -> int:
    told = ["compare", "--unmatched", "drop", *map(str, words)]
    return app(told, result_action="return_value", exit_on_error=False)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of OpenCLIP in a folder, and weights of another seed."""
    folder = tmp_path_factory.mktemp("hub")
    (folder / "open_clip_config.json").write_text(json.dumps(CONFIG))
    for seed, name in enumerate(("open_clip_model", "other")):
        torch.manual_seed(seed)
        model = open_clip.CLIP(**CONFIG["model_cfg"])
        save_file({key: one.contiguous() for key, one in model.state_dict().items()}, folder / f"{name}.safetensors")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("photos")
    for row in range(24):
        folder = place / ("cat", "dog", "owl")[row % 3]
        folder.mkdir(exist_ok=True)
        noise = np.random.default_rng(row).integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{row}.png")
    (place / "cat" / "broken.jpg").write_bytes(b"words")
    return place


def rows(text: str) -> dict[str, Any]:
    return {f"{row.get('model', '')}/{row['metric']}": row for row in json.loads(text)}


def test_what_was_used_is_said_and_kept(
    hub: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = evaluate(hub, photos, "--examples", tmp_path / "e", "--resize-mode", "squash", "--format", "json")
    printed = capsys.readouterr()
    assert told == 0
    assert rows(printed.out)["/top1"]["n"] == 24
    assert "32 x 32 pixels, squash, bicubic, mean 0.25 0.25 0.25" in printed.err
    assert "1 of 25 pictures cannot be decoded and are left out (cat/broken.jpg: it is not a picture" in printed.err
    kept = json.loads((tmp_path / "e" / "evaluation.json").read_text())
    assert kept["pixels"]["resize_mode"] == "squash"
    assert kept["refused"][0]["name"] == "cat/broken.jpg"
    evaluate(
        hub,
        photos,
        "--unreadable",
        "wrong",
        "--examples",
        tmp_path / "w",
        "--resize-mode",
        "squash",
        "--format",
        "json",
    )
    counted = rows(capsys.readouterr().out)
    assert counted["/top1"]["n"] == 25
    assert counted["/top1"]["value"] == pytest.approx(rows(printed.out)["/top1"]["value"] * 24 / 25)
    last = duckdb.read_parquet(str(tmp_path / "w" / "examples.parquet")).filter("example = 'cat/broken.jpg'").fetchall()
    assert last[0][1:4] == ("cat", "", 0.0)


def test_a_folder_may_say_the_model_of_which_another_file_has_the_weights(
    hub: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config").mkdir()
    shutil.copy(hub / "open_clip_config.json", tmp_path / "config")
    shutil.copytree(tmp_path / "config", tmp_path / "whole")
    for place in (tmp_path / "whole" / "open_clip_model.safetensors", tmp_path / "e.safetensors"):
        shutil.copy(hub / "other.safetensors", place)
    found: list[Any] = []
    for words in ((tmp_path / "whole",), (tmp_path / "config", "--pretrained", tmp_path / "e.safetensors")):
        evaluate(words[0], photos, *words[1:], "--format", "json")
        found.append(json.loads((printed := capsys.readouterr()).out))
        assert "mean 0.25 0.25 0.25" in printed.err
    assert found[0] == found[1]
    with pytest.raises(SurefootError, match="has its own weights: leave out --pretrained"):
        evaluate(hub, photos, "--pretrained", tmp_path / "whole")


def test_precision_batch_and_workers_change_no_answer(
    hub: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(hub, photos, "--format", "json")
    first = json.loads(capsys.readouterr().out)
    evaluate(hub, photos, "--batch-size", 5, "--workers", 3, "--format", "json")
    assert json.loads(capsys.readouterr().out) == first
    evaluate(hub, photos, "--precision", "bfloat16", "--format", "json")
    assert json.loads(capsys.readouterr().out)[0]["n"] == 24
    for device in ("cuda:7", "meta"):
        with pytest.raises(SurefootError, match=f"There is no device '{device}' here"):
            evaluate(hub, photos, "--device", device)


def test_a_baseline_is_a_gate_on_the_same_pictures(
    hub: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(hub, photos, "--baseline", hub, "--margin", 0.3, "--format", "json") == 0
    same = rows(capsys.readouterr().out)
    assert same["baseline/top1"]["value"] == same["model/top1"]["value"]
    assert same["model less baseline/top1"]["value"] == 0
    narrow = evaluate(hub, photos, "--baseline", hub / "other.safetensors", "--margin", 0.0)
    assert narrow in (1, 2)
    evaluate(hub, photos, "--examples", tmp_path / "e")
    capsys.readouterr()
    assert evaluate(hub, photos, "--baseline", tmp_path / "e", "--margin", 0.3, "--format", "json") == 0
    assert "model is no worse than baseline by more than 0.3" in capsys.readouterr().err
    kept = (tmp_path / "e" / "examples.parquet").read_bytes()
    for one in (
        tmp_path / "e",
        tmp_path / "e" / "examples.parquet",
    ):  # its own scores would be compared with themselves
        with pytest.raises(SurefootError, match="would overwrite the baseline: name another folder"):
            evaluate(hub, photos, "--baseline", one, "--examples", tmp_path / "." / "e", "--margin", 0.3)
    assert (tmp_path / "e" / "examples.parquet").read_bytes() == kept


def test_a_baseline_among_other_classes_is_refused_and_other_prompts_are_said(
    hub: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Among fewer classes it is easier to be right: an unchanged model would seem to be better than itself.
    (tmp_path / "more.txt").write_text("cat\ndog\nowl\ngnu\nzebra\n")
    (tmp_path / "prompts.txt").write_text("one {}\n")
    evaluate(hub, photos, "--examples", tmp_path / "e")
    gate = ("--baseline", tmp_path / "e", "--margin", 0.3)
    with pytest.raises(SurefootError, match=r"among 3 classes and model among 5; not in both: gnu, zebra\."):
        evaluate(hub, photos, "--classes", tmp_path / "more.txt", *gate)
    capsys.readouterr()
    evaluate(hub, photos, "--templates", tmp_path / "prompts.txt", *gate)
    assert "measured with other prompts; baseline with 'a photo of a {}.'" in capsys.readouterr().err


def test_compare_knows_of_copied_examples_of_any_task_among_what_was_chosen(
    hub: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "more.txt").write_text("cat\ndog\nowl\ngnu\nzebra\n")
    tasks = ("--task", "zero-shot", "--task", "retrieval", "--caption", "a {}")
    evaluate(hub, photos, "--classes", tmp_path / "more.txt", "--examples", tmp_path / "e", *tasks)
    shutil.copytree(photos, tmp_path / "fewer", ignore=shutil.ignore_patterns("2*.png"))
    evaluate(hub, tmp_path / "fewer", "--examples", tmp_path / "f", *tasks)
    for task in ("zero-shot", "retrieval"):
        for name in "ef":
            shutil.copy(tmp_path / name / task / "examples.parquet", tmp_path / f"{task} {name}.parquet")
    with pytest.raises(SurefootError, match=r"among 5 classes and .* among 3; not in both: gnu, zebra\."):
        compare(*(tmp_path / f"zero-shot {name}.parquet" for name in "ef"))
    with pytest.raises(SurefootError, match=r"not in both: 19 captions, 19 pictures, 24 captions, 24 pictures\."):
        compare("--only", "direction=text", *(tmp_path / f"retrieval {name}.parquet" for name in "ef"))


def test_names_with_brackets_are_names_and_no_patterns(
    hub: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "e[1]*"
    evaluate(hub, photos, "--examples", place)
    assert evaluate(hub, photos, "--baseline", place, "--margin", 0.3) == 0
    rows = [{"image": {"bytes": (photos / f"{name}/{row}.png").read_bytes()}, "label": row} for row, name in PARTS]
    parquet.write_table(pa.Table.from_pylist(rows), place / "p[2].parquet")
    capsys.readouterr()
    assert evaluate(hub, place / "p[2].parquet", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)[0]["n"] == 3


def test_where_nothing_can_be_written_is_said_before_any_work(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    wrong = {
        "No format for .*t.xyz": ("--out", tmp_path / "t.xyz"),
        "it is a folder": ("--out", tmp_path, "--format", "csv"),
        "its folder is not there": ("--out", tmp_path / "gone" / "t.csv"),
        "--examples names a folder, and .*taken is a file": ("--examples", tmp_path / "taken"),
    }
    for message, options in wrong.items():  # before the model is looked for, which is not there
        with pytest.raises(SurefootError, match=message):
            evaluate("nowhere", photos, *options)


def test_a_preparation_that_no_picture_survives_is_refused(hub: Path, photos: Path) -> None:
    of_std = [("--std", one, 1, 1) for one in (0, -1.0, 58.4, "nan", "inf")]
    for wrong in (*of_std, ("--mean", "nan", 0, 0), ("--mean", 0, 0, 123.7), ("--mean", 0.5, -0.1, 0.5)):
        with pytest.raises(SurefootError, match="A mean is from 0 to 1, a deviation above 0 to 1: divide"):
            evaluate(hub, photos, *wrong)


def test_other_pictures_and_a_margin_without_a_baseline_are_refused(hub: Path, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(SurefootError, match=r"--margin is a fall below a baseline"):
        evaluate(hub, photos, "--margin", 0.1)
    for margin in (1.0, 5.0, float("nan"), float("inf"), -0.1):
        with pytest.raises(SurefootError, match=r"--margin is .*: a fall of top-1 is from 0 to less than 1"):
            evaluate(hub, photos, "--baseline", hub, f"--margin={margin}")
    with pytest.raises(SurefootError, match=r"baseline .* does not exist"):
        evaluate(hub, photos, "--baseline", tmp_path / "no.parquet")
    both = tmp_path / "both"
    shutil.copytree(hub, both)
    (both / "examples.parquet").write_bytes(b"")
    with pytest.raises(SurefootError, match=r"both holds a model \(open_clip_config.json\) and the examples"):
        evaluate(hub, photos, "--baseline", both)
    evaluate(hub, photos, "--examples", tmp_path / "e", "--out", tmp_path / "x.tsv")
    columns = duckdb.read_parquet(str(tmp_path / "e" / "examples.parquet"))
    columns.project("* REPLACE ('0' AS content)").write_parquet(str(tmp_path / "other.parquet"))
    with pytest.raises(SurefootError, match=r"not measured on the same examples: 'cat/.*' has content '0' in one and"):
        evaluate(hub, photos, "--baseline", tmp_path / "other.parquet")
    columns.filter("example <> 'cat/0.png'").write_parquet(str(tmp_path / "fewer.parquet"))
    with pytest.raises(SurefootError, match=r"model has 1 of 24 examples"):
        evaluate(hub, photos, "--baseline", tmp_path / "fewer.parquet")


def test_classes_that_the_model_cannot_tell_apart_are_named(
    hub: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "classes.tsv").write_text("cat\tcrane\ndog\tdog\nowl\tcrane\n")
    evaluate(hub, photos, "--classes", tmp_path / "classes.tsv")
    assert "none of their pictures counts as right: crane [cat], crane [owl]" in capsys.readouterr().err


def _broken(hub: Path, place: Path, changes: dict[str, Any]) -> Path:
    """The hub's model with these tensors multiplied by a number, or put in their place."""
    state = load_file(hub / "open_clip_model.safetensors")
    for name, change in changes.items():
        state[name] = change if isinstance(change, torch.Tensor) else state[name] * change
    save_file(state, place / "open_clip_model.safetensors")
    (place / "open_clip_config.json").write_text(json.dumps(CONFIG))
    return place


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"text_projection": 1e30}, r"text embeddings of length 0 .*: text_projection \(up to [0-9.e+]+\)\."),
        ({"text_projection": 0.0}, r"text embeddings of length 0 .*: text_projection \(all zero\)\."),
        ({"visual.proj": 1e30}, r"picture embeddings of length 0 .*: visual.proj \(up to"),
        ({"visual.proj": 0.0}, r"picture embeddings of length 0 .*: visual.proj \(all zero\)"),
        ({"visual.ln_post.weight": 0.0, "visual.ln_post.bias": torch.ones(32)}, r"the same for each picture .*ln_post"),
        ({"ln_final.weight": 0.0, "ln_final.bias": torch.ones(32)}, r"the same for each text .*ln_final.weight"),
        ({"visual.conv1.weight": 1e38}, r"picture embeddings that are not finite .*visual.conv1.weight"),
        ({"logit_scale": torch.tensor(100.0)}, r"The logit_scale of .* is 100, and its exponential inf\."),
        ({"logit_scale": torch.tensor(-200.0)}, r"The logit_scale of .* is -200, and its exponential 0\."),
    ],
    ids=str,
)
def test_finite_weights_that_say_nothing_of_pictures_or_texts_are_refused_with_the_tensor(
    hub: Path, photos: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    broken = _broken(hub, tmp_path, changes)
    with pytest.raises(SurefootError, match=said):
        evaluate(broken, photos)


def test_a_baseline_is_paired_picture_by_picture_where_broken_ones_count_as_wrong(
    hub: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--unreadable", "wrong", "--format", "json")
    evaluate(hub, photos, *asked, "--examples", tmp_path / "e")
    own = parquet.read_table(tmp_path / "e" / "examples.parquet")
    rng = np.random.default_rng(3)
    scores = {name: float(rng.integers(2)) for name in own["example"].to_pylist()} | {"cat/broken.jpg": 0.0}
    mixed = own.take(rng.permutation(len(own)))  # in another order, with answers of its own
    place = mixed.schema.get_field_index("score")
    mixed = mixed.set_column(place, "score", pa.array([scores[name] for name in mixed["example"].to_pylist()]))
    parquet.write_table(mixed, tmp_path / "old.parquet")
    capsys.readouterr()
    evaluate(hub, photos, *asked, "--baseline", tmp_path / "old.parquet")
    found = rows(capsys.readouterr().out)["model less baseline/top1"]
    pairs = [
        (score, scores[name]) for name, score in zip(own["example"].to_pylist(), own["score"].to_pylist(), strict=True)
    ]
    expected = paired_difference(*(np.array(one) for one in zip(*pairs, strict=True))).difference
    bounds = [expected.estimate, expected.low, expected.high]
    assert [found[key] for key in ("value", "low", "high")] == pytest.approx(bounds)
    assert found["n"] == 25
    with pytest.raises(SurefootError, match=r"baseline has 1 of 25 examples that not all others have \(cat/broken.jpg"):
        evaluate(hub, photos, "--baseline", tmp_path / "old.parquet")
