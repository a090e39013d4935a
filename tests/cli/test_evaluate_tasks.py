"""evaluate --task: several tasks in one run share the features, and say what they were measured with."""

import io
import json
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import open_clip
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from surefoot.cli import app
from surefoot.contrastive._models import _embed
from surefoot.contrastive._pictures._photos import decode
from surefoot.core import SurefootError

TEXT = {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
VISION = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16}
CONFIG = {"model_cfg": {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT}, "preprocess_cfg": {}}
NAMES = ("cat", "dog", "owl")
COLOURS = ((200, 40, 40), (40, 200, 40), (40, 40, 200))


def evaluate(model: object, images: Path, *words: object) -> int:
    told = ["evaluate", "--model", str(model), "--images", str(images), *map(str, words)]
    return app(told, result_action="return_value", exit_on_error=False)


def picture(row: int) -> bytes:
    """A picture in the colour of its class, with noise."""
    noise = np.random.default_rng(row).integers(-40, 41, (36, 48, 3))
    stream = io.BytesIO()
    Image.fromarray(np.clip(noise + COLOURS[row % 3], 0, 255).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    (folder / "open_clip_config.json").write_text(json.dumps(CONFIG))
    torch.manual_seed(0)
    state = open_clip.CLIP(**CONFIG["model_cfg"]).state_dict()
    save_file({name: one.contiguous() for name, one in state.items()}, folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same 24 test pictures as a folder, a shard and a Parquet file; and others to train on."""
    root = tmp_path_factory.mktemp("data")
    for part, rows in (("test", range(24)), ("train", range(100, 148))):
        for row in rows:
            place = root / part / NAMES[row % 3]
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{row}.png").write_bytes(picture(row))
            (place / f"{row}.txt").write_text(f"a {NAMES[row % 3]} number {row}\na picture {row} of it")
    (root / "shard").mkdir()
    with tarfile.open(root / "shard" / "0.tar", "w") as archive:
        for row in range(24):
            texts = json.dumps({"caption": [f"a {NAMES[row % 3]} number {row}", f"a picture {row} of it"]}).encode()
            for suffix, data in (("png", picture(row)), ("cls", NAMES[row % 3].encode()), ("json", texts)):
                member = tarfile.TarInfo(f"{row:03d}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    rows = [
        (picture(row), NAMES[row % 3], [f"a {NAMES[row % 3]} number {row}", f"a picture {row} of it"])
        for row in range(24)
    ]
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t (image STRUCT(bytes BLOB, path VARCHAR), label VARCHAR, caption VARCHAR[])")
        connection.executemany("INSERT INTO t VALUES ({'bytes': ?, 'path': ''}, ?, ?)", rows)
        connection.execute(f"COPY t TO '{root / 'test.parquet'}' (FORMAT parquet)")
    return {"folder": root / "test", "shard": root / "shard", "parquet": root / "test.parquet", "train": root / "train"}


ALL = ("--task", "zero-shot", "--task", "retrieval", "--task", "probe", "--task", "few-shot")


def told(text: str) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {(row["task"], row["change"], row["metric"]): row for row in json.loads(text)}


@pytest.mark.parametrize("kind", ["folder", "shard", "parquet"])
def test_all_tasks_on_a_folder_a_shard_and_parquet(
    hub: Path, folders: dict[str, Path], kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = (*ALL, "--train", folders["train"], "--shots", 2, "--format", "json")
    assert evaluate(hub, folders[kind], *options, "--examples", tmp_path / "e") == 0
    printed = capsys.readouterr()
    found = told(printed.out)
    assert found["zero-shot", "", "top1"]["n"] == 24
    assert found["retrieval", "", "image_retrieval_recall@5"]["n"] == 48
    assert found["retrieval", "", "text_retrieval_recall@1"]["n"] == 24
    assert found["linear probe", "", "top1"]["value"] == 1
    assert {change for task, change, _ in found if task == "2-shot probe"} == {"draw 1", "draw 2", "draw 3"}
    assert "linear probe: trained on 48 pictures" in printed.err
    assert "2-shot probe draw 2: trained on 6 pictures" in printed.err
    kept = duckdb.read_parquet(str(tmp_path / "e" / "linear-probe" / "examples.parquet"))
    assert len(kept.fetchall()) == 24
    if kind == "folder":
        test_all_tasks_on_a_folder_a_shard_and_parquet.first = found  # type: ignore[attr-defined]
    first = getattr(test_all_tasks_on_a_folder_a_shard_and_parquet, "first", found)
    assert {key: row["value"] for key, row in found.items()} == pytest.approx(
        {key: row["value"] for key, row in first.items()}
    )


def test_each_picture_is_decoded_once_for_all_tasks(
    hub: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[bytes] = []
    monkeypatch.setattr(_embed, "decode", lambda data: decoded.append(data) or decode(data))
    evaluate(hub, folders["folder"], *ALL, "--train", folders["train"], "--shots", 2)
    assert len(decoded) == len({*decoded}) == 24 + 48


def test_sensitivity_measures_one_change_at_a_time(
    hub: Path, folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(hub, folders["folder"], "--task", "zero-shot", "--sensitivity", "--format", "json")
    found = told(capsys.readouterr().out)
    changes = {change for _, change, metric in found if metric == "top1"}
    assert changes == {"", "squashed", "padded", "bilinear", "lower case", "upper case", "Title Case"}
    assert found["zero-shot", "lower case", "top1"]["value"] == found["zero-shot", "", "top1"]["value"]
    evaluate(hub, folders["folder"], "--resize-mode", "squash", "--format", "json")
    squashed = {row["metric"]: row["value"] for row in json.loads(capsys.readouterr().out)}
    assert found["zero-shot", "squashed", "mean_per_class_recall"]["value"] == pytest.approx(
        squashed["mean_per_class_recall"]
    )


def test_an_encoder_of_torch_and_one_of_timm_are_probed(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "contrastive" / "tasks"))
    options = ("--task", "probe", "--train", folders["train"], "--format", "json")
    evaluate("torch:encoders:colours", folders["folder"], *options, "--size", 32)
    assert told(capsys.readouterr().out)["linear probe", "", "top1"]["value"] == 1
    sys.modules.pop("encoders", None)
    torch.manual_seed(0)
    state = timm.create_model("test_resnet.r160_in1k", pretrained=False).state_dict()
    save_file({name: one.contiguous() for name, one in state.items()}, tmp_path / "w.safetensors")
    evaluate("timm:test_resnet", folders["folder"], *options, "--pretrained", tmp_path / "w.safetensors")
    printed = capsys.readouterr()
    assert told(printed.out)["linear probe", "", "top1"]["n"] == 24
    assert "from timm's configuration" in printed.err


def test_what_a_task_lacks_is_said(hub: Path, folders: dict[str, Path], tmp_path: Path) -> None:
    wrong = {
        "A probe needs labelled pictures to train on: give --train": (hub, "--task", "probe"),
        "--baseline compares zero-shot accuracy": (hub, "--task", "retrieval", "--baseline", hub),
        "timm has no model 'resnet_of_mine'": ("timm:resnet_of_mine", "--task", "probe", "--train", folders["train"]),
        r"gives no model \(ModuleNotFoundError: No module named 'nowhere'\)": (
            "torch:nowhere:f",
            "--task",
            "probe",
            "--train",
            folders["train"],
        ),
        "nothing is downloaded": ("timm:test_resnet", "--task", "probe", "--train", folders["train"]),
    }
    for message, (model, *words) in wrong.items():
        with pytest.raises(SurefootError, match=message):
            evaluate(model, folders["folder"], *words)
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "a.png").write_bytes(picture(0))
    with pytest.raises(SurefootError, match="no picture has a caption"):
        evaluate(hub, tmp_path / "bare", "--task", "retrieval")


def test_an_option_that_would_do_nothing_is_refused(hub: Path, folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a {}\n")
    probe = ("--task", "probe", "--train", folders["train"])
    timm_probe = ("timm:test_resnet", *probe, "--pretrained", tmp_path / "t.txt")
    for message, (model, *words) in {
        "--sensitivity is for zero-shot and retrieval: leave out --task probe": (hub, *probe, "--sensitivity"),
        "--train is for --task probe or few-shot, which is not asked for": (hub, "--train", folders["train"]),
        "--validation is for --task probe": (hub, "--validation", folders["train"]),
        "--shots is for --task few-shot": (hub, *probe, "--shots", 4),
        "--draws is for --task few-shot": (hub, *probe, "--draws", 3),
        "--caption is for --task retrieval": (hub, "--caption", "a {}"),
        "--templates is for --task zero-shot": (hub, *probe, "--templates", tmp_path / "t.txt"),
        "--classes is for --task zero-shot": (hub, "--task", "retrieval", "--classes", tmp_path / "t.txt"),
        "--size is for torch: encoders": (hub, "--size", 224),
        "test_resnet has its own size": (*timm_probe, "--size", 224),
        "--pretrained-tag is for models with words": (*timm_probe, "--pretrained-tag", "openai"),
        "--tokenizer is for models with words": (*timm_probe, "--tokenizer", hub),
        "The tokenizer .* would not be used: OpenCLIP brings the model's": (hub, "--tokenizer", hub),
    }.items():
        with pytest.raises(SurefootError, match=message):
            evaluate(model, folders["folder"], *words)


def test_shots_that_are_named_twice_are_measured_once(
    hub: Path, folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--task", "few-shot", "--train", folders["train"], "--format", "json", "--draws", 1)
    evaluate(hub, folders["folder"], *words, "--shots", 2, "--shots", 1, "--shots", 2)
    rows = json.loads(capsys.readouterr().out)
    assert [row["task"] for row in rows if row["metric"] == "top1"] == ["2-shot probe", "1-shot probe"]


def test_an_answer_among_one_class_is_refused(
    hub: Path, folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    shard = folders["train"].parent / "one"
    shutil.copytree(folders["folder"] / "cat", shard / "cat")
    with pytest.raises(SurefootError, match=r"Every answer would be right: the one class is cat\. Give at least two\."):
        evaluate(hub, shard)
    shutil.copytree(shard / "cat", shard / "dog")
    evaluate(hub, shard)
    assert "Pictures that stand in several classes: 8, such as cat/" in capsys.readouterr().err


def test_messages_on_a_parquet_file_name_it(
    hub: Path, folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = written(
        tmp_path / "own.parquet", [(b"no picture", "cat"), (picture(1), "dog"), (picture(2), "owl")], "VARCHAR"
    )
    words = ("--task", "probe", "--train", place, "--validation", folders["parquet"])
    with pytest.raises(SurefootError, match="No picture of the class cat was trained on"):
        evaluate(hub, folders["folder"], *words)
    evaluate(hub, folders["folder"], "--task", "probe", "--train", folders["train"], "--validation", folders["parquet"])
    assert f"chosen on 24 ({folders['parquet']})" in capsys.readouterr().err
    only = written(tmp_path / "only.parquet", [(b"no picture", one) for one in ("cat", "dog")], "VARCHAR")
    with pytest.raises(SurefootError, match=f"No picture in {only} can be decoded"):
        evaluate(hub, only)


def written(place: Path, rows: list[tuple[Any, Any]], kind: str) -> Path:
    """A Parquet file of pictures with labels of a type, and one caption each."""
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE t (image BLOB, label {kind}, caption VARCHAR[])")
        connection.executemany("INSERT INTO t VALUES (?, ?, ['a caption'])", rows)
        connection.execute(f"COPY t TO '{place}' (FORMAT parquet)")
    return place


@pytest.mark.parametrize(
    ("kind", "label", "wrong"),
    [
        ("VARCHAR", None, "row 2 has no label"),
        ("VARCHAR", " ", "row 2 has no label"),
        ("BIGINT", -1, "row 2 has no label"),
        ("BOOLEAN", True, "the column 'label' is BOOLEAN, and a class is a text or a whole number"),
        ("VARCHAR[]", ["cat"], r"the column 'label' is VARCHAR\[\], and a class"),
        ("DOUBLE", 1.0, "the column 'label' is DOUBLE, and a class"),
        ("BLOB", b"cat", "the column 'label' is BLOB, and a class"),
    ],
)
def test_labels_of_a_table_that_are_no_classes_are_refused(
    hub: Path, tmp_path: Path, kind: str, label: Any, wrong: str
) -> None:
    first = {"VARCHAR": "cat", "BIGINT": 1}.get(kind, label)
    place = written(tmp_path / "own.parquet", [(picture(0), first), (picture(1), label)], kind)
    with pytest.raises(SurefootError, match=wrong):
        evaluate(hub, place)


def test_numbers_that_a_table_names_are_its_classes(hub: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    told = {"info": {"features": {"label": {"names": list(NAMES), "_type": "ClassLabel"}}}}
    table = pa.table({"image": [picture(row) for row in range(6)], "label": [row % 3 for row in range(6)]})
    parquet.write_table(table.replace_schema_metadata({"huggingface": json.dumps(told)}), tmp_path / "own.parquet")
    assert evaluate(hub, tmp_path / "own.parquet", "--examples", tmp_path / "e") == 0
    kept = duckdb.read_parquet(str(tmp_path / "e" / "examples.parquet")).project("label").fetchall()
    assert [label for (label,) in kept] == [NAMES[row % 3] for row in range(6)]


def test_a_json_that_says_captions_alone_is_no_class(hub: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        for suffix, data in (("png", picture(0)), ("json", b'{"caption": ["a cat", "a pet"]}')):
            member = tarfile.TarInfo(f"0.{suffix}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    with pytest.raises(SurefootError, match="its 'caption' is"):
        evaluate(hub, tmp_path / "0.tar")


def test_a_probe_is_no_baseline_of_zero_shot_and_pictures_that_were_fitted_on_are_said(
    hub: Path, folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        evaluate(hub, folders["folder"], "--task", "probe", "--train", folders["folder"], "--examples", tmp_path) == 0
    )
    assert "24 pictures of the test stand among what the probe was fitted on" in capsys.readouterr().err
    baseline = next(tmp_path.rglob("examples.parquet"))
    with pytest.raises(SurefootError, match=r"has task .linear probe. in one and .zero-shot. in the other"):
        evaluate(hub, folders["folder"], "--baseline", baseline, "--margin", 0.7)


def test_what_cannot_be_decoded_is_counted_by_zero_shot_alone(
    hub: Path, folders: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(folders["folder"], tmp_path / "broken")
    next((tmp_path / "broken").rglob("*.png")).write_bytes(b"no picture")
    options = ("--task", "probe", "--train", folders["train"], "--unreadable", "wrong")
    with pytest.raises(SurefootError, match="a probe does not count such as wrong"):
        evaluate(hub, tmp_path / "broken", *options)


def test_texts_that_the_model_reads_only_in_part_are_counted(
    hub: Path, folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 12 tokens start and end of text take two: ten words fit, the eleventh is cut off in silence by OpenCLIP."""
    templates = tmp_path / "templates.txt"
    templates.write_text("a a a a a a a a a {}\na a a a a a a a a a {}\n")
    evaluate(hub, folders["folder"], "--templates", templates)
    said = capsys.readouterr().err
    assert "3 of 6 texts are longer than the 12 tokens that it reads, and cut, such as 'a a a a a a" in said
    evaluate(hub, folders["folder"], "--task", "retrieval", "--templates", templates, "--task", "zero-shot")
    assert ": 3 of 6 texts" in capsys.readouterr().err
    evaluate(hub, folders["folder"], "--task", "retrieval")
    assert "longer" not in capsys.readouterr().err


def test_copies_of_a_picture_in_its_class_are_said(
    hub: Path, folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every picture twice: n doubles and the interval shrinks, while nothing more is known."""
    evaluate(hub, folders["folder"])
    assert "Copies of other pictures" not in capsys.readouterr().err
    shutil.copytree(folders["folder"], tmp_path / "twice")
    for file in [*(tmp_path / "twice").rglob("*.png")]:
        shutil.copy(file, file.with_name(f"copy-{file.name}"))
    evaluate(hub, tmp_path / "twice")
    assert "Copies of other pictures of their class: 24. Each counts" in capsys.readouterr().err
