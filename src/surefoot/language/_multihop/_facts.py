"""Facts to test with: countries from a package, birthplaces from questions, and questions that join the two."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from surefoot.core import SurefootError
from surefoot.language._multihop._questions import Hop, MultiHopQuestion
from surefoot.language._packages import PACKAGES
from surefoot.registry import fetch, read_members
from surefoot.stats import shuffled

BIRTHPLACE = "birthplace"
HeldOutBy = Literal["pair", "bridge"]


@dataclass(frozen=True, kw_only=True)
class Fact:
    """`relation` of `subject` is `object`."""

    subject: str
    relation: str
    object: str

    @property
    def sentence(self) -> str:
        """The fact as a sentence."""
        return f"The {self.relation} of {self.subject} is {self.object}."


def _first(values: Sequence[str] | None) -> str:
    return values[0] if values else ""


def _currency(row: dict[str, Any], name: str) -> str:
    code = _first(list(row["currencies"]))
    return code if name == "code" else str(row["currencies"][code].get(name) or "") if code else ""


def _calling_code(row: dict[str, Any]) -> str:
    # A root that several countries share has one suffix for each; so many suffixes are its own districts.
    suffixes = row["idd"].get("suffixes") or [""]
    return row["idd"].get("root", "") + (suffixes[0] if len(suffixes) == 1 else "")


def _translated(language: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: row["translations"].get(language, row["name"]["native"].get(language, {})).get("common", "")


RELATIONS: dict[str, Callable[[dict[str, Any]], str]] = {
    "capital": lambda row: _first(row["capital"]),
    "calling code": _calling_code,
    "3166-1 numeric code": lambda row: row["ccn3"],
    "top-level domain": lambda row: _first(row["tld"]),
    "currency": lambda row: _currency(row, "name"),
    "currency abbreviation": lambda row: _currency(row, "code"),
    "currency symbol": lambda row: _currency(row, "symbol"),
    "rounded latitude": lambda row: str(int(row["latlng"][0])),
    "rounded longitude": lambda row: str(int(row["latlng"][1])),
    "Japanese name": _translated("jpn"),
    "Russian name": _translated("rus"),
    "Estonian name": _translated("est"),
    "Urdu name": _translated("urd"),
    "Spanish name": _translated("spa"),
}
"""Of each attribute its value in a row of the package; '' where the country has none. Degrees are cut towards zero."""


def country_facts(relations: Sequence[str] = tuple(RELATIONS)) -> list[Fact]:
    """Facts about 250 countries and territories from the package `world-countries` (ODbL-1.0), by country and relation.

    Raises `SurefootError` for an unknown relation, and where the package cannot be had.
    """
    wrong = next((name for name in relations if name not in RELATIONS), None)
    if wrong:
        raise SurefootError(f"There is no relation '{wrong}' of countries: there is {', '.join(RELATIONS)}.")
    member = "package/dist/countries.json"
    rows = json.loads(read_members(fetch(PACKAGES["world-countries"]), [member])[member])
    facts = [
        Fact(subject=row["name"]["common"], relation=name, object=RELATIONS[name](row))
        for row in rows
        for name in relations
    ]
    return [fact for fact in facts if fact.object]


def birthplace_facts(questions: Sequence[MultiHopQuestion]) -> list[Fact]:
    """Where people were born, from the first hops of Compositional Celebrities, each person once."""
    head = "What is the birthplace (country only) of "
    hops = [one.hops[0] for one in questions if one.hops and one.hops[0].question.startswith(head)]
    born = {hop.question.removeprefix(head).rstrip("?"): hop.answers[0] for hop in hops}
    return [Fact(subject=person, relation=BIRTHPLACE, object=country) for person, country in born.items()]


@dataclass(frozen=True, kw_only=True)
class Compositions:
    """Two-hop questions over facts: `seen` may be learnt from, `held_out` are asked; `facts` are all that they need."""

    facts: tuple[Fact, ...]
    seen: tuple[MultiHopQuestion, ...]
    held_out: tuple[MultiHopQuestion, ...]


def compose(
    first: Sequence[Fact], second: Sequence[Fact], *, held_out: float = 0.5, by: HeldOutBy = "pair", seed: int = 0
) -> Compositions:
    """Join facts whose object is the subject of another, but for capitals, into questions of two hops.

    A share `held_out` (0 to 1) is held out by `seed`: of the questions ("pair"), or with all their questions of what
    joins the facts ("bridge"). Raises `SurefootError` where no two facts meet.
    """
    if not 0 <= held_out <= 1:
        raise SurefootError(f"held_out is {held_out}: it is a share, 0 to 1.")
    of: dict[str, list[Fact]] = {}
    for fact in second:
        of.setdefault(fact.subject.casefold(), []).append(fact)
    joined = [(one, two) for one in first for two in of.get(one.object.casefold(), [])]
    if not joined:
        raise SurefootError("No object of the first facts is a subject of the second: there is nothing to compose.")
    keys = {pair: pair[1].subject if by == "bridge" else " / ".join(map(_id, pair)) for pair in joined}
    order = shuffled(dict.fromkeys(keys.values()), seed)
    out = set(order[: round(held_out * len(order))])
    used = dict.fromkeys(fact for pair in joined for fact in pair)
    return Compositions(
        facts=tuple(used),
        seen=tuple(_composed(*pair) for pair in joined if keys[pair] not in out),
        held_out=tuple(_composed(*pair) for pair in joined if keys[pair] in out),
    )


def _composed(one: Fact, two: Fact) -> MultiHopQuestion:
    hops = [
        Hop(question=f"What is the {fact.relation} of {fact.subject}?", answers=(fact.object,), supports=(_id(fact),))
        for fact in (one, two)
    ]
    return MultiHopQuestion(
        id=f"{two.relation} / {one.relation} / {one.subject}",
        question=f"What is the {two.relation} of the {one.relation} of {one.subject}?",
        answers=(two.object,),
        hops=tuple(hops),
        supports=(_id(one), _id(two)),
    )


def _id(fact: Fact) -> str:
    return f"{fact.relation} of {fact.subject}"
