"""ReaderAnswers: what a reader answers to questions, kept as it comes."""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from surefoot.core import Inputs, Measurement, Step, SurefootError, report_progress, resume_directory
from surefoot.language._reading._predictions import Predictions, write_predictions
from surefoot.language._reading._questions import Question, read_questions
from surefoot.language._reading._readers._encoder import (
    FEW_TOKENS,
    Encoder,
    batch_of,
    best_spans,
    by_length,
    load_encoder,
    question_windows,
)
from surefoot.training import reproducible

QUESTIONS_AT_ONCE = 256
"""After so many questions the answers are on the disk."""


@dataclass(frozen=True)
class Answer:
    """What a reader answers to a question, and how sure it is that there is none (larger is surer; None: unknown).

    `cut` says that not all of the question, its context or its examples fitted into the reader's window; `refused` that
    the reader was not allowed to answer: the question then has no prediction.
    """

    text: str
    no_answer: float | None = None
    cut: bool = False
    refused: bool = False


Answering = Callable[[Sequence[Question]], list[Answer]]


class Reader(Step, ABC):
    """A Step that answers questions by a way of its own; any Step that leaves a span model needs none."""

    @abstractmethod
    def answering(self, inputs: Inputs, out: Path) -> Answering:
        """The function that answers, made once a try of the Step that asks, which is made in `out`."""


@dataclass(frozen=True, kw_only=True)
class ReaderAnswers(Step):
    """The answers of a reader to questions.

    `reader` is a `Reader` (`CausalReader`, `SlidingWindow`, `SpanRegression`) or a Step whose directory is a span model
    (`SpanReader`, `SpanModel`); `questions` one that `read_questions` reads. A span model reads contexts longer than
    `max_tokens` in windows that overlap by `stride` tokens, and answers with the characters of the best span over all
    windows, of at most `longest` tokens: the highest sum of the two unnormalised scores (Devlin et al. 2018,
    1810.04805). `no_answer` is the least score of the classification token over the windows less that of the span:
    above which threshold a reader abstains is for `ReadingScores` to say.

    Answers are kept 256 at a time: a run that was killed asks no finished question again. Files: `predictions.parquet`
    (id, answer, no_answer). Measures `answers`, `cut`: to how many not all fitted into the window, and `refused`.
    Raises `SurefootError` for a model that cannot be read.
    """

    reader: Step
    questions: Step
    max_tokens: int = 384
    stride: int = 128
    longest: int = 30
    threads: int = 1
    requires: ClassVar[tuple[str, ...]] = ("pyarrow",)

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Ask, in parts, and write."""
        questions = read_questions(inputs[self.questions])
        answers = _answered(self, questions, inputs, out)
        by_id = {one.id: answer for one, answer in zip(questions, answers, strict=True) if not answer.refused}
        counts = {"cut": sum(one.cut for one in answers), "refused": len(answers) - len(by_id)}
        scores = {id: one.no_answer for id, one in by_id.items() if one.no_answer is not None}
        write_predictions(out, Predictions({id: one.text for id, one in by_id.items()}, scores))
        return [
            Measurement(metric="answers", value=len(by_id), n=len(by_id)),
            *(Measurement(metric=name, value=count, n=len(answers)) for name, count in counts.items()),
        ]


def span_answers(
    encoder: Encoder, questions: Sequence[Question], *, max_tokens: int = 384, stride: int = 128, longest: int = 30
) -> list[Answer]:
    """What a span model answers to each question; see `ReaderAnswers`."""
    import torch

    windows = question_windows(encoder, questions, max_tokens, stride)
    score, none = np.full(len(windows.ids), -np.inf), np.full(len(windows.ids), np.inf)
    ends = np.zeros((len(windows.ids), 2), np.int64)
    with torch.inference_mode():
        for rows in by_length(windows, np.arange(len(windows.ids)), FEW_TOKENS):
            batch = batch_of(windows, rows.tolist(), encoder.tokenizer.pad_token_id)
            told = encoder.model(**batch)
            found = best_spans(told.start_logits, told.end_logits, windows, rows.tolist(), longest)
            score[rows], none[rows] = found.score, found.no_answer
            for place, row in enumerate(rows):
                offsets = windows.offsets[row]
                ends[row] = offsets[found.first[place], 0], offsets[found.last[place], 1]
    if not np.isfinite(score).all():
        raise SurefootError("The model's scores are not finite: its weights are damaged, or it diverged.")
    least = np.full(len(questions), np.inf)
    np.minimum.at(least, windows.question, none)
    # Of the windows of a question the one with the best span; of equal ones the first.
    order = np.lexsort((np.arange(len(score)), -score, windows.question))
    best = order[np.unique(windows.question[order], return_index=True)[1]]
    found = zip(questions, best, least - score[best], strict=True)
    return [
        Answer(one.context[ends[row, 0] : ends[row, 1]].strip(), float(none), cut=place in windows.cut)
        for place, (one, row, none) in enumerate(found)
    ]


def _answered(step: ReaderAnswers, questions: Sequence[Question], inputs: Inputs, out: Path) -> list[Answer]:
    """All answers: those that a killed try left, but for a last line that was cut short, then the others by parts."""
    log, answers = resume_directory(out) / "answers.jsonl", list[Answer]()
    if log.is_file():
        os.truncate(log, log.read_bytes().rfind(b"\n") + 1)
        answers = [Answer(**row) for line in log.read_bytes().splitlines() for row in json.loads(line)]
    if len(answers) < len(questions):
        answering = _answering(step, inputs, out)
        with log.open("a", encoding="utf-8") as stream:
            for begin in range(len(answers), len(questions), QUESTIONS_AT_ONCE):
                part = answering(questions[begin : begin + QUESTIONS_AT_ONCE])
                answers += part
                stream.write(json.dumps([asdict(one) for one in part]) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
                report_progress(out, len(answers), len(questions))
    return answers


def _answering(step: ReaderAnswers, inputs: Inputs, out: Path) -> Answering:
    if isinstance(step.reader, Reader):
        return step.reader.answering(inputs, out)
    encoder = load_encoder(inputs[step.reader])
    if encoder.untrained:
        raise SurefootError(
            f"{step.reader.kind} {step.reader.key} is no span model: its files lack {', '.join(encoder.untrained)}. "
            "Train one with surefoot reading train."
        )

    def answering(questions: Sequence[Question]) -> list[Answer]:
        with reproducible(step.threads):
            options = {"max_tokens": step.max_tokens, "stride": step.stride, "longest": step.longest}
            return span_answers(encoder, questions, **options)

    return answering
