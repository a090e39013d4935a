"""`surefoot reading enough` and `reading card`: whether the answers so far decide, and where a reader stands."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from surefoot.cli._common import Exit, StoreOption, open_store
from surefoot.cli._language._evaluate import TemplateOption, answers_of, make_here, questions_of, reader_of, remarks_of
from surefoot.cli._language._reading import FormatOption, OutOption, RuleName
from surefoot.cli._output import check_place, emit, say
from surefoot.core import Step, Store, SurefootError, Table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_AGAIN: dict[str, Any] = {"negative": (), "consume_multiple": True}
_FILES = "Question files as SET=FILE. Default: $SUREFOOT_DATA/reading."
_ROUNDING = 1e-12
_PUBLISHED = "The folder of the published evaluations. Default: $SUREFOOT_DATA/reading."


def enough(
    examples: Annotated[Path, Parameter(help="A reader's file of examples, as `reading score --examples` writes it.")],
    other: Annotated[Path | None, Parameter(help="Another reader's, on the same: the difference is asked.")] = None,
    /,
    *,
    of: Annotated[int | None, Parameter(help="Questions in the full set. Default: those in the file.")] = None,
    score: Annotated[str, Parameter(help="The column that is judged: score (F1) or exact_match.")] = "score",
    bound: Annotated[float, Parameter(help="What the mean score or difference is compared with, a fraction.")] = 0.0,
    margin: Annotated[float, Parameter(help="How far beside the bound makes no difference; a fraction.")] = 0.0,
    seed: Annotated[int, Parameter(help="The seed that the questions were drawn with.")] = 0,
    format: FormatOption = None,
    out: OutOption = None,
) -> Exit:
    """Say whether the answers so far decide what the full set will say, and about how many would.

    The questions must have been drawn at random; those that `missing` marks count as not asked yet.
    The interval of the full set holds at every look together: one may stop at any.
    Exits with 0 when the full set is known to lie above, below or within the margin of the bound, else with 2.

    Example: surefoot reading enough bert.parquet other.parquet --of 10570 --margin 0.02
    """
    from surefoot.stats import Asked
    from surefoot.stats import enough as decided

    check_place(out, format)
    scores, articles, size = _answered(examples, other, score, seed)
    whole, least = size if of is None else of, -1.0 if other else 0.0
    if not 1 <= len(scores) <= whole:
        raise SurefootError(f"{len(scores)} answers of a set of {whole}: there must be one, and no more than it holds.")
    try:
        told = decided(Asked(scores=scores, of=whole, least=least), bound=bound, margin=margin)
    except ValueError as error:
        raise SurefootError(f"{examples} cannot be judged: {error}.") from error
    values: dict[str, object] = {"effect": told.effect.estimate, "low": told.effect.low, "high": told.effect.high}
    values |= {"side": told.side, "asked": told.asked, "of": told.of, "needed": told.needed}
    values |= _other_articles(scores, articles, least)
    emit(Table(tuple(values), (tuple(values.values()),)), format, out)
    return Exit.UNJUDGED if told.side == "not yet" else Exit.HOLDS


def _answered(
    examples: Path, other: Path | None, score: str, seed: int
) -> "tuple[NDArray[np.float64], list[str], int]":
    """The scores (n,) of the answered questions, or their differences, in random order; their articles; of how many."""
    from surefoot.examples import read_column, read_examples
    from surefoot.stats import shuffled

    if other and examples.resolve() == other.resolve():
        raise SurefootError(f"{examples} is named twice, and cannot be compared with itself.")
    files = {str(path): path for path in (examples, other) if path}
    found = read_examples(files, score=score, cluster="article")
    for name, ids in found.unmatched.items():
        if ids:
            say(f"{len(ids)} questions of {name} are not in the other file: they are left out.")
    missing = [read_column(path, "missing", "BOOLEAN") for path in files.values()]
    waiting = {name for one in missing for name, marked in one.items() if marked} & set(found.examples)
    if waiting:
        say(f"{len(waiting)} of {len(found.examples)} questions have no answer: they count as not asked yet.")
    row = {name: place for place, name in enumerate(found.examples) if name not in waiting}
    order = [row[name] for name in shuffled(row, seed)]
    scores = found.scores[0, order] - (found.scores[1, order] if other else 0.0)
    return scores, [found.clusters[place] for place in order] if found.clusters else [], len(found.examples)


def _other_articles(scores: "NDArray[np.float64]", articles: list[str], least: float) -> dict[str, float]:
    """What other articles would say, as far as a mean from `least` to 1 can go; nothing of one or of alike ones."""
    from surefoot.stats import clustered_mean, t_quantile

    if len(set(articles)) < 2:
        return {}
    mean = clustered_mean(scores, articles)
    if mean.stderr <= _ROUNDING:
        return {}
    half = t_quantile(0.95, mean.freedom) * mean.stderr
    low, high = max(least, mean.estimate - half), min(1.0, mean.estimate + half)
    return {"other_articles_low": low, "other_articles_high": high}


def card(
    *,
    model: Annotated[str, Parameter(help="A reader, as `reading evaluate` takes it.")] = "",
    predictions: Annotated[tuple[str, ...], Parameter(help="Or a reader's answers as SET=FILE.", **_AGAIN)] = (),
    data: Annotated[tuple[str, ...], Parameter(help=_FILES, **_AGAIN)] = (),
    published: Annotated[str, Parameter(help=_PUBLISHED)] = "",
    rule: Annotated[RuleName, Parameter(help="The rule of scoring; published F1 is by squad-1.1.")] = "squad-1.1",
    sample: Annotated[int | None, Parameter(help="Ask the model so many questions of each set.")] = None,
    template: TemplateOption = "completion",
    margin: Annotated[float, Parameter(help="Points beside the line that make no difference.")] = 2.0,
    shown: Annotated[int, Parameter(help="Lost questions to show of each set.")] = 5,
    report: Annotated[Path | None, Parameter(help="The card as an HTML file, which opens without a network.")] = None,
    store: StoreOption = None,
    format: FormatOption = None,
) -> None:
    """Say how far above or below the line of published readers yours is under each shift, and what it loses.

    SET is squad or the published name of a shift (squadshifts_new_wiki). JSON holds the lost questions too.

    Example: surefoot reading card --model ./bert-squad --sample 1000 --report card.html
    """
    from surefoot.language import read_predictions, read_questions, score_questions
    from surefoot.studies import reading

    folder, answers, given = reading.published_folder(published), _pairs(predictions), _pairs(data)
    at_hand = {name: folder / file for name, file in reading.SETS.items() if (folder / file).is_file()}
    known = [name for name in at_hand if name in reading.PUBLISHED_SIZES]
    names = tuple((given or known) if model else answers)
    both = "squad" in names and len(names) > 1
    if bool(model) == bool(answers) or (answers and not both):
        raise SurefootError(
            "Give --model, or the answers to SQuAD and to a shift: --predictions squad=FILE --predictions SHIFT=FILE."
        )
    if answers and sample:
        raise SurefootError("--sample says how many questions --model is asked: what is in --predictions is all taken.")
    if not both:
        where = "--data" if given else str(folder)
        raise SurefootError(f"{where} does not have SQuAD and a shift: --data squad=FILE --data SHIFT=FILE.")
    fit = reading.published_fit(folder, tuple(name for name in names if name != "squad"))
    files = at_hand | given
    lacking = next((name for name in names if name not in files), None)
    if lacking:
        raise SurefootError(f"There is no question file for '{lacking}' at hand: name it with --data {lacking}=FILE.")
    pairs = {name: (files[name], answers.get(name, Path())) for name in names}
    if model:
        pairs = _asked(reader_of(model, template), {name: files[name] for name in names}, sample, open_store(store))
    read = {name: (read_questions(asked), read_predictions(told)) for name, (asked, told) in pairs.items()}
    scored = {name: score_questions(*both, rule) for name, both in read.items()}
    found = reading.reader_card(fit, scored, margin=margin, shown=shown)
    for sentence in reading.card_words(found):
        say(sentence)
    if format == "json":
        print(json.dumps(asdict(found), indent=1, ensure_ascii=False))
    else:
        rows = [asdict(one) for one in found.sets]
        emit(Table(tuple(rows[0]), tuple(tuple(row.values()) for row in rows)), format)
    if report:
        from surefoot.report import write_card

        say(f"Card: {write_card(found, report, source=model or str(answers['squad']))}")


def _pairs(given: tuple[str, ...]) -> dict[str, Path]:
    wrong = [one for one in given if not all(one.partition("=")[::2])]
    if wrong:
        raise SurefootError(f"'{wrong[0]}' must have the form SET=FILE, for example squad=dev-v1.1.json.")
    return {name: Path(file) for name, file in (one.split("=", 1) for one in given)}


def _asked(reader: Step, files: dict[str, Path], sample: int | None, place: Store) -> dict[str, tuple[Path, Path]]:
    """Where the questions and answers of each set lie, asked through the store: what is answered is not asked again."""
    questions = {name: questions_of(file, sample) for name, file in files.items()}
    told = {name: answers_of(reader, one) for name, one in questions.items()}
    if make_here(tuple(told.values()), place):
        raise SurefootError("The reader did not answer all questions; the reason is above. Run it again to go on.")
    for name, step in told.items():
        for sentence in remarks_of(step, place):
            say(f"{name}: {sentence}")
    return {name: (place.path(questions[name]), place.path(told[name])) for name in files}
