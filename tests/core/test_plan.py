"""Questions before a run: what is missing, how long it takes, why a Step is new, what may be stale."""

import importlib
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from core_steps import Fragile, Number, Pair, Slow, Total, Wave

from surefoot.core import (
    Artifact,
    Difference,
    Event,
    Pace,
    Results,
    Seconds,
    Step,
    Store,
    SurefootError,
    flatten,
    made_otherwise,
    plan,
    stale,
    walk,
    why,
    write_record,
)
from surefoot.core._plan import source_fingerprint

Make = Callable[..., list[Event]]


def timed(store: Store, step: Step, seconds: float, **more: float) -> None:
    """Say of an artifact that it took so long, and what more there is to say."""
    artifact = store.artifact(step)
    told = (artifact.measurements, artifact.provenance | {"wall_seconds": seconds, **more})
    (artifact.path / "record.json").unlink()
    write_record(artifact.path, step, *told)


# --- plan


def test_a_plan_sorts_steps_into_kept_missing_and_failed(store: Store, make: Make) -> None:
    kept, bad = Number(value=1.0), Fragile(way="raise")
    top = Total(parts=(kept, bad))
    make(kept, bad)
    found = plan([top], store)
    assert (found.kept, found.missing, found.failed) == ((kept,), (bad, top), (bad,))


def test_a_plan_changes_nothing(store: Store) -> None:
    plan([Number(value=1.0)], store)
    assert not store.root.exists()


def test_the_estimate_is_the_mean_rate_of_earlier_ones_times_the_cost(store: Store, make: Make) -> None:
    earlier = [Wave(frequency=float(place), terms=100 * place) for place in range(1, 6)]
    make(*earlier)
    for step, rate in zip(earlier, (0.01, 0.02, 0.03, 0.04, 0.1), strict=True):
        timed(store, step, rate * step.terms)
    found = plan([Wave(frequency=1.0, terms=1000)], store).seconds
    assert (found.low, found.likely, found.high) == pytest.approx((20.0, 40.0, 40.0))


def test_an_artifact_from_before_a_field_of_the_cost_counts_as_one_unit(
    store: Store, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(Slow(name=0, seconds=0.0))
    timed(store, Slow(name=0, seconds=0.0), 2.0)
    monkeypatch.setattr(Slow, "samples", 3.0, raising=False)
    monkeypatch.setattr(Slow, "cost_fields", ("samples",))
    assert plan([Slow(name=1, seconds=0.0)], store).seconds.likely == pytest.approx(6.0)


def test_few_timings_give_a_wider_range_than_many(store: Store, make: Make) -> None:
    make(Number(value=1.0))
    timed(store, Number(value=1.0), 4.0)
    found = plan([Number(value=1.0), Number(value=2.0)], store).seconds
    assert (found.low, found.likely, found.high) == pytest.approx((4.0 / 1.5, 4.0, 6.0))


def test_the_errors_of_steps_and_of_kinds_do_not_all_add_up() -> None:
    pace = Pace({"a": [1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 5.0, 4.0], "b": [1.0]})
    one, many = pace.total({"a": 3.0}, {"a": 1}), pace.total({"a": 300.0}, {"a": 100})
    assert (one.likely, many.likely) == (9.0, 900.0)
    assert (one.low, one.high) == (6.0, 12.0)
    assert many.high - many.likely == pytest.approx(300.0 * 0.1**0.5)
    alone, both = pace.total({"b": 10.0}, {"b": 1}), pace.total({"a": 3.0, "b": 10.0}, {"a": 1, "b": 1})
    assert both.high - both.likely == pytest.approx(math.hypot(3.0, alone.high - alone.likely))


def test_steps_of_a_kind_that_never_ran_are_counted_and_not_taken_for_nothing(store: Store, make: Make) -> None:
    make(Number(value=1.0))
    found = plan([Number(value=2.0), Slow(name=1), Slow(name=2)], store)
    assert found.unknown == 2
    assert found.seconds.likely > 0


def test_a_plan_of_what_is_made_takes_no_time(store: Store, make: Make) -> None:
    make(Number(value=1.0))
    assert plan([Number(value=1.0)], store).on(4).likely == 0


def test_more_workers_never_take_less_than_the_longest_chain(store: Store, make: Make) -> None:
    make(Slow(name=0, seconds=0.0))
    timed(store, Slow(name=0, seconds=0.0), 2.0)
    chain: Step | None = None
    for name in range(1, 6):
        chain = Slow(name=name, seconds=0.0, after=chain)
    assert chain is not None
    found = plan([chain, *(Slow(name=name, seconds=0.0) for name in range(10, 15))], store)
    assert found.seconds.likely == pytest.approx(20.0)
    assert found.on(2).likely == pytest.approx(10.0)
    assert found.on(100).likely == pytest.approx(10.0)


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """Stands for a Step of Surefoot, of which a reference is shipped."""

    kind: str
    cost: float = 1.0


def test_a_kind_that_never_ran_here_has_its_reference_scaled_by_what_the_others_show(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    references = {"A": Seconds(low=0.5, likely=1.0, high=2.0), "B": Seconds(low=1.0, likely=10.0, high=12.0)}
    monkeypatch.setattr("surefoot.core._plan._references", lambda: references)
    pace = Pace()
    before = pace.rate("surefoot.x.B")
    assert before == Seconds(low=0.5, likely=10.0, high=24.0)
    for seconds in (3.0, 3.1, 2.9):
        pace.see(Shipped(kind="surefoot.x.A"), seconds)  # type: ignore[arg-type]
    after = pace.rate("surefoot.x.B")
    assert after is not None
    assert (after.low, after.likely, after.high) == pytest.approx((3.0, 30.0, 36.0))
    assert pace.rate("my_study.B") is None


@pytest.mark.parametrize(
    ("study", "minutes"),  # half of the processor time of whole runs, for two workers
    [
        *(("quickstart", 4), ("arithmetic", 17), ("patching", 24), ("trees", 24), ("local", 12)),
        *(("multihop", 37), ("pairs", 12.6), ("scrutiny", 2.1)),
    ],
)
def test_a_study_that_never_ran_here_is_estimated_near_what_its_page_says(
    store: Store, study: str, minutes: float
) -> None:
    from surefoot.studies import load_study

    options = {"photograph_samples": 0} if study == "patching" else {}
    found = plan(load_study(study, options).steps, store)
    range_ = found.on(2)
    assert range_.low / 1.2 < 60 * minutes < range_.high * 1.2
    assert found.unknown <= 0.05 * len(found.missing)


def test_a_step_on_a_network_of_photographs_costs_many_of_one_on_the_ladder(store: Store) -> None:
    from surefoot.studies.local import study

    small, large = (study(size=size, seeds=(0, 1, 2)).steps for size in ("rn-8", "photographs"))
    assert plan(large, store).seconds.likely > 5 * plan(small, store).seconds.likely
    assert {step.cost for step in large} == {20.0}


def test_what_a_step_cost_when_it_was_made_is_kept_and_used(store: Store, make: Make) -> None:
    make(step := Wave(frequency=1.0, terms=100))
    assert Artifact(store.path(step)).provenance["cost"] == 100.0
    timed(store, step, 1.0, cost=50.0)
    assert plan([Wave(frequency=2.0, terms=100)], store).seconds.likely == pytest.approx(2.0)


def test_one_kind_that_is_slow_here_does_not_make_the_machine_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    references = {name: Seconds(low=1.0, likely=2.0, high=3.0) for name in "ABCD"}
    monkeypatch.setattr("surefoot.core._plan._references", lambda: references)
    pace = Pace({f"surefoot.x.{name}": [2.0 * factor] * 4 for name, factor in (("A", 1.5), ("B", 20.0), ("C", 1.0))})
    rate = pace.rate("surefoot.x.D")
    assert rate == Seconds(low=1.5, likely=3.0, high=4.5)


def test_references_are_ranges() -> None:
    from surefoot.studies import load_study

    kinds = {step.kind for step in walk(load_study("quickstart").steps)}
    known = [rate for kind in kinds if (rate := Pace().rate(kind)) is not None]
    assert len(known) > 3
    assert all(0 < one.low <= one.likely <= one.high for one in known)


# --- why


def test_why_names_the_nearest_artifact_and_the_field_that_differs(store: Store, make: Make) -> None:
    far, near = Slow(name=1, seconds=0.01), Slow(name=2, seconds=0.03)
    make(far, near)
    asked = Slow(name=2, seconds=0.01, after=None, log="x")
    assert why(Slow(name=2, seconds=0.02), store) == (near.key, (Difference(field="seconds", made=0.03, asked=0.02),))
    assert len(why(asked, store)[1]) == 2


def test_why_names_a_field_of_a_step_within_a_step(store: Store, make: Make) -> None:
    made = Slow(name=1, seconds=0.0, after=Slow(name=5, seconds=0.0, after=Number(value=1.0)))
    make(made)
    asked = Slow(name=1, seconds=0.0, after=Slow(name=5, seconds=0.0, after=Number(value=1.5)))
    assert why(asked, store) == (made.key, (Difference(field="after.after.value", made=1.0, asked=1.5),))


def test_why_names_the_steps_that_only_one_of_two_tuples_holds(store: Store, make: Make) -> None:
    one, two, three = (Number(value=float(value)) for value in (1, 2, 3))
    made = Total(parts=(one, two))
    make(made)
    assert why(Total(parts=(one, three)), store)[1] == (Difference(field="parts", made=two.key, asked=three.key),)
    order = f"{two.key}, {one.key}"
    assert why(Total(parts=(two, one)), store)[1] == (
        Difference(field="parts", made=f"{one.key}, {two.key}", asked=order),
    )


def test_why_has_nothing_to_compare_with_in_an_empty_store(store: Store, make: Make) -> None:
    make(Number(value=1.0))
    assert why(Slow(name=1), store) == (None, ())


# --- flatten


def test_a_spec_becomes_one_row_of_plain_fields_by_path() -> None:
    step = Slow(name=1, after=Total(parts=(Number(value=1.0), Number(value=2.0)), scale=0.5))
    assert flatten(step) == {
        "kind": "core_steps.Slow",
        "version": 1,
        "name": 1,
        "seconds": 0.02,
        "log": "",
        "after.kind": "core_steps.Total",
        "after.version": 1,
        "after.parts.count": 2,
        "after.scale": 0.5,
        "after.log": "",
    }


def test_a_row_of_a_graph_that_has_more_paths_than_any_memory_is_short() -> None:
    step: Step = Number(value=1.0)
    for _ in range(40):
        step = Pair(one=step, other=step)
    assert len(flatten(step)) <= 5 * 256
    chain: Step = Number(value=1.0)
    for name in range(3000):
        chain = Slow(name=name, after=chain)
    row = flatten(chain)
    assert row["after.after.name"] == 2997
    assert len(row["after." * 8 + "after"]) == 20  # deeper than eight levels: the key


# --- stale

CODE = '''"""A study that a person edits."""
from dataclasses import dataclass
from surefoot.core import Measurement, Step


@dataclass(frozen=True, kw_only=True)
class Edited(Step):
    """Measures."""

    size: int = 1

    def make(self, out, inputs):
        return (Measurement(metric="size", value=self.size, n=1),)
'''


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store, make: Make) -> Callable[[str], list[str]]:
    """Makes a Step of a user's file, edits the file, and gives the reasons why the artifact may be stale."""
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "study_of_a_user.py"
    file.write_text(CODE)
    make(importlib.import_module("study_of_a_user").Edited())

    def edit(text: str) -> list[str]:
        file.write_text(text)
        os.utime(file, (10**9, 10**9))
        sys.modules.pop("study_of_a_user", None)
        importlib.invalidate_caches()
        found = stale(store)
        assert [artifact.kind for artifact, _ in found] == ["study_of_a_user.Edited"] * len(found)
        sys.modules.pop("study_of_a_user", None)
        return [reason for _, reason in found]

    return edit


def test_comments_and_layout_make_nothing_stale(edited: Callable[[str], list[str]]) -> None:
    assert edited(CODE) == []
    assert edited(CODE.replace("size: int = 1", "# how large\n    size: int   =   1")) == []


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("value=self.size", "value=2 * self.size", "the source of its module changed"),
        ("size: int = 1", "version = 2\n    size: int = 1", "made at version 1, the code is version 2"),
        ("size: int = 1", "size: int = 2", "a default changed without a new version"),
        ("size: int", "width: int", "has no field 'size'"),
        ("class Edited", "class Renamed", "not a kind of Step"),
        ("import Measurement", "import Measuremint", "its module fails: ImportError"),
        ("def make", "def make make", "its module fails: SyntaxError"),
    ],
)
def test_each_reason_for_staleness_is_told(edited: Callable[[str], list[str]], old: str, new: str, reason: str) -> None:
    (said,) = edited(CODE.replace(old, new))
    assert reason in said


def test_what_was_made_with_another_default_is_not_taken_for_the_new_one(
    edited: Callable[[str], list[str]], store: Store
) -> None:
    for default, refused in (("1", False), ("1.0", False), ("1\n    more: int = 5", False), ("2", True)):
        edited(CODE.replace("size: int = 1", f"size: float = {default}"))
        step = importlib.import_module("study_of_a_user").Edited()
        if not refused:
            assert plan([step], store).kept == (step,)
            continue
        for ask in (store.has, lambda one: plan([one], store), lambda one: Results(store, (one,)).missing):
            with pytest.raises(
                SurefootError, match=rf"was made with size = 1, and the default is {default} now, .* 2, or"
            ):
                ask(step)
    del sys.modules["study_of_a_user"]


def test_what_other_code_made_is_told_from_what_the_code_makes_now(
    edited: Callable[[str], list[str]], store: Store
) -> None:
    for code, other in ((CODE, 0), (CODE.replace("value=self.size", "value=2 * self.size"), 1)):
        edited(code)
        steps = [importlib.import_module("study_of_a_user").Edited(size=size) for size in (1, 2)]
        assert made_otherwise(steps, store) == steps[:other]
    del sys.modules["study_of_a_user"]


@pytest.mark.parametrize(
    ("study", "asked", "helper", "others"),
    [
        ("study_alone.py", "from aside import twice", "aside.py", {}),
        ("study_far.py", "import between", "aside.py", {"between.py": "from aside import twice"}),
        ("study_deep.py", "from tools import twice", "tools/more.py", {"tools/__init__.py": "from .more import twice"}),
        ("study_late.py", "def late():\n    import tools.more", "tools/more.py", {"tools/__init__.py": ""}),
        (
            "own_package/study.py",
            "from .sub import aside",
            "own_package/sub/aside.py",
            {"own_package/sub/__init__.py": ""},
        ),
        ("own_package/__init__.py", "from . import aside", "own_package/aside.py", {}),
    ],
)
def test_a_module_of_the_user_that_a_step_imports_is_its_code(
    *, study: str, asked: str, helper: str, others: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of it is told, as one of the module of the Step; that of a library, or of what is not used, is not."""
    files = {study: f"{asked}\n{CODE}", helper: "def twice(x):\n    return 2 * x", **others}
    for name, text in {"own_package/__init__.py": "", "unused.py": "x = 1", **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    module = study.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def fingerprint() -> str:
        ours = (module.split(".")[0], "aside", "tools", "between")
        for name in [one for one in sys.modules if one.split(".")[0] in ours]:
            del sys.modules[name]
        importlib.invalidate_caches()
        return source_fingerprint(importlib.import_module(module).Edited)

    first = fingerprint()
    (tmp_path / "unused.py").write_text("x = 2")
    (tmp_path / helper).write_text("def twice(x):  # twice\n    return 2 * x")
    assert fingerprint() == first
    (tmp_path / helper).write_text("def twice(x):\n    return 3 * x")
    assert fingerprint() != first


def test_stale_is_a_report_and_recomputes_nothing(edited: Callable[[str], list[str]], store: Store) -> None:
    before = store.stamps()
    edited(CODE.replace("value=self.size", "value=0.5"))
    assert store.stamps() == before
    assert [Artifact(path).measurements[0].value for path in store.made().values()] == [1.0]
