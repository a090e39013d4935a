"""Questions to a whole store: tables by any field, right after any change of the store, and harmless by name."""

import math
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import stdev

import pytest
from core_steps import Number, Slow, Total, Wave
from scipy.stats import t

from surefoot.core import (
    Event,
    Inputs,
    Measurement,
    Step,
    Store,
    SurefootError,
    connect,
    examples_path,
    pivot,
    query,
    write_record,
)
from surefoot.core import _query as querying

Make = Callable[..., list[Event]]


@dataclass(frozen=True, kw_only=True)
class Anything(Step):
    """Has a label of any type."""

    label: int | str | bool | None
    value: float

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        return (Measurement(metric="value", value=self.value, n=1),)


@dataclass(frozen=True, kw_only=True)
class Seeded(Step):
    """Has a number of any size."""

    seed: int | float
    value: float

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        return (Measurement(metric="value", value=self.value, n=1),)


@dataclass(frozen=True, kw_only=True)
class Several(Step):
    """Measures one thing twice, each time with an interval of its own."""

    name: str

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        return [
            Measurement(metric="top1", value=value, n=50, stderr=0.05, low=value - 0.1, high=value + 0.1, shift=shift)
            for value, shift in ((0.2, "a"), (0.6, "b"))
        ]


@dataclass(frozen=True, kw_only=True)
class Trials(Step):
    """Finds the same number in each of three trials, and another in a fourth."""

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        return [Measurement(metric="top1", value=value, n=50) for value in (1.0, 1.0, 1.0, 0.0)]


@pytest.fixture
def filled(store: Store, make: Make) -> list[Step]:
    steps: list[Step] = [
        Number(value=1.0, label="it's"),
        Number(value=10.0, label='a "b"'),
        Number(value=9.5, label="it's"),
        Slow(name=7, seconds=0.0, after=Number(value=1.0, label="it's")),
    ]
    make(*steps)
    return steps


# --- tables of the store


def test_a_list_of_measurements_has_equal_ones_too(store: Store, make: Make) -> None:
    make(Trials())
    listed = pivot(store, rows=["metric", "value", "n"], values=()).rows
    assert listed == (("top1", 0.0, 50), *[("top1", 1.0, 50)] * 3)
    assert pivot(store, rows=["metric"]).rows == (("top1", 0.75),)


def test_the_interval_of_one_measurement_is_none_of_their_mean(store: Store, make: Make) -> None:
    make(Several(name="one"))
    asked = ("value", "n", "stderr", "low", "high")
    assert pivot(store, rows=["name"], values=asked).rows == (("one", pytest.approx(0.4), None, None, None, None),)
    apart = pivot(store, rows=["shift"], values=asked).rows
    assert apart == (("a", 0.2, 50, 0.05, pytest.approx(0.1), pytest.approx(0.3)), ("b", 0.6, 50, 0.05, 0.5, 0.7))


@pytest.mark.parametrize("beside", [[], [0.5], [2**64 + 1, 2**64 + 2, 0.5, -(2**70)]])
def test_whole_numbers_of_any_size_are_cells_of_their_own(store: Store, make: Make, beside: list[float]) -> None:
    """Seeds of 64 bits and more: two that are one float were averaged."""
    seeds = [2**53 + 1, 2**53, 2**63 + 1, 2**63, -3, *beside]
    make(*(Seeded(seed=seed, value=float(place)) for place, seed in enumerate(seeds)))
    found = {str(row[0]): row[1:] for row in pivot(store, rows=["seed"]).rows}
    assert found == {str(seed): (float(place),) for place, seed in enumerate(seeds)}
    if not beside:
        assert pivot(store, rows=[], where=f'"seed" > {2**63}').rows == ((2.0,),)


def test_steps_edges_and_measurements_are_tables(store: Store, make: Make) -> None:
    number = Number(value=2.0)
    top = Total(parts=(number, number))
    make(top)
    rows = query(store, "SELECT step, kind, wall_seconds IS NOT NULL AS timed FROM steps ORDER BY kind").records()
    assert rows == [
        {"step": number.key, "kind": "core_steps.Number", "timed": True},
        {"step": top.key, "kind": "core_steps.Total", "timed": True},
    ]
    assert query(store, "SELECT step, input FROM edges").rows == ((top.key, number.key),)
    found = query(store, "SELECT metric, value, n, stderr FROM measurements WHERE step = ?", [top.key])
    assert found.rows == (("total", 4.0, 2, None),)


def test_an_empty_store_has_empty_tables(store: Store) -> None:
    assert query(store, "SELECT count(*) AS rows FROM measurements").records() == [{"rows": 0}]
    assert pivot(store, rows=["task"]).rows == ()


def test_a_wrong_query_is_one_error_with_the_reason(store: Store) -> None:
    with pytest.raises(SurefootError, match=r"The query cannot be answered: .*no_such_table"):
        query(store, "SELECT * FROM no_such_table")


# --- pivot


def test_a_pivot_has_a_line_for_each_row_value_and_a_column_for_each_column_value(
    store: Store, filled: list[Step]
) -> None:
    table = pivot(store, rows=["metric"], columns=["replicate"], where="\"kind\" = 'core_steps.Slow'")
    assert table.columns == ("metric", "0", "1", "2")
    assert table.rows == (("slow", 7.0, 8.0, 9.0),)


def test_a_pivot_without_columns_shows_the_values(store: Store, filled: list[Step]) -> None:
    table = pivot(store, rows=["task"], values=["value", "n"], where="\"label\" LIKE '%b%'")
    assert table.columns == ("task", "value", "n")
    assert table.rows == (('a "b"', 10.0, 1.0),)


def test_a_cell_of_several_steps_has_the_interval_over_them_and_their_number(store: Store, filled: list[Step]) -> None:
    table = pivot(store, rows=["kind"], values=["value", "n"], where="\"kind\" = 'core_steps.Number'")
    assert table.columns == ("kind", "value", "n", "low", "high", "Steps")
    half = t.ppf(0.975, 2) * stdev([1.0, 10.0, 9.5]) / math.sqrt(3)
    low, high = 41 / 6 - half, 41 / 6 + half
    assert table.rows == (
        ("core_steps.Number", pytest.approx(41 / 6), None, pytest.approx(low), pytest.approx(high), 3),
    )


def test_a_mean_over_many_examples_of_each_of_a_few_models_is_no_surer_than_the_models(store: Store) -> None:
    """The averages of lows, highs and n (here ± .02 and 500) say nothing of another model."""
    values = [0.50, 0.60, 0.70, 0.64]
    for place, value in enumerate(values):
        step = Number(value=float(place))
        store.path(step).mkdir(parents=True)
        told = {"metric": "top1", "n": 500, "low": value - 0.02, "high": value + 0.02}
        write_record(store.path(step), step, [Measurement(value=value, **told)])
    (row,) = pivot(store, rows=["metric"], values=["value", "low", "high", "stderr", "n"]).records()
    error = stdev(values) / 2
    assert row == {
        "metric": "top1",
        "value": pytest.approx(0.61),
        "low": pytest.approx(0.61 - 3.182446305 * error),
        "high": pytest.approx(0.61 + 3.182446305 * error),
        "stderr": pytest.approx(error),
        "n": None,
        "Steps": 4,
    }
    one = pivot(store, rows=["metric"], values=["value", "low", "n"], steps=[Number(value=0.0).key]).rows
    assert one == (("top1", 0.5, pytest.approx(0.48), 500.0),)


def test_steps_count_once_however_much_each_measured(store: Store) -> None:
    for place, values in enumerate([(0.0, 0.0, 0.0, 0.0), (1.0,), (2.0, 4.0)]):
        step = Number(value=float(place))
        store.path(step).mkdir(parents=True)
        rows = [Measurement(metric="a", value=value, n=1, replicate=at) for at, value in enumerate(values)]
        write_record(store.path(step), step, rows)
    (row,) = pivot(store, rows=["metric"]).records()
    half = t.ppf(0.975, 2) * stdev([0.0, 1.0, 3.0]) / math.sqrt(3)
    assert row["value"] == pytest.approx(4 / 3)
    assert (row["low"], row["high"], row["Steps"]) == (pytest.approx(4 / 3 - half), pytest.approx(4 / 3 + half), 3)


def test_no_interval_of_shares_leaves_0_and_1_and_other_numbers_do(store: Store) -> None:
    for place, (right, loss) in enumerate([(97, 0.9), (40, 0.1)]):
        step = Number(value=float(place))
        share, known = right / 100, {"n": 100, "low": 0.01, "high": 0.99, "task": "t"}
        store.path(step).mkdir(parents=True)
        error = math.sqrt(share * (1 - share) / 100)
        numbers = {"mean_per_class_recall": (share, 0.2), "loss": (loss, 0.2), "top5": (share, None)}
        numbers |= {"top1": (share, error), "failure_rate": (share, None), "learning_rates": (loss, 0.2)}
        told = [Measurement(metric=name, value=one, stderr=error, **known) for name, (one, error) in numbers.items()]
        bare = {
            "exact_match": share,
            "recall@5": share,
            "fall_of_accuracy": share,
            "time": share,
            "accuracy_percent": right,
        }
        told += [Measurement(metric=name, value=one, n=100) for name, one in bare.items()]  # a user's own: no interval
        write_record(store.path(step), step, told)
    rows = {row["metric"]: row for row in pivot(store, rows=("metric",)).records()}
    half = t.ppf(0.975, 1) * stdev([0.97, 0.4]) / math.sqrt(2)
    assert half > 1
    for name in ("top1", "mean_per_class_recall", "top5", "failure_rate", "exact_match", "recall@5"):
        assert (rows[name]["value"], rows[name]["low"], rows[name]["high"]) == (pytest.approx(0.685), 0, 1)
    assert all(
        rows[name]["low"] < 0 and rows[name]["high"] > 1
        for name in ("loss", "learning_rates", "fall_of_accuracy", "time")
    )
    assert rows["accuracy_percent"]["high"] > 100


def test_a_text_is_no_number_of_a_cell_and_is_named(store: Store, make: Make) -> None:
    make(Number(value=1.0, label="3"), Number(value=3.0, label="x"))
    for name, text in {"label": "x", "task": "x", "kind": "core_steps.Number", "metric": "value"}.items():
        with pytest.raises(SurefootError, match=f"'{name}' is the text '{text}': put it in the rows"):
            pivot(store, rows=["kind"], values=["value", name])
    assert pivot(store, rows=["label"], values=["step.value"]).rows == (("3", 1.0), ("x", 3.0))


@dataclass(frozen=True, kw_only=True)
class Counted(Step):
    """Its fields have the names of columns of Measurement."""

    n: int
    task: str = "own"
    wall_seconds: float = 7.5

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        return ()


def test_a_field_that_a_column_hides_is_said_and_has_a_name_of_its_own(store: Store) -> None:
    for n in (3, 4):
        store.path(Counted(n=n)).mkdir(parents=True)
        write_record(store.path(Counted(n=n)), Counted(n=n), [Measurement(metric="top1", value=n / 10, n=100)])
    with pytest.warns(UserWarning, match=r"'n' is a column of the measurements; the field of the Step is 'step.n'"):
        assert pivot(store, rows=["metric"], values=["n"], where='"n" > 3 AND "step.n" > 3').rows == (("top1", 100.0),)
    with pytest.warns(UserWarning, match=r"the field of the Step is 'step.task'"):
        assert len(pivot(store, rows=["task", "step.n"]).rows) == 2
    assert pivot(store, rows=["step.n", "step.task"]).rows == ((3, "own", 0.3), (4, "own", 0.4))
    with pytest.warns(UserWarning, match=r"the field of the Step is 'step.wall_seconds'"):
        assert pivot(store, rows=["wall_seconds"], values=["step.wall_seconds"]).rows == ((None, 7.5),)
    with pytest.raises(SurefootError, match=r"'step\.log'"):
        pivot(store, rows=["step.log"])


def test_equal_values_have_no_interval_of_width_zero(store: Store, make: Make) -> None:
    make(*(Number(value=0.1, label=label) for label in "abc"))
    table = pivot(store, rows=["metric"])
    assert table.columns == ("metric", "value", "low", "high", "Steps")
    assert table.rows == (("value", pytest.approx(0.1), None, None, 3),)


def test_means_that_differ_by_rounding_alone_have_no_interval(store: Store) -> None:
    for place, values in enumerate([(0.1,), (0.1, 0.1, 0.1), (0.1,) * 7]):
        step = Number(value=float(place))
        store.path(step).mkdir(parents=True)
        write_record(store.path(step), step, [Measurement(metric="a", value=value, n=1) for value in values])
    assert pivot(store, rows=["metric"], values=["low", "high"]).rows == (("a", None, None),)


def test_cells_of_one_and_of_several_steps_stand_side_by_side(store: Store, make: Make) -> None:
    make(Number(value=1.0, label="x"), Number(value=3.0, label="x", log="/dev/null"), Number(value=5.0, label="y"))
    table = pivot(store, rows=["metric"], columns=["task"])
    heads = [f"{task} / {name}" for task in "xy" for name in ("value", "low", "high", "Steps")]
    assert table.columns == ("metric", *heads)
    half = t.ppf(0.975, 1) * 1.0
    assert table.rows == (("value", 2.0, pytest.approx(2 - half), pytest.approx(2 + half), 2, 5.0, None, None, 1),)


def test_metrics_are_never_averaged_together(store: Store, filled: list[Step]) -> None:
    message = (
        r"The cell replicate = 0 would be a mean over the metrics slow, value: add 'metric' .* \"metric\" = 'slow'\."
    )
    with pytest.raises(SurefootError, match=message):
        pivot(store, rows=["replicate"])
    assert pivot(store, rows=["replicate", "metric"]).rows[0][:2] == (0, "slow")
    assert len(pivot(store, rows=["replicate"], where="\"metric\" = 'slow'").rows) == 3
    assert len(pivot(store, rows=["replicate"], values=["wall_seconds"]).rows) == 3


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 9, 10, 29, 30, 100, 999])
def test_the_quantile_is_that_of_students_t(degrees: int) -> None:
    assert querying._t_quantile(degrees) == pytest.approx(t.ppf(0.975, degrees), rel=1e-11)


def test_fields_of_steps_and_of_steps_within_them_are_names_too(store: Store, filled: list[Step]) -> None:
    table = pivot(store, rows=["after.value", "metric"], where='"after.value" IS NOT NULL')
    assert table.rows == ((1.0, "slow", 8.0),)  # three of one Step: a mean, and no interval


def test_numbers_are_compared_and_sorted_as_numbers(store: Store, make: Make) -> None:
    make(*(Wave(frequency=frequency, terms=50) for frequency in (10.0, 9.5, 0.55, 200.0)))
    assert [row[0] for row in pivot(store, rows=["frequency"]).rows] == [0.55, 9.5, 10.0, 200.0]
    assert [row[0] for row in pivot(store, rows=["frequency"], where='"frequency" > 9.9').rows] == [10.0, 200.0]
    assert len(pivot(store, rows=["frequency"], where='"frequency" > 0.5').rows) == 4
    assert pivot(store, rows=["metric"], columns=["frequency"]).columns == ("metric", "0.55", "9.5", "10.0", "200.0")


def test_a_text_that_reads_as_another_value_is_another_row_and_column(store: Store, make: Make) -> None:
    labels = (1, "1", True, "true", None, "None", "x")
    make(*(Anything(label=label, value=float(place)) for place, label in enumerate(labels)))
    rows = dict(pivot(store, rows=["label"]).rows)
    assert rows == {"1": 0.0, '"1"': 1.0, "true": 2.0, '"true"': 3.0, None: 4.0, '"None"': 5.0, '"x"': 6.0}
    (record,) = pivot(store, rows=["metric"], columns=["label"]).records()
    assert sorted(value for name, value in record.items() if name != "metric") == [*map(float, range(7))]
    assert pivot(store, rows=["metric"], columns=["label"], where="value IN (0, 4)").columns == ("metric", "1", "None")


def test_a_pivot_may_be_limited_to_some_steps(store: Store, filled: list[Step]) -> None:
    assert pivot(store, rows=["step"], steps=[filled[0].key]).rows == ((filled[0].key, 1.0),)
    assert pivot(store, rows=["step"], steps=[]).rows == ()


def test_a_condition_keeps_quoted_texts_as_they_are(store: Store, filled: list[Step]) -> None:
    assert pivot(store, rows=["value"], where='"task" = \'a "b"\'').rows == ((10.0, 10.0),)
    assert pivot(store, rows=["value"], where="\"label\" = 'it''s' AND \"value\" < 5").rows == ((1.0, 1.0),)


def test_an_unknown_name_is_refused_with_the_nearest(store: Store, filled: list[Step]) -> None:
    for asked in ({"rows": ["after.valu"]}, {"rows": ["task"], "where": '"after.valu" > 1'}):
        with pytest.raises(SurefootError, match=r"has 'after\.valu'\. Did you mean 'after\.value'"):
            pivot(store, **asked)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    [
        'x"; DROP TABLE measurements; --',
        "x'; DROP TABLE measurements; --",
        "x') FROM steps; COPY (SELECT 1) TO 'stolen.csv'; --",
        '$."*"',
        "*",
        "\\",
        "value\x00",
        "",
    ],
)
def test_names_are_never_run_as_sql(store: Store, filled: list[Step], name: str) -> None:
    for asked in ({"rows": [name]}, {"rows": ["task"], "columns": [name]}, {"rows": ["task"], "values": [name]}):
        with pytest.raises(SurefootError, match="Neither a Measurement nor any Step"):
            pivot(store, **asked)  # type: ignore[arg-type]
        with pytest.raises(SurefootError, match="Neither a Measurement nor any Step"):
            pivot(Store(store.root / "empty"), **asked)  # type: ignore[arg-type]
    assert len(pivot(store, rows=["step"]).rows) == 4


@pytest.mark.parametrize(
    "where",
    [
        "1=1) GROUP BY 1; COPY (SELECT 1) TO '{out}'; --",
        "\"value\" IN (SELECT content FROM read_text('/etc/hostname'))",
        "1=1; ATTACH '{out}' AS other; --",
    ],
)
def test_a_condition_reads_and_writes_no_file(store: Store, filled: list[Step], tmp_path: Path, where: str) -> None:
    out = tmp_path / "stolen"
    with pytest.raises(SurefootError, match="cannot be answered"):
        pivot(store, rows=["task"], where=where.format(out=out))
    assert not out.exists()
    assert len(pivot(store, rows=["step"]).rows) == 4


# --- the index


@pytest.fixture
def small_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(querying, "COMPACT_ABOVE", 3)


def values(store: Store) -> list[float]:
    return [row[0] for row in query(store, "SELECT value FROM measurements ORDER BY value").rows]


def indexed(store: Store) -> list[Path]:
    return sorted((store.root / ".index").glob("*"))


def read(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the artifacts whose files a question reads."""
    keys: list[str] = []
    load = querying._load

    def noted(connection: object, of: Store, artifacts: dict[Path, int], *more: object) -> None:
        keys.extend(path.name for path in artifacts)
        load(connection, of, artifacts, *more)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(querying, "_load", noted)
        values(store)
    return keys


def test_many_artifacts_are_put_into_an_index_and_read_from_it(
    store: Store, make: Make, small_index: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(*(Number(value=float(value)) for value in range(3)))
    assert len(read(store, monkeypatch)) == 3
    assert indexed(store) == []
    make(Number(value=3.0))
    assert len(read(store, monkeypatch)) == 4
    assert len(indexed(store)) == 1
    make(Number(value=4.0))
    assert read(store, monkeypatch) == [Number(value=4.0).key]
    assert values(store) == [0, 1, 2, 3, 4]


def test_the_index_may_be_deleted_at_any_time(store: Store, make: Make, small_index: None) -> None:
    make(*(Number(value=float(value)) for value in range(5)))
    assert values(store) == [0, 1, 2, 3, 4]
    shutil.rmtree(store.root / ".index")
    assert values(store) == [0, 1, 2, 3, 4]
    assert len(indexed(store)) == 1


@pytest.mark.parametrize("damage", ["empty", "text", "gone", "older code"])
def test_a_damaged_index_is_read_around(store: Store, make: Make, small_index: None, damage: str) -> None:
    make(*(Number(value=float(value)) for value in range(5)))
    values(store)
    file = indexed(store)[0] / "measurements.parquet"
    if damage == "gone":
        file.unlink()
    elif damage == "older code":
        with connect(store) as connection:
            connection.sql("SELECT step, metric FROM measurements").write_parquet(f"{file}.new")
        Path(f"{file}.new").replace(file)
    else:
        file.write_text("" if damage == "empty" else "not Parquet")
    assert values(store) == [0, 1, 2, 3, 4]


def test_a_removed_artifact_is_gone_from_every_answer(store: Store, make: Make, small_index: None) -> None:
    make(*(Number(value=float(value)) for value in range(5)))
    values(store)
    store.remove(store.path(Number(value=2.0)))
    shutil.rmtree(store.path(Number(value=3.0)))
    assert values(store) == [0, 1, 4]
    assert len(query(store, "SELECT * FROM steps").rows) == 3


def test_an_artifact_that_was_made_anew_is_read_anew(store: Store, make: Make, small_index: None) -> None:
    steps = [Number(value=float(value)) for value in range(5)]
    make(*steps)
    values(store)
    store.remove(store.path(steps[2]))
    make(steps[2])
    record = store.path(steps[2]) / "record.json"
    for value, time in ((2.5, None), (2.7, (1e9, 1e9))):  # a copy keeps the time of an older one
        record.unlink()
        write_record(store.path(steps[2]), steps[2], [Measurement(metric="value", value=value, n=1)])
        os.utime(record, time)
        assert values(store) == [0, 1, value, 3, 4]


def test_a_store_that_cannot_be_written_is_still_answered(
    store: Store, make: Make, small_index: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(*(Number(value=float(value)) for value in range(5)))

    def refuse(*told: object, **named: object) -> None:
        raise PermissionError("read-only")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "mkdir", refuse)
        assert values(store) == [0, 1, 2, 3, 4]
    assert indexed(store) == []


def test_a_new_index_takes_the_place_of_the_old_ones(store: Store, make: Make, small_index: None) -> None:
    make(*(Number(value=float(value)) for value in range(5)))
    values(store)
    (first,) = indexed(store)
    (store.root / ".index" / "1-killed.part").mkdir()
    make(*(Number(value=float(value)) for value in range(5, 10)))
    assert values(store) == list(range(10))
    (second,) = indexed(store)
    assert second != first


def test_an_artifact_that_vanishes_while_it_is_read_is_left_out(
    store: Store, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(Number(value=1.0), Number(value=2.0))
    stamps = Store.stamps

    def late(of: Store) -> dict[str, tuple[str, int]]:
        found = stamps(of)
        shutil.rmtree(store.path(Number(value=2.0)), ignore_errors=True)
        return found

    monkeypatch.setattr(Store, "stamps", late)
    assert values(store) == [1.0]


def test_a_damaged_artifact_is_named(store: Store, make: Make) -> None:
    make(Number(value=1.0))
    path = store.path(Number(value=1.0)) / "record.json"
    path.write_text(path.read_text().replace("1.0", "2.0"))
    os.utime(path)
    with pytest.raises(SurefootError, match=r"record\.json is damaged"):
        values(store)


def test_a_damaged_artifact_concerns_those_alone_who_ask_for_it(store: Store, make: Make) -> None:
    whole, other = Number(value=1.0), Number(value=2.0)
    make(whole, other)
    path = store.path(other) / "record.json"
    path.write_text(path.read_text().replace("2.0", "3.0"))
    with pytest.warns(UserWarning, match=rf"Left out.*{other.key}.record\.json is damaged"):
        assert pivot(store, rows=["value"], values=["value"], steps=[whole.key]).rows[0][0] == 1.0
    for steps in ([whole.key, other.key], None):
        with pytest.raises(SurefootError, match=r"record\.json is damaged"):
            pivot(store, rows=["value"], steps=steps)


# --- per-example scores


def test_per_example_scores_are_found_by_key(store: Store, make: Make) -> None:
    step = Number(value=1.0)
    make(step)
    with pytest.raises(SurefootError, match=f"core_steps.Number {step.key} keeps no per-example scores"):
        examples_path(store, step.key[:6])
    (store.path(step) / "examples.parquet").touch()
    assert examples_path(store, step.key[:6]) == store.path(step) / "examples.parquet"


def test_per_example_scores_that_a_disk_has_changed_are_refused(store: Store) -> None:
    step = Number(value=1.0)
    store.path(step).mkdir(parents=True)
    (store.path(step) / "examples.parquet").write_bytes(b"scores")
    write_record(store.path(step), step, [])
    assert examples_path(store, step.key).read_bytes() == b"scores"
    (store.path(step) / "examples.parquet").write_bytes(b"scorez")
    with pytest.raises(SurefootError, match=r"examples\.parquet has another content than was recorded"):
        examples_path(store, step.key)


def test_a_field_without_quotes_in_a_condition_is_told_how_to_be_written(store: Store, make: Make) -> None:
    make(Number(value=1, label="a"), Number(value=2, label="b"))
    with pytest.raises(
        SurefootError, match=r"\"label\" not found.*Columns are step, kind, metric, .*: '\"seed\" > 0'"
    ) as told:
        pivot(store, rows=["metric"], where="label = 'a'")
    assert "SELECT" not in str(told.value)
    assert pivot(store, rows=["metric"], where="\"label\" = 'a'").rows == (("value", 1.0),)
