"""Causal models as readers: what is asked and how the words become an answer, and training on prompts."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from surefoot.core import Step, Store, StoredInputs, SurefootError, write_record
from surefoot.language import (
    CausalReader,
    PromptReader,
    Question,
    QuestionFile,
    ReaderAnswers,
    Request,
    ScriptedClient,
    SmolLM2,
    clean_answer,
    completion_prompt,
    read_predictions,
    write_questions,
)
from surefoot.language._reading._readers import _causal
from surefoot.training import _loop

MODEL, QUESTIONS, EXAMPLES = (
    SmolLM2(),
    QuestionFile(path="questions.json", digest="asked"),
    QuestionFile(path="examples.json", digest="examples"),
)
"""Their places in a store; what lies there is ours."""


def question(id: str, name: str, city: str) -> Question:
    context = f"{name} lives in {city}."
    return Question(id, f"Where is {name}?", context, (city,), (context.index(city),), f"article {id}", id)


ASKED = [question("a", "Ann", "Rome"), question("b", "Bob", "Oslo"), question("c", "Cy", "Köln")]
SHOWN = [
    question(f"s{at}", name, city) for at, (name, city) in enumerate([("Di", "Kyiv"), ("Ed", "Lima"), ("Flo", "Graz")])
]
STEP = PromptReader(model=MODEL, questions=QUESTIONS, steps=30, batch=2, method="full", learning_rate=1e-2)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A tiny random Llama of bytes, three questions, and three examples with one that has no answer."""
    kept = Store(tmp_path_factory.mktemp("store"))
    for step in (MODEL, QUESTIONS, EXAMPLES):
        kept.path(step).mkdir(parents=True)
        write_record(kept.path(step), step, ())
    write_questions(kept.path(QUESTIONS), ASKED)
    write_questions(kept.path(EXAMPLES), [*SHOWN, replace(ASKED[0], id="none", answers=(), starts=())])
    vocabulary = ["<|endoftext|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    words = Tokenizer(models.BPE(vocab={one: id for id, one in enumerate(vocabulary)}, merges=[]))
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|endoftext|>").save_pretrained(kept.path(MODEL))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=257, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained(kept.path(MODEL))
    return kept


def made(step: Step, store: Store, directory: Path) -> tuple[Path, dict[str, float]]:
    out = directory / "part"
    out.mkdir(parents=True, exist_ok=True)
    return out, {one.metric: one.value for one in step.make(out, StoredInputs(store))}


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (" Oslo\nQuestion: what else?", "Oslo"),
        ("\n\n  Oslo.  ", "Oslo"),
        ("Answer: “New York”.", "New York"),
        ("A: 'Oslo.'", "Oslo"),
        ("**Oslo**", "Oslo"),
        ("3.5", "3.5"),
        ("a: b", "b"),
        ("The answer to this question is 17 years.", "17 years"),
        ("The answer is: '2'", "2"),
        ("Answering machines", "Answering machines"),
        ("", ""),
        ("\n \n", ""),
    ],
)
def test_words_of_a_model_become_an_answer(said: str, answer: str) -> None:
    assert clean_answer(said) == answer


def test_a_prompt_shows_its_examples_and_ends_where_the_answer_begins(store: Store) -> None:
    reader = CausalReader(endpoint="smollm2", shots=2, examples=EXAMPLES, seed=3)
    shots = reader.drawn(StoredInputs(store))
    assert len({one.id for one in shots}) == 2
    assert all(one.answers for one in shots)
    assert shots == replace(reader, shots=1).drawn(StoredInputs(store)) + shots[1:]
    drawn = {tuple(one.id for one in replace(reader, seed=seed).drawn(StoredInputs(store))) for seed in range(9)}
    assert len(drawn) > 2
    (request, cut), *_ = reader.requests(ASKED, shots)
    first, second, asked = request.prompt.split("\n\n")
    assert (first, second) == tuple(f"{completion_prompt(one)} {one.answers[0]}" for one in shots)
    assert asked == "Ann lives in Rome.\nQuestion: Where is Ann?\nAnswer:"
    assert (request.stop, cut) == (("\n",), False)
    chat = replace(reader, template="chat").requests(ASKED, shots)[0][0]
    assert [role for role, _ in chat.messages] == ["system", *["user", "assistant"] * 2, "user"]
    assert chat.messages[-1][1] == asked


def test_what_does_not_fit_into_the_window_is_left_out_and_counted() -> None:
    reader = CausalReader(endpoint="smollm2", context=256, max_tokens=16)
    (request, cut), *_ = reader.requests(ASKED, SHOWN * 4)
    assert cut
    assert 0 < request.prompt.count("Question:") - 1 < 12
    assert len(request.prompt) < 256 * 4
    long = replace(ASKED[0], context="Ann lives in Rome. " * 200)
    (request, cut), *_ = reader.requests([long], [])
    assert cut
    assert len(request.prompt) < 256 * 4
    assert request.prompt.endswith("\nQuestion: Where is Ann?\nAnswer:")


def test_answers_come_through_the_client_and_are_kept(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Request] = []

    def script(request: Request) -> str:
        asked.append(request)
        return f" {request.prompt.split(' lives in ')[-1].split('.')[0]}.\nQuestion: more?"

    class Scripted:
        def __enter__(self) -> ScriptedClient:
            return ScriptedClient(script=script)

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(_causal, "open_client", lambda *_, **__: Scripted())
    reader = CausalReader(endpoint="http://127.0.0.1:1/v1#m")
    out, values = made(ReaderAnswers(reader=reader, questions=QUESTIONS), store, tmp_path)
    assert read_predictions(out).answers == {"a": "Rome", "b": "Oslo", "c": "Köln"}
    assert values == {"answers": 3, "cut": 0, "refused": 0}
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("reader", "message"),
    [
        (CausalReader(), "takes one of model, endpoint and path"),
        (CausalReader(endpoint="smollm2", model=MODEL), "takes one of model, endpoint and path"),
        (CausalReader(endpoint="smollm2", shots=4, examples=EXAMPLES), "there are 3 examples with an answer"),
        (CausalReader(endpoint="smollm2", shots=1), "there are 0 examples with an answer"),
    ],
)
def test_a_reader_that_cannot_be_is_refused(reader: CausalReader, message: str, store: Store, tmp_path: Path) -> None:
    with pytest.raises(SurefootError, match=message):
        made(reader, store, tmp_path)


def loss_of_answers(directory: Path, tokenizer: PreTrainedTokenizerFast, questions: Sequence[Question]) -> float:
    """Nats a token of the answers, one question at a time, by transformers alone."""
    model, losses = AutoModelForCausalLM.from_pretrained(directory), []
    for one in questions:
        prompt = tokenizer(completion_prompt(one))["input_ids"]
        end = tokenizer(f" {one.answers[0]}\n")["input_ids"]
        with torch.no_grad():
            scores = model(torch.tensor([[*prompt, *end]])).logits[0, len(prompt) - 1 : -1]
        losses += torch.nn.functional.cross_entropy(scores, torch.tensor(end), reduction="none").tolist()
    return sum(losses) / len(losses)


def test_training_on_prompts_learns_the_answers_alone(store: Store, tmp_path: Path) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(store.path(MODEL))
    before = loss_of_answers(store.path(MODEL), tokenizer, ASKED)
    one, _ = made(replace(STEP, steps=1, batch=3, learning_rate=1e-9), store, tmp_path / "one")
    assert json.loads((one / "history.json").read_text())["rows"][0]["loss"] == pytest.approx(before, rel=1e-4)
    out, values = made(STEP, store, tmp_path / "full")
    assert loss_of_answers(out, tokenizer, ASKED) < before - 2
    assert values["parameters"] == sum(one.numel() for one in AutoModelForCausalLM.from_pretrained(out).parameters())


def test_prompts_by_low_rank_give_the_same_bits_after_a_kill(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = replace(STEP, method="lora", rank=2, steps=8)
    whole, values = made(step, store, tmp_path / "whole")
    monkeypatch.setattr(_loop, "CHECKPOINT_SECONDS", 0.0)
    choose, calls = _causal.rows_of_batch, iter(range(5))

    def rows(*given: int | str) -> torch.Tensor:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return choose(*given)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(_causal, "rows_of_batch", rows)
        with pytest.raises(KeyboardInterrupt):
            made(step, store, tmp_path / "broken")
    again, _ = made(step, store, tmp_path / "broken")
    assert (again / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert values["parameters"] < 5000
