"""The split of the concepts into trained and held out: one split for all styles, and the classes it is tested on."""

from collections.abc import Mapping

from surefoot.contrastive._drawn._concepts import Emoji
from surefoot.core import SurefootError
from surefoot.stats import shuffled

_NOT_EVERYWHERE = frozenset(("", "component", "flags"))
"""Groups that half of the styles do not draw: a class of them would measure who drew flags."""

LEAST_CONCEPTS = 14
"""A subgroup with this many concepts is a class: enough for both sides of the split."""

WIDELY_DRAWN = 1.0
"""Concepts of this version of Unicode's list, or earlier, are drawn in nearly every style."""


def held_out_concepts(emoji: Mapping[str, Emoji], held_out: int, split_seed: int) -> frozenset[str]:
    """`held_out` concepts, from each subgroup its share; the same for every style, platform and library version.

    They come from the subgroups that are classes, so that every one of them is tested. Variants follow their concept,
    so near duplicates are on one side. Raises `SurefootError` when there are not so many concepts.
    """
    strata = {name: members for name, members in _strata(emoji).items() if len(members) >= LEAST_CONCEPTS}
    total = sum(map(len, strata.values()))
    if not 0 <= held_out < total:
        raise SurefootError(f"held_out is {held_out}: it must be from 0 to {total - 1}.")
    quotas = {name: held_out * len(members) / total for name, members in strata.items()}
    counts = {name: int(quota) for name, quota in quotas.items()}
    by_remainder = sorted(strata, key=lambda name: (counts[name] - quotas[name], name))
    for name in by_remainder[: held_out - sum(counts.values())]:
        counts[name] += 1
    return frozenset(
        concept for name, members in strata.items() for concept in shuffled(members, split_seed)[: counts[name]]
    )


def subgroup_classes(emoji: Mapping[str, Emoji]) -> list[str]:
    """The subgroups with enough concepts for both sides of a split, the same in every style, in the table's order."""
    return [name for name, members in _strata(emoji).items() if len(members) >= LEAST_CONCEPTS]


def concept_classes(emoji: Mapping[str, Emoji], side: frozenset[str]) -> list[str]:
    """The concepts of one side of the split, in the order of the table of concepts."""
    return [concept for members in _strata(emoji).values() for concept in members if concept in side]


def _strata(emoji: Mapping[str, Emoji]) -> dict[str, list[str]]:
    strata: dict[str, list[str]] = {}
    for item in emoji.values():
        if not item.variant and item.group not in _NOT_EVERYWHERE:
            strata.setdefault(item.subgroup, []).append(item.hexcode)
    return strata
