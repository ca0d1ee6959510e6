"""Home Assistant's files from fleet and group_data, what is refused, and the programs that judge it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml
from role_kit import PROJECT, FakeRun, fleet, guest

from hearth.errors import HearthError
from hearth.role.declaration import Need, Port, Role
from hearth.role.tokens import ha_clients

HOME = guest("ha", 134, "home_assistant")
BROKER = guest("comms", 135, "mosquitto")
DATABASE = guest("database", 136, "postgresql")
APPLIANCE = guest("haos", 133, appliance=True).model_copy(update={"roles": ()})
SET = {"name": "Home", "username": "home", "language": "en"}


def program(name: str) -> ModuleType:
    """One of the programs that a guest is given."""
    spec = importlib.util.spec_from_file_location(
        f"ha_{name}", PROJECT / f"templates/home_assistant/{name}.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CHECK, HEALTH = program("check"), program("health")


class Tagged(yaml.SafeLoader):
    """Reads `!include` and `!secret` as texts."""


for tag in ("!include", "!secret"):
    Tagged.add_constructor(tag, lambda loader, node: f"{node.tag} {loader.construct_scalar(node)}")


def rendered(*guests: Any, **data: Any) -> dict[str, Any]:
    """Path below the configuration's folder -> content, read."""
    run = FakeRun(fleet(HOME, *guests))
    here = run.here("ha", "home_assistant", **data)
    module = sys.modules["roles.home_assistant.configuration"]
    found = module.configuration(here, "homeassistant")
    files = {
        file.path.removeprefix("/var/lib/home-assistant/"): file for file in (*found.restarted, found.levels)
    }
    assert all((file.user, file.mode) == ("homeassistant", "600") for file in files.values())
    assert files["hearth/secrets.yaml"].secret
    return {path: yaml.load(file.text, Tagged) for path, file in files.items()}


def test_what_the_web_interface_edits_is_included_and_never_ours() -> None:
    found = rendered(home_assistant_configuration={"sun": {}, "history": {}})
    main = found["configuration.yaml"]
    assert main["automation"] == "!include automations.yaml"
    assert {"sun", "history", "recorder", "logger", "script", "scene"} <= set(main)
    assert "http" not in main, "it would be taken back after five minutes"
    assert not {"automations.yaml", "scripts.yaml", "scenes.yaml"} & set(found)


def test_the_recorder_writes_to_the_fleets_database_whose_password_is_a_secret() -> None:
    found = rendered(DATABASE, home_assistant_history_days=7)
    assert found["hearth/recorder.yaml"] == {"db_url": "!secret hearth_recorder", "purge_keep_days": 7}
    url = found["hearth/secrets.yaml"]["hearth_recorder"]
    assert url.startswith("postgresql://home_assistant:")
    assert "verify-full" in url and "192.168.1.136" in url


def test_without_a_database_it_keeps_its_own() -> None:
    found = rendered()
    assert found["hearth/recorder.yaml"] == {"purge_keep_days": 10}
    assert found["hearth/secrets.yaml"] is None


def test_levels_stand_in_a_file_of_their_own() -> None:
    found = rendered(home_assistant_log_level="info", home_assistant_log_levels={"a.b": "debug"})
    assert found["hearth/logger.yaml"] == {"default": "info", "logs": {"a.b": "debug"}}


def test_packages_of_the_admins_own_are_rendered_and_included(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text('x: "{{ here.guest.name }} {% raw %}{{ now() }}{% endraw %}"\n')
    found = rendered(home_assistant_packages={"mine": str(tmp_path / "mine.yaml")})
    packages = found["configuration.yaml"]["homeassistant"]["packages"]
    assert packages == {"mine": "!include hearth/packages/mine.yaml"}
    assert found["hearth/packages/mine.yaml"] == {"x": "ha {{ now() }}"}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("mine", None, "No such file"),
        ("mine", "{{ oops }}", "undefined"),
        ("mine", "\n{{ oops", "mine.yaml:2"),
        ("hearth_x", "", "name"),
        ("../x", "", "name"),
    ],
)
def test_a_package_that_cannot_be_read_is_refused(
    tmp_path: Path, name: str, text: str | None, words: str
) -> None:
    if text is not None:
        (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(HearthError, match=words):
        rendered(home_assistant_packages={name: str(tmp_path / "mine.yaml")})


AI = guest("apps", 145, "ai_automation")


def test_ai_automation_is_told_of_events_with_a_token_of_our_own() -> None:
    event = {"triggers": [{"trigger": "state", "entity_id": "a.b", "to": "on"}], "automation": "evening"}
    found = rendered(AI, home_assistant_events={"hall": event})
    package = found["hearth/packages/hearth_ai_automation.yaml"]
    command = package["rest_command"]["ai_automation"]
    assert command["url"] == "https://192.168.1.145:5000/api/automations/{{ automation }}/trigger"
    assert command["headers"]["authorization"] == "!secret hearth_ai_automation"
    assert found["hearth/secrets.yaml"]["hearth_ai_automation"].startswith("Bearer ")
    (automation,) = package["automation"]
    assert automation["id"] == "hearth_hall"
    assert automation["triggers"] == event["triggers"]
    assert automation["actions"][0]["data"]["automation"] == "evening"


@pytest.mark.parametrize("event", [{}, {"triggers": []}, {"automation": "x"}, "x"])
def test_an_event_that_lacks_something_is_refused(event: Any) -> None:
    with pytest.raises(HearthError, match="triggers"):
        rendered(AI, home_assistant_events={"hall": event})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"home_assistant_log_level": "loud"}, "no level"),
        ({"home_assistant_log_levels": {"a": "loud"}}, "no level"),
        ({"home_assistant_configuration": {"http": {}}}, "HAProxy"),
        ({"home_assistant_configuration": {"automation ui": []}}, "automations.yaml"),
        ({"home_assistant_configuration": ["sun"]}, "no mapping"),
        ({"home_assistant_recorder": {"db_url": "x"}}, "postgresql"),
        ({"home_assistant_history_days": 0}, "whole number"),
    ],
)
def test_what_cannot_be_meant_is_refused(data: dict[str, Any], words: str) -> None:
    with pytest.raises(HearthError, match=words):
        rendered(**data)


@pytest.mark.parametrize(
    ("owner", "words"),
    [
        ({**SET, "username": "Home"}, "lower case"),
        ({**SET, "username": " home"}, "lower case"),
        ({**SET, "username": ""}, "lower case"),
        ({"name": "Home", "language": "en"}, "username"),
        ("home", "home_assistant_owner"),
    ],
)
def test_an_owner_that_home_assistant_would_refuse_is_refused_before(owner: Any, words: str) -> None:
    here = FakeRun(fleet(HOME)).here("ha", "home_assistant", home_assistant_owner=owner)
    with pytest.raises(HearthError, match=words):
        sys.modules["roles.home_assistant.inside"].owner(here)


def test_the_broker_is_reached_with_tls_and_a_user_of_its_own() -> None:
    run = FakeRun(fleet(HOME, BROKER))
    (entry,) = sys.modules["roles.home_assistant.inside"].mqtt(run.here("ha", "home_assistant"))
    (answers,) = entry.answers
    assert (answers["broker"], answers["port"], answers["username"]) == (
        "192.168.1.135",
        8883,
        "home-assistant-ha",
    )
    assert answers["password"] == run.secrets.get("mqtt/home-assistant-ha").reveal()
    assert answers["other_settings"]["tls_insecure"] is False
    assert entry.upload.content == run.authority.ca_pem
    assert answers["password"] not in repr(entry)


@pytest.mark.parametrize(("install", "agent"), [("core", "backup.local"), ("haos", "hassio.local")])
def test_settings_follow_from_fleet_and_group_data(install: str, agent: str) -> None:
    door = guest("door", 120, "front_door")
    run = FakeRun(fleet(HOME, door, timezone="Europe/Amsterdam"))
    here = run.here("ha", "home_assistant", home_assistant_install=install)
    found = sys.modules["roles.home_assistant.inside"].settings(here)
    assert found.core["time_zone"] == "Europe/Amsterdam"
    assert found.core["internal_url"] == "https://192.168.1.120:8123"
    assert "latitude" not in found.core, "what is not set is left as it is"
    assert not any(found.analytics.values())
    assert found.backup["create_backup"]["agent_ids"] == [agent]
    assert found.backup["create_backup"]["password"] not in repr(found)


def test_a_second_home_assistant_is_refused() -> None:
    run = FakeRun(fleet(HOME, guest("other", 144, "home_assistant")))
    with pytest.raises(HearthError, match="one guest"):
        run.roles["home_assistant"].deployer(run.here("ha", "home_assistant"))


# -------------------------------------------------------------------- the appliance


@pytest.mark.parametrize(
    ("name", "there", "words"),
    [
        ("haos", (APPLIANCE,), ""),
        ("haos", (), "the fleet's appliances are: none"),
        ("comms", (BROKER,), "appliance: true"),
        ("haos", (APPLIANCE.model_copy(update={"address": "dhcp"}),), "no fixed address"),
        ("", (APPLIANCE,), "the fleet's appliances are: haos"),
    ],
)
def test_the_appliance_is_found_or_it_is_said_why_not(name: str, there: tuple[Any, ...], words: str) -> None:
    here = FakeRun(fleet(HOME, *there)).here("ha", "home_assistant", home_assistant_appliance=name)
    module = sys.modules["roles.home_assistant.haos"]
    if not words:
        assert module.appliance(here).address == IPv4Address("192.168.1.133")
        return
    with pytest.raises(HearthError, match=words):
        module.appliance(here)


def test_the_appliance_believes_the_guest_before_it_and_listens_as_it_likes() -> None:
    FakeRun(fleet(HOME))
    web = sys.modules["roles.home_assistant.configuration"].web_server(18123, 10, ("127.0.0.1/32",))
    told = sys.modules["roles.home_assistant.haos"].told(web, HOME)
    assert told["trusted_proxies"] == ["192.168.1.134/32"]
    assert not {"server_host", "server_port"} & set(told)


# ------------------------------------------------------------------------- clients


def test_every_role_that_needs_the_api_is_a_client_on_each_of_its_guests() -> None:
    needing = Role(needs=(Need("home_assistant", "web"),))
    roles = {"mcp_hub": needing, "other": Role(provides=(Port("x", 1),)), "home_assistant": Role()}
    found = ha_clients(
        fleet(HOME, guest("a", 1, "mcp_hub", "other"), guest("b", 2, "mcp_hub")), roles, ["kiosk"]
    )
    assert found == ("hearth", "hearth-verify", "mcp-hub-a", "mcp-hub-b", "kiosk")


@pytest.mark.parametrize("name", ["Kiosk", "a b", "", "-a", "a/b", "hearth", "hearth-verify"])
def test_a_client_by_a_name_that_is_none_or_taken_is_refused(name: str) -> None:
    with pytest.raises(HearthError, match="name"):
        ha_clients(fleet(HOME), {}, [name])


# --------------------------------------------------------------- what is installed


@pytest.fixture
def components(tmp_path: Path) -> Path:
    """A release's components."""
    manifests: dict[str, dict[str, Any]] = {
        "a": {"requirements": ["pa==1"], "dependencies": ["b"], "after_dependencies": ["c"], "mqtt": ["x"]},
        "b": {"requirements": ["pb==1"], "dependencies": ["a"]},
        "c": {"requirements": ["pc==1"], "after_dependencies": ["gone"]},
        "mqtt": {"requirements": ["paho==2"]},
        "kind": {"integration_type": "entity", "requirements": ["pk==1"]},
        "alone": {"requirements": ["pz==1"]},
    }
    for name, manifest in manifests.items():
        folder = tmp_path / "homeassistant/components" / name
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path / "homeassistant/components"


def test_requirements_follow_dependencies_and_discovery(components: Path) -> None:
    FakeRun(fleet(HOME))
    module = _requirements_of()
    assert module.requirements_of(["a"], components) == ["pa==1", "paho==2", "pb==1", "pc==1"]
    with pytest.raises(SystemExit, match="nosuch"):
        module.requirements_of(["a", "nosuch"], components)


def test_the_program_prints_what_every_start_needs_too(components: Path) -> None:
    home = components.parent
    (home / "__init__.py").write_text("raise SystemExit('nothing of the release is run')\n")
    (home / "scripts").mkdir()
    (home / "scripts/check_config.py").write_text('REQUIREMENTS = ("colorlog==1",)\n')
    (home / "bootstrap.py").write_text(
        'CORE_INTEGRATIONS = {"b"}\nDEFAULT_INTEGRATIONS = {*(KINDS - {"c"})}\n'
        'DEFAULT_INTEGRATIONS_RECOVERY_MODE = {"c"}\n'
    )
    argv = [sys.executable, str(PROJECT / "roles/home_assistant/requirements_of.py"), "mqtt"]
    done = subprocess.run(
        argv, env={"PYTHONPATH": str(home.parent)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["pa==1", "paho==2", "pb==1", "pc==1", "pk==1", "colorlog==1"]


def _requirements_of() -> ModuleType:
    path = PROJECT / "roles/home_assistant/requirements_of.py"
    spec = importlib.util.spec_from_file_location("requirements_of", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ------------------------------------------------------------------- the judgement


def report(errors: Any = (), warnings: Any = ()) -> str:
    """check_config's JSON."""
    return json.dumps({"errors": dict(errors), "warnings": dict(warnings), "components": []}, indent=2)


@pytest.mark.parametrize(
    ("code", "out", "err", "said"),
    [
        (0, report(), "", ""),
        (0, f"WARNING:homeassistant.x:old\n{report()}", "", ""),
        (1, report(errors={"homeassistant": ["bad YAML", {"password": "p"}]}), "", "bad YAML"),
        (0, report(warnings={"x": ["Integration error: nosuch"]}), "", "nosuch"),
        (0, f"ERROR:homeassistant.components.automation:failed\n{report()}", "", "automation:failed"),
        (0, report(), "WARNING:annotatedyaml.loader:contains duplicate key", "duplicate"),
        (1, report(), "", "ended with 1"),
        (1, "\x1b[31mFatal error while loading config:\x1b[0m boom", "Traceback\npassword", "boom"),
        (1, "", "something else", "something else"),
        (0, "", "", "exit code 0"),
    ],
)
def test_check_configs_output_is_read_and_not_its_exit_code_alone(
    code: int, out: str, err: str, said: str
) -> None:
    found = CHECK.trouble(code, out, err)
    assert bool(found) == bool(said)
    assert said in "\n".join(found)
    assert "password" not in "\n".join(found), "the configuration itself is not shown"


@pytest.mark.parametrize("case", [("", "", 0), ("a", "", 1), ("a", "a", 0), ("ab", "a", 1)])
def test_what_was_wrong_before_does_not_count(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    case: tuple[str, str, int],
) -> None:
    new, now, code = case
    for name in ("new", "now"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "configuration.yaml").touch()
    monkeypatch.setattr(CHECK, "checked", lambda folder: list(new if folder.name == "new" else now))
    assert CHECK.main(tmp_path / "new", tmp_path / "now") == code
    assert capsys.readouterr().err.split() == [line for line in new if line not in now]


def test_secrets_are_not_said() -> None:
    hidden = {"a": "postgresql://u:p'w@/db", "b": "Bearer tok"}
    text = CHECK.without(f"got {hidden['a']!r} and tok, {json.dumps(hidden['a'])}", hidden)
    assert "p'w" not in text and "tok" not in text


GOOD = {"state": "RUNNING", "recovery_mode": False, "components": ["sun", "sensor.sun"]}


@pytest.mark.parametrize(
    ("config", "entries", "states", "said"),
    [
        ({}, [], [], ""),
        ({"recovery_mode": True}, [], [], "recovery mode"),
        ({"state": "NOT_RUNNING"}, [], [], "NOT_RUNNING"),
        ({"components": []}, [], [], "not set up: sun"),
        ({}, [{"domain": "hue", "state": "setup_error"}], [], "hue"),
        ({}, [{"domain": "hue", "state": "setup_retry"}], [], ""),
        ({}, [], [("automation.a", "hearth_a", "unavailable")], "automation.a"),
        ({}, [], [("automation.a", "hearth_a", "on")], ""),
        ({}, [], [("automation.a", "theirs", "unavailable")], ""),
    ],
)
def test_health(config: Any, entries: Any, states: Any, said: str) -> None:
    rows = [{"entity_id": name, "attributes": {"id": ident}, "state": state} for name, ident, state in states]
    found = HEALTH.troubles({**GOOD, **config}, entries, rows, ["sun"])
    assert bool(found) == bool(said)
    assert said in "; ".join(found)


def test_the_check_lays_candidates_over_a_copy_and_leaves_the_original_alone(tmp_path: Path) -> None:
    config, stage = tmp_path / "config", tmp_path / "stage"
    live = config.joinpath
    live("hearth").mkdir(parents=True)
    live("configuration.yaml").write_text("old")
    live("automations.yaml").write_text("theirs")
    live("home-assistant_v2.db").write_text("large")
    candidate = Path(f"{stage}{config}/configuration.yaml")
    candidate.parent.mkdir(parents=True)
    candidate.write_text("new")
    judge = tmp_path / "judge"
    judge.write_text('cd "$1"; head *.yaml; ls -A; stat -c %a . ..; cat "$2/configuration.yaml"; exit 3\n')
    script = (PROJECT / "templates/home_assistant/check.sh").read_text()
    user = subprocess.check_output(["id", "-un"], text=True).strip()
    done = subprocess.run(
        ["sh", "-c", script, "check", str(stage), user, str(config), "sh", str(judge)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    for word in ("new", "theirs", "scripts.yaml", "700\n700\nold"):
        assert word in done.stdout
    assert "home-assistant_v2.db" not in done.stdout
    assert live("configuration.yaml").read_text() == "old"
    assert not live("scripts.yaml").exists()


def test_kinds_of_install_are_checked() -> None:
    run = FakeRun(fleet(HOME))
    here = run.here("ha", "home_assistant", home_assistant_install="docker")
    assert isinstance(here.host, SimpleNamespace)
    deployer = run.roles["home_assistant"].deployer
    assert deployer is not None
    with pytest.raises(HearthError, match="haos, container, core"):
        deployer(here)
