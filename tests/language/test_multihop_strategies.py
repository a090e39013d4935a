"""Strategies as functions of a client: what they ask, what they give, and how side by side."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from surefoot.core import SurefootError
from surefoot.language import (
    Asking,
    Completion,
    Document,
    LocalSearch,
    MultiHopQuestion,
    Request,
    ScriptedClient,
    SearchResult,
    ask_multihop,
    chain_of_thought,
    direct,
    first_requests,
    most_requests,
    our_prompts,
    read_prompts,
    self_ask,
)

QUESTION = "What is the capital of the birthplace of Akon?"
FACTS = [
    Document(id="a", title="Akon", text="The birthplace of Akon is Senegal."),
    Document(id="b", title="Senegal", text="The capital of Senegal is Dakar."),
    Document(id="c", title="Kenya", text="The capital of Kenya is Nairobi."),
]


def _scripted(*said: str) -> ScriptedClient:
    left = list(said)
    return ScriptedClient(script=lambda request: left.pop(0))


def _hop_by_hop(request: Request) -> str:
    """A model that knows the form but ignores stop sequences: it invents answers and a next question."""
    mine = request.prompt.rsplit("Question:", 1)[1]
    if "Dakar" in mine:
        return "So the final answer is: Dakar.\n\nQuestion: Who?\nAnswer: Me"
    asked = "What is the capital of Senegal?" if "Senegal" in mine else "What is the birthplace of Akon?"
    return f"Follow up: {asked}\nIntermediate answer: Atlantis.\nSo the final answer is: Nowhere."


def test_direct_takes_the_first_line_and_says_what_was_asked() -> None:
    answer = direct(_scripted("\n\nDakar.\nIt lies on the coast."), QUESTION)
    assert answer.text == "Dakar"
    assert answer.trace.ended == "answered"
    (call,) = answer.trace.calls
    assert call.request.prompt.endswith(f"Question: {QUESTION}\nAnswer:")
    assert call.request.temperature == 0


def test_a_chain_without_a_final_answer_is_asked_for_it() -> None:
    answer = chain_of_thought(_scripted("Akon is from Senegal. Its capital is Dakar.", "\n\n Dakar."), QUESTION)
    assert (answer.text, answer.trace.ended) == ("Dakar", "asked")
    assert answer.trace.calls[1].request.prompt.endswith("Its capital is Dakar.\nSo the final answer is:")
    alone = chain_of_thought(_scripted("It is Senegal.\nDakar."), QUESTION, asking=Asking(force=False))
    assert (alone.text, alone.trace.ended) == ("Dakar", "no answer")


def test_self_ask_gives_its_follow_ups() -> None:
    said = "Follow up: Where?\nIntermediate answer: Senegal.\nSo the final answer is: Dakar."
    trace = self_ask(_scripted(said), QUESTION).trace
    assert [(one.question, one.answer, one.used) for one in trace.follow_ups] == [("Where?", "Senegal", None)]


def test_a_search_engine_answers_the_follow_ups_and_the_trace_says_which_result_did() -> None:
    answer = self_ask(ScriptedClient(script=_hop_by_hop), QUESTION, search=LocalSearch(FACTS), hops=4)
    assert answer.text == "Dakar"
    assert [(one.used, one.results[0].source) for one in answer.trace.follow_ups] == [(0, "a"), (0, "b")]
    assert "Atlantis" not in answer.trace.text  # what a model invents in the place of a result is not read


def test_of_several_results_the_model_reads_the_answer_and_the_trace_says_which_held_it() -> None:
    class Two:
        identity = "two"

        def search(self, query: str, k: int) -> tuple[SearchResult, ...]:
            found = SearchResult(title="", snippet="The capital is Dakar.", source="right")
            return (SearchResult(title="", snippet="Nothing here.", source="wrong"), found)[:k]

    said = _scripted("Follow up: Which?", "Dakar.", "So the final answer is: Dakar.")
    (found,) = self_ask(said, QUESTION, search=Two(), asking=Asking(results=2)).trace.follow_ups
    assert (found.answer, found.used) == ("Dakar", 1)
    assert found.results[1].source == "right"


def test_where_the_engine_finds_nothing_the_model_answers_itself() -> None:
    said = _scripted("Follow up: Zzz?", " Dakar.", "So the final answer is: Dakar.")
    (found,) = self_ask(said, QUESTION, search=LocalSearch(FACTS)).trace.follow_ups
    assert (found.answer, found.used, found.results) == ("Dakar", None, ())


def test_a_model_that_loops_is_stopped_at_the_hop_limit_and_made_to_answer() -> None:
    loop = "Follow up: Where?\nIntermediate answer: Senegal.\n" * 50
    answer = self_ask(_scripted(loop, "Dakar"), QUESTION, hops=3)
    assert (answer.text, answer.trace.ended, len(answer.trace.follow_ups)) == ("Dakar", "hop limit", 3)
    assert answer.trace.calls[1].request.prompt.count("Follow up: Where?") == 3


def test_a_search_goes_no_further_than_the_hop_limit() -> None:
    queries: list[str] = []

    class Counted:
        identity = "counted"

        def search(self, query: str, k: int) -> tuple[SearchResult, ...]:
            queries.append(query)
            return (SearchResult(title="", snippet=f"Answer {len(queries)}."),)

    said = _scripted("Follow up: A?", "Follow up: B?", "Follow up: C?", " Dakar.")
    answer = self_ask(said, QUESTION, search=Counted(), hops=2)
    assert (answer.text, answer.trace.ended, queries) == ("Dakar", "hop limit", ["A?", "B?"])
    assert answer.trace.calls[-1].request.prompt.endswith("Intermediate answer: Answer 2.\nSo the final answer is:")


def test_a_file_of_questions_is_asked_in_rounds() -> None:
    class Counting:
        name = identity = "counting"

        def __init__(self) -> None:
            self.rounds: list[int] = []

        def answer(self, requests: Sequence[Request]) -> list[Completion]:
            self.rounds.append(len(requests))
            return [Completion(text=_hop_by_hop(one)) for one in requests]

    client = Counting()
    questions = [MultiHopQuestion(id=str(at), question=QUESTION, answers=("Dakar",)) for at in range(20)]
    run = ask_multihop(client, questions, ["self_ask_search"], search=LocalSearch(FACTS))
    assert client.rounds == [20, 20, 20]
    assert {one.text for one in run.answers["self_ask_search"]} == {"Dakar"}


def test_what_a_run_asks_at_least_and_at_most_is_known_before() -> None:
    one = MultiHopQuestion(id="1", question=QUESTION, answers=("Dakar",))
    names = ("direct", "chain_of_thought", "self_ask", "self_ask_search")
    first = first_requests([one], names, our_prompts())
    assert len(first) == 4
    assert most_requests(names, Asking(hops=2), len(first), 1) == 4 + 1 + 1 + 5


def test_a_strategy_that_is_none_or_lacks_its_engine_is_refused() -> None:
    one = MultiHopQuestion(id="1", question=QUESTION, answers=("Dakar",))
    with pytest.raises(SurefootError, match="no strategy 'guess': there is direct"):
        ask_multihop(_scripted(), [one], ["guess"])
    with pytest.raises(SurefootError, match="needs a search engine"):
        ask_multihop(_scripted(), [one], ["self_ask_search"])
    with pytest.raises(SurefootError, match="hops is 0"):
        Asking(hops=0)


def test_prompts_by_category_are_chosen_by_it_and_a_missing_one_is_said(tmp_path: Path) -> None:
    by_category = {"capital": "Question: A?\nAnswer: B"}
    told = {f"{name}_prompt_dict": by_category for name in ("direct_answer", "chain_of_thought", "self_ask")}
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps(told | {"subquestion_1_prompt_dict": by_category}))
    prompts = read_prompts(path)
    assert prompts.direct("C?", "capital") == "Question: A?\nAnswer: B\n\nQuestion: C?\nAnswer:"
    assert prompts.sub_question("D?", 5, "capital").endswith("\n\nQuestion: D?\nAnswer:")
    with pytest.raises(SurefootError, match="category 'tld'"):
        prompts.direct("C?", "tld")
    path.write_text(json.dumps({"direct_answer_prompt": "x"}))
    with pytest.raises(SurefootError, match="neither 'chain_of_thought_prompt'"):
        read_prompts(path)


def test_our_own_examples_follow_the_form_that_the_parser_reads() -> None:
    prompts = our_prompts()
    from surefoot.language import parse_completion

    for text in prompts.self_ask_shots[""].split("\n\n"):
        parsed = parse_completion(text.split("\n", 1)[1])
        assert parsed.answer
        assert len(parsed.follow_ups) >= 2
        assert all(answer for _, answer in parsed.follow_ups)
