"""A world of facts, its questions of two hops, and both as tokens: every name is one, every phrase between is one."""

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from surefoot import language
from surefoot.core import Inputs, Measurement, UserFile, check_pinned, write_text
from surefoot.language import RELATIONS, Fact, MultiHopQuestion

PARTS = ("seen", "pair", "bridge")
END = "\n"
Tokens = tuple[str, ...]
Text = tuple[Tokens, Tokens]
"""What is given, and what is to follow; texts of one kind have as many tokens of both."""


@dataclass(frozen=True, kw_only=True)
class FactWorld(UserFile):
    """Facts of two kinds, and all questions that join them, in three parts by `seed`.

    People and where they were born come from the first hops of the questions in `path` (Compositional Celebrities),
    the first `relations` of countries from their package. With `people` above 0 all is drawn: each of them is born in
    one of `bridges` countries, and each relation of a country has one of as many values.

    A share `held_bridges` of the countries is held out with all questions through them ("bridge"), of the other
    questions a share `held_pairs` ("pair"); the rest is "seen". Writes facts.json, and the questions of each part as
    `surefoot multihop` reads them. Measures `facts`, and by part (`shift`) `questions`.
    """

    people: int = 0
    bridges: int = 100
    relations: int = 14
    held_pairs: float = 0.3
    held_bridges: float = 0.2
    seed: int = 0

    def pinned(self) -> Self:
        """With the whole path and the digest of the file as it is now; a world that is drawn needs none."""
        return self if self.people else super().pinned()

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Join, hold out, write."""
        first, second = _drawn(self) if self.people else _real(self)
        bridges = language.compose(first, second, held_out=self.held_bridges, by="bridge", seed=self.seed)
        held = {one.hops[0].answers[0] for one in bridges.held_out}
        rest = [fact for fact in first if fact.object not in held]
        pairs = language.compose(rest, second, held_out=self.held_pairs, seed=self.seed)
        write_text(out / "facts.json", json.dumps([asdict(fact) for fact in bridges.facts], ensure_ascii=False) + "\n")
        yield Measurement(metric="facts", value=len(bridges.facts), n=len(bridges.facts))
        for part, questions in zip(PARTS, (pairs.seen, pairs.held_out, bridges.held_out), strict=True):
            language.write_multihop(out / f"{part}.jsonl", questions)
            yield Measurement(metric="questions", value=len(questions), n=len(questions), shift=part)


def _real(step: FactWorld) -> tuple[list[Fact], list[Fact]]:
    check_pinned(step)
    people = language.birthplace_facts(language.read_multihop(Path(step.path)).questions)
    return people, language.country_facts(list(RELATIONS)[: step.relations])


def _drawn(step: FactWorld) -> tuple[list[Fact], list[Fact]]:
    draw, countries = random.Random(step.seed), [f"Country {place}" for place in range(step.bridges)]
    people = [f"Person {place}" for place in range(step.people)]
    signs = [f"sign {place}" for place in range(step.relations)]
    return [Fact(subject=one, relation="birthplace", object=draw.choice(countries)) for one in people], [
        Fact(subject=country, relation=sign, object=f"{sign} of {draw.randrange(step.bridges)}")
        for country in countries
        for sign in signs
    ]


@dataclass(frozen=True)
class World:
    """What a FactWorld wrote: facts by id, and the questions of each part."""

    facts: Mapping[str, Fact]
    questions: Mapping[str, tuple[MultiHopQuestion, ...]]

    def hops(self, question: MultiHopQuestion) -> list[Fact]:
        """The two facts that a question joins."""
        return [self.facts[support] for support in question.supports]


def read_world(directory: Path) -> World:
    """The world in a directory of FactWorld."""
    facts = [Fact(**row) for row in json.loads((directory / "facts.json").read_text(encoding="utf-8"))]
    questions = {part: language.read_multihop(directory / f"{part}.jsonl").questions for part in PARTS}
    return World({f"{fact.relation} of {fact.subject}": fact for fact in facts}, questions)


def hop_text(fact: Fact) -> Text:
    """The question that a fact answers, in the tokens of a follow-up question."""
    return ("What is the ", fact.relation, " of ", fact.subject, "?\nAnswer", ": "), (fact.object, END)


def direct_text(hops: Sequence[Fact]) -> Text:
    """The question of two hops, answered at once."""
    return (*_whole(hops), "?\nAnswer", ": "), (hops[1].object, END)


def self_ask_text(hops: Sequence[Fact], *, bridged: bool = False) -> Text:
    """The question of two hops with its follow-up questions; `bridged`: the first is given with its answer."""
    head, middle = ("\nFollow up: ", "What is the "), ("?\nIntermediate answer", ": ")
    first, second = ((*head, one.relation, " of ", one.subject, *middle, one.object) for one in hops)
    given, bridge = (*_whole(hops), "?\nAre follow up questions needed here: "), ("Yes.", *first)
    rest = (*second, "\nSo the final answer is", ": ", hops[1].object, END)
    return ((*given, *bridge), rest) if bridged else (given, (*bridge, *rest))


def _whole(hops: Sequence[Fact]) -> Tokens:
    return ("What is the ", hops[1].relation, " of the ", hops[0].relation, " of ", hops[0].subject)


def training_texts(world: World) -> dict[str, list[Text]]:
    """All that may be learnt from: every fact stated and asked, and the seen questions, asked in both ways."""
    facts, pairs = world.facts.values(), [world.hops(one) for one in world.questions["seen"]]
    return {
        "statement": [(("The ", one.relation, " of ", one.subject, " is "), (one.object, END)) for one in facts],
        "hop": list(map(hop_text, facts)),
        "direct": list(map(direct_text, pairs)),
        "self-ask": list(map(self_ask_text, pairs)),
    }
