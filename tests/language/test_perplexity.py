"""Perplexity is the exponential of the mean loss of a token, with an interval over documents."""

import json
import math
from pathlib import Path

import duckdb
import numpy as np
import pytest
import torch
from tiny_language import tiny

from surefoot.core import Measurement, Store, StoredInputs, SurefootError, write_record
from surefoot.language import (
    Perplexity,
    SmolLM2,
    TextLosses,
    TextSet,
    language_measurements,
    load_language,
    save_language,
    text_losses,
)

TEXTS = ["a first text", "another one, a little longer", "short", "and a last one that is the longest of them all"]
BASE, DATA = SmolLM2(), TextSet(style="novel", part="test")  # their places in a store; what lies there is ours
STEP = Perplexity(model=BASE, data=DATA, length=16, shift="novel")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    kept = Store(tmp_path / "store")
    for step in (BASE, DATA):
        kept.path(step).mkdir(parents=True)
        write_record(kept.path(step), step, ())
    rows = [{"id": f"{at}:0", "document": str(at), "text": text} for at, text in enumerate(TEXTS)]
    (kept.path(DATA) / "texts.json").write_text(json.dumps(rows))
    save_language(tiny(window=512), kept.path(BASE))
    return kept


def measured(step: Perplexity, store: Store, directory: Path) -> tuple[Path, dict[str, Measurement]]:
    out = directory / "part"
    out.mkdir()
    return out, {found.metric: found for found in step.make(out, StoredInputs(store))}


def test_a_model_that_knows_nothing_has_the_size_of_its_vocabulary_as_perplexity() -> None:
    assert text_losses(tiny(deviation=0.0, window=512), TEXTS).perplexity == pytest.approx(258, rel=1e-6)


def test_a_text_is_read_in_windows_that_begin_anew() -> None:
    loaded = tiny(window=512)
    by_hand = 0.0
    for piece in (b"0123456789", b"0123456789", b"01234"):
        ids = [loaded.start, *loaded.encoded([piece.decode()])[0]]
        with torch.no_grad():
            logs = loaded.model(torch.tensor([ids[:-1]])).logits[0].double().log_softmax(dim=-1)
        by_hand -= sum(logs[at, token].item() for at, token in enumerate(ids[1:]))
    found = text_losses(loaded, ["0123456789012345678901234"], length=10)
    assert found.tokens.tolist() == [25]
    assert found.losses[0] == pytest.approx(by_hand, rel=1e-6)
    assert found.perplexity == pytest.approx(math.exp(by_hand / 25), rel=1e-6)


def test_what_a_text_scores_does_not_depend_on_the_others() -> None:
    loaded = tiny(window=512)
    together = text_losses(loaded, TEXTS, length=8)
    alone = [text_losses(loaded, [text], length=8) for text in TEXTS]
    np.testing.assert_allclose(together.losses, [one.losses[0] for one in alone], rtol=1e-5)
    assert together.tokens.tolist() == [len(text) for text in TEXTS]


def test_the_step_measures_what_the_function_does_and_keeps_each_text(store: Store, tmp_path: Path) -> None:
    out, found = measured(STEP, store, tmp_path)
    loaded = load_language(store.path(BASE))
    assert found["perplexity"].value == pytest.approx(text_losses(loaded, TEXTS, length=16).perplexity, rel=1e-6)
    assert found["loss"].value == pytest.approx(math.log(found["perplexity"].value))
    assert {(one.task, one.shift, one.n) for one in found.values()} == {("perplexity", "novel", 4)}
    query = f"SELECT example, document, tokens, score FROM '{out / 'examples.parquet'}'"
    rows = duckdb.sql(query).fetchall()
    assert [row[:3] for row in rows] == [(f"{at}:0", str(at), len(text)) for at, text in enumerate(TEXTS)]
    mean = sum(tokens * score for _, _, tokens, score in rows) / sum(tokens for _, _, tokens, _ in rows)
    assert mean == pytest.approx(found["loss"].value)


def test_the_interval_is_that_of_a_ratio_over_documents() -> None:
    generator = np.random.default_rng(0)
    tokens = generator.integers(50, 128, 400)
    found = TextLosses(losses=tokens * generator.normal(3.0, 0.5, 400), tokens=tokens)
    loss, raised = language_measurements(found, [str(at) for at in range(400)], task="t")
    residual = found.losses - found.loss * tokens  # the delta method for a ratio of sums
    stderr = math.sqrt((residual**2).sum()) / tokens.sum()
    assert loss.stderr == pytest.approx(stderr, rel=0.08)
    assert loss.low == pytest.approx(loss.value - 1.96 * stderr, abs=0.3 * stderr)
    assert loss.high == pytest.approx(loss.value + 1.96 * stderr, abs=0.3 * stderr)
    assert loss.low is not None
    assert raised.low == pytest.approx(math.exp(loss.low))


def test_excerpts_of_one_document_are_not_counted_as_independent() -> None:
    losses = np.repeat(np.random.default_rng(1).normal(300, 50, 20), 10)
    found = TextLosses(losses=losses, tokens=np.full(200, 100))
    alone = language_measurements(found, [str(at) for at in range(200)], task="t")[0]
    together = language_measurements(found, [str(at // 10) for at in range(200)], task="t")[0]
    assert together.stderr is not None
    assert alone.stderr is not None
    assert together.stderr == pytest.approx(math.sqrt(10) * alone.stderr, rel=0.15)


def test_few_documents_have_a_wide_interval_and_one_has_none() -> None:
    found = TextLosses(losses=np.array([3.0, 4.0, 5.0]), tokens=np.array([1, 1, 1]))
    loss, raised = language_measurements(found, ["a", "b", "c"], task="t")
    half = 4.302652729911275 / math.sqrt(3)  # Student's t with two degrees of freedom, of the values 3, 4 and 5
    assert (loss.value, loss.stderr) == (4.0, pytest.approx(1 / math.sqrt(3)))
    assert (loss.low, loss.high) == (pytest.approx(4 - half), pytest.approx(4 + half))
    assert raised.value == pytest.approx(math.exp(4))
    single, _ = language_measurements(found, ["a", "a", "a"], task="t")
    assert (single.value, single.stderr, single.low, single.high) == (4.0, None, None, None)


def test_nothing_to_read_is_said(store: Store, tmp_path: Path) -> None:
    (store.path(DATA) / "texts.json").write_text("[]")
    with pytest.raises(SurefootError, match="There are no texts"):
        measured(STEP, store, tmp_path)


def test_a_perplexity_that_no_number_holds_is_refused(store: Store, tmp_path: Path) -> None:
    save_language(tiny(deviation=1e3, window=512), store.path(BASE))
    assert text_losses(load_language(store.path(BASE)), TEXTS).perplexity == math.inf
    with pytest.raises(SurefootError, match="'perplexity' has value = inf: it must be a finite number"):
        measured(STEP, store, tmp_path)
