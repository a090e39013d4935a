"""Readers: any encoder's spans as a plain loop finds them; trained, killed, damaged, and read by transformers."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    AlbertConfig,
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    BertConfig,
    DistilBertConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
)

from surefoot.core import Step, Store, StoredInputs, SurefootError, write_record
from surefoot.language import (
    MiniLM,
    Question,
    QuestionFile,
    ReaderAnswers,
    SlidingWindow,
    SpanModel,
    SpanReader,
    SpanRegression,
    load_encoder,
    read_predictions,
    span_answers,
    write_questions,
)
from surefoot.language._reading._readers import _answers, _baselines, _span_reader
from surefoot.language._reading._readers._encoder import (
    TokenWindows,
    best_spans,
    by_length,
    token_windows,
    with_adapters,
)
from surefoot.training import Average, _loop

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
ENCODER, QUESTIONS = MiniLM(), QuestionFile(path="questions.json", digest="given")
"""Their places in a store; what lies there is ours."""
STEP = SpanReader(
    encoder=ENCODER, questions=QUESTIONS, steps=40, batch=8, learning_rate=1e-2, max_tokens=128, stride=16
)


def question(id: str, asked: str, context: str, *answers: str) -> Question:
    return Question(id, asked, context, answers, tuple(map(context.index, answers)), f"article {id[0]}", id)


CITIES = ["Paris", "Zürich", "Łódź", "東京", "São Paulo", "Köln", "Oslo", "New York"]
FACTS = [
    question(
        f"{place}", f"Where does number {place} live?", f"In the year 19{place}0 she moved to {city} for good.", city
    )
    for place, city in enumerate(CITIES)
]
LONG = question(
    "9", "Where is it?", "It was cold \U0001f976 there. " * 60 + "The thing is in Göteborg now.", "Göteborg"
)


def wordpiece() -> PreTrainedTokenizerFast:
    letters = sorted({*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.?üŁódźãöèé東京\U0001f976"})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{one}" for one in letters)]
    tokenizer = Tokenizer(models.WordPiece({one: id for id, one in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.NFC(), pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def byte_level() -> PreTrainedTokenizerFast:
    vocabulary = ["<s>", "<pad>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={one: id for id, one in enumerate(vocabulary)}, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", cls_token="<s>", sep_token="</s>",
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def architecture(name: str) -> tuple[PreTrainedConfig, PreTrainedTokenizerFast]:
    words, size = (byte_level() if name == "roberta" else wordpiece()), {"vocab_size": 300}
    if name == "bert":
        return BertConfig(**SIZES, **size, max_position_embeddings=128), words
    if name == "roberta":
        return RobertaConfig(**SIZES, **size, max_position_embeddings=130, pad_token_id=1), words
    if name == "albert":
        return AlbertConfig(**SIZES, **size, max_position_embeddings=128, embedding_size=16), words
    return DistilBertConfig(dim=24, n_layers=2, n_heads=2, hidden_dim=32, max_position_embeddings=128, **size), words


def saved(directory: Path, name: str = "bert") -> Path:
    config, tokenizer = architecture(name)
    torch.manual_seed(5)
    AutoModelForQuestionAnswering.from_config(config).apply(widened).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def widened(module: torch.nn.Module) -> None:
    """A model at its beginning scores all spans alike; this one tells them apart."""
    if isinstance(module, torch.nn.Linear):
        torch.nn.init.normal_(module.weight, std=0.5)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    kept = Store(tmp_path_factory.mktemp("store"))
    for step in (ENCODER, QUESTIONS):
        kept.path(step).mkdir(parents=True)
        write_record(kept.path(step), step, ())
    saved(kept.path(ENCODER))
    write_questions(kept.path(QUESTIONS), FACTS)
    return kept


def made(step: Step, store: Store, directory: Path) -> tuple[Path, dict[str, float]]:
    out = directory / "part"
    out.mkdir(parents=True, exist_ok=True)
    return out, {one.metric: one.value for one in step.make(out, StoredInputs(store))}


def published(step: Step, store: Store) -> Path:
    place = store.path(step)
    place.mkdir(parents=True)
    write_record(place, step, tuple(step.make(place, StoredInputs(store))))
    return place


def plain_answer(directory: Path, one: Question, most: int, stride: int, longest: int) -> tuple[str, float]:
    """A question alone, each window alone, each pair of tokens tried, with transformers and nothing of ours."""
    model, tokenizer = (
        AutoModelForQuestionAnswering.from_pretrained(directory),
        AutoTokenizer.from_pretrained(directory),
    )
    cut = tokenizer(
        one.question, one.context, truncation="only_second", max_length=most, stride=stride,
        return_overflowing_tokens=True, return_offsets_mapping=True,
    )  # fmt: skip
    best, text, none = -np.inf, "", np.inf
    for window in range(len(cut["input_ids"])):
        tensors = {
            name: torch.tensor([cut[name][window]])
            for name in ("input_ids", "attention_mask", "token_type_ids")
            if name in cut
        }
        with torch.no_grad():
            told = model(**tensors)
        start, end = told.start_logits[0].tolist(), told.end_logits[0].tolist()
        none = min(none, start[0] + end[0])
        places = [place for place, part in enumerate(cut.sequence_ids(window)) if part == 1]
        for first in places:
            for last in places:
                if first <= last < first + longest and start[first] + end[last] > best + 1e-6:
                    best, offsets = start[first] + end[last], cut["offset_mapping"][window]
                    text = one.context[offsets[first][0] : offsets[last][1]]
    return text.strip(), none - best


@pytest.mark.parametrize("name", ["bert", "roberta", "albert", "distilbert"])
def test_answers_are_those_of_a_plain_loop_over_start_and_end_scores(name: str, tmp_path: Path) -> None:
    encoder = load_encoder(saved(tmp_path, name))
    assert encoder.most == 128
    answers = span_answers(encoder, [*FACTS, LONG], max_tokens=128, stride=16, longest=7)
    expected = [plain_answer(tmp_path, one, 128, 16, 7) for one in [*FACTS, LONG]]
    assert [answer.text for answer in answers] == [text for text, _ in expected]
    assert [answer.no_answer for answer in answers] == pytest.approx([score for _, score in expected], abs=1e-3)
    assert len({answer.text for answer in answers}) > 3


@pytest.mark.parametrize("longest", [1, 3, 40])
def test_the_best_span_is_that_of_all_pairs_within_the_context(longest: int) -> None:
    generator = torch.Generator().manual_seed(longest)
    start, end = (torch.randint(0, 9, (60, 12), generator=generator).float() for _ in "ab")  # with ties
    sizes, first = [12 - row % 5 for row in range(60)], [2 + row % 4 for row in range(60)]
    masks = [np.arange(size) >= at for size, at in zip(sizes, first, strict=True)]
    masks = [mask & (np.arange(len(mask)) < len(mask) - 1) for mask in masks]
    windows = TokenWindows(
        ids=[np.zeros(size, np.int64) for size in sizes], types=None, offsets=[], context=masks,
        question=np.arange(60), no_answer=np.zeros(60, np.int64), cut=frozenset(),
    )  # fmt: skip
    found = best_spans(start, end, windows, list(range(60)), longest)
    for row, mask in enumerate(masks):
        inside = np.flatnonzero(mask).tolist()
        pairs = [(a, b) for a in inside for b in inside if a <= b < a + longest]
        best = max(pairs, key=lambda pair: (start[row, pair[0]] + end[row, pair[1]]).item())
        assert (found.first[row], found.last[row]) == best
        assert found.score[row] == (start[row, best[0]] + end[row, best[1]]).item()
    assert found.no_answer.tolist() == (start[:, 0] + end[:, 0]).tolist()


def test_windows_cover_a_long_context_and_a_long_question_is_cut(tmp_path: Path) -> None:
    tokenizer = load_encoder(saved(tmp_path)).tokenizer
    asked = "Which " * 30 + "one?"
    windows = token_windows(tokenizer, [LONG.question, asked], [LONG.context] * 2, most=120, stride=20)
    assert windows.cut == {1}
    assert max(windows.lengths) <= 120
    for place in range(2):
        rows = np.flatnonzero(windows.question == place)
        spans = [tuple(span) for row in rows for span in windows.offsets[row][windows.context[row]].tolist()]
        covered = {at for start, end in spans for at in range(start, end)}
        assert covered == {at for at, letter in enumerate(LONG.context) if not letter.isspace()}
        assert len(spans) - len(set(spans)) == 20 * (len(rows) - 1)
    batches = [*by_length(windows, np.arange(len(windows.ids)))]
    assert sorted(np.concatenate(batches)) == list(range(len(windows.ids)))


def test_it_learns_where_the_answer_is_and_transformers_reads_it(store: Store, tmp_path: Path) -> None:
    out, values = made(STEP, store, tmp_path)
    assert [answer.text for answer in span_answers(load_encoder(out), FACTS)] == CITIES
    assert values["windows"] == len(FACTS)
    assert values["loss"] < 0.5
    model = AutoModelForQuestionAnswering.from_pretrained(out)
    assert values["parameters"] == sum(one.numel() for one in model.parameters())
    assert plain_answer(out, FACTS[3], 128, 16, 30)[0] == "東京"


@pytest.mark.parametrize(
    ("step", "trained"),
    [
        (replace(STEP, method="head"), ("qa_outputs",)),
        (replace(STEP, method="lora", rank=2), ("qa_outputs", "layer", "attention")),
        (replace(STEP, layers=1, robust="freelb"), ("",)),
        (replace(STEP, layers=1, robust="r3f"), ("",)),
    ],
)
def test_each_method_lowers_the_loss_and_changes_its_own_weights_alone(
    step: SpanReader, trained: Sequence[str], store: Store, tmp_path: Path
) -> None:
    out, values = made(step, store, tmp_path)
    losses = [row["loss"] for row in json.loads((out / "history.json").read_text())["rows"]]
    assert losses[-1] < losses[0]
    before, after = load_file(store.path(ENCODER) / "model.safetensors"), load_file(out / "model.safetensors")
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert changed
    assert all(any(part in name for part in trained) for name in changed)
    assert load_encoder(out).model.config.num_hidden_layers == (step.layers or 2)
    assert values["parameters"] > 0


def test_a_low_rank_update_counts_twice() -> None:
    model = with_adapters(AutoModelForQuestionAnswering.from_config(architecture("bert")[0]), 4, 0, head="qa_outputs")
    layer = next(one for one in model.modules() if hasattr(one, "lora_B"))
    down, up = layer.lora_A["default"].weight, torch.nn.init.normal_(layer.lora_B["default"].weight)
    read = torch.randn(3, down.shape[1])
    torch.testing.assert_close(layer(read), layer.base_layer(read) + 2 * read @ down.T @ up.T)


def test_features_of_the_head_are_those_that_the_whole_model_computes(store: Store, tmp_path: Path) -> None:
    found = []
    for method in ("head", "full"):
        encoder = load_encoder(store.path(ENCODER))
        step = replace(STEP, method=method)
        windows = _span_reader._training_windows(step, encoder, FACTS)
        make = _span_reader._head_loss(step, encoder, windows) if method == "head" else None
        loss = make or _span_reader._loss(step, encoder.model, encoder, windows)
        found.append([loss(number).item() for number in range(3)])
    assert found[0] == pytest.approx(found[1], abs=1e-4)


def test_nothing_is_dropped_in_training(store: Store, tmp_path: Path) -> None:
    step, encoder = replace(STEP, steps=1, learning_rate=1e-12), load_encoder(store.path(ENCODER))
    assert encoder.model.config.hidden_dropout_prob == 0.1
    loss = _span_reader._loss(step, encoder.model, encoder, _span_reader._training_windows(step, encoder, FACTS))
    out, _ = made(step, store, tmp_path)
    assert json.loads((out / "history.json").read_text())["rows"][0]["loss"] == pytest.approx(loss(0).item(), rel=1e-5)


def test_the_same_step_gives_the_same_bits_also_after_a_kill(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = replace(STEP, steps=12, method="lora")
    whole, _ = made(step, store, tmp_path / "whole")
    monkeypatch.setattr(_loop, "CHECKPOINT_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(_span_reader, "_span_loss", failing_at(7, _span_reader._span_loss))
        with pytest.raises(KeyboardInterrupt):
            made(step, store, tmp_path / "broken")
    again, _ = made(step, store, tmp_path / "broken")
    other, _ = made(replace(step, seed=1), store, tmp_path / "other")
    bits = [(place / "model.safetensors").read_bytes() for place in (whole, again, other)]
    assert bits[0] == bits[1] != bits[2]


def failing_at(last: int, function: Callable[..., object]) -> Callable[..., object]:
    """The function, until a call at which someone presses Ctrl-C."""
    calls = iter(range(last))

    def guarded(*given: object) -> object:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return function(*given)

    return guarded


def test_a_question_without_an_answer_is_trained_towards_no_answer(store: Store, tmp_path: Path) -> None:
    unanswerable = [replace(one, id=f"no {one.id}", question="Who ate?", answers=(), starts=()) for one in FACTS]
    mixed = QuestionFile(path="mixed.json", digest="mixed")
    place = store.path(mixed)
    place.mkdir(parents=True)
    write_record(place, mixed, ())
    write_questions(place, [*FACTS, *unanswerable])
    reader = replace(STEP, questions=mixed, steps=160)
    published(reader, store)
    out, values = made(ReaderAnswers(reader=reader, questions=mixed, max_tokens=128, stride=16), store, tmp_path)
    found = read_predictions(out)
    assert [found.answers[one.id] for one in FACTS] == CITIES
    assert values == {"answers": 2 * len(FACTS), "cut": 0, "refused": 0}
    assert max(found.no_answer[one.id] for one in FACTS) < 0 < min(found.no_answer[one.id] for one in unanswerable)


def test_answers_that_broke_off_are_not_asked_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_answers, "QUESTIONS_AT_ONCE", 3)
    step = ReaderAnswers(reader=ENCODER, questions=QUESTIONS, max_tokens=128, stride=16)
    whole, _ = made(step, store, tmp_path / "whole")
    asked: list[str] = []
    answer = _answers.span_answers

    def counted(encoder: object, questions: Sequence[Question], **given: int) -> object:
        if len(asked) == 6:
            raise KeyboardInterrupt
        asked.extend(one.id for one in questions)
        return answer(encoder, questions, **given)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(_answers, "span_answers", counted)
        with pytest.raises(KeyboardInterrupt):
            made(step, store, tmp_path / "broken")
        with (tmp_path / "broken" / "resume" / "answers.jsonl").open("a") as log:
            log.write('[{"text": "cut sho')
        asked.clear()
        again, _ = made(step, store, tmp_path / "broken")
    assert asked == ["6", "7"]
    assert read_predictions(again) == read_predictions(whole)
    kept = (tmp_path / "broken" / "resume" / "answers.jsonl").read_text().splitlines()
    assert sum(len(json.loads(line)) for line in kept) == len(FACTS)


def bare(directory: Path) -> None:
    weights = load_file(directory / "model.safetensors")
    save_file({name: one for name, one in weights.items() if "qa_" not in name}, directory / "model.safetensors")


def changed(directory: Path, **changes: torch.Tensor) -> None:
    weights = load_file(directory / "model.safetensors")
    save_file(
        weights | {name.replace("__", "."): one for name, one in changes.items()}, directory / "model.safetensors"
    )


def pickled(directory: Path) -> None:
    (directory / "model.safetensors").unlink()
    torch.save({}, directory / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda place: (place / "config.json").unlink(), "has no config.json"),
        (lambda place: (place / "config.json").write_text("{"), "cannot be read"),
        (lambda place: (place / "config.json").write_text('{"model_type": "vit"}'), "cannot be read"),
        (pickled, "pytorch_model.bin is a pickle, which could run code"),
        (lambda place: changed(place, qa_outputs__bias=torch.full((2,), torch.nan)), "qa_outputs.bias holds a NaN"),
        (lambda place: changed(place, qa_outputs__weight=torch.zeros(2, 7)), "cannot be read"),
        (lambda place: (place / "model.safetensors").write_bytes(b"\x00" * 90), "cannot be read"),
        (lambda place: [file.unlink() for file in place.glob("tokenizer*")], "has no tokenizer: add tokenizer.json"),
        (lambda place: (place / "adapter_config.json").write_text("{}"), "holds an adapter: merge it into its model"),
        (bare, "is no span model: its files lack qa_outputs.bias"),
    ],
)  # fmt: skip
def test_a_damaged_or_dangerous_model_is_refused(
    harm: Callable[[Path], object], message: str, store: Store, tmp_path: Path
) -> None:
    directory = saved(tmp_path / "model")
    harm(directory)
    with pytest.raises(SurefootError, match=message):
        step = SpanModel(path=str(directory)).pinned()
        if not store.path(step).exists():
            published(step, store)
        made(ReaderAnswers(reader=step, questions=QUESTIONS, max_tokens=128, stride=16), store, tmp_path)


def test_a_model_of_the_user_is_known_by_its_content(store: Store, tmp_path: Path) -> None:
    step = SpanModel(path=str(saved(tmp_path / "one", "distilbert"))).pinned()
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    (tmp_path / "two" / "notes.md").write_text("mine")
    assert SpanModel(path=str(tmp_path / "two")).pinned().key == step.key
    place = published(step, store)
    assert not (place / "notes.md").exists()
    out, values = made(ReaderAnswers(reader=step, questions=QUESTIONS, max_tokens=128, stride=16), store, tmp_path)
    assert values == {"answers": len(FACTS), "cut": 0, "refused": 0}
    assert read_predictions(out).answers["3"] == plain_answer(tmp_path / "two", FACTS[3], 128, 16, 30)[0]
    changed(tmp_path / "one", qa_outputs__bias=torch.ones(2))
    with pytest.raises(SurefootError, match="have changed since their digest was taken"):
        made(step, store, tmp_path / "again")


def test_only_windows_that_hold_the_whole_answer_are_trained_on(store: Store) -> None:
    encoder, context = load_encoder(store.path(ENCODER)), LONG.context
    answers = ["It was cold \U0001f976", "there. The thing is in Göteborg now.", "cold \U0001f976 there. It"]
    starts = [context.find(one) if at != 1 else context.rindex(one) for at, one in enumerate(answers)]
    asked = [
        replace(LONG, id=f"{at}", answers=(answer, "none such"), starts=(start, -1))
        for at, (answer, start) in enumerate(zip(answers, starts, strict=True))
    ]
    asked += [replace(LONG, id="second", answers=("none such", "Göteborg"), starts=(-1, context.index("Göteborg")))]
    asked += [replace(LONG, id="nowhere", answers=("none such",), starts=(-1,))]
    found = _span_reader._training_windows(replace(STEP, stride=30), encoder, asked)
    owners = found.windows.question[found.rows]
    for at, one in enumerate(asked[:4]):
        text, start = next(pair for pair in zip(one.answers, one.starts, strict=True) if pair[1] >= 0)
        spans = [found.windows.offsets[row][mask] for row, mask in enumerate(found.windows.context)]
        holding = [
            row
            for row in np.flatnonzero(found.windows.question == at)
            if spans[row][0, 0] <= start and spans[row][-1, 1] >= start + len(text)
        ]
        assert found.rows[owners == at].tolist() == holding
        for row, first, last in zip(found.rows, found.first, found.last, strict=True):
            if found.windows.question[row] == at:
                offsets = found.windows.offsets[row]
                assert context[offsets[first, 0] : offsets[last, 1]] == text
    assert 4 not in owners


def test_workers_on_parts_that_share_no_window_are_averaged_into_a_reader(store: Store, tmp_path: Path) -> None:
    encoder = load_encoder(store.path(ENCODER))
    whole = _span_reader._training_windows(STEP, encoder, FACTS).rows.tolist()
    workers = [replace(STEP, steps=2, shard=(at, 2), seed=1) for at in range(2)]
    parts = [_span_reader._training_windows(one, encoder, FACTS).rows.tolist() for one in workers]
    assert parts == [whole[::2], whole[1::2]]
    places = [published(one, store) for one in workers]
    mean, _ = made(Average(models=tuple(workers), only=()), store, tmp_path / "mean")
    one, other, both = (load_encoder(place) for place in (*places, mean))
    for name, value in both.model.state_dict().items():
        halves = one.model.state_dict()[name].double() + other.model.state_dict()[name].double()
        assert torch.equal(value, (halves / 2).to(value.dtype)), name
    assert both.most == one.most
    asked = "Where is Łódź, 東京?"
    assert both.tokenizer(asked)["input_ids"] == one.tokenizer(asked)["input_ids"]


@pytest.mark.parametrize("windows", [5, 8, 50])
def test_no_batch_has_a_window_twice_and_all_are_seen(windows: int) -> None:
    lengths = np.arange(windows)[::-1] % 7
    step = replace(STEP, batch=4)
    batches = [_span_reader._rows(step, lengths, number).tolist() for number in range(windows)]
    assert all(len(set(batch)) == 4 for batch in batches[: windows // 4])  # the first pass over them
    assert {row for batch in batches for row in batch} == set(range(windows))
    assert batches == [_span_reader._rows(step, lengths, number).tolist() for number in range(windows)]


def steepness(change: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores that a change of the embeddings (2, 3, 4) moves."""
    return (change * torch.arange(1.0, 5)).sum(-1), (change**2).sum(-1)


def test_the_adversary_of_freelb_raises_the_loss_within_its_radius() -> None:
    seen: list[torch.Tensor] = []

    def read(change: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(change.detach().clone())
        return steepness(change)

    def loss(start: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
        return (start.sum() + end.sum()).requires_grad_(True)

    mask = {"attention_mask": torch.ones(2, 3, dtype=torch.long)}
    told = _span_reader._freelb(read, loss, (2, 3, 4), mask, torch.Generator().manual_seed(0))
    values = [loss(*steepness(change)).item() for change in seen]
    assert values[1] > values[0]
    assert told.item() == pytest.approx(sum(values) / 2, rel=1e-5)
    assert all(change.norm(dim=(1, 2)).max() <= _span_reader.FREELB_RADIUS * 1.001 for change in seen)


def test_r3f_adds_the_divergence_of_both_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_span_reader, "NOISE", 0.3)
    given = ((2, 3, 4), {}, torch.Generator().manual_seed(1))
    told = _span_reader._r3f(
        lambda change: steepness(change.expand(2, 3, 4)), lambda start, end: start.sum() * 0 + 2.0, *given
    )
    noise = 0.3 * torch.randn((2, 3, 4), generator=torch.Generator().manual_seed(1))
    both = 0.0
    for plain, noisy in zip(steepness(torch.zeros(2, 3, 4)), steepness(noise), strict=True):
        p, q = plain.softmax(-1), noisy.softmax(-1)
        both += ((p * (p / q).log()).sum(-1) + (q * (q / p).log()).sum(-1)).mean().item() / 2
    assert told.item() == pytest.approx(2.0 + both, rel=1e-4)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (replace(STEP, steps=0), "steps is 0: it must be at least 1"),
        (replace(STEP, layers=3), "layers is 3: the model in .* has 1 to 2 to keep"),
        (replace(STEP, robust="r3f", method="head"), "robust is 'r3f': it perturbs the embeddings"),
        (replace(STEP, learning_rate=0.0), "learning_rate is 0.0: it must be above 0"),
        (replace(STEP, stride=100), "the stride must be from 0 to 55"),
    ],
)
def test_settings_that_cannot_be_are_refused(step: SpanReader, message: str, store: Store, tmp_path: Path) -> None:
    with pytest.raises(SurefootError, match=message):
        made(step, store, tmp_path)


def test_readers_without_a_model_answer_from_the_words_of_the_question(store: Store, tmp_path: Path) -> None:
    context = "Anna was born in Paris in 1950. Her brother Carl had to go to sea in 1971 and drowned."
    asked = [question("a", "When did her brother Carl go to sea?", context, "1971"), question("b", "Why?", "? !", "?")]
    slid = SlidingWindow().answering(StoredInputs(store), tmp_path)(asked)
    assert "1971" in slid[0].text
    regression = SpanRegression(questions=QUESTIONS)
    place, values = made(regression, store, tmp_path)
    assert values["reachable"] == 1
    store.path(regression).parent.mkdir(parents=True, exist_ok=True)
    place.rename(store.path(regression))
    write_record(store.path(regression), regression, ())
    answers = regression.answering(StoredInputs(store), tmp_path)([*FACTS, *asked])
    assert [one.text for one in answers[: len(FACTS)]] == CITIES
    assert answers[-2].text in context


def test_the_regression_ends_where_the_slope_of_its_penalised_likelihood_is_zero(tmp_path: Path) -> None:
    features = [(np.array([[0], [1]]), np.ones((2, 1)))] * 3
    (tmp_path / "part").mkdir()
    weights, loss = _baselines._fitted(features, [0, 0, 0], 0.2, tmp_path / "part")
    assert weights[0] == pytest.approx(-weights[1], abs=1e-4)
    assert 0.2 * weights[0] == pytest.approx(1 / (1 + np.exp(2 * weights[0])), abs=1e-4)
    assert loss == pytest.approx(np.log1p(np.exp(-2 * weights[0])), abs=1e-4)
