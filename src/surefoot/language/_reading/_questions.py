"""Questions on paragraphs, read from the formats in which the field keeps them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from surefoot.core import SurefootError, write_text
from surefoot.language._reading._formats import NOWHERE, Question, QuestionFormat, parse
from surefoot.language._reading._unpacked import unpacked

QUESTIONS = "questions.json"


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
