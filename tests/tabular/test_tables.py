"""Tables with a label and groups: a user's file, its faults, the public tables, and splits of them."""

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from surefoot.core import Inputs, Measurement, Store, SurefootError, open_pool, run
from surefoot.tabular import (
    RECIPES,
    Design,
    FileTable,
    PublicTable,
    file_table,
    open_design,
    open_table,
    read_predictions,
)

needs_data = pytest.mark.skipif("SUREFOOT_DATA" not in os.environ, reason="SUREFOOT_DATA is not set")


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
    return list(step.make(out, Inputs(store)))


def test_a_csv_is_read_and_what_was_done_is_said(tmp_path: Path) -> None:
    step = file_table(write(tmp_path / "people.csv"), label="hired", sensitive=("sex", "age"))
    sizes = {each.group: each.value for each in made(step, Store(tmp_path)) if each.metric == "rows"}
    table = open_table(Store(tmp_path).path(step))
    names = [column.name for column in table.columns]
    notes = " ".join(table.notes)
    assert names == ["sex", "age", "city", "height", "when"]
    assert set(table.group_names) == {f"sex {sex}, age {side}" for sex in "FM" for side in ("<= 40", "> 40")}
    assert sum(sizes.values()) == 399
    for said in ("constant is constant", "id has", "1 rows have no hired", "height has 58 missing", "median"):
        assert said in notes
    when = table.values[names.index("when")]
    assert_allclose(np.diff(when[:2]), 86400, rtol=1e-2)


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


def refuse(path: Path, text: str, message: str, **options: object) -> None:
    path.write_text(text, encoding="utf-8")
    named = {"label": "y", "sensitive": ("g",)} | options
    with pytest.raises(SurefootError, match=message):
        made(file_table(path, **named), Store(path.parent / "store"))  # type: ignore[arg-type]


def test_mistakes_are_named(tmp_path: Path) -> None:
    rows = "".join(f"{row % 2},{row % 2},{row % 5}\n" for row in range(40))
    path = tmp_path / "t.csv"
    refuse(path, "y,g,x\n" + rows, "no column 'z'. It has: y, g, x", label="z")
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
    with pytest.raises(SurefootError, match="unknown kind"):
        file_table(path.rename(tmp_path / "t.xlsx"), label="y", sensitive=("g",))
    with pytest.raises(SurefootError, match="at least one sensitive"):
        file_table(write(tmp_path / "people.csv"), label="y", sensitive=())


def test_a_file_that_is_no_table_is_refused_without_a_traceback(tmp_path: Path) -> None:
    path = tmp_path / "broken.parquet"
    path.write_bytes(b"not parquet at all")
    with pytest.raises(SurefootError, match="cannot be read"):
        made(file_table(path, label="y", sensitive=("g",)), Store(tmp_path))


FAULTS: list[tuple[str, bytes, str]] = [
    ("empty.csv", b"", "is empty"),
    ("header.csv", b"y,g,x\n", "no rows with a label|must have two values"),
    ("latin.csv", b"y,g,x\n" + "1,a,Zürich\n0,b,Köln\n".encode("latin-1") * 9, "not UTF-8 text"),
    ("wide.csv", "y,g,x\n1,a,2\n0,b,3\n".encode("utf-16"), "not UTF-8 text"),
    ("ragged.csv", b"y,g,x\n" + b"1,a,2\n0,b,3\n" * 9 + b"1,a,2,more,still\n", "first line was not taken for names"),
    ("one.csv", b"y,g,x\n" + b"1,1,2\n" * 600 + b"1,1,2,3,4\n" + b"0,0,3\n" * 600, "cannot be split into columns"),
    ("bytes.csv", np.random.default_rng(0).bytes(50_000), "cannot be read"),
    ("bytes.parquet", b"PAR1" + np.random.default_rng(0).bytes(5000), "cannot be read"),
    ("bytes.arrow", np.random.default_rng(0).bytes(5000), "not an Arrow"),
    ("ours.csv", b"y,g,g__group\n" + b"1,a,2\n0,b,3\n" * 9, "'g__group', a name that is kept"),
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
    rows = "".join(f"{row % 2},{row % 2},{words.get(row, row / 2)},{row}e300,{row}\n" for row in range(60))
    path.write_text("y,g,wage,large,wage\n" + rows, encoding="utf-8")
    step = file_table(path, label="y", sensitive=("g",))
    made(step, Store(tmp_path))
    table = open_table(Store(tmp_path).path(step))
    by_name = {column.name: values for column, values in zip(table.columns, table.values, strict=True)}
    assert_array_equal(np.flatnonzero(np.isnan(by_name["wage"])), [3, 4])
    assert_allclose(np.delete(by_name["wage"], [3, 4])[-1], 29.5)
    assert np.isfinite(by_name["large"]).sum() == 1
    notes = " ".join(table.notes)
    for said in ("2 of its 60 values are none", "large: 59 values are infinite", "wage stands twice"):
        assert said in notes


def test_the_answer_that_counts_may_be_one_of_many(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = "".join(f"town {row % 30:02d},{row % 2},{row % 7}\n" for row in range(300))
    path.write_text("y,g,x\n" + rows, encoding="utf-8")
    step = file_table(path, label="y", sensitive=("g",), positive="town 29")
    made(step, Store(tmp_path))
    assert open_table(Store(tmp_path).path(step)).labels.sum() == 10


def test_a_stream_of_arrow_is_read_as_a_file_is(tmp_path: Path) -> None:
    arrow, ipc = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.ipc")
    table = arrow.table({"y": [0, 1] * 30, "g": ["a", "a", "b"] * 20, "x": list(range(60))})
    read = []
    for name, begin in (("file.arrow", ipc.new_file), ("stream.arrow", ipc.new_stream)):
        with begin(tmp_path / name, table.schema) as writer:
            writer.write_table(table, max_chunksize=7)
        step = file_table(tmp_path / name, label="y", sensitive=("g",))
        made(step, Store(tmp_path))
        read.append(open_table(Store(tmp_path).path(step)).values)
    assert_array_equal(read[0], read[1])
    assert_array_equal(read[0][1], range(60))


def test_a_changed_file_is_another_step(tmp_path: Path) -> None:
    path = write(tmp_path / "people.csv")
    step = file_table(path, label="hired", sensitive=("sex",))
    path.write_text(path.read_text(encoding="utf-8") + "x,F,3,Rome,7,1,2020-01-01,no\n", encoding="utf-8")
    with pytest.raises(SurefootError, match="changed after it was named"):
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


def test_predictions_are_read_and_their_faults_named(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("y,p,g\n1,0.9,a\n0,0.2,b\n,0.5,a\n1,,b\n", encoding="utf-8")
    truth, scores, codes, groups, notes = read_predictions(path, label="y", score="p", sensitive=("g",))
    assert (truth.tolist(), scores.tolist(), codes.tolist(), groups) == ([1, 0], [0.9, 0.2], [0, 1], ("g a", "g b"))
    assert "2 of 4 rows" in notes[0]
    for text, message in (
        ("y,p,g\n1,0.9,a\n3,0.2,b\n", "row 2: the label y must be 0 or 1"),
        ("y,p,g\n,0.9,a\n1,,b\n1,0.9,a\n1,7,b\n", "row 4: the score p is 7"),
        ("y,p,g\n1,0.9,a\n0,1.2,b\n", "row 2: the score p is 1.2"),
        ("y,p,g\n1,,a\n", "no row with both"),
        ("y,q,g\n1,1,a\n", "no column 'p'"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(SurefootError, match=message):
            read_predictions(path, label="y", score="p", sensitive=("g",))
