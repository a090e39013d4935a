"""ReadingScores: how well predictions answer questions."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from surefoot.core import Inputs, Measurement, Step
from surefoot.examples import write_examples
from surefoot.language._reading._formats import Question
from surefoot.language._reading._predictions import read_predictions
from surefoot.language._reading._questions import read_questions
from surefoot.language._reading._rules import RuleName
from surefoot.language._reading._scored import QuestionScores, reading_measurements, score_questions


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
        "content": [_content(one) for one in rows],
    }
    write_examples(out, columns)


def _content(one: Question) -> str:
    return sha256("\0".join((one.question, one.context, *one.answers)).encode()).hexdigest()[:16]
