"""The hub and the automations as roles: what their files say, who may read them, and what a change takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ops_kit import Absent, preparing
from role_kit import FakeRun, fleet, group_data, guest

from hearth.application.deploy import Application, Files
from hearth.errors import HearthError
from hearth.ops.files import File
from hearth.role.here import Here
from hearth.secrets import MissingSecretError

ASSISTANT_TOKEN = "home-assistant/token/{}-comms"
APPLICATIONS = ["mcp_hub", "ai_automation"]


def a_run(assistant: bool = True, *roles: str) -> FakeRun:
    """The applications on comms; Home Assistant elsewhere, or nowhere."""
    guests = [guest("comms", 135, "mosquitto", "mcp_hub", "ai_automation", *roles)]
    if assistant:
        guests.append(guest("house", 134, "home_assistant"))
    return FakeRun(fleet(*guests))


def with_tokens(run: FakeRun) -> FakeRun:
    for role in ("mcp-hub", "ai-automation"):
        run.secrets.put(ASSISTANT_TOKEN.format(role), f"canary-{role}")
    return run


def hub(run: FakeRun, **data: Any) -> tuple[Application, Files]:
    here = run.here("comms", "mcp_hub", **data)
    from roles.mcp_hub import hub_files

    application = Application(here, "the MCP hub", "node")
    return application, hub_files(application)


def automations(run: FakeRun, **data: Any) -> tuple[Application, Files, tuple[File, ...]]:
    here = run.here("comms", "ai_automation", **data)
    from roles.ai_automation import automation_files, rule_files

    application = Application(here, "AI automation", "python")
    rules = rule_files(application)
    return application, automation_files(application, rules), rules


def test_the_hub_knows_home_assistant_the_broker_and_its_clients() -> None:
    run = a_run()
    config = json.loads(hub(run)[1].config.text)
    assert config["listen"] == {"host": "127.0.0.1", "port": 13000}
    assert config["servers"]["home_assistant"]["url"] == "https://house:8123/api/mcp"
    assert (config["mqtt"]["url"], config["mqtt"]["username"]) == ("mqtts://comms:8883", "mcp-hub-comms")
    assert config["clients"]["ai-automation-comms"]["scopes"] == ["read", "call", "publish"]
    assert "call" not in config["clients"]["hearth-verify"]["scopes"], "a check does nothing to the home"


def test_without_home_assistant_the_hub_and_the_automations_run_with_what_there_is() -> None:
    run = a_run(assistant=False)
    _, files = hub(run)
    assert json.loads(files.config.text)["servers"] == {}
    secrets = json.loads(files.reloaded[0].text)
    assert secrets["servers"] == {}
    assert secrets["mqtt"]["password"]
    config = yaml.safe_load(automations(run)[1].config.text)
    assert "home_assistant" not in config
    assert config["mcp_hub"]["url"] == "https://comms:3000"


def test_secrets_are_in_their_own_file_for_the_service_alone_and_nowhere_else() -> None:
    run = with_tokens(a_run())
    _, files = hub(run)
    _, ai_files, _ = automations(run)
    for given, user in ((files, "mcp-hub"), (ai_files, "ai-automation")):
        for file in given.all:
            assert (file.user, file.group, file.mode) == (user, user, "600")
        (secret,) = [file for file in given.all if Path(file.path).name.startswith("secrets.")]
        assert f"canary-{user}" in secret.text
        assert secret.secret
        others = "".join(file.text for file in given.all if file is not secret)
        for name in run.secrets.names():
            assert run.secrets.get(name).reveal() not in others or name.startswith("ca/"), name


def test_the_automations_token_at_the_hub_is_the_one_that_the_hub_knows() -> None:
    run = with_tokens(a_run())
    import hashlib

    token = json.loads(automations(run)[1].restarted[0].text)["mcp_hub_token"]
    known = json.loads(hub(run)[1].config.text)["clients"]["ai-automation-comms"]["tokenSha256"]
    assert hashlib.sha256(token.encode()).hexdigest() == known


def test_a_token_of_home_assistant_that_comes_later_is_waited_for() -> None:
    run = a_run()
    secret = hub(run)[1].reloaded[0]
    with pytest.raises(MissingSecretError):
        secret.text  # noqa: B018 - it is made when it is asked for
    with_tokens(run)
    assert json.loads(secret.text)["servers"] == {"home_assistant": {"token": "canary-mcp-hub"}}


def unit(given: tuple[Application, Files]) -> str:
    application, files = given
    return application._unit_file(files).text


@pytest.mark.parametrize(
    ("data", "restarts"),
    [
        ({"mcp_hub_log_level": "debug"}, False),
        ({"mcp_hub_clients": {"tablet": {"scopes": ["read"]}}}, False),
        ({"mcp_hub_limits": {"eventsKept": 7}}, True),
        ({"mcp_hub_servers": {"x": {"type": "http", "url": "https://x"}}}, True),
        ({"mcp_hub_memory": "100M"}, True),
        ({"mcp_hub_environment": {"DEBUG": "100%"}}, True),
    ],
)
def test_the_hub_is_restarted_only_for_what_it_cannot_reload(data: dict[str, Any], restarts: bool) -> None:
    run = a_run()
    assert (unit(hub(run)) != unit(hub(run, **data))) is restarts


def test_a_percent_sign_in_the_environment_is_no_specifier() -> None:
    assert 'Environment="DEBUG=100%%"' in unit(hub(a_run(), mcp_hub_environment={"DEBUG": "100%"}))


def test_further_servers_keep_their_secrets_out_of_the_configuration() -> None:
    run = with_tokens(a_run())
    run.secrets.put("mcp-hub/server/garden", "canary-garden")
    run.secrets.put("mcp-hub/server/key", "canary-key")
    servers = {
        "garden": {"type": "http", "url": "https://garden/mcp", "secret": "mcp-hub/server/garden"},
        "files": {"type": "stdio", "command": "/f", "secret_env": {"KEY": "mcp-hub/server/key"}},
    }
    _, files = hub(run, mcp_hub_servers=servers)
    assert json.loads(files.config.text)["servers"]["files"] == {"type": "stdio", "command": "/f"}
    found = json.loads(files.reloaded[0].text)["servers"]
    assert (found["garden"], found["files"]) == ({"token": "canary-garden"}, {"env": {"KEY": "canary-key"}})


ODD = 'It\'s "hot": {{ trigger.data.to }} °, <b>&\n# no comment'
ALARM = {
    "turn_on": ["switch.fan"],
    "tool": "home_assistant/intent__HassTurnOn",
    "arguments": {"name": "Shade: 'x'", "domain": ["cover"]},
    "notify": "mobile_app_phone",
    "title": "no",
    "message": ODD,
}


def test_an_alarm_becomes_a_rule_that_acts_twice_and_tells_a_phone() -> None:
    _, _, rules = automations(a_run(), ai_automation_alarms={"too_warm": ALARM, "small": {"notify": "x"}})
    warm, small = yaml.safe_load(rules[0].text)["automations"]
    assert warm["id"] == "too_warm"
    assert warm["triggers"] == [{"rest": {}}]
    switched, tool, told = warm["actions"]
    assert switched["home_assistant"]["target"] == {"entity_id": "switch.fan"}
    wanted = {"server": "home_assistant", "tool": "intent__HassTurnOn", "arguments": ALARM["arguments"]}
    assert tool["mcp_hub"] == wanted
    assert told["notify"] == {"service": "mobile_app_phone", "title": "no", "message": ODD}
    assert [list(action) for action in small["actions"]] == [["notify"]]


def test_no_alarm_is_no_rule() -> None:
    assert yaml.safe_load(automations(a_run(), ai_automation_alarms={})[2][0].text) == {"automations": []}


def test_the_admins_rules_are_taken_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "b.yaml").write_text("automations: [] # {{ not ours }}\n")
    (folder / "notes.txt").write_text("x")
    (tmp_path / "a.yaml").write_text("automations: []\n")
    _, files, rules = automations(a_run(), ai_automation_rules=[str(folder), str(tmp_path / "a.yaml")])
    assert [Path(file.path).name for file in rules] == ["hearth.yaml", "b.yaml", "a.yaml"]
    assert rules[1].text == "automations: [] # {{ not ours }}\n"
    assert set(rules) < set(files.reloaded), "a list of them too: one that goes is a change"


MISTAKES = [
    ("mcp_hub", {"mcp_hub_command": "node {releas}/x"}, ["mcp_hub_command", "releas"]),
    ("mcp_hub", {"mcp_hub_command": "node {release"}, ["mcp_hub_command"]),
    ("mcp_hub", {"mcp_hub_command": None}, ["mcp_hub_command", "None"]),
    ("mcp_hub", {"mcp_hub_health": "health"}, ["mcp_hub_health", "/health"]),
    ("mcp_hub", {"mcp_hub_build": ""}, ["mcp_hub_build"]),
    ("mcp_hub", {"mcp_hub_source": {"path": "nowhere"}}, ["mcp_hub_source", "nowhere"]),
    ("mcp_hub", {"mcp_hub_servers": {"home_assistant": {"type": "http"}}}, ["there of itself"]),
    ("mcp_hub", {"mcp_hub_servers": {"x": {"url": "https://x"}}}, ["x has no type"]),
    ("mcp_hub", {"mcp_hub_clients": {"x": {"scopes": ["trigger"]}}}, ["mcp_hub_clients", "trigger"]),
    ("mcp_hub", {"mcp_hub_environment": {"A B": "x"}}, ["mcp_hub_environment"]),
    ("mcp_hub", {"mcp_hub_environment": {"A": 'x"\nExecStartPre=reboot'}}, ["mcp_hub_environment"]),
    ("mcp_hub", {"runtime_node": {"version": "24"}}, ["runtime_node of group_data/all.py"]),
    ("ai_automation", {"ai_automation_rules": "x"}, ["ai_automation_rules", "write a list"]),
    ("ai_automation", {"ai_automation_rules": ["none"]}, ["there is no", "none"]),
    ("ai_automation", {"ai_automation_alarms": {"x": {"say": 1}}}, ["ai_automation_alarms", "no key 'say'"]),
    ("ai_automation", {"ai_automation_alarms": {"x": {"title": "y"}}}, ["does nothing"]),
    ("ai_automation", {"ai_automation_alarms": {"x": {"turn_on": "light.x"}}}, ["turn_on", "a list"]),
    ("mcp_hub", {"mcp_hub_servers": {"x": {"type": "http", "secret": 7}}}, ["x: secret"]),
    ("ai_automation", {"ai_automation_alarms": {"x": {"tool": "y"}}}, ["tool is 'y'", "SERVER/TOOL"]),
    ("ai_automation", {"ai_automation_model": "gpt"}, ["ai_automation_model"]),
    ("ai_automation", {"ai_automation_python": ""}, ["ai_automation_python"]),
    ("ai_automation", {"runtime_uv": {"version": "1.2.3", "sha256": "x"}}, ["runtime_uv", "64 hex"]),
]


@pytest.mark.parametrize(("role", "data", "words"), MISTAKES)
def test_a_mistake_is_named_with_its_value_and_remedy_before_anything(
    role: str, data: dict[str, Any], words: list[str]
) -> None:
    """The deploy function raises while the plan is made: no guest has been asked for anything."""
    with pytest.raises(HearthError) as caught:
        planned(a_run(), role, **data)
    for word in (*words, "group_data/"):
        assert word in str(caught.value)
    assert caught.value.remedy


def planned(run: FakeRun, role: str, **data: Any) -> dict[str, bool]:
    """The names of a role's operations on an absent guest, and whether each would change something."""
    with preparing() as host:
        host.connector = Absent()
        host.data = group_data(**data)
        deployer = run.roles[role].deployer
        assert deployer
        deployer(Here(run, run.fleet.guest("comms"), host, run.roles[role]))
        operations = host.state.ops[host]
        return {
            next(iter(host.state.get_op_meta(key).names)): bool(data.operation_meta.will_change)
            for key, data in operations.items()
        }


@pytest.mark.parametrize("role", APPLICATIONS)
def test_an_absent_guest_gets_a_whole_plan(role: str) -> None:
    found = planned(a_run(), role)
    assert all(found.values())
    assert {name.split()[0] for name in found} >= {
        "Create",
        "Install",
        "Build",
        "Configure",
        "Confine",
        "Run",
    }


def test_git_is_installed_only_where_it_is_needed() -> None:
    source = {"git": "https://git.example/hub.git", "rev": "v1"}
    assert "Install what brings the MCP hub" in planned(a_run(), "mcp_hub", mcp_hub_source=source)
    assert "Install what brings the MCP hub" not in planned(a_run(), "mcp_hub")
