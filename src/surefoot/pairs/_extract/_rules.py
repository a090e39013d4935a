"""Recipes of candidates: frozen rules, each of which gives the rows that it drops a reason."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from surefoot.core import SurefootError

LARGEST_URL, LARGEST_TEXT = 2000, 10_000
"""Characters of a URL and of a text that are kept."""
_WHOLE = re.compile("[ -%'-~]*")  # in printable ASCII without '&' there is nothing to mend


@dataclass(frozen=True, kw_only=True)
class CandidateRules:
    """What a candidate must be; lengths are in characters, words are parted by white space.

    `mend_text`: encoding faults mended (ftfy), line breaks to spaces, unprintable characters out, cut at 2,000.
    `join_spaces`: any white space to one space. `url_without`: strings that the URL may not hold. `languages`: the
    only ones, where they are reliable; none: any. `reliable`: the probability from which on a language is.
    """

    name: str
    version: int = 1
    mend_text: bool = False
    join_spaces: bool = False
    shortest_text: int = 1
    longest_text: int = LARGEST_TEXT
    fewest_words: int = 1
    most_words: int = LARGEST_TEXT
    longest_host: int = LARGEST_URL
    url_without: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    reliable: float = 0.7

    def __post_init__(self) -> None:
        if not self.name or not 0 <= self.reliable <= 1:
            raise SurefootError(f"Rules need a name and a probability `reliable`, got {self.name!r}, {self.reliable}.")


_LAION5B = CandidateRules(
    name="laion5b", mend_text=True, shortest_text=5, longest_host=60,
    url_without=(".svg", ".gif", "data:image", "javascript:"),
)  # fmt: skip
_RECIPES = (
    _LAION5B,
    replace(_LAION5B, name="laion400m", languages=("en",)),
    CandidateRules(name="datacomp-basic", shortest_text=6, fewest_words=3, languages=("en",), reliable=0.0),
    CandidateRules(
        name="coyo", join_spaces=True, shortest_text=6, longest_text=1000, fewest_words=3, most_words=256,
        languages=("en",),
    ),
)  # fmt: skip
CANDIDATE_RULES = {rules.name: rules for rules in _RECIPES}
"""The rules of published sets, as far as they need neither the picture nor other rows."""


def cleaned(rules: CandidateRules, text: str) -> str:
    """The text as the rules want it written."""
    if rules.mend_text:
        if not _WHOLE.fullmatch(text):
            from ftfy import fix_text

            text = "".join(filter(str.isprintable, fix_text(text.replace("\n", " ")).strip()))
        text = text.strip()[:2000]
    return " ".join(text.split()) if rules.join_spaces else text


def checks(
    rules: CandidateRules, url: str | None, text: str, language: str | None, score: float
) -> Iterator[tuple[str, object, object, bool]]:
    """The rules in the order of a row's columns: the reason that each gives, the value it looks at, its threshold, and
    whether it is against the row; `url` is None where it is invalid."""
    yield "url_invalid", url, "a valid URL", url is None
    scheme, _, rest = (url or "").partition("://")
    if url is not None:
        yield "url_scheme", scheme, "http, https", scheme not in ("http", "https")
    if scheme in ("http", "https"):
        host, kind = len(rest.split("/", 1)[0]), [part for part in rules.url_without if part in str(url)]
        yield "url_long", len(str(url)), LARGEST_URL, len(str(url)) > LARGEST_URL
        yield "host_long", host, rules.longest_host, host > rules.longest_host
        yield "url_kind", kind, rules.url_without, bool(kind)
    length, words = len(text), len(text.split())
    yield "text_missing", length, 1, not length
    if length:
        yield "text_short", length, rules.shortest_text, length < rules.shortest_text
        yield "text_long", length, rules.longest_text, length > rules.longest_text
        yield "words_few", words, rules.fewest_words, words < rules.fewest_words
        yield "words_many", words, rules.most_words, words > rules.most_words
        other = language not in rules.languages or score < rules.reliable
        yield "language", [language, score], [*rules.languages, rules.reliable], bool(rules.languages) and other


def reasons_of(rules: CandidateRules, url: str | None, text: str, language: str | None, score: float) -> list[str]:
    """The reasons against a row."""
    return [reason for reason, _, _, against in checks(rules, url, text, language, score) if against]
