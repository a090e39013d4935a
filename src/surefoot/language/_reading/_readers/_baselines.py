"""Readers without a pre-trained model: a sliding window, and a regression over the spans of a context."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from surefoot.core import Inputs, Measurement, Step, SurefootError, report_progress
from surefoot.language._reading._questions import NOWHERE, Question, read_questions
from surefoot.language._reading._readers._answers import Answer, Answering, Reader

LONGEST = 6
"""Words of the longest span that is a candidate."""
HASHES = 1 << 15
WEIGHTS = "weights.npy"
_WORD = re.compile(r"\w+(?:['’]\w+)?|[^\w\s]")
_FUNCTION_WORDS = frozenset(
    _WORD.findall(
        """
        a an the of in on at to for from by with and or but is are was were be been being as that which who whom whose
        what when where why how did does do has have had it its this these those his her their he she they not if than
        then there can could would should may might will also into during about after before between
        """
    )
)
_ASKED = ("how many", "how much", "how", "who", "whom", "whose", "when", "where", "why", "what year", "which", "what")


@dataclass(frozen=True, kw_only=True)
class SlidingWindow(Reader):
    """The reader that looks where the question's words are: a floor for any reader; nothing in it is trained.

    After the baseline of Rajpurkar et al. 2016 (1606.05250, section 5.1) and Richardson et al. 2013: the candidate in
    the window (as long as the question) with the most question words, each weighing log(1 + 1 / its count), less the
    mean distance to them. There is no parser here: candidates are runs of 1 to 6 words that neither begin nor end with
    a function word and hold no word of the question. Measures nothing.
    """

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """There is nothing to make."""
        return []

    def answering(self, inputs: Inputs, out: Path) -> Answering:
        """See `Reader`."""
        return lambda questions: [Answer(_slid(_Spans.of(one))) for one in questions]


@dataclass(frozen=True, kw_only=True)
class SpanRegression(Reader):
    """A logistic regression over the spans of a context: which one is the answer, given the question.

    After the baseline of Rajpurkar et al. 2016 (1606.05250, section 5.2), with what can be had without a parser: words
    of the question in the sentence and near the span, lengths, the shape and the words of its ends, each crossed with
    what is asked for (who, when, how many, ...). The conditional likelihood of the right span among all candidates is
    maximised (L-BFGS, `penalty` on squared weights). Candidates are runs of 1 to 6 words that neither begin nor end
    with a function word. Files: `weights.npy`. Measures `loss` (nats a question), and `reachable`, the share of the
    questions whose answer is a candidate. Raises `SurefootError` where none is.
    """

    questions: Step
    penalty: float = 3e-3
    requires: ClassVar[tuple[str, ...]] = ()

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Fit, and write the weights."""
        questions = read_questions(inputs[self.questions])
        every = [(spans := _Spans.of(one), spans.right(one)) for one in questions]
        rows = [(spans, right) for spans, right in every if right >= 0]
        if not rows:
            raise SurefootError("No answer of these questions is a span of 1 to 6 words of its context.")
        features = [spans.features() for spans, _ in rows]
        weights, loss = _fitted(features, [right for _, right in rows], self.penalty, out)
        np.save(out / WEIGHTS, weights)
        share = Measurement(metric="reachable", value=len(rows) / len(questions), n=len(questions))
        return [Measurement(metric="loss", value=loss, n=len(rows)), share]

    def answering(self, inputs: Inputs, out: Path) -> Answering:
        """See `Reader`."""
        weights = np.load(inputs[self] / WEIGHTS, allow_pickle=False)

        def answer(question: Question) -> Answer:
            spans = _Spans.of(question)
            if not len(spans.first):
                return Answer(spans.text(-1))
            places, values = spans.features()
            return Answer(spans.text(int((weights[places] * values).sum(axis=1).argmax())))

        return lambda questions: [answer(one) for one in questions]


@dataclass(frozen=True, kw_only=True)
class _Spans:
    """A context as words with their places (n, 2), and the spans of it that are candidates: first and last word (m)."""

    context: str
    asked: str
    words: list[str]
    shapes: list[str]
    places: NDArray[np.int64]
    of_question: NDArray[np.bool_]
    first: NDArray[np.int64]
    last: NDArray[np.int64]

    @staticmethod
    def of(question: Question) -> "_Spans":
        """All candidates of a question."""
        found = list(_WORD.finditer(question.context))
        words = [one[0].lower() for one in found]
        wanted = {one.lower() for one in _WORD.findall(question.question)} - _FUNCTION_WORDS
        content = np.array([word[0].isalnum() and word not in _FUNCTION_WORDS for word in words], bool)
        ends = np.cumsum([word in ".?!" for word in words])
        first, length = (grid.ravel() for grid in np.meshgrid(np.arange(len(words)), np.arange(LONGEST), indexing="ij"))
        last = first + length
        first, last = first[last < len(words)], last[last < len(words)]
        kept = content[first] & content[last] & (ends[first] == ends[last]) if words else np.zeros(0, bool)
        lowered = question.question.lower()
        return _Spans(
            context=question.context,
            asked=next((one for one in _ASKED if re.search(rf"\b{one}\b", lowered)), "else"),
            words=words,
            shapes=[_shape(one[0]) for one in found],
            places=np.array([one.span() for one in found], np.int64).reshape(-1, 2),
            of_question=np.array([word in wanted and word[0].isalnum() for word in words], bool),
            first=first[kept],
            last=last[kept],
        )

    def text(self, span: int) -> str:
        """The characters of a span; of -1 the first word, where there is no candidate."""
        if span < 0:
            return self.context[slice(*self.places[0])] if len(self.places) else ""
        return self.context[self.places[self.first[span], 0] : self.places[self.last[span], 1]]

    def right(self, question: Question) -> int:
        """Which of the candidates is a gold answer, -1 where none is."""
        starts, ends = self.places[self.first, 0], self.places[self.last, 1]
        for answer, start in zip(question.answers, question.starts, strict=True):
            if start != NOWHERE and (found := np.flatnonzero((starts == start) & (ends == start + len(answer)))).size:
                return int(found[0])
        return -1

    def features(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Of each candidate the places of its features among the weights, and their values: (m, features) each."""
        first, last, asked = self.first, self.last, self.asked
        own = np.concatenate([[0], np.cumsum(self.of_question)])
        near = [self.near(first, last, reach) for reach in (3, 8, 20)]
        before, after = np.maximum(first - 1, 0), np.minimum(last + 1, len(self.words) - 1)
        inside = own[last + 1] - own[first]
        named = [
            ("first", self.words, first), ("last", self.words, last), ("before", self.words, before),
            ("after", self.words, after), ("shape", self.shapes, first), ("end", self.shapes, last),
            ("ahead", self.shapes, before), ("behind", self.shapes, after),
        ]  # fmt: skip
        columns = [_hashed(kind, asked, cells)[rows] for kind, cells, rows in named]
        columns += [_hashed("length", asked, map(str, range(LONGEST)))[last - first]]
        columns += [_hashed("inside", "", map(str, range(LONGEST + 1)))[inside]]
        numbers = [*near, *(np.minimum(one, 12) / 4 for one in self._gaps()), first / len(self.words)]
        columns += [np.full(len(first), _hashed("number", asked, [str(at)])[0]) for at in range(len(numbers))]
        values = [*(np.ones(len(first)) for _ in range(len(columns) - len(numbers))), *numbers]
        return np.stack(columns, axis=1), np.stack(values, axis=1)

    @cached_property
    def _sums(self) -> NDArray[np.float64]:
        """What the question's words before each place weigh: log(1 + 1 / count) each."""
        _, place, counts = np.unique(self.words, return_inverse=True, return_counts=True)
        return np.concatenate([[0.0], np.cumsum(np.where(self.of_question, np.log1p(1 / counts[place]), 0.0))])

    def near(self, first: NDArray[np.int64], last: NDArray[np.int64], reach: int) -> NDArray[np.float64]:
        """The weights of the question's words at most so many words before or after a span."""
        sums = self._sums
        before, after = np.maximum(first - reach, 0), np.minimum(last + 1 + reach, len(self.words))
        return sums[first] - sums[before] + sums[after] - sums[last + 1]

    def _gaps(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Words between a span and the nearest word of the question before it, and after it."""
        at = np.concatenate([[-99], np.flatnonzero(self.of_question), [len(self.words) + 99]])
        left = self.first - at[np.searchsorted(at, self.first) - 1] - 1
        return left, at[np.searchsorted(at, self.last, side="right")] - self.last - 1


def _slid(spans: _Spans) -> str:
    counts = np.concatenate([[0], np.cumsum(spans.of_question)])
    kept = np.flatnonzero(counts[spans.last + 1] == counts[spans.first]) if len(spans.first) else np.zeros(0, np.int64)
    if not len(kept):
        return spans.text(0 if len(spans.first) else -1)
    first, last, at = spans.first[kept], spans.last[kept], np.flatnonzero(spans.of_question)
    reach = len({spans.words[place] for place in at}) + LONGEST
    if not len(at):
        return spans.text(int(kept[0]))
    distance = np.maximum(first[:, None] - at, at - last[:, None]).clip(0).mean(axis=1) / len(spans.words)
    return spans.text(int(kept[(spans.near(first, last, reach) - distance).argmax()]))


def _hashed(kind: str, asked: str, cells: Iterable[str]) -> NDArray[np.int64]:
    """A place among the weights for each cell."""
    return np.array([crc32(f"{kind}|{asked}|{cell}".encode()) % HASHES for cell in cells], np.int64)


def _shape(word: str) -> str:
    """What kind of word it is by its characters: number, year, capital, plain, mark."""
    if word.isdigit():
        return "year" if len(word) == 4 else "number"
    kinds = {"mark": not word[0].isalnum(), "capital": word[0].isupper(), "mixed": not word.isalpha(), "plain": True}
    return next(name for name, holds in kinds.items() if holds)


def _fitted(
    features: Sequence[tuple[NDArray[np.int64], NDArray[np.float64]]], right: Sequence[int], penalty: float, out: Path
) -> tuple[NDArray[np.float64], float]:
    """Weights of the highest penalised conditional likelihood, and the mean loss in nats."""
    from scipy.optimize import minimize

    places = np.concatenate([one for one, _ in features])
    values = np.concatenate([one for _, one in features])
    starts = np.cumsum([0, *(len(one) for one, _ in features)])[:-1]
    sizes = np.array([len(one) for one, _ in features])
    answers, count, calls = starts + np.array(right), len(features), 0

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        nonlocal calls
        calls += 1
        report_progress(out, min(calls, 60), 60)
        scores = (weights[places] * values).sum(axis=1)
        scores -= np.repeat(np.maximum.reduceat(scores, starts), sizes)
        mass = np.exp(scores)
        total = np.add.reduceat(mass, starts)
        slope = mass / np.repeat(total, sizes)
        slope[answers] -= 1.0
        gradient = np.bincount(places.ravel(), (slope[:, None] * values).ravel(), HASHES) / count
        value = float((np.log(total) - scores[answers]).mean())
        return value + penalty / 2 * float(weights @ weights), gradient + penalty * weights

    found = minimize(loss, np.zeros(HASHES), jac=True, method="L-BFGS-B", options={"maxiter": 60})
    return found.x, float(found.fun - penalty / 2 * float(found.x @ found.x))
