"""Facts to test with, and the two-hop questions made of them."""

import pytest

from surefoot.core import SurefootError
from surefoot.language import RELATIONS, Document, Fact, LocalSearch, compose, country_facts

BORN = [Fact(subject=f"P{at}", relation="birthplace", object=f"Land{at % 5}") for at in range(20)]
OWN = [
    Fact(subject=f"land{at}", relation=name, object=f"{name} {at}")
    for at in range(5)
    for name in ("capital", "currency")
]


def test_countries_have_facts_of_every_relation() -> None:
    facts = country_facts()
    values = {(fact.subject, fact.relation): fact.object for fact in facts}
    assert len({fact.subject for fact in facts}) == 250
    assert [
        values["India", name] for name in ("capital", "calling code", "3166-1 numeric code", "currency symbol")
    ] == [
        "New Delhi",
        "+91",
        "356",
        "₹",
    ]
    assert [values["Brazil", name] for name in ("rounded latitude", "rounded longitude")] == ["-10", "-55"]
    assert {fact.relation for fact in facts} == set(RELATIONS)
    with pytest.raises(SurefootError, match="no relation 'anthem'"):
        country_facts(["anthem"])


def test_what_is_held_out_is_never_seen_and_depends_on_the_seed_alone() -> None:
    first = compose(BORN, OWN, held_out=0.5, seed=1)
    assert first == compose(BORN, OWN, held_out=0.5, seed=1)
    assert any(compose(BORN, OWN, held_out=0.5, seed=seed) != first for seed in range(2, 12))
    seen, held = ({one.id for one in part} for part in (first.seen, first.held_out))
    assert len(seen) == len(held) == 20
    assert not seen & held


def test_a_bridge_is_held_out_with_every_question_through_it() -> None:
    made = compose(BORN, OWN, held_out=0.5, by="bridge", seed=1)
    seen, held = ({one.hops[0].answers[0].casefold() for one in part} for part in (made.seen, made.held_out))
    assert seen
    assert held
    assert not seen & held
    assert len(made.seen) + len(made.held_out) == 40


def test_a_composed_question_has_its_hops_and_a_corpus_that_answers_them() -> None:
    made = compose(BORN, OWN, seed=0)
    one = made.held_out[0]
    assert one.hops[1].answers == one.answers
    assert one.hops[0].answers[0].lower() in one.hops[1].question
    told = ((f"{fact.relation} of {fact.subject}", fact) for fact in made.facts)
    engine = LocalSearch([Document(id=name, title=fact.subject, text=fact.sentence) for name, fact in told])
    for hop in one.hops:
        assert engine.search(hop.question, 1)[0].source == hop.supports[0]


def test_facts_that_do_not_meet_are_refused() -> None:
    with pytest.raises(SurefootError, match="nothing to compose"):
        compose(BORN, BORN)
    with pytest.raises(SurefootError, match="held_out is 2"):
        compose(BORN, OWN, held_out=2)
