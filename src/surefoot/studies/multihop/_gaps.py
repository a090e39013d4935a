"""The gap of a model that learnt a world, at every step at which it was asked, through the tool's own run."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from surefoot import language
from surefoot.core import Inputs, Measurement, Step
from surefoot.language import CAUSES, FollowUp, MultiHopRun, Trace, TracedAnswer
from surefoot.stats import Interval, paired_difference, wilson
from surefoot.studies.multihop._model import FactModel, questions_asked
from surefoot.studies.multihop._world import PARTS, World, read_world

RULE = "exact"
FORMATS = ("direct", "self-ask")
HELD_OUT = PARTS[1:]


@dataclass(frozen=True, kw_only=True)
class FactGaps(Step):
    """What a FactModel answered, marked by the rule `exact`, at every step at which it was asked.

    Measures by step (`task`) and part of the world (`shift`): `hop` (`group` first or second: the share of questions
    whose hop is right, asked alone), `accuracy` and `gap` by format (`group`), no gap where no hops are known; `lost`
    by format and cause, which add up to the gap; and `narrowed`, the gap of direct answers less that of self-ask on the
    same questions. Writes the last answers question by question, as `surefoot compare` reads them.
    """

    model: FactModel

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Mark, count."""
        world = read_world(inputs[self.model.world])
        for step, told in json.loads((inputs[self.model] / "answers.json").read_text(encoding="utf-8")).items():
            for part, run in runs_of(self.model, world, told).items():
                yield from _measured(run, {"task": f"step {step}", "shift": part})
                if step == str(self.model.steps):
                    language.write_run_examples(run, out / part, RULE)


def runs_of(model: FactModel, world: World, told: Mapping[str, Any]) -> dict[str, MultiHopRun]:
    """What a model said at one step, as a run of the tool for each part of the world."""
    return {
        part: MultiHopRun(
            model=f"{model.layers} layers of {model.width}, seed {model.seed}",
            questions=questions,
            of=len(world.questions[part]),
            prompts=language.our_prompts(),
            answers={name: tuple(_traced(name, said) for said in told[part][name]) for name in FORMATS},
            hop_answers=tuple(tuple(_traced("direct", said) for said in both) for both in told[part]["hops"]),
            bridge_given=tuple(_traced("self-ask", said) for said in told[part]["bridged"]),
        )
        for part, questions in questions_asked(model, world).items()
    }


def _traced(name: str, said: str) -> TracedAnswer:
    parsed = language.parse_completion(said)
    answer = said.strip() if name == "direct" else parsed.answer or ""
    asked = tuple(FollowUp(question=question, answer=told) for question, told in parsed.follow_ups)
    return TracedAnswer(text=answer, trace=Trace(name, said, "answered" if answer else "no answer", (), asked))


def _measured(run: MultiHopRun, where: Mapping[str, str]) -> Iterator[Measurement]:
    marks, n = language.mark_run(run, RULE), len(run.questions)
    known = np.array(marks.known, dtype=bool)
    for at, hop in enumerate(("first", "second")):
        given = zip(run.questions, run.hop_answers, strict=True)
        right = sum(language.is_right(RULE, said[at].text, "", one.hops[at].answers) for one, said in given)
        yield share_of("hop", wilson(right, n), n, group=hop, **where)
    lost = {name: known & ~np.array(whole, dtype=bool) for name, whole in marks.whole.items()}
    for name in FORMATS:
        yield share_of("accuracy", wilson(sum(map(bool, marks.whole[name])), n), n, group=name, **where)
        if not known.any():
            continue
        told = [(run.questions[at], run.answers[name][at], marks.bridge[at]) for at in np.flatnonzero(lost[name])]
        causes = [language.cause_of_loss(one, answer, with_bridge=bridge) for one, answer, bridge in told]
        total = int(known.sum())
        yield share_of("gap", wilson(len(causes), total), total, group=name, **where)
        for cause in CAUSES:
            yield share_of("lost", wilson(causes.count(cause), total), total, group=f"{name}: {cause}", **where)
    if known.sum() > 1:
        compared = paired_difference(*(lost[name][known].astype(float) for name in FORMATS))
        yield share_of("narrowed", compared.difference, compared.n, **where)


def share_of(metric: str, found: Interval, n: int, *, task: str, shift: str, group: str = "") -> Measurement:
    """A share, or a difference of shares, with its interval as a Measurement."""
    where: dict[str, Any] = {"task": task, "shift": shift, "group": group, "low": found.low, "high": found.high}
    return Measurement(metric=metric, value=found.estimate, n=n, **where)
