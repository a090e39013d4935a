"""Sources: how the source of pre-training data changes what a model keeps under shift, and what mixtures will score."""

from surefoot.core import Study, SurefootError
from surefoot.studies._drawn import credits_of
from surefoot.studies._folder import data_folder
from surefoot.studies._hypotheses import claims_of
from surefoot.studies.pairs import Photographs
from surefoot.studies.sources._claims import hypotheses
from surefoot.studies.sources._figures import figures
from surefoot.studies.sources._steps import STYLES_SEEN, UNSEEN, Plan
from surefoot.studies.sources._steps import TwoWay as TwoWay

SUMMARY = """Small contrastive models are trained on drawings in one of six styles, on photographs, on pairs of these
and on all of them. They say what kind of thing a drawing shows in four styles that none was trained on."""
_NEEDED = """Set SUREFOOT_DATA to the folder that holds 'photos', or give -o photos=DIR: a folder with the photographs
of CIFAR-10 in 'train' and 'test', a folder a class (docs/how-to/pairs-search.md)."""


def study(
    *, seeds: tuple[int, ...] = (0, 1, 2), sizes: tuple[int, ...] = (125, 250, 500, 1_000), pairs: int = 1_000,
    held_out: int = 30, model: str = "rn-8", samples: int = 4_096, tested: int = 600, photos: str = "",
) -> Study:  # fmt: skip
    """The study."""
    if len(sizes) < 2 or sorted(sizes) != list(sizes) or not {pairs, pairs // 2} <= set(sizes):
        raise SurefootError("sizes must be two or more in increasing order, with that of pairs and half of it.")
    folder = data_folder(photos, "photos", _NEEDED)
    archives = {folder / part: folder / f"cifar10_{part}.tar.gz" for part in ("train", "test")}
    train, test = (str((plain if plain.is_dir() else packed).resolve()) for plain, packed in archives.items())
    shown = Photographs(path=train, count=max(sizes)).pinned(), Photographs(path=test, count=tested).pinned()
    plan = Plan(seeds=seeds, sizes=sizes, pairs=pairs, held_out=held_out, model=model, samples=samples, photos=shown)
    return Study(
        name="sources",
        title="Quality, not quantity: what does the source of the data do to robustness?",
        summary=SUMMARY,
        steps=tuple(plan.steps),
        claims=claims_of(hypotheses(plan)),
        figures=figures(plan),
        credits=(
            "CIFAR-10 (Krizhevsky 2009; no licence stated; not redistributed)",
            *credits_of((*STYLES_SEEN, *UNSEEN)),
        ),
    )
