"""The policy file and the policy there: what differs, what is applied, and what is never overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest
from headscale_kit import Headscale
from tailnet_stand_in import START, Tailscale

from hearth.errors import HearthError
from hearth.tailnet import Api, Policy, PolicyChangedError, PolicyRefusedError, policy
from hearth.tailnet.policy import Applied, State, digest

PROJECT = Path(__file__).parents[3]
MINE = '{\n  // Mine.\n  "acls": [],\n}\n'
MINE_OTHERWISE = '{"acls": [], /* said otherwise */}'
THEIRS = '{"acls": [{"action": "accept", "src": ["*"], "dst": ["192.168.1.134:22"]}]}'
ALL = '{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}'


@pytest.mark.parametrize(
    ("there", "applied", "state"),
    [
        (Policy(MINE, "1"), None, State.SAME),
        (Policy(MINE, "2"), Applied(digest(ALL), "1"), State.SAME),
        (Policy("{         }", "1"), Applied(digest(MINE), "1"), State.SAME),
        (Policy(MINE_OTHERWISE, "1"), None, State.SAME_RULES),
        (Policy(MINE_OTHERWISE, "2"), Applied(digest(THEIRS), "1"), State.SAME_RULES),
        (Policy(MINE_OTHERWISE, "1"), Applied(digest(MINE_OTHERWISE), "1"), State.FILE_NEWER),
        (Policy(THEIRS, "1"), Applied(digest(THEIRS), "1"), State.FILE_NEWER),
        (Policy(THEIRS, "2"), Applied(digest(MINE), "1"), State.ELSEWHERE),
        (Policy(ALL, "2"), Applied(digest(MINE), "1"), State.ELSEWHERE),
        (Policy(THEIRS, "1"), None, State.UNKNOWN),
        (Policy("{", "1"), None, State.UNKNOWN),
        (Policy(THEIRS, '"ts-default"'), None, State.UNTOUCHED),
        (Policy("", "1"), None, State.UNTOUCHED),
        (Policy(ALL, "1"), None, State.UNTOUCHED),
    ],
    ids=[
        "the file's text",
        "the file's text, applied from another machine",
        "as the server keeps what was sent",
        "other comments",
        "other comments, changed elsewhere",
        "comments changed in the file",
        "rules changed in the file",
        "changed elsewhere",
        "opened elsewhere",
        "never ours",
        "no HuJSON",
        "Tailscale's first",
        "none",
        "headscale's first",
    ],
)
def test_how_the_file_stands_to_the_policy_there(
    there: Policy, applied: Applied | None, state: State
) -> None:
    assert policy.compare(MINE, there, applied) is state


@pytest.fixture
def memory(tmp_path: Path) -> policy.Memory:
    """A memory that is empty yet."""
    return policy.Memory(tmp_path / "state" / "memory.json", "https://here -")


def test_applied_once_then_left(api: Api, tailscale: Tailscale, memory: policy.Memory) -> None:
    assert policy.apply(api, MINE, memory) is State.UNTOUCHED
    assert tailscale.policy == MINE
    before = len(tailscale.asked)
    assert policy.apply(api, MINE, memory) is State.SAME
    assert {asked.method for asked in tailscale.asked[before:]} == {"GET"}


def test_it_is_judged_before_it_is_sent(api: Api, tailscale: Tailscale, memory: policy.Memory) -> None:
    failing = MINE.replace('"acls": []', '"acls": [], "tests": [{"src": "tag:x", "accept": ["10.0.0.1:22"]}]')
    with pytest.raises(PolicyRefusedError, match=r"10\.0\.0\.1:22"):
        policy.apply(api, failing, memory)
    assert tailscale.policy == START
    assert "POST /api/v2/tailnet/-/acl" not in tailscale.lines
    assert memory.applied() is None


def test_a_change_of_the_file_is_applied(api: Api, tailscale: Tailscale, memory: policy.Memory) -> None:
    policy.apply(api, MINE, memory)
    other = MINE.replace("Mine", "Still mine")
    assert policy.apply(api, other, memory) is State.FILE_NEWER
    assert tailscale.policy == other


def test_a_policy_changed_elsewhere_stays(api: Api, tailscale: Tailscale, memory: policy.Memory) -> None:
    policy.apply(api, MINE, memory)
    tailscale.policy = THEIRS
    with pytest.raises(PolicyChangedError, match="changed elsewhere") as refused:
        policy.apply(api, MINE.replace("Mine", "Still mine"), memory)
    assert tailscale.policy == THEIRS
    assert policy.seen(tailscale.etag) in refused.value.remedy


def test_one_that_was_never_ours_stays(api: Api, tailscale: Tailscale, memory: policy.Memory) -> None:
    tailscale.policy = THEIRS
    with pytest.raises(PolicyChangedError):
        policy.apply(api, MINE, memory)
    assert tailscale.policy == THEIRS


def test_it_is_overwritten_by_who_saw_this_very_one(
    api: Api, tailscale: Tailscale, memory: policy.Memory
) -> None:
    tailscale.policy = THEIRS
    over = policy.seen(tailscale.etag)
    tailscale.policy = THEIRS.replace("22", "23")
    with pytest.raises(PolicyChangedError):
        policy.apply(api, MINE, memory, over)
    policy.apply(api, MINE, memory, policy.seen(tailscale.etag))
    assert tailscale.policy == MINE


def test_a_change_between_reading_and_writing_stays(
    api: Api, tailscale: Tailscale, memory: policy.Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(text: str) -> None:
        tailscale.policy = THEIRS

    monkeypatch.setattr(api, "validate", meanwhile)
    with pytest.raises(PolicyChangedError) as refused:
        policy.apply(api, MINE, memory)
    assert (refused.value.status, tailscale.policy, memory.applied()) == (412, THEIRS, None)


def test_what_was_applied_is_remembered_for_each_server(tmp_path: Path) -> None:
    file = tmp_path / "state" / "memory.json"
    here, there = policy.Memory(file, "https://here -"), policy.Memory(file, "https://there -")
    here.remember(MINE, '"1"')
    there.remember(THEIRS, '"2"')
    assert policy.Memory(file, "https://here -").applied() == Applied(digest(MINE), '"1"')
    file.write_text("{")
    assert here.applied() is None


def test_files_that_are_no_policy(tmp_path: Path) -> None:
    file = tmp_path / "policy.hujson"
    with pytest.raises(HearthError, match="no such file"):
        policy.load(file)
    file.write_text('{\n  "acls": [\n')
    with pytest.raises(HearthError, match="line 3"):
        policy.load(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(HearthError):
        policy.load(file)


# ------------------------------------------------------------------ on a real headscale


def test_headscale_keeps_what_was_changed_elsewhere(
    real: Api, headscale: Headscale, memory: policy.Memory
) -> None:
    first = real.policy()
    mine = first.text.replace('"*:*"', '"tag:hearth:22"')
    with pytest.raises(PolicyChangedError):
        policy.apply(real, mine, memory)
    policy.apply(real, mine, memory, policy.seen(first.etag))
    assert policy.apply(real, mine, memory) is State.SAME
    theirs = mine.replace(":22", ":23")
    headscale.ask("PUT", "/api/v1/policy", json={"policy": theirs})
    with pytest.raises(PolicyChangedError):
        policy.apply(real, mine.replace("The home", "Our home"), memory)
    assert policy.rules_of(real.policy().text) == policy.rules_of(theirs)


def test_headscale_takes_the_policy_that_hearth_comes_with(
    real: Api, headscale: Headscale, memory: policy.Memory
) -> None:
    headscale.add("comms")
    text = policy.load(PROJECT / policy.FILE)
    policy.apply(real, text, memory, policy.seen(real.policy().etag))
    assert policy.rules_of(real.policy().text) == policy.rules_of(text)
    broken = text.replace('["autogroup:member"]', '["tag:hearth"]')
    with pytest.raises(PolicyRefusedError, match="tag:hearth"):
        policy.apply(real, broken, memory)
