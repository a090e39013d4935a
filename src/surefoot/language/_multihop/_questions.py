"""Questions of several hops, read from the formats in which the field keeps them."""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from surefoot.core import SurefootError, write_text
from surefoot.language._unpacked import (
    json_of,
    lines_of,
    list_of,
    object_of,
    text_of,
    unpacked,
    whole_of,
)

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


_Row = tuple[str, dict[str, object]]


def read_multihop(path: Path | str, format: MultiHopFormat | None = None) -> MultiHopFile:
    """The questions of a file, which may be gzip, in its order.

    The format is told by the content, or named: Bamboogle and Compositional Celebrities with their sub-questions (Q1,
    A1, ...), the official files of 2WikiMultiHopQA, MuSiQue and HotpotQA, or our own lines: `id`, `question`,
    `answers` and, where known, `hops` (each `question`, `answers`, `supports`), `category`, `supports`. The hops of
    2WikiMultiHopQA are its evidences as "What is the RELATION of SUBJECT?"; HotpotQA has none. MuSiQue's references
    (#1) are replaced by the answer. Raises `SurefootError`, naming file and row, for anything else.
    """
    data = unpacked(Path(path))
    rows = _rows(data, str(path))
    chosen = format or _told(rows[0][1], str(path))
    if chosen not in _READERS:
        raise SurefootError(f"There is no format '{chosen}' of questions; there is {', '.join(_READERS)}.")
    kept = [row for row in rows if row[1].get("answerable") is not False]
    questions = tuple(_READERS[chosen](row, where) for where, row in kept)
    if not questions:
        raise SurefootError(f"{path} has no question that can be answered.")
    for name, count in Counter(one.id for one in questions).items():
        if count > 1:
            raise SurefootError(f"{path}: the id '{name}' stands there {count} times; each question needs its own.")
    dropped = len(rows) - len(kept)
    return MultiHopFile(
        format=chosen,
        questions=questions,
        left_out=f"{dropped} of {len(rows)} questions are left out: they are marked as unanswerable." * bool(dropped),
    )


def write_multihop(path: Path, questions: Sequence[MultiHopQuestion]) -> None:
    """Write questions as our own lines, which `read_multihop` gives back; documents go with them."""
    write_text(path, "".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in questions))


def _rows(data: bytes, shown: str) -> list[_Row]:
    """Where each question stands, and its object: of a list, of an object with `data`, or of lines."""
    first, *more = data.strip().split(b"\n", 1)
    if first.lstrip(b"\xef\xbb\xbf").startswith(b"{") and first.rstrip().endswith(b"}") and more:
        rows = lines_of(data, shown)
    else:
        told = json_of(data, shown)
        listed = told.get("data", [told]) if isinstance(told, dict) else told
        rows = [(f"{shown}, question {at}", one) for at, one in enumerate(list_of(listed, f"{shown}: 'data'"), start=1)]
    if not rows:
        raise SurefootError(f"{shown} holds no questions.")
    return [(where, object_of(one, where)) for where, one in rows]


def _told(row: dict[str, object], shown: str) -> MultiHopFormat:
    """The format whose names the first question has."""
    marks: dict[MultiHopFormat, set[str]] = {
        "compositional-celebrities": {"Question", "Q1", "category"},
        "bamboogle": {"Question", "Answer"},
        "musique": {"question_decomposition"},
        "2wikimultihop": {"evidences", "context"},
        "hotpotqa": {"supporting_facts", "context"},
        "surefoot": {"question"},
    }
    found: MultiHopFormat | None = next((form for form, names in marks.items() if names <= row.keys()), None)
    if found is None:
        raise SurefootError(
            f"{shown} is in no format that I know ({', '.join(get_args(MultiHopFormat))}): its first question has the "
            f"names {', '.join(row)[:200]}."
        )
    return found


def _texts(value: object, where: str) -> tuple[str, ...]:
    """One text or number, or a list of them, none of them empty."""
    given = list_of([value] if isinstance(value, (str, int, float)) else value, where)
    texts = tuple(str(one) if type(one) in (int, float) else text_of(one, where) for one in given)
    if not texts or not all(text.strip() for text in texts):
        raise SurefootError(f"{where} has no answer, or an empty one.")
    return texts


def _asked(row: dict[str, object], name: str, where: str) -> str:
    text = text_of(row.get(name), f"{where}: '{name}'")
    if not text.strip():
        raise SurefootError(f"{where}: '{name}' is empty.")
    return text.strip()


def _answers(row: dict[str, object], where: str) -> tuple[str, ...]:
    names = ("answers", "answer", "golden_answers", "Answer")
    name = next((name for name in names if name in row), names[0])
    return _texts(row.get(name), f"{where}: '{name}'")


def _named(value: object, where: str) -> tuple[str, ...]:
    return tuple(text_of(one, where) for one in list_of(value, where))


def question_of(row: dict[str, object], where: str) -> MultiHopQuestion:
    """A question in our own form, from its object."""
    hops = [
        (f"{where}, hop {at}", object_of(one, f"{where}, hop {at}"))
        for at, one in enumerate(list_of(row.get("hops", []), f"{where}: 'hops'"), start=1)
    ]
    documents = [object_of(one, f"{where}: a document") for one in list_of(row.get("documents", []), where)]
    question = _asked(row, "question", where)
    return MultiHopQuestion(
        id=text_of(row.get("id", question), f"{where}: 'id'"),
        question=question,
        answers=_answers(row, where),
        hops=tuple(
            Hop(
                question=_asked(hop, "question", at),
                answers=_answers(hop, at),
                supports=_named(hop.get("supports", []), f"{at}: 'supports'"),
            )
            for at, hop in hops
        ),
        category=text_of(row.get("category", ""), f"{where}: 'category'"),
        supports=_named(row.get("supports", []), f"{where}: 'supports'"),
        documents=tuple(document_of(one, f"{where}: a document") for one in documents),
    )


def document_of(row: dict[str, object], where: str) -> Document:
    """A document from an object with `text` (or `contents`) and perhaps `id` and `title`."""
    text = _asked(row, "contents" if "contents" in row else "text", where)
    title = text_of(row.get("title", ""), f"{where}: 'title'")
    return Document(id=text_of(row.get("id", title or text), f"{where}: 'id'"), text=text, title=title)


def _pairs(row: dict[str, object], where: str) -> MultiHopQuestion:
    """Bamboogle and Compositional Celebrities: Q1 and A1 to the last that there is."""
    places = [place for place in range(1, 10) if f"Q{place}" in row]
    question = _asked(row, "Question", where)
    category = text_of(row.get("category", ""), f"{where}: 'category'")
    return MultiHopQuestion(
        id=f"{category}: {question}" if category else question,
        question=question,
        answers=_answers(row, where),
        hops=tuple(
            Hop(question=_asked(row, f"Q{place}", where), answers=_texts(row.get(f"A{place}"), f"{where}: 'A{place}'"))
            for place in places
        ),
        category=category,
    )


def _paragraphs(row: dict[str, object], where: str) -> tuple[Document, ...]:
    """HotpotQA's context: a title and the sentences of its paragraph, each."""
    found: list[Document] = []
    for one in list_of(row.get("context"), f"{where}: 'context'"):
        pair = list_of(one, f"{where}: a paragraph of 'context'")
        if len(pair) != 2:
            raise SurefootError(f"{where}: a paragraph of 'context' must be a title and a list of sentences.")
        title = text_of(pair[0], f"{where}: the title of a paragraph")
        text = "".join(_named(pair[1], f"{where}: the sentences of '{title}'"))
        found += [Document(id=title, title=title, text=text)] if text.strip() else []
    return tuple(found)


def _hotpotqa(row: dict[str, object], where: str) -> MultiHopQuestion:
    facts = [list_of(one, f"{where}: a supporting fact") for one in list_of(row.get("supporting_facts"), where)]
    titles = [text_of(fact[0] if fact else None, f"{where}: the title of a supporting fact") for fact in facts]
    return MultiHopQuestion(
        id=text_of(row.get("_id", row.get("id")), f"{where}: '_id'"),
        question=_asked(row, "question", where),
        answers=_answers(row, where),
        supports=tuple(dict.fromkeys(titles)),
        documents=_paragraphs(row, where),
        hops=tuple(_evidence(one, where) for one in list_of(row.get("evidences", []), f"{where}: 'evidences'")),
    )


def _evidence(value: object, where: str) -> Hop:
    triple = _named(value, f"{where}: an evidence")
    if len(triple) != 3 or not all(part.strip() for part in triple):
        raise SurefootError(f"{where}: an evidence must be subject, relation and object.")
    subject, relation, found = triple
    return Hop(question=f"What is the {relation} of {subject}?", answers=(found,), supports=(subject,))


def _musique(row: dict[str, object], where: str) -> MultiHopQuestion:
    told = [object_of(one, f"{where}: a paragraph") for one in list_of(row.get("paragraphs", []), where)]
    number_of = {whole_of(one.get("idx"), f"{where}: 'idx' of a paragraph"): place for place, one in enumerate(told)}
    # Two paragraphs of one title are common, and other questions have them too: the text tells which one is meant.
    documents = [
        Document(
            id=f"{text_of(one.get('title'), where)}: {_asked(one, 'paragraph_text', where)[:80]}",
            title=text_of(one.get("title"), where),
            text=_asked(one, "paragraph_text", where),
        )
        for one in told
    ]
    ids = {index: documents[place].id for index, place in number_of.items()}
    hops: list[Hop] = []
    for one in list_of(row.get("question_decomposition"), f"{where}: 'question_decomposition'"):
        step = object_of(one, f"{where}: a step of 'question_decomposition'")
        asked = re.sub(r"#(\d+)", _replacement(hops), _asked(step, "question", where))
        support = step.get("paragraph_support_idx")
        supports = () if support is None else (ids.get(whole_of(support, f"{where}: 'paragraph_support_idx'"), ""),)
        hops.append(Hop(question=asked, answers=_answers(step, where), supports=tuple(filter(None, supports))))
    aliases = _named(row.get("answer_aliases", []), f"{where}: 'answer_aliases'")
    return MultiHopQuestion(
        id=text_of(row.get("id"), f"{where}: 'id'"),
        question=_asked(row, "question", where),
        answers=(*_answers(row, where), *filter(str.strip, aliases)),
        hops=tuple(hops),
        supports=tuple(dict.fromkeys(support for hop in hops for support in hop.supports)),
        documents=tuple(documents),
    )


def _replacement(hops: Sequence[Hop]) -> Callable[[re.Match[str]], str]:
    """The answer of the hop that a reference names; a number that is no hop before this one stays."""
    return lambda found: hops[at].answers[0] if 0 <= (at := int(found[1]) - 1) < len(hops) else found[0]


_READERS: dict[str, Callable[[dict[str, object], str], MultiHopQuestion]] = {
    "surefoot": question_of,
    "bamboogle": _pairs,
    "compositional-celebrities": _pairs,
    "2wikimultihop": _hotpotqa,
    "musique": _musique,
    "hotpotqa": _hotpotqa,
}
