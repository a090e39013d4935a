"""Reading: the landscape of robustness in question answering, the published one and one of our own.

Stated before it was run:

- **Estimand.** Mean effective robustness of each adaptation, F1 over the line of fully fine-tuned readers on logit
  axes, averaged over shifts. The other axes, the shifts alone, and the line without each family are shown beside it.
- **No difference** is shown, not concluded from a wide interval: within three points of the line, half of what prompt
  fine-tuning gives.
- **Extrapolation.** Where no reader of an adaptation lies inside the range of the baseline no verdict is given.
- **Chance.** Verdicts hold after Holm's correction over all claims.
"""

from dataclasses import replace

from surefoot.core import Study
from surefoot.laws import ShiftFit
from surefoot.stats import AXES
from surefoot.studies._find import refuse_idle
from surefoot.studies._hypotheses import claims_of
from surefoot.studies.reading._card import PUBLISHED_SIZES as PUBLISHED_SIZES
from surefoot.studies.reading._card import LostQuestion as LostQuestion
from surefoot.studies.reading._card import PlacedSet as PlacedSet
from surefoot.studies.reading._card import ReaderCard as ReaderCard
from surefoot.studies.reading._card import card_words as card_words
from surefoot.studies.reading._card import reader_card as reader_card
from surefoot.studies.reading._claims import landscape_claims, loses_there
from surefoot.studies.reading._figures import landscape_figures, lost_answers
from surefoot.studies.reading._own import BUDGETS, BudgetName, own_landscape, seen_beforehand
from surefoot.studies.reading._own import SETS as SETS
from surefoot.studies.reading._published import ADAPTATIONS as ADAPTATIONS
from surefoot.studies.reading._published import PublishedLandscape as PublishedLandscape
from surefoot.studies.reading._published import published_fit as published_fit
from surefoot.studies.reading._published import published_folder as published_folder

SUMMARY = """Readers of a paragraph, adapted in different ways, in distribution (SQuAD) and under shift. The published
evaluations (192 of 207 readers, as the paper's own page shows them) go through a fit: a line of fully fine-tuned
readers on logit axes, and what every adaptation has over it."""
_OWN = "So do {n} readers trained and asked here. {seen}"
_CREDITS = (
    "Published evaluations: arXiv 2210.12517 (no licence stated; quoted, not redistributed)",
    "SQuAD 1.1 (CC BY-SA 4.0); SquadShifts (CC BY 4.0); Natural Questions: lost-in-the-middle (MIT)",
)


def study(*, budget: BudgetName = "small", published: str = "", own: bool = True) -> Study:
    """The study. `budget` is "small" (an hour on two cores) or "full"; without `own` the published landscape alone.

    `published` is the folder of the published evaluations and of the question files (default: `SUREFOOT_DATA`/reading).
    """
    refuse_idle(study, locals(), (not own, "own=no", "budget"))
    folder = published_folder(published)
    main = PublishedLandscape(folder=str(folder)).pinned()
    variants = [replace(main, axis=axis) for axis in AXES if axis != main.axis]
    fits = own_landscape(budget, folder) if own else ()
    readers = {name: group for fit in fits[:1] for name, group in zip(fit.models, fit.groups, strict=True)}
    own_figures = (*landscape_figures(ShiftFit), lost_answers) if own else ()
    hypotheses = [
        *landscape_claims(PublishedLandscape, ADAPTATIONS),
        loses_there(PublishedLandscape, "in context", "squadshifts_new_wiki"),
        *(landscape_claims(ShiftFit, readers.values()) if own else ()),
    ]
    return Study(
        name="reading",
        title="Who reads as well elsewhere: the landscape of robustness in question answering",
        summary=f"{SUMMARY} {_OWN.format(n=len(readers), seen=seen_beforehand(BUDGETS[budget]))}" if own else SUMMARY,
        steps=(main, *variants, replace(main, cluster=True), *fits),
        claims=claims_of(hypotheses),
        figures=(*landscape_figures(PublishedLandscape), *own_figures),
        credits=_CREDITS,
    )
