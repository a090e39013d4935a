"""`surefoot reading score` and `reading data`: answers against question files."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from surefoot.cli._output import Format, check_place, emit, say
from surefoot.core import Measurement, SurefootError, Table, write_bytes

if TYPE_CHECKING:
    from surefoot.language import Predictions, Question, QuestionScores

RuleName = Literal["squad-1.1", "squad-2.0", "mrqa", "natural-questions"]
RuleOption = Annotated[RuleName | None, Parameter(help="The rule of scoring. Default: by the data.")]
AbstainOption = Annotated[
    tuple[str, ...], Parameter(help="A phrase that counts as the empty answer; may be given again.", negative=())
]
AboveOption = Annotated[
    float | None,
    Parameter(help="Count a question as not answered where its score of no answer is larger (span models: 0)."),
]
FormatOption = Annotated[Format | None, Parameter(help="Default: text on a terminal, TSV in a pipe.")]
OutOption = Annotated[Path | None, Parameter(help="A file: .tsv, .csv, .json, .md, .tex, .parquet or .txt.")]
_COUNTS = ("missing", "extra", "abstained")


def score(
    predictions: Annotated[
        Path, Parameter(help="Answers by id: a JSON object, JSON lines or Parquet (id, answer, no_answer).")
    ],
    data: Annotated[Path, Parameter(help="A question file: SQuAD, SquadShifts, XQuAD, MRQA, Natural Questions.")],
    /,
    *,
    rule: RuleOption = None,
    abstain: AbstainOption = (),
    no_answer: Annotated[Path | None, Parameter(help="A JSON object: for each id a score of no answer.")] = None,
    no_answer_above: AboveOption = None,
    official: Annotated[bool, Parameter(help="Print the JSON of the official script alone.", negative=())] = False,
    examples: Annotated[Path | None, Parameter(help="A Parquet file to write, a row a question: for compare.")] = None,
    format: FormatOption = None,
    out: OutOption = None,
) -> None:
    """Score predictions as the official scripts do, with intervals over whole articles.

    Scores are in percent, as the scripts print them. What is missing or left over is said on the error stream.

    Example: surefoot reading score predictions.json dev-v2.0.json --examples bert.parquet
    """
    from surefoot import language

    check_place(out, format)
    if official and (format or out):
        raise SurefootError("--official prints JSON to the output: leave out --format and --out.")
    answers = language.read_predictions(predictions)
    form, questions = language.read_question_file(data)
    if no_answer:
        answers = replace(answers, no_answer=language.read_no_answer(no_answer))
    chosen = rule or rule_of(form, questions)
    above = None if official and chosen == "squad-2.0" else no_answer_above  # the script applies its own
    found = language.score_questions(questions, answers, chosen, abstain=abstain, no_answer_above=above)
    for sentence in _remarks(found, questions, answers, told=rule is None and not official):
        say(sentence)
    if examples:
        _write_examples(found, examples)
    if official:
        report = language.official_report(found, answers.no_answer, no_answer_above=no_answer_above)
        print(json.dumps(report, indent=2 if chosen == "squad-2.0" else None))
    else:
        emit(_table(found), format, out)


def data(
    files: Annotated[tuple[Path, ...], Parameter(help="Question files, or directories that Steps wrote.")],
    /,
    *,
    format: FormatOption = None,
    out: OutOption = None,
) -> None:
    """Say what question files hold: format, questions, articles, answers that are not where they should be.

    Example: surefoot reading data dev-v1.1.json
    """
    from surefoot.language import count_questions, read_question_file

    rows: list[dict[str, object]] = []
    for file in files:
        form, questions = read_question_file(file)
        counts = count_questions(questions)
        if counts["nowhere"]:
            say(
                f"{file}: {counts['nowhere']} of {counts['answers']} answers do not stand in their paragraph where the "
                "file says: they count as right answers, and no span is trained on them "
                f"({counts['untrainable']} questions have no other)."
            )
        rows.append({"file": str(file), "format": form, **counts})
    if not rows:
        raise SurefootError("Name at least one question file.")
    emit(Table(tuple(rows[0]), tuple(tuple(row.values()) for row in rows)), format, out)


def rule_of(form: str, questions: "list[Question]") -> RuleName:
    """The rule that fits a file: by its format, and whether questions without an answer are in it."""
    if not all(one.answers for one in questions):
        return "squad-2.0"
    return "mrqa" if form == "mrqa" else "natural-questions" if form == "gold-paragraph" else "squad-1.1"


def _remarks(
    found: "QuestionScores", questions: "list[Question]", answers: "Predictions", *, told: bool
) -> Iterator[str]:
    """What was chosen, and what was not scored as it came."""
    if told:
        yield f"The rule is {found.rule}, by the data; --rule chooses another."
    sizes = {"missing": len(questions), "extra": len(answers.answers), "abstained": len(found.questions)}
    for name, words in unscored(found.rule).items():
        if ids := getattr(found, name, ()):
            shown, (noun, _, said) = ", ".join(ids[:3]) + (", ..." if len(ids) > 3 else ""), words.partition(" ")
            yield f"{len(ids)} of {sizes[name]} {noun} ({shown}) {said}."
    if len({one.article for one in found.questions}) < 2:
        yield "All questions are of one article: there is no interval."
    if answers.no_answer and not found.best:
        yield "The scores of 'no answer' choose no threshold: all alike, some missing, or every question has an answer."


def unscored(rule: RuleName) -> dict[str, str]:
    """What is said of answers that do not count as they came, by the metric that counts them."""
    how = "left out" if rule == "squad-2.0" else "counted as wrong"
    return {
        "missing": f"questions have no prediction and are {how}",
        "extra": "predictions are for no question of the data",
        "abstained": "answers are phrases of abstention: they count as ''",
        "cut": "questions did not fit into the window whole, or not with all examples",
        "refused": "questions were refused and have no answer",
    }


def _table(found: "QuestionScores") -> Table:
    """A line a number: scores in percent with their bounds, thresholds, counts of questions."""
    from surefoot.language import reading_measurements

    told = reading_measurements(found)
    rows = [_row(one) for one in told if one.metric not in _COUNTS]
    has = int(found.answerable.sum())
    totals = {"total": len(found.questions), "HasAns_total": has, "NoAns_total": len(found.questions) - has}
    totals |= {one.metric: int(one.value) for one in told if one.metric in _COUNTS}
    rows += [(name, count, None, None, "questions", None) for name, count in totals.items()]
    return Table(("metric", "value", "low", "high", "unit", "n"), tuple(rows))


def _row(one: Measurement) -> tuple[object, ...]:
    name = f"{one.group}_{one.metric}" if one.group else one.metric
    cells = (one.value, None, None, "score") if name.endswith("threshold") else (*percent_of(one), "percent")
    return (name, *cells, one.n)


def percent_of(one: Measurement) -> tuple[float | None, ...]:
    """Value and bounds in percent."""
    return tuple(None if cell is None else 100 * cell for cell in (one.value, one.low, one.high))


def _write_examples(found: "QuestionScores", path: Path) -> None:
    from surefoot.language import write_reading_examples

    if path.suffix != ".parquet":
        raise SurefootError(f"{path} must end in .parquet: that is what compare reads.")
    with TemporaryDirectory() as folder:
        write_reading_examples(Path(folder), found)
        write_bytes(path, next(Path(folder).iterdir()).read_bytes())
    say(f"Examples: {path}")
