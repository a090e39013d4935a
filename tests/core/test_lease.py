"""A lease has one holder. It is taken over when the holder is surely dead, or was not heard of for long."""

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from core_helpers import STEPS, Runner, ended, environment, eventually
from core_steps import Number, Slow, Total

from surefoot.core import Event, Store, SurefootError, claim, holder_is_alive, nobody_else, run, write_record
from surefoot.core import _lease as leases
from surefoot.core import _run as running
from surefoot.core._lease import HeldError, holder_state, lease

Start = Callable[..., Runner]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "0123.lease"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats and expiry in hundredths of a second."""
    monkeypatch.setattr(leases, "HEARTBEAT_SECONDS", 0.02)
    monkeypatch.setattr(running, "EXPIRY_SECONDS", 0.3)
    monkeypatch.setattr(running, "TICK_SECONDS", 0.02)


def written(path: Path, **changes: Any) -> None:
    """A lease as a holder elsewhere writes it."""
    mine = {"token": "abc", "machine": leases._machine(), "pid": os.getpid(), "started": leases._started(os.getpid())}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(mine | changes))


def dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


# --- one holder


def test_one_of_many_who_ask_at_once_gets_the_lease(path: Path) -> None:
    inside, most, got = 0, 0, []
    count = threading.Lock()
    begin = threading.Barrier(8)

    def ask(number: int) -> None:
        nonlocal inside, most
        begin.wait()
        while got.count(number) < 5:
            try:
                with lease(path):
                    with count:
                        inside += 1
                        most = max(most, inside)
                        got.append(number)
                    time.sleep(0.001)
                    with count:
                        inside -= 1
            except HeldError:
                time.sleep(0.001)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
    assert most == 1
    assert sorted(got) == sorted(list(range(8)) * 5)
    assert sorted(item.name for item in path.parent.iterdir()) == [".guard"]


def test_a_lease_is_freed_when_its_body_fails(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lease(path):
        assert holder_state(path) == "alive"
        raise ZeroDivisionError
    assert holder_state(path) == "none"
    assert not path.exists()


def test_the_heartbeat_moves_the_time_of_the_file(path: Path, quick: None) -> None:
    with lease(path):
        before = path.stat().st_mtime_ns
        eventually(lambda: path.stat().st_mtime_ns > before)


def test_a_heart_goes_on_when_the_disk_was_away_for_a_while(
    path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lease(path):
        with monkeypatch.context() as patched:
            patched.setattr(os, "utime", fail)
            time.sleep(0.1)
        before = path.stat().st_mtime_ns
        eventually(lambda: path.stat().st_mtime_ns > before)


def fail(*told: object) -> None:
    raise OSError(116, "Stale file handle")


# --- taking over


def test_a_lease_of_a_killed_process_is_taken_over_at_once(path: Path, runner: Start) -> None:
    holder = runner(path, script="holder.py")
    eventually(path.exists)
    assert holder_state(path) == "alive"
    with pytest.raises(HeldError), lease(path):
        pass
    holder.kill()
    assert holder_state(path) == "dead"
    with lease(path):
        assert holder_state(path) == "alive"


def test_a_stopped_process_is_not_dead_however_long_it_is_silent(path: Path, runner: Start) -> None:
    holder = runner(path, script="holder.py")
    assert holder.process.stdout
    assert holder.process.stdout.readline() == "held\n"
    holder.signal(signal.SIGSTOP)
    with pytest.raises(HeldError), lease(path, expired=path.stat().st_mtime_ns):
        pass


def test_another_process_with_the_number_of_the_dead_one_does_not_hold_its_lease(path: Path) -> None:
    written(path, started="1")
    assert holder_state(path) == "dead"
    with lease(path):
        pass


def test_a_zombie_holds_nothing(path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    written(path, pid=child.pid, started=leases._started(child.pid))
    assert holder_state(path) == "alive"
    child.kill()
    eventually(lambda: Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
    assert holder_state(path) == "dead"
    child.communicate()


@pytest.mark.parametrize("content", ["", "{", '{"token": "x"}', "[1]", '"x"'])
def test_a_lease_that_a_power_failure_spoiled_has_an_unknown_holder(path: Path, content: str) -> None:
    path.write_text(content)
    assert holder_state(path) == "unknown"
    with pytest.raises(HeldError), lease(path):
        pass
    with lease(path, expired=path.stat().st_mtime_ns):
        pass


def test_a_lease_of_another_machine_is_taken_over_only_by_one_who_saw_no_heartbeat(path: Path) -> None:
    written(path, machine="far away", pid=dead_pid())
    assert holder_state(path) == "unknown"
    assert holder_is_alive(path)
    seen = path.stat().st_mtime_ns
    with pytest.raises(HeldError), lease(path):
        pass
    os.utime(path, ns=(seen + 1, seen + 1))
    with pytest.raises(HeldError), lease(path, expired=seen):
        pass
    with lease(path, expired=seen + 1):
        assert holder_state(path) == "alive"


def test_clocks_that_go_backwards_upset_nobody(path: Path) -> None:
    written(path, machine="far away")
    os.utime(path, ns=(10**9, 10**9))
    with pytest.raises(HeldError), lease(path, expired=2 * 10**9):
        pass


def test_a_process_of_another_namespace_is_not_judged_by_its_number(path: Path) -> None:
    command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, str(STEPS / "holder.py")]
    if (
        not shutil.which("unshare")
        or subprocess.run([*command[:4], "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("a process namespace needs unshare and root")
    holder = subprocess.Popen([*command, str(path)], env=environment(), stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        # In its own eyes it is process 1 or so: here that number is another process, or none.
        assert json.loads(path.read_text())["pid"] != holder.pid
        assert holder_state(path) == "unknown"
        with pytest.raises(HeldError), lease(path):
            pass
    finally:
        holder.kill()  # unshare ignores SIGTERM
        holder.communicate()


def test_without_proc_a_gone_process_is_dead_and_a_living_one_is_unknown(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(path: Path) -> Path:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "readlink", no_links)
    written(path, pid=os.getpid(), started="")
    assert holder_state(path) == "unknown"
    written(path, pid=dead_pid(), started="")
    assert holder_state(path) == "dead"


def test_a_process_that_proc_hides_from_us_is_not_dead(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(path)
    read = Path.read_text

    def hidden(path: Path, *told: Any, **named: Any) -> str:
        if str(path).endswith("/stat"):
            raise FileNotFoundError(path)
        return read(path, *told, **named)

    def not_yours(pid: int, number: int) -> None:
        raise PermissionError(pid)

    monkeypatch.setattr(Path, "read_text", hidden)
    monkeypatch.setattr(os, "kill", not_yours)
    assert holder_state(path) == "unknown"


# --- the guard


@contextmanager
def stopped_in_the_guard(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that was stopped (Ctrl-Z) in the milliseconds in which it holds the guard."""
    code = (
        "import sys, os, signal; from pathlib import Path; from surefoot.core._lease import guard\n"
        "with guard(Path(sys.argv[1])):\n    print('in', flush=True)\n    os.kill(os.getpid(), signal.SIGSTOP)\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "in\n"
            yield process
        finally:
            process.send_signal(signal.SIGCONT)


def test_a_stopped_holder_of_the_guard_is_waited_for_with_a_message_and_a_limit(
    path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(leases, "GUARD_SAID_SECONDS", 0.1)
    monkeypatch.setattr(leases, "GUARD_SECONDS", 0.4)
    with stopped_in_the_guard(path) as process:
        message = (
            rf"\.guard has been held by process {process.pid} for .* seconds.*Let it go on or end it, then run again"
        )
        with pytest.raises(SurefootError, match=message), lease(path):
            pass
        said = capfd.readouterr().err
        assert said.count(f"which is held by process {process.pid}: it was stopped?\n") == 1
    with lease(path):
        pass


def test_a_run_ends_with_one_message_when_the_guard_does_not_come_free(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "GUARD_SECONDS", 0.2)
    step = Number(value=1.0)
    store.path(step).parent.mkdir(parents=True)
    message = r"\.guard has been held by process"
    with (
        stopped_in_the_guard(store.path(step)),
        ThreadPoolExecutor(1) as pool,
        pytest.raises(SurefootError, match=message),
    ):
        list(run([step], store, pool))
    with ThreadPoolExecutor(1) as pool:
        assert [event.kind for event in ended(run([step], store, pool))] == ["made"]


def test_a_file_system_without_locks_is_refused_in_one_sentence(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*told: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with (
        pytest.raises(SurefootError, match=r"has no locks \(flock\).*: put the store on another file system"),
        lease(path),
    ):
        pass
    assert [item.name for item in path.parent.iterdir()] == [".guard"]


def test_one_thread_beats_for_all_leases_of_a_process_and_ends_after_them(path: Path, quick: None) -> None:
    others = [path.with_name(f"{place:04}.lease") for place in range(20)]
    with ExitStack() as stack:
        for other in others:
            stack.enter_context(lease(other))
        hearts = [thread for thread in threading.enumerate() if thread.name == "heartbeat of leases"]
        assert len(hearts) == 1
        before = [other.stat().st_mtime_ns for other in others]
        eventually(lambda: all(other.stat().st_mtime_ns > stamp for other, stamp in zip(others, before, strict=True)))
    eventually(lambda: not hearts[0].is_alive())


# --- a holder that lost its lease


def test_who_lost_the_lease_neither_beats_nor_publishes_nor_frees_it(path: Path, quick: None) -> None:
    with lease(path) as held:
        with held.kept():
            pass
        written(path, machine="far away")
        stamp = path.stat().st_mtime_ns
        with pytest.raises(HeldError), held.kept():
            raise AssertionError("must not be reached")
        time.sleep(0.1)
        assert path.stat().st_mtime_ns == stamp
    assert json.loads(path.read_text())["machine"] == "far away"


@contextmanager
def stolen(store: Store, step: Slow) -> Iterator[None]:
    """Another machine takes the lease over while `step` is being made (this one slept)."""
    path = store.path(step).with_name(f"{step.key}.lease")

    def steal() -> None:
        eventually(path.exists)
        written(path, machine="far away")

    thief = threading.Thread(target=steal)
    thief.start()
    yield
    thief.join()


def test_a_step_made_under_a_lost_lease_is_not_published_but_awaited_from_the_other(
    store: Store, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "EXPIRY_SECONDS", 600.0)
    step = Slow(name=1, seconds=0.3)
    events: list[Event] = []
    with ThreadPoolExecutor(1) as pool, stolen(store, step):
        for event in run([step], store, pool):
            events.append(event)
            if event.kind == "elsewhere":
                assert not store.has(step)
                store.path(step).mkdir()
                write_record(store.path(step), step, ())
    assert [event.kind for event in ended(events)] == ["elsewhere", "kept"]


# --- runners


def test_a_runner_takes_over_from_another_machine_only_when_its_heart_stopped(store: Store, quick: None) -> None:
    step = Number(value=1.0)
    path = store.path(step).with_name(f"{step.key}.lease")
    written(path, machine="far away")
    beating = threading.Event()

    def beat() -> None:
        while not beating.wait(0.05):
            os.utime(path)

    heart = threading.Thread(target=beat)
    heart.start()
    events: list[Event] = []

    def follow() -> None:
        with ThreadPoolExecutor(1) as pool:
            events.extend(ended(run([step], store, pool)))

    follower = threading.Thread(target=follow)
    follower.start()
    time.sleep(1.0)
    assert [event.kind for event in events] == []
    assert not store.has(step)
    beating.set()
    heart.join()
    follower.join(timeout=20)
    assert [event.kind for event in events] == ["elsewhere", "made"]
    assert store.has(step)


def test_what_another_runner_publishes_meanwhile_is_kept_and_its_users_go_on(store: Store, quick: None) -> None:
    step = Number(value=1.0)
    user = Total(parts=(step,))
    path = store.path(step).with_name(f"{step.key}.lease")
    with lease_of(path), ThreadPoolExecutor(1) as pool:
        events: list[Event] = []
        for event in run([user], store, pool):
            events.append(event)
            if event.kind == "elsewhere":
                other = Store(store.root.parent / "other")
                with ThreadPoolExecutor(1) as second:
                    list(run([step], other, second))
                other.path(step).rename(store.path(step))
    assert [(event.kind, event.step.key) for event in ended(events)] == [
        ("elsewhere", step.key),
        ("kept", step.key),
        ("made", user.key),
    ]


@contextmanager
def lease_of(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True)
    with lease(path):
        yield


def test_a_failure_elsewhere_is_a_failure_here(store: Store, quick: None) -> None:
    step = Number(value=1.0)
    path = store.path(step).with_name(f"{step.key}.lease")
    events: list[Event] = []
    with ThreadPoolExecutor(1) as pool:
        with lease_of(path):
            running_events = run([Total(parts=(step,))], store, pool)
            events.append(next(event for event in running_events if event.kind == "elsewhere"))
            path.with_name(f"{step.key}.failed.json").write_text(json.dumps({"error": "it boiled over"}))
        events += ended(running_events)
    assert [event.kind for event in events] == ["elsewhere", "failed", "blocked"]
    assert "it boiled over" in events[1].error


def test_what_a_worker_makes_whose_runner_is_gone_keeps_others_from_removing(store: Store) -> None:
    step = Number(value=1.0)
    store.path(step).parent.mkdir(parents=True)
    with (
        lease(store.path(step).with_suffix(".lease")),
        pytest.raises(SurefootError, match="A run uses the store"),
        nobody_else(store),
    ):
        pytest.fail("It may remove what is being made.")
    with nobody_else(store):
        pass


def test_a_claim_is_refused_while_another_has_it_and_warns_where_there_are_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (os.open(tmp_path, os.O_RDONLY) for _ in range(2))
    claim(first, tmp_path, "Another run writes there.")
    with pytest.raises(SurefootError, match="Another run writes there"):
        claim(second, tmp_path, "Another run writes there.")
    os.close(first)
    claim(second, tmp_path, "Another run writes there.")
    os.close(second)

    def no_locks(*told: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.warns(UserWarning, match=r"has no locks \(flock\): let no other run write there"):
        claim(0, tmp_path, "")
