"""Questions of several hops: the compositionality gap of a model, and tables of a recorded run."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from cyclopts import Parameter

from surefoot.cli._common import StoreOption, open_store
from surefoot.cli._output import Format, check_file, chosen_format, emit, say
from surefoot.core import SurefootError, Table

if TYPE_CHECKING:
    from surefoot.language import Asking, LanguageClient, MultiHopQuestion, MultiHopRun, Prompts

Shown = Literal["all", "gap", "pairs", "causes", "agreement"]
ShowOption = Annotated[Shown, Parameter(help="Which table. Text shows all of them, other formats the gap.")]
FigureOption = Annotated[
    Path | None, Parameter(help="A file for the figure of the gap taken apart: .svg, .png, .pdf, .json or .csv.")
]
RuleOption = Annotated[
    str, Parameter(help="The matching rule of the figure, of --examples, and of pairs and causes among all.")
]
ExamplesOption = Annotated[
    Path | None, Parameter(help="A folder for the answers of each strategy, which surefoot compare takes.")
]
_STRATEGIES = "Separated by commas: direct, chain_of_thought, self_ask, self_ask_search."
_ENGINE = "A folder or file of documents, searxng:ADDRESS, or a URL with {query}."
_FIELDS = "Of a URL: names in its JSON, as results=web.results,snippet=text,answers=answer_box."


def gap(
    *,
    model: Annotated[str, Parameter(help="http(s)://host/v1#name, a .gguf file, a model directory, or smollm2.")],
    questions: Annotated[Path, Parameter(help="JSON or JSON lines: our own form or a benchmark's official file.")],
    strategies: Annotated[str, Parameter(help=_STRATEGIES)] = "direct,chain_of_thought,self_ask",
    search: Annotated[str, Parameter(help=_ENGINE)] = "",
    search_fields: Annotated[str, Parameter(help=_FIELDS)] = "",
    private: Annotated[bool, Parameter(help="Ask a search engine in a private network.", negative=())] = False,
    results: Annotated[int, Parameter(help="Results of a search; of more than one the model reads the answer.")] = 1,
    hops: Annotated[int, Parameter(help="The most follow-up questions.")] = 4,
    force: Annotated[bool, Parameter(help="Ask for a final answer where a text has none.")] = True,
    prompts: Annotated[
        Path | None, Parameter(help="A JSON file of prompts. Default: four examples of our own.")
    ] = None,
    judge: Annotated[str, Parameter(help="A model that says whether answers are right, beside the rules.")] = "",
    api: Annotated[Literal["completions", "chat"], Parameter(help="How an endpoint is asked.")] = "completions",
    max_tokens: Annotated[int, Parameter(help="The most tokens of one completion.")] = 256,
    sample: Annotated[int | None, Parameter(help="Ask only so many of the questions, drawn by --seed.")] = None,
    seed: Annotated[int, Parameter(help="Which sample is drawn.")] = 0,
    out: Annotated[Path, Parameter(help="The file of the run; .jsonl, or .jsonl.gz.")] = Path("multihop-run.jsonl.gz"),
    dry_run: Annotated[bool, Parameter(help="Say what would be asked, and ask nothing.", negative=())] = False,
    show: ShowOption = "all",
    rule: RuleOption = "cover_answer",
    figure: FigureOption = None,
    examples: ExamplesOption = None,
    store: StoreOption = None,
    format: Format | None = None,
) -> None:
    """Ask each question and its sub-questions, and measure the gap: all hops known, the whole wrong.

    Answers are kept beside the store as they come: a run that was stopped goes on, and nothing is asked twice.

    Example: surefoot multihop gap --model http://localhost:8000/v1#llama --questions bamboogle.json
    """
    from surefoot import language

    if not out.name.endswith((".jsonl", ".jsonl.gz")):
        raise SurefootError(f"{out} must end in .jsonl or .jsonl.gz: a run is lines of JSON.")
    _check_rule(rule, (*language.RULES, *("judge",) * bool(judge)))
    read = language.read_multihop(questions)
    say(f"{questions}: {len(read.questions)} questions ({read.format}). {read.left_out}".rstrip())
    chosen = _sampled(read.questions, sample, seed)
    names = tuple(dict.fromkeys(name for part in strategies.split(",") if (name := part.strip().replace("-", "_"))))
    names += ("self_ask_search",) * (bool(search) and "self_ask_search" not in names)
    asking = language.Asking(force=force, hops=hops, results=results, max_tokens=max_tokens)
    told = language.read_prompts(prompts) if prompts else language.our_prompts()
    place = language.answers_file(open_store(store).root)
    engine = language.open_search(search, private=private, fields=_fields(search_fields)) if search else None
    options = language.ClientOptions(api=api, on_error="record")
    with ExitStack() as opened:
        client = opened.enter_context(language.open_client(model, options, cache=place))
        if dry_run:
            emit(_plan(client, chosen, names, told, asking), format)
            if judge:
                say("The judge is asked about each different answer besides.")
            return
        check_file(out)  # before hours of answers
        unasked = language.MultiHopRun(
            model=client.name, questions=tuple(chosen), of=len(read.questions), prompts=told, asking=asking,
            engine=engine.identity if engine else "", answers=dict.fromkeys(names, ()), hop_answers=(), bridge_given=(),
        )  # fmt: skip
        language.check_run_place(out, unasked)
        place.parent.mkdir(parents=True, exist_ok=True)
        run = language.ask_multihop(
            client, chosen, names, of=len(read.questions), prompts=told, asking=asking,
            search=language.RecordedSearch(engine, file=place.with_name("searches.jsonl")) if engine else None,
            judge=opened.enter_context(language.open_client(judge, options, cache=place)) if judge else None,
        )  # fmt: skip
    language.write_run(run, out)
    say(f"Run: {out}. The tables again, without a network: surefoot multihop replay {out}")
    _give(run, (show, rule, figure, examples), format)


def replay(
    run: Annotated[Path, Parameter(help="The file of a run, as gap wrote it.")],
    /,
    *,
    show: ShowOption = "all",
    rule: RuleOption = "cover_answer",
    figure: FigureOption = None,
    examples: ExamplesOption = None,
    format: Format | None = None,
) -> None:
    """Make the tables of a run again from its file, without a model, a search engine or a network.

    Example: surefoot multihop replay multihop-run.jsonl.gz --figure causes.svg
    """
    from surefoot.language import read_run

    _give(read_run(run), (show, rule, figure, examples), format)


def _give(run: "MultiHopRun", wanted: tuple[Shown, str, Path | None, Path | None], form: Format | None) -> None:
    from surefoot import language
    from surefoot.figures import write_figure

    show, rule, figure, examples = wanted
    makers = {name: getattr(language, f"{name}_table") for name in get_args(Shown) if name != "all"}
    text = chosen_format(form) == "text"
    names = [show] if show != "all" else list(makers) if text else ["gap"]
    for note in language.run_notes(run):
        say(note)
    _check_rule(rule, language.rules_of(run))
    for name in names:
        table = makers[name](run)
        if show == "all" and name in ("pairs", "causes"):
            table = Table(table.columns, tuple(row for row in table.rows if row[0] == rule))
        if table.rows or len(names) == 1:
            emit(_short(table) if text else table, form)
            print(end="\n" * (text and name != names[-1]))
    for path in language.write_run_examples(run, examples, rule) if examples else ():
        say(f"Examples: {path}")
    if figure:
        say(f"Figure: {write_figure(language.causes_figure(language.causes_table(run), rule), figure)}")


def _plan(
    client: "LanguageClient", questions: "Sequence[MultiHopQuestion]", names: tuple[str, ...], prompts: "Prompts",
    asking: "Asking",
) -> Table:  # fmt: skip
    from surefoot.language import count_requests, first_requests, most_requests

    first = first_requests(questions, names, prompts, asking)
    counted = count_requests(client, first)
    least = counted.cached + counted.asked  # equal ones are asked once
    most = most_requests(names, asking, least, len(questions))
    columns = ("questions", "requests at first", "answered already", "prompt tokens at first", "requests at most")
    return Table(columns, ((len(questions), least, counted.cached, counted.prompt_tokens, most),))


def _short(table: Table) -> Table:
    """For people: three significant digits, a gap that is undefined as a word, and no columns that are empty."""

    def shown(name: str, cell: object) -> object:
        if cell is None and name == "gap":
            return "undefined"
        return float(f"{cell:.3g}") if isinstance(cell, float) else cell

    rows = [tuple(map(shown, table.columns, row)) for row in table.rows]
    used = [at for at in range(len(table.columns)) if any(row[at] not in (None, "") for row in rows)]
    return Table(tuple(table.columns[at] for at in used), tuple(tuple(row[at] for at in used) for row in rows))


def _sampled(questions: "Sequence[MultiHopQuestion]", sample: int | None, seed: int) -> "Sequence[MultiHopQuestion]":
    from surefoot.stats import shuffled

    if sample is None:
        return questions
    if not 1 <= sample <= len(questions):
        raise SurefootError(f"--sample is {sample}: it is 1 to {len(questions)}, the number of questions.")
    drawn = set(shuffled((one.id for one in questions), seed)[:sample])
    return [one for one in questions if one.id in drawn]


def _check_rule(rule: str, known: Sequence[str]) -> None:
    if rule not in known:
        raise SurefootError(f"There is no rule '{rule}' in this run: there is {', '.join(known)}.")


def _fields(given: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in given.split(",") if part.strip()]
    wrong = next((name for name, mark, _ in pairs if not mark), None)
    if wrong:
        raise SurefootError(f"--search-fields: '{wrong}' must have the form name=place.")
    return {name.strip(): place.strip() for name, _, place in pairs}
