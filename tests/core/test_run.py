"""run makes what is missing and keeps what is there; a failure blocks only those who need it."""

import errno
import json
import os
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest
from core_helpers import ended
from core_steps import Beholder, Curious, Filling, Fragile, Located, Needy, Number, Slow, Total, Trained, Wave

from surefoot.core import Event, Results, Step, Store, SurefootError, open_pool, run, walk, write_record
from surefoot.core import _run as running
from surefoot.core import _worker as worker

Make = Callable[..., list[Event]]


def by_kind(events: list[Event]) -> dict[str, list[Step]]:
    found: dict[str, list[Step]] = {}
    for event in events:
        found.setdefault(event.kind, []).append(event.step)
    return found


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


# --- made and kept


def test_inputs_are_made_before_their_users_and_each_once(store: Store, make: Make, log: Path) -> None:
    shared = Number(value=1.0, log=str(log))
    middle = Total(parts=(shared, Number(value=2.0, log=str(log))), log=str(log))
    top = Total(parts=(middle, shared), scale=10.0, log=str(log))
    events = make(top, middle)
    assert {event.kind for event in events} == {"made"}
    assert [event.step.key for event in events][-2:] == [middle.key, top.key]
    assert sorted(log.read_text().split()) == ["1.0", "2.0", "total", "total"]
    assert store.measurements(top)[0].value == 40.0


def test_the_memory_of_a_chain_grows_with_its_links_and_not_with_their_square(tmp_path: Path) -> None:
    def peak(links: int) -> int:
        step: Step = Number(value=0)
        for name in range(links):
            step = Slow(name=name, seconds=0, after=step)
        store = Store(tmp_path / str(links))
        tracemalloc.start()
        with open_pool("here") as pool:
            assert all(event.kind != "failed" for event in run([step], store, pool))
        assert len(Results(store, tuple(walk([step]))).observations) > links
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few, many = peak(100), peak(400)
    assert many < 6 * few
    assert many * 10_000 / 400 < 1e9


def test_a_second_run_keeps_everything_and_touches_nothing(store: Store, make: Make, log: Path) -> None:
    top = Total(parts=(Number(value=1.0, log=str(log)),), log=str(log))
    make(top)
    said, stamps = log.read_text(), store.stamps()
    assert by_kind(make(top)) == {"kept": [top.parts[0], top]}
    assert (log.read_text(), store.stamps()) == (said, stamps)


def test_only_what_is_new_is_made(store: Store, make: Make, log: Path) -> None:
    old = Number(value=1.0, log=str(log))
    make(old)
    top = Total(parts=(old, Number(value=2.0, log=str(log))))
    found = by_kind(make(top))
    assert found["kept"] == [old]
    assert found["made"] == [top.parts[1], top]


def test_a_step_waits_for_a_missing_one_behind_a_kept_one(store: Store, make: Make) -> None:
    base = Number(value=1.0)
    middle = Total(parts=(base,))
    make(middle)
    store.remove(store.path(base))
    events = make(Total(parts=(middle,), scale=2.0))
    assert [(event.kind, event.step.key) for event in events][1] == ("made", base.key)
    assert [event.kind for event in events] == ["kept", "made", "made"]


def test_a_step_waits_for_a_missing_one_behind_many_kept_ones(store: Store, make: Make) -> None:
    chain: list[Step] = [Fragile(way="raise", cure=str(store.root))]
    store.root.mkdir()
    for name in range(1500):  # more than Python's stack
        chain.append(Slow(name=name, seconds=0.0, after=chain[-1]))
    for step in chain[1:]:
        store.path(step).mkdir(parents=True)
        write_record(store.path(step), step, ())
    top = Slow(name=-1, seconds=0.0, after=chain[-1])
    events = [event for event in make(top) if event.kind != "kept"]
    assert [(event.kind, event.step.key) for event in events] == [("made", chain[0].key), ("made", top.key)]
    bad, last = Fragile(way="raise"), Slow(name=-1, seconds=0.0, after=Total(parts=(Fragile(way="raise"),)))
    assert last.after
    store.path(last.after).mkdir(parents=True)
    write_record(store.path(last.after), last.after, ())
    assert [(event.kind, event.step.key) for event in make(last) if event.kind != "kept"] == [
        ("failed", bad.key),
        ("blocked", last.key),
    ]


def test_where_a_file_lies_now_reaches_the_users_of_a_step_that_was_made_when_it_lay_elsewhere(
    store: Store, make: Make
) -> None:
    make(Located(digest="abc", path="/here"))
    user = Total(parts=(Located(digest="abc", path="/there"),))
    assert [event.kind for event in make(user)] == ["kept", "made"]
    seen = Beholder(of=Located(digest="abc", path="/there"))
    make(seen)
    assert (store.path(seen) / "path.txt").read_text() == "/there"
    assert Located(digest="abc", path="/elsewhere").key in store.made()


def test_asking_for_nothing_does_nothing(store: Store, make: Make) -> None:
    assert make() == []
    assert not store.root.exists()


def test_progress_is_told_while_a_step_is_made(
    store: Store, threads: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "TICK_SECONDS", 0.01)
    step = Slow(name=1, seconds=0.6)
    events = list(run([step], store, threads))
    kinds = [event.kind for event in events]
    assert kinds[0] == "started"
    assert kinds[-1] == "made"
    told = [event for event in events if event.kind == "progress"]
    assert len(told) >= 3
    assert [event.done for event in told] == sorted({event.done for event in told})
    assert all(event.total == 10 and event.values == (("loss", 1 / event.done),) for event in told)
    assert events[-1].seconds >= 0.6


# --- failures


def test_a_failing_step_keeps_its_trace_and_blocks_only_its_users(store: Store, make: Make) -> None:
    bad, good = Fragile(way="raise"), Number(value=1.0)
    user = Total(parts=(bad, good))
    users_user = Total(parts=(user,))
    found = by_kind(make(users_user, Total(parts=(good,))))
    assert found["failed"] == [bad]
    assert {step.key for step in found["blocked"]} == {user.key, users_user.key}
    assert found["made"] == [good, Total(parts=(good,))]
    record = json.loads(store.failures()[bad.key].read_text())
    assert record["error"] == "ValueError: the kettle boiled over"
    assert 'raise ValueError("the kettle boiled over")' in record["trace"]
    assert (record["step"]["kind"], record["step"]["fields"]["way"]) == (bad.kind, "raise")
    assert record["provenance"]["wall_seconds"] >= 0


def test_each_event_says_what_went_wrong(make: Make) -> None:
    bad = Fragile(way="said")
    failed, blocked = make(Total(parts=(bad,)))
    assert failed.error == "row 7 of labels.csv has no class: add one"
    assert blocked.error == f"needs core_steps.Fragile {bad.key}, which failed"


def test_a_failed_step_is_tried_again_only_with_retry(store: Store, make: Make, tmp_path: Path, log: Path) -> None:
    cure = tmp_path / "cure"
    bad = Fragile(way="raise", cure=str(cure), log=str(log))
    user = Total(parts=(bad,))
    make(user)
    cure.touch()
    again = make(user)
    assert [event.kind for event in again] == ["failed", "blocked"]
    assert "the kettle boiled over (in an earlier run; try again with --retry)" in again[0].error
    assert log.read_text().split() == ["raise"]
    assert [event.kind for event in make(user, retry=True)] == ["made", "made"]
    assert store.failures() == {}
    assert store.leftovers() == []


def test_retry_reaches_a_failed_step_whose_input_has_to_be_made_first(store: Store, make: Make) -> None:
    user = Total(parts=(Number(value=1.0),))
    failure = store.path(user).with_name(f"{user.key}.failed.json")
    failure.parent.mkdir(parents=True)
    failure.write_text('{"error": "The kettle boiled over."}')
    assert [event.kind for event in make(user)] == ["made", "failed"]
    store.remove(store.path(Number(value=1.0)))
    assert [event.kind for event in make(user, retry=True)] == ["made", "made"]
    assert store.failures() == {}


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"when": 1}', b"\xff\xfe"])
def test_a_damaged_record_of_a_failure_is_none(store: Store, make: Make, content: bytes) -> None:
    step = Number(value=1.0)
    failure = store.path(step).with_name(f"{step.key}.failed.json")
    failure.parent.mkdir(parents=True)
    failure.write_bytes(content)
    assert [event.kind for event in make(step)] == ["made"]
    assert store.failures() == {}


def test_a_failure_that_was_found_while_another_part_ran_is_not_repeated(make: Make, log: Path) -> None:
    bad = Fragile(way="raise", log=str(log))
    make(bad)
    events = make(Total(parts=(Number(value=1.0), bad)), Total(parts=(Number(value=1.0),)))
    assert sorted(event.kind for event in events) == ["blocked", "failed", "made", "made"]
    assert log.read_text().split() == ["raise"]


def test_a_step_that_exits_is_a_step_that_failed(make: Make) -> None:
    events = make(Fragile(way="exit"), Number(value=1.0))
    assert {(event.kind, event.error) for event in events} == {("failed", "SystemExit: goodbye"), ("made", "")}


def test_a_step_that_reads_what_it_does_not_hold_fails(make: Make) -> None:
    (event,) = make(Curious())
    assert "a Step may read only Steps that it holds" in event.error


def test_a_missing_module_is_said_before_any_work(store: Store, make: Make) -> None:
    with pytest.raises(SurefootError, match="There is no Python module 'lightgbm_of_the_tests' here"):
        make(Number(value=1.0), Needy())
    assert not store.root.exists()


def test_a_kept_step_needs_no_module_even_beside_one_that_is_tried_again(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, bad = Number(value=1.0), Fragile(way="raise", cure=str(tmp_path / "cure"))
    make(kept, bad)
    (tmp_path / "cure").touch()
    monkeypatch.setattr(Number, "requires", ("a_module_that_is_not_there",))
    assert [(event.kind, event.step) for event in make(kept, bad, retry=True)] == [("kept", kept), ("made", bad)]


def test_a_module_of_the_user_is_no_package_to_install(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Needy, "requires", ("my_helpers",))
    with pytest.raises(SurefootError, match=r"no Python module 'my_helpers' here\. If it is a file of yours") as told:
        make(Needy())
    assert "pip" not in str(told.value)


def test_a_module_of_an_extra_is_named_with_the_extra(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Needy, "requires", ("torch",))
    monkeypatch.setattr(running, "find_spec", lambda name: None)
    with pytest.raises(SurefootError, match=r"python -m pip install 'surefoot\[clip\]'"):
        make(Needy())


# --- checkpoints


def test_checkpoints_outlive_a_failure_and_are_gone_when_the_step_is_published(
    store: Store, make: Make, tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trained(dies_at=4, fuse=str(tmp_path / "fuse"), log=str(log))
    Path(step.fuse).touch()

    def fail(*told: object) -> None:
        raise RuntimeError("power")

    with monkeypatch.context() as patched:
        patched.setattr(os, "kill", fail)
        assert [event.kind for event in make(step)] == ["failed"]
    assert (store.path(step).with_name(f"{step.key}.part") / "resume" / "epoch.txt").read_text() == "4"
    assert [event.kind for event in make(step, retry=True)] == ["made"]
    assert log.read_text().splitlines() == [f"epoch {epoch}" for epoch in range(10)]
    assert store.leftovers() == []
    assert [path.name for path in store.path(step).iterdir()] == ["record.json"]


# --- disks


@pytest.fixture
def small_disk(mount_disk: Callable[[str], Path]) -> Path:
    return mount_disk("2m")


def test_a_full_disk_is_one_message_and_leaves_the_store_as_it_was(small_disk: Path, threads: Executor) -> None:
    store = Store(small_disk / "store")
    small, big = Number(value=1.0), Filling(megabytes=3)
    assert [event.kind for event in ended(run([small], store, threads))] == ["made"]
    with pytest.raises(SurefootError, match=r"^The disk that holds .* is full: free some space, then run again\.$"):
        list(run([big, Total(parts=(small,))], store, threads))
    threads.shutdown()
    assert small.key in store.made()
    assert big.key not in store.made()
    assert store.leftovers() == []
    assert store.failures() == {}
    with ThreadPoolExecutor(1) as later:
        assert [event.kind for event in ended(run([small, Total(parts=(small,))], store, later))][-1] in (
            "made",
            "kept",
        )


def test_a_disk_that_fills_up_anywhere_leaves_no_half_artifact(small_disk: Path) -> None:
    store = Store(small_disk / "store")
    step = Filling(megabytes=0.01)
    store.root.mkdir()
    filler = small_disk / "filler"
    outcomes = set()
    for free in range(0, 81_920, 4096):
        filler.write_bytes(b"\1" * (shutil.disk_usage(small_disk).free - free))
        with ThreadPoolExecutor(1) as pool:
            try:
                outcomes.add(ended(run([step], store, pool))[-1].kind)
            except SurefootError as error:
                assert "is full: free some space" in str(error)
                outcomes.add("full")
        filler.unlink()
        if store.has(step):
            assert len(store.measurements(step)) == 1
            assert (store.path(step) / "big.bin").stat().st_size == int(0.01 * 2**20)
        else:
            assert store.made() == {}
        assert store.leftovers() == []
    assert outcomes == {"full", "made", "kept"}


def test_a_full_disk_without_a_small_disk_to_try_it_on(
    store: Store, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*told: object, **named: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "weights.bin")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(SurefootError, match=r"^The disk that holds weights.bin is full"):
            make(Filling(megabytes=0.1))
    assert store.leftovers() == []
    assert [event.kind for event in make(Filling(megabytes=0.1))] == ["made"]


def test_a_store_that_cannot_be_written_is_said_once_and_clearly(tmp_path: Path, threads: Executor) -> None:
    place = tmp_path / "file"
    place.touch()
    with pytest.raises(SurefootError, match=r"^The store .*file cannot be written: .*"):
        list(run([Number(value=1.0)], Store(place), threads))
    with pytest.raises(SurefootError, match=r"^The store .* cannot be written"):
        list(run([Number(value=1.0)], Store(place / "below"), threads))


def test_a_store_on_a_read_only_disk_can_be_read_and_says_that_it_cannot_be_written(
    small_disk: Path, threads: Executor
) -> None:
    store = Store(small_disk / "store")
    list(run([Number(value=1.0)], store, threads))
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert [event.kind for event in run([Number(value=1.0)], store, threads)] == ["kept"]
    with pytest.raises(SurefootError, match=r"cannot be written: .*Read-only file system"):
        list(run([Number(value=2.0)], store, threads))


# --- provenance


def test_a_commit_is_read_from_the_working_directory_and_marked_when_files_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert worker.current_commit() == ""
    for command in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "first"],
    ):
        subprocess.run(["git", *command], check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert worker.current_commit() == commit
    (tmp_path / "new.py").touch()
    subprocess.run(["git", "add", "new.py"], check=True)
    assert worker.current_commit() == f"{commit}+changes"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert worker.current_commit() == ""


def test_a_machine_without_proc_still_has_provenance(store: Store, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    read, write, exists = Path.read_text, Path.write_text, Path.exists

    def hidden(path: Path) -> bool:
        return str(path).startswith("/proc")

    def no_read(path: Path, *told: object, **named: object) -> str:
        if hidden(path):
            raise FileNotFoundError(path)
        return read(path, *told, **named)  # type: ignore[arg-type]

    def no_write(path: Path, *told: object, **named: object) -> int:
        if hidden(path):
            raise PermissionError(path)
        return write(path, *told, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "read_text", no_read)
    monkeypatch.setattr(Path, "write_text", no_write)
    monkeypatch.setattr(Path, "exists", lambda path: not hidden(path) and exists(path))
    assert [event.kind for event in make(Number(value=1.0))] == ["made"]
    assert store.provenance(Number(value=1.0))["peak_memory_bytes"] > 2**20


def test_modules_of_any_shape_may_be_loaded(store: Store, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "blocked_by_none", None)  # type: ignore[arg-type]
    make(Wave(frequency=1.0))
    assert "blocked_by_none" not in store.provenance(Wave(frequency=1.0))["packages"]


def test_a_module_may_be_imported_while_the_loaded_ones_are_listed(
    store: Store, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Growing(dict[str, ModuleType]):
        """Modules of which another thread imports one more while they are gone through."""

        def items(self) -> Iterator[tuple[str, ModuleType]]:  # type: ignore[override]
            for name, module in super().items():
                yield name, module
                self["imported_meanwhile"] = ModuleType("imported_meanwhile")

    monkeypatch.setattr(sys, "modules", Growing(sys.modules))
    events = make(Wave(frequency=2.0))
    assert [event.kind for event in events] == ["made"]
