"""Workers that fine-tune alone and are averaged once (lo-fi), beside those that communicate more often."""

from itertools import chain

from surefoot.core import Study
from surefoot.studies._drawn import SEEN_STYLES, check_seeds, credits_of
from surefoot.studies.local._claims import claims
from surefoot.studies.local._figures import figures
from surefoot.studies.local._steps import SHIFTS, TUNED_STYLES, LocalSettings, trial

SUMMARY = """Several workers fine-tune one small contrastive model, each on its own part of the drawings, and never
speak to each other; their weights are averaged once. That is lo-fi. The same amount of data with gradients averaged at
each step is what it is compared with; between the two lie local SGD and DiLoCo, which average in rounds. Every worker
of every round is a Step that needs nothing but the weights it starts from, and in later rounds the moments of its own
optimizer: any worker of the pool, on any machine, can run it, and one that is lost costs its own work only."""


def study(
    *,
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
    size: str = "rn-8",
    pretrain_samples: int = 96_000,
    weaker_samples: int = 36_000,
    steps: int = 200,
    batch: int = 32,
    rounds: int = 4,
    learning_rate: float = 5e-4,
) -> Study:
    """The study. Each worker makes `steps` steps of `batch` pictures, in `rounds` for local SGD and DiLoCo.

    With `size` "photographs" the start is EfficientNet-Lite0 as ImageNet left it: some three hours on two cores, with
    `seeds` 0,1,2 and 32 `steps` half an hour. Else it is that of `patching`; a weaker one, which saw `weaker_samples`, is there to be compared with.
    """
    check_seeds(seeds)
    settings = LocalSettings(**locals())
    trials = [trial(seed, settings) for seed in seeds]
    return Study(
        name="local",
        title="Local fine-tuning: how much do workers need to communicate?",
        summary=SUMMARY,
        steps=tuple(step for one in trials for step in one.measured()),
        claims=claims(trials, settings),
        figures=figures(trials, settings),
        credits=credits_of(dict.fromkeys((*SEEN_STYLES, *TUNED_STYLES, *chain.from_iterable(SHIFTS.values())))),
    )
