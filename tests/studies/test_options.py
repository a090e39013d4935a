"""Options of studies: one that another makes void is refused, and so is one that leaves nothing to judge."""

from pathlib import Path
from typing import Any

import pytest

from surefoot.core import Store, SurefootError, plan
from surefoot.studies import load_study, study_options

OWN = """
from enum import Enum
from pathlib import Path
from typing import Literal, Optional, Sequence, Union
from surefoot.core import Study

class Colour(Enum):
    RED = "red"

def study(
    *, samples=5, fast=False, rate=1e-3, names=("a", "b"), rates=(1, 0.5), place=Path("."), colour: Colour = Colour.RED,
    seed: Optional[int] = 3, width: Union[int, float] = 1, depth: float | int = 1, kind: str | None = "x",
    sizes: list[int] = [1], pair: tuple[str, int] = ("a", 1), two: Literal[1, "x"] = 1, words: tuple = (),
    told: dict = {}, some: set = set(), nested: tuple[tuple[int, ...], ...] = (), row: Sequence[int] = (),
) -> Study:
    return Study(name="own", title="Own", summary=repr(locals()), steps=())
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A study file whose summary holds its options."""
    path = tmp_path_factory.mktemp("own") / "study_with_options.py"
    path.write_text(OWN)
    return str(path)


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        ("samples", "10", 10),
        ("fast", "False", False),
        ("fast", "yes", True),
        ("rate", "0.5", 0.5),
        ("names", "x", ("x",)),
        ("rates", "2,0.25", (2, 0.25)),
        ("place", "here", Path("here")),
        ("seed", "7", 7),
        ("seed", "None", None),
        ("width", "0.5", 0.5),
        ("width", "2", 2),
        ("depth", "2", 2),
        ("kind", "None", None),
        ("kind", "3", "3"),
        ("sizes", "1,22", [1, 22]),
        ("pair", "b,3", ("b", 3)),
        ("two", "x", "x"),
        ("words", "ab, cd", ("ab", "cd")),
    ],
)
def test_an_option_has_the_type_of_its_annotation_or_its_default(own: str, option: str, text: str, value: Any) -> None:
    made = load_study(own, {option: text}).summary
    assert f"'{option}': {value!r}" in made


def test_an_enum_is_given_and_shown_by_its_value(own: str) -> None:
    assert "'colour': <Colour.RED: 'red'>" in load_study(own, {"colour": "red"}).summary
    shown = {one.name: (one.type, one.default) for one in study_options(own)}
    assert shown["colour"] == ("Colour", "red")
    assert shown["fast"] == ("bool", "False")
    assert shown["sizes"] == ("list[int]", "1")


@pytest.mark.parametrize(
    ("option", "text", "said"),
    [
        ("fast", "perhaps", "fast must be bool, got 'perhaps'"),
        ("seed", "x", "seed must be int or None, got 'x'"),
        ("colour", "blue", "colour must be Colour, got 'blue'"),
        ("pair", "b", "pair must be 2 values, with commas between, got 'b'"),
        ("told", "a", "told is dict, which no text can give"),
        ("some", "a", "some is set, which no text can give"),
        ("row", "1,2", r"row is Sequence\[int\], which no text can give"),
        ("nested", "1,2", "nested is a list of lists, which no text can give"),
    ],
)
def test_an_option_that_its_type_does_not_hold_is_refused(own: str, option: str, text: str, said: str) -> None:
    with pytest.raises(SurefootError, match=said):
        load_study(own, {option: text})


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
