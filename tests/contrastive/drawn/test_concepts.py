"""Concepts, their variants and names, and which drawing shows which."""

import pytest

from surefoot.contrastive import EMOJIBASE, LOCALES, STYLES
from surefoot.contrastive._drawn._concepts import (
    Emoji,
    captions,
    concept_of,
    normal_hexcode,
    read_class_words,
    read_emoji,
    read_names,
)
from surefoot.contrastive._drawn._iconify import Icon
from surefoot.contrastive._drawn._matching import hexcodes_of
from surefoot.core import SurefootError
from surefoot.registry import fetch, read_members

StylesRead = dict[str, tuple[tuple[Icon, ...], dict[str, Emoji]]]
_KINDS = ("data", "messages")
SKIN_TONES = {"1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"}


def label_of_concept(emoji: dict[str, Emoji], label: str) -> str:
    item = next(item for item in emoji.values() if item.label == label)
    return emoji[item.concept].label


@pytest.mark.parametrize(
    ("label", "concept"),
    [
        ("waving hand: dark skin tone", "waving hand"),
        ("woman police officer: medium skin tone", "police officer"),
        ("man scientist", "scientist"),
        ("woman: red hair", "person: red hair"),
        ("woman: beard", "person: beard"),
        ("man", "person"),
        ("girl", "child"),
        ("old woman", "older person"),
        ("man running: facing right", "person running"),
        ("man with white cane: facing right", "person with white cane"),
        ("men holding hands: dark skin tone, light skin tone", "people holding hands"),
        ("kiss: man, man, light skin tone, dark skin tone", "kiss"),
        ("couple with heart: woman, man", "couple with heart"),
        ("family: man, woman, girl, boy", "family"),
        ("family: adult, child, child", "family"),
        ("handshake: light skin tone, dark skin tone", "handshake"),
        ("Mrs. Claus", "Mx Claus"),
        ("prince", "person with crown"),
        ("man dancing", "woman dancing"),
        ("pregnant man", "pregnant person"),
        ("detective", "detective"),
        ("heart on fire", "heart on fire"),
        ("black cat", "black cat"),
        ("man’s shoe", "man’s shoe"),
        ("red heart", "red heart"),
    ],
)
def test_variants_belong_to_one_concept(emoji: dict[str, Emoji], label: str, concept: str) -> None:
    assert label_of_concept(emoji, label) == concept


def test_every_concept_is_in_the_table_and_is_its_own(emoji: dict[str, Emoji]) -> None:
    assert len(emoji) == 1949 + 2030
    for item in emoji.values():
        assert not emoji[item.concept].variant
        assert concept_of(item.concept) == item.concept
    assert len({item.concept for item in emoji.values()}) == 1730


def test_a_skin_tone_is_always_a_variant_with_the_tags_of_its_base(emoji: dict[str, Emoji]) -> None:
    toned = [item for item in emoji.values() if SKIN_TONES & set(item.hexcode.split("-")) and "-" in item.hexcode]
    assert len(toned) == 2030
    assert all(item.variant and item.tags for item in toned)


def test_hexcodes_are_the_same_with_and_without_the_variation_selector() -> None:
    assert normal_hexcode("1f46e-200d-2642-FE0F") == normal_hexcode("1F46E-200D-2642") == "1F46E-200D-2642"


@pytest.mark.parametrize("locale", ["bn", "de", "en-gb", "ja", "zh-hant"])
def test_each_language_names_the_same_things_in_its_own_words(locale: str, emoji: dict[str, Emoji]) -> None:
    package = fetch(EMOJIBASE)
    theirs, words = read_emoji(package, locale), read_class_words(package, locale)
    assert theirs.keys() == emoji.keys()
    assert all(item.label for item in theirs.values())
    assert {item.subgroup for item in theirs.values()} <= words.keys() | {""}
    if not locale.startswith("en"):
        assert theirs["1F680"].label != emoji["1F680"].label or theirs["1F433"].label != emoji["1F433"].label


def test_there_are_28_languages() -> None:
    assert len(LOCALES) == 28
    read_members(fetch(EMOJIBASE), [f"package/{locale}/{kind}.json" for locale in LOCALES for kind in _KINDS])


def test_an_unknown_language_is_refused_with_those_there_are() -> None:
    with pytest.raises(SurefootError, match=r"no labels in the language 'tlh'\. There are: bn, da, de, en"):
        read_emoji(fetch(EMOJIBASE), "tlh")


def test_captions_go_from_the_name_to_the_class(emoji: dict[str, Emoji]) -> None:
    words = read_class_words(fetch(EMOJIBASE))
    texts = captions(emoji["1F34E"], words)
    assert texts[0] == "red apple"
    assert "red apple, food, fruit" in texts
    assert "food, fruit" in texts
    assert texts[-1] == "food, fruit, food and drink"
    assert len(set(texts)) == len(texts) == 7
    assert all("pomme" not in text for text in texts)


def icon(*names: str, hidden: bool = False) -> Icon:
    return Icon(names=names, svg="", hidden=hidden)


def test_a_table_of_code_points_decides_over_the_names() -> None:
    icons = [icon("cat"), icon("dog", "hound")]
    found = hexcodes_of(icons, {"1f436": "hound", "1f3fa": "cat"}, {"cat": "1F431"}, {})
    assert found == {"dog": "1F436", "cat": "1F3FA"}


def test_without_a_table_the_names_decide_own_names_and_kept_drawings_first() -> None:
    names = {"redapple": "1F34E", "flagfrance": "1F1EB-1F1F7", "pear": "1F350"}
    icons = [
        icon("red-apple", hidden=True),
        icon("apple", "red-apple-2", "redapple"),
        icon("flag-for-france"),
        icon("pistol"),
        icon("nashi"),
    ]
    found = hexcodes_of(icons, {}, names, {"nashi": "pear"})
    assert found == {"flag-for-france": "1F1EB-1F1F7", "nashi": "1F350", "apple": "1F34E"}


def test_names_cover_labels_shortcodes_and_the_unicode_standard() -> None:
    names = read_names(fetch(EMOJIBASE))
    assert names["redapple"] == names["apple"] == "1F34E"
    assert names["blacktelephone"] == "260E"
    assert names["pileofpoo"] == "1F4A9"


def test_each_style_shows_as_many_concepts_as_its_record_says(styles_read: StylesRead) -> None:
    counted = {name: len({item.concept for item in items.values()}) for name, (_, items) in styles_read.items()}
    assert counted == {name: style.concepts for name, style in STYLES.items()}


def test_nine_styles_share_more_than_a_thousand_concepts(styles_read: StylesRead) -> None:
    nine = set(STYLES) - {"emojione-v1", "fxemoji"}
    drawn = {name: {item.hexcode for item in styles_read[name][1].values()} for name in nine}
    plain = {code for code in set.intersection(*drawn.values()) if not SKIN_TONES & set(code.split("-"))}
    assert len(plain) == 1067


def test_styles_that_share_their_designs_are_marked() -> None:
    assert {style.design for name, style in STYLES.items() if name.startswith("fluent")} == {"fluent"}
    assert len({style.design for style in STYLES.values()}) == 8
    assert all(style.package.licence and style.package.author and style.package.url for style in STYLES.values())
