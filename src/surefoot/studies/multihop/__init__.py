"""Multi-hop: small models that learn a world of facts, and what they make of two facts at once.

Stated before it was run:

- **Estimand.** The compositionality gap by the rule `exact`: of held-out questions whose hops are both answered right
  alone, the share that is answered wrong. A seed (the world's split, the start, the batches) is one draw.
- **Two ways to ask one model.** It learns both formats, so that what it knows is the same and the comparison is paired
  by question. Its self-ask is trained, not prompted.
- **Expected.** Every size learns the facts. Direct answers follow on held-out pairs, later; on held-out bridges not,
  at any size, since nothing asked that a fact be stored where a second hop looks for it. Self-ask writes the bridge
  down and should close most of both gaps.
- **Pilot.** Of 0.4 million parameters, one seed. With follow-up questions in tokens of their own, 1,000 steps: gaps of
  2 percent on pairs and 99 on bridges directly, 1 and 96 by self-ask. Today, 500 steps, hops half known:
  10 and 100 directly, 22 and 96 by self-ask. Self-ask, trained and not prompted, may not help at all.
- **Chance.** Verdicts hold after Holm's correction over all claims.
"""

from dataclasses import dataclass, replace
from math import inf, sqrt
from pathlib import Path
from typing import Literal

from surefoot.core import Study, SurefootError
from surefoot.stats import t_quantile
from surefoot.studies._find import refuse_idle
from surefoot.studies._folder import data_folder
from surefoot.studies._hypotheses import claims_of
from surefoot.studies.multihop._claims import own_claims, published_claims
from surefoot.studies.multihop._figures import own_figures, published_gaps
from surefoot.studies.multihop._gaps import FactGaps as FactGaps
from surefoot.studies.multihop._model import FactModel as FactModel
from surefoot.studies.multihop._published import PublishedGaps as PublishedGaps
from surefoot.studies.multihop._published import widest_difference as widest_difference
from surefoot.studies.multihop._world import FactWorld as FactWorld

BudgetName = Literal["small", "full"]
SUMMARY = """Small causal transformers learn facts (who was born where; a country's capital, calling code and more) and
some questions that join two of them, asked directly and with follow-up questions. Held out are pairs, a person and a
relation that no question joined, and harder, bridges: countries that no question passed through. {n} models are asked
while they train, at most {asked} questions a part: that leaves the gap of one model a standard error of {error:.1f}
points at most, and {seen:.0f} points would be seen four times of five."""
_PUBLISHED = "The gaps of published models, by their transcripts."
_CREDITS = (
    "Countries: world-countries (ODbL 1.0)",
    "Compositional Celebrities, Bamboogle and transcripts (no licence stated; quoted, not redistributed)",
)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Sizes as (layers, width), steps and those at which is asked before the end, and what every model shares."""

    sizes: tuple[tuple[int, int], ...]
    steps: int
    measured: tuple[int, ...]
    batch: int
    relations: int
    asked: int
    seeds: int


BUDGETS: dict[BudgetName, Budget] = {
    "small": Budget(
        sizes=((2, 128), (3, 160), (4, 256)), steps=800, measured=(150, 300, 500), batch=32,
        relations=3, asked=200, seeds=5,
    ),
    "full": Budget(
        sizes=((2, 128), (3, 160), (4, 256), (4, 384)), steps=6000, measured=(100, 250, 600, 1500, 3000), batch=128,
        relations=14, asked=800, seeds=5,
    ),
}  # fmt: skip


def study(
    *, budget: BudgetName = "small", data: str = "", people: int = 0, own: bool = True, published: bool = True
) -> Study:
    """The study. `budget` is "small" (an hour on two cores) or "full"; `data` is the folder of questions and
    transcripts (default: `SUREFOOT_DATA`/multihop).

    With `people` above 0 the world is drawn, of so many people, in place of 387 real ones and their 116 countries.
    Without `own` there are the published gaps alone, without `published` the study's own models.
    """
    if not own and not published:
        raise SurefootError("Without own and published nothing is left: leave one of own=no and published=no out.")
    refuse_idle(study, locals(), (not own, "own=no", "budget people"), (people > 0 and not published, "people", "data"))
    chosen = BUDGETS[budget]
    models = own_models(chosen, data, people) if own else []
    theirs = (PublishedGaps(folder=str(_folder(data))).pinned(),) if published else ()
    error = 100 * sqrt(0.25 / chosen.asked)
    seen = (t_quantile(0.95, inf) + t_quantile(0.6, inf)) * error
    told = SUMMARY.format(n=len(models), asked=chosen.asked, error=error, seen=seen)
    return Study(
        name="multihop",
        title="Two facts known, the question of both lost: the compositionality gap",
        summary=" ".join([told] * own + [_PUBLISHED] * published),
        steps=(*reversed(models), *(FactGaps(model=one) for one in models), *theirs),
        claims=claims_of([*(own_claims(models) if own else ()), *(published_claims() if published else ())]),
        figures=(*(own_figures(models) if own else ()), *((published_gaps,) if published else ())),
        credits=_CREDITS,
    )


def own_models(budget: Budget, data: str = "", people: int = 0) -> list[FactModel]:
    """The grid, smallest first; a seed has its own split of the world, the same for all sizes."""
    file = "" if people else str(_folder(data) / "compositional_celebrities_subset.json")
    world = FactWorld(path=file, people=people, relations=budget.relations).pinned()
    worlds = [replace(world, seed=seed) for seed in range(budget.seeds)]
    told = {"steps": budget.steps, "measured": budget.measured, "asked": budget.asked, "batch": budget.batch}
    pairs = [(size, one) for size in budget.sizes for one in worlds]
    return [FactModel(world=one, layers=layers, width=width, seed=one.seed, **told) for (layers, width), one in pairs]


def _folder(given: str) -> Path:
    return data_folder(
        given,
        "multihop",
        "The study 'multihop' reads questions and transcripts: set SUREFOOT_DATA to the folder that holds "
        "'multihop', name that one (-o data=DIR), or draw a world (-o people=2000 -o published=no).",
    )
