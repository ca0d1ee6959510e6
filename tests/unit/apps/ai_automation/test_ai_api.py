"""The REST API and the WebSocket stream: what they give, and whom they refuse."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from ai_kit import LIGHT, OLD_READER, SECRETS, TOKENS, WAIT, Home, Standing, Stream, bearer, rule, until
from ai_peers import Answer

NAP = {"wait": {"seconds": 0.5}}
RULES = (
    rule("light", LIGHT),
    rule("nap", NAP, description="A nap"),
    rule("queue", {"wait": {"seconds": 0.3}}, mode="queued", max_queued=1),
    rule("again", {"wait": {"seconds": 0.3}}, mode="restart"),
    rule("off", LIGHT, enabled=False),
    {**rule("timed", LIGHT), "triggers": [{"every": {"hours": 1}}]},
)


@pytest.fixture
def served(standing: Standing) -> Iterator[Home]:
    home = standing.fresh(*RULES)
    yield home
    until(
        lambda: not [run for run in home.get("/api/runs?state=running").json()["runs"]], "the end of all runs"
    )


def code(answer: Any) -> tuple[int, str]:
    """Status and the error's code; every error is JSON of one form."""
    error = answer.json()["error"]
    assert set(error) == {"code", "message"}
    return answer.status_code, error["code"]


def test_health_needs_no_token_and_tells_of_the_others(served: Home, standing: Standing) -> None:
    def state() -> dict[str, Any]:
        answer = served.raw("GET", "/health")
        assert answer.status_code == 200
        return dict(answer.json())

    until(lambda: (state()["home_assistant"], state()["mcp_hub"]) == ("ok", "ok"), "health of the others")
    assert (state()["status"], state()["mqtt"], state()["automations"]) == ("ok", "not_configured", 6)
    standing.assistant.answers["/api/"] = [Answer(401)]
    standing.hub.answers["/health"] = [Answer(500)]
    until(
        lambda: (state()["home_assistant"], state()["mcp_hub"]) == ("unauthorized", "failing"), "bad health"
    )
    assert {r.token for r in standing.assistant.calls("/api/") if r.path == "/api/"} == {
        SECRETS["home_assistant_token"]
    }


def test_automations_are_listed_and_told(served: Home) -> None:
    listed = {a["id"]: a for a in served.get("/api/automations", "reader").json()["automations"]}
    assert list(listed) == [r["id"] for r in RULES]
    assert (listed["off"]["enabled"], listed["timed"]["callable"], listed["nap"]["description"]) == (
        False,
        False,
        "A nap",
    )
    told = served.get("/api/automations/light", "reader").json()
    assert told["rule"]["actions"][0]["home_assistant"]["service"] == "light.turn_on"
    run = served.run("light")
    assert served.get("/api/automations/light").json()["last_run"]["id"] == run["id"]


def test_a_trigger_answers_at_once_or_with_the_finished_run(served: Home) -> None:
    answer = served.post("/api/automations/nap/trigger", {"data": {"a": [1]}}, "caller")
    assert answer.status_code == 202
    run = answer.json()["run"]
    short = served.get(f"/api/runs/{run}", "reader").json()
    assert (short["state"], short["trigger"]) == (
        "running",
        {"source": "rest", "data": {"a": [1]}, "by": "caller", "topic": ""},
    )
    assert served.ended(run, "succeeded")["actions"][0]["state"] == "succeeded"
    assert served.run("nap")["state"] == "succeeded"
    early = served.post("/api/automations/nap/trigger?wait=0.05")
    assert (early.status_code, early.json()["state"]) == (202, "running")
    served.ended(early.json()["id"], "succeeded")


def test_runs_are_found_by_automation_and_state(served: Home, standing: Standing) -> None:
    good = served.run("light")["id"]
    standing.assistant.answers["/api/services/light/turn_on"] = [Answer(400)]
    bad = served.run("light")["id"]
    ids = [run["id"] for run in served.runs("light")]
    assert ids[:2] == [bad, good]  # the newest first
    failed = served.get("/api/runs?automation=light&state=failed").json()["runs"]
    assert bad in [run["id"] for run in failed] and good not in [run["id"] for run in failed]
    assert [
        r["id"] for r in served.get(f"/api/runs?automation=light&before={bad}&limit=1").json()["runs"]
    ] == [good]
    assert served.runs("nobody") == []


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer wrong", "Basic " + TOKENS["all"], TOKENS["all"]]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/automations"),
        ("GET", "/api/automations/light"),
        ("POST", "/api/automations/light/trigger"),
        ("GET", "/api/runs"),
        ("GET", "/api/runs/1"),
        ("GET", "/ws"),
        ("GET", "/nowhere"),
    ],
)
def test_without_the_right_token_nobody_comes_in(
    served: Home, standing: Standing, header: str | None, method: str, path: str
) -> None:
    address = f"10.9.{len(path)}.{len(header or '')}"  # each its own, so that none is limited
    headers = {"X-Forwarded-For": f"{method}{address}"} | (
        {"Authorization": header} if header is not None else {}
    )
    answer = served.raw(method, path, headers=headers)
    assert code(answer) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert standing.assistant.calls() == []


def test_a_scope_is_needed(served: Home, standing: Standing) -> None:
    assert code(served.post("/api/automations/light/trigger", {}, "reader")) == (403, "forbidden")
    for path in ("/api/automations", "/api/automations/light", "/api/runs", "/api/runs/1"):
        assert code(served.get(path, "caller")) == (403, "forbidden")
    assert standing.assistant.calls() == []


@pytest.mark.parametrize(
    ("path", "status", "name"),
    [
        ("nobody", 404, "unknown_automation"),
        ("off", 409, "disabled"),
        ("timed", 409, "not_callable"),
        ("light/x", 404, "not_found"),
    ],
)
def test_what_cannot_be_triggered(served: Home, path: str, status: int, name: str) -> None:
    assert code(served.post(f"/api/automations/{path}/trigger", {})) == (status, name)


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'"x"', b'{"date": 1}', b'{"data": NaN}', b"\xff\xfe", b'{"data":' * 9000, b"[" * 9999],
)
def test_a_malformed_body_starts_nothing(served: Home, standing: Standing, body: bytes) -> None:
    answer = served.raw("POST", "/api/automations/light/trigger", content=body, headers=bearer("all"))
    assert code(answer)[0] == (413 if len(body) > 65536 else 400)
    assert standing.assistant.calls() == []


@pytest.mark.parametrize("chunked", [False, True])
def test_an_oversized_body_is_refused(served: Home, standing: Standing, chunked: bool) -> None:
    raw = b'{"data": "' + b"x" * 70000 + b'"}'
    content = iter([raw[:35000], raw[35000:]]) if chunked else raw
    answer = served.raw("POST", "/api/automations/light/trigger", content=content, headers=bearer("all"))
    assert code(answer) == (413, "too_large")
    assert standing.assistant.calls() == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/runs?state=done", 400),
        ("GET", "/api/runs?limit=0", 400),
        ("GET", "/api/runs?limit=x", 400),
        ("GET", "/api/runs/nothing", 404),
        ("GET", "/api/automations/nobody", 404),
        ("GET", "/nowhere", 404),
        ("GET", "/api/automations/light/trigger", 405),
        ("DELETE", "/api/runs", 405),
        ("GET", "/ws", 400),
        ("POST", "/api/automations/light/trigger?wait=-1", 400),
        ("POST", "/api/automations/light/trigger?wait=nan", 400),
        ("POST", "/api/automations/light/trigger?wait=3600", 400),
    ],
)
def test_a_wrong_question_gets_a_clear_answer(served: Home, method: str, path: str, status: int) -> None:
    assert code(served.raw(method, path, headers=bearer("all")))[0] == status


@pytest.mark.parametrize("token", [TOKENS["reader"], OLD_READER])
def test_a_client_may_have_two_tokens_while_one_is_changed(served: Home, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    assert served.raw("GET", "/api/automations", headers=headers).status_code == 200
    refused = served.raw("POST", "/api/automations/light/trigger", headers=headers)
    assert refused.status_code == 403, "with the same rights"


def test_too_many_wrong_tokens_are_slowed_and_right_ones_served(served: Home) -> None:
    def attempt(forwarded: str) -> int:
        headers = {"Authorization": "Bearer guess", "X-Forwarded-For": forwarded}
        return served.raw("GET", "/api/runs", headers=headers).status_code

    tries = [attempt("203.0.113.7") for _ in range(12)]
    assert tries == [401] * 10 + [429] * 2
    # What the client itself wrote before the proxy's entry does not help it; others are not concerned.
    assert attempt("198.51.100.1, 203.0.113.7") == 429
    assert attempt("203.0.113.8") == 401
    limited = served.raw("GET", "/api/runs", headers={"X-Forwarded-For": "203.0.113.7"})
    assert 1 <= int(limited.headers["Retry-After"]) <= 61
    right = served.raw("GET", "/api/runs", headers={**bearer("reader"), "X-Forwarded-For": "203.0.113.7"})
    assert right.status_code == 200


def test_single_refuses_a_second_run(served: Home) -> None:
    first = served.trigger("nap")
    before = served.get("/api/automations/nap").json()["refused"]
    assert code(served.post("/api/automations/nap/trigger")) == (409, "already_running")
    after = served.get("/api/automations/nap").json()
    assert (after["running"], after["refused"]) == (first, before + 1)
    served.ended(first, "succeeded")


def test_queued_runs_follow_each_other_up_to_a_bound(served: Home) -> None:
    first, second = served.trigger("queue"), served.trigger("queue")
    assert served.get(f"/api/runs/{second}").json()["state"] == "queued"
    assert code(served.post("/api/automations/queue/trigger")) == (429, "queue_full")
    late = served.ended(second, "succeeded")
    assert late["started"] >= served.get(f"/api/runs/{first}").json()["finished"]


def test_restart_ends_the_run_before(served: Home) -> None:
    first, second = served.trigger("again"), served.trigger("again")
    old = served.ended(first, "cancelled")
    assert (old["error"], old["actions"][0]["state"]) == ("restarted by a newer trigger", "cancelled")
    assert served.ended(second, "succeeded")["started"] >= old["finished"]


def test_the_stream_tells_of_runs_and_takes_triggers(served: Home) -> None:
    with Stream(served) as stream, Stream(served, "reader") as reader:
        assert stream.next("hello")["interrupted"] == []
        reader.next("hello")
        stream.say({"type": "trigger", "id": 7, "automation": "light", "data": {"x": 1}})
        states = [stream.next("run")["run"] for _ in range(2)]
        assert [run["state"] for run in states] == ["queued", "running"]
        run = states[0]["id"]
        assert stream.state(run, "succeeded")["trigger"]["data"] == {"x": 1}
        assert reader.state(run, "succeeded")["actions"][0]["state"] == "succeeded"
        assert served.get(f"/api/runs/{run}").json()["trigger"]["by"] == "all"
        stream.say({"type": "ping", "id": 8})
        assert stream.next("pong")["id"] == 8


def test_the_stream_answers_a_trigger_with_the_run(served: Home) -> None:
    with Stream(served) as stream:
        stream.say({"type": "trigger", "id": 1, "automation": "light"})
        answer = stream.next("result")
        assert answer["id"] == 1
        served.ended(answer["run"], "succeeded")


@pytest.mark.parametrize(
    ("client", "message", "name"),
    [
        ("reader", {"type": "trigger", "automation": "light"}, "forbidden"),
        ("all", {"type": "trigger", "automation": "nobody"}, "unknown_automation"),
        ("all", {"type": "trigger", "automation": ["light"]}, "unknown_automation"),
        ("all", {"type": "trigger", "automation": "off"}, "disabled"),
        ("all", {"type": "start"}, "malformed"),
        ("all", "[]", "malformed"),
        ("all", "{", "malformed"),
    ],
)
def test_the_stream_refuses(served: Home, standing: Standing, client: str, message: Any, name: str) -> None:
    with Stream(served, client) as stream:
        stream.say(message)
        assert stream.next("error")["error"]["code"] == name
    assert standing.assistant.calls() == []


@pytest.mark.parametrize(("client", "status"), [("", 401), ("wrong", 401), ("caller", 403)])
def test_the_stream_opens_only_to_readers(served: Home, client: str, status: int) -> None:
    with Stream(served, client) as stream:
        assert stream.next("refused")["status"] == status


def test_the_stream_bounds_a_message(served: Home) -> None:
    with Stream(served) as stream:
        stream.next("hello")
        stream.say("x" * 70000)
        assert stream.next("closed")["code"] == 1009


def test_streams_are_bounded_and_others_are_still_served(served: Home) -> None:
    with contextlib.ExitStack() as stack:

        def opened() -> bool:  # one of the test before may not be forgotten yet
            return stack.enter_context(Stream(served)).first()["type"] == "hello"

        for _ in range(4):  # as many as the standing service's config allows
            until(opened, "a stream")
        with Stream(served) as fifth:
            assert fifth.first() == {"type": "refused", "status": 503}
        assert served.get("/api/runs").status_code == 200


def test_who_sends_its_request_slowly_holds_up_nobody(served: Home) -> None:
    slow = [socket.create_connection(("127.0.0.1", served.port), WAIT) for _ in range(60)]
    try:
        for connection in slow:
            connection.sendall(b"GET /health HTTP/1.1\r\n")
        # A new connection: it is accepted after those, while the client's own may be served before them.
        answer = httpx.get(f"http://127.0.0.1:{served.port}/health", timeout=WAIT, trust_env=False)
        assert answer.status_code == 200
        slow[0].sendall(b"Host: home\r\n")
        slow[0].sendall(b"Connection: close\r\n\r\n")
        assert slow[0].recv(100).startswith(b"HTTP/1.1 200 ")
    finally:
        for connection in slow:
            connection.close()
