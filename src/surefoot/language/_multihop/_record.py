"""One file of a run, from which anyone makes the same tables without a network."""

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import TypeVar

from surefoot import __version__
from surefoot.core import SurefootError, write_text
from surefoot.language._clients._protocol import Completion, Request
from surefoot.language._multihop._ask import MultiHopRun, ask_multihop
from surefoot.language._multihop._http import Query, SearchResult
from surefoot.language._multihop._prompts import Prompts
from surefoot.language._multihop._questions import question_of
from surefoot.language._multihop._search import RecordedSearch, read_search, search_line
from surefoot.language._multihop._strategies import Asking, TracedAnswer
from surefoot.language._unpacked import lines_of, list_of, object_of, text_of, unpacked, whole_of

FORMAT = "surefoot multihop 1"
_TOLD = ("text", "finish", "thinking", "error", "prompt_tokens", "completion_tokens", "build")


@dataclass(frozen=True, kw_only=True)
class _RecordedClient:
    """A client that answers what was recorded."""

    name: str
    known: Mapping[Request, Completion]
    identity: str = "recorded"

    def answer(self, requests: Sequence[Request]) -> list[Completion]:
        missing = next((one for one in requests if one not in self.known), None)
        if missing:
            raise SurefootError(
                f"The file has no answer of {self.name} to the prompt that ends '{missing.prompt[-60:]}': it was cut, "
                "changed, or written by another version of Surefoot."
            )
        return [self.known[one] for one in requests]


def write_run(run: MultiHopRun, path: Path) -> None:
    """Write all that a run asked and was told, as lines of JSON; packed where the name ends in .gz.

    The first line has the model, the engine, the settings and all prompts; then questions (without their documents),
    requests with completions, queries with results, and verdicts of the judge.
    """
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in _lines(run))
    text += "".join(search_line(run.engine, one.text, one.k, found) for one, found in _searches(run).items())
    if path.suffix != ".gz":
        write_text(path, text)
        return
    draft = path.with_name(f"{path.name}.part")
    draft.write_bytes(gzip.compress(text.encode(), mtime=0))
    draft.replace(path)


def read_run(path: Path) -> MultiHopRun:
    """The run in a file, asked again of what it recorded: strategies, parser and rules are those of today.

    Raises `SurefootError` for a file of another kind, and where something that is needed was not recorded.
    """
    (where, first), *rows = lines_of(unpacked(path), str(path))
    head = object_of(first, where)
    if head.get("format") != FORMAT:
        raise SurefootError(f"{path} is no run of surefoot multihop ('{FORMAT}').")
    told = [(at, object_of(row, at)) for at, row in rows]
    try:
        return _asked_again(head, where, told)
    except (TypeError, ValueError, AttributeError) as error:
        raise SurefootError(f"{path} cannot be read: {error}.") from error


def _asked_again(head: dict[str, object], where: str, told: list[tuple[str, dict[str, object]]]) -> MultiHopRun:
    known = dict(_call(row, at) for at, row in told if "request" in row)
    found = dict(read_search(row, at) for at, row in told if "query" in row)
    model, engine = text_of(head.get("model"), f"{where}: 'model'"), text_of(head.get("engine"), f"{where}: 'engine'")
    results = {Query(query, k): result for (_, query, k), result in found.items()}
    run = ask_multihop(
        _RecordedClient(name=model, known=known),
        [question_of(row, at) for at, row in told if "answers" in row],
        [text_of(one, where) for one in list_of(head.get("strategies"), f"{where}: 'strategies'")],
        of=whole_of(head.get("of"), f"{where}: 'of'"),
        prompts=_filled(Prompts, head.get("prompts"), f"{where}: 'prompts'"),
        asking=_filled(Asking, head.get("asking"), f"{where}: 'asking'"),
        search=RecordedSearch(known=results, identity=engine) if engine else None,
    )
    verdicts = dict(_verdict(row, at) for at, row in told if "verdict" in row)
    return replace(run, judge=text_of(head.get("judge"), f"{where}: 'judge'"), verdicts=verdicts)


def _lines(run: MultiHopRun) -> Iterator[dict[str, object]]:
    yield {
        "format": FORMAT,
        "surefoot": __version__,
        "model": run.model,
        "engine": run.engine,
        "judge": run.judge,
        "strategies": list(run.answers),
        "of": run.of,
        "asking": asdict(run.asking),
        "prompts": asdict(run.prompts),
    }
    for one in run.questions:
        yield asdict(replace(one, documents=()))
    calls = {call.request: call.completion for answer in _answers(run) for call in answer.trace.calls}
    for request, completion in calls.items():
        kept = {name: value for name, value in asdict(completion).items() if name in _TOLD and value}
        yield {"request": _other_than_default(request), "completion": kept}
    for (question, golds, answer), verdict in run.verdicts.items():
        yield {"question": question, "golds": golds, "answer": answer, "verdict": verdict}


def _answers(run: MultiHopRun) -> Iterator[TracedAnswer]:
    for given in (*run.answers.values(), *run.hop_answers):
        yield from given
    yield from filter(None, run.bridge_given)


def _searches(run: MultiHopRun) -> dict[Query, tuple[SearchResult, ...]]:
    if "self_ask_search" not in run.answers:
        return {}
    follow_ups = (one for answer in run.answers["self_ask_search"] for one in answer.trace.follow_ups)
    return {Query(one.question, run.asking.results): one.results for one in follow_ups}


def _other_than_default(request: Request) -> dict[str, object]:
    default = {one.name: one.default for one in fields(request) if one.default is not MISSING}
    return {name: value for name, value in asdict(request).items() if value != default.get(name)}


def _call(row: dict[str, object], where: str) -> tuple[Request, Completion]:
    return _filled(Request, row["request"], where), _filled(Completion, row.get("completion"), where)


def _verdict(row: dict[str, object], where: str) -> tuple[tuple[str, tuple[str, ...], str], bool | None]:
    golds = tuple(text_of(one, where) for one in list_of(row.get("golds"), where))
    verdict = row.get("verdict")
    if verdict is not None and not isinstance(verdict, bool):
        raise SurefootError(f"{where}: 'verdict' must be true, false or null.")
    return (text_of(row.get("question"), where), golds, text_of(row.get("answer"), where)), verdict


_Filled = TypeVar("_Filled", Prompts, Asking, Request, Completion)


def _filled(kind: type[_Filled], value: object, where: str) -> _Filled:
    """An object of that class from the fields of a JSON object; lists become tuples."""
    told = {name: _frozen(cell) for name, cell in object_of(value, where).items()}
    return kind(**told)  # pyright: ignore[reportArgumentType]


def _frozen(value: object) -> object:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
