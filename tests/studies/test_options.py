"""Options of studies: one that another makes void is refused, and so is one that leaves nothing to judge."""

from pathlib import Path

import pytest

from surefoot.core import Store, SurefootError, plan
from surefoot.studies import load_study


@pytest.mark.parametrize(
    ("study", "options", "void"),
    [
        ("scaling", "own=no full=yes", "full"),
        ("multihop", "own=no budget=full people=50", "budget and people"),
        ("multihop", "people=50 published=no data=here", "data"),
        ("reading", "own=no budget=full", "budget"),
        ("arithmetic", "size=photographs pretrain_samples=64", "pretrain_samples"),
        ("local", "size=photographs weaker_samples=64", "weaker_samples"),
        ("local", "parts=readers size=rn-4 steps=9", "size and steps"),
        ("local", "parts=texts reader_steps=9", "reader_steps"),
        ("local", "parts=texts reader_start=9", "reader_start"),
        ("local", "parts=drawings,readers text_steps=9", "text_steps"),
        ("local", "rates=1e-4", "rates"),
        ("trees", "tables=german,compas rows=4000", "rows"),
        ("trees", "tables=adult,brfss repeats=2", "repeats"),
        ("trees", "learners=logistic,lightgbm updates=9", "updates"),
    ],
)
def test_an_option_that_another_makes_void_is_refused(study: str, options: str, void: str) -> None:
    with pytest.raises(SurefootError, match=rf"^With .+ {void} would do nothing: leave one or the other out\.$"):
        load_study(study, dict(one.split("=") for one in options.split()))


def test_an_option_at_its_default_is_not_refused() -> None:
    with_default = load_study("trees", {"tables": "german", "rows": "4000,16000,64000", "learners": "logistic"})
    assert with_default.steps == load_study("trees", {"tables": "german", "learners": "logistic"}).steps


@pytest.mark.parametrize(
    ("study", "options", "said"),
    [
        ("multihop", "own=no published=no", "nothing is left"),
        ("local", "parts=", "parts is empty"),
        ("pairs", "tested=0", "candidates, tested and samples must be 1 or more"),
        ("pairs", "right=1.5", "right and shares above 0, to 1"),
        ("pairs", "shares=0.3,0", "right and shares above 0, to 1"),
    ],
)
def test_options_that_leave_nothing_to_judge_are_refused(study: str, options: str, said: str, tmp_path: Path) -> None:
    given = dict(one.split("=") for one in options.split())
    with pytest.raises(SurefootError, match=said):
        load_study(study, given | ({"photos": str(tmp_path)} if study == "pairs" else {}))


@pytest.mark.parametrize("study", ["arithmetic", "local", "patching", "pairs", "quickstart", "scaling", "sources"])
def test_how_long_a_study_takes_is_known_before_any_of_it_was_made(study: str, tmp_path: Path) -> None:
    assert plan(load_study(study, {}).steps, Store(tmp_path)).unknown == 0
