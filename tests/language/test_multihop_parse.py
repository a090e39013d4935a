"""What a model wrote, however it spelt it: follow-ups, intermediate answers, the final answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.language import Asking, Completion, ScriptedClient, SearchResult, direct, parse_completion, self_ask

MARKS = [
    *("Follow up:", "Follow-up 1:", "**Follow up:**", "Subquestion 2:", "Intermediate answer:", "Answer 1:", "\n", " "),
    *("So the final answer is:", "Final answer:", "the final answer (a name) is", "Question:", "Main question:", "x"),
    *("<think>", "</think>", "10:30", "Are follow up questions needed here: Yes.", "\\boxed{7}", "”", "'", "`", "*"),
    *("_", ".", "é", "\x00"),
]
WRITTEN = st.lists(st.sampled_from(MARKS) | st.text(max_size=6), max_size=30).map("".join)


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ("So the final answer is: 10:30.", "10:30"),
        ("So the final answer (a calling code) is: +91.", "+91"),
        ("Final answer: Titan IIIE", "Titan IIIE"),
        ("**Final Answer:** **Paris**", "Paris"),
        ("He was born in 1812. So the final answer is: 1812", "1812"),
        ("Therefore, the final answer is Paris.", "Paris"),
        ("So the final answer is:\n\nParis.\n\nLet me know if you want more.", "Paris"),
        ('So the final answer is: "Les Misérables".', "Les Misérables"),
        ("So the final answer is: A.\nWait, no.\nSo the final answer is: B.", "B"),
        ("So the final answer is: A.\n\nQuestion: Who?\nSo the final answer is: B.", "A"),
        ("<think>So the final answer is: 3.</think>\nSo the final answer is: 4.", "4"),
        ("<think>So the final answer is: 3.", None),
        ("Follow up: What is it?\nIntermediate answer: The final word.", None),
        ("So the final answer is:", None),
        ("So the final answer is: **1812**.", "1812"),
        ('So the final answer is: *"1812."*', "1812"),
        ("So the final answer is: $\\boxed{1812}$.", "1812"),
        ("It is \\boxed{7}, no, \\boxed{8}.", "8"),
        ("So the final answer is: 1812<|im_end|>\nmore", "1812"),
        ("So the final answer is: 1812</s>", "1812"),
        ("So the final answer is: A.\nSo the final answer is: ", "A"),
        ("Follow up: Where?\nIntermediate answer: Senegal.\n**Answer:** Dakar.", "Dakar"),
        ("Follow up: Where?\nAnswer: Senegal.", None),
        ("", None),
        ("Question: Who was it?\nSo the final answer is: She.", "She"),
    ],
)
def test_the_final_answer_is_found_in_every_spelling(written: str, answer: str | None) -> None:
    assert parse_completion(written).answer == answer


@pytest.mark.parametrize(
    "written",
    [
        "Follow up: Who founded it?\nIntermediate answer: Ann: of Kent.\nFollow up: When did Ann die?\n"
        "Intermediate answer: In 1812.\nSo the final answer is: 1812.",
        "Are follow-up questions needed: Yes\n\nFollow-up 1: Who founded it?\nIntermediate answer 1: Ann: of Kent\n\n"
        "Follow-up 2: When did Ann die?\nIntermediate answer 2: In 1812\n\nFinal answer: 1812",
        "Subquestion 1: Who founded it? \nAnswer 1: Ann: of Kent\nSubquestion 2: When did Ann die? \nAnswer 2: "
        "In\n1812",
        "1. Follow up: Who founded it?\n2) Intermediate answer: Ann: of Kent\n3. **Follow up:** When did Ann die?\n"
        "4. Intermediate answer: In 1812</s>",
        "- **Follow up:** Who founded it?\n- **Intermediate answer:** Ann: of Kent\n- **Follow up question 2:** When "
        "did Ann die?\n- **Intermediate answer:** In 1812.",
    ],
)
def test_follow_ups_and_their_answers_are_paired_in_every_spelling(written: str) -> None:
    assert parse_completion(written).follow_ups == (
        ("Who founded it?", "Ann: of Kent"),
        ("When did Ann die?", "In 1812"),
    )


def test_a_follow_up_without_an_answer_is_kept_and_an_empty_one_is_not() -> None:
    assert parse_completion("Follow up: Who?\nFollow up:\n").follow_ups == (("Who?", ""),)


@given(WRITTEN)
def test_any_text_can_be_taken_apart(written: str) -> None:
    parsed = parse_completion(written)
    assert all(asked for asked, _ in parsed.follow_ups)
    assert parsed.answer is None or parsed.answer == parsed.answer.strip()


def test_a_long_text_of_marks_takes_no_long_time() -> None:
    assert parse_completion("*" * 100_000 + "final answer (" * 20_000).answer is None or True
    assert len(parse_completion("Follow up: a\n" * 20_000).follow_ups) == 20_000


@pytest.mark.parametrize(
    "written",
    [
        "1812",
        "W?\n1812",
        "**W?**\n\n1812.",
        "Question: W? Answer: 1812",
        "W? Answer: 1812",
        "Question: W?\nAnswer: 1812",
    ],
)
def test_a_question_that_is_said_again_is_no_answer(written: str) -> None:
    assert direct(ScriptedClient(script=lambda request: written), "W?").text == "1812"
    assert direct(ScriptedClient(script=lambda request: "W?"), "W?").text == ""
    where = direct(ScriptedClient(script=lambda request: "Where's Waldo?\nA book."), "Which book?")
    assert where.text == "Where's Waldo?"


class _Found:
    identity = "fixed"

    def __init__(self, results: int) -> None:
        self.results, self.queries = results, 0

    def search(self, query: str, k: int) -> tuple[SearchResult, ...]:
        self.queries += 1
        return (SearchResult(title="t", snippet="s", source="d"),)[: self.results]


@given(
    written=st.lists(WRITTEN, min_size=1, max_size=4),
    hops=st.integers(1, 3),
    found=st.integers(0, 1),
    force=st.booleans(),
    results=st.integers(1, 2),
)
def test_whatever_a_model_writes_self_ask_ends_within_its_limits(
    written: list[str], hops: int, found: int, force: bool, results: int
) -> None:
    asked = 0

    def script(request: object) -> str:
        nonlocal asked
        asked += 1
        return written[asked % len(written)]

    engine = _Found(found)
    asking = Asking(hops=hops, force=force, results=results)
    answer = self_ask(ScriptedClient(script=script), "Who?", search=engine, asking=asking)
    assert engine.queries <= hops
    assert asked <= 2 * hops + 2
    assert len(answer.trace.follow_ups) <= hops
    asked = 0
    self_ask(ScriptedClient(script=script), "Who?", asking=asking)
    assert asked <= 2


def test_a_server_that_refuses_is_not_asked_again() -> None:
    class Refusing:
        name = identity = "refusing"
        asked = 0

        def answer(self, requests: list[object]) -> list[Completion]:
            self.asked += len(requests)
            return [Completion(text="", finish="error", error="too long")] * len(requests)

    client = Refusing()
    assert self_ask(client, "Who?").trace.ended == "refused"  # pyright: ignore[reportArgumentType]
    assert client.asked == 1
