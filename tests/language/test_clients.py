"""Clients ask an endpoint with patience, believe it nothing, and never ask twice what was answered."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile import Reply, said, server
from tiny_language import saved, tiny

from surefoot.core import SurefootError
from surefoot.language import (
    Answers,
    Client,
    ClientOptions,
    Completion,
    Prices,
    Request,
    ScriptedClient,
    answers_file,
    count_requests,
    local_server,
    open_client,
    usage,
)

QUICK = ClientOptions(first_wait=0.001, retries=3, connections=2, timeout=5)
ONE = Request(prompt="one", max_tokens=5)


def echo(body: dict[str, Any], number: int) -> Reply:
    return Reply(said(f"{body['prompt']} again"))


def client_of(url: str, options: ClientOptions = QUICK, cache: Path | None = None) -> Client:
    return open_client(f"{url}#model", options, cache=cache)


def one_answer(reply: Callable[[dict[str, Any], int], Reply], request: Request = ONE) -> Completion:
    with server(reply) as asked, client_of(asked.url) as client:
        return client.answer([request])[0]


def test_answers_come_in_the_order_of_the_requests_and_equal_requests_are_one() -> None:
    requests = [Request(prompt=f"p{at % 7}") for at in range(30)]
    with server(echo) as asked, client_of(asked.url) as client:
        assert [one.text for one in client.answer(requests)] == [f"p{at % 7} again" for at in range(30)]
        assert asked.prompts == {f"p{at}": 1 for at in range(7)}
        body = asked.bodies[0]
    assert {name: body[name] for name in ("model", "max_tokens", "temperature", "seed")} == {
        "model": "model",
        "max_tokens": 256,
        "temperature": 0.0,
        "seed": 0,
    }
    assert not {"stop", "logprobs"} & body.keys()


@pytest.mark.parametrize(
    "first",
    [
        Reply({"error": "slow down"}, status=429, headers={"Retry-After": "0"}),
        Reply({}, status=429, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        Reply(b"<html>", status=502),
        Reply({}, status=500),
        Reply({}, status=408),
        Reply(said("half"), cut=True),
        Reply(b"", headers={"Content-Length": "99"}, cut=True),
    ],
)
def test_what_may_pass_is_asked_again(first: Reply) -> None:
    assert one_answer(lambda _, number: Reply(said("second")) if number else first).text == "second"


def test_a_wait_that_the_server_asks_for_holds_for_all_connections() -> None:
    moments = []

    def reply(body: dict[str, Any], number: int) -> Reply:
        moments.append(time.monotonic())
        time.sleep(0.3 * (number == 1))  # ends when the other connection has been told to wait
        return Reply({}, status=429, headers={"Retry-After": "1"}) if number == 0 else Reply(said("a"))

    with server(reply) as asked, client_of(asked.url) as client:
        client.answer([Request(prompt=f"p{at}") for at in range(4)])
    assert len(moments) == 5
    assert min(later - moments[0] for later in moments[2:]) >= 1


@pytest.mark.parametrize(
    "asked_for", ["900", format_datetime(datetime.now(UTC) + timedelta(days=9))], ids=["seconds", "a date"]
)  # an id with the time in it would part the workers that run the tests
def test_a_wait_that_is_too_long_is_said(asked_for: str) -> None:
    with pytest.raises(SurefootError, match=r"wants a wait of (900|7\d{5}) seconds"):
        one_answer(lambda *_: Reply({}, status=429, headers={"Retry-After": asked_for}))


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply({"error": {"message": "no such field"}}, status=400), "refused a request .status 400: no such field"),
        (
            Reply({"error": {"message": "bad key k3y"}}, status=401),
            r"bad key \[key\].*SUREFOOT_API_KEY, which is refused",
        ),
        (Reply({}, status=404), r"has no /completions, or no model 'model'.*try api='chat'"),
        (Reply({}, status=302, headers={"Location": "http://10.0.0.1/"}), r"redirects to http://10\.0\.0\.1/"),
        (Reply({"error": {"code": "insufficient_quota"}}, status=429), "will not answer before it is paid"),
        (
            Reply({"error": {"message": "too long", "n_prompt_tokens": 2701, "n_ctx": 1024}}, status=400),
            "refused a prompt of 2701 tokens: its window is 1024",
        ),
        (Reply(b"<html><body>Log in</body></html>"), "answered with a web page: '<html><body>Log in"),
        (Reply(b'{"choices": ['), "answered with no JSON"),
        (Reply(b'{"choices": NaN}'), "answered with no JSON"),
        (Reply(b"[" * 1900), "answered with no JSON"),
        (Reply(b"\xff\xfe"), "answered with no JSON"),
        (Reply([]), "answered with JSON that is no object"),
        (Reply({}), "answered without choices"),
        (Reply({"choices": []}), "answered without choices"),
        (Reply({"choices": [{}]}), "answered without a text"),
        (Reply({"choices": [{"text": 5}]}), "answered without a text"),
        (Reply({"choices": [{"message": {"content": 5}}]}), "answered without a text"),
        (Reply({"choices": [{"text": "a", "logprobs": {"tokens": [1]}}]}), "log-probabilities of no known shape"),
        (Reply(b"x" * 3000), "sent more than 2000 bytes"),
        (Reply(b"not gzip", headers={"Content-Encoding": "gzip"}), "sent bytes that are not what their encoding says"),
    ],
)
def test_what_will_not_pass_is_one_sentence_and_asked_once(
    reply: Reply, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUREFOOT_API_KEY", "k3y")
    options = replace(QUICK, largest_response=2000)
    with server(lambda *_: reply) as asked, client_of(asked.url, options) as client:
        with pytest.raises(SurefootError, match=message) as caught:
            client.answer([ONE])
        assert len(asked.bodies) == 1
        assert str(caught.value).startswith(f"The endpoint {asked.url} ")
        assert "k3y" not in str(caught.value)
        assert asked.headers[0]["Authorization"] == "Bearer k3y"


TWO = [{"index": 1, "text": "another"}, {"index": 0, "text": "this"}]


@pytest.mark.parametrize(
    ("body", "text", "build"),
    [
        ({"choices": TWO}, "this", ""),
        ({"choices": TWO[:1]}, "another", ""),  # the only one is the answer, whatever its number
        (said("a", model="model"), "a", ""),
        (said("a", model="other-7b", system_fingerprint="f1"), "a", "other-7b f1"),
        (said("a", model=None, system_fingerprint=7), "a", "7"),
        ({"choices": [{"message": {"content": None, "refusal": "I must not."}}]}, "I must not.", ""),
    ],
)
def test_the_answer_is_the_first_choice_and_another_model_is_named(body: dict[str, Any], text: str, build: str) -> None:
    found = one_answer(lambda *_: Reply(body))
    assert (found.text, found.build) == (text, build)


@pytest.mark.parametrize(
    "counts", [(-1, 2), ("3", "2"), (1.5, 2), (True, True), (None, 2), (0, 2), (5, 0), (10**400, 2)]
)
def test_counts_of_tokens_that_are_none_are_estimated(counts: tuple[Any, Any]) -> None:
    told = dict(zip(("prompt_tokens", "completion_tokens"), counts, strict=True))
    found = one_answer(lambda *_: Reply(said("four", usage=told)))
    assert (found.prompt_tokens, found.completion_tokens, found.estimated) == (2, 2, True)


@pytest.mark.parametrize("finish", ["content_filter", "error"])
def test_an_answer_that_a_server_withholds_is_none(finish: str, tmp_path: Path) -> None:
    """Not the model's empty answer: that would be kept for ever, and be right where a question has no answer."""

    def reply(body: dict[str, Any], number: int) -> Reply:
        withheld = {"choices": [{"text": "", "finish_reason": finish}]}
        return Reply(withheld if body["prompt"] == "two" else said("a"))

    options = replace(QUICK, on_error="record")
    both = [ONE, Request(prompt="Which of\nthe two")]
    with server(lambda body, n: reply(body | {"prompt": body["prompt"][-3:]}, n)) as asked:
        with client_of(asked.url, options, tmp_path / "a.sqlite") as client:
            kept, refused = client.answer(both)
            assert (kept.finish, refused.finish, refused.text) == ("stop", "error", "")
            assert f"withheld an answer (finish_reason {finish})" in refused.error
            assert client.missing(both) == both[1:]
        stopped = pytest.raises(SurefootError, match=r"The request ends 'Which of the two'\. 0 of 1 requests")
        with client_of(asked.url, cache=tmp_path / "a.sqlite") as client, stopped:
            client.answer(both)


def test_of_two_answers_to_one_request_all_get_the_one_that_is_kept(tmp_path: Path) -> None:
    """Another process was faster, and the server says something else each time."""
    cache = tmp_path / "a.sqlite"

    def reply(body: dict[str, Any], number: int) -> Reply:
        if number == 0:
            with client_of(asked.url, cache=cache) as other:
                assert other.answer([ONE])[0].text == "answer 1"
        return Reply(said(f"answer {number}"))

    with server(reply) as asked, client_of(asked.url, cache=cache) as client:
        (found,) = client.answer([ONE])
        assert (found.text, found.cached) == ("answer 1", False)
        assert client.answer([ONE])[0].text == "answer 1"


def test_what_waits_for_a_slot_waits_here_and_not_against_the_timeout() -> None:
    free, done = threading.Condition(), list[int]()

    def reply(body: dict[str, Any], number: int) -> Reply:
        with free:  # one at a time, first come, first served, a fifth of the timeout each: the last of eight waits 1.6
            free.wait_for(lambda: len(done) == number)
            time.sleep(0.4)
            done.append(number)
            free.notify_all()
        return echo(body, number)

    requests = [Request(prompt=f"p{at}") for at in range(8)]
    with server(reply) as asked, client_of(asked.url, replace(QUICK, connections=8, timeout=2.0)) as client:
        assert [one.text for one in client.answer(requests)] == [f"p{at} again" for at in range(8)]
        assert set(asked.prompts.values()) == {1}


def test_a_server_that_fails_now_and_then_is_asked_on() -> None:
    def reply(body: dict[str, Any], number: int) -> Reply:
        return Reply({}, status=500) if body["prompt"].startswith("bad") else echo(body, number)

    options = replace(QUICK, connections=1, retries=0, on_error="record")  # two failures in a row would be its end
    requests = [Request(prompt=f"{'bad' if at % 2 else 'good'} {at}") for at in range(10)]
    with server(reply) as asked, client_of(asked.url, options) as client:
        assert [one.finish for one in client.answer(requests)] == ["stop", "error"] * 5


def test_a_server_with_many_slots_is_asked_as_many_at_once_as_there_are_connections() -> None:
    full = threading.Barrier(4)

    def reply(body: dict[str, Any], number: int) -> Reply:
        if number >= 10:  # three are out by then, and one more with each answer: a fourth must come
            full.wait(30)
        return echo(body, number)

    with server(reply) as asked, client_of(asked.url, replace(QUICK, connections=4, timeout=60)) as client:
        assert len(client.answer([Request(prompt=f"p{at}") for at in range(14)])) == 14
    assert not full.broken


def test_an_endpoint_that_never_answered_and_is_down_is_named_at_once() -> None:
    with server(echo) as asked:
        pass
    for on_error in ("raise", "record"):  # at once: a name that was mistyped is no server that is busy
        options = ClientOptions(first_wait=0.001, longest_wait=0.001, retries=50, on_error=on_error)
        with client_of(asked.url, options) as client, pytest.raises(SurefootError, match="cannot be reached: nothing"):
            client.answer([Request(prompt=f"p{at}") for at in range(20)])


def test_a_server_that_has_answered_and_is_down_is_tried_again() -> None:
    with server(lambda *_: Reply(said("yes"), headers={"Connection": "close"})) as asked:
        client = client_of(asked.url)
        client.answer([ONE])
    with client, pytest.raises(SurefootError, match=r"failed 4 times \(ConnectError"):
        client.answer([Request(prompt="two")])


def test_a_server_that_sends_a_byte_now_and_then_is_given_up() -> None:
    options = replace(QUICK, timeout=0.2, retries=1)
    with (
        server(lambda *_: Reply(said("late"), drip=0.05)) as asked,
        client_of(asked.url, options) as client,
        pytest.raises(SurefootError, match=r"failed 2 times \(TimeoutError: no whole answer"),
    ):
        client.answer([ONE])


def test_the_deadline_keeps_what_was_answered(tmp_path: Path) -> None:
    def reply(body: dict[str, Any], number: int) -> Reply:
        return Reply({}, status=503) if body["prompt"] == "never" else Reply(said("a"))

    options = replace(QUICK, deadline=3.0, retries=1000, first_wait=0.05, longest_wait=0.1)
    requests = [*(Request(prompt=f"p{at}") for at in range(4)), Request(prompt="never")]
    with server(reply) as asked, client_of(asked.url, options, tmp_path / "a.sqlite") as client:
        with pytest.raises(SurefootError, match=r"The deadline passed\. 4 of 5 requests were answered and are kept in"):
            client.answer(requests)
        assert client.missing(requests) == [Request(prompt="never")]


def test_a_refused_request_can_be_recorded_and_is_asked_anew_later(tmp_path: Path) -> None:
    def reply(body: dict[str, Any], number: int) -> Reply:
        return Reply({"error": "no"}, status=400) if body["prompt"] == "bad" else echo(body, number)

    requests = [ONE, Request(prompt="bad"), Request(prompt="two")]
    with server(reply) as asked, client_of(asked.url, replace(QUICK, on_error="record"), tmp_path / "a") as client:
        answers = client.answer(requests)
        assert [one.finish for one in answers] == ["stop", "error", "stop"]
        assert "status 400: no" in answers[1].error
        assert (usage(answers).errors, usage(answers).cached) == (1, 0)
        client.answer(requests)
        assert asked.prompts == {"one": 1, "bad": 2, "two": 1}


def test_a_server_that_always_fails_ends_the_call_also_where_refusals_are_recorded() -> None:
    options = replace(QUICK, on_error="record", retries=0)
    with server(lambda *_: Reply({}, status=500)) as asked, client_of(asked.url, options) as client:
        with pytest.raises(SurefootError, match=r"failed 1 times"):
            client.answer([Request(prompt=f"p{at}") for at in range(100)])
        assert len(asked.bodies) < 20


def test_text_ends_at_the_first_stop_sequence_whatever_the_server_did() -> None:
    logprobs = {"tokens": ["Paris", "\n", "Que", "stion: next"], "token_logprobs": [-0.1, -0.2, -0.3, -0.4]}
    told = said("Paris\nQuestion: next", usage={"prompt_tokens": 3, "completion_tokens": 4})
    told["choices"][0] |= {"logprobs": logprobs, "finish_reason": "length"}
    found = one_answer(lambda *_: Reply(told), Request(prompt="p", stop=("Question", "\n"), top_logprobs=0))
    assert (found.text, found.finish, found.tokens) == ("Paris", "stop", (("Paris", -0.1),))
    assert (found.prompt_tokens, found.completion_tokens, found.estimated) == (3, 4, False)
    assert one_answer(lambda *_: Reply(told)).finish == "length"


def test_only_as_many_stop_sequences_are_sent_as_every_server_takes() -> None:
    with server(echo) as asked, client_of(asked.url) as client:
        (found,) = client.answer([Request(prompt="a b c d e", stop=("1", "2", "3", "4", " e"))])
        assert asked.bodies[0]["stop"] == ["1", "2", "3", "4"]
    assert found.text == "a b c d"


def test_both_shapes_of_log_probabilities_are_read() -> None:
    sides = {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": [{"b": -1.5, "a": -0.5}]}
    alternatives = [{"token": "b", "logprob": -1.5}, {"token": "a", "logprob": -0.5}]
    objects = {"content": [{"token": "a", "logprob": -0.5, "top_logprobs": alternatives}]}
    for shape in (sides, objects):
        told = {"choices": [{"text": "a", "logprobs": shape}]}
        found = one_answer(lambda *_, told=told: Reply(told), replace(ONE, top_logprobs=2))
        assert found.tokens == (("a", -0.5),)
        assert found.top_logprobs == ((("a", -0.5), ("b", -1.5)),)
        assert found.logprob == -0.5


@pytest.mark.parametrize(
    ("message", "text", "thinking"),
    [
        ({"content": "<think>\nhm, Q: x\n</think>\n\nParis"}, "Paris", "hm, Q: x"),
        ({"content": "hm\n</think>Paris"}, "Paris", "hm"),
        ({"content": "<think>without an end"}, "", "without an end"),
        ({"content": "Paris", "reasoning_content": "hm"}, "Paris", "hm"),
        ({"content": None, "reasoning": "hm"}, "", "hm"),
        ({"content": [{"type": "text", "text": "Pa"}, {"type": "text", "text": "ris"}]}, "Paris", ""),
        ({"content": "lone \ud800"}, "lone ?", ""),
        ({"content": ""}, "", ""),
    ],
)
def test_what_a_model_thinks_aloud_stands_apart(message: dict[str, Any], text: str, thinking: str) -> None:
    request = Request(messages=(("system", "Be brief."), ("user", "Capital of France?")), stop=("Q:",))
    told = {"choices": [{"message": message, "finish_reason": "stop"}]}
    with server(lambda *_: Reply(told)) as asked, client_of(asked.url) as client:
        (found,) = client.answer([request])
        assert asked.paths == ["/v1/chat/completions"]
        assert asked.bodies[0]["messages"][1] == {"role": "user", "content": "Capital of France?"}
    assert (found.text, found.thinking) == (text, thinking)


def test_a_prompt_goes_to_chat_where_that_is_wanted_and_fields_can_be_added_and_left_out() -> None:
    options = replace(
        QUICK, api="chat", token_limit="max_completion_tokens", body=(("temperature", None), ("cache_prompt", False))
    )
    told = {"choices": [{"message": {"content": "a"}}]}
    with server(lambda *_: Reply(told)) as asked, client_of(asked.url, options) as client:
        client.answer([replace(ONE, top_logprobs=3)])
    assert asked.bodies == [
        {
            "model": "model",
            "messages": [{"role": "user", "content": "one"}],
            "max_completion_tokens": 5,
            "seed": 0,
            "logprobs": True,
            "top_logprobs": 3,
            "cache_prompt": False,
        }
    ]


def test_a_rate_slows_what_is_asked_and_not_what_is_known() -> None:
    requests = [Request(prompt=f"p{at}") for at in range(4)]
    with server(echo) as asked, client_of(asked.url, replace(QUICK, per_minute=600)) as client:
        begun = time.monotonic()
        client.answer(requests)
        asked_for = time.monotonic() - begun
        for _ in range(50):
            client.answer(requests)
        assert asked_for >= 0.3
        assert len(asked.bodies) == 4
        assert time.monotonic() - begun - asked_for < 50 * 4 * 0.1  # what 600 a minute would have taken


def test_the_key_of_an_answer_holds_all_that_changes_it() -> None:
    base = Request(prompt="p", seed=1)
    others = {
        "prompt": "q",
        "messages": None,
        "max_tokens": 9,
        "stop": ("x",),
        "temperature": 0.5,
        "seed": 2,
        "top_logprobs": 0,
    }
    assert others.keys() == {one.name for one in fields(Request)}
    changed = [replace(base, **{name: value}) for name, value in others.items() if value is not None]
    changed.append(replace(base, prompt="", messages=(("user", "p"),)))
    assert len({one.key("m") for one in [base, *changed]}) == len(changed) + 1
    assert base.key("m") != base.key("n")
    assert base.key("m") == replace(base).key("m")


def test_the_identity_holds_every_option_that_changes_an_answer_and_no_other(tmp_path: Path) -> None:
    directory, gguf = saved(tiny(), tmp_path / "model"), tmp_path / "m.gguf"
    gguf.write_bytes(b"GGUF")
    common = {"api": "chat", "body": (("min_p", 0.1),), "token_limit": "max_completion_tokens", "build": "b"}
    changing = {
        "http://h/v1#m": common,
        str(gguf): {"api": "chat", "body": (("min_p", 0.1),), "context": 512, "threads": 2},
        str(directory): {"api": "chat", "threads": 2},
    }
    view = {
        "connections": 1,
        "per_minute": 5.0,
        "timeout": 1.0,
        "retries": 0,
        "first_wait": 1.0,
        "longest_wait": 1.0,
        "deadline": 9.0,
        "key_variable": "OTHER",
        "largest_response": 5000,
        "on_error": "record",
        "think_tags": None,
    }
    for model, options in changing.items():
        known = open_client(model).identity
        for name, value in options.items():
            assert open_client(model, ClientOptions(**{name: value})).identity != known, (model, name)
        assert open_client(model, ClientOptions(**view)).identity == known
    assert {*view, *changing["http://h/v1#m"], "context", "threads"} == {one.name for one in fields(ClientOptions)}
    places = ("http://h/v1#m", "http://h/v1#n", "http://h:2/v1#m", "http://h/v2#m", "https://h/v1#m")
    assert len({open_client(place).identity for place in places}) == len(places)
    served = ClientOptions(build="digest")
    assert open_client("http://h:1/v1#m", served).identity == open_client("http://h:2/v1#m", served).identity
    before = open_client(gguf).identity, open_client(directory).identity
    gguf.write_bytes(b"GGUF, other weights")
    saved(tiny(seed=1), directory)
    assert not {*before} & {open_client(gguf).identity, open_client(directory).identity}


def test_answers_outlive_the_client_and_need_no_server(tmp_path: Path) -> None:
    place = answers_file(tmp_path)
    requests = [Request(prompt=f"p{at}", top_logprobs=1) for at in range(3)]
    top = {"content": [{"token": "a", "logprob": -1, "top_logprobs": [{"token": "a", "logprob": -1}]}]}
    told = {"choices": [{"text": "<think>x</think>a", "logprobs": top}], "system_fingerprint": "b1"}
    with server(lambda *_: Reply(told)) as asked, client_of(asked.url, cache=place) as client:
        first = client.answer(requests)
        assert count_requests(client, [*requests, Request(prompt="new")]).cached == 3
    with client_of(asked.url, cache=place) as client:
        again = client.answer(requests)
        assert again == [replace(one, cached=True) for one in first]
        assert usage(again).builds == ("b1",)
    with client_of(asked.url, replace(QUICK, think_tags=None), place) as client:
        assert client.answer(requests)[0].text == "<think>x</think>a"


def test_all_of_an_answer_is_kept(tmp_path: Path) -> None:
    """Also what a table says of it later: that it was cut, what it took, who gave it."""
    logprobs = {"content": [{"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "b", "logprob": -2.0}]}]}
    choice = {"text": "<think>so</think>a", "finish_reason": "length", "logprobs": logprobs}
    used = {"prompt_tokens": 3, "completion_tokens": 5}
    told = {"choices": [choice], "usage": used, "system_fingerprint": "f1"}
    with server(lambda *_: Reply(told)) as asked:
        pair = []
        for _ in range(2):
            with client_of(asked.url, cache=tmp_path / "a.sqlite") as client:
                pair += client.answer([ONE])
        assert len(asked.bodies) == 1
    assert pair[1] == replace(pair[0], cached=True)
    assert (pair[1].finish, pair[1].build, pair[1].completion_tokens, pair[1].thinking) == ("length", "f1", 5, "so")


def test_no_key_is_written_into_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "s3cret-key")
    with server(echo) as asked, client_of(asked.url, replace(QUICK, key_variable="MY_KEY"), tmp_path / "a") as client:
        client.answer([ONE])
        assert asked.headers[0]["Authorization"] == "Bearer s3cret-key"
    assert not [path for path in tmp_path.iterdir() if b"s3cret-key" in path.read_bytes()]


def test_a_file_that_is_no_cache_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("my notes, which are long enough to be no database\n" * 50)
    with (
        server(echo) as asked,
        client_of(asked.url, cache=path) as client,
        pytest.raises(SurefootError, match=r"The file of answers .*notes\.txt cannot be used"),
    ):
        client.answer([ONE])
    assert path.read_text().startswith("my notes")


def test_the_file_lies_in_the_store_where_clean_does_not_look(tmp_path: Path) -> None:
    made = tmp_path / "store" / "surefoot.language.Thing" / "0123.part" / "token"
    assert answers_file(made) == answers_file(tmp_path / "store") == tmp_path / "store" / ".answers" / "answers.sqlite"


KILLED = """
import sys
from pathlib import Path
from surefoot.language import ClientOptions, Request, open_client
with open_client(sys.argv[1] + "#m", ClientOptions(connections=4), cache=Path(sys.argv[2])) as client:
    client.answer([Request(prompt=f"p{at}") for at in range(100)])
"""


def test_after_a_kill_only_what_was_not_answered_is_asked(tmp_path: Path) -> None:
    half = threading.Event()

    def reply(body: dict[str, Any], number: int) -> Reply:
        if number == 50:
            half.set()
        if number >= 50 and not killed.is_set():
            killed.wait(30)
        return echo(body, number)

    killed, cache = threading.Event(), tmp_path / "a.sqlite"
    with server(reply) as asked:
        child = subprocess.Popen([sys.executable, "-c", KILLED, asked.url, str(cache)], env={**os.environ})
        assert half.wait(60)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        with sqlite3.connect(cache) as database:
            kept = {json.loads(row[0])["prompt"] for row in database.execute("SELECT request FROM answers")}
        database.close()
        killed.set()
        before = asked.prompts
        with open_client(f"{asked.url}#m", ClientOptions(connections=4), cache=cache) as client:
            answers = client.answer([Request(prompt=f"p{at}") for at in range(100)])
        twice = {prompt for prompt, count in asked.prompts.items() if count > 1}
    assert [one.text for one in answers] == [f"p{at} again" for at in range(100)]
    assert 46 <= len(kept) <= 50  # at most one on each connection was on its way
    assert not twice & kept
    assert all(asked.prompts[prompt] == before[prompt] for prompt in kept)
    assert sum(one.cached for one in answers) == len(kept)


def test_two_processes_may_write_at_once(tmp_path: Path) -> None:
    cache = tmp_path / "a.sqlite"
    with server(echo) as asked:
        children = [subprocess.Popen([sys.executable, "-c", KILLED, asked.url, str(cache)]) for _ in range(2)]
        assert [child.wait() for child in children] == [0, 0]
        with open_client(f"{asked.url}#m", cache=cache) as client:
            assert not client.missing([Request(prompt=f"p{at}") for at in range(100)])


def test_a_dry_run_counts_and_asks_nothing() -> None:
    with server(echo) as asked, client_of(asked.url) as client:
        client.answer([ONE])
        found = count_requests(
            client, [ONE, ONE, Request(prompt="x" * 35, max_tokens=100)], Prices(prompt=1.0, completion=4.0)
        )
        assert len(asked.bodies) == 1
    assert (found.cached, found.asked, found.prompt_tokens, found.completion_tokens) == (1, 1, 11, 100)
    assert found.cost == pytest.approx((11 * 1 + 100 * 4) / 1e6)
    assert count_requests(ScriptedClient(script={}), [ONE, ONE]).asked == 1


def test_usage_counts_what_was_asked_now() -> None:
    asked = Completion(text="a", prompt_tokens=10, completion_tokens=5, finish="length")
    found = usage([asked, replace(asked, cached=True)], Prices(prompt=2.0, completion=4.0))
    assert (found.requests, found.cached, found.cut) == (2, 1, 2)
    assert (found.prompt_tokens, found.completion_tokens) == (10, 5)
    assert found.cost == pytest.approx(40e-6)


def test_a_script_answers_like_a_model() -> None:
    client = ScriptedClient(script={"p": "<think>hm</think>a\nb", "chat": "c"})
    chat = Request(messages=(("system", "s"), ("user", "chat")))
    found = client.answer([Request(prompt="p", stop=("\n",)), chat])
    assert [(one.text, one.thinking) for one in found] == [("a", "hm"), ("c", "")]
    assert ScriptedClient(script=lambda request: request.text[::-1]).answer([chat])[0].text == "tahc\ns"
    with pytest.raises(SurefootError, match="has no answer to the prompt that ends 'other'"):
        client.answer([Request(prompt="other")])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("nothing/here", "is no model: give a directory"),
        ("nothing.gguf", r"The file nothing\.gguf does not exist"),
        ("ftp://host/v1", "must begin with http"),
        ("http://", "must begin with http"),
        ("http://host:port/v1", "cannot be read"),
        ("http://user:word@host/v1", "holds a user, a password or a query: give the key in the environment"),
        ("http://host/v1?key=5", "holds a user, a password or a query"),
    ],
)
def test_what_is_no_model_is_said(model: str, message: str) -> None:
    with pytest.raises(SurefootError, match=message):
        open_client(model)


@pytest.mark.parametrize(
    "wrong",
    [
        {"prompt": ""},
        {"prompt": "p", "messages": (("user", "p"),)},
        {"prompt": "p", "max_tokens": 0},
        {"prompt": "p", "temperature": -1.0},
        {"prompt": "p", "stop": ("",)},
    ],
)
def test_requests_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SurefootError, match="Request"):
        Request(**wrong)


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(SurefootError, match="connections is 0: it must be at least 1"):
        ClientOptions(connections=0)
    with pytest.raises(SurefootError, match="timeout is nan: it must be above 0"):
        ClientOptions(timeout=float("nan"))


def test_a_model_of_torch_answers_as_a_client(tmp_path: Path) -> None:
    loaded = tiny()
    directory = saved(loaded, tmp_path / "model")
    requests = [
        Request(prompt="hello", max_tokens=12, top_logprobs=2),
        Request(prompt="hello", max_tokens=12, temperature=1.0, seed=1),
        Request(prompt="hello", max_tokens=12, temperature=1.0, seed=2),
        Request(messages=(("user", "hi"),), max_tokens=4),
        Request(prompt="x" * 80),
        Request(prompt="x" * 60),
    ]
    with open_client(directory, ClientOptions(on_error="record")) as client:
        greedy, drawn, other, chat, long, near = client.answer(requests)
        (again,) = Client(client.source, client.options, Answers(None), client.queue).answer(requests[1:2])
        stop = greedy.text[2:4]
        (stopped,) = client.answer([replace(requests[0], stop=(stop,))])
    ids, logprob = loaded.encoded(["hello"])[0], 0.0
    with torch.no_grad():
        for at in range(greedy.completion_tokens):
            row = loaded.model(torch.tensor([ids])).logits[0, -1].double().log_softmax(dim=-1)
            ids.append(int(row.argmax()))
            logprob += row.max().item()
            assert greedy.top_logprobs[at][0][1] == pytest.approx(row.max().item(), abs=1e-4)
    assert greedy.text == loaded.tokenizer.decode(ids[5:], skip_special_tokens=True)
    assert greedy.logprob == pytest.approx(logprob, abs=1e-3)
    assert drawn.text == again.text != other.text
    assert chat.prompt_tokens == len(loaded.encoded(["user: hi\n"])[0])
    assert long.finish == "error"
    assert "refused a prompt of 80 tokens: its window is 64" in long.error
    assert (near.completion_tokens, near.finish) == (4, "length")  # no token stands beyond the window
    assert (stopped.text, stopped.finish) == (greedy.text[: greedy.text.find(stop)], "stop")
    assert stopped.completion_tokens < greedy.completion_tokens


@pytest.mark.slow
def test_llama_cpp_answers_alike_in_process_and_behind_a_server(tmp_path: Path) -> None:
    requests = [
        Request(prompt="The capital of France is", max_tokens=3, top_logprobs=1),
        Request(prompt="one two three four", max_tokens=6, stop=(" numbers",)),
        Request(messages=(("user", "Hi"),), max_tokens=3),
        Request(prompt="Question: What is the capital of France?\nAnswer:", max_tokens=4),
    ]
    small = ClientOptions(context=256, on_error="record")
    with open_client("smollm2", small, cache=tmp_path / "a.sqlite") as client:
        inside = client.answer(requests)
        assert "xllamacpp" in client.identity
    with (
        local_server("smollm2", small) as (url, build),
        open_client(url, replace(small, build=build), cache=tmp_path / "a.sqlite") as client,
    ):
        outside = client.answer([*requests, Request(prompt="a b c " * 300)])
    assert [one.text for one in inside] == [one.text for one in outside[:-1]]
    assert inside[0].text.startswith(" Paris")
    assert inside[0].logprob == pytest.approx(outside[0].logprob, abs=1e-5)
    assert inside[3].text == ""  # an instruction model takes this for the end: a real, empty answer
    assert not any(one.estimated or one.cached for one in outside[:-1])
    assert "its window is 256" in outside[-1].error
