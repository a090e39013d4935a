"""Rules that say whether an answer is right; what a judge model says stands beside them and is never mixed in."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from surefoot.language._reading._rules import READING_RULES, normalised, scores_of

F1_RIGHT = 0.5
"""The least F1 of an answer that counts as right by the rule `f1`."""
_NUMBER = re.compile(r"(?<![\w.])[-−+]?\d[\d,]*(?:\.\d+)?")
_WORD = re.compile(r"\w+")
_SQUAD = READING_RULES["squad-1.1"]


@cache
def _normal(text: str) -> str:
    return normalised([text], _SQUAD)[text]


def _plain(text: str) -> str:
    """SQuAD's normal form; of what that leaves nothing (a currency sign), the text itself."""
    return _normal(text) or text.strip()


def _exact(answer: str, text: str, gold: str) -> bool:
    number = _number(gold)
    return _plain(answer) == _plain(gold) if number is None else _number(answer) == number


def _cover(answer: str, text: str, gold: str) -> bool:
    normal = _normal(gold)
    return normal in _normal(text) if normal else gold.strip() in text


def _cover_answer(answer: str, text: str, gold: str) -> bool:
    number = _number(gold)
    if number is not None:
        return number in map(_value, _NUMBER.findall(answer))
    words, wanted = _plain(answer).split(), _plain(gold).split()
    return any(words[at : at + len(wanted)] == wanted for at in range(len(words) - len(wanted) + 1))


def _f1(answer: str, text: str, gold: str) -> bool:
    return scores_of(_plain(answer), {_plain(gold)}, _SQUAD)[1] >= F1_RIGHT


def _number(text: str) -> float | None:
    found = _NUMBER.fullmatch(text.strip())
    return _value(found[0]) if found else None


def _value(number: str) -> float:
    """SQuAD's normal form would lose the sign and the point: -5 would be 5, and 1.5 would be 15."""
    return float(number.replace(",", "").replace("−", "-"))


RULES: Mapping[str, Callable[[str, str, str], bool]] = {
    "exact": _exact,
    "cover": _cover,
    "cover_answer": _cover_answer,
    "f1": _f1,
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
    parted = tuple(" ".join(_WORD.findall(gold)) for gold in golds if _number(gold) is None)
    shown = " ".join(_WORD.findall(answer))
    return is_right("cover_answer", answer, "", golds) or is_right(
        "cover_answer", shown, "", tuple(filter(None, parted))
    )
