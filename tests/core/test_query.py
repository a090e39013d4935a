"""Questions to a whole store: tables by any field, right after any change of the store, and harmless by name."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import pytest
from core_steps import Number, Slow, Total, Wave

from surefoot.core import (
    Event,
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
    table = pivot(store, rows=["kind"], columns=["replicate"])
    assert table.columns == ("kind", "0", "1", "2")
    assert table.rows == (
        ("core_steps.Number", pytest.approx(mean([1.0, 10.0, 9.5])), None, None),
        ("core_steps.Slow", 7.0, 8.0, 9.0),
    )


def test_a_pivot_without_columns_shows_the_means_of_the_values(store: Store, filled: list[Step]) -> None:
    table = pivot(store, rows=["task"], values=["value", "n"], where="\"kind\" = 'core_steps.Number'")
    assert table.columns == ("task", "value", "n")
    assert table.rows == (('a "b"', 10.0, 1.0), ("it's", pytest.approx(5.25), 1.0))


def test_fields_of_steps_and_of_steps_within_them_are_names_too(store: Store, filled: list[Step]) -> None:
    table = pivot(store, rows=["after.value", "metric"], where='"after.value" IS NOT NULL')
    assert table.rows == ((1.0, "slow", 8.0),)


def test_numbers_are_compared_and_sorted_as_numbers(store: Store, make: Make) -> None:
    make(*(Wave(frequency=frequency, terms=50) for frequency in (10.0, 9.5, 0.55, 200.0)))
    assert [row[0] for row in pivot(store, rows=["frequency"]).rows] == [0.55, 9.5, 10.0, 200.0]
    assert [row[0] for row in pivot(store, rows=["frequency"], where='"frequency" > 9.9').rows] == [10.0, 200.0]
    assert len(pivot(store, rows=["frequency"], where='"frequency" > 0.5').rows) == 4
    assert pivot(store, rows=["metric"], columns=["frequency"]).columns == ("metric", "0.55", "9.5", "10.0", "200.0")


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

    def noted(connection: object, of: Store, artifacts: dict[Path, int]) -> None:
        keys.extend(path.name for path in artifacts)
        load(connection, of, artifacts)  # type: ignore[arg-type]

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
    (store.path(steps[2]) / "record.json").unlink()
    write_record(store.path(steps[2]), steps[2], [Measurement(metric="value", value=2.5, n=1)])
    assert values(store) == [0, 1, 2.5, 3, 4]


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


# --- per-example scores


def test_per_example_scores_are_found_by_key(store: Store, make: Make) -> None:
    step = Number(value=1.0)
    make(step)
    with pytest.raises(SurefootError, match=f"core_steps.Number {step.key} keeps no per-example scores"):
        examples_path(store, step.key[:6])
    (store.path(step) / "examples.parquet").touch()
    assert examples_path(store, step.key[:6]) == store.path(step) / "examples.parquet"
