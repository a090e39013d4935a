"""Questions on paragraphs, read from the formats in which the field keeps them, and Steps that hand them on."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Literal, Self

from surefoot.core import Inputs, Measurement, Step, SurefootError, check_pinned, digest_of, unkeyed, write_text
from surefoot.language._reading._formats import NOWHERE, Question, QuestionFormat, parse
from surefoot.language._unpacked import unpacked
from surefoot.stats import shuffled

QUESTIONS = "questions.json"
QuestionPart = Literal["all", "train", "held-out"]


@dataclass(frozen=True)
class QuestionCounts:
    """What a set of questions holds: `nowhere` answers do not stand where they should, `untrainable` questions have
    answers and none of them does.
    """

    questions: int
    articles: int
    paragraphs: int
    answerable: int
    unanswerable: int
    answers: int
    nowhere: int
    untrainable: int


def read_questions(path: Path | str) -> list[Question]:
    """The questions of a file, or of the directory that a Step wrote, in the order of the file.

    The format is told by the content: SQuAD 1.1 or 2.0 (also SquadShifts, XQuAD), MRQA lines, lines of Natural
    Questions with the gold paragraph first; each also as gzip. An answer that is not at its start is kept, with the
    start `NOWHERE`. Where all paragraphs have one title, or none, each is an article of its own.
    Raises `SurefootError`, naming file, article and question, for anything else, for an id that stands twice, and for
    files of more than 256 MiB, or 1 GiB unpacked.
    """
    return read_question_file(path)[1]


def read_question_file(path: Path | str) -> tuple[QuestionFormat, list[Question]]:
    """The name of the format as well."""
    file = Path(path) / QUESTIONS if Path(path).is_dir() else Path(path)
    form, rows = parse(unpacked(file), str(path))
    questions = _articles(rows, whole=form == "surefoot")
    if not questions:
        raise SurefootError(f"{path} holds no questions.")
    _refuse_twins(questions, str(path))
    return form, questions


def count_questions(questions: Sequence[Question]) -> QuestionCounts:
    """How many questions, articles, answers there are, and how many answers do not stand in their paragraph."""
    starts = [one.starts for one in questions if one.answers]
    return QuestionCounts(
        questions=len(questions),
        articles=len({one.article for one in questions}),
        paragraphs=len({one.paragraph for one in questions}),
        answerable=len(starts),
        unanswerable=len(questions) - len(starts),
        answers=sum(map(len, starts)),
        nowhere=sum(one.count(NOWHERE) for one in starts),
        untrainable=sum(set(one) == {NOWHERE} for one in starts),
    )


def write_questions(out: Path, questions: Iterable[Question]) -> None:
    """Write `questions.json` into a directory: SQuAD 2.0, which other tools read too."""
    articles = [
        {"title": title, "paragraphs": [_paragraph(*one) for one in groupby(rows, key=lambda row: row.context)]}
        for title, rows in groupby(questions, key=lambda row: row.article)
    ]
    told = {"version": "v2.0", "written_by": "surefoot", "data": articles}
    write_text(out / QUESTIONS, json.dumps(told, ensure_ascii=False, indent=1) + "\n")


def _paragraph(context: str, questions: Iterable[Question]) -> dict[str, object]:
    return {"context": context, "qas": [_asked(one) for one in questions]}


def _asked(one: Question) -> dict[str, object]:
    answers = [{"text": text, "answer_start": start} for text, start in zip(one.answers, one.starts, strict=True)]
    return {"id": one.id, "question": one.question, "answers": answers, "is_impossible": not answers}


def _articles(rows: list[Question], *, whole: bool) -> list[Question]:
    """With an article each: one title for all paragraphs of a file says nothing of what belongs together."""
    if whole or len({row.article for row in rows}) > 1 or len({row.paragraph for row in rows}) == 1:
        return [row if row.article else replace(row, article=row.paragraph) for row in rows]
    return [replace(row, article=f"{row.article}/{row.paragraph}".lstrip("/")) for row in rows]


def _refuse_twins(questions: Sequence[Question], shown: str) -> None:
    first: dict[str, Question] = {}
    for one in questions:
        if first.setdefault(one.id, one) is not one:
            where = " and ".join(f"'{article}'" for article in dict.fromkeys((first[one.id].article, one.article)))
            raise SurefootError(f"{shown}: the question '{one.id}' stands twice, in {where}: ids must be unique.")


@dataclass(frozen=True, kw_only=True)
class QuestionFile(Step):
    """Questions of the user in a format that `read_questions` knows: `QuestionFile(path="dev.json").pinned()`.

    Files: `questions.json`. Measures what `count_questions` counts. Raises `SurefootError` for what cannot be read, and
    when the file has changed since the digest was taken.
    """

    path: str = unkeyed("")
    digest: str = ""

    def pinned(self) -> Self:
        """With the whole path and the digest of the file as it is now. Raises for what cannot be read."""
        path = Path(self.path).resolve()
        return replace(self, path=str(path), digest=digest_of(path))

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Read, check, write down in one format."""
        check_pinned(self)
        return _written(out, read_questions(self.path))


@dataclass(frozen=True, kw_only=True)
class QuestionSample(Step):
    """Questions out of others: a part by article, and of that `n` drawn by `seed`; None takes all.

    Whether an article is held out depends on its title and `split_seed` alone, so that one title is on the same side in
    every file (XQuAD has paragraphs of SQuAD); about the share `held_out` of the articles is. A larger `n` of one seed
    contains a smaller one. Files: `questions.json`, in the order of the source. Measures what `count_questions` counts.
    Raises `SurefootError` when a part is empty, and for more questions than there are.
    """

    questions: Step
    part: QuestionPart = "all"
    n: int | None = None
    seed: int = 0
    held_out: float = 0.2
    split_seed: int = 0

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Read, split, draw, write."""
        part = question_part(
            read_questions(inputs[self.questions]), self.part, held_out=self.held_out, split_seed=self.split_seed
        )
        return _written(out, part if self.n is None else _drawn(part, self.n, self.seed))


def question_part(
    questions: Sequence[Question], part: QuestionPart, *, held_out: float = 0.2, split_seed: int = 0
) -> list[Question]:
    """All questions, or those of the articles that are held out, or of the others; see `QuestionSample`."""
    if not 0 < held_out < 1:
        raise SurefootError(f"held_out is {held_out}: it is a share of the articles, between 0 and 1.")
    if part == "all":
        return list(questions)
    out = {one.article for one in questions if _place(one.article, split_seed) < held_out}
    found = [one for one in questions if (one.article in out) == (part == "held-out")]
    if not found:
        raise SurefootError(f"The part '{part}' has no article at held_out {held_out}: change it or split_seed.")
    return found


def _place(article: str, seed: int) -> float:
    """Where a title falls between 0 and 1."""
    return int.from_bytes(sha256(f"{seed}:{article}".encode()).digest()[:8]) / 2**64


def _drawn(questions: Sequence[Question], n: int, seed: int) -> list[Question]:
    if not 1 <= n <= len(questions):
        raise SurefootError(f"n is {n}: there are {len(questions)} questions to draw from.")
    chosen = set(shuffled((one.id for one in questions), seed)[:n])
    return [one for one in questions if one.id in chosen]


def _written(out: Path, questions: Sequence[Question]) -> list[Measurement]:
    write_questions(out, questions)
    counts = asdict(count_questions(questions))
    return [Measurement(metric=name, value=count, n=len(questions)) for name, count in counts.items()]
