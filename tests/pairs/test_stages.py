"""A stage's directory: columns, manifest, resume, and what is refused."""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import md5, sha256
from pathlib import Path

import duckdb
import pyarrow.parquet
import pytest

from surefoot.core import SurefootError, alone
from surefoot.pairs import (
    PAIR_TYPES,
    DuplicateRules,
    PairColumns,
    Recipe,
    RemovalRequest,
    Source,
    build_index,
    deduplicate,
    make_parts,
    pair_schema,
    pairs_from_tables,
    read_manifest,
    remove_pairs,
    sources_in,
    sources_of,
    subset,
    uid_of,
)

RECIPE = Recipe(name="length", version=2, rules={"shortest": 3})


def sources(folder: Path, *texts: str) -> tuple[Source, ...]:
    for number, text in enumerate(texts):
        (folder / f"in{number}.txt").write_text(text)
    return sources_of([folder / f"in{number}.txt" for number in range(len(texts))])


def by_words(seen: list[str], source: Source, path: Path) -> dict[str, int]:
    """A row a word; words under three letters have a reason; a tar-like file beside the part."""
    seen.append(source.path.name)
    words = source.path.read_text().split()
    if "crash" in words:
        raise RuntimeError("killed")
    rows = [
        dict.fromkeys(PAIR_TYPES) | {"uid": uid_of("u", word), "url": "u", "text": word}
        | {"reasons": ["text_short", "odd"] if len(word) < 3 else []}
        for word in words
    ]  # fmt: skip
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, pair_schema()), path)
    path.with_suffix(".tar").write_text(source.path.name)
    return {"bytes_broken": len(words)}


def test_uid_is_the_md5_of_text_and_url() -> None:
    assert uid_of("http://a/é.jpg", "a cat") == md5("a cathttp://a/é.jpg".encode()).hexdigest()
    assert len(uid_of("", "")) == 32


@pytest.mark.parametrize("pooled", [False, True])
def test_manifest_counts_rows_kept_and_a_row_a_reason(tmp_path: Path, pooled: bool) -> None:
    (tmp_path / "in").mkdir()
    given, out, told = sources(tmp_path / "in", "cat at a", "horse"), tmp_path / "out", list[tuple[int, int]]()
    with ThreadPoolExecutor(2) as pool:
        made = make_parts(
            "words", RECIPE, given, out, partial(by_words, []), pool=pool if pooled else None,
            progress=lambda *done: told.append(done),
        )  # fmt: skip
    assert made == read_manifest(out)
    assert (made.rows, made.kept, made.reasons, made.faults) == (4, 2, {"odd": 2, "text_short": 2}, {"bytes_broken": 4})
    assert told == [(1, 2), (2, 2)]
    assert sorted(path.name for path in out.iterdir()) == [
        "manifest.json", "part-00000.parquet", "part-00000.tar", "part-00001.parquet", "part-00001.tar"
    ]  # fmt: skip
    assert sources_in(out)[0].sha256 == sha256((out / "part-00000.parquet").read_bytes()).hexdigest()
    assert made.parts[1].beside == {"part-00001.tar": sha256(b"in1.txt").hexdigest()}
    assert made.inputs == {"in0.txt": given[0].sha256, "in1.txt": given[1].sha256}
    assert json.loads((out / "manifest.json").read_text())["recipe"] == {
        "name": "length", "version": 2, "rules": {"shortest": 3}
    }  # fmt: skip


def test_what_was_finished_before_a_kill_is_not_made_again(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    given, out, seen = sources(tmp_path / "in", "cat", "crash", "dog"), tmp_path / "out", list[str]()
    with pytest.raises(RuntimeError):
        make_parts("words", RECIPE, given, out, partial(by_words, seen))
    assert not (out / "manifest.json").exists()
    with pytest.raises(SurefootError, match="finish it"):
        read_manifest(out)
    (given[1].path).write_text("cow")  # the fault is gone; the digest is the caller's word
    made = make_parts("words", RECIPE, given, out, partial(by_words, seen))
    assert seen == ["in0.txt", "in1.txt", "in1.txt", "in2.txt"]
    assert made.rows == 3
    assert make_parts("words", RECIPE, given, out, partial(by_words, seen)) == made
    assert len(seen) == 4


def test_another_output_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    given, out = sources(tmp_path / "in", "cat", "dog"), tmp_path / "out"
    make_parts("words", RECIPE, given, out, partial(by_words, []))
    with pytest.raises(SurefootError, match="its inputs differs"):
        make_parts("words", RECIPE, given[:1], out, partial(by_words, []))
    with pytest.raises(SurefootError, match="its recipe differs"):
        make_parts("words", Recipe(name="length", version=3), given, out, partial(by_words, []))
    with pytest.raises(SurefootError, match="other files"):
        make_parts("words", RECIPE, given, tmp_path / "in", partial(by_words, []))
    told = json.loads((out / "manifest.json").read_text())
    for wrong in ({"rows": 99}, {"reasons": {"short": -1}}, {"kept": "all"}):
        (out / "manifest.json").write_text(json.dumps(told | wrong))
        with pytest.raises(SurefootError, match="not the sums"):
            read_manifest(out)
    (out / "manifest.json").write_text(
        json.dumps(told | {"parts": [], "rows": 0, "kept": 0, "reasons": {}, "faults": {}})
    )
    with pytest.raises(SurefootError, match="has no parts"):
        sources_in(out)
    (out / "manifest.json").write_text("{}")
    with pytest.raises(SurefootError, match="not the manifest"):
        read_manifest(out)


def test_two_inputs_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.warc").write_text(name)
    with pytest.raises(SurefootError, match=r"name x\.warc"):
        sources_of([tmp_path / "a" / "x.warc", tmp_path / "b" / "x.warc"])


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_a_table_of_any_format_becomes_parts(tmp_path: Path, ending: str) -> None:
    file, out = tmp_path / f"links.{ending}", tmp_path / "out"
    query = """SELECT * FROM (VALUES ('http://a/1', 'a cat', 100), ('http://a/2', NULL, 200), (NULL, 'a dog', 300))
        AS t(link, caption, width)"""
    how = {"csv": "", "tsv": "(DELIMITER '\t')", "jsonl": "(FORMAT json)", "parquet": ""}[ending]
    duckdb.sql(f"COPY ({query}) TO '{file}' {how}")
    made = pairs_from_tables([file], out, columns=PairColumns(url="link", text="caption"), rows=2)
    rows = duckdb.sql(f"SELECT uid, url, text, width::INT, reasons FROM '{out}/*.parquet'").fetchall()
    assert rows == [
        (uid_of("http://a/1", "a cat"), "http://a/1", "a cat", 100, []),
        (uid_of("http://a/2", ""), "http://a/2", "", 200, []),
        (uid_of("", "a dog"), None, "a dog", 300, ["url_missing"]),
    ]
    assert [part.rows for part in made.parts] == [2, 1]
    assert (made.rows, made.kept, made.reasons) == (3, 2, {"url_missing": 1})
    assert list(made.inputs) == [file.name]


def test_our_columns_are_ours_in_any_case_and_no_other_column_is_lost(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("URL,TEXT,Language,img,alt\nhttp://page,title,de,http://a/1,a cat\n")
    pairs_from_tables([tmp_path / "a.csv"], tmp_path / "out", columns=PairColumns(url="img", text="alt"))
    (row,) = pyarrow.parquet.read_table(tmp_path / "out" / "part-00000.parquet").to_pylist()
    told = {name: row.pop(name) for name in ("url", "text", "language", "candidate_url", "candidate_text")}
    assert [*told.values()] == ["http://a/1", "a cat", "de", "http://page", "title"]
    assert row.keys() == {"uid", "page_url", "license", "language_reliable", "reasons"}


def test_plain_numbers_of_a_csv_file_are_numbers_and_others_stay_as_they_are_written(tmp_path: Path) -> None:
    columns = {"whole": ("9007199254740993", ""), "real": (".25", "3e-2"), "code": ("007", "12"), "some": ("1", "x")}
    columns |= {"big": ("1" * 32, "2"), "comma": ("0,5", "0,7"), "link": ("http://a/1", "http://a/2")}
    lines = [";".join(columns), *(";".join(cells) for cells in zip(*columns.values(), strict=True))]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    duckdb.sql(f"COPY (SELECT '5' AS some, '5' AS word, 'http://b' AS link) TO '{tmp_path}/b.parquet'")
    files = [tmp_path / "a.csv", tmp_path / "b.parquet"]
    pairs_from_tables(files, tmp_path / "out", columns=PairColumns(url="link", text=""))
    rows = pyarrow.parquet.read_table(tmp_path / "out" / "part-00000.parquet").to_pydict()
    assert {name: rows[name] for name in (*columns, "word") if name != "link"} == {
        "whole": [9007199254740993, None, None], "real": [0.25, 0.03, None], "code": ["007", "12", None],
        "some": ["1", "x", "5"], "big": ["1" * 32, "2", None], "comma": ["0,5", "0,7", None], "word": [None, None, "5"],
    }  # fmt: skip


def test_texts_that_are_words_for_no_text_are_counted(tmp_path: Path) -> None:
    duckdb.sql(f"COPY (SELECT 'http://a' AS url, unnest(['None', 'NA', 'a', NULL]) AS text) TO '{tmp_path}/a.parquet'")
    made = pairs_from_tables([tmp_path / "a.parquet"], tmp_path / "out", rows=1)
    assert (made.faults, made.rows) == ({"text_missing_word": 2}, 4)


def test_own_uid_and_reasons_are_kept_and_parts_can_be_read_again(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    duckdb.sql(f"COPY (SELECT 'ab' AS uid, 'http://a/1' AS url, ['gone'] AS reasons) TO '{file}'")
    made = pairs_from_tables([file], tmp_path / "out", columns=PairColumns(text=""))
    assert (made.rows, made.kept, made.reasons) == (1, 0, {"gone": 1})
    again = pairs_from_tables([tmp_path / "out" / "part-00000.parquet"], tmp_path / "again")
    assert again.parts == made.parts


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("link,caption\nhttp://a,b\n")
    with pytest.raises(SurefootError, match="has no column 'url'"):
        pairs_from_tables([tmp_path / "a.csv"], tmp_path / "out")
    with pytest.raises(SurefootError, match="at least 1 row"):
        pairs_from_tables([tmp_path / "a.csv"], tmp_path / "out", rows=0)


@pytest.mark.parametrize("wrong", ["1 AS uid", "'gone' AS reasons", "'maybe' AS language_reliable", "['a'] AS text"])
def test_a_column_of_another_type_is_refused_with_a_sentence(tmp_path: Path, wrong: str) -> None:
    duckdb.sql(f"COPY (SELECT 'http://a/1' AS url, {wrong}) TO '{tmp_path}/a.parquet'")
    text = "text" if "text" in wrong else ""
    with pytest.raises(SurefootError, match=r"a\.parquet: .* of another type"):
        pairs_from_tables([tmp_path / "a.parquet"], tmp_path / "out", columns=PairColumns(text=text))
    assert not [*tmp_path.glob("out/*")]


@pytest.mark.parametrize("name", ["a*", "a[b]", "a?"])
def test_a_folder_is_read_as_it_is_named_not_as_a_pattern(tmp_path: Path, name: str) -> None:
    for place in (name, "ab"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "x.csv").write_text(f"url,text\nhttp://h/{place},t\nhttp://h/{place},t\n")
        made = pairs_from_tables([tmp_path / place / "x.csv"], tmp_path / place / "pairs")
        assert (made.rows, made.kept) == (2, 2)
        unique = deduplicate(tmp_path / place / "pairs", tmp_path / place / "unique", DuplicateRules())
        assert (unique.rows, unique.kept) == (2, 1)
    assert subset(tmp_path / name / "unique", "true", tmp_path / "x.parquet").rows[1][1] == 1
    assert pyarrow.parquet.read_table(tmp_path / "x.parquet")["url"].to_pylist() == [f"http://h/{name}"]


def test_a_list_of_reasons_in_json_lines_is_read_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"url": "http://a", "text": "b", "reasons": ["gone", "a \\"b\\""]}\n')
    assert pairs_from_tables([tmp_path / "a.jsonl"], tmp_path / "out").reasons == {"gone": 1, 'a "b"': 1}


def test_a_second_run_into_the_same_folder_is_refused_while_the_first_one_works(tmp_path: Path) -> None:
    """Two would write the same parts, and what one adds to an index the other would not know."""
    (tmp_path / "in").mkdir()
    given, out = sources(tmp_path / "in", "cat at a"), tmp_path / "out"
    refused = list[str]()

    def make(source: Source, path: Path) -> dict[str, int]:
        with pytest.raises(SurefootError, match="Another run works in") as said:
            make_parts("words", RECIPE, given, out, partial(by_words, []))
        refused.append(str(said.value))
        by_words([], source, path)
        return {}

    made = make_parts("words", RECIPE, given, out, make)
    assert len(refused) == 1 and made == make_parts("words", RECIPE, given, out, partial(by_words, []))
    index = tmp_path / "index"
    index.mkdir()
    with alone(out, ""), alone(index, ""):
        with pytest.raises(SurefootError, match="Another run works in"):
            remove_pairs([out], RemovalRequest(where="true"))
        with pytest.raises(SurefootError, match="Another run works in"):
            build_index(out, index)
