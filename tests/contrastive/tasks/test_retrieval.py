"""Retrieval counts as clip-benchmark does, both ways, with several captions a picture."""

import json
from pathlib import Path

import duckdb
import numpy as np
import pytest
import torch

from surefoot.contrastive import (
    CaptionedPictures,
    ImageFolder,
    OpenClipModel,
    PictureFeatures,
    Retrieval,
    Retrieved,
    ZeroShot,
    retrieval_measurements,
    retrieve,
)
from surefoot.core import Step, Store, StoredInputs, SurefootError, open_pool, run

# What clip-benchmark 1.6.2 (zeroshot_retrieval.evaluate, zeroshot_classification.evaluate, without amp) says of the
# numbered model and these pictures, captions and classes, with OpenCLIP's own transform.
CLIP_BENCHMARK = {
    "image_retrieval_recall@1": 0.008333333767950535,
    "text_retrieval_recall@1": 0.03333333507180214,
    "image_retrieval_recall@5": 0.11666666716337204,
    "text_retrieval_recall@5": 0.10000000149011612,
    "image_retrieval_recall@10": 0.15833333134651184,
    "text_retrieval_recall@10": 0.13333334028720856,
}
ZERO_SHOT = {"top1": 10 / 60, "top5": 49 / 60, "mean_per_class_recall": 10 / 60}
TEMPLATES = ("a photo of a {}.", "a drawing of a {}.", "{}")


@pytest.fixture(scope="module")
def steps(numbered_model: Path, captioned: Path) -> dict[str, Step]:
    model = OpenClipModel(checkpoint=str(numbered_model)).pinned()
    pairs = CaptionedPictures(path=str(captioned), size=32).pinned()
    folder = ImageFolder(path=str(captioned), size=32).pinned()
    features = PictureFeatures(model=model, data=folder)
    zero_shot = {"model": model, "data": folder, "templates": TEMPLATES}
    return {
        "retrieval": Retrieval(features=PictureFeatures(model=model, data=pairs)),
        "zero-shot": ZeroShot(**zero_shot),
        "zero-shot on features": ZeroShot(**zero_shot, features=features),
    }


@pytest.fixture(scope="module")
def store(steps: dict[str, Step], tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    with open_pool("here") as pool:
        failed = [event for event in run(tuple(steps.values()), store, pool) if event.kind == "failed"]
    assert not failed
    return store


def test_recall_both_ways_is_clip_benchmarks(store: Store, steps: dict[str, Step]) -> None:
    found = {one.metric: one for one in store.measurements(steps["retrieval"])}
    assert {name: np.float32(one.value) for name, one in found.items()} == pytest.approx(CLIP_BENCHMARK, abs=1e-7)
    assert (found["image_retrieval_recall@5"].n, found["text_retrieval_recall@5"].n) == (120, 60)
    assert all(one.low is not None and one.high is not None and one.low < one.high for one in found.values())


def test_zero_shot_is_clip_benchmarks_also_on_features_that_are_there(store: Store, steps: dict[str, Step]) -> None:
    for name in ("zero-shot", "zero-shot on features"):
        found = {one.metric: one.value for one in store.measurements(steps[name])}
        assert found == pytest.approx(ZERO_SHOT, abs=1e-6)


def test_features_of_other_pictures_are_refused(steps: dict[str, Step], store: Store, tmp_path: Path) -> None:
    step, other = steps["zero-shot"], steps["retrieval"]
    assert isinstance(step, ZeroShot) and isinstance(other, Retrieval)
    wrong = ZeroShot(model=step.model, data=step.data, features=other.features)
    with pytest.raises(SurefootError, match="of another model or other pictures"):
        wrong.make(tmp_path, StoredInputs(store))


def test_every_picture_and_caption_has_its_row(store: Store, steps: dict[str, Step]) -> None:
    rows = duckdb.read_parquet(str(store.path(steps["retrieval"]) / "examples.parquet"))
    count = dict(rows.aggregate("direction, count(*)").fetchall())
    assert count == {"text": 60, "image": 120}
    assert rows.filter("direction = 'image' AND rank <= 5").aggregate("count(*)").fetchall() == [(14,)]


class Words:
    """A model whose embeddings are given by text."""

    name, device, precision = "words", "cpu", "float32"

    def __init__(self, of: dict[str, list[float]]) -> None:
        self.of, self.model = of, self

    def tokenizer(self, texts: list[str]) -> torch.Tensor:
        return torch.tensor([list(self.of).index(text) for text in texts])[:, None]

    def encode_text(self, tokens: torch.Tensor, *, normalize: bool) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.tensor(list(self.of.values()))[tokens[:, 0]], dim=-1)


def test_a_caption_of_two_pictures_is_no_rival_to_itself_and_ties_count_against() -> None:
    words = Words({"cat": [1.0, 0.0], "dog": [0.0, 1.0], "far": [-1.0, 0.1]})
    images = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.6, 0.8]])
    found = retrieve(words, images, [["cat"], ["cat", "far"], ["dog"]])  # type: ignore[arg-type]
    assert found.text_ranks.tolist() == [1, 1, 1]  # "cat" stands there twice, and belongs to both
    assert found.image_ranks.tolist() == [2, 2, 3, 1]  # the two pictures of cats cannot be told apart
    assert found.pictures.tolist() == [0, 1, 1, 2]
    rivals = retrieve(words, torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.9, 0.1]]), [["cat"], ["cat"], ["dog"]])  # type: ignore[arg-type]
    assert rivals.text_ranks.tolist()[2] == 3  # both captions "cat" come before


def test_other_captions_that_a_model_cannot_tell_from_the_right_one_count_against_it() -> None:
    words = Words({"cat": [1.0, 0.0], "puss": [1.0, 0.0], "dog": [0.0, 1.0]})
    images = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    found = retrieve(words, images, [["cat"], ["puss", "cat"], ["dog"]])  # type: ignore[arg-type]
    assert found.text_ranks.tolist() == [2, 1, 1]  # "puss" is not the first picture's; both are the second's


def test_the_interval_of_captions_is_over_pictures() -> None:
    pictures = np.repeat(np.arange(40), 5)
    ranks = np.where(pictures % 4 == 0, 1, 99)
    found = Retrieved(text_ranks=np.ones(40, np.int64), image_ranks=ranks, pictures=pictures)
    recall = {one.metric: one for one in retrieval_measurements(found, task="t", shift="")}["image_retrieval_recall@1"]
    assert (recall.value, recall.n) == (0.25, 200)
    assert recall.low == pytest.approx(0.142, abs=0.01)  # Wilson's of 10 of 40, and not of 50 of 200
    assert recall.high == pytest.approx(0.402, abs=0.01)


def test_recall_among_a_few_is_left_out() -> None:
    found = Retrieved(text_ranks=np.ones(4, np.int64), image_ranks=np.ones(4, np.int64), pictures=np.arange(4))
    assert {one.metric for one in retrieval_measurements(found, task="", shift="")} == {
        "image_retrieval_recall@1",
        "text_retrieval_recall@1",
    }
    assert json.dumps(found.columns(list("abcd"))["example"]) == json.dumps(
        [*"abcd", *(f"{name} caption 1" for name in "abcd")]
    )
