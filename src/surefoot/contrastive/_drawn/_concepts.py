"""The concepts that are drawn: their names, tags and classes in 28 languages, and which are variants of one another."""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surefoot.core import SurefootError
from surefoot.registry import read_members

_LOCALES = "bn da de en en-gb es es-mx et fi fr hi hu it ja ko lt ms nb nl pl pt ru sv th uk vi zh zh-hant"
LOCALES = tuple(_LOCALES.split())
"""The languages in which every concept has a label and tags."""

_MOST_TAGS = 8
_ZWJ = "200D"
_SKIN_TONES = frozenset(("1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"))
_GENDER_SIGNS = frozenset(("2640", "2642"))
_ADULTS = frozenset(("1F468", "1F469", "1F9D1"))
_CHILDREN = frozenset(("1F466", "1F467", "1F9D2"))
_FAMILY, _KISS, _COUPLE, _HOLDING_HANDS = "1F46A", "1F48F", "1F491", "1F9D1-200D-1F91D-200D-1F9D1"
# Concepts that Unicode drew once a gender with a code point each, by the one that stands for them.
_SAME = {
    "1F468": "1F9D1",
    "1F469": "1F9D1",
    "1F466": "1F9D2",
    "1F467": "1F9D2",
    "1F474": "1F9D3",
    "1F475": "1F9D3",
    "1F46B": _HOLDING_HANDS,
    "1F46C": _HOLDING_HANDS,
    "1F46D": _HOLDING_HANDS,
    "1F934": "1FAC5",
    "1F478": "1FAC5",
    "1F385": "1F9D1-200D-1F384",
    "1F936": "1F9D1-200D-1F384",
    "1F930": "1FAC4",
    "1FAC3": "1FAC4",
    "1F57A": "1F483",
    "1FAF1-200D-1FAF2": "1F91D",
}


@dataclass(frozen=True, kw_only=True)
class Emoji:
    """One thing that can be drawn.

    `hexcode` is its code points in hexadecimal with hyphens, without the variation selector FE0F; `concept` is the
    hexcode of the concept that it is a variant of (of skin tone, gender, hair or direction), or its own. `group` and
    `subgroup` are keys such as "food-drink" and "food-fruit", empty for the parts of emoji. `since` is the version of
    Unicode's emoji list that brought it.
    """

    hexcode: str
    concept: str
    label: str
    tags: tuple[str, ...]
    group: str
    subgroup: str
    since: float

    @property
    def variant(self) -> bool:
        return self.hexcode != self.concept


def normal_hexcode(text: str) -> str:
    """Code points in upper case, without the variation selector that some tables write and others leave out."""
    return "-".join(part for part in text.upper().split("-") if part != "FE0F")


def concept_of(hexcode: str) -> str:
    """The concept that a code point sequence is a variant of, in skin tone, gender, direction or number of children."""
    points = [part for part in hexcode.split("-") if part not in _SKIN_TONES]
    parts = [part.split("-") for part in "-".join(points).split(f"-{_ZWJ}-")]
    units = ["-".join(part) for part in parts]
    if len(units) > 1 and units[-1] == "27A1":
        units = units[:-1]
    if len(units) > 1 and units[-1] in _GENDER_SIGNS:
        units = units[:-1]
    return _named(units) if units != [""] else hexcode


def _named(units: list[str]) -> str:
    people = _ADULTS | _CHILDREN
    if len(units) > 1 and all(unit in people for unit in units):
        return _FAMILY
    if len(units) > 2 and units[0] in _ADULTS and units[-1] in _ADULTS:
        middle = set(units[1:-1])
        return _KISS if "1F48B" in middle else _COUPLE if "2764" in middle else _HOLDING_HANDS if middle else units[0]
    if len(units) > 1 and units[0] in _ADULTS:
        units = ["1F9D1", *units[1:]]
    joined = f"-{_ZWJ}-".join(units)
    return _SAME.get(joined, joined)


def read_emoji(package: Path, locale: str = "en") -> dict[str, Emoji]:
    """Everything that can be drawn, by hexcode, skin tones included, with its words in a language."""
    if locale not in LOCALES:
        raise SurefootError(f"There are no labels in the language '{locale}'. There are: {', '.join(LOCALES)}.")
    members = read_members(package, [f"package/{locale}/data.json", "package/meta/groups.json"])
    groups = json.loads(members["package/meta/groups.json"])
    rows = json.loads(members[f"package/{locale}/data.json"])
    return {item.hexcode: item for row in rows for item in _family(row, groups)}


def read_class_words(package: Path, locale: str = "en") -> dict[str, str]:
    """The words for every group and subgroup key in a language; in English those of `english.json`."""
    members = read_members(package, [f"package/{locale}/messages.json"])
    messages = json.loads(members[f"package/{locale}/messages.json"])
    words = {row["key"]: row["message"] for kind in ("groups", "subgroups") for row in messages[kind]}
    return words | _ENGLISH if locale.startswith("en") else words


def _family(row: dict[str, Any], groups: dict[str, Any]) -> Iterable[Emoji]:
    """A row of the table and its skin tones, which have no tags of their own."""
    for item in (row, *row.get("skins", ())):
        hexcode = normal_hexcode(item["hexcode"])
        yield Emoji(
            hexcode=hexcode,
            concept=concept_of(hexcode),
            label=item["label"],
            tags=tuple(row.get("tags", ())),
            group=groups["groups"].get(str(row.get("group")), ""),
            subgroup=groups["subgroups"].get(str(row.get("subgroup")), ""),
            since=float(row.get("version", 0)),
        )


def captions(emoji: Emoji, words: Mapping[str, str]) -> list[str]:
    """Alternative captions of one picture, each once, from the most particular to the most general.

    `words` are the words for group and subgroup keys. A model that is trained on a random one of them each time learns
    the names of the classes, so that it can name a concept it never saw.
    """
    label, tags = emoji.label, ", ".join(emoji.tags[:_MOST_TAGS])
    subgroup, group = words.get(emoji.subgroup, ""), words.get(emoji.group, "")
    parts = ((label,), (label, subgroup), (label, tags), (tags,), (tags, subgroup), (subgroup,), (subgroup, group))
    return list(dict.fromkeys(text for part in parts if (text := ", ".join(filter(None, part)))))


def names_and_keywords(emoji: Emoji) -> list[str]:
    """The name of a concept, and its keywords as a line where it has any: what a picture is searched by."""
    return list(dict.fromkeys(filter(None, (emoji.label, ", ".join(emoji.tags)))))


def read_names(package: Path) -> dict[str, str]:
    """Hexcodes by every English name in the package, compact (`compact_name`).

    Labels come first, then the shortcodes and the names of the Unicode standard; a name that would stand for two
    concepts at one level is left out there.
    """
    files = ["en/data", *(f"en/shortcodes/{name}" for name in _SHORTCODES), "meta/unicode-names"]
    members = {name: json.loads(text) for name, text in read_members(package, map(_member, files)).items()}
    rows = [one for row in members[_member("en/data")] for one in (row, *row.get("skins", ()))]
    labels = [(row["label"], row["hexcode"]) for row in rows]
    found: dict[str, str] = {}
    for pairs in (labels, *(_listed(members[_member(name)]) for name in files[1:])):
        level: dict[str, set[str]] = {}
        for name, hexcode in pairs:
            level.setdefault(compact_name(name), set()).add(normal_hexcode(hexcode))
        for name, hexcodes in level.items():
            if len(hexcodes) == 1:
                found.setdefault(name, next(iter(hexcodes)))
    return found


def compact_name(name: str) -> str:
    """A name with nothing but its letters and digits, so that different ways of joining words agree."""
    text = unicodedata.normalize("NFKD", name.lower()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]", "", text)


_SHORTCODES = ("cldr", "joypixels", "emojibase", "emojibase-legacy", "github", "iamcal")


def _member(name: str) -> str:
    return f"package/{name}.json"


def _listed(table: dict[str, str | list[str]]) -> list[tuple[str, str]]:
    return [(name, code) for code, names in table.items() for name in ([names] if isinstance(names, str) else names)]


_ENGLISH = json.loads(Path(__file__).with_name("english.json").read_text(encoding="utf-8"))
"""The package's English words name a subgroup inside its group ("smiling"); these stand alone."""
