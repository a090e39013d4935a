"""The official rules by which answers are scored, over many answers at once."""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

RuleName = Literal["squad-1.1", "squad-2.0", "mrqa", "natural-questions"]
_PUNCTUATION = re.compile(f"[{re.escape(string.punctuation)}]+")
_ARTICLES = re.compile(r"\b(?:an?|the)\b")
_BETWEEN = "\0"  # no letter, no mark and no white space: as the end of a text to lower(), \b and split()


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How a rule treats what the others do not: the rest (normalisation, the best of all answers) is common to all.

    A question without a prediction counts as wrong, or is left out. `no_answer`: a set may have questions without an
    answer, which only the empty answer meets; right answers that normalise to nothing are dropped, and two empty texts
    have F1 1, where the rules of SQuAD 1.1 say 0 (and exact match 1). `decomposed`: Unicode's form D comes first, as in
    NQ-open.
    """

    missing: Literal["wrong", "left out"] = "wrong"
    no_answer: bool = False
    decomposed: bool = False


READING_RULES: Mapping[RuleName, Rule] = {
    "squad-1.1": Rule(),
    "squad-2.0": Rule(missing="left out", no_answer=True),
    "mrqa": Rule(),
    "natural-questions": Rule(decomposed=True),
}


def normalised(texts: Iterable[str], rule: Rule) -> dict[str, str]:
    """Each text as it is compared: lower case, no ASCII punctuation, no a, an, the, one space between words."""
    given = list(dict.fromkeys(texts))
    if not given:
        return {}
    shown = [unicodedata.normalize("NFD", text) for text in given] if rule.decomposed else given
    whole = _BETWEEN.join(shown)
    alone = whole.count(_BETWEEN) != len(shown) - 1  # a text holds what was to stand between texts
    plain = [_stripped(text) for text in shown] if alone else _stripped(whole).split(_BETWEEN)
    return {text: " ".join(words.split()) for text, words in zip(given, plain, strict=True)}


def _stripped(text: str) -> str:
    return _ARTICLES.sub(" ", _PUNCTUATION.sub("", text.lower()))


def golds_of(answers: Iterable[str], normal: Mapping[str, str], rule: Rule) -> set[str]:
    """The right answers that count, normalised."""
    golds = {normal[answer] for answer in answers}
    return golds - {""} or {""} if rule.no_answer else golds


def scores_of(answer: str, golds: Iterable[str], rule: Rule) -> tuple[float, float]:
    """Exact match and F1 of one answer, each the best over all right ones; all are normalised.

    F1 is the harmonic mean of precision and recall over words, each counted as often as it stands there.
    """
    if answer in golds:
        return 1.0, float(bool(answer) or rule.no_answer)
    words, best = answer.split(), 0.0
    distinct = set(words)
    for gold in golds:
        right = gold.split()
        common = len(distinct.intersection(right))
        if not common:
            continue
        if common < len(words) > len(distinct):
            common = (Counter(words) & Counter(right)).total()
        precision, recall = common / len(words), common / len(right)
        best = max(best, 2 * precision * recall / (precision + recall))
    return 0.0, best
