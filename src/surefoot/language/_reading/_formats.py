"""The formats of reading comprehension as rows of one kind; the content says which format it is."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from surefoot.core import SurefootError
from surefoot.language._unpacked import (
    json_of,
    lines_of,
    list_of,
    object_of,
    object_or_none,
    text_of,
    whole_of,
)

QuestionFormat = Literal["squad", "mrqa", "gold-paragraph", "surefoot"]
NOWHERE = -1
"""The start of an answer that does not stand in its paragraph where the file says: right, but no span to train on."""
_KNOWN = "SQuAD (an object with 'data'), MRQA (lines with 'context' and 'qas') or lines with 'question' and 'ctxs'"


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


def parse(data: bytes, shown: str) -> tuple[QuestionFormat, list[Question]]:
    """The format and the questions of a file's bytes; an article may be ''. Raises `SurefootError` that says where."""
    first = data.lstrip(b"\xef\xbb\xbf \t\r\n").split(b"\n", 1)[0]
    start = object_or_none(first)
    if start is not None and "data" not in start:
        return _lines(data, start, shown)
    told = object_of(json_of(data, shown), shown)
    if "data" not in told:
        raise SurefootError(f"{shown} is in no format that I know: expected {_KNOWN}.")
    form: QuestionFormat = "surefoot" if told.get("written_by") == "surefoot" else "squad"
    return form, list(_squad(told, shown))


def digest_of_paragraph(context: str) -> str:
    """Sixteen hexadecimal digits of the SHA-256 of a paragraph."""
    return sha256(context.encode()).hexdigest()[:16]


def _lines(data: bytes, start: dict[str, object], shown: str) -> tuple[QuestionFormat, list[Question]]:
    rows = [(where, object_of(value, where)) for where, value in lines_of(data, shown)]
    if "header" in start or {"context", "qas"} <= start.keys():
        kept = [row for row in rows if "header" not in row[1]]
        return "mrqa", [question for where, row in kept for question in _mrqa(row, where)]
    if {"question", "ctxs"} <= start.keys():
        return "gold-paragraph", [_gold_paragraph(row, where) for where, row in rows]
    raise SurefootError(f"{shown} is in no format that I know: expected {_KNOWN}.")


def _squad(told: dict[str, object], shown: str) -> Iterator[Question]:
    for at, article in enumerate(list_of(told["data"], f"{shown}: 'data'"), start=1):
        where = f"{shown}, article {at}"
        one = object_of(article, where)
        title = text_of(one.get("title", ""), f"{where}: 'title'")
        where = f"{where} ('{title}')" if title else where
        for place, paragraph in enumerate(list_of(one.get("paragraphs"), f"{where}: 'paragraphs'"), start=1):
            yield from _squad_paragraph(object_of(paragraph, where), title, f"{where}, paragraph {place}")


def _squad_paragraph(one: dict[str, object], title: str, where: str) -> Iterator[Question]:
    context = text_of(one.get("context"), f"{where}: 'context'")
    digest = digest_of_paragraph(context)
    for asked in list_of(one.get("qas"), f"{where}: 'qas'"):
        row = object_of(asked, f"{where}: a question")
        name = text_of(row.get("id"), f"{where}: the id of a question")
        at = f"{where}, question '{name}'"
        texts, starts = _squad_answers(row.get("answers"), context, at)
        yield Question(name, text_of(row.get("question"), f"{at}: 'question'"), context, texts, starts, title, digest)


def _squad_answers(value: object, context: str, where: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    answers = [object_of(one, f"{where}: an answer") for one in list_of(value, f"{where}: 'answers'")]
    texts = tuple(text_of(one.get("text"), f"{where}: the text of an answer") for one in answers)
    told = (whole_of(one.get("answer_start"), f"{where}: 'answer_start'") for one in answers)
    pairs = zip(texts, told, strict=True)
    return texts, tuple(at if text and at >= 0 and context.startswith(text, at) else NOWHERE for text, at in pairs)


def _mrqa(row: dict[str, object], where: str) -> Iterator[Question]:
    context = text_of(row.get("context"), f"{where}: 'context'")
    digest = digest_of_paragraph(context)
    for asked in list_of(row.get("qas"), f"{where}: 'qas'"):
        one = object_of(asked, f"{where}: a question")
        name = text_of(one.get("qid", one.get("id")), f"{where}: 'qid'")
        at = f"{where}, question '{name}'"
        spans = _detected(one.get("detected_answers", []), context, at)
        found = [_placed(gold, spans) for gold in _texts(one.get("answers"), at)]
        answers, starts = tuple(text for text, _ in found), tuple(start for _, start in found)
        yield Question(name, text_of(one.get("question"), f"{at}: 'question'"), context, answers, starts, "", digest)


def _texts(value: object, where: str) -> list[str]:
    return [text_of(one, f"{where}: an answer") for one in list_of(value, f"{where}: 'answers'")]


def _detected(value: object, context: str, where: str) -> dict[str, int]:
    """The texts that stand at the spans of characters (last one included), each with its first place."""
    found: dict[str, int] = {}
    for one in list_of(value, f"{where}: 'detected_answers'"):
        spans = object_of(one, f"{where}: a detected answer").get("char_spans")
        for span in list_of(spans, f"{where}: 'char_spans'"):
            ends = [whole_of(end, f"{where}: a span of characters") for end in list_of(span, f"{where}: a span")]
            if len(ends) != 2 or not 0 <= ends[0] <= ends[1] < len(context):
                raise SurefootError(f"{where}: the span {ends} does not lie in its paragraph.")
            found.setdefault(context[ends[0] : ends[1] + 1], ends[0])
    return found


def _placed(gold: str, spans: dict[str, int]) -> tuple[str, int]:
    """An answer and its place, in the spelling of the paragraph where only capitals differ: no score changes."""
    for text, start in spans.items():
        if text.lower() == gold.lower():
            return text, start
    return gold, NOWHERE


def _gold_paragraph(row: dict[str, object], where: str) -> Question:
    """The first passage is the one that answers; an answer that is not literally in it has no place."""
    passages = list_of(row.get("ctxs"), f"{where}: 'ctxs'")
    if not passages:
        raise SurefootError(f"{where} has no passage in 'ctxs'.")
    first = object_of(passages[0], f"{where}: the first passage")
    context = text_of(first.get("text"), f"{where}: the text of the first passage")
    question, digest = text_of(row.get("question"), f"{where}: 'question'"), digest_of_paragraph(context)
    answers = tuple(_texts(row.get("answers"), where))
    own = sha256(f"{question}\0{context}".encode()).hexdigest()[:20]
    name = text_of(row.get("id", own), f"{where}: 'id'")
    title = text_of(first.get("title", ""), f"{where}: the title of the first passage")
    return Question(name, question, context, answers, tuple(map(context.find, answers)), title, digest)
