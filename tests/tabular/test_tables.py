"""Tables with a label and groups: a user's file, its faults, the public tables, and splits of them."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from surefoot.core import Measurement, Store, StoredInputs, SurefootError, open_pool, run
from surefoot.tabular import (
    RECIPES,
    Design,
    FileTable,
    PredictionColumns,
    PublicTable,
    open_design,
    open_table,
    read_predictions,
)
from surefoot.tabular._tables._design import split_rows

needs_data = pytest.mark.skipif("SUREFOOT_DATA" not in os.environ, reason="SUREFOOT_DATA is not set")


def file_table(path: Path, **fields: Any) -> FileTable:
    return FileTable(path=str(path), **fields).pinned()


def write(path: Path, rows: int = 400) -> Path:
    """A table with every difficulty: missing values, a constant, an identifier, rare and unseen categories."""
    generator = np.random.default_rng(0)
    lines = ["id,sex,age,city,constant,height,when,hired"]
    for row in range(rows):
        height = f"{generator.normal(170, 10):.1f}" if row % 7 else "NA"
        city = ("Rome", "Oslo")[row % 2] if row % 199 else f"hamlet {row}"
        day = f"2020-01-{1 + row % 28:02d}"
        answer = "yes" if generator.random() < 0.5 else "no"
        answer = "" if row == 5 else answer
        lines.append(f"person{row},{'FM'[row % 2 == 0]},{20 + row % 40},{city},7,{height},{day},{answer}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def made(step: FileTable | PublicTable | Design, store: Store) -> list[Measurement]:
    out = store.path(step)
    for table in (step.table,) if isinstance(step, Design) else ():
        if not store.has(table):
            with open_pool("here") as pool:
                events = list(run([table], store, pool))
            assert events[-1].kind == "made", events[-1].error
    out.mkdir(parents=True)
    return list(step.make(out, StoredInputs(store)))


def test_a_csv_is_read_and_what_was_done_is_said(tmp_path: Path) -> None:
    step = file_table(write(tmp_path / "people.csv"), label="hired", sensitive=("sex", "age"))
    sizes = {each.group: each.value for each in made(step, Store(tmp_path)) if each.metric == "rows"}
    table = open_table(Store(tmp_path).path(step))
    names = [column.name for column in table.columns]
    notes = " ".join(table.notes)
    assert names == ["sex", "age", "city", "height", "when"]
    assert set(table.group_names) == {f"sex {sex}, age {side}" for sex in "FM" for side in ("<= 40", "> 40")}
    assert sum(sizes.values()) == 399
    assert sum(size for group, size in sizes.items() if "<= 40" in group) == 209
    for said in ("constant is constant", "id has", "1 row has no hired", "height has 58 missing", "median"):
        assert said in notes
    when = table.values[names.index("when")]
    assert_allclose(np.diff(when[:2]), 86400, rtol=1e-2)


def test_times_with_an_offset_are_those_of_greenwich_wherever_the_table_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    ways = ["2020-05-04T12:00:00+02:00", "2020-05-04 10:00:00", "2020-05-04T05:00:00-05:00", "2020-05-05"]
    rows = [f"{'ab'[row // 2 % 2]},{ways[row % 4]},{row % 3 % 2}" for row in range(80)]
    (tmp_path / "people.csv").write_text("\n".join(["sex,when,hired", *rows]) + "\n", encoding="utf-8")
    step = file_table(tmp_path / "people.csv", label="hired", sensitive=("sex",))
    made(step, Store(tmp_path))
    when = open_table(Store(tmp_path).path(step)).values[1][:4]
    assert_allclose(when - when[0], [0, 0, 0, 14 * 3600], atol=1)


def test_rows_that_are_others_again_are_counted(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    lines = [f"{'ab'[row % 2]},{generator.normal():.4f},{generator.integers(2)}" for row in range(60)]
    again = [*lines, *lines[:25]]
    rows = [f"person{place},{line}" for place, line in enumerate(again)]  # an identifier tells nobody apart
    for name, kept in (("once", rows[:60]), ("again", rows)):
        (tmp_path / f"{name}.csv").write_text("\n".join(["id,sex,height,hired", *kept]) + "\n", encoding="utf-8")
    notes = {}
    for name in ("once", "again"):
        step = file_table(tmp_path / f"{name}.csv", label="hired", sensitive=("sex",))
        made(step, Store(tmp_path / name))
        notes[name] = " ".join(open_table(Store(tmp_path / name).path(step)).notes)
    assert "25 rows repeat the features and the label of another of 85" in notes["again"]
    assert "repeat" not in notes["once"]


def test_a_side_called_missing_is_not_that_of_the_rows_without_a_value(tmp_path: Path) -> None:
    rows = [f"{('missing', 'x', '')[row % 3]},{row % 7},{row % 2}" for row in range(90)]
    (tmp_path / "people.csv").write_text("\n".join(["sex,height,hired", *rows]) + "\n", encoding="utf-8")
    step = file_table(tmp_path / "people.csv", label="hired", sensitive=("sex",))
    sizes = [(each.group, each.value) for each in made(step, Store(tmp_path)) if each.metric == "rows"]
    assert sizes == [("sex missing", 30), ("sex without a value", 30), ("sex x", 30)]


def test_parquet_and_arrow_give_the_same_as_csv(tmp_path: Path) -> None:
    duckdb, feather = pytest.importorskip("duckdb"), pytest.importorskip("pyarrow.feather")
    csv = write(tmp_path / "people.csv")
    with duckdb.connect() as connection:
        reader = f"read_csv('{csv}', nullstr=['', 'NA'], sample_size=-1)"
        connection.execute(f"COPY (SELECT * FROM {reader}) TO '{tmp_path / 'people.parquet'}'")
        arrow = connection.sql(f"SELECT * FROM {reader}").to_arrow_table()
        feather.write_feather(arrow, tmp_path / "people.arrow", compression="uncompressed")
    tables = []
    for suffix in ("csv", "parquet", "arrow"):
        step = file_table(tmp_path / f"people.{suffix}", label="hired", sensitive=("sex",))
        made(step, Store(tmp_path / suffix))
        tables.append(open_table(Store(tmp_path / suffix).path(step)))
    for other in tables[1:]:
        assert other.columns == tables[0].columns
        assert_array_equal(other.values, tables[0].values)
        assert_array_equal(other.groups, tables[0].groups)


def test_columns_of_lists_spans_and_nan_are_read_and_not_emptied(tmp_path: Path) -> None:
    """Lists and records of numbers are categories, spans of time their seconds; NaN is missing, of the label too."""
    pa, feather = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.feather")
    row = np.arange(60)
    columns = {
        "y": pa.array(np.where(row < 6, np.nan, row % 2.0)),
        "g": pa.array(np.where(row % 3 == 0, np.nan, row)),
        "pair": pa.array([[one % 3, 1] for one in row.tolist()], pa.list_(pa.int64(), 2)),
        "record": [{"a": one % 4} for one in row.tolist()],
        "span": pa.array(row * 60, pa.duration("s")),
    }
    feather.write_feather(pa.table(columns), tmp_path / "t.arrow")
    step = file_table(tmp_path / "t.arrow", label="y", sensitive=("g",), drop=("g",))
    sizes = {each.group: each.value for each in made(step, Store(tmp_path)) if each.metric == "rows"}
    table = open_table(Store(tmp_path).path(step))
    assert {column.name: len(column.levels) for column in table.columns} == {"pair": 3, "record": 4, "span": 0}
    assert sizes == {"g <= 33": 18, "g > 33": 18, "g missing": 18}
    assert_array_equal(table.values[2], row[6:] * 60)
    assert "6 rows have no y: left out." in table.notes


def refuse(path: Path, text: str, message: str, **options: object) -> None:
    path.write_text(text, encoding="utf-8")
    named = {"label": "y", "sensitive": ("g",)} | options
    with pytest.raises(SurefootError, match=message):
        made(file_table(path, **named), Store(path.parent / "store"))  # type: ignore[arg-type]


def test_mistakes_are_named(tmp_path: Path) -> None:
    rows = "".join(f"{row % 2},{row % 2},{row % 5}\n" for row in range(40))
    path = tmp_path / "t.csv"
    refuse(path, "y,g,x\n" + rows, "no column 'z'. Its columns are: 'y', 'g', 'x'", label="z")
    refuse(path, "y,g,height\n" + rows, "Did you mean 'height'", drop=("heigt",))
    refuse(path, "y,x,g\n" + "".join(f"{row % 2},{row % 5},3\n" for row in range(40)), "one group")
    refuse(path, "y,g,x\n" + "1,1,2\n1,0,3\n" * 9, "must have two values, and has 1")
    refuse(path, "y,g,x\n" + "1,1,2\n2,0,3\n3,0,3\n" * 9, "--positive VALUE")
    refuse(path, "y,g,x\n" + rows, "No row has y = 'maybe'", positive="maybe")
    refuse(path, "y,g,x\n" + "1,1,2\n0,0,2\n" * 9, "No feature is left", drop=("g",))
    many = "y,g,x\n" + "".join(f"{row % 2},group {row % 100},{row % 7}\n" for row in range(500))
    refuse(path, many, "make 100 groups; 64 are the most")
    with pytest.raises(SurefootError, match="There is no file"):
        file_table(tmp_path / "none.csv", label="y", sensitive=("g",))
    with pytest.raises(SurefootError, match="its name must end in"):
        file_table(path.rename(tmp_path / "t.dta"), label="y", sensitive=("g",))
    with pytest.raises(SurefootError, match="at least one sensitive"):
        file_table(write(tmp_path / "people.csv"), label="y", sensitive=())


def test_a_file_that_is_no_table_is_refused_without_a_traceback(tmp_path: Path) -> None:
    path = tmp_path / "broken.parquet"
    path.write_bytes(b"not parquet at all")
    with pytest.raises(SurefootError, match="not a Parquet file"):
        made(file_table(path, label="y", sensitive=("g",)), Store(tmp_path))


FAULTS: list[tuple[str, bytes, str]] = [
    ("empty.csv", b"", "is empty"),
    ("header.csv", b"y,g,x\n", "no rows"),
    ("latin.csv", b"y,g,x\n" + "1,a,Zürich\n0,b,Köln\n".encode("latin-1") * 9, "not UTF-8 text"),
    ("wide.csv", "y,g,x\n1,a,2\n0,b,3\n".encode("utf-16"), "not UTF-8 text"),
    ("ragged.csv", b"y,g,x\n" + b"1,a,2\n0,b,3\n" * 9 + b"1,a,2,more,still\n", "row 19 has 4 cells"),
    ("bytes.csv", np.random.default_rng(0).bytes(50_000), "bytes.csv"),
    ("bytes.parquet", b"PAR1" + np.random.default_rng(0).bytes(5000), "not a Parquet file"),
    ("bytes.arrow", np.random.default_rng(0).bytes(5000), "not an Arrow"),
    ("ours.csv", b"y,g,g__group\n" + b"1,a,2\n0,b,3\n" * 9, "'g__group', a name that is kept"),
    ("twice.csv", b"y,g,x,x\n" + b"1,a,2,2\n0,b,3,2\n" * 9, "two columns of one name"),
]


@pytest.mark.parametrize(("name", "content", "message"), FAULTS, ids=[name for name, *_ in FAULTS])
def test_a_faulty_file_is_named_in_one_sentence(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SurefootError, match=message) as caught:
        made(file_table(tmp_path / name, label="y", sensitive=("g",)), Store(tmp_path))
    assert len(str(caught.value)) < 250 + len(str(tmp_path))


def test_values_are_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = "".join(f"{('yes', 'no')[row % 2]},F,{('Rome', 'Oslo')[row % 3 == 0]},{row}\n" for row in range(40))
    path.write_text("y,sex,city,x\n" + rows, encoding="utf-8")
    step = file_table(path, label="y", sensitive=("sex", "city", "sex"), positive="no")
    assert step.sensitive == ("sex", "city")
    made(step, Store(tmp_path))
    table = open_table(Store(tmp_path).path(step))
    assert table.group_names == ("sex F, city Oslo", "sex F, city Rome")
    assert_array_equal(table.labels, [row % 2 for row in range(40)])
    with pytest.raises(SurefootError, match="label y cannot be a sensitive column"):
        file_table(path, label="y", sensitive=("y",))


def test_a_number_with_a_few_words_or_no_end_is_a_number(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    words = {3: "none given", 4: "inf"}
    rows = "".join(f"{row % 2},{row % 2},{words.get(row, row / 2)},{row % 50}e30,{row % 9}\n" for row in range(60))
    path.write_text("y,g,wage,large,x\n" + rows, encoding="utf-8")
    table, notes = read(path, label="y", sensitive=("g",))
    assert_array_equal(np.flatnonzero(np.isnan(table["wage"])), [3, 4])
    assert_allclose(np.delete(table["wage"], [3, 4])[-1], 29.5)
    assert "'none given' in row 4" in notes
    assert np.isfinite(table["large"]).sum() == 60


def read(path: Path, **named: object) -> tuple[dict[str, np.ndarray], str]:
    """The features of a file by name, with all notes as one text."""
    step = file_table(path, **named)  # type: ignore[arg-type]
    store = Store(path.parent / f"store of {path.name}")
    made(step, store)
    table = open_table(store.path(step))
    features = {column.name: values for column, values in zip(table.columns, table.values, strict=True)}
    return features, " ".join(table.notes)


def test_values_that_single_precision_would_merge_are_counted_from_their_median(tmp_path: Path) -> None:
    """Seconds of one minute since 1970: single precision has steps of 128 there, and made a constant of them."""
    seconds = 1_700_000_000 + np.random.default_rng(0).permutation(np.tile(np.arange(0, 60, 2), 10))
    path = tmp_path / "t.csv"
    lines = [f"{each},{each % 60 // 30},{row % 2}" for row, each in enumerate(seconds)]
    path.write_text("seen,y,g\n" + "\n".join(lines) + "\n", encoding="utf-8")
    features, notes = read(path, label="y", sensitive=("g",))
    assert_array_equal(features["seen"], seconds - np.median(seconds))
    assert f"Column seen is counted from its median {np.median(seconds):.15g}" in notes


def test_what_numbers_the_rows_is_no_feature(tmp_path: Path) -> None:
    """The unnamed index of to_csv, a shuffled or thinned one, one that begins anew, a count in a column of any name.

    A file may be sorted by a wage, which some have in common: that is a feature.
    """
    generator = np.random.default_rng(0)
    shuffled, thinned = generator.permutation(300), np.sort(generator.choice(9000, 300, replace=False))
    years = 2000 + np.arange(300) % 10
    path = tmp_path / "t.csv"
    rows = zip(range(300), shuffled, thinned, years, generator.integers(0, 10**6, 300), strict=True)
    lines = [
        f"{a},{b},{c},{300 - a},{a % 150},{d},{e},{3 * (a - a // 100)},{int(a > 150)},{a % 2}" for a, b, c, d, e in rows
    ]
    path.write_text(
        ",position,file,down,of_two_files,year,weight,wage,y,g\n" + "\n".join(lines) + "\n", encoding="utf-8"
    )
    features, notes = read(path, label="y", sensitive=("g",))
    assert set(features) == {"year", "weight", "wage", "g"}
    for name in ("column1", "position", "file", "down", "of_two_files"):
        assert f"Column {name} only numbers the rows" in notes


def test_the_index_of_a_parquet_or_arrow_file_is_no_feature(tmp_path: Path) -> None:
    pandas, feather = pytest.importorskip("pandas"), pytest.importorskip("pyarrow.feather")
    arrow = pytest.importorskip("pyarrow")
    frame = pandas.DataFrame(
        {"y": [0, 1] * 40, "g": ["a", "a", "b", "b"] * 20, "x": [float(row % 7) for row in range(80)]}
    )
    indexed = frame.set_index([pandas.Index([row % 5 for row in range(80)], name="state"), frame.index[::-1]])
    indexed.to_parquet(tmp_path / "t.parquet")
    feather.write_feather(arrow.Table.from_pandas(indexed), str(tmp_path / "t.arrow"))
    foreign = {**arrow.Table.from_pandas(indexed).schema.metadata, b"\xff": b"\xb4"}  # a note that is no text
    pytest.importorskip("pyarrow.parquet").write_table(
        arrow.Table.from_pandas(indexed).replace_schema_metadata(foreign), tmp_path / "noted.parquet"
    )
    for name in ("t.parquet", "noted.parquet", "t.arrow"):
        features, notes = read(tmp_path / name, label="y", sensitive=("g",))
        assert set(features) == {"g", "x"}
        assert "(state, __index_level_1__) is no feature" in notes


def test_a_decimal_comma_is_a_number(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    drawn = generator.normal(size=200).round(3)
    path = tmp_path / "t.csv"
    lines = [f"{int(value > 0)};{row % 2};{str(value).replace('.', ',')}" for row, value in enumerate(drawn)]
    path.write_text("y;g;x\n" + "\n".join(lines) + "\n", encoding="utf-8")
    features, notes = read(path, label="y", sensitive=("g",))
    assert_allclose(features["x"], drawn, rtol=1e-6)
    assert "decimal comma" in notes
    assert "Column x alone tells the label" in notes


def test_ages_with_a_few_words_are_cut_at_their_median(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    ages = [str(18 + row % 53) if row % 40 else "unknown" for row in range(400)]
    lines = [f"{row % 2},{age},{row % 7}" for row, age in enumerate(ages)]
    path.write_text("y,age,x\n" + "\n".join(lines) + "\n", encoding="utf-8")
    step = file_table(path, label="y", sensitive=("age",))
    made(step, Store(tmp_path))
    table = open_table(Store(tmp_path).path(step))
    assert table.group_names == ("age <= 42.5", "age > 42.5", "age missing")
    assert sum("cells without a number" in note for note in table.notes) == 1


@pytest.mark.parametrize("kind", ["category", "number", "band", "missing"])
def test_a_column_that_alone_tells_the_label_is_named(kind: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, 500)
    noise = generator.normal(size=500)
    told = {
        "category": np.where(y == 1, "paid", "open"),
        "number": y * 3 + noise.clip(-1.4, 1.4),
        "band": np.where(y == 1, 2, generator.choice([1, 3], 500)),
        "missing": np.where(y == 1, noise.round(3).astype(str), ""),
    }[kind]
    path = tmp_path / "t.csv"
    lines = [
        f"{answer},{row % 2},{value},{other:.4f}"
        for row, (answer, value, other) in enumerate(zip(y, told, noise, strict=True))
    ]
    path.write_text("y,g,told,noise\n" + "\n".join(lines) + "\n", encoding="utf-8")
    _, notes = read(path, label="y", sensitive=("g",))
    assert "Column told alone tells the label" in notes
    assert "Column noise alone" not in notes


def test_a_value_of_one_row_does_not_tell_that_rows_label(tmp_path: Path) -> None:
    """Eighty numbers, each of one row: what a value says of the label is said by its other rows, and there are none."""
    noise = np.random.default_rng(0).normal(size=80)
    path = tmp_path / "t.csv"
    lines = [f"{row // 2 % 2},{row % 2},{value:.6f}" for row, value in enumerate(noise)]
    path.write_text("y,g,noise\n" + "\n".join(lines) + "\n", encoding="utf-8")
    features, notes = read(path, label="y", sensitive=("g",))
    assert "noise" in features and "alone tells" not in notes


def test_many_rare_levels_do_not_tell_the_label_by_chance(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    path = tmp_path / "t.csv"
    lines = [f"{generator.integers(0, 2)},{row % 2},town {generator.integers(0, 90)}" for row in range(260)]
    path.write_text("y,g,town\n" + "\n".join(lines) + "\n", encoding="utf-8")
    assert "alone tells" not in read(path, label="y", sensitive=("g",))[1]


def test_a_name_with_quotation_marks_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "o'brien"
    folder.mkdir()
    path = folder / "t'able.csv"
    lines = [f"{row % 2},it's {'ab'[row % 2]}\"q,{row % 7}" for row in range(60)]
    text = "y,g'1,x\n" + "\n".join(lines) + "\n"
    path.write_text(text.replace('"', '""').replace("it's", "\"it's").replace("q,", 'q",'), encoding="utf-8")
    step = file_table(path, label="y", sensitive=("g'1",))
    made(step, Store(folder))
    assert open_table(Store(folder).path(step)).group_names == ("g'1 it's a\"q", "g'1 it's b\"q")


def test_the_answer_that_counts_may_be_one_of_many(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = "".join(f"town {row % 30:02d},{row % 2},{row % 7}\n" for row in range(300))
    path.write_text("y,g,x\n" + rows, encoding="utf-8")
    step = file_table(path, label="y", sensitive=("g",), positive="town 29")
    made(step, Store(tmp_path))
    assert open_table(Store(tmp_path).path(step)).labels.sum() == 10


def test_the_answer_that_counts_may_be_a_number_written_in_another_way(tmp_path: Path) -> None:
    pd.DataFrame({"y": [1.0, 2.0] * 60, "g": ["a", "b", "b"] * 40, "p": [0.2, 0.7] * 60}).to_parquet(
        tmp_path / "t.parquet"
    )
    found = read_predictions(tmp_path / "t.parquet", replace(PREDICTED, positive="2"))
    assert found.labels is not None and found.labels.sum() == 60
    step = file_table(tmp_path / "t.parquet", label="y", sensitive=("g",), positive="2")
    made(step, Store(tmp_path))
    assert open_table(Store(tmp_path).path(step)).labels.sum() == 60
    with pytest.raises(SurefootError, match=r"No row has y = '3'. Its values: 1.0, 2.0"):
        read_predictions(tmp_path / "t.parquet", replace(PREDICTED, positive="3"))


def test_a_stream_of_arrow_is_read_as_a_file_is(tmp_path: Path) -> None:
    arrow, ipc = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.ipc")
    table = arrow.table({"y": [0, 1] * 30, "g": ["a", "a", "b"] * 20, "x": [7 * row % 61 for row in range(60)]})
    read = []
    for name, begin in (("file.arrow", ipc.new_file), ("stream.arrow", ipc.new_stream)):
        with begin(tmp_path / name, table.schema) as writer:
            writer.write_table(table, max_chunksize=7)
        step = file_table(tmp_path / name, label="y", sensitive=("g",))
        made(step, Store(tmp_path))
        read.append(open_table(Store(tmp_path).path(step)).values)
    assert_array_equal(read[0], read[1])
    assert_array_equal(read[0][1], [7 * row % 61 for row in range(60)])


def test_a_changed_file_is_another_step(tmp_path: Path) -> None:
    path = write(tmp_path / "people.csv")
    step = file_table(path, label="hired", sensitive=("sex",))
    path.write_text(path.read_text(encoding="utf-8") + "x,F,3,Rome,7,1,2020-01-01,no\n", encoding="utf-8")
    with pytest.raises(SurefootError, match="have changed since"):
        made(step, Store(tmp_path))
    assert file_table(path, label="hired", sensitive=("sex",)).key != step.key


def test_a_design_learns_its_encoding_from_training_rows_alone(tmp_path: Path) -> None:
    table = file_table(write(tmp_path / "people.csv"), label="hired", sensitive=("sex",))
    step = Design(table=table, seed=3, validation=0.2, test=0.2)
    made(step, Store(tmp_path))
    design = open_design(Store(tmp_path).path(step))
    train = np.asarray(design.train.x)
    place = design.features.index("height")
    assert_allclose([train[:, place].mean(), train[:, place].std()], [0, 1], atol=1e-5)
    assert "height is missing" in design.features
    assert not any("hamlet" in name for name in design.features)
    assert np.isfinite(design.test.x).all() and np.isfinite(design.validation.x).all()


def test_features_are_those_of_scikit_learn(tmp_path: Path) -> None:
    """Missing numbers at the median with an indicator; rare levels are one; the most frequent level has no column."""
    impute, scale = pytest.importorskip("sklearn.impute"), pytest.importorskip("sklearn.preprocessing")
    generator = np.random.default_rng(4)
    numbers, levels = (
        generator.exponential(size=500).round(4),
        generator.choice(list("abcd"), 500, p=[0.7, 0.2, 0.08, 0.02]),
    )
    lines = [
        f"{n if row % 6 else ''},{c},{'FM'[row % 2]},{row // 2 % 2}"
        for row, (n, c) in enumerate(zip(numbers, levels, strict=True))
    ]
    (tmp_path / "t.csv").write_text("n,c,g,y\n" + "\n".join(lines) + "\n", encoding="utf-8")
    table = file_table(tmp_path / "t.csv", label="y", sensitive=("g",))
    store = Store(tmp_path / "store")
    design = Design(table=table, rare=0.05)
    made(design, store)
    found, arrays = open_design(store.path(design)), open_table(store.path(table))
    rows = split_rows(arrays, design)["train"]
    number, level = np.asarray(arrays.values[0])[rows], np.array(list(levels))[rows]
    share = {name: float((level == name).mean()) for name in "abcd"}
    columns = dict(zip(found.features, found.train.x.T, strict=True))
    filled = impute.SimpleImputer(strategy="median").fit_transform(number[:, None])
    assert_allclose(columns["n"], scale.StandardScaler().fit_transform(filled)[:, 0], atol=1e-5)
    assert_array_equal(columns["n is missing"], np.isnan(number))
    assert share["d"] < 0.05 <= share["c"]
    for name in "bc":
        assert_array_equal(columns[f"c = {name}"], level == name)
    assert_array_equal(columns["c = one of 1 rare values"], level == "d")
    assert "c = a" not in columns


def test_a_category_of_which_every_value_is_rare_is_left_out_and_said(tmp_path: Path) -> None:
    lines = [f"{row},z{row % 300},{'ab'[row % 3 > 0]},{'FM'[row % 2]},{row // 2 % 2}" for row in range(900)]
    (tmp_path / "t.csv").write_text("n,zip,c,g,y\n" + "\n".join(lines) + "\n", encoding="utf-8")
    store, design = Store(tmp_path), Design(table=file_table(tmp_path / "t.csv", label="y", sensitive=("g",)))
    made(design, store)
    found = open_design(store.path(design))
    assert "c = a" in found.features and not any("zip" in name for name in found.features)
    assert "values is rare: it was left out" in next(n for n in found.notes if "zip" in n)


def test_splits_are_disjoint_stratified_and_follow_the_seed(tmp_path: Path) -> None:
    table = file_table(write(tmp_path / "people.csv", 1000), label="hired", sensitive=("sex",))
    shares = []
    for seed in (0, 1):
        step = Design(table=table, seed=seed, validation=0.1, test=0.3)
        made(step, Store(tmp_path))
        design = open_design(Store(tmp_path).path(step))
        parts = (design.train, design.validation, design.test)
        assert [len(part.y) for part in parts] == pytest.approx([600, 100, 300], abs=4)
        spread = [np.bincount(part.g, part.y) / np.bincount(part.g) for part in parts]
        assert_allclose(spread[1], spread[0], atol=0.03)
        shares.append(np.asarray(design.train.x)[:50])
    assert not np.array_equal(shares[0], shares[1])


def test_training_rows_can_be_limited(tmp_path: Path) -> None:
    table = file_table(write(tmp_path / "people.csv"), label="hired", sensitive=("sex",))
    step = Design(table=table, rows=100)
    made(step, Store(tmp_path))
    assert len(open_design(Store(tmp_path).path(step)).train.y) == 100


def test_impossible_splits_are_refused(tmp_path: Path) -> None:
    table = file_table(write(tmp_path / "people.csv"), label="hired", sensitive=("sex",))
    for step, message in (
        (Design(table=table, validation=0.6, test=0.6), "leave rows for training"),
        (Design(table=table, official=True), "no official test rows"),
    ):
        with pytest.raises(SurefootError, match=message):
            made(step, Store(tmp_path))


def test_an_unknown_public_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SurefootError, match="Did you mean 'german'"):
        made(PublicTable(name="germany"), Store(tmp_path))


@needs_data
@pytest.mark.parametrize(
    ("name", "rows", "positive", "groups"),
    [
        pytest.param("acs-income", 665800, 0.369, (73699, 73084, 245263, 273754), marks=pytest.mark.slow),
        pytest.param("acs-public-coverage", 455316, 0.298, (69823, 59284, 189038, 137171), marks=pytest.mark.slow),
        ("brfss", 319795, 0.128, (40305, 34278, 127500, 117712)),
        ("communities", 1994, 0.726, (356, 637, 616, 385)),
    ],
)
def test_the_public_tables_have_their_known_sizes(
    name: str, rows: int, positive: float, groups: tuple[int, ...], tmp_path: Path
) -> None:
    step = PublicTable(name=name)
    sizes = tuple(int(each.value) for each in made(step, Store(tmp_path)) if each.metric == "rows")
    table = open_table(Store(tmp_path).path(step))
    assert (len(table.labels), sizes) == (rows, groups)
    assert_allclose(table.labels.mean(), positive, atol=5e-4)


def test_tables_of_packages_have_their_known_sizes(tmp_path: Path) -> None:
    known = {
        "adult": (48842, 0.2393, (3165, 3915, 13027, 28735)),
        "compas": (7214, 0.4812, (828, 3932, 567, 1887)),
        "german": (1000, 0.7, (105, 205, 379, 311)),
        "star": (5748, 0.4962, (936, 943, 2018, 1851)),
    }
    for name, (rows, positive, groups) in known.items():
        step = PublicTable(name=name)
        try:
            measured = made(step, Store(tmp_path))
        except SurefootError as error:
            pytest.skip(f"the registry is not reachable: {error}")
        table = open_table(Store(tmp_path).path(step))
        assert (len(table.labels), tuple(int(m.value) for m in measured if m.metric == "rows")) == (rows, groups)
        assert_allclose(table.labels.mean(), positive, atol=5e-4)
        assert table.official.sum() == (16281 if name == "adult" else 0)
    assert set(known) < set(RECIPES)


PREDICTED = PredictionColumns(label="y", score="p", sensitive=("g",))


def test_predictions_are_read_and_their_faults_named(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("y,p,g\n1,0.9,a\n0,0.2,b\n,0.5,a\n1,,b\n", encoding="utf-8")
    found = read_predictions(path, PREDICTED)
    assert found.labels is not None
    assert (found.labels.tolist(), found.scores.tolist()) == ([1, 0], [0.9, 0.2])
    (division,) = found.divisions
    assert (division.codes.tolist(), division.groups) == ([0, 1], ("g a", "g b"))
    assert "2 of 4 rows" in found.notes[0]
    for text, message in (
        ("y,p,g\n1,0.9,a\n3,0.2,b\n", "row 2: the label y must be 0 or 1"),
        ("y,p,g\n,0.9,a\n1,,b\n1,0.9,a\n1,7,b\n", "row 4: the column p is 7"),
        ("y,p,g\n1,0.9,a\n0,1.2,b\n", "row 2: the column p is 1.2"),
        ("y,p,g\n1,,a\n", "no row with all of y, p"),
        ("y,q,g\n1,1,a\n", "no column 'p'"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(SurefootError, match=message):
            read_predictions(path, PREDICTED)


@pytest.mark.parametrize(
    ("yes", "no"), [("True", "False"), ("yes", "no"), ("1", "0"), ("1.0", "0.0"), ("TRUE", "FALSE"), ("Y", "n")]
)
def test_scores_and_labels_may_be_words(tmp_path: Path, yes: str, no: str) -> None:
    lines = [f"{(no, yes)[row % 2]},{(no, yes)[row % 3 == 0]},{'ab'[row % 5 > 1]}" for row in range(60)]
    path = tmp_path / "p.csv"
    path.write_text("y,p,g\n" + "\n".join(lines) + "\n", encoding="utf-8")
    found = read_predictions(path, PREDICTED)
    assert found.labels is not None
    assert_array_equal(found.labels, np.arange(60) % 2)
    assert_array_equal(found.scores, np.arange(60) % 3 == 0)


def test_each_sensitive_column_is_a_division_of_its_own(tmp_path: Path) -> None:
    lines = [f"{row % 2},0.{row % 9},{'FM'[row % 2]},{'abc'[row // 2 % 3]},{1 + row % 4}" for row in range(60)]
    path = tmp_path / "p.csv"
    path.write_text("y,p,sex,race,w\n" + "\n".join(lines) + "\n", encoding="utf-8")
    found = read_predictions(path, replace(PREDICTED, sensitive=("sex", "race"), weight="w"))
    assert [division.name for division in found.divisions] == ["sex x race", "sex", "race"]
    assert found.divisions[0].groups[0] == "sex F, race a"
    assert found.divisions[1].groups == ("sex F", "sex M")
    assert_array_equal(found.divisions[2].codes, np.arange(60) // 2 % 3)
    assert found.weights is not None and found.weights[:4].tolist() == [1, 2, 3, 4]
    path.write_text("y,p,sex,race\n" + "\n".join(line[:-4] + ",a" for line in lines) + "\n", encoding="utf-8")
    found = read_predictions(path, replace(PREDICTED, sensitive=("sex", "race")))
    assert [division.name for division in found.divisions] == ["sex x race", "sex"]  # of one group: no division
    with pytest.raises(SurefootError, match="is named twice"):
        read_predictions(path, replace(PREDICTED, sensitive=("p",)))


def test_a_row_that_weighs_nothing_is_left_out_and_said(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    lines = [f"{row % 2},0.{row % 9},{'FM'[row % 2]},{row % 3}" for row in range(60)]
    path.write_text("y,p,g,w\n" + "\n".join(lines) + "\n", encoding="utf-8")
    found = read_predictions(path, replace(PREDICTED, weight="w"))
    assert len(found.scores) == 40
    assert "20 of 60 rows have no y or no p or no w that can be read, or a weight of 0" in found.notes[0]
    path.write_text("y,p,g,w\n1,0.5,a,1\n0,0.5,b,-2\n", encoding="utf-8")
    with pytest.raises(SurefootError, match="row 2: the column w is -2; it must be above 0"):
        read_predictions(path, replace(PREDICTED, weight="w"))
    path.write_text("y,p,g\n1,high,a\n0,low,b\n", encoding="utf-8")
    with pytest.raises(SurefootError, match="all of y, p that can be read: scores are numbers, or no and yes"):
        read_predictions(path, PREDICTED)
