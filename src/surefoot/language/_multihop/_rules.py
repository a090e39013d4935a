"""Rules that say whether an answer is right; what a judge model says stands beside them and is never mixed in."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cache

from surefoot.language._reading._rules import READING_RULES, normalised, scores_of

F1_RIGHT = 0.5
"""The least F1 of an answer that counts as right by the rule `f1`."""
_NUMBER = re.compile(r"(?<![\w.])[-−+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)")
_WORD = re.compile(r"\w+")
_SQUAD = READING_RULES["squad-1.1"]


@cache
def _normal(text: str) -> str:
    composed = unicodedata.normalize("NFC", text)
    return normalised([composed], _SQUAD)[composed]


@cache
def _plain(text: str) -> str:
    """SQuAD's normal form with numbers by value; of what that leaves nothing (a currency sign), the text itself.

    SQuAD's would lose the sign and the point: -5 would be 5, and 1.5 would be 15. So both are spelt as no punctuation.
    """
    valued = _NUMBER.sub(lambda found: f"{_value(found[0]):f}".replace("-", "−").replace(".", "·"), text)
    return _normal(valued) or text.strip()


def _cover(answer: str, text: str, gold: str) -> bool:
    normal = _normal(gold)
    return normal in _normal(text) if normal else gold.strip() in text


def _cover_answer(answer: str, text: str, gold: str) -> bool:
    number = _number(gold)
    if number is not None:
        return number in map(_value, _NUMBER.findall(answer))
    words, wanted = _plain(answer).split(), _plain(gold).split()
    return any(words[at : at + len(wanted)] == wanted for at in range(len(words) - len(wanted) + 1))


def _number(text: str) -> Decimal | None:
    found = _NUMBER.fullmatch(text.strip())
    return _value(found[0]) if found else None


def _value(number: str) -> Decimal:
    """Exact, also for more digits than a float has; 1.50 is 1.5, and 1000 stays so."""
    found = Decimal(number.replace(",", "").replace("−", "-"))
    whole = found.to_integral_value()
    return abs(whole) if not found else whole if found == whole else found.normalize()


RULES: Mapping[str, Callable[[str, str, str], bool]] = {
    "exact": lambda answer, text, gold: _plain(answer) == _plain(gold),
    "cover": _cover,
    "cover_answer": _cover_answer,
    "f1": lambda answer, text, gold: scores_of(_plain(answer), {_plain(gold)}, _SQUAD)[1] >= F1_RIGHT,
}
"""Of each rule whether an answer, in the text that it was taken from, is the gold one.

All compare in SQuAD's normal form, numbers by value. `exact`: the answer is the gold one. `cover`: the characters of
the gold answer stand anywhere in the text, as the published evaluations of the gap have it; a text that only mentions
it counts. `cover_answer`: its words stand together in the answer. `f1`: F1 over words of at least 0.5.
"""


def is_right(rule: str, answer: str, text: str, golds: Sequence[str]) -> bool:
    """Whether an answer is right by a rule: by any of the gold answers."""
    return any(RULES[rule](answer, text, gold) for gold in golds)


def is_recognisable(answer: str, golds: Sequence[str]) -> bool:
    """Whether a person would see a gold answer in the answer, whatever marks stand between the words."""

    def words(text: str) -> str:
        return " ".join(_WORD.findall(unicodedata.normalize("NFC", text)))

    parted = tuple(filter(None, (words(gold) for gold in golds if _number(gold) is None)))
    return is_right("cover_answer", answer, "", golds) or is_right("cover_answer", words(answer), "", parted)
