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


def reasons_of(rules: CandidateRules, url: str | None, text: str, language: str | None, score: float) -> Iterator[str]:
    """The reasons against a row, in the order of its columns; `url` is None where it is invalid."""
    if url is None:
        yield "url_invalid"
    elif not url.startswith(("http://", "https://")):
        yield "url_scheme"
    else:
        if len(url) > LARGEST_URL:
            yield "url_long"
        if len(url.split("/", 3)[2]) > rules.longest_host:
            yield "host_long"
        if any(part in url for part in rules.url_without):
            yield "url_kind"
    if not text:
        yield "text_missing"
        return
    if len(text) < rules.shortest_text:
        yield "text_short"
    if len(text) > rules.longest_text:
        yield "text_long"
    words = len(text.split())
    if words < rules.fewest_words:
        yield "words_few"
    if words > rules.most_words:
        yield "words_many"
    if rules.languages and (language not in rules.languages or score < rules.reliable):
        yield "language"
