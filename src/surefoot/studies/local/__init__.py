"""Workers that fine-tune alone and are averaged once (lo-fi), beside those that communicate more often."""

from dataclasses import fields
from itertools import chain
from typing import Literal

from surefoot.core import Study, SurefootError
from surefoot.studies._drawn import PHOTOGRAPHS, SEEN_STYLES, check_seeds, credits_of
from surefoot.studies._find import refuse_idle
from surefoot.studies._folder import data_folder
from surefoot.studies.local._claims import claims
from surefoot.studies.local._figures import figures
from surefoot.studies.local._steps import SHIFTS, TUNED_STYLES, LocalSettings, trial
from surefoot.studies.local._written import readers, texts, written_figure

SUMMARY = """Several workers fine-tune one small contrastive model, each on its own part of the drawings, and never
speak to each other; their weights are averaged once. That is lo-fi. The same amount of data with gradients averaged at
each step is what it is compared with; between the two lie local SGD and DiLoCo, which average in rounds. Every worker
of every round is a Step that needs nothing but the weights it starts from, and in later rounds the moments of its own
optimizer: any worker of the pool, on any machine, can run it, and one that is lost costs its own work only. The same is
asked of readers and of a language model with `-o parts=readers,texts`."""

_NEEDED = "Readers learn from question files: set SUREFOOT_DATA to the folder that holds 'reading'."


def study(
    *,
    parts: tuple[Literal["drawings", "readers", "texts"], ...] = ("drawings",),
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
    size: str = "rn-8",
    pretrain_samples: int = 96_000,
    weaker_samples: int = 36_000,
    steps: int = 200,
    batch: int = 32,
    rounds: int = 4,
    learning_rate: float = 5e-4,
    reader_start: int = 40,
    reader_steps: int = 30,
    text_steps: int = 12,
    rates: tuple[float, ...] = (1e-4, 3e-4),
) -> Study:
    """The study. Each worker makes `steps` steps of `batch` pictures, in `rounds` for local SGD and DiLoCo.

    With `size` "photographs" the start is EfficientNet-Lite0 as ImageNet left it: some three hours on two cores, with
    `seeds` 0,1,2 and 32 `steps` forty minutes. Else it is that of `patching`; a weaker one, which saw `weaker_samples`,
    is there to be compared with. Of `parts` "readers" are span readers on SQuAD, tested on three shifts (the files are
    read from `SUREFOOT_DATA`/reading), from a common training of `reader_start` steps, and "texts" a language model,
    each method at the best of `rates`.
    """
    check_seeds(seeds)
    if not parts:
        raise SurefootError("parts is empty: give one or more of drawings, readers and texts.")
    given, starts = locals(), "pretrain_samples weaker_samples"
    refuse_idle(
        study, given, (size == PHOTOGRAPHS, "size=photographs", starts),
        ("drawings" not in parts, "parts without drawings", f"size {starts} steps batch rounds learning_rate"),
        ("readers" not in parts, "parts without readers", "reader_start reader_steps"),
        ("texts" not in parts, "parts without texts", "text_steps"),
        ({*parts} <= {"drawings"}, "parts without readers and texts", "rates"),
    )  # fmt: skip
    questions = data_folder("", "reading", _NEEDED) if "readers" in parts else None
    settings = LocalSettings(**{field.name: given[field.name] for field in fields(LocalSettings)})
    trials = [trial(seed, settings) for seed in seeds] if "drawings" in parts else []
    read = [
        *([readers(seeds, reader_steps, rates, questions, reader_start)] if questions else ()),
        *([texts(seeds, text_steps, rates)] if "texts" in parts else ()),
    ]
    shown = (*SEEN_STYLES, *TUNED_STYLES, *chain.from_iterable(SHIFTS.values())) if trials else ()
    return Study(
        name="local",
        title="Local fine-tuning: how much do workers need to communicate?",
        summary=SUMMARY,
        steps=(
            *(step for one in trials for step in one.measured()),
            *(step for one in read for step in one.measured()),
        ),
        claims=claims(trials, settings, [each for one in read for each in one.hypotheses()]),
        figures=(*(figures(trials, settings) if trials else ()), *map(written_figure, read)),
        credits=credits_of(dict.fromkeys(shown)),
    )
