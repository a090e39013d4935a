"""Questions on paragraphs, read from the formats in which the field keeps them, and Steps that hand them on."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Literal

from surefoot.core import Inputs, Measurement, Step, SurefootError, UserFile, check_pinned, write_text
from surefoot.language._unpacked import Row, checked, json_of, object_or_none, parquet_rows, rows_of, unpacked
from surefoot.stats import shuffled

QUESTIONS = "questions.json"
QuestionPart = Literal["all", "train", "held-out"]
QuestionFormat = Literal["squad", "mrqa", "gold-paragraph", "surefoot"]
Answers = tuple[tuple[str, ...], tuple[int, ...]]
NOWHERE = -1
"""The start of an answer that does not stand in its paragraph where the file says: right, but no span to train on."""
_KNOWN = (
    "SQuAD (an object with 'data', or rows with 'id', 'context', 'question' and 'answers'), MRQA (lines with 'context' "
    "and 'qas') or lines with 'question' and 'ctxs'"
)


@dataclass(frozen=True)
class Question:
    """A question on a paragraph and its right answers; none means that the paragraph does not answer it.

    `starts` has for each answer the place of its first character in `context`, or `NOWHERE`. `article` is what the
    paragraph was taken from (a title), `paragraph` a short digest of the context: questions of one are not independent.
    """

    id: str
    question: str
    context: str
    answers: tuple[str, ...]
    starts: tuple[int, ...]
    article: str
    paragraph: str


def read_questions(path: Path | str) -> list[Question]:
    """The questions of a file, or of the directory that a Step wrote, in the order of the file.

    The format is told by the content: SQuAD 1.1 or 2.0 (also SquadShifts, XQuAD), nested as published or a question a
    row as the hub has it (Parquet, lines, a list), MRQA lines, lines of Natural Questions with the gold paragraph
    marked or first; JSON each also as gzip. An answer that is not at its start is kept,
    with the start `NOWHERE`. Where all paragraphs have one title, or none, each is an article of its own.
    Raises `SurefootError`, naming file, article and question, for anything else, for an id that stands twice, and for
    files of more than 256 MiB, or 1 GiB unpacked.
    """
    return read_question_file(path)[1]


def read_question_file(path: Path | str) -> tuple[QuestionFormat, list[Question]]:
    """The name of the format as well."""
    file = Path(path) / QUESTIONS if Path(path).is_dir() else Path(path)
    form, rows = _parsed(file, str(path))
    if not rows:
        raise SurefootError(f"{path} holds no questions.")
    # One title for all paragraphs of a file says nothing of what belongs together.
    titled = form == "surefoot" or len({row.article for row in rows}) > 1 or len({row.paragraph for row in rows}) == 1
    first: dict[str, Question] = {}
    for row in rows:
        title = row.article or row.paragraph if titled else f"{row.article}/{row.paragraph}".lstrip("/")
        one = row if title == row.article else replace(row, article=title)
        if first.setdefault(one.id, one) is not one:
            where = " and ".join(f"'{article}'" for article in dict.fromkeys((first[one.id].article, title)))
            raise SurefootError(f"{path}: the question '{one.id}' stands twice, in {where}: ids must be unique.")
    return form, list(first.values())


def _parsed(file: Path, shown: str) -> tuple[QuestionFormat, list[Question]]:
    """The format and the questions of a file; an article may be ''."""
    data = unpacked(file)
    start = object_or_none(data.lstrip(b"\xef\xbb\xbf \t\r\n").split(b"\n", 1)[0])
    if data.startswith(b"PAR1"):
        rows = _numbered(parquet_rows(file), shown)
    elif start is None or "data" in start:
        told = json_of(data, shown)
        if isinstance(told, dict) and "data" in told:
            return "surefoot" if told.get("written_by") == "surefoot" else "squad", list(_squad(Row(told, shown)))
        rows = _numbered(told if isinstance(told, list) else [told], shown)
    else:
        rows = rows_of(data, shown)
    first = rows[0].told if rows else {}
    if "header" in first or {"context", "qas"} <= first.keys():
        kept = [row for row in rows if "header" not in row.told]
        return "mrqa", [one for row in kept for one in _of_paragraph(row, "", mrqa=True)]
    if {"question", "ctxs"} <= first.keys():
        return "gold-paragraph", list(map(_of_gold_paragraph, rows))
    if {"id", "context", "question", "answers"} <= first.keys():
        return "squad", list(map(_of_row, rows))
    raise SurefootError(f"{shown} is in no format that I know: expected {_KNOWN}.")


def _numbered(values: Sequence[object], shown: str) -> list[Row]:
    return [Row.of(value, f"{shown}, row {number}") for number, value in enumerate(values, start=1)]


def _of_row(row: Row) -> Question:
    """A question of SQuAD with its paragraph; a title may be null, as in a Parquet file that has none."""
    one, context = Row(row.told, f"{row.where}, question '{row.text('id')}'"), row.text("context")
    read = _squad_answers if isinstance(row.told.get("answers"), list) else _answers_side_by_side
    title = "" if row.told.get("title") is None else one.text("title")
    return Question(
        row.text("id"), one.text("question"), context, *read(one, context), title, digest_of_paragraph(context)
    )


def _answers_side_by_side(row: Row, context: str) -> Answers:
    """Answers as an object of two lists, `text` and `answer_start`."""
    given = Row.of(row.told.get("answers"), f"{row.where}: 'answers'")
    texts, starts = given.texts("text"), given.values("answer_start")
    if len(texts) != len(starts):
        raise SurefootError(f"{given.where} has {len(texts)} texts and {len(starts)} starts: each text needs its own.")
    return _placed(texts, [checked(int, start, f"{given.where}: 'answer_start'") for start in starts], context)


def _squad(told: Row) -> Iterator[Question]:
    for at, article in enumerate(told.values("data"), start=1):
        one = Row.of(article, f"{told.where}, article {at}")
        title = one.text("title", "")
        named = Row(one.told, f"{one.where} ('{title}')" if title else one.where)
        for place, paragraph in enumerate(named.values("paragraphs"), start=1):
            yield from _of_paragraph(Row.of(paragraph, f"{named.where}, paragraph {place}"), title, mrqa=False)


def _of_paragraph(row: Row, title: str, *, mrqa: bool) -> Iterator[Question]:
    context = row.text("context")
    digest = digest_of_paragraph(context)
    for asked in row.rows("qas", "a question"):
        key = "qid" if mrqa and "qid" in asked.told else "id"
        name = Row(asked.told, row.where).text(key, what="the id of a question")
        one = Row(asked.told, f"{row.where}, question '{name}'")
        answers, starts = _mrqa_answers(one, context) if mrqa else _squad_answers(one, context)
        yield Question(name, one.text("question"), context, answers, starts, title, digest)


def digest_of_paragraph(context: str) -> str:
    """Sixteen hexadecimal digits of the SHA-256 of a paragraph."""
    return sha256(context.encode()).hexdigest()[:16]


def _squad_answers(row: Row, context: str) -> Answers:
    given = [Row(one.told, row.where) for one in row.rows("answers", "an answer")]
    texts = tuple(one.text("text", what="the text of an answer") for one in given)
    return _placed(texts, [one.whole("answer_start") for one in given], context)


def _placed(texts: tuple[str, ...], starts: Sequence[int], context: str) -> Answers:
    """The answers, each with its start where it stands there."""
    pairs = zip(texts, starts, strict=True)
    return texts, tuple(at if text and at >= 0 and context.startswith(text, at) else NOWHERE for text, at in pairs)


def _mrqa_answers(row: Row, context: str) -> Answers:
    """Right answers and their places, in the spelling of the paragraph where only capitals differ: no score changes."""
    spans: dict[str, tuple[str, int]] = {}
    for one in row.rows("detected_answers", "a detected answer", []):
        for span in one.values("char_spans"):
            both = checked(list, span, f"{row.where}: a span")
            ends = [checked(int, end, f"{row.where}: a span of characters") for end in both]
            if len(ends) != 2 or not 0 <= ends[0] <= ends[1] < len(context):
                raise SurefootError(f"{row.where}: the span {ends} does not lie in its paragraph.")
            text = context[ends[0] : ends[1] + 1]
            spans.setdefault(text.lower(), (text, ends[0]))
    found = [spans.get(gold.lower(), (gold, NOWHERE)) for gold in row.texts("answers", what="an answer")]
    return tuple(text for text, _ in found), tuple(start for _, start in found)


def _of_gold_paragraph(row: Row) -> Question:
    """The passage marked `isgold`, else the first, answers; an answer that is not literally in it has no place."""
    passages = row.rows("ctxs", "a passage")
    if not passages:
        raise SurefootError(f"{row.where} has no passage in 'ctxs'.")
    marks = [one.told.get("isgold", False) for one in passages]
    if not all(isinstance(mark, bool) for mark in marks):
        raise SurefootError(f"{row.where}: 'isgold' must be true or false.")
    gold = passages[marks.index(True) if True in marks else 0]
    context, question, answers = gold.text("text"), row.text("question"), row.texts("answers", what="an answer")
    name = row.text("id", sha256(f"{question}\0{context}".encode()).hexdigest()[:20])
    title, starts = gold.text("title", ""), tuple(map(context.find, answers))
    return Question(name, question, context, answers, starts, title, digest_of_paragraph(context))


def count_questions(questions: Sequence[Question]) -> dict[str, int]:
    """How many questions, articles, paragraphs, answers there are; and how many are not as they should be.

    `nowhere` answers do not stand in their paragraph where the file says, `untrainable` questions have answers and none
    of them does.
    """
    starts = [one.starts for one in questions if one.answers]
    return {
        "questions": len(questions),
        "articles": len({one.article for one in questions}),
        "paragraphs": len({one.paragraph for one in questions}),
        "answerable": len(starts),
        "unanswerable": len(questions) - len(starts),
        "answers": sum(map(len, starts)),
        "nowhere": sum(one.count(NOWHERE) for one in starts),
        "untrainable": sum(set(one) == {NOWHERE} for one in starts),
    }


def write_questions(out: Path, questions: Iterable[Question]) -> None:
    """Write `questions.json` into a directory: SQuAD 2.0, which other tools read too."""
    articles = [
        {
            "title": title,
            "paragraphs": [
                {"context": context, "qas": list(map(_asked, own))}
                for context, own in groupby(rows, key=lambda row: row.context)
            ],
        }
        for title, rows in groupby(questions, key=lambda row: row.article)
    ]
    told = {"version": "v2.0", "written_by": "surefoot", "data": articles}
    write_text(out / QUESTIONS, json.dumps(told, ensure_ascii=False, indent=1) + "\n")


def _asked(one: Question) -> dict[str, object]:
    answers = [{"text": text, "answer_start": start} for text, start in zip(one.answers, one.starts, strict=True)]
    return {"id": one.id, "question": one.question, "answers": answers, "is_impossible": not answers}


@dataclass(frozen=True, kw_only=True)
class QuestionFile(UserFile):
    """Questions of the user in a format that `read_questions` knows: `QuestionFile(path="dev.json").pinned()`.

    Files: `questions.json`. Measures what `count_questions` counts. Raises `SurefootError` for what cannot be read, and
    when the file has changed since the digest was taken.
    """

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
        every = read_questions(inputs[self.questions])
        part = question_part(every, self.part, held_out=self.held_out, split_seed=self.split_seed)
        if self.n is None:
            return _written(out, part)
        if not 1 <= self.n <= len(part):
            raise SurefootError(f"n is {self.n}: there are {len(part)} questions to draw from.")
        chosen = set(shuffled((one.id for one in part), self.seed)[: self.n])
        return _written(out, [one for one in part if one.id in chosen])


def question_part(
    questions: Sequence[Question], part: QuestionPart, *, held_out: float = 0.2, split_seed: int = 0
) -> list[Question]:
    """All questions, or those of the articles that are held out, or of the others; see `QuestionSample`."""
    if not 0 < held_out < 1:
        raise SurefootError(f"held_out is {held_out}: it is a share of the articles, between 0 and 1.")
    if part == "all":
        return list(questions)
    digests = {one.article: sha256(f"{split_seed}:{one.article}".encode()).digest() for one in questions}
    out = {article for article, digest in digests.items() if int.from_bytes(digest[:8]) / 2**64 < held_out}
    found = [one for one in questions if (one.article in out) == (part == "held-out")]
    if not found:
        raise SurefootError(f"The part '{part}' has no article at held_out {held_out}: change it or split_seed.")
    return found


def _written(out: Path, questions: Sequence[Question]) -> list[Measurement]:
    write_questions(out, questions)
    counts = count_questions(questions)
    return [Measurement(metric=name, value=count, n=len(questions)) for name, count in counts.items()]
