"""Questions of several hops, read from the formats in which the field keeps them."""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from surefoot.core import SurefootError, write_text
from surefoot.language._unpacked import Row, checked, json_of, rows_of, unpacked

MultiHopFormat = Literal["surefoot", "bamboogle", "compositional-celebrities", "2wikimultihop", "musique", "hotpotqa"]


@dataclass(frozen=True, kw_only=True)
class Hop:
    """A sub-question and its right answers; `supports` are the documents that answer it, by id or title."""

    question: str
    answers: tuple[str, ...]
    supports: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Document:
    """A text that can be searched: `id` is how `supports` and search results name it."""

    id: str
    text: str
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class MultiHopQuestion:
    """A question, its right answers, and the sub-questions that lead there, in order; without these it has no gap.

    `supports` are all documents that are needed, `documents` those that the file gives to search in; `category` chooses
    the prompt where prompts are by category.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    hops: tuple[Hop, ...] = ()
    category: str = ""
    supports: tuple[str, ...] = ()
    documents: tuple[Document, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MultiHopFile:
    """The questions of a file; `left_out` says in a sentence what of it is not among them."""

    format: MultiHopFormat
    questions: tuple[MultiHopQuestion, ...]
    left_out: str = ""


def read_multihop(path: Path | str) -> MultiHopFile:
    """The questions of a file, which may be gzip, in its order.

    The format is told by the content: Bamboogle and Compositional Celebrities with their sub-questions (Q1,
    A1, ...), the official files of 2WikiMultiHopQA, MuSiQue and HotpotQA, or our own lines: `id`, `question`,
    `answers` and, where known, `hops` (each `question`, `answers`, `supports`), `category`, `supports`. The hops of
    2WikiMultiHopQA are its evidences as "What is the RELATION of SUBJECT?"; HotpotQA has none. MuSiQue's references
    (#1) are replaced by the answer. Raises `SurefootError`, naming file and row, for anything else.
    """
    rows = _rows(unpacked(Path(path)), str(path))
    names = rows[0].told.keys()
    chosen: MultiHopFormat | None = next((form for form, (marks, _) in _FORMATS.items() if marks <= names), None)
    if chosen is None:
        raise SurefootError(
            f"{path} is in no format that I know ({', '.join(get_args(MultiHopFormat))}): its first question has the "
            f"names {', '.join(names)[:200]}."
        )
    kept = [row for row in rows if row.told.get("answerable") is not False]
    questions = tuple(map(_FORMATS[chosen][1], kept))
    if not questions:
        raise SurefootError(f"{path} has no question that can be answered.")
    for name, count in Counter(one.id for one in questions).items():
        if count > 1:
            raise SurefootError(f"{path}: the id '{name}' stands there {count} times; each question needs its own.")
    dropped = len(rows) - len(kept)
    left_out = f"{dropped} of {len(rows)} questions are left out: they are marked as unanswerable." * bool(dropped)
    return MultiHopFile(format=chosen, questions=questions, left_out=left_out)


def write_multihop(path: Path, questions: Sequence[MultiHopQuestion]) -> None:
    """Write questions as our own lines, which `read_multihop` gives back; documents go with them."""
    write_text(path, "".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in questions))


def _rows(data: bytes, shown: str) -> list[Row]:
    """Each question's object and where it stands: of a list, of an object with `data`, or of lines."""
    first, *more = data.strip().split(b"\n", 1)
    if first.lstrip(b"\xef\xbb\xbf").startswith(b"{") and first.rstrip().endswith(b"}") and more:
        rows = rows_of(data, shown)
    else:
        told = json_of(data, shown)
        listed = checked(list, told.get("data", [told]) if isinstance(told, dict) else told, f"{shown}: 'data'")
        rows = [Row.of(one, f"{shown}, question {at}") for at, one in enumerate(listed, start=1)]
    if not rows:
        raise SurefootError(f"{shown} holds no questions.")
    return rows


def _asked(row: Row, name: str = "question") -> str:
    text = row.text(name).strip()
    if not text:
        raise SurefootError(f"{row.where}: '{name}' is empty.")
    return text


def _answers(row: Row, *names: str) -> tuple[str, ...]:
    """One text or number, or a list of them, none of them empty."""
    names = names or ("answers", "answer", "golden_answers", "Answer")
    name = next((name for name in names if name in row.told), names[0])
    value, where = row.told.get(name), f"{row.where}: '{name}'"
    if value is None:
        raise SurefootError(f"{where} is missing.")
    given = checked(list, [value] if isinstance(value, (str, int, float)) else value, where)
    texts = tuple(str(one) if type(one) in (int, float) else checked(str, one, where) for one in given)
    if not texts or not all(text.strip() for text in texts):
        raise SurefootError(f"{where} has no answer, or an empty one.")
    return texts


def question_of(row: Row) -> MultiHopQuestion:
    """A question in our own form, from its object."""
    hops = [Row.of(one, f"{row.where}, hop {at}") for at, one in enumerate(row.values("hops", []), start=1)]
    question = _asked(row)
    return MultiHopQuestion(
        id=row.text("id", question),
        question=question,
        answers=_answers(row),
        hops=tuple(
            Hop(question=_asked(one), answers=_answers(one), supports=one.texts("supports", [])) for one in hops
        ),
        category=row.text("category", ""),
        supports=row.texts("supports", []),
        documents=tuple(map(document_of, row.rows("documents", "a document", []))),
    )


def document_of(row: Row) -> Document:
    """A document from an object with `text` (or `contents`) and perhaps `id` and `title`."""
    text, title = _asked(row, "contents" if "contents" in row.told else "text"), row.text("title", "")
    return Document(id=row.text("id", title or text), text=text, title=title)


def _pairs(row: Row) -> MultiHopQuestion:
    """Bamboogle and Compositional Celebrities: Q1 and A1 to the last that there is."""
    question, category = _asked(row, "Question"), row.text("category", "")
    places = [place for place in range(1, 10) if f"Q{place}" in row.told]
    whole = places == [*range(1, len(places) + 1)]  # with one of them missing nobody knows whether all hops are known
    hops = [Hop(question=_asked(row, f"Q{at}"), answers=_answers(row, f"A{at}")) for at in places if whole]
    return MultiHopQuestion(
        id=f"{category}: {question}" if category else question,
        question=question,
        answers=_answers(row),
        hops=tuple(hops),
        category=category,
    )


def _hotpotqa(row: Row) -> MultiHopQuestion:
    """Also 2WikiMultiHopQA. The context is a title and the sentences of its paragraph, each."""
    where = row.where
    facts = [checked(list, one, f"{where}: a supporting fact") for one in row.values("supporting_facts")]
    titles = [checked(str, fact[0] if fact else None, f"{where}: the title of a supporting fact") for fact in facts]
    documents: list[Document] = []
    for one in row.values("context"):
        pair = checked(list, one, f"{where}: a paragraph of 'context'")
        if len(pair) != 2:
            raise SurefootError(f"{where}: a paragraph of 'context' must be a title and a list of sentences.")
        title = checked(str, pair[0], f"{where}: the title of a paragraph")
        text = "".join(Row({title: pair[1]}, where).texts(title))
        documents += [Document(id=title, title=title, text=text)] if text.strip() else []
    hops: list[Hop] = []
    for one in row.values("evidences", []):
        triple = Row({"": one}, where).texts("", what="an evidence")
        if len(triple) != 3 or not all(part.strip() for part in triple):
            raise SurefootError(f"{where}: an evidence must be subject, relation and object.")
        subject, relation, found = triple
        hops.append(Hop(question=f"What is the {relation} of {subject}?", answers=(found,), supports=(subject,)))
    return MultiHopQuestion(
        id=row.text("_id" if "_id" in row.told else "id"),
        question=_asked(row),
        answers=_answers(row, "answer"),
        supports=tuple(dict.fromkeys(titles)),
        documents=tuple(documents),
        hops=tuple(hops),
    )


def _musique(row: Row) -> MultiHopQuestion:
    documents: dict[int, Document] = {}
    for one in row.rows("paragraphs", "a paragraph", []):
        # Two paragraphs of one title are common, and other questions have them too: the text tells which one is meant.
        index, title, text = one.whole("idx", "'idx' of a paragraph"), one.text("title"), _asked(one, "paragraph_text")
        documents[index] = Document(id=f"{title}: {text[:80]}", title=title, text=text)
    hops: list[Hop] = []

    def answer(found: re.Match[str]) -> str:
        """Of the hop that a reference names; a number that is no hop before this one stays."""
        return hops[at].answers[0] if 0 <= (at := int(found[1]) - 1) < len(hops) else found[0]

    for step in row.rows("question_decomposition", "a step of 'question_decomposition'"):
        named = "paragraph_support_idx"
        support = None if step.told.get(named) is None else documents.get(step.whole(named))
        asked = re.sub(r"#(\d+)", answer, _asked(step))
        hops.append(Hop(question=asked, answers=_answers(step, "answer"), supports=(support.id,) if support else ()))
    return MultiHopQuestion(
        id=row.text("id"),
        question=_asked(row),
        answers=(*_answers(row, "answer"), *filter(str.strip, row.texts("answer_aliases", []))),
        hops=tuple(hops),
        supports=tuple(dict.fromkeys(support for hop in hops for support in hop.supports)),
        documents=tuple(documents.values()),
    )


_FORMATS: dict[MultiHopFormat, tuple[set[str], Callable[[Row], MultiHopQuestion]]] = {
    "compositional-celebrities": ({"Question", "Q1", "category"}, _pairs),
    "bamboogle": ({"Question", "Answer"}, _pairs),
    "musique": ({"question_decomposition"}, _musique),
    "2wikimultihop": ({"evidences", "context"}, _hotpotqa),
    "hotpotqa": ({"supporting_facts", "context"}, _hotpotqa),
    "surefoot": ({"question"}, question_of),
}
"""Of each format the names by which the first question tells it, and what reads a question."""
