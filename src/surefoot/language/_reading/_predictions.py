"""What a reader answered: one text a question, and how sure it is that there is no answer."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import numpy as np

from surefoot.core import Inputs, Measurement, SurefootError, UserFile, check_pinned, in_memory
from surefoot.language._unpacked import Row, checked, json_of, object_or_none, parquet_rows, rows_of, unpacked

PREDICTIONS = "predictions.parquet"
_ANSWER = ("answer", "prediction_text", "prediction")
_COLUMNS = (_ANSWER, ("no_answer", "no_answer_probability"))


@dataclass(frozen=True)
class Predictions:
    """Answers by the id of the question ('' abstains), and for some or none of them a score that there is no answer.

    The larger the score the surer; it may be a probability or a difference of logits.
    """

    answers: Mapping[str, str]
    no_answer: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PredictionFile(UserFile):
    """Predictions of the user in a form that `read_predictions` knows: `PredictionFile(path="bert.json").pinned()`.

    Files: `predictions.parquet`. Measures `predictions`. Raises `SurefootError` for what cannot be read, and when the
    file has changed since the digest was taken.
    """

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Read, check, write down in one format."""
        check_pinned(self)
        found = read_predictions(self.path)
        write_predictions(out, found)
        return [Measurement(metric="predictions", value=len(found.answers), n=len(found.answers))]


def read_predictions(path: Path | str) -> Predictions:
    """The predictions in a file, or in the `predictions.parquet` of the directory that a Step wrote.

    A file holds one JSON object `{id: answer}` as for the official scripts, a JSON list or JSON lines of objects with
    `id`, `answer` (or `prediction_text`) and perhaps `no_answer` (or `no_answer_probability`), or these columns as
    Parquet; JSON also as gzip. Raises `SurefootError`, naming file and question, for anything else, for an id that
    stands twice, and for a score that is no finite number.
    """
    file, shown = Path(path) / PREDICTIONS if Path(path).is_dir() else Path(path), str(path)
    data = unpacked(file)
    if data.startswith(b"PAR1"):
        return _of_rows(parquet_rows(file), shown)
    start = data.lstrip(b"\xef\xbb\xbf \t\r\n")
    if b"\n{" in start and object_or_none(start.split(b"\n", 1)[0]) is not None:
        return _of_rows([row.told for row in rows_of(data, shown)], shown)
    told = json_of(data, shown)
    if isinstance(told, list):
        return _of_rows([Row.of(row, f"{shown}: a prediction").told for row in told], shown)
    found = Row.of(told, shown).told
    if isinstance(found.get("data"), list):
        raise SurefootError(f"{path} holds questions, where predictions should be: these come first.")
    if "id" in found and any(name in found for name in _ANSWER):
        return _of_rows([found], shown)
    return Predictions({checked(str, name, shown): _answer(answer, name, shown) for name, answer in found.items()})


def read_no_answer(path: Path | str) -> dict[str, float]:
    """Scores that there is no answer, by the id of the question, from a JSON object. Raises for anything else."""
    told = Row.of(json_of(unpacked(Path(path)), str(path)), str(path)).told
    return {name: _score(score, f"{path}, question '{name}': the score") for name, score in told.items()}


def write_predictions(out: Path, predictions: Predictions) -> None:
    """Write `predictions.parquet` into a directory: the columns id, answer and no_answer (null for none)."""
    answers, scores = predictions.answers, predictions.no_answer
    columns = {
        "id": np.array(list(answers), dtype=object),
        "answer": np.array(list(answers.values()), dtype=object),
        "no_answer": np.array([scores.get(name, np.nan) for name in answers], dtype=np.float64),
    }
    target = str(out / PREDICTIONS).replace("'", "''")
    with in_memory() as connection:
        connection.register("predictions", columns)
        told = "SELECT id::VARCHAR AS id, answer::VARCHAR AS answer, nullif(no_answer, 'nan') AS no_answer"
        connection.execute(f"COPY ({told} FROM predictions) TO '{target}' (FORMAT parquet, COMPRESSION zstd)")


def _of_rows(rows: Iterable[Mapping[str, object]], shown: str) -> Predictions:
    answers: dict[str, str] = {}
    scores: dict[str, float] = {}
    for number, row in enumerate(rows, start=1):
        name = checked(str, row.get("id"), f"{shown}, prediction {number}: 'id'")
        if name in answers:
            raise SurefootError(f"{shown}: the question '{name}' is answered twice.")
        said, score = (_only(row, names, f"{shown}, question '{name}'") for names in _COLUMNS)
        answers[name] = _answer(said, name, shown)
        if score is not None:
            scores[name] = _score(score, f"{shown}, question '{name}': 'no_answer'")
    return Predictions(answers, scores)


def _only(row: Mapping[str, object], names: Iterable[str], where: str) -> object:
    """The cell under one of the names. Raises for two of them: one may hold the right answers."""
    found = [one for one in names if one in row]
    if len(found) > 1:
        raise SurefootError(f"{where} has '{found[0]}' and '{found[1]}': keep only that which the reader said.")
    return row[found[0]] if found else None


def _answer(value: object, name: str, shown: str) -> str:
    return checked(str, value, f"{shown}, question '{name}': the answer")


def _score(value: object, what: str) -> float:
    try:
        score = float(value) if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool) else math.nan
    except OverflowError:  # a whole number beyond all floats
        score = math.inf
    if not math.isfinite(score):
        raise SurefootError(f"{what} must be a finite number, not {value!r:.40}.")
    return score
