"""The split is by concept, the same for every style, and drawn evenly from the classes that are tested."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surefoot.contrastive import EMOJIBASE
from surefoot.contrastive._drawn._concepts import Emoji, read_class_words
from surefoot.contrastive._drawn._split import (
    LEAST_CONCEPTS,
    concept_classes,
    held_out_concepts,
    subgroup_classes,
)
from surefoot.core import SurefootError
from surefoot.registry import fetch
from surefoot.stats import shuffled


def members(emoji: dict[str, Emoji], subgroup: str) -> set[str]:
    return {item.hexcode for item in emoji.values() if item.subgroup == subgroup and not item.variant}


def test_the_split_of_seed_zero_never_changes(emoji: dict[str, Emoji]) -> None:
    held_out = held_out_concepts(emoji, 320, 0)
    assert len(held_out) == 320
    assert sha256(",".join(sorted(held_out)).encode()).hexdigest()[:16] == "73b856a2d4fc5b18"


def test_forty_subgroups_are_classes_with_enough_concepts_on_both_sides(emoji: dict[str, Emoji]) -> None:
    held_out = held_out_concepts(emoji, 320, 0)
    classes = subgroup_classes(emoji)
    assert len(classes) == 40
    for name in classes:
        assert len(members(emoji, name) & held_out) >= 5
        assert len(members(emoji, name) - held_out) >= LEAST_CONCEPTS // 2
    assert held_out == {code for name in classes for code in members(emoji, name) & held_out}


def test_classes_have_different_words_in_english(emoji: dict[str, Emoji]) -> None:
    words = read_class_words(fetch(EMOJIBASE))
    assert len({words[name] for name in subgroup_classes(emoji)}) == 40
    assert not any("&" in text or "/" in text for text in map(words.__getitem__, subgroup_classes(emoji)))


def test_each_class_gives_its_share(emoji: dict[str, Emoji]) -> None:
    classes = {name: members(emoji, name) for name in subgroup_classes(emoji)}
    total = sum(map(len, classes.values()))

    @settings(max_examples=50, deadline=None, derandomize=True)
    @given(held_out=st.integers(0, total - 1), seed=st.integers(0, 2**32))
    def check(held_out: int, seed: int) -> None:
        chosen = held_out_concepts(emoji, held_out, seed)
        assert len(chosen) == held_out
        for concepts in classes.values():
            assert abs(len(chosen & concepts) - held_out * len(concepts) / total) < 1

    check()


def test_a_larger_held_out_set_of_one_seed_contains_most_of_a_smaller(emoji: dict[str, Emoji]) -> None:
    small, large = held_out_concepts(emoji, 100, 3), held_out_concepts(emoji, 400, 3)
    assert small <= large


def test_another_seed_is_another_split(emoji: dict[str, Emoji]) -> None:
    common = held_out_concepts(emoji, 320, 0) & held_out_concepts(emoji, 320, 1)
    assert 50 < len(common) < 150


def test_too_many_held_out_concepts_are_refused(emoji: dict[str, Emoji]) -> None:
    for number in (-1, 5000):
        with pytest.raises(SurefootError, match=rf"held_out is {number}: it must be from 0 to \d+"):
            held_out_concepts(emoji, number, 0)


def test_named_concepts_are_those_of_the_side_and_never_flags(emoji: dict[str, Emoji]) -> None:
    side = frozenset(emoji) - held_out_concepts(emoji, 320, 0)
    classes = concept_classes(emoji, side)
    assert len(set(classes)) == len(classes) > 900
    assert all(emoji[code].group not in ("flags", "component", "") for code in classes)
    assert set(classes) <= side


def test_an_order_depends_on_names_and_seed_alone() -> None:
    names = [str(number) for number in range(50)]
    assert shuffled(names, 1) == shuffled(reversed(names), 1) != shuffled(names, 2)
