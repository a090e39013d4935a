"""A Step is known by what it is: its kind, its version, its non-default fields, and the Steps in it."""

import hashlib
import json
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterable
from dataclasses import dataclass, field, make_dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal

import core_steps
import package_of_steps
import pytest
from core_helpers import environment
from core_steps import Number, Slow, Total
from hypothesis import given, settings
from hypothesis import strategies as st
from package_of_steps import _hidden, _other

from surefoot.core import (
    Inputs,
    Measurement,
    Resources,
    Step,
    SurefootError,
    describe,
    flatten,
    from_spec,
    inputs_of,
    shortened,
    to_spec,
    unkeyed,
    walk,
)

Value = int | float | bool | str | None
Colour = StrEnum("Colour", {"RED": "red"})
Pair = namedtuple("Pair", "first second")


class Plain(Step):
    """Steps whose making does not matter."""

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        return ()


@pytest.fixture
def defined(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Defines Step classes in a module that can be imported, as a person edits a study between two runs."""
    module = ModuleType("edited_study")
    monkeypatch.setitem(sys.modules, "edited_study", module)

    def define(name: str, fields: list[Any], **namespace: Any) -> type[Any]:
        made = make_dataclass(
            name,
            fields,
            bases=(Plain,),
            namespace={"__module__": "edited_study", **namespace},
            frozen=True,
            kw_only=True,
        )
        made.__module__ = "edited_study"
        setattr(module, name, made)
        return made

    return define


def key_of(kind: str, version: int, fields: dict[str, Any]) -> str:
    """The key as the documentation defines it, computed without the code under test."""
    text = json.dumps([kind, version, fields], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


# --- what makes a key


def test_the_key_is_the_hash_of_kind_version_and_non_default_fields_and_nothing_else() -> None:
    number = Number(value=2.5, label="größe 量")
    assert number.key == key_of("core_steps.Number", 1, {"value": 2.5, "label": "größe 量"})
    total = Total(parts=(number, Number(value=1)), scale=1.0, log="/tmp/log")
    inner = [{"step": number.key}, {"step": key_of("core_steps.Number", 1, {"value": 1})}]
    assert total.key == key_of("core_steps.Total", 1, {"parts": inner, "log": "/tmp/log"})


def test_private_modules_are_no_part_of_the_kind() -> None:
    assert package_of_steps.Open().kind == "package_of_steps.Open"


def test_a_new_field_with_a_default_leaves_old_keys_alone_and_enters_them_when_it_is_set(defined: Any) -> None:
    old = defined("Grown", [("size", int)])(size=3).key
    grown = defined("Grown", [("added", "int", field(default=7)), ("size", int)])
    assert grown(size=3).key == old
    assert grown(size=3, added=7).key == old
    assert grown(size=3, added=8).key != old


def test_the_order_of_fields_in_the_class_does_not_matter(defined: Any) -> None:
    one = defined("Ordered", [("a", int), ("b", int)])(a=1, b=2).key
    assert defined("Ordered", [("b", int), ("a", int)])(a=1, b=2).key == one
    assert defined("Ordered", [("b", int), ("a", int)])(a=2, b=1).key != one


def test_a_raised_version_is_another_step_and_so_are_its_users(defined: Any) -> None:
    first = defined("Versioned", [("a", int)])(a=1)
    user = Slow(name=1, after=first).key
    second = defined("Versioned", [("a", int)], version=2)(a=1)
    assert second.key != first.key
    assert Slow(name=1, after=second).key != user


def test_another_class_with_the_same_fields_is_another_step(defined: Any) -> None:
    assert defined("One", [("a", int)])(a=1).key != defined("Other", [("a", int)])(a=1).key


def test_equal_numbers_are_equal_in_a_key() -> None:
    assert Number(value=1).key == Number(value=1.0).key
    assert Number(value=-0.0).key == Number(value=0).key
    assert Number(value=1e300).key == Number(value=int(1e300)).key
    assert Number(value=0.1).key != Number(value=0.1 + 2**-56).key


def test_true_is_not_1_even_next_to_a_default_that_python_calls_equal(defined: Any) -> None:
    mixed = defined("Mixed", [("a", bool | int, field(default=1)), ("b", tuple[bool | int, ...], field(default=(0,)))])
    keys = {mixed().key, mixed(a=True).key, mixed(b=(False,)).key, mixed(a=True, b=(False,)).key}
    assert len(keys) == 4
    assert mixed(a=1, b=(0,)).key == mixed().key


def test_text_that_looks_like_another_value_is_another_value(defined: Any) -> None:
    kind = defined("Any", [("a", str | int | None | tuple[int, ...])])
    assert len({kind(a=value).key for value in ("1", 1, None, "None", (), (1,), "[1]")}) == 7


def test_tuples_count_by_content_order_and_nesting(defined: Any) -> None:
    kind = defined("Nested", [("a", tuple[tuple[int, ...], ...])])
    assert len({kind(a=value).key for value in (((1, 2),), ((2, 1),), ((1,), (2,)), ((), (1, 2)), ())}) == 5


def test_equal_steps_are_one_step_however_they_are_shared() -> None:
    shared = Number(value=1)
    assert Total(parts=(shared, shared)).key == Total(parts=(Number(value=1), Number(value=1))).key
    assert len(walk([Total(parts=(Number(value=1), Number(value=1)))])) == 2


def test_a_replaced_field_gives_the_new_key_and_not_a_remembered_one() -> None:
    number = Number(value=1)
    assert number.key
    assert replace(number, value=2).key == Number(value=2).key != number.key


def test_walk_gives_inputs_before_their_users_each_once() -> None:
    base = Number(value=0)
    left, right = Slow(name=1, after=base), Slow(name=2, after=base)
    top = Total(parts=(left, right, base))
    order = walk([top, left])
    assert [step.key for step in order] == [base.key, left.key, right.key, top.key]
    assert inputs_of(top) == (left, right, base)


def test_keys_are_the_same_in_another_process_with_another_hash_seed() -> None:
    code = (
        "from core_steps import *; n = Number(value=0.1, label='größe');"
        "print(Total(parts=(n, Slow(name=3, after=n)), scale=2.5).key)"
    )
    number = Number(value=0.1, label="größe")
    expected = Total(parts=(number, Slow(name=3, after=number)), scale=2.5).key
    for seed in ("0", "4242"):
        said = subprocess.run(
            [sys.executable, "-c", code],
            env=environment() | {"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": seed, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert said.stdout.strip() == expected


def test_a_chain_of_5000_steps_has_keys_a_spec_and_comes_back() -> None:
    step: Step = Number(value=0)
    for name in range(5000):
        step = Slow(name=name, after=step)
    assert len(walk([step])) == 5001
    assert from_spec(json.loads(json.dumps(to_spec(step)))).key == step.key


# --- what stands outside the key


def test_an_unkeyed_field_is_in_the_spec_and_in_nothing_that_says_what_the_step_is(defined: Any) -> None:
    kind = defined("Located", [("digest", str), ("path", str, unkeyed("")), ("tries", tuple[int, ...], unkeyed(()))])
    here, there = kind(digest="abc", path="/here", tries=(1, 2)), kind(digest="abc", path="/there")
    assert here.key == there.key == key_of("edited_study.Located", 1, {"digest": "abc"})
    assert here == there
    assert hash(here) == hash(there)
    assert describe(here) == "Located(digest=abc)"
    assert flatten(here) == flatten(there)
    back = from_spec(spec_of(here))
    assert (back.path, back.tries) == ("/here", (1, 2))
    assert kind(digest="other", path="/here").key != here.key


def test_an_unkeyed_field_may_come_and_go_without_a_new_key(defined: Any) -> None:
    bare = defined("Located", [("digest", str)])(digest="abc").key
    spec = spec_of(defined("Located", [("digest", str), ("path", str, unkeyed(""))])(digest="abc", path="/here"))
    assert spec["root"] == bare
    defined("Located", [("digest", str)])
    assert from_spec(spec).key == bare


@pytest.mark.parametrize(("hint", "value"), [(str, 1), (Path, Path("a")), (tuple[str, ...], ["a"])])
def test_an_unkeyed_field_holds_plain_values_like_any_other(defined: Any, hint: Any, value: Any) -> None:
    with pytest.raises(SurefootError, match="field 'held' must be"):
        defined("Typed", [("held", hint, unkeyed(None))])(held=value).key


def test_an_unkeyed_field_may_not_hold_a_step(defined: Any) -> None:
    with pytest.raises(SurefootError, match=r"field 'held' holds a Step, so it may not be unkeyed\."):
        defined("Typed", [("held", Step | None, unkeyed(None))])(held=Number(value=1)).key


def test_resources_are_a_hint_outside_the_key(defined: Any) -> None:
    modest = defined("Hungry", [("a", int)])(a=1)
    key = modest.key
    assert modest.resources == Resources(cores=1, gpus=0, memory_gb=None, hours=None)
    hungry = defined("Hungry", [("a", int)], resources=Resources(cores=4, memory_gb=32))(a=1)
    assert hungry.resources.cores == 4
    assert hungry.key == key


# --- spec -> JSON -> object

texts = st.text(max_size=8)
leaves = st.builds(
    Number,
    value=st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
    label=texts,
)
steps = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(Total, parts=st.lists(inner, max_size=3).map(tuple), scale=st.floats(-1e6, 1e6), log=texts),
        st.builds(Slow, name=st.integers(), seconds=st.floats(0, 1), after=st.one_of(st.none(), inner)),
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_a_step_written_as_json_and_read_back_is_the_same_step(step: Step) -> None:
    text = json.dumps(to_spec(step), allow_nan=False)
    back = from_spec(json.loads(text))
    assert back == step
    assert back.key == step.key
    assert json.dumps(to_spec(back)) == text


@settings(max_examples=150, deadline=None)
@given(steps, steps)
def test_steps_have_one_key_exactly_when_they_are_equal(one: Step, other: Step) -> None:
    assert (one.key == other.key) == (one == other)


def test_a_float_that_is_whole_is_still_a_float_when_read_back() -> None:
    back = from_spec(json.loads(json.dumps(to_spec(Number(value=3.0)))))
    assert isinstance(back, Number)
    assert type(back.value) is float


# --- specs that are not to be believed


def spec_of(step: Step) -> Any:
    return json.loads(json.dumps(to_spec(step)))


def test_an_edited_spec_is_refused() -> None:
    spec = spec_of(Number(value=1))
    spec["steps"][spec["root"]]["fields"]["value"] = 2
    with pytest.raises(SurefootError, match=r"gives the key .* when read back"):
        from_spec(spec)


def test_an_edited_inner_step_is_refused() -> None:
    spec = spec_of(Total(parts=(Number(value=1),)))
    spec["steps"][Number(value=1).key]["fields"]["value"] = 5
    with pytest.raises(SurefootError, match="gives the key"):
        from_spec(spec)


def test_an_unknown_field_is_refused_with_the_nearest_name() -> None:
    spec = spec_of(Number(value=1, label="x"))
    fields = spec["steps"][spec["root"]]["fields"]
    fields["lable"] = fields.pop("label")
    with pytest.raises(SurefootError, match=r"core_steps.Number has no field 'lable'. Did you mean 'label'\?"):
        from_spec(spec)
    fields["zzzz"] = fields.pop("lable")
    with pytest.raises(SurefootError, match=r"has no field 'zzzz'\. It has: value, label, log"):
        from_spec(spec)


def test_a_missing_field_is_named() -> None:
    spec = spec_of(Number(value=1))
    del spec["steps"][spec["root"]]["fields"]["value"]
    with pytest.raises(SurefootError, match=r"cannot be read back.*'value'"):
        from_spec(spec)


def test_a_spec_of_another_version_says_which_is_installed(defined: Any) -> None:
    spec = spec_of(defined("Versioned", [("a", int)])(a=1))
    defined("Versioned", [("a", int)], version=2)
    with pytest.raises(SurefootError, match="described at version 1, the installed code is version 2"):
        from_spec(spec)


def test_a_changed_default_is_noticed_when_a_spec_is_read(defined: Any) -> None:
    spec = spec_of(defined("Changed", [("a", int, field(default=1))])())
    defined("Changed", [("a", int, field(default=2))])
    with pytest.raises(SurefootError, match="a default changed without a new version"):
        from_spec(spec)


@pytest.mark.parametrize(
    "text",
    ["null", "[]", "3", '"x"', "{}", '{"format": 1}', '{"format": 1, "root": "a", "steps": ["a"]}',
     '{"format": 2, "root": "a", "steps": {"a": {}}}', '{"format": 1, "root": "a", "steps": {"b": {}}}'],
)  # fmt: skip
def test_what_is_no_spec_is_said_to_be_none(text: str) -> None:
    with pytest.raises(SurefootError, match="not the spec of a Step"):
        from_spec(json.loads(text))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("core_steps.note", "not a kind of Step"),
        ("core_steps.Missing", "not a kind of Step"),
        ("no_such_module.Step", "No module 'no_such_module'"),
        ("core_steps.deeper.Step", "No module 'core_steps.deeper'"),
        ("json.JSONDecoder", "not a kind of Step"),
    ],
)
def test_a_kind_that_leads_nowhere_is_refused(kind: str, message: str) -> None:
    spec = spec_of(Number(value=1))
    spec["steps"][spec["root"]]["kind"] = kind
    with pytest.raises(SurefootError, match=message):
        from_spec(spec)


def test_a_spec_may_list_its_steps_in_any_order() -> None:
    step = Total(parts=(Number(value=1), Slow(name=1, after=Number(value=1))))
    spec = spec_of(step)
    spec["steps"] = dict(reversed(spec["steps"].items()))
    assert from_spec(spec) == step


@pytest.mark.parametrize("inner", ["gone", Total(parts=(Number(value=1),)).key])
def test_a_step_that_leads_nowhere_or_in_a_circle_is_refused(inner: str) -> None:
    spec = spec_of(Total(parts=(Number(value=1),)))
    spec["steps"][spec["root"]]["fields"]["parts"] = [{"step": inner}]
    with pytest.raises(SurefootError, match=r"cannot be read back: KeyError"):
        from_spec(spec)


# --- values that have no identity


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, 1.0),
        (int, True),
        (int, "1"),
        (float, True),
        (float, float("nan")),
        (float, float("inf")),
        (float, 10**400),
        (float, None),
        (str, 1),
        (str, b"bytes"),
        (str, Path("a/b")),
        (str, "half a pair \ud800"),
        (bool, 1),
        (None, 0),
        (Literal["a", 1], "b"),
        (Literal["a", 1], True),
        (str, Colour.RED),
        (Literal["red"], Colour.RED),
        (tuple[int, ...], Pair(1, 2)),
        (tuple[int, ...], [1]),
        (tuple[int, ...], {1}),
        (tuple[int, ...], (1, "x")),
        (tuple[int, str], (1,)),
        (list, [1]),
        (list[int], [1]),
        (dict, {"a": 1}),
        (set[int], {1}),
        (Path, Path("a")),
        (Any, 1),
        (Number, Slow(name=1)),
        (Step, Number),
        (tuple[Number, ...], (Slow(name=1),)),
    ],
)
def test_a_value_of_another_type_is_refused_in_one_clear_message(defined: Any, hint: Any, value: Any) -> None:
    kind = defined("Typed", [("held", hint)])
    with pytest.raises(SurefootError, match=r"^edited_study\.Typed: field 'held' must be .*, got .*\.$") as caught:
        kind(held=value).key
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("hint", "value"), [(tuple, ()), (list, []), (dict[str, int], {}), (Path, Path("a")), (Any, 1)]
)
def test_an_annotation_that_no_field_may_have_is_told_from_a_wrong_value(defined: Any, hint: Any, value: Any) -> None:
    with pytest.raises(SurefootError, match=r"as tuple\[int, \.\.\.\] \(its annotation .* is none\), got "):
        defined("Typed", [("held", hint)])(held=value).key


def test_a_value_too_large_to_show_is_shown_in_part(defined: Any) -> None:
    with pytest.raises(SurefootError) as caught:
        defined("Typed", [("held", int)])(held=[0] * 100_000).key
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", ["key", "version", "requires", "cost", "cost_fields", "resources"])
def test_a_field_may_not_take_the_place_of_what_a_step_is(name: str) -> None:
    taken = make_dataclass("Taken", [(name, int)], bases=(Plain,), frozen=True, kw_only=True)
    with pytest.raises(SurefootError, match=f"may not have a field '{name}'"):
        inputs_of(taken(**{name: 1}))


def test_a_field_that_a_person_cannot_set_is_refused(defined: Any) -> None:
    kind = defined("Hidden", [("a", int, field(init=False, default=3))])
    with pytest.raises(SurefootError, match="may not have a field 'a'"):
        kind().key


def test_a_type_that_is_imported_only_for_checkers_is_named(defined: Any) -> None:
    with pytest.raises(SurefootError, match="'Elsewhere' is not defined"):
        defined("Late", [("a", "Elsewhere")])(a=1).key


def test_a_class_that_is_not_frozen_or_not_keyword_only_is_refused() -> None:
    @dataclass(kw_only=True)
    class Melted(Plain):
        a: int

    @dataclass(frozen=True)
    class Positional(Plain):
        a: int

    class Bare(Plain):
        a: ClassVar[int] = 1

    for step, message in ((Melted(a=1), "frozen"), (Positional(a=1), "keyword-only"), (Bare(), "frozen dataclass")):
        with pytest.raises(SurefootError, match=message):
            step.key


def test_a_class_that_its_name_does_not_lead_to_is_refused(defined: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Local(Plain):
        pass

    @dataclass(frozen=True, kw_only=True)
    class Script(Plain):
        pass

    Script.__module__, Script.__qualname__ = "__main__", "Script"
    old = defined("Reloaded", [("a", int)])(a=1)
    defined("Reloaded", [("a", int)])
    for step in (Local(), Script(), _other.Twice(), old):
        with pytest.raises(SurefootError, match="cannot be found again by name"):
            step.key
    with pytest.raises(SurefootError, match=r"'package_of_steps.Closed' is not a kind of Step.*must export it"):
        _hidden.Closed().key


# --- for people


def test_a_step_is_described_in_one_short_line() -> None:
    assert describe(Number(value=2.5)) == "Number(value=2.5)"
    inner = Number(value=1)
    assert describe(Slow(name=3, after=inner)) == f"Slow(name=3, after={inner.key[:6]})"
    assert shortened("8a77" * 16 + "-" + "1afe" * 8) == "8a778a-1afe1a"
    assert shortened("deadbeef 2026-11-29 /data/cafe/100000000000000000000.npy") == (
        "deadbeef 2026-11-29 /data/cafe/100000000000000000000.npy"
    )


def test_the_steps_of_these_tests_are_what_a_user_would_write() -> None:
    assert core_steps.Number.__module__ == "core_steps"
