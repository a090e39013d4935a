"""The study `patch_own`: an OpenCLIP model and folders of pictures of a user's own, from end to end."""

import json
import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import duckdb
import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy.stats import t as student

from surefoot.contrastive import OpenClipModel, build, load_model, openclip_config
from surefoot.core import Results, Store, Study, SurefootError, decide, open_pool, run, walk
from surefoot.stats import mean_share_difference
from surefoot.studies import load_study

NAME = "surefoot-test"
CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
COLOURS = {"red": (220, 30, 30), "green": (30, 160, 30), "blue": (40, 40, 220), "black": (10, 10, 10)}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny vision transformer with random weights, and two tasks of coloured pictures in PNG files."""
    root = tmp_path_factory.mktemp("own")
    (root / "configs").mkdir()
    (root / "configs" / f"{NAME}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(root / "configs")
    torch.manual_seed(0)
    model = build(openclip_config(NAME))
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, root / "base.safetensors")
    for folder, colours in (("warm", ("red", "green")), ("cold", ("blue", "black"))):
        write_pictures(root / folder, colours)
    return root


def write_pictures(folder: Path, colours: tuple[str, ...]) -> None:
    generator = np.random.default_rng(len(folder.name))
    for part, count in (("train", 24), ("validation", 12), ("test", 20)):
        for colour in colours:
            place = folder / part / f"class_{colour}"
            place.mkdir(parents=True)
            for number in range(count):
                pixels = np.full((40, 36, 3), 255, np.uint8)
                top, left = generator.integers(0, 16, 2)
                pixels[top : top + 20, left : left + 20] = COLOURS[colour]
                Image.fromarray(pixels).save(place / f"{number}.png")
    (folder / "classes.txt").write_text("".join(f"class_{colour}\t{colour} square\n" for colour in colours))


def options(world: Path) -> dict[str, str]:
    return {
        "model": NAME,
        "checkpoint": str(world / "base.safetensors"),
        "task": str(world / "warm"),
        "keep": str(world / "cold"),
        "samples": "640",
        "batch": "16",
        "learning_rate": "3e-3",
        "margin": "0.6",
    }


@pytest.fixture(scope="module")
def study(world: Path) -> Study:
    return load_study("patch_own", options(world))


@pytest.fixture(scope="module")
def results(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Results:
    store = Store(tmp_path_factory.mktemp("own-store"))
    with open_pool("here") as pool:
        failed = [event.error for event in run(study.steps, store, pool) if event.kind == "failed"]
    assert not failed
    return Results(store, tuple(walk(study.steps)))


def test_the_patch_learns_the_task_and_its_claims_are_paired_by_picture(study: Study, results: Results) -> None:
    verdicts = {claim.name: verdict for claim, verdict in decide(study.claims, results)}
    gain = verdicts["patch-gains"]
    assert gain.status == "supported"
    assert gain.n == 40
    before, after = (
        next(
            item.value for item in results.select(task="warm", metric="top1") if type(item.step.model).__name__ == kind
        )
        for kind in ("OpenClipModel", "WeightEdit")
    )
    assert gain.effect == pytest.approx(after - before)
    scores = {
        type(item.step.model).__name__: duckdb.read_parquet(str(results.store.path(item.step) / "examples.parquet"))
        .order("example")
        .fetchnumpy()["score"]
        for item in results.select(task="warm", metric="top1")
    }
    gaps = scores["WeightEdit"] - scores["OpenClipModel"]
    paired = mean_share_difference([(gaps > 0).sum()], [(gaps < 0).sum()], [40])
    assert (gain.low, gain.high) == pytest.approx((paired.low, paired.high))
    assert verdicts["patch-keeps"].n == 40
    assert verdicts["patch-keeps"].low is not None


def test_only_the_image_tower_moves_and_the_words_are_openclips(study: Study, results: Results) -> None:
    edit = next(item.step for item in results.select(metric="coefficient"))
    patched = load_model(results.store.path(edit))
    base = load_file(next(step for step in results.steps if hasattr(step, "checkpoint")).checkpoint)
    for name, value in patched.model.state_dict().items():
        assert name.startswith("visual.") or torch.equal(value, base[name])
    assert torch.equal(patched.tokenizer(["a red square"]), open_clip.get_tokenizer(NAME)(["a red square"]))
    theirs = open_clip.create_model(NAME, pretrained=str(results.store.path(edit) / "model.safetensors"))
    assert torch.equal(theirs.visual.proj, patched.model.visual.proj)


def test_figures_show_the_choice_and_every_model(study: Study, results: Results) -> None:
    figures = {figure.name: figure for figure in (make(results) for make in study.figures)}
    assert {row["label"] for row in figures["accuracies"].table()} == {"before", "patched", "fine-tuned"}
    assert {row["group"] for row in figures["accuracies"].table()} == {"warm", "cold"}
    curve = [row for row in figures["curve"].table() if row["part"] == "point"]
    assert len(curve) == 2 * 21
    assert all(row["low"] <= row["y"] <= row["high"] for row in curve)
    assert all(row["low"] < row["y"] < row["high"] for row in curve if 0 < row["y"] < 1)


def test_from_a_number_to_the_pictures_that_were_named_wrongly(study: Study, results: Results) -> None:
    tested = {
        item.measurement.task: item
        for item in results.select(metric="top1")
        if type(item.step.model).__name__ == "WeightEdit"
    }
    rows = next(figure for figure in (make(results) for make in study.figures) if figure.name == "wrong").table()
    for task, item in tested.items():
        read = duckdb.read_parquet(str(results.store.path(item.step) / "examples.parquet"))
        wrong = read.filter("score = 0").order("probability DESC, example").fetchall()
        shown = [row for row in rows if row["section"] == f"{task}, patched: {len(wrong)} wrong"]
        assert len(shown) == min(12, len(wrong))
        assert all(row["value"] == item.value == 1 - len(wrong) / row["n"] for row in shown)
        said = [re.fullmatch(r"is: (.+); answered: (.+) \(\d+%\)", row["label"]).groups() for row in shown]
        assert said == [(label, answer) for _, label, answer, *_ in wrong[:12]]
        for row, (label, _) in zip(shown, said, strict=True):
            picture = Image.open(BytesIO(b64decode(row["image"].partition(",")[2]))).convert("RGB")
            common = max(picture.getcolors(), key=lambda one: (one[1] != (255, 255, 255), one[0]))[1]
            assert np.abs(np.subtract(common, COLOURS[label.split()[0]])).max() < 40
    assert {row["section"].partition(",")[0] for row in rows} <= set(tested)


def test_no_picture_of_the_test_is_trained_on_or_chosen_by(study: Study) -> None:
    test_keys = {step.data.key for step in study.steps}
    edits = [step for step in walk(study.steps) if type(step).__name__ == "WeightEdit"]
    used = {one.key for step in edits for one in (*step.target, *step.control, *step.plus[0].data)}
    assert not used & test_keys


def test_a_guard_reaches_the_search(world: Path) -> None:
    guarded = load_study("patch_own", options(world) | {"guard": "0.02"})
    assert {step.guard for step in walk(guarded.steps) if hasattr(step, "guard")} == {0.02}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": ""}, "needs a model, its weights, a task"),
        ({"model": "ViT-B-33"}, "Did you mean"),
        ({"checkpoint": "nowhere.safetensors"}, "There is no checkpoint"),
        ({"task": "nowhere"}, "does not exist"),
        ({"points": "1"}, "points is 1"),
        ({"keep": "cold,elsewhere/cold"}, "Two folders of task and keep are called cold"),
        ({"keep": "elsewhere/warm/"}, "Two folders of task and keep are called warm"),
    ],
)
def test_what_is_missing_is_said(world: Path, change: dict[str, str], message: str) -> None:
    with pytest.raises(SurefootError, match=message):
        load_study("patch_own", options(world) | change)


def test_a_checkpoint_that_was_exchanged_is_refused(world: Path, tmp_path: Path) -> None:
    copy = tmp_path / "base.safetensors"
    copy.write_bytes((world / "base.safetensors").read_bytes())
    step = OpenClipModel(model=NAME, checkpoint=str(copy)).pinned()
    state = load_file(copy)
    save_file({name: value + 1 for name, value in state.items()}, copy)
    store = Store(tmp_path / "store")
    with open_pool("here") as pool:
        errors = [event.error for event in run([step], store, pool) if event.kind == "failed"]
    assert len(errors) == 1
    assert "have changed since" in errors[0]


def test_the_cost_to_expect_is_the_interval_of_one_more_start_than_the_tutorial_shows(study: Study) -> None:
    page = (Path(__file__).parents[2] / "docs/tutorial/4-patching.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:drawings|photographs).*\| (-?[\d.]+) \| (-?[\d.]+|) \|$", page, re.MULTILINE)
    assert len(rows) == 6
    told = re.findall(r"(-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\]", study.notice)
    for column, said in zip(zip(*rows, strict=True), told, strict=True):
        costs = np.array([cost for cost in column if cost], float)
        error = costs.std(ddof=1) * np.sqrt(1 + 1 / len(costs))
        bounds = student.interval(0.95, len(costs) - 1, loc=costs.mean(), scale=error)
        assert [float(one) for one in said] == pytest.approx([costs.mean(), *bounds], abs=0.0501)
    assert study.notice in study.summary
