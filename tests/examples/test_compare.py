"""Models are compared on the same examples, or the difference is said; a gate opens only on what is shown."""

import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar as their_mcnemar
from statsmodels.stats.multitest import multipletests

from surefoot.cli import app
from surefoot.core import Inputs, Measurement, Step, Store, SurefootError, run
from surefoot.examples import compare_examples, read_column, read_examples, write_examples
from surefoot.stats import clustered_mean, t_quantile

N = 400


def compare(*words: object) -> int:
    """How `surefoot compare WORDS` ends, in this process; a mistake is raised."""
    return app(["compare", *map(str, words)], result_action="return_value", exit_on_error=False)


def examples(place: Path, scores: Sequence[float], *, first: int = 0, **columns: Sequence[Any]) -> Path:
    """A file of examples with ids that count from `first`."""
    place.mkdir(parents=True)
    write_examples(place, {"example": [f"q{first + row}" for row in range(len(scores))], "score": scores, **columns})
    return place / "examples.parquet"


def answers(seed: int, *, flipped: float, base: Sequence[float] | None = None) -> list[float]:
    """Right and wrong answers; of `base`, some are flipped."""
    generator = np.random.default_rng(seed)
    start = (generator.random(N) < 0.7).astype(float) if base is None else np.asarray(base)
    return np.where(generator.random(N) < flipped, 1 - start, start).tolist()


BASE = answers(0, flipped=0.0)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A baseline, one that differs here and there, and one that is far worse."""
    scores = {"old": BASE, "new": answers(1, flipped=0.05, base=BASE), "bad": answers(2, flipped=0.6, base=BASE)}
    return {name: examples(tmp_path / name, one) for name, one in scores.items()}


def test_answers_are_compared_by_pairs_with_mcnemar_and_holm(files: dict[str, Path]) -> None:
    read = read_examples(files)
    found = compare_examples(read)
    old, *others = read.scores
    for one, scores in zip(found.models, others, strict=True):
        only_old, only_new = int((old > scores).sum()), int((old < scores).sum())
        assert (one.only_baseline, one.only_model) == (only_old, only_new)
        assert one.paired.p == pytest.approx(their_mcnemar([[9, only_old], [only_new, 9]], exact=True).pvalue)
        assert one.paired.difference.estimate == pytest.approx(scores.mean() - old.mean())
    adjusted = multipletests([one.paired.p for one in found.models], method="holm")[1]
    assert [one.p_holm for one in found.models] == pytest.approx(list(adjusted))
    assert (found.baseline_tied, found.models[0].tied, found.models[1].tied) == ("a", "a", "b")


def test_rows_in_another_order_are_the_same_examples(tmp_path: Path, files: dict[str, Path]) -> None:
    order = np.random.default_rng(3).permutation(N)
    place = tmp_path / "turned"
    place.mkdir()
    write_examples(place, {"example": [f"q{row}" for row in order], "score": np.array(BASE)[order]})
    found = compare_examples(read_examples({"old": files["old"], "turned": place / "examples.parquet"}))
    assert (found.models[0].only_baseline, found.models[0].only_model) == (0, 0)
    assert found.models[0].paired.difference.high > 0  # and yet it is not certain


def test_examples_that_not_all_have_are_refused_counted_named_and_dropped_when_asked(tmp_path: Path) -> None:
    page = [f"page {row // 4}" for row in range(N)]
    files = {
        "a": examples(tmp_path / "a", BASE, page=page),
        "b": examples(tmp_path / "b", BASE[:-3], first=3, page=page[3:]),
    }
    with pytest.raises(SurefootError, match=r"a has 3 of 400 .*\(q0, q1, q2\)\. Measure all .* --unmatched drop"):
        compare_examples(read_examples(files))
    found = compare_examples(read_examples(files), unmatched="drop")
    assert found.models[0].paired.n == N - 3
    assert len(found.left_out) == 1
    assert read_examples(files, cluster="page").clusters == tuple(page[3:])
    many = {"a": files["a"], "b": examples(tmp_path / "c", BASE[:-30], first=200)}
    said = compare_examples(read_examples(many), unmatched="drop").left_out[1]
    assert said.startswith("b has 170 of 370 examples")
    assert said.endswith(", ...).")


@pytest.mark.parametrize("kind", ["BIGINT", "DOUBLE", "FLOAT", "DECIMAL(9, 2)", "VARCHAR"])
def test_ids_of_numbers_are_one_in_every_kind_of_column(tmp_path: Path, kind: str) -> None:
    old = examples(tmp_path / "old", [1.0, 0.0, 1.0, 1.0])
    for name, shown in (("numbers", kind), ("texts", "VARCHAR")):
        ids = f"CAST(replace(example, 'q', '')::INTEGER AS {shown})"
        duckdb.read_parquet(str(old)).project(f"{ids} AS example, score").write_parquet(
            str(tmp_path / f"{name}.parquet")
        )
    found = read_examples({name: tmp_path / f"{name}.parquet" for name in ("numbers", "texts")})
    assert found.examples == ("0", "1", "2", "3")
    assert set(read_column(tmp_path / "numbers.parquet", "score")) == {*found.examples}


def test_an_id_that_utf8_cannot_hold_is_written_with_its_escape(tmp_path: Path) -> None:
    ids = [os.fsdecode(b"caf\xe9/1.png"), "é", "3"]
    write_examples(tmp_path, {"example": ids, "score": [1.0, 0.0, 1.0]})
    assert read_examples({"a": tmp_path / "examples.parquet"}).examples == ("caf\\udce9/1.png", "é", "3")


def test_padded_numbers_are_other_ids_and_are_counted(tmp_path: Path) -> None:
    for name, ids in (("a", [f"{row:02}" for row in range(5, 15)]), ("b", [str(row) for row in range(5, 15)])):
        (tmp_path / name).mkdir()
        write_examples(tmp_path / name, {"example": ids, "score": [1.0, 0.0] * 5})
    files = {name: tmp_path / name / "examples.parquet" for name in "ab"}
    with pytest.raises(SurefootError, match=r"a has 5 of 10 .*\(05, 06, .* b has 5 of 10 .*\(5, 6, "):
        compare_examples(read_examples(files))


def test_other_choices_are_refused_and_other_prompts_are_said(tmp_path: Path) -> None:
    asked = {"a": {"classes": ["x", "é's"], "prompts": ["a {}"]}, "b": {"classes": ["é's", "x"], "prompts": ["{}"]},
             "c": {"classes": ["x", "y"]}, "none": None}  # fmt: skip
    for name, one in asked.items():
        (tmp_path / name).mkdir()
        write_examples(tmp_path / name, {"example": range(4), "score": [1.0, 0.0, 1.0, 1.0]}, one)
    files = {name: tmp_path / name / "examples.parquet" for name in asked}
    with pytest.raises(SurefootError, match=r"a chose among 2 classes and c among 2; not in both: y, é's\."):
        read_examples(files)
    del files["c"]
    assert read_examples(files).notes == ("a and b were measured with other prompts; a with 'a {}'.",)
    assert compare_examples(read_examples({"none": files["none"], "b": files["b"]})).notes == ()


def test_one_id_for_different_examples_is_refused(tmp_path: Path) -> None:
    labels = ["cat"] * N
    files = {
        "a": examples(tmp_path / "a", BASE, label=labels),
        "b": examples(tmp_path / "b", BASE, label=[*labels[:-1], "dog"]),
    }
    with pytest.raises(SurefootError, match="a and b were not measured on the same examples: 'q399' has label 'cat'"):
        read_examples(files)


def test_a_label_is_the_same_number_in_a_column_of_either_kind(tmp_path: Path) -> None:
    labels = list(range(N))
    whole, point = (examples(tmp_path / kind.__name__, BASE, label=[*map(kind, labels)]) for kind in (int, float))
    assert len(read_examples({"a": whole, "b": point}).examples) == N
    half = examples(tmp_path / "half", BASE, label=[0.5, *map(float, labels[1:])])
    with pytest.raises(SurefootError, match=r"has label '0' in one and '0.5' in the other \(\d+ such\)"):
        read_examples({"a": whole, "b": half})


@pytest.mark.parametrize("kind", [int, float, bool])
def test_no_label_is_not_the_label_0(kind: type, tmp_path: Path) -> None:
    labels = [kind(row % 2) for row in range(N)]
    whole = examples(tmp_path / "whole", BASE, label=labels)
    some = examples(tmp_path / "some", BASE, label=[None, *labels[1:]])
    with pytest.raises(SurefootError, match=r"'q0' has label '(0|0.0|False)' in one and 'None' in the other"):
        read_examples({"a": whole, "b": some})
    assert len(read_examples({"a": some, "b": some}).examples) == N


def test_questions_of_one_article_are_not_independent(tmp_path: Path) -> None:
    """A reader that fails whole articles: the questions alone say three times more than they know."""
    generator = np.random.default_rng(4)
    article = np.repeat([f"article {row}" for row in range(20)], N // 20)
    better = np.repeat(generator.random(20) < 0.6, N // 20).astype(float)
    files = {
        "old": examples(tmp_path / "old", [0.0] * N, article=article.tolist()),
        "new": examples(tmp_path / "new", better.tolist(), article=article.tolist()),
    }
    alone, found = (
        compare_examples(read_examples(files, cluster=column)).models[0].paired for column in (None, "article")
    )
    width = {name: one.difference.high - one.difference.low for name, one in (("alone", alone), ("found", found))}
    assert width["found"] > 3 * width["alone"]
    assert (found.clusters, found.p > 100 * alone.p) == (20, True)
    assert found.smallest_seen > 3 * alone.smallest_seen


def test_scores_that_are_no_answers_have_students_interval_also_in_clusters(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    first, second = generator.random((2, N))
    article = (np.arange(N) // 37).tolist()
    files = {
        "f1 old": examples(tmp_path / "old", first.tolist(), article=article),
        "f1 new": examples(tmp_path / "new", second.tolist()),  # one file that has the column is enough
    }
    plain, clustered = (
        compare_examples(read_examples(files, cluster=column)).models[0] for column in (None, "article")
    )
    theirs = scipy_stats.ttest_rel(second, first).confidence_interval(0.95)
    assert (plain.paired.difference.low, plain.paired.difference.high) == pytest.approx((theirs.low, theirs.high))
    assert plain.only_baseline is None
    known = clustered_mean(second - first, article)
    half = t_quantile(0.95, known.freedom) * known.stderr
    assert clustered.paired.difference.high == pytest.approx((second - first).mean() + half)


@pytest.mark.parametrize(("model", "margin", "verdict"), [("new", 0.1, 0), ("bad", 0.05, 1), ("new", 0.001, 2)])
def test_a_margin_is_a_gate_that_opens_on_what_is_shown(
    files: dict[str, Path], model: str, margin: float, verdict: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(files["old"], files[model], "--margin", margin, "--format", "json") == verdict
    printed = capsys.readouterr()
    (row,) = json.loads(printed.out)
    assert row["no worse"] == ("yes", "no", "undecided")[verdict]
    assert ("show a difference of" in printed.err) == (verdict == 2)


def test_nothing_changed_in_36_examples_is_no_proof_of_less_than_a_point(tmp_path: Path) -> None:
    files = {name: examples(tmp_path / name, [1.0] * 36) for name in "ab"}
    found = compare_examples(read_examples(files), margin=0.01)
    assert found.no_worse == "undecided"
    assert found.models[0].paired.difference.low == pytest.approx(-0.0964, abs=1e-4)
    assert compare_examples(read_examples(files), margin=0.1).no_worse == "yes"


def test_the_worst_of_several_models_decides(files: dict[str, Path]) -> None:
    assert compare_examples(read_examples(files), margin=0.1).no_worse == "no"
    assert compare_examples(read_examples(files)).no_worse is None


def test_what_cannot_be_compared_is_said(tmp_path: Path, files: dict[str, Path]) -> None:
    old = files["old"]
    (tmp_path / "text.parquet").write_text("no table")
    twice = tmp_path / "twice"
    twice.mkdir()
    write_examples(twice, {"example": ["q0", "q0"], "score": [1.0, 0.0]})
    cases = {
        "is no Parquet file": tmp_path / "text.parquet",
        "is not there": tmp_path / "no.parquet",
        "'q0' stands there 2 times": twice / "examples.parquet",
        "'q0' has no score": examples(tmp_path / "missing", [float("nan"), 1.0]),
        "share no example": examples(tmp_path / "far", BASE, first=1000),
    }
    for message, other in cases.items():
        with pytest.raises(SurefootError, match=message):
            read_examples({"a": old, "b": other})
    with pytest.raises(SurefootError, match=r"No file has the column 'page' .* has: example, score\."):
        read_examples({"a": old}, cluster="page")
    for margin in (-0.1, 1.0, 5.0, float("inf"), float("nan")):
        with pytest.raises(SurefootError, match=f"margin is {margin:g}: .* which go from 0 to 1: at least 0, and less"):
            compare_examples(read_examples(files), margin=margin)
    rising = {name: examples(tmp_path / f"r{name}", [name + 2.0 * row for row in range(6)]) for name in (0, 1)}
    graded = read_examples({str(name): path for name, path in rising.items()})
    with pytest.raises(SurefootError, match=r"margin is 11: .* which go from 0 to 11"):
        compare_examples(graded, margin=11)
    assert compare_examples(graded, margin=5).no_worse == "yes"  # all of six rise alike: no interval, and a sign test
    with pytest.raises(SurefootError, match="at least one model"):
        compare_examples(read_examples({"old": old}))
    with pytest.raises(SurefootError, match="a file is named twice"):
        compare(old, old)
    one = {name: examples(tmp_path / f"one {name}", BASE, article=["x"] * N) for name in "ab"}
    with pytest.raises(SurefootError, match="two at least are needed"):
        compare_examples(read_examples(one, cluster="article"))


@dataclass(frozen=True, kw_only=True)
class Pictures(Step):
    """A data set."""

    style: str

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Nothing."""
        return []


@dataclass(frozen=True, kw_only=True)
class Answered(Step):
    """A model on a data set: every `every`-th picture is wrong."""

    every: int
    data: Pictures

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Write the examples."""
        write_examples(out, {"example": [f"q{row}" for row in range(60)], "score": np.arange(60) % self.every > 0})
        return []


@pytest.mark.parametrize("column", ["direction", "task"])
def test_both_directions_of_a_retrieval_are_no_one_number(
    tmp_path: Path, column: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ways = ["image"] * 6 + ["text"] * 4
    old = examples(tmp_path / "old", [1.0] * 10, **{column: ways})
    new = examples(tmp_path / "new", [0.0] * 6 + [1.0] * 4, **{column: ways})
    said = f"has examples with {column} image, text, of which no mean can be taken: choose with --only {column}=image"
    with pytest.raises(SurefootError, match=said):
        compare(old, new)
    for way, fall, count in (("image", -1.0, 6), ("text", 0.0, 4)):
        assert compare(old, new, "--only", f"{column}={way}", "--format", "json") == 0
        (row,) = json.loads(capsys.readouterr().out)
        assert (row["difference"], row["examples"]) == (fall, count)
    for words, wrong in (
        ((f"{column}=sound",), f"has no example with {column} sound: there it is image, text"),
        (("language=de",), "has no column 'language': it has example, score"),
        ((column,), f"--only '{column}' must have the form name=value"),
        ((f"{column}=text", f"{column}=image"), f"--only {column} was given more than once"),
    ):
        with pytest.raises(SurefootError, match=wrong):
            compare(old, new, *(part for word in words for part in ("--only", word)))


def test_scores_that_differ_by_their_rounding_are_equal(tmp_path: Path) -> None:
    scores = np.linspace(1000.0, 2000.0, 36)
    files = {
        "old": examples(tmp_path / "old", scores.tolist()),
        "new": examples(tmp_path / "new", (scores * (1 + 2e-16) + 1e-13).tolist()),
    }
    found = compare_examples(read_examples(files), margin=0.01)
    assert found.no_worse == "undecided"
    assert np.isnan(found.models[0].paired.difference.low)
    assert found.models[0].paired.p == 1.0


def test_the_name_of_a_folder_is_no_column(tmp_path: Path) -> None:
    rows = list(map(str, range(N)))
    files = {name: examples(tmp_path / f"score={name}" / "part=x", BASE, part=rows) for name in "01"}
    found = read_examples(files, cluster="part")
    assert (found.scores.tolist(), found.clusters) == ([BASE, BASE], tuple(rows))


def test_a_file_may_be_named_by_its_folder_and_is_known_by_any_of_its_names(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(files["old"].parent, files["new"], "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)[0]["examples"] == N
    (files["new"].parent / "again").symlink_to(files["old"])
    for name in (files["old"], files["old"].parent, files["new"].parent / ".." / "old" / "examples.parquet"):
        with pytest.raises(SurefootError, match="a file is named twice"):
            compare(files["old"], name)
    with pytest.raises(SurefootError, match="a file is named twice"):
        compare(files["old"], files["new"].parent / "again")


@pytest.mark.parametrize(("empty", "other"), [(None, "y"), ("", "y"), (float("nan"), 1.0)])
def test_an_example_without_a_cluster_is_no_cluster_named_none(empty: object, other: object, tmp_path: Path) -> None:
    part = [empty, empty, *(other for _ in BASE[2:])]
    one, two = (examples(tmp_path / name, BASE, page=part) for name in "ab")
    with pytest.raises(SurefootError, match="2 examples have no value in the column 'page'"):
        read_examples({"a": one, "b": two}, cluster="page")


def test_a_file_of_examples_that_is_damaged_is_a_sentence_and_no_trace(tmp_path: Path) -> None:
    whole = examples(tmp_path / "whole", BASE, label=["x"] * N)
    content = whole.read_bytes()
    damaged, said = tmp_path / "damaged.parquet", 0
    for place in range(4, len(content), len(content) // 40):
        damaged.write_bytes(content[:place] + bytes(8) + content[place + 8 :])
        try:
            read_examples({"a": whole, "b": damaged})
        except SurefootError:
            said += 1
    assert said > 20
    write_examples(tmp_path, {"example": [f"q{row}" for row in range(N)], "score": BASE}, {"classes": ["cat", "dog"]})
    noted = (tmp_path / "examples.parquet").read_bytes()
    damaged.write_bytes(noted.replace(b'"cat"', b'"\xb4\xff\xb4"'))
    with pytest.raises(SurefootError, match=r"damaged\.parquet is damaged: what it notes under '.*' is no JSON"):
        read_examples({"a": whole, "b": damaged})
    parquet = pytest.importorskip("pyarrow.parquet")
    foreign = parquet.read_table(whole).replace_schema_metadata({b"\xff\xfe": b"\xb4"})
    parquet.write_table(foreign, damaged)
    assert len(read_examples({"a": whole, "b": damaged}).examples) == N  # what other programs note may be no text


def test_a_constant_difference_is_said_without_nan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(examples(tmp_path / str(fall), [row / 4 - fall for row in range(5)])) for fall in (0.0, 0.5)]
    assert compare(files[0], files[1], "--margin", 0.1) == 2
    said = capsys.readouterr()
    assert "-0.5 [every difference is this, which gives no interval]" in said.err
    assert "nan" not in (said.out + said.err).lower()


@pytest.mark.parametrize(
    ("differing", "tied", "code"),
    [
        ((40, 1.0, 0.5), False, 0),  # all of 40 rise
        ((40, -1.0, 0.5), False, 1),  # all of 40 fall by more than the margin
        ((40, -1.0, 1.5), False, 2),  # all of 40 fall, by less: how much others fall is not known
        ((5, 1.0, 0.5), True, 2),  # five of five signs alike: p is 1/16
        ((40, 0.0, 0.5), True, 2),
    ],
)
def test_models_that_differ_alike_in_every_example_are_not_tied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], differing: tuple[int, float, float], tied: bool, code: int
) -> None:
    count, gap, margin = differing
    files = [
        str(examples(tmp_path / name, [row + add for row in range(2, count + 2)]))
        for name, add in (("a", 0.0), ("b", gap))
    ]
    assert compare(*files, "--margin", margin, "--format", "json") == code
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["baseline tied"] == row["model tied"]) is tied
    assert row["p"] == (scipy_stats.binomtest(count, count).pvalue if gap else 1.0)
    assert row["low"] is None


def test_artifacts_of_a_store_are_compared_by_key_on_the_same_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "store")
    here, there = Pictures(style="flat"), Pictures(style="round")
    steps = [Answered(every=2, data=here), Answered(every=3, data=here), Answered(every=3, data=there)]
    with ThreadPoolExecutor(1) as pool:
        assert all(event.kind != "failed" for event in run(steps, store, pool))
    first, second, elsewhere = (step.key[:12] for step in steps)
    assert compare(first, second, "--store", store.root, "--format", "json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["baseline"], row["model"], row["difference"]) == (steps[0].key, steps[1].key, pytest.approx(1 / 6))
    with pytest.raises(SurefootError, match=r"different data: data\.style is flat and round\. .* add --across-data"):
        compare(first, elsewhere, "--store", store.root)
    assert compare(first, elsewhere, "--store", store.root, "--across-data", "--format", "json") == 0
    with pytest.raises(SurefootError, match="name an artifact twice"):
        compare(first, steps[0].key, "--store", store.root)
    file = str(examples(tmp_path / "file", [1.0] * 60))
    assert compare(first, file, "--store", store.root, "--margin", 0.0, "--format", "json") == 0  # a key beside a file


def test_text_is_a_line_a_number_and_what_is_not_known_is_null(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(examples(tmp_path / name, [0.5] * 9)) for name in "ab"]
    compare(files[0], files[1], "--format", "text")
    assert any(line.startswith("smallest seen") for line in capsys.readouterr().out.splitlines())
    compare(files[0], files[1], "--format", "json")
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["difference"], row["low"], row["smallest seen"], row["p"]) == (0.0, None, None, 1.0)


def test_examples_without_an_id_are_refused(tmp_path: Path) -> None:
    import duckdb

    for name in ("a", "b"):
        rows = "(VALUES (NULL, 1.0), ('q1', 0.0), ('q2', 1.0)) AS t(example, score)"
        duckdb.sql(f"COPY (SELECT * FROM {rows}) TO '{tmp_path / name}.parquet'")
    with pytest.raises(SurefootError, match="1 examples have no id in the column 'example'"):
        read_examples({name: tmp_path / f"{name}.parquet" for name in ("a", "b")})


def test_nan_is_no_id_and_no_cluster(tmp_path: Path) -> None:
    """A table from pandas or polars has NaN where a number is missing: it was an example or cluster of that name."""
    import duckdb

    rows = "(VALUES (1.0, 'nan'::DOUBLE, 1.0), ('nan'::DOUBLE, 2.0, 0.0), (3.0, 2.0, 1.0)) AS t(example, page, score)"
    files = {name: tmp_path / f"{name}.parquet" for name in ("a", "b")}
    for path in files.values():
        duckdb.sql(f"COPY (SELECT example, page, score FROM {rows}) TO '{path}'")
    with pytest.raises(SurefootError, match="1 examples have no id"):
        read_examples(files)
    for path in files.values():
        duckdb.sql(f"COPY (SELECT row_number() OVER () AS example, page, score FROM {rows}) TO '{path}'")
    with pytest.raises(SurefootError, match="1 examples have no value in the column 'page'"):
        read_examples(files, cluster="page")
    for path in files.values():
        duckdb.sql(f"COPY (SELECT example::VARCHAR AS example, score FROM {rows}) TO '{path}'")
    assert set(read_examples(files).examples) == {"1.0", "3.0", "nan"}  # texts are what they are


def test_other_content_under_one_id_and_other_units_are_refused(tmp_path: Path) -> None:
    ids = [str(row) for row in range(8)]
    right = np.arange(8) % 2
    for name, columns in {
        "a": {"example": ids, "score": right, "content": ["x"] * 8},
        "b": {"example": ids, "score": right[::-1], "content": ["y"] * 8},
        "percent": {"example": ids, "score": 100 * right, "content": ["x"] * 8},
    }.items():
        (tmp_path / name).mkdir()
        write_examples(tmp_path / name, columns)
    files = {name: tmp_path / name / "examples.parquet" for name in ("a", "b", "percent")}
    with pytest.raises(SurefootError, match=r"not measured on the same examples: '0' has content 'x' in one and 'y'"):
        read_examples({name: files[name] for name in ("a", "b")})
    assert len(read_examples({name: files[name] for name in ("a", "b")}, across_data=True).examples) == 8
    with pytest.raises(SurefootError, match="The scores of a are 0 or 1, those of percent reach 100"):
        read_examples({name: files[name] for name in ("a", "percent")})
    for name, scores in {
        "share": [0.2, 0.9, 1.0, 0.4],
        "hundreds": [20.0, 90.0, 100.0, 40.0],
        "loss": [1.5, 3, 0, 9],
    }.items():
        (tmp_path / name).mkdir()
        write_examples(tmp_path / name, {"example": ids[:4], "score": scores})
    units = {name: tmp_path / name / "examples.parquet" for name in ("share", "hundreds", "loss")}
    with pytest.raises(SurefootError, match="The scores of share lie from 0 to 1, those of hundreds reach 100"):
        read_examples(units)
    assert read_examples({name: units[name] for name in ("share", "loss")}).names == ("share", "loss")
