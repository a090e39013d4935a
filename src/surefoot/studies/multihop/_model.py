"""A small causal transformer that learns a world from nothing, and what it answers on its way."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from surefoot.core import Inputs, Measurement, Step, SurefootError, resume_directory, write_text
from surefoot.language import MultiHopQuestion
from surefoot.stats import shuffled
from surefoot.studies.multihop import _world
from surefoot.studies.multihop._world import END, FactWorld, Text, World
from surefoot.training import Schedule, adamw, last_tenth, reproducible, rows_of_batch, seed_for, train

if TYPE_CHECKING:
    import torch

HEAD = 32
_CHUNK = 256


@dataclass(frozen=True, kw_only=True)
class FactModel(Step):
    """A causal transformer (Llama's layers, tied embeddings) of `layers` layers of `width`, trained on a world.

    A step sees `batch` texts of each kind: facts stated, facts asked, and the seen questions of two hops, asked
    directly and with follow-up questions. The loss is the cross-entropy of what is to follow, as much of each kind.
    AdamW, warm-up over a tenth of the steps, then a cosine to zero.

    At the steps in `measured`, and at the end, at most `asked` questions of each part are asked, all greedily: both
    hops alone, directly, by self-ask, and by self-ask with the first follow-up answered. Writes what was said to
    answers.json, and `history.json`. On one machine the same Step gives the same bits, also after a kill. Measures
    `loss` (nats a token over the last tenth of the steps) and `parameters`. Raises `SurefootError` for a width that is
    no multiple of 32, `measured` that does not rise to below `steps`, and a loss that diverges.
    """

    world: FactWorld
    width: int
    layers: int
    steps: int
    measured: tuple[int, ...] = ()
    asked: int = 300
    batch: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.1
    seed: int = 0
    threads: int = 1
    requires: ClassVar[tuple[str, ...]] = ("torch", "safetensors", "transformers")
    cost_fields: ClassVar[tuple[str, ...]] = ("steps", "batch", "layers", "width")

    @property
    def asked_at(self) -> tuple[int, ...]:
        """The steps after which it is asked: the last ends its training."""
        return (*self.measured, self.steps)

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Train, and ask on the way."""
        if self.width < HEAD or self.width % HEAD:
            raise SurefootError(f"width is {self.width}: it must be a multiple of {HEAD}, the width of a head.")
        if list(self.asked_at) != sorted({*self.asked_at}) or self.asked_at[0] < 0:
            raise SurefootError(f"measured is {self.measured}: it must rise, from 0 or above to below {self.steps}.")
        world = _world.read_world(inputs[self.world])
        texts = _world.training_texts(world)
        names = sorted({token for each in texts.values() for given, follows in each for token in (*given, *follows)})
        known = {token: place for place, token in enumerate(names)}
        files = {step: resume_directory(out) / f"answers-{step}.json" for step in self.asked_at}
        with reproducible(self.threads):
            model = _model(self, len(names))
            loss = _loss(self, model, {kind: _rows(each, known) for kind, each in texts.items()})

            def asked_then_loss(step: int) -> "torch.Tensor":
                if step in files:  # what a killed try wrote here is the same
                    write_text(files[step], _answers(self, model, world, known))
                return loss(step)

            schedule = Schedule(steps=self.steps, batch=self.batch, learning_rate=self.learning_rate, warmup=0.1)
            optimizer = adamw(model, self.learning_rate, self.weight_decay)
            losses = train(model, optimizer, asked_then_loss, schedule, out)
            write_text(files[self.steps], _answers(self, model, world, known))
        told = {step: json.loads(file.read_text(encoding="utf-8")) for step, file in files.items()}
        write_text(out / "answers.json", json.dumps(told, ensure_ascii=False) + "\n")
        return [last_tenth(losses), Measurement(metric="parameters", value=model.num_parameters(), n=1)]


def _model(step: FactModel, tokens: int) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    options: dict[str, Any] = {"vocab_size": tokens, "max_position_embeddings": 64, "tie_word_embeddings": True}
    options |= {"hidden_size": step.width, "intermediate_size": 4 * step.width, "num_hidden_layers": step.layers}
    options |= dict.fromkeys(("num_attention_heads", "num_key_value_heads"), step.width // HEAD)
    options |= dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("fact model", step.seed, step.width, step.layers))
        return LlamaForCausalLM(LlamaConfig(**options))


def _rows(texts: Sequence[Text], known: Mapping[str, int]) -> "tuple[torch.Tensor, int]":
    """Texts of one kind as int64 (texts, length), and how many tokens are to follow."""
    import torch

    return torch.tensor([[known[token] for token in (*one[0], *one[1])] for one in texts]), len(texts[0][1])


def _loss(
    step: FactModel, model: Any, kinds: "Mapping[str, tuple[torch.Tensor, int]]"
) -> "Callable[[int], torch.Tensor]":
    """Cross-entropy a token, mean over kinds, so that long ones weigh no more: by the step and the model alone."""
    from torch.nn.functional import cross_entropy

    def at(number: int) -> "torch.Tensor":
        lost: Any = 0.0
        for kind, (tokens, follow) in kinds.items():
            rows = tokens[rows_of_batch(len(tokens), step.batch, number, kind, step.seed)]
            logits = model(input_ids=rows[:, :-1], logits_to_keep=follow, use_cache=False).logits
            lost = lost + cross_entropy(logits.flatten(0, 1), rows[:, -follow:].flatten())
        return lost / len(kinds)

    return at


def questions_asked(step: FactModel, world: World) -> dict[str, tuple[MultiHopQuestion, ...]]:
    """Which questions of each part are asked: the same of every model of a world."""
    drawn = {part: shuffled([one.id for one in of], step.world.seed) for part, of in world.questions.items()}
    chosen = {part: set(ids[: step.asked]) for part, ids in drawn.items()}
    return {part: tuple(one for one in of if one.id in chosen[part]) for part, of in world.questions.items()}


def _answers(step: FactModel, model: Any, world: World, known: Mapping[str, int]) -> str:
    """What the model says now to all that it is asked, as JSON: by part and way of asking."""
    told: dict[str, dict[str, list[Any]]] = {}
    for part, questions in questions_asked(step, world).items():
        pairs = list(map(world.hops, questions))
        facts = list(dict.fromkeys(chain.from_iterable(pairs)))
        hops = dict(zip(facts, _said(model, list(map(_world.hop_text, facts)), known), strict=True))
        told[part] = {
            "hops": [[hops[fact] for fact in pair] for pair in pairs],
            "direct": _said(model, list(map(_world.direct_text, pairs)), known),
            "self-ask": _said(model, list(map(_world.self_ask_text, pairs)), known),
            "bridged": _said(model, [_world.self_ask_text(pair, bridged=True) for pair in pairs], known),
        }
    return json.dumps(told, ensure_ascii=False)


def _said(model: Any, texts: Sequence[Text], known: Mapping[str, int]) -> list[str]:
    """The likeliest token after each other, for many texts at a time, up to the end of what is said."""
    import torch

    names, said = list(known), list[str]()
    for start in range(0, len(texts), _CHUNK):
        chunk = texts[start : start + _CHUNK]
        given = torch.tensor([[known[token] for token in one[0]] for one in chunk])
        most = {"max_new_tokens": len(chunk[0][1]), "attention_mask": torch.ones_like(given)}
        for row in model.generate(given, do_sample=False, **most)[:, given.shape[1] :].tolist():
            said.append("".join(takewhile(lambda token: token != END, (names[place] for place in row))))
    return said
