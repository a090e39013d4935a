"""The store: what is published is whole and on the disk, and what is unfinished is never seen."""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from pathlib import Path

import pytest
from core_steps import Fragile, Number, Pair, Slow, Total, Wave

from surefoot.core import (
    Artifact,
    Event,
    Store,
    StoredInputs,
    SurefootError,
    connect,
    damages,
    open_pool,
    plan,
    query,
    run,
    write_record,
    write_text,
)
from surefoot.core import _files as files
from surefoot.core import _store as stores

Make = Callable[..., list[Event]]


def test_an_artifact_holds_its_spec_its_measurements_its_files_and_where_it_came_from(store: Store, make: Make) -> None:
    total = Total(parts=(Wave(frequency=0.5), Number(value=2)))
    make(total)
    artifact = Artifact(store.root / "core_steps.Total" / total.key)
    assert store.steps()[artifact.key] == total
    assert artifact.key == total.key
    assert artifact.kind == "core_steps.Total"
    assert artifact.measurements == store.measurements(total)
    assert artifact.measurements[0].value == pytest.approx(2.0)
    assert artifact.provenance["started"] <= artifact.provenance["ended"]
    assert artifact.provenance["machine"]["cores"] == os.cpu_count()
    assert artifact.provenance["packages"]["pytest"] == pytest.__version__
    assert artifact.provenance["peak_memory_bytes"] > 2**20
    assert artifact.provenance["cpu_seconds"] >= 0


def test_provenance_keeps_the_size_and_the_digest_of_every_file(store: Store, make: Make) -> None:
    step = Wave(frequency=0.5)
    make(step)
    content = (store.path(step) / "deep" / "er" / "wave.txt").read_bytes()
    assert store.provenance(step)["files"] == {"deep/er/wave.txt": [len(content), hashlib.sha256(content).hexdigest()]}


def test_everything_is_on_the_disk_before_it_becomes_visible(
    store: Store, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, order = Wave(frequency=0.5), []
    sync, publish = files._sync, files.publish

    def noted_sync(path: Path) -> None:
        order.append(path.name if re.search(r"\.part/", str(path)) else f"parent {path.name}")
        sync(path)

    def noted_publish(made: Path, final: Path, *, lasting: bool) -> None:
        assert not final.exists()
        order.append("published")
        publish(made, final, lasting=lasting)

    monkeypatch.setattr(files, "_sync", noted_sync)
    monkeypatch.setattr("surefoot.core._worker.publish", noted_publish)
    monkeypatch.setattr("surefoot.core._worker.QUICK_SECONDS", 0.0)
    make(step)
    before = order[: order.index("published")]
    assert {"record.json", "wave.txt", "deep", "er"} <= set(before)
    assert order[order.index("published") + 1] == f"parent {step.kind}"


def test_a_quick_step_does_not_wait_for_the_disk(store: Store, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make(Wave(frequency=0.1))  # the directories of the store and of the kind are there
    synced: list[str] = []
    monkeypatch.setattr(files, "_sync", lambda path: synced.append(path.name))
    make(Wave(frequency=0.5))
    assert synced == []


def test_what_a_power_failure_spoiled_of_quick_steps_is_made_again(store: Store, make: Make) -> None:
    steps = [Wave(frequency=frequency) for frequency in (0.1, 0.2, 0.3)]
    make(*steps)
    (store.path(steps[0]) / "record.json").write_bytes(b"")
    (store.path(steps[1]) / "deep" / "er" / "wave.txt").write_bytes(b"")
    top = Total(parts=tuple(steps))
    assert [(event.kind, event.step.key) for event in make(top) if event.kind == "kept"] == [("kept", steps[2].key)]
    assert list(damages(store)) == []


def test_what_is_unfinished_is_never_an_artifact(store: Store, make: Make) -> None:
    step = Number(value=1)
    make(step)
    half = store.path(Number(value=2))
    half.mkdir()
    (half / "number.txt").write_text("2")
    for name in ("0" * 20 + ".part", "0" * 20 + ".lease", "notes", "NOT-HEXADECIMAL-KEYS", "0" * 20):
        (half.parent / name).mkdir()
    assert store.made() == {step.key: store.path(step)}
    assert not store.has(Number(value=2))
    with pytest.raises(SurefootError, match=r"is not in the store .*: run it first"):
        store.measurements(Number(value=2))


def test_a_copy_that_was_cut_short_is_made_again(store: Store, make: Make) -> None:
    step = Number(value=2)
    store.path(step).mkdir(parents=True)
    (store.path(step) / "number.txt").write_text("half")
    assert [event.kind for event in make(step)] == ["made"]
    assert (store.path(step) / "number.txt").read_text() == "2 "
    assert store.leftovers() == []


def test_nothing_is_left_beside_what_was_made(store: Store, make: Make) -> None:
    make(Total(parts=(Number(value=1), Number(value=2))))
    assert store.leftovers() == []
    kinds = [".runs", "core_steps.Number", "core_steps.Total"]
    assert sorted(path.name for path in store.root.iterdir()) == kinds
    assert [path.name for path in (store.root / ".runs").iterdir()] == [".guard"]


def test_an_artifact_is_found_by_the_beginning_of_its_key(store: Store, make: Make) -> None:
    steps = [Number(value=value) for value in range(20)]
    make(*steps)
    assert store.find(steps[0].key[:12]) == store.path(steps[0])
    for prefix, said in (("", "no artifact"), ("zz", "no artifact"), (common_prefix(steps), "artifacts whose key")):
        with pytest.raises(SurefootError, match=said):
            store.find(prefix)


def common_prefix(steps: list[Number]) -> str:
    """A first digit that two of twenty keys share: there are sixteen digits."""
    firsts = [step.key[0] for step in steps]
    return next(first for first in firsts if firsts.count(first) > 1)


def test_a_removed_artifact_is_gone_for_everyone_and_can_be_made_again(store: Store, make: Make) -> None:
    step = Number(value=1)
    make(step)
    store.remove(store.path(step))
    assert store.made() == {}
    assert store.leftovers() == []
    assert [event.kind for event in make(step)] == ["made"]


def test_a_store_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    store = Store(tmp_path / "none")
    assert (store.made(), store.failures(), store.leftovers()) == ({}, {}, [])


def test_a_damaged_file_is_named(store: Store, make: Make) -> None:
    step = Number(value=1)
    make(step)
    path = store.path(step) / "record.json"
    whole = path.read_bytes()
    for content in (b"", b"{", whole[:-1], whole + b" ", whole.replace(b"1.0", b"1.5"), b"{}\n" + whole, b"\xff"):
        path.write_bytes(content)
        for read in (store.measurements, store.provenance):
            with pytest.raises(
                SurefootError, match=r"record\.json is damaged, it is not what was written: run its study again"
            ):
                read(step)
        assert not store.has(step)
        assert plan([step], store).missing == (step,)
    assert [event.kind for event in make(step)] == ["made"]
    assert store.measurements(step)[0].value == 1


# --- damage


def flip(path: Path) -> None:
    """Another content of the same size and time, as a failing disk gives it."""
    stat, content = path.stat(), path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_every_damage_is_found_and_named(store: Store, make: Make) -> None:
    steps = [Wave(frequency=frequency) for frequency in (0.1, 0.2, 0.3, 0.4, 0.5)]
    make(*steps)
    assert list(damages(store)) == []
    flip(store.path(steps[0]) / "deep" / "er" / "wave.txt")
    (store.path(steps[1]) / "deep" / "er" / "wave.txt").unlink()
    flip(store.path(steps[2]) / "record.json")
    store.path(steps[3]).rename(store.path(Wave(frequency=9.0)))
    found = {(artifact.key, file): what for artifact, file, what in damages(store)}
    assert found == {
        (steps[0].key, "deep/er/wave.txt"): "has another content than was recorded",
        (steps[1].key, "deep/er/wave.txt"): "is missing",
        (steps[2].key, "record.json"): "is not what was written",
        (Wave(frequency=9.0).key, "record.json"): f"is the record of core_steps.Wave {steps[3].key}",
    }
    (store.path(steps[4]) / "deep" / ".a system's own").touch()
    assert list(damages(store, [steps[4].key])) == []
    (store.path(steps[4]) / "deep" / "added.txt").touch()
    assert [(file, what) for _, file, what in damages(store, [steps[4].key])] == [
        ("deep/added.txt", "was not recorded")
    ]


def test_a_file_that_a_claim_or_figure_reads_is_compared_with_its_digest(store: Store, make: Make) -> None:
    one, other = Number(value=1.0), Number(value=2.0)
    make(one, other)
    flip(store.path(other) / "number.txt")
    assert store.file(one, "number.txt").read_text() == (store.path(one) / "number.txt").read_text()
    assert not store.file(Number(value=3.0), "number.txt").exists()
    with pytest.raises(SurefootError, match=r"number\.txt has another content than was recorded.* --remove"):
        store.file(other, "number.txt")


def test_of_several_files_of_an_artifact_each_is_compared(store: Store, make: Make) -> None:
    slow = Slow(name=1, seconds=0.0)
    make(slow)
    for file in ("0.txt", "4.txt", "9.txt"):
        flip(store.path(slow) / file)
        assert [name for _, name, _ in damages(store)] == [file]
        flip(store.path(slow) / file)
    for size in (999, 1001):
        (store.path(slow) / "9.txt").write_text("x" * size)
        assert not store.has(slow)


def test_an_artifact_among_those_of_another_kind_is_a_damage(store: Store, make: Make) -> None:
    step = Number(value=1.0)
    make(step, Wave(frequency=1.0))
    store.path(step).rename(store.path(Wave(frequency=1.0)).with_name(step.key))
    assert [what for _, _, what in damages(store)] == [f"is the record of core_steps.Number {step.key}"]


def test_the_record_of_another_step_is_believed_by_nobody_and_is_made_again(store: Store, make: Make) -> None:
    one, other, third = Number(value=1.0), Number(value=2.0), Number(value=3.0)
    make(one, other)
    shutil.copytree(store.path(one), store.path(other), dirs_exist_ok=True)
    shutil.copytree(store.path(one), store.path(third))
    assert not store.has(other)
    assert not store.has(third)
    for ask in (lambda: store.measurements(other), lambda: store.specs()(third.key), lambda: connect(store)):
        with pytest.raises(SurefootError, match=rf"record\.json is damaged, it is the record of .*Number {one.key}"):
            ask()
    with pytest.warns(UserWarning, match=rf"Left out.*record\.json is damaged, it is the record of .*Number {one.key}"):
        assert connect(store, [one.key]).execute("SELECT value FROM measurements").fetchall() == [(1.0,)]
    assert [event.kind for event in make(one, other, third)] == ["kept", "made", "made"]
    assert [store.measurements(step)[0].value for step in (one, other, third)] == [1.0, 2.0, 3.0]


def test_a_copied_kind_hides_no_artifact_and_each_is_compared(store: Store, make: Make) -> None:
    step = Number(value=1.0)
    make(step)
    for copied in ("a copy", "core_steps.Number (1)", "z copy"):
        shutil.copytree(store.root / step.kind, store.root / copied)
    assert store.made() == {step.key: store.path(step)}
    assert store.held([step]) == {step.key}
    flip(store.path(step) / "number.txt")
    said = {artifact.kind: what for artifact, _, what in damages(store)}
    foreign = f"is the record of core_steps.Number {step.key}"
    assert said.pop("core_steps.Number") == "has another content than was recorded"
    assert said == dict.fromkeys(("a copy", "core_steps.Number (1)", "z copy"), foreign)


def test_a_folder_without_its_record_is_a_damage(store: Store, make: Make) -> None:
    step = Number(value=1.0)
    make(step)
    (store.path(step) / "record.json").unlink()
    assert [(file, what) for _, file, what in damages(store)] == [("record.json", "is missing")]
    assert list(damages(store, [Number(value=2.0).key])) == []


def test_a_file_that_lacks_is_made_again_and_a_step_that_meets_another_content_says_so(
    store: Store, make: Make, threads: Executor
) -> None:
    one, other = Number(value=1.0), Number(value=2.0)
    make(one, other)
    (store.path(one) / "number.txt").unlink()
    flip(store.path(other) / "number.txt")
    time.sleep(0.01)
    top = Total(parts=(one, other))
    events = make(top)
    assert [(event.kind, event.step.key) for event in events] == [
        ("kept", other.key),
        ("made", one.key),
        ("failed", top.key),
    ]
    assert f"{store.path(other) / 'number.txt'} has another content than was recorded" in events[-1].error
    assert "surefoot verify --remove" in events[-1].error
    assert store.failures() == {}  # the fault is not the Step's
    store.remove(store.path(other))
    assert [event.kind for event in make(top)] == ["kept", "made", "made"]


def test_contents_are_compared_once_a_run_and_not_for_what_the_run_made_itself(
    store: Store, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []
    damages_of = stores._damages_of

    def noted(artifact: Artifact) -> Iterator[tuple[str, str]]:
        compared.append(artifact.key)
        return damages_of(artifact)

    monkeypatch.setattr(stores, "_damages_of", noted)
    old = Number(value=1.0)
    make(old)
    time.sleep(0.01)
    with open_pool("here") as one:  # two at once may both compare
        list(run([Total(parts=(old, Number(value=2.0)), scale=scale) for scale in (1.0, 2.0, 3.0)], store, one))
    assert compared == [old.key]
    make(Total(parts=(old,), scale=4.0))
    assert compared == [old.key] * 2


def test_what_one_worker_compared_no_other_worker_of_the_run_compares(store: Store, make: Make, tmp_path: Path) -> None:
    old = Number(value=1.0)
    make(old)
    time.sleep(0.01)
    (tmp_path / "run.specs").touch()
    (tmp_path / "run.checked").mkdir()  # as a run that goes on has it
    inputs = StoredInputs(store, tmp_path / "run.specs")
    assert inputs[old] == store.path(old)
    flip(store.path(old) / "number.txt")
    stores._check_once.cache_clear()  # as in another process
    assert inputs[old] == store.path(old)
    (tmp_path / "next.specs").touch()
    with pytest.raises(SurefootError, match="another content"):
        StoredInputs(store, tmp_path / "next.specs")[old]


def records(store: Store, users: int) -> int:
    """Bytes of all records of as many shards, what gathers them, and as many users of that."""
    shards = tuple(Number(value=float(one)) for one in range(users))
    gathered = Total(parts=shards)
    steps = [*shards, gathered, *(Pair(one=gathered, other=Number(value=float(one))) for one in range(users))]
    for step in steps:
        store.path(step).mkdir(parents=True)
        write_record(store.path(step), step, [])
    return sum(path.stat().st_size for path in store.root.rglob("record.json"))


def test_records_grow_with_the_number_of_steps_and_not_with_its_square(tmp_path: Path) -> None:
    """Specs by reference: a record names the Steps in it by their keys, so that 10,000 users stay below 100 MB."""
    few, many = (records(Store(tmp_path / str(users)), users) for users in (50, 500))
    assert many < 10.5 * few
    assert many * 10_000 / 500 < 100e6


def test_a_store_of_an_older_format_is_refused_with_what_to_do(store: Store, make: Make) -> None:
    place = store.path(Number(value=1.0))
    place.mkdir(parents=True)
    for name in ("step.json", "measurements.json", "provenance.json"):
        (place / name).write_text("{}")
    for ask in (store.made, lambda: make(Number(value=2.0)), lambda: query(store, "SELECT 1")):
        with pytest.raises(SurefootError, match=r"older Surefoot, in a format .* Name another place with --store, or"):
            ask()


def test_a_step_reads_only_what_was_made(store: Store, make: Make) -> None:
    make(Number(value=1))
    assert (StoredInputs(store)[Number(value=1)] / "number.txt").read_text() == "1 "
    with pytest.raises(SurefootError, match="a Step may read only Steps that it holds"):
        StoredInputs(store)[Number(value=2)]


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("record", "may not write a file named record.json"),
        ("link", "may only leave files and directories: link is a link"),
        ("nan", "'bad' has value = nan: it must be a finite number"),
        ("none", r"must return Measurements \(or an empty tuple\), got None"),
        ("text", "must return Measurements .* got 'a text'"),
        ("module", r"'resvg_py' is not installed. Install it with: python -m pip install 'surefoot\[data\]'"),
    ],
)
def test_a_step_that_breaks_the_rules_of_the_store_fails_with_one_message(
    store: Store, make: Make, way: str, message: str
) -> None:
    step = Fragile(way=way)  # type: ignore[arg-type]
    (event,) = make(step)
    assert event.kind == "failed"
    assert re.search(message, event.error), event.error
    assert store.made() == {}
    assert [path.name for path in store.leftovers()] == [f"{step.key}.failed.json"]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "settings.json"
    write_text(path, "old")

    def power_failure(place: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(files, "_sync", power_failure)
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    write_text(path, "größe")
    assert path.read_text(encoding="utf-8") == "größe"


def test_the_files_of_an_artifact_are_json_that_anyone_can_read(store: Store, make: Make) -> None:
    step = Total(parts=(Number(value=1.5, label="größe"),))
    make(step)
    record = json.loads((store.path(step) / "record.json").read_text(encoding="utf-8"))
    assert {name: record[name] for name in ("format", "key", "kind", "version", "fields")} == {
        "format": 2,
        "key": step.key,
        "kind": "core_steps.Total",
        "version": 1,
        "fields": {"parts": [{"step": step.parts[0].key}], "scale": 1.0, "log": ""},
    }
    inner = json.loads((store.path(step.parts[0]) / "record.json").read_text(encoding="utf-8"))
    assert inner["fields"] == {"value": 1.5, "label": "größe", "log": ""}
    rest = (store.path(step) / "record.json").read_bytes().partition(b"\n")[2]
    assert record["sha256"] == hashlib.sha256(rest).hexdigest()
