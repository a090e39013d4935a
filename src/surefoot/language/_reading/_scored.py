"""How well predictions answer questions: scores of each, and of the set, with intervals over whole articles."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from surefoot.core import Inputs, Measurement, Step, SurefootError
from surefoot.examples import write_examples
from surefoot.language._reading._predictions import Predictions, read_predictions
from surefoot.language._reading._questions import Question, read_questions
from surefoot.language._reading._rules import READING_RULES, Rule, RuleName, golds_of, normalised, scores_of
from surefoot.stats import clustered_mean, share_interval, t_quantile

Floats = NDArray[np.float64]
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class QuestionScores:
    """Exact match and F1 (0 to 1) of n questions that count, in the order of the set, with the answers scored.

    `missing` are ids without a prediction (wrong or left out, by the rule), `extra` those of predictions without a
    question, `abstained` those whose answer was a declared phrase of abstention and counts as none. `no_answer` (n,)
    are the scores that there is no answer, None where not all questions have one; `best` the best thresholds over them
    by metric, where there are questions without an answer and the scores differ.
    """

    rule: RuleName
    questions: tuple[Question, ...]
    answers: tuple[str, ...]
    exact: Floats
    f1: Floats
    no_answer: Floats | None
    best: Mapping[str, "BestThreshold"]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    abstained: tuple[str, ...]

    @property
    def answerable(self) -> NDArray[np.bool_]:
        """Which of the n have an answer."""
        return np.array([bool(one.answers) for one in self.questions], dtype=bool)


def score_questions(
    questions: Sequence[Question],
    predictions: Predictions,
    rule: RuleName,
    *,
    abstain: Iterable[str] = (),
    no_answer_above: float | None = None,
) -> QuestionScores:
    """Score predictions by an official rule.

    `abstain` are phrases that mean "no answer"; an answer that normalises to one counts as the empty answer.
    `no_answer_above`: where the score of a question is larger, it counts as not answered. Raises `SurefootError` where
    predictions and questions have no id in common, and for questions without an answer under a rule that knows none.
    """
    how, answers = READING_RULES[rule], predictions.answers
    ids = [one.id for one in questions]
    missing = dict.fromkeys(name for name in ids if name not in answers)
    _check(questions, predictions, rule, missing)
    counted = [one for one in questions if one.id not in missing] if how.missing == "left out" else questions
    said, silent = _without(abstain, [answers.get(one.id, "") for one in counted], how)
    exact, f1 = _compared(counted, said, how)
    given, known = np.array([one.id not in missing for one in counted]), set(ids)
    sure = predictions.no_answer
    every = bool(sure) and all(one.id in sure for one in counted)
    found = QuestionScores(
        rule=rule,
        questions=tuple(counted),
        answers=tuple(said),
        exact=exact * given,
        f1=f1 * given,
        no_answer=np.array([sure[one.id] for one in counted], dtype=np.float64) if every else None,
        best={},
        missing=tuple(missing),
        extra=tuple(name for name in answers if name not in known),
        abstained=tuple(counted[place].id for place in silent),
    )
    if found.no_answer is not None and not found.answerable.all():
        same = (found.no_answer, found.answerable, found.answers)
        told = {metric: best_threshold(scores, *same) for metric, scores in _metrics(found).items()}
        found = replace(found, best={metric: one for metric, one in told.items() if one is not None})
    return found if no_answer_above is None else _thresholded(found, no_answer_above)


def _without(phrases: Iterable[str], answers: Sequence[str], rule: Rule) -> tuple[Sequence[str], list[int]]:
    """The answers with '' in place of phrases of abstention, and the places of these."""
    wanted = set(normalised(phrases, rule).values()) - {""}
    if not wanted:
        return answers, []
    normal = normalised(answers, rule)
    silent = [normal[text] in wanted for text in answers]
    return ["" if mute else text for text, mute in zip(answers, silent, strict=True)], np.flatnonzero(silent).tolist()


def _compared(questions: Sequence[Question], answers: Sequence[str], rule: Rule) -> tuple[Floats, Floats]:
    """Exact match and F1 of every answer. One that is among the right ones letter by letter needs no more."""
    normal = normalised(answers, rule)
    pairs = list(zip(questions, answers, strict=True))
    clear = [text in one.answers and normal[text] != "" for one, text in pairs]
    golds = (gold for (one, _), done in zip(pairs, clear, strict=True) if not done for gold in one.answers)
    normal |= normalised(golds, rule)
    scores = [
        (1.0, 1.0) if done else scores_of(normal[text], golds_of(one.answers, normal, rule), rule)
        for (one, text), done in zip(pairs, clear, strict=True)
    ]
    exact, f1 = np.array(scores).T
    return exact, f1


def _check(questions: Sequence[Question], predictions: Predictions, rule: RuleName, missing: Collection[str]) -> None:
    if len(missing) == len(questions):
        raise SurefootError(
            f"None of the {len(questions)} questions has a prediction ({len(predictions.answers)} are given): "
            "the predictions are for other data."
        )
    empty = [one.id for one in questions if not one.answers]
    if empty and not READING_RULES[rule].no_answer:
        raise SurefootError(
            f"{len(empty)} questions have no answer (the first is '{empty[0]}'), and the rule '{rule}' scores none "
            "such: score them by 'squad-2.0'."
        )


def _thresholded(found: QuestionScores, most: float) -> QuestionScores:
    """As the script of SQuAD 2.0 does: past the threshold a question counts as right when it has no answer."""
    if found.no_answer is None:
        raise SurefootError("A threshold for 'no answer' needs a score of every question: some or all have none.")
    silent = found.no_answer > most
    right = (~found.answerable).astype(np.float64)
    said = tuple("" if mute else text for text, mute in zip(found.answers, silent, strict=True))
    exact, f1 = (np.where(silent, right, scores) for scores in (found.exact, found.f1))
    return replace(found, answers=said, exact=exact, f1=f1)


@dataclass(frozen=True)
class BestThreshold:
    """The mean score (0 to 1) at the best threshold for "no answer", and that threshold: chosen with answers known."""

    score: float
    threshold: float


def best_threshold(
    scores: Floats, no_answer: Floats, answerable: NDArray[np.bool_], answers: Sequence[str], *, official: bool = False
) -> BestThreshold | None:
    """The threshold that scores best when every question above it counts as not answered; None where none can be told.

    All scores equal tell nothing (such as the zeros of a file without scores). With `official` a threshold may part
    questions of one score, as the script of SQuAD 2.0 has it by the order of its file: none could be applied so.
    """
    order = np.argsort(no_answer, kind="stable")
    sure = no_answer[order]
    if sure[0] == sure[-1]:
        return None
    spoken = np.array([bool(text) for text in answers])
    gains = np.where(answerable, scores, -spoken.astype(np.float64))[order]
    totals = np.concatenate([[0.0], np.cumsum(gains)]) + float((~answerable).sum())
    if not official:
        totals[1:-1][sure[1:] == sure[:-1]] = -np.inf
    best = int(totals.argmax())
    below_all = 0.0 if official else float(np.nextafter(sure[0], -np.inf))
    return BestThreshold(float(totals[best]) / len(scores), float(sure[best - 1]) if best else below_all)


def reading_measurements(found: QuestionScores, *, task: str = "reading", shift: str = "") -> list[Measurement]:
    """`exact_match` and `f1` (0 to 1) with 95 percent intervals, whole articles being the sample.

    Where questions without an answer are among them, also those of the groups `HasAns` and `NoAns`, and with scores for
    "no answer" `best_exact_match` and `best_f1` with `best_exact_match_threshold` and `best_f1_threshold`. Counts:
    `missing`, `extra`, `abstained`.
    """
    groups = {"": np.ones(len(found.questions), dtype=bool)}
    if not found.answerable.all():
        groups |= {"HasAns": found.answerable, "NoAns": ~found.answerable}
    articles = np.array([one.article for one in found.questions])
    means = [
        replace(article_mean(metric, scores[rows], articles[rows]), task=task, shift=shift, group=group)
        for group, rows in groups.items()
        if rows.any()
        for metric, scores in _metrics(found).items()
    ]
    told = Measurement(metric="missing", value=len(found.missing), n=len(found.questions), task=task, shift=shift)
    numbers = {f"best_{metric}": one.score for metric, one in found.best.items()}
    numbers |= {f"best_{metric}_threshold": one.threshold for metric, one in found.best.items()}
    numbers |= {"missing": told.value, "extra": len(found.extra), "abstained": len(found.abstained)}
    return means + [replace(told, metric=name, value=value) for name, value in numbers.items()]


def _metrics(found: QuestionScores) -> dict[str, Floats]:
    return {"exact_match": found.exact, "f1": found.f1}


def article_mean(metric: str, scores: Floats, articles: NDArray[np.str_]) -> Measurement:
    """The mean of n scores from 0 to 1 whose sample are whole articles; one article gives no interval.

    Wilson's interval at the n that the clustered error stands for, its degrees of freedom counted in (Korn and Graubard
    1998); where all scores are equal, at the number of articles.
    """
    n, value = len(scores), float(scores.mean())
    if len(np.unique(articles)) < 2:
        return Measurement(metric=metric, value=value, n=n)
    mean = clustered_mean(scores, articles)
    wider = t_quantile(LEVEL, mean.freedom) / t_quantile(LEVEL, np.inf)
    bounds = share_interval(value, mean.stderr * wider, mean.effective, level=LEVEL)
    return Measurement(metric=metric, value=value, n=n, stderr=mean.stderr, low=bounds.low, high=bounds.high)


def official_report(
    found: QuestionScores, no_answer: Mapping[str, float], *, no_answer_above: float | None = None
) -> dict[str, float]:
    """What the official script of the rule prints, by its keys and in percent; `no_answer` in the order of its file.

    `found` was scored without a threshold. The scripts of SQuAD 1.1 and MRQA print `exact_match` and `f1`; that of
    SQuAD 2.0 `exact`, `f1` and `total`, also of `HasAns` and `NoAns`; with scores for "no answer" past a threshold (1
    by itself), and beside it the best of any.
    """
    if not READING_RULES[found.rule].no_answer:
        return {name: 100 * float(scores.mean()) for name, scores in _metrics(found).items()}
    told: dict[str, float] = {}
    most = 1.0 if no_answer_above is None and found.no_answer is not None else no_answer_above
    applied = found if most is None else _thresholded(found, most)
    groups = {"": np.ones(len(found.exact), dtype=bool), "HasAns_": found.answerable, "NoAns_": ~found.answerable}
    for name, rows in groups.items():
        if rows.any():
            exact, f1 = (100 * float(scores[rows].mean()) for scores in (applied.exact, applied.f1))
            told |= {f"{name}exact": exact, f"{name}f1": f1, f"{name}total": int(rows.sum())}
    place = {one.id: at for at, one in enumerate(found.questions)}
    order = [place[name] for name in no_answer if name in place]
    for metric in found.best:
        assert found.no_answer is not None
        same = (found.no_answer[order], found.answerable[order], [found.answers[row] for row in order])
        best, name = best_threshold(_metrics(found)[metric][order], *same, official=True), metric.removesuffix("_match")
        told |= {f"best_{name}": 100 * best.score, f"best_{name}_thresh": best.threshold} if best else {}
    return told


@dataclass(frozen=True, kw_only=True)
class ReadingScores(Step):
    """Exact match and F1 of predictions by an official rule; asking is another Step: a new scorer asks nothing again.

    `predictions` is a Step whose directory `read_predictions` reads (a reader, or a `PredictionFile`); `questions` one
    that `read_questions` reads. `abstain` and `no_answer_above` are as in `score_questions`; `task` and `shift` are
    written in the measurements. Writes `examples.parquet` (see `write_reading_examples`). Measures what
    `reading_measurements` says. Raises `SurefootError` where they have no question in common.
    """

    predictions: Step
    questions: Step
    rule: RuleName = "squad-1.1"
    abstain: tuple[str, ...] = ()
    no_answer_above: float | None = None
    task: str = "reading"
    shift: str = ""

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Score every question once."""
        found = score_questions(
            read_questions(inputs[self.questions]),
            read_predictions(inputs[self.predictions]),
            self.rule,
            abstain=self.abstain,
            no_answer_above=self.no_answer_above,
        )
        write_reading_examples(out, found)
        return reading_measurements(found, task=self.task, shift=self.shift)


def write_reading_examples(out: Path, found: QuestionScores) -> None:
    """Write `examples.parquet` into a directory: a row a question that counts.

    Columns: example (its id), score (F1, 0 to 1), exact_match (0 or 1), answer, answerable, missing, article and
    paragraph (to cluster by), content (a digest of question, paragraph and right answers).
    """
    missing, rows = set(found.missing), found.questions
    columns = {
        "example": [one.id for one in rows],
        "score": found.f1,
        "exact_match": found.exact,
        "answer": list(found.answers),
        "answerable": found.answerable,
        "missing": [one.id in missing for one in rows],
        "article": [one.article for one in rows],
        "paragraph": [one.paragraph for one in rows],
        "content": [
            sha256("\0".join((one.question, one.context, *one.answers)).encode()).hexdigest()[:16] for one in rows
        ],
    }
    write_examples(out, columns)
