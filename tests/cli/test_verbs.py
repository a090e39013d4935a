"""The verbs, on a small study that really runs."""

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import duckdb
import pytest

STUDY = Path(__file__).with_name("arithmetic_study.py")
Verb = Callable[..., Any]


@pytest.fixture
def finished(surefoot: Verb) -> Verb:
    """The command, in a directory where the study was run."""
    ended = surefoot("run", STUDY, "--pool", "here", "--no-open")
    assert ended.code == 0, ended.err
    return surefoot


def test_plan_lists_what_is_missing_and_makes_nothing(surefoot: Verb, tmp_path: Path) -> None:
    ended = surefoot("plan", STUDY, "--format", "tsv")
    lines = ended.out.splitlines()
    assert lines[0] == "state\tkey\tkind\tstep"
    assert [line.split("\t")[0] for line in lines[1:]] == ["missing"] * 8
    assert "0 Steps kept, 8 to make" in ended.err
    assert not (tmp_path / "surefoot-store").exists()


def test_run_makes_the_steps_tests_the_claims_and_writes_the_report(surefoot: Verb, tmp_path: Path) -> None:
    ended = surefoot("run", STUDY, "--pool", "here", "--no-open")
    assert ended.code == 0
    assert "8 Steps made" in ended.err
    assert "supported: Sums are above the bound." in ended.out
    assert "Sums are below 100." in (tmp_path / "arithmetic_study.html").read_text()


def test_a_run_says_the_first_number_with_an_interval_once(surefoot: Verb) -> None:
    said = surefoot("run", STUDY, "--pool", "here", "--no-open").err.splitlines()
    (first,) = [line for line in said if line.startswith("A first number:")]
    assert re.search(r"(total|accuracy) [\d.]+ \[[\d.]+, [\d.]+\] of ", first)


def test_a_second_run_keeps_everything(finished: Verb) -> None:
    ended = finished("run", STUDY, "--pool", "here", "--no-open")
    assert "8 Steps kept, 0 to make" in ended.err


def test_a_failing_step_gives_exit_code_1_and_blocks_only_its_users(surefoot: Verb) -> None:
    ended = surefoot("run", STUDY, "-o", "adds=1,13", "--pool", "here", "--no-open")
    assert ended.code == 1
    assert "ValueError: 13 is not added here" in ended.err
    assert "2 failed, 0 blocked" in ended.err
    again = surefoot("run", STUDY, "-o", "adds=1,13", "--pool", "here", "--no-open")
    assert "in an earlier run" in again.err
    assert "0 Steps made" in again.err
    assert "2 failed" in surefoot("run", STUDY, "-o", "adds=1,13", "--pool", "here", "--no-open", "--retry").err


def test_why_names_the_field_that_makes_a_step_new(finished: Verb) -> None:
    asked = json.loads(finished("why", STUDY, "-o", "adds=1,7", "--format", "json").out)
    assert {(row["field"], row["asked"]) for row in asked} == {("add", "7")}


def test_why_of_a_step_that_is_kept_says_that_nothing_is_new(finished: Verb) -> None:
    key = finished("plan", STUDY, "--format", "tsv").out.splitlines()[1].split("\t")[1]
    assert "nothing is new" in finished("why", STUDY, key, "--format", "tsv").out


def test_check_is_a_gate(finished: Verb) -> None:
    held = finished("check", STUDY)
    assert (held.code, held.err) == (0, "")
    refused = finished("check", STUDY, "-o", "bound=50", "--format", "json")
    assert refused.code == 1
    assert [row["verdict"] for row in json.loads(refused.out)] == ["contradicted", "supported"]
    assert "Of 2 claims: 1 contradicted." in refused.err


def test_what_is_undecided_on_data_fails_only_when_strict(finished: Verb) -> None:
    loose = finished("check", STUDY, "-o", "bound=1", "--format", "json")
    assert [row["verdict"] for row in json.loads(loose.out)] == ["undecided", "supported"]
    assert (loose.code, "--strict fails on what is undecided" in loose.err) == (0, True)
    assert finished("check", STUDY, "-o", "bound=1", "--strict").code == 1


def test_an_interval_too_wide_to_gate_on_is_exit_code_2(finished: Verb) -> None:
    wide = finished("check", STUDY, "-o", "bound=1", "-o", "width=0.5", "--format", "json")
    row = json.loads(wide.out)[0]
    assert (wide.code, row["verdict"]) == (2, "imprecise")
    assert row["detail"] == "The interval is 1 wide; the claim needs 0.5 or less."
    assert finished("check", STUDY, "-o", "bound=1", "-o", "width=2").code == 0


def test_a_gate_with_nothing_to_judge_is_exit_code_2_and_says_what_makes_the_steps(
    finished: Verb, tmp_path: Path
) -> None:
    absent = finished("check", STUDY, "-o", "bound=-1", "--store", tmp_path / "other store")
    line = f"Make them: surefoot run {STUDY} -o bound=-1 --store '{tmp_path}/other store'"
    assert absent.code == 2
    assert f"8 of 8 Steps are missing: there is no store at {tmp_path}/other store. {line}" in absent.err
    assert {row.split("\t")[1] for row in absent.out.splitlines()[1:]} == {"unmeasured"}
    (tmp_path / "other store").mkdir()
    empty = finished("check", STUDY, "--store", tmp_path / "other store")
    assert (empty.code, "8 of 8 Steps are missing." in empty.err) == (2, True)
    more = finished("check", STUDY, "-o", "count=3")
    assert (more.code, "3 of 11 Steps are missing." in more.err) == (2, True)
    assert finished("check", STUDY, "-o", "count=3", "--partial").code == 0


def test_failed_steps_are_not_green(surefoot: Verb) -> None:
    surefoot("run", STUDY, "-o", "adds=1,13", "--pool", "here", "--no-open")
    ended = surefoot("check", STUDY, "-o", "adds=1,13")
    assert (ended.code, "2 of 8 Steps are missing, 2 of them failed (--retry)" in ended.err) == (2, True)


def test_check_run_makes_what_is_missing_first(surefoot: Verb) -> None:
    ended = surefoot("check", STUDY, "--run", "--pool", "here")
    assert (ended.code, "8 Steps made" in ended.err) == (0, True)


@pytest.mark.parametrize(
    ("way", "said"), [("name", "NameError"), ("metric", "did you mean 'total'"), ("none", "Verdict")]
)
def test_a_broken_claim_is_exit_code_2_and_the_report_is_written(finished: Verb, way: str, said: str) -> None:
    ended = finished("check", STUDY, "-o", f"mistake={way}", "--format", "json")
    rows = json.loads(ended.out)
    assert [row["verdict"] for row in rows] == ["supported", "supported", "broken"]
    assert said in rows[-1]["detail"]
    assert (ended.code, "Traceback" in ended.err) == (2, False)
    assert finished("report", STUDY, "-o", f"mistake={way}", "--no-open").code == 0


def test_a_study_without_claims_has_nothing_to_judge(surefoot: Verb, tmp_path: Path) -> None:
    (tmp_path / "empty_of_claims.py").write_text(
        "from surefoot.core import Study\n"
        "def study() -> Study:\n    return Study(name='e', title='E', summary='s', steps=())\n"
    )
    ended = surefoot("check", "empty_of_claims.py")
    assert (ended.code, "has no claims: there is nothing to judge" in ended.err) == (2, True)


def test_check_on_a_terminal_prints_lines_as_run_does(finished: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    said = finished("check", STUDY).out.splitlines()
    assert said[0] == "✓ supported: Sums are above the bound. 1 [0.5 to 1.5], n = 4"
    assert said[1].startswith("✓ supported: Sums are below 100. 3.5 [0 to 3.5]")


def test_claims_are_tests_of_pytest_by_the_lines_of_the_how_to_page(finished: Verb, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "gate-a-model-in-ci.md").read_text()
    lines = page.partition("```python not-run\n")[2].partition("```")[0].replace("my_study.py", str(STUDY))
    (tmp_path / "test_claims.py").write_text(
        lines.replace("study = load_study(", "study = load_study(options={'bound': '50'}, name=")
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_claims.py"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (
        "FAILED test_claims.py::test_claim[positive] - AssertionError: Sums are above the bound. contradicted"
        in ended.stdout
    )
    assert "1 failed, 1 passed" in ended.stdout


def test_check_writes_junit_for_a_ci_server(finished: Verb, tmp_path: Path) -> None:
    finished("check", STUDY, "-o", "bound=50", "-o", "mistake=name", "-o", "count=3", "--junit", "out/claims.xml")
    suite = ElementTree.parse(tmp_path / "out" / "claims.xml").getroot()[0]
    assert suite.attrib == {"name": "arithmetic_study", "tests": "4", "failures": "1", "errors": "2", "skipped": "0"}
    cases = {case.get("name"): [(child.tag, child.get("message")) for child in case] for case in suite}
    assert cases["small"] == []
    assert cases["positive"][0][0] == "failure"
    assert cases["steps"] == [("error", "3 Steps are not in the store.")]
    assert cases["mistaken"][0][0] == "error"
    assert "NameError" in str(cases["mistaken"][0][1])


def test_show_prints_the_artifact_as_json(finished: Verb) -> None:
    key = finished("plan", STUDY, "--format", "tsv").out.splitlines()[1].split("\t")[1]
    shown = json.loads(finished("show", key[:8]).out)
    assert shown["key"] == key
    assert shown["provenance"]["files"]
    assert shown["measurements"][0]["metric"] == "number"


def test_table_pivots_by_fields_of_steps_and_of_measurements(finished: Verb) -> None:
    ended = finished(
        "table", STUDY, "--rows", "number.value", "--columns", "shift", "--where", "\"metric\" = 'total'",
        "--format", "tsv",
    )  # fmt: skip
    assert ended.out == "number.value\tby 1\tby 2\n0\t1.0\t2.0\n1\t2.0\t3.0\n"


def test_table_speaks_latex_and_json_and_parquet(finished: Verb, tmp_path: Path) -> None:
    arguments = ("table", STUDY, "--rows", "shift", "--where", "\"metric\" = 'total'")
    assert r"\begin{tabular}{lllll}" in finished(*arguments, "--format", "latex").out
    half = pytest.approx(12.706204736 * 0.5)  # Student's t with one degree of freedom, of the values 1 and 2
    row = json.loads(finished(*arguments, "--format", "json").out)[0]
    assert row.keys() == {"shift", "value", "low", "high", "Steps"}
    assert (row["value"], row["value"] - row["low"], row["high"] - row["value"], row["Steps"]) == (1.5, half, half, 2)
    finished(*arguments, "--out", tmp_path / "t.parquet")
    rows = duckdb.read_parquet(str(tmp_path / "t.parquet")).fetchall()
    assert [(shift, value, steps) for shift, value, _, _, steps in rows] == [("by 1", 1.5, 2), ("by 2", 2.5, 2)]


@pytest.mark.parametrize(
    "arguments",
    [("table",), ("table", STUDY), ("clean",), ("clean", "--yes"), ("clean", "--keep", STUDY, "--yes"), ("stale",),
     ("verify",), ("export", "all.sqlite"), ("show", "ab"), ("why", STUDY), ("compare", "ab", "cd")],
)  # fmt: skip
def test_a_store_that_is_not_there_or_is_none_is_a_mistake(
    surefoot: Verb, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    ended = surefoot(*arguments, "--store", tmp_path / "misspelt")
    assert (ended.code, ended.out) == (2, "")
    assert f"There is no store at {tmp_path / 'misspelt'}" in ended.err
    (tmp_path / "papers" / "drafts").mkdir(parents=True)
    (tmp_path / "papers" / "drafts" / "thesis.docx").touch()
    ended = surefoot(*arguments, "--store", tmp_path / "papers")
    assert (ended.code, ended.out) == (2, "")
    assert f"Nothing in {tmp_path / 'papers'} was made by a run" in ended.err
    assert [path.name for path in (tmp_path / "papers").rglob("*")] == ["drafts", "thesis.docx"]


def test_clean_removes_nothing_that_a_run_did_not_leave(finished: Verb, tmp_path: Path) -> None:
    """Any folder within a folder was taken for a kind, and any name with a dot for a leftover."""
    (tmp_path / "surefoot-store" / "notes").mkdir()
    own = [tmp_path / "surefoot-store" / "notes" / name for name in ("thesis.docx", "abc.part", "0123.lease")]
    for path in own:
        path.touch()
    assert "0 leftovers and 0 unused artifacts removed" in finished("clean", "--keep", STUDY, "--yes").out
    assert all(path.exists() for path in own)


def test_a_field_that_is_named_twice_is_one_column(finished: Verb) -> None:
    arguments = ("--where", "\"metric\" = 'total'", "--format", "tsv")
    once = finished("table", STUDY, "--rows", "shift", *arguments).out
    assert finished("table", STUDY, "--rows", "shift", "--rows", "shift", *arguments).out == once


def test_a_table_without_a_measurement_says_so(finished: Verb) -> None:
    ended = finished("table", "--where", "metric = 'topp1'")
    assert "surefoot: No measurement in " in ended.err


def test_table_refuses_to_average_metrics_together(finished: Verb) -> None:
    ended = finished("table", STUDY, "--rows", "shift")
    assert ended.code == 2
    assert "would be a mean over the metrics" in ended.err


def test_compare_pairs_the_answers_by_example(finished: Verb) -> None:
    lines = finished("plan", STUDY, "--format", "tsv").out.splitlines()
    good, bad = [line.split("\t")[1] for line in lines if "Answers" in line]
    row = json.loads(finished("compare", good, bad, "--format", "json").out)[0]
    assert row["examples"] == 40
    assert row["difference"] == pytest.approx(row["model score"] - row["baseline score"])
    assert row["low"] < row["difference"] < row["high"] < 0
    assert row["p"] < 1e-4


def test_compare_refuses_artifacts_without_examples(finished: Verb) -> None:
    lines = finished("plan", STUDY, "--format", "tsv").out.splitlines()
    number = next(line.split("\t")[1] for line in lines if "Number" in line)
    ended = finished("compare", number, number)
    assert ended.code == 2
    assert "keeps no per-example scores" in ended.err


def test_export_to_sqlite_holds_every_measurement(finished: Verb, tmp_path: Path) -> None:
    assert finished("export", tmp_path / "all.sqlite").code == 0
    with sqlite3.connect(tmp_path / "all.sqlite") as connection:
        totals = connection.execute("SELECT value FROM measurements WHERE metric = 'total' ORDER BY value").fetchall()
        edges = connection.execute("SELECT count(*) FROM edges").fetchone()
    connection.close()
    assert totals == [(1.0,), (2.0,), (2.0,), (3.0,)]
    assert edges == (4,)
    assert "is there already" in finished("export", tmp_path / "all.sqlite").err


def test_export_to_parquet_joins_measurements_and_steps(finished: Verb, tmp_path: Path) -> None:
    finished("export", tmp_path / "all.parquet")
    rows = duckdb.sql(
        f"SELECT kind, value FROM '{tmp_path}/all.parquet' WHERE metric = 'number' ORDER BY value"
    ).fetchall()
    assert rows == [("arithmetic_study.Number", 0.0), ("arithmetic_study.Number", 1.0)]


@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "of another", "a folder"])
def test_table_gives_the_rest_of_a_damaged_store_and_names_what_is_left_out(
    finished: Verb, tmp_path: Path, damage: str
) -> None:
    whole = finished("table", STUDY, "--format", "json")
    record, other = sorted((tmp_path / "surefoot-store").glob("arithmetic_study.Number/*/record.json"))[:2]
    content = {"cut": record.read_bytes()[:-1], "empty": b"", "of another": other.read_bytes()}
    record.unlink()
    if damage == "a folder":
        record.mkdir()
    elif damage in content:
        record.write_bytes(content[damage])
    for words in ((), (STUDY,)):
        ended = finished("table", *words, "--format", "json")
        assert ended.code == 2
        rest = [row for row in json.loads(whole.out) if row["step"] != record.parent.name]
        assert json.loads(ended.out) == rest
        assert len(rest) < len(json.loads(whole.out))
        assert re.search(rf"^surefoot: Left out: .*{record.parent.name}/record.json is ", ended.err, re.MULTILINE)
    if damage != "gone":
        assert finished("export", tmp_path / "all.sqlite").code == 2  # one file of all, or none


def test_a_field_that_is_named_twice_is_shown_once(finished: Verb) -> None:
    once = finished("table", STUDY, "--rows", "kind", "--rows", "metric", "--values", "n")
    twice = ("--rows", "kind", "--rows", "metric", "--rows", "kind", "--values", "n", "--values", "n")
    assert finished("table", STUDY, *twice).out == once.out


def test_verify_exits_with_1_when_a_file_is_damaged_and_says_which(finished: Verb, tmp_path: Path) -> None:
    ended = finished("verify", STUDY)
    assert (ended.code, ended.err) == (0, "8 artifacts compared, 0 damaged.\n")
    record = next((tmp_path / "surefoot-store").glob("*/*/record.json"))
    record.write_bytes(record.read_bytes()[:-1])
    ended = finished("verify", "--format", "tsv")
    assert ended.code == 1
    assert ended.out.splitlines()[1].split("\t")[1:] == [record.parent.name, "record.json", "is not what was written"]
    assert "damaged\tmade anew" in finished("why", STUDY).out
    assert finished("verify", "--remove").err == "8 artifacts compared, 1 damaged and removed.\n"
    ended = finished("verify", STUDY)
    assert (ended.code, ended.err) == (
        0,
        "7 artifacts compared, 0 damaged, 1 Steps of the study are not in the store.\n",
    )
    ended = finished("verify", "--store", tmp_path / "none")
    assert ended.code == 2
    assert "There is no store at" in ended.err


def test_stale_names_artifacts_of_another_source(finished: Verb, tmp_path: Path) -> None:
    assert finished("stale", "--format", "tsv").out.splitlines() == ["kind\tkey\treason"]
    record = next((tmp_path / "surefoot-store").glob("*/*/record.json"))
    rest = record.read_bytes().partition(b"\n")[2].replace(b'"source": "', b'"source": "another ')
    record.write_bytes(b'{"format": 2, "sha256": "%s",\n' % sha256(rest).hexdigest().encode() + rest)
    assert "source of its module changed" in finished("stale", "--format", "tsv").out
    for verb in ("plan", "check", "report"):
        assert "1 kept Step was made by other code of arithmetic_study." in finished(verb, STUDY).err


def test_stale_finds_the_steps_of_a_study_that_is_a_file_when_it_is_named(finished: Verb, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from surefoot.cli import main; main()", "stale", "--format", "tsv"]
    alone = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert alone.count("No module 'arithmetic_study'") == 8
    assert "Name its study file: surefoot stale FILE.py" in alone
    named = subprocess.run([*command, STUDY], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert named.splitlines() == ["kind\tkey\treason"]


def test_clean_shows_first_and_removes_only_when_told(finished: Verb, tmp_path: Path) -> None:
    left = tmp_path / "surefoot-store" / "arithmetic_study.Sum" / f"{'a' * 20}.part"
    left.mkdir()
    assert str(left.name) in finished("clean").out
    assert left.exists()
    finished("clean", "--keep", STUDY, "--yes")
    assert not left.exists()
    assert "8 Steps kept" in finished("plan", STUDY).err


def test_clean_keeps_what_a_study_made_with_any_option(finished: Verb) -> None:
    finished("run", STUDY, "-o", "count=3", "--pool", "here", "--no-open")
    kept = finished("clean", "--keep", STUDY, "--yes")
    assert "0 unused artifacts removed" in kept.out
    assert "11 Steps kept, 0 to make" in finished("plan", STUDY, "-o", "count=3").err
    finished("clean", "--keep", STUDY, "-o", "count=2", "--yes")
    assert "8 Steps kept, 3 to make" in finished("plan", STUDY, "-o", "count=3").err
    assert "give one --keep STUDY" in finished("clean", "-o", "count=2", "--yes").err


def test_clean_keeps_what_no_run_explains_unless_told(surefoot: Verb, tmp_path: Path) -> None:
    finished = surefoot
    finished("run", STUDY, "-o", "count=3", "--pool", "here", "--no-open")
    shutil.rmtree(tmp_path / "surefoot-store" / ".studies")
    ended = finished("clean", "--keep", STUDY, "--yes")
    assert "3 artifacts stay: no run says for what study they are" in ended.out
    assert "11 Steps kept" in finished("plan", STUDY, "-o", "count=3").err
    assert "3 unused artifacts removed" in finished("clean", "--keep", STUDY, "--unknown", "--yes").out
    assert "8 Steps kept, 3 to make" in finished("plan", STUDY, "-o", "count=3").err


def test_clean_beside_a_run_removes_nothing(finished: Verb, tmp_path: Path) -> None:
    from arithmetic_study import Number, Sum

    from surefoot.core import Store, open_pool, run

    store = Store(tmp_path / "surefoot-store")
    with open_pool("here") as pool:
        going = run([Sum(number=Number(value=9), add=5)], store, pool)
        next(going)
        ended = finished("clean", "--keep", STUDY, "--unknown", "--yes")
        assert (ended.code, "A run uses the store" in ended.err) == (2, True)
        assert "\n0 leftovers and" in "\n" + finished("clean").out
        assert {event.kind for event in going} <= {"started", "made"}
    assert finished("clean", "--keep", STUDY, "--unknown", "--yes").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("plan", "quickstrat"), "Did you mean 'quickstart'?"),
        (("plan", "none.py"), "There is no study file none.py"),
        (("plan", STUDY, "-o", "cuont=3"), "has no option 'cuont'"),
        (("plan", STUDY, "-o", "count=many"), "Option count must be int"),
        (("plan", STUDY, "-o", "count"), "must have the form name=value"),
        (("run", STUDY, "--pool", "moon"), "There is no pool named 'moon'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(surefoot: Verb, arguments: tuple[object, ...], message: str) -> None:
    ended = surefoot(*arguments)
    assert ended.code == 2
    assert message in ended.err
    assert "Traceback" not in ended.err


def test_a_mistake_about_a_store_is_one_line_and_exit_code_2(finished: Verb) -> None:
    mistakes = {
        ("show", "ffff"): "no artifact",
        ("why", "none.json"): "There is no spec file none.json",
        ("table", "--rows", "metric", "--where", "nonsense ("): "The query cannot be answered",
        ("export", "x.csv"): "suffix must be",
        ("export", "nowhere/x.sqlite"): "its folder is not there",
    }
    for arguments, message in mistakes.items():
        ended = finished(*arguments)
        assert (ended.code, message in ended.err, "Traceback" in ended.err) == (2, True, False)


def test_a_store_that_is_a_file_is_refused(surefoot: Verb, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    assert "must be a directory" in surefoot("plan", STUDY, "--store", tmp_path / "store").err


def test_table_speaks_csv_and_markdown(finished: Verb, tmp_path: Path) -> None:
    arguments = ("table", STUDY, "--rows", "shift", "--where", "metric = 'total'")
    assert finished(*arguments, "--format", "csv").out.splitlines()[0] == "shift,value,low,high,Steps"
    written = tmp_path / "t.md"
    finished(*arguments, "--out", str(written))
    assert written.read_text().splitlines()[:2] == [
        "| shift | value | low | high | Steps |",
        "| --- | --- | --- | --- | --- |",
    ]


def test_what_is_of_one_measurement_and_stays_blank_is_said(finished: Verb) -> None:
    where = ("--where", "\"metric\" = 'total'")
    several = finished("table", STUDY, "--rows", "metric", "--values", "n", *where)
    assert several.out.split() == ["metric", "n", "total"]
    assert "A blank n or stderr is that of several Steps, or of none: more --rows part them." in several.err
    assert "blank" not in finished("table", STUDY, "--rows", "step", "--values", "n", *where).err
