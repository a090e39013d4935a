"""Heads as their makers publish them, prompts and functions as columns; heads trained here, with their calibration."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss
from torch import nn

from surefoot.cli import app
from surefoot.core import SurefootError
from surefoot.pairs import (
    Embed,
    Head,
    Manifest,
    PairEncoder,
    Tag,
    build_index,
    embed_pairs,
    head_taggers,
    read_head,
    read_taggers,
    subset,
    tag_pairs,
    train_head,
    write_head,
)

Vectors = Callable[[int, int, int], NDArray[np.float32]]


class Safety(nn.Module):
    """LAION's network on ViT-L/14 as its users wrote it for torch, at another width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.Module()
        self.norm.register_buffer("mean", torch.randn(width) / 9)
        self.norm.register_buffer("variance", torch.rand(width) + 0.1)
        self.linear_1, self.linear_2 = nn.Linear(width, 64), nn.Linear(64, 51)
        self.linear_10, self.linear_11 = nn.Linear(51, 25), nn.Linear(25, 1)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        whole = (given - self.norm.mean) / self.norm.variance.sqrt()
        for layer in (self.linear_1, self.linear_2, self.linear_10):
            whole = torch.relu(layer(whole))
        return torch.sigmoid(self.linear_11(whole))[:, 0]


def rows_of(out: Path) -> list[dict[str, object]]:
    return [row for path in sorted(out.glob("*.parquet")) for row in pq.ParquetFile(path).read().to_pylist()]


def test_heads_score_as_the_networks_they_are(tmp_path: Path, clustered: Vectors) -> None:
    torch.manual_seed(0)
    given = clustered(50, 32, 0)
    aesthetic, safety = nn.Linear(32, 1), Safety(32).eval()
    torch.save(aesthetic.state_dict(), tmp_path / "sa_0_4_vit_b_32_linear.pth")
    save_file(safety.state_dict(), tmp_path / "nsfw.safetensors")
    with torch.inference_mode():
        points, unsafe = (model(torch.from_numpy(given)).numpy() for model in (aesthetic, safety))
    head = read_head(tmp_path / "sa_0_4_vit_b_32_linear.pth")
    np.testing.assert_allclose(head(given), points[:, 0], rtol=1e-5, atol=1e-6)
    head = read_head(tmp_path / "nsfw.safetensors", activation="relu", output="sigmoid")
    np.testing.assert_allclose(head(given), unsafe, rtol=1e-5, atol=1e-6)
    write_head(tmp_path / "again.npz", head)
    again = read_head(tmp_path / "again.npz")
    assert again.digest == head.digest and (again(given) == head(given)).all()


def test_a_pair_of_prompts_decides_as_argmax_does(tmp_path: Path, clustered: Vectors) -> None:
    given, prompts = clustered(200, 16, 0), clustered(2, 16, 1)
    np.save(tmp_path / "violence.npy", prompts.astype(np.float16))
    score = read_head(tmp_path / "violence.npy")(given)
    assert ((score > 0) == ((given @ prompts.T).argmax(1) == 1)).all() and 0 < (score > 0).mean() < 1


def test_two_classes_of_keras_are_a_probability_of_the_second(tmp_path: Path, clustered: Vectors) -> None:
    given, random = clustered(20, 8, 0), np.random.default_rng(0)
    kernels = {"dense/kernel:0": random.normal(size=(8, 5)), "dense/bias:0": random.normal(size=5)}
    kernels |= {"dense_1/kernel:0": random.normal(size=(5, 2)), "dense_1/bias:0": random.normal(size=2)}
    np.savez(tmp_path / "k.npz", **kernels)
    hidden = np.maximum(given @ kernels["dense/kernel:0"] + kernels["dense/bias:0"], 0)
    powers = np.exp(hidden @ kernels["dense_1/kernel:0"] + kernels["dense_1/bias:0"])
    head = read_head(tmp_path / "k.npz", activation="relu", output="softmax")
    np.testing.assert_allclose(head(given), powers[:, 1] / powers.sum(1), rtol=1e-4)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(Path(os.environ["EVIL"])),)


def test_what_is_no_head_is_refused_and_no_code_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVIL", str(tmp_path / "run"))
    np.savez(tmp_path / "evil.npz", weight=np.array([Evil()], object))
    np.save(tmp_path / "evil.npy", np.array([Evil()], object))
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"weight": Evil()}))
    np.savez(tmp_path / "deep.npz", a_weight=np.ones((3, 4)), b_weight=np.ones((1, 3)))
    np.savez(tmp_path / "odd.npz", weight=np.ones((1, 3)), running=np.ones(3))
    np.savez(tmp_path / "wide.npz", weight=np.ones((3, 3)))
    np.savez(tmp_path / "nan.npz", weight=np.full((1, 3), np.nan))
    np.savez_compressed(tmp_path / "bomb.npz", weight=np.zeros((1, 70_000_000), np.float32))
    faults = {"evil.npz": "plain numbers", "evil.npy": "plain numbers", "evil.pth": "plain tensors",
              "nan.npz": "no head", "deep.npz": "activation=relu", "odd.npz": "it has running", "wide.npz": "no head",
              "bomb.npz": "unpacks", "none.npz": "cannot be read"}  # fmt: skip
    for name, message in faults.items():
        with pytest.raises(SurefootError, match=message):
            read_head(tmp_path / name)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def tagged(tmp_path: Path, clustered: Vectors, embedded: Callable[..., Manifest]) -> Path:
    """80 rows, the first 20 without a text, with a head and a function as columns."""
    images = clustered(80, 8, 3)
    embedded(tmp_path / "in", images, silent=20)
    write_head(tmp_path / "h.npz", Head(layers=((images[:1] * 2, np.ones(1, np.float32)),), model="numbers"))
    (tmp_path / "f.py").write_text(
        "def score(rows):\n    return [text[-1] for text in rows.rows['text'].to_pylist()]\n"
    )
    taggers = read_taggers(heads=[f"punsafe={tmp_path}/h.npz"], functions=[f"last={tmp_path}/f.py"])
    made = tag_pairs(tmp_path / "in", tmp_path / "out", taggers)
    assert (made.rows, made.kept) == (80, 72) and set(made.recipe.rules["tags"]) == {"punsafe", "punsafe_text", "last"}
    return tmp_path / "out"


def test_scores_are_columns_of_pictures_and_of_texts(tagged: Path, clustered: Vectors) -> None:
    images, rows = clustered(80, 8, 3), rows_of(tagged)
    np.testing.assert_allclose([row["punsafe"] for row in rows], 1 + 2 * images @ images[0], atol=1e-6)  # pyright: ignore
    assert [row["punsafe_text"] for row in rows[:20]] == [None] * 20
    np.testing.assert_allclose([row["punsafe_text"] for row in rows[20:]], [row["punsafe"] for row in rows[20:]])  # pyright: ignore
    assert [row["last"] for row in rows[:3]] == ["0", "1", "2"] and rows[9]["reasons"] == ["too_small"]


def test_thresholds_come_later_with_size_and_statistics_of_every_tag(tagged: Path, tmp_path: Path) -> None:
    kept = [row for row in rows_of(tagged) if not row["reasons"]]
    for edge in (0.5, 1.0):
        told = {row[0]: row for row in subset(tagged, f"punsafe < {edge}").rows}
        below = [float(str(row["punsafe"])) for row in kept if float(str(row["punsafe"])) < edge]
        assert told["subset"][1] == len(below) > 0
        assert told["punsafe"][2:] == pytest.approx([np.mean(below), *np.quantile(below, (0.05, 0.5, 0.95))])
    subset(tagged, "punsafe < 1", tmp_path / "safe")
    assert build_index(tmp_path / "safe", tmp_path / "index").rows == len(below)


def test_tags_of_another_model_or_of_a_name_in_use_are_refused(tagged: Path, tmp_path: Path) -> None:
    layer = (np.ones((1, 8), np.float32), np.zeros(1, np.float32))
    for name, head, message in (("x", Head(layers=(layer,), model="other"), "another model"),
                                ("x", Head(layers=((layer[0][:, :5], layer[1]),)), "another model"),
                                ("punsafe", Head(layers=(layer,)), "a column punsafe already")):  # fmt: skip
        with pytest.raises(SurefootError, match=message):
            tag_pairs(tagged, tmp_path / "more", head_taggers(name, head))
    with pytest.raises(SurefootError, match="NAME=FILE"):
        read_taggers(heads=["no file"])
    (tmp_path / "f.py").write_text("def score(rows):\n    return [1.0]\n")
    with pytest.raises(SurefootError, match="gave 1 values for 40"):
        tag_pairs(tagged, tmp_path / "short", read_taggers(functions=[f"x={tmp_path}/f.py"]))


def test_a_vector_without_a_direction_has_no_score(
    tmp_path: Path, clustered: Vectors, embedded: Callable[..., Manifest]
) -> None:
    images = clustered(20, 8, 0)
    images[3] = 0
    embedded(tmp_path / "in", images)
    head = Head(layers=((np.ones((1, 8), np.float32), np.ones(1, np.float32)),))
    tag_pairs(tmp_path / "in", tmp_path / "out", head_taggers("tall", head))
    rows = rows_of(tmp_path / "out")
    assert [at for at, row in enumerate(rows) if row["tall"] is None or row["tall_text"] is None] == [3]
    assert [row["tall"] for row in rows if row["tall"]] == pytest.approx(np.delete(images, 3, 0).sum(1) + 1, abs=1e-3)


def test_prompts_are_embedded_by_the_model_that_embedded_the_pictures(
    tmp_path: Path, png: Callable[..., bytes], colour_model: PairEncoder, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for colour in ("red", "blue"):
        (tmp_path / "in" / colour).mkdir(parents=True)
        (tmp_path / "in" / colour / "0.png").write_bytes(png(colour))
    embed_pairs(tmp_path / "in", tmp_path / "e", colour_model, template="{}")
    (tmp_path / "p.txt").write_text("blue\nblue green\n\nred\n")
    monkeypatch.setattr("surefoot.cli._pairs._tag.encoder_of", lambda flags: colour_model)
    line = ["pairs", "tag", str(tmp_path / "e"), "--prompts", f"danger={tmp_path}/p.txt", "--out", str(tmp_path / "t")]
    app(line, result_action="return_value")
    assert "tags\t2" in capsys.readouterr().out
    blue, red = rows_of(tmp_path / "t")
    assert float(str(blue["danger"])) < -0.5 and float(str(red["danger"])) > 0.5
    assert float(str(blue["danger_text"])) < -0.5 and float(str(red["danger_text"])) > 0.5
    low, high = colour_model.texts(["blue", "blue green"]).mean(0), colour_model.texts(["red"])[0]
    pictures = np.load(tmp_path / "e" / "part-00000.images.npy").astype(np.float32)
    cosines = [pictures @ (one / np.linalg.norm(one)) for one in (low, high)]
    assert [blue["danger"], red["danger"]] == pytest.approx(cosines[1] - cosines[0], abs=1e-5)
    monkeypatch.setattr("surefoot.pairs._search._encoders.conse_encoder", lambda: colour_model)
    step = Tag(embedded=Embed(path="x"), prompts=(f"danger={tmp_path}/p.txt",)).pinned()
    (tmp_path / "step").mkdir()
    assert [one.value for one in step.make(tmp_path / "step", {step.embedded: tmp_path / "e"})] == [2, 2]  # pyright: ignore[reportArgumentType]
    assert rows_of(tmp_path / "step") == rows_of(tmp_path / "t")
    (tmp_path / "q.txt").write_text("blue\n\nred\n")
    other = Tag(embedded=step.embedded, prompts=(f"danger={tmp_path}/q.txt",)).pinned()
    assert other.key != step.key


def test_a_trained_head_is_the_regression_and_tells_its_calibration(
    tmp_path: Path, clustered: Vectors, embedded: Callable[..., Manifest]
) -> None:
    images, random = clustered(900, 8, 5), np.random.default_rng(0)
    images = np.concatenate([images, images[:100]])  # the same picture twice never stands on both sides
    embedded(tmp_path / "in", images)
    chance = 1 / (1 + np.exp(-6 * images @ images[0]))
    chosen = set(np.flatnonzero(random.random(1000) < chance).tolist())
    label = f"width IN ({', '.join(map(str, chosen))})"
    told = {row[0]: row[1:] for row in train_head(tmp_path / "in", label, tmp_path / "h.npz").rows}
    head, kept = read_head(tmp_path / "h.npz"), np.arange(1000) % 10 != 9
    truth = np.isin(np.arange(1000), list(chosen))
    errors = [abs(head(images) - LogisticRegression(C=c, max_iter=2000).fit(images[kept], truth[kept])
              .predict_proba(images)[:, 1]).mean() for c in (0.01, 0.1, 1, 10, 100)]  # fmt: skip
    assert min(errors) < 0.02 < max(errors)
    value, low, high, n = told["Brier score"]
    assert 150 < n < 210 and told["trained on"][0] + n == 900
    assert low < brier_score_loss(truth, chance) < high and value < 0.2
    assert told["expected calibration error"][0] < 0.1
    bins = [row for name, row in told.items() if name.startswith("true where")]
    assert sum(row[3] for row in bins) == n and all(low <= value <= high for value, low, high, _ in bins)
    with pytest.raises(SurefootError, match="Too few rows have a label: 0 false and 0 true"):
        train_head(tmp_path / "in", "NULL", tmp_path / "h.npz")
    again = tag_pairs(tmp_path / "in", tmp_path / "out", head_taggers("punsafe", head))
    assert again.recipe.rules["tags"]["punsafe"] == head.digest
