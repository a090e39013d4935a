"""Real runners in processes of their own are killed, stopped and set against each other: results stay right."""

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from core_helpers import Runner, eventually
from core_steps import Number

from surefoot.core import Artifact, Measurement, Step, Store, damages, holder_is_alive, inputs_of, walk

Start = Callable[..., Runner]

# How often a runner is killed; raise it by hand to look for what is rarer.
KILLS = int(os.environ.get("SUREFOOT_KILLS", "24"))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def study(log: Path) -> list[Step]:
    """The Steps that the runners of the study `slow` make."""
    from runner import STUDIES

    return walk(STUDIES["slow"](str(log)))


def expected(step: Step) -> list[Measurement]:
    """What the study measures, by arithmetic of our own."""
    if step.kind == "core_steps.Total":
        values = [name + piece for name in [*range(8), *range(100, 104)] for piece in range(3)]
        return [Measurement(metric="total", value=float(sum(values)), n=36)]
    name = vars(step)["name"]
    return [Measurement(metric="slow", value=float(name + piece), n=10, replicate=piece) for piece in range(3)]


def assert_whole(artifact: Artifact, step: Step) -> None:
    """Everything that the record speaks of is there, complete, and the measurements are the right ones."""
    assert step.key == artifact.key
    assert list(artifact.measurements) == expected(step)
    present = {path.name: path.stat().st_size for path in artifact.path.iterdir() if path.name != "record.json"}
    assert present == {name: size for name, (size, _) in artifact.files.items()}


def assert_all_whole(store: Store) -> None:
    steps = store.steps()
    for key, path in store.made().items():
        assert_whole(Artifact(path), steps[key])


def begun(log: Path) -> Counter[str]:
    return Counter(log.read_text().splitlines() if log.exists() else [])


def await_work(store: Store, one: Runner) -> None:
    eventually(lambda: one.process.poll() is not None or any(store.root.glob("*/*.lease")))


def stopped_amid_two(one: Runner, log: Path) -> bool:
    """Stop a runner; it goes on unless both of its workers were inside a Step, where they hold leases and no guard."""
    one.signal(signal.SIGSTOP)
    what = [line.split()[0] for line in begun(log).elements()]
    if what.count("begin") - what.count("end") == 2:
        return True
    one.signal(signal.SIGCONT)
    return False


def chosen_with_users(log: Path, chance: random.Random) -> list[str]:
    """The keys of six Steps by chance, with all that hold them: a Step is described by those below it."""
    chosen: set[str] = set(chance.sample([step.key for step in study(log)], 6))
    for step in study(log):  # inputs before their users
        if {inner.key for inner in inputs_of(step)} & chosen:
            chosen.add(step.key)
    return sorted(chosen)


def test_kill_9_at_any_moment_many_times_over_never_leaves_a_wrong_or_half_artifact(
    store: Store, log: Path, runner: Start
) -> None:
    chance = random.Random(20260101)
    for _ in range(KILLS):
        one = runner(store.root, "slow", log, 2)
        if chance.random() < 0.8:
            await_work(store, one)  # from the first lease on there is something to break
            time.sleep(chance.random() * 0.15)
        else:
            time.sleep(chance.random() * 1.5)
        one.kill()
        assert_all_whole(store)
        if len(store.made()) == 13:
            for key in chosen_with_users(log, chance):
                store.remove(store.made()[key])
    code, _, err = runner(store.root, "slow", log, 2).wait()
    assert (code, err) == (0, "")
    assert set(store.made()) == {step.key for step in study(log)}
    assert_all_whole(store)
    assert list(damages(store)) == []
    # Killed between publishing and tidying, a runner may leave its lease beside a finished artifact: no harm is in it.
    assert [path for path in store.leftovers() if path.name[:20] not in store.made()] == []


def test_two_runners_on_one_store_never_make_a_step_twice(store: Store, log: Path, runner: Start) -> None:
    pair = [runner(store.root, "slow", log, 2) for _ in range(2)]
    said = [one.wait() for one in pair]
    assert [(code, err) for code, _, err in said] == [(0, ""), (0, "")]
    assert begun(log) == {f"{what} {name}": 1 for name in [*range(8), *range(100, 104)] for what in ("begin", "end")}
    made = [line.split()[2] for _, out, _ in said for line in out.splitlines() if line.startswith("made")]
    assert sorted(made) == sorted(step.key for step in study(log))
    assert store.leftovers() == []


def test_what_a_killed_runner_held_is_taken_over_by_the_one_beside_it(store: Store, log: Path, runner: Start) -> None:
    victim = runner(store.root, "slow", log, 2)
    eventually(lambda: stopped_amid_two(victim, log))
    at = [line for line in begun(log) if line.startswith("begin") and f"end {line.split()[1]}" not in begun(log)]
    other = runner(store.root, "slow", log, 2)
    eventually(lambda: begun(log).total() >= len(at) + 4)
    victim.kill()
    code, _, err = other.wait()
    assert (code, err) == (0, "")
    assert set(store.made()) == {step.key for step in study(log)}
    # The two Steps that the victim was at are made again, and no other.
    again = {line: count for line, count in begun(log).items() if line.startswith("begin") and count > 1}
    assert again == dict.fromkeys(at, 2)


def test_ctrl_c_frees_the_leases_and_leaves_no_process(store: Store, log: Path, runner: Start) -> None:
    one = runner(store.root, "waiting", log, 2)
    eventually(lambda: begun(log)["wait"] == 2)
    one.signal(signal.SIGINT)
    code, _, err = one.wait(20)
    assert code == 130
    assert "Traceback" not in err, err
    eventually(lambda: not one.members())
    assert store.leftovers() == []


def test_ctrl_c_stops_what_waits_in_line_too(store: Store, log: Path, runner: Start) -> None:
    one = runner(store.root, "slow", log, 1)
    eventually(lambda: begun(log).total() >= 1)
    one.signal(signal.SIGINT)
    assert one.wait(20)[0] == 130
    eventually(lambda: not one.members())
    after = begun(log)
    time.sleep(0.2)
    assert begun(log) == after
    assert sum(line.startswith("begin") for line in after) < 12
    assert not any(holder_is_alive(path) for path in store.leftovers())


def test_ctrl_c_stops_a_step_that_is_made_in_the_runner_itself(store: Store, log: Path, runner: Start) -> None:
    one = runner(store.root, "waiting", log, 1, "here")
    eventually(lambda: begun(log)["wait"] == 1)
    one.signal(signal.SIGINT)
    assert one.wait(20)[0] == 130
    assert store.leftovers() == []


def test_workers_end_when_only_their_runner_is_killed(store: Store, log: Path, runner: Start) -> None:
    one = runner(store.root, "waiting", log, 2)
    eventually(lambda: begun(log)["wait"] == 2)
    os.kill(one.process.pid, signal.SIGKILL)
    eventually(lambda: not one.members())
    assert one.process.communicate()[1] == ""  # neither a traceback nor a warning with a line of source
    # The dead runner's list of Steps is removed by the next run, or by `clean`.
    assert {path.parent.name for path in store.leftovers()} == {".runs"}
    assert not any(holder_is_alive(path) for path in store.leftovers())
    assert runner(store.root, "slow", log, 2).wait()[0] == 0
    assert store.leftovers() == []


def test_a_worker_that_begins_as_its_runner_dies_leaves_without_a_word(runner: Start) -> None:
    one = runner(script="orphan.py")
    assert one.wait(30) == (143, "", "")


@pytest.mark.parametrize(("study_name", "how"), [("killed", "killed by SIGKILL"), ("left", "exit code 3")])
def test_a_step_that_kills_its_worker_twice_has_failed_and_the_others_go_on(
    store: Store, log: Path, runner: Start, study_name: str, how: str
) -> None:
    code, out, err = runner(store.root, study_name, log, 2).wait()
    assert (code, err) == (0, "")
    (failed,) = [line for line in out.splitlines() if line.startswith("failed")]
    assert "Its worker died 2 times" in failed
    assert how in failed
    assert begun(log)[{"killed": "kill", "left": "leave"}[study_name]] == 2
    assert log.read_text().split()[-1] == {"killed": "kill", "left": "leave"}[study_name]  # alone: after all others
    assert {step.key for step in study(log)} <= set(store.made())
    # No other Step was lost with the worker: each was begun once.
    assert {count for line, count in begun(log).items() if line.startswith("begin")} == {1}
    # It is known: the next run does not die of it, and --retry makes it once it is cured.
    again = runner(store.root, study_name, log, 2).wait()
    assert "in an earlier run" in again[1]
    assert begun(log)[{"killed": "kill", "left": "leave"}[study_name]] == 2
    Path(f"{log}.cure").touch()
    assert "failed" not in runner(store.root, study_name, log, 1, "processes", "retry").wait()[1]
    assert len(store.made()) == 14
    assert store.leftovers() == []


def test_a_training_whose_worker_was_killed_goes_on_from_its_last_checkpoint(
    store: Store, log: Path, runner: Start
) -> None:
    Path(f"{log}.fuse").touch()
    code, out, _ = runner(store.root, "trained", log, 1).wait()
    assert (code, "failed" in out) == (0, False)
    assert begun(log) == {f"epoch {epoch}": 1 for epoch in range(10)}
    assert store.leftovers() == []


def test_a_failing_step_is_found_once_however_many_runners_there_are(store: Store, log: Path, runner: Start) -> None:
    several = [runner(store.root, "failing", log, 2) for _ in range(3)]
    said = [one.wait() for one in several]
    assert [(code, err) for code, _, err in said] == [(0, "")] * 3
    assert all(out.count("failed ") == 12 for _, out, _ in said)
    assert begun(log) == {"raise": 12}
    several = [runner(store.root, "failing", log, 2, "processes", "retry") for _ in range(3)]
    for one in several:
        one.wait()
    assert 24 <= begun(log)["raise"] <= 48  # each was tried again by who came first; a later one may begin a new retry


def test_what_a_run_killed_between_publishing_and_cleaning_made_is_kept(store: Store, runner: Start) -> None:
    # What a kill right after the rename leaves: the artifact, its work directory, and a lease of the dead.
    step = Number(value=1.0)
    from concurrent.futures import ThreadPoolExecutor

    from surefoot.core import run

    with ThreadPoolExecutor(1) as pool:
        list(run([step], store, pool))
        beside = store.path(step).with_name
        (beside(f"{step.key}.part") / "resume").mkdir(parents=True)
        dead = {"token": "x", "machine": "far away", "pid": 1, "started": "1"}
        beside(f"{step.key}.lease").write_text(json.dumps(dead))
        assert [event.kind for event in run([step], store, pool)] == ["kept"]
    assert {path.suffix for path in store.leftovers()} == {".part", ".lease"}
