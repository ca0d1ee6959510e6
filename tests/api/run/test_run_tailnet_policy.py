"""The tailnet's policy in the whole command, against the stand-in of Tailscale's API."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from hearth.tailnet.policy import FILE, MEMORY, digest
from tests.api.run.conftest import PROJECT, Done, Home, container, fleet_of
from tests.unit.tailnet.tailnet_stand_in import API_KEY, START, Fault, Tailscale, serving

STEP = "Policy of the tailnet"
WANTED = (PROJECT / FILE).read_text()
OTHERS = '{"acls": [{"action": "accept", "src": ["somebody"], "dst": ["*:22"]}]}'


@pytest.fixture
def server() -> Iterator[Tailscale]:
    """A tailnet whose policy nobody has set."""
    with serving() as known:
        yield known


@pytest.fixture
def tailnet(home: Home, server: Tailscale) -> Home:
    """A home of one appliance that has a tailnet, and a credential for it."""
    home.declare({**fleet_of(comms=container()), "tailnet": {"domain": "tail.example.ts.net"}})
    home.env |= {"TAILSCALE_BASE_URL": server.url, "TAILSCALE_API_KEY": API_KEY}
    return home


def writes(server: Tailscale) -> list[str]:
    """What the server was asked to change; judging a policy changes nothing."""
    return [one.line for one in server.asked if one.method != "GET" and not one.path.endswith("/validate")]


def step(done: Done) -> str:
    """The plan's line about the policy."""
    return next(line.strip() for line in done.text.splitlines() if STEP in line)


def test_where_nobody_has_set_one_it_is_planned_applied_and_then_silent(
    tailnet: Home, server: Tailscale
) -> None:
    assert step(tailnet.dry().went_well()).startswith("+")
    assert (server.policy, writes(server)) == (START, [])
    tailnet.deploy().went_well()
    assert server.policy == WANTED
    server.asked.clear()
    assert "--> 0 changes made" in tailnet.deploy().went_well().text
    assert writes(server) == []


def test_a_file_that_was_changed_since_is_applied(tailnet: Home, server: Tailscale) -> None:
    tailnet.deploy().went_well()
    server.policy = START  # as if this had been the file
    memory = tailnet.place / "state" / MEMORY
    (place,) = json.loads(memory.read_text())
    memory.write_text(json.dumps({place: {"sent": digest(START), "etag": server.etag}}))
    tailnet.deploy().went_well()
    assert server.policy == WANTED


def test_a_policy_of_others_stays_and_is_named(tailnet: Home, server: Tailscale) -> None:
    tailnet.deploy().went_well()
    server.policy = OTHERS
    assert "changed elsewhere since it was applied" in tailnet.dry().went_well().text
    told = json.loads(tailnet.dry("--json").went_well().out)
    assert "stays as it is" in told["unknown"]["pve"][0]
    assert "--> 0 changes made" in tailnet.deploy().went_well().text
    assert server.policy == OTHERS


def test_one_that_nobody_here_knows_stays_too(tailnet: Home, server: Tailscale) -> None:
    server.policy = OTHERS
    assert "not one that was applied from here" in tailnet.dry().went_well().text
    tailnet.deploy().went_well()
    assert server.policy == OTHERS


def test_one_that_the_server_refuses_is_an_error_and_the_next_run_goes_on(
    tailnet: Home, server: Tailscale
) -> None:
    server.faults.append(Fault("POST .*/acl", 400, times=9))
    tailnet.deploy().refused("policy")
    assert (server.policy, tailnet.status(135)) == (START, "running")
    server.faults.clear()
    tailnet.deploy().went_well()
    assert server.policy == WANTED


def test_a_run_without_the_node_leaves_it_alone(tailnet: Home, server: Tailscale) -> None:
    tailnet.deploy("--limit", "comms").went_well()
    assert server.asked == []


def test_a_server_that_does_not_answer_is_named_and_it_is_planned(tailnet: Home, server: Tailscale) -> None:
    tailnet.env["TAILSCALE_BASE_URL"] = "http://127.0.0.1:9"
    done = tailnet.dry().went_well()
    assert step(done).startswith("+")
    assert "how the tailnet's policy stands is not known" in done.text
    tailnet.deploy().refused("127.0.0.1:9")


def test_without_a_credential_nobody_is_asked(tailnet: Home, server: Tailscale) -> None:
    del tailnet.env["TAILSCALE_API_KEY"]
    assert "--> 0 changes made" not in tailnet.deploy().went_well().text
    assert "--> 0 changes made" in tailnet.deploy().went_well().text
    assert server.asked == []
