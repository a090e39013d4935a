"""One file of a run, from which anyone makes the same tables without a network."""

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import chain
from pathlib import Path
from typing import TypeVar

from surefoot import __version__
from surefoot.core import SurefootError, write_bytes
from surefoot.language._clients._protocol import Completion, Request
from surefoot.language._multihop._ask import Asking, MultiHopRun, ask_multihop
from surefoot.language._multihop._prompts import Prompts
from surefoot.language._multihop._questions import question_of
from surefoot.language._multihop._search import Query, RecordedSearch, read_search, search_line
from surefoot.language._unpacked import Row, rows_of, unpacked

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
    follow_ups = (one for answer in run.answers.get("self_ask_search", ()) for one in answer.trace.follow_ups)
    searches = {(one.question, run.asking.results): one.results for one in follow_ups}
    text += "".join(search_line(run.engine, *query, found) for query, found in searches.items())
    write_bytes(path, gzip.compress(text.encode(), mtime=0) if path.suffix == ".gz" else text.encode())


def check_run_place(path: Path, run: MultiHopRun) -> None:
    """Raise before a run is asked for a file that is not its own: another run, or no run. `run` has no answers yet."""
    if not path.exists() or not path.stat().st_size:
        return
    head, *rows = rows_of(unpacked(path), str(path))
    if head.told.get("format") != FORMAT:
        raise SurefootError(f"{path} is there, and is no run of surefoot multihop: name another file with --out.")
    wanted, *questions = json.loads(json.dumps([*_lines(run)]))
    other = [name for name in wanted if name not in ("surefoot", "judge") and head.told.get(name) != wanted[name]]
    other += ["questions"] * ([row.told for row in rows if "answers" in row.told] != questions)
    if other:
        said = f"{path} holds another run ({', '.join(other)} differ)"
        raise SurefootError(f"{said}: name another file with --out, or remove it.")


def read_run(path: Path) -> MultiHopRun:
    """The run in a file, asked again of what it recorded: strategies, parser and rules are those of today.

    Raises `SurefootError` for a file of another kind, and where something that is needed was not recorded.
    """
    head, *rows = rows_of(unpacked(path), str(path))
    if head.told.get("format") != FORMAT:
        raise SurefootError(f"{path} is no run of surefoot multihop ('{FORMAT}').")
    try:
        return _asked_again(head, rows)
    except (TypeError, ValueError, AttributeError) as error:
        raise SurefootError(f"{path} cannot be read: {error}.") from error


def _asked_again(head: Row, rows: list[Row]) -> MultiHopRun:
    called = [row for row in rows if "request" in row.told]
    known = {_filled(Request, row, "request"): _filled(Completion, row, "completion", text="") for row in called}
    found = dict(read_search(row) for row in rows if "query" in row.told)
    results = {Query(query, k): result for (_, query, k), result in found.items()}
    engine = head.text("engine")
    run = ask_multihop(
        _RecordedClient(name=head.text("model"), known=known),
        [question_of(row) for row in rows if "answers" in row.told],
        head.texts("strategies"),
        of=head.whole("of"),
        prompts=_filled(Prompts, head, "prompts"),
        asking=_filled(Asking, head, "asking"),
        search=RecordedSearch(known=results, identity=engine) if engine else None,
    )
    verdicts = dict(map(_verdict, (row for row in rows if "verdict" in row.told)))
    return replace(run, judge=head.text("judge"), verdicts=verdicts)


def _lines(run: MultiHopRun) -> Iterator[dict[str, object]]:
    head: dict[str, object] = {"format": FORMAT, "surefoot": __version__, "model": run.model, "engine": run.engine}
    head |= {"judge": run.judge, "strategies": list(run.answers), "of": run.of}
    yield head | {"asking": asdict(run.asking), "prompts": asdict(run.prompts)}
    for one in run.questions:
        yield asdict(replace(one, documents=()))
    every = chain(*run.answers.values(), *run.hop_answers, filter(None, run.bridge_given))
    calls = {call.request: call.completion for answer in every for call in answer.trace.calls}
    default = {one.name: one.default for one in fields(Request)}
    for request, completion in calls.items():
        asked = {name: value for name, value in asdict(request).items() if value != default[name]}
        kept = {name: value for name, value in asdict(completion).items() if name in _TOLD and value}
        yield {"request": asked, "completion": {"text": ""} | kept}
    for (question, golds, answer), verdict in run.verdicts.items():
        yield {"question": question, "golds": golds, "answer": answer, "verdict": verdict}


def _verdict(row: Row) -> tuple[tuple[str, tuple[str, ...], str], bool | None]:
    verdict = row.told.get("verdict")
    if verdict is not None and not isinstance(verdict, bool):
        raise SurefootError(f"{row.where}: 'verdict' must be true, false or null.")
    return (row.text("question"), row.texts("golds"), row.text("answer")), verdict


_Filled = TypeVar("_Filled", Prompts, Asking, Request, Completion)


def _filled(kind: type[_Filled], row: Row, name: str, **default: object) -> _Filled:
    """An object of that class from the fields of a JSON object; lists become tuples."""
    told = default | Row.of(row.told.get(name), f"{row.where}: '{name}'").told
    return kind(**{field: _frozen(cell) for field, cell in told.items()})  # pyright: ignore[reportArgumentType]


def _frozen(value: object) -> object:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
