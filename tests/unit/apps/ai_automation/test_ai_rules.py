"""What a wrong file says, and that a right one is fine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ai_kit import LIGHT, SECRETS, SOURCE, Home, rule

RIGHT = """\
automations:
  - id: evening
    triggers:
      - at: {time: 17:30, weekdays: [mon, sun]}
      - every: {minutes: 5}
      - rest: {}
    conditions:
      - time: {after: "22:00", before: "06:00"}
      - template: "{{ trigger.data.on == 'on' }}"
    actions:
      - home_assistant: {service: light.turn_on, data: {effect: on, note: ~}}
"""


def mistakes(folder: Path, rules: str, **config: Any) -> list[tuple[int, str, str]]:
    """Line, field and words of every mistake of a rules file."""
    from ai_automation.config import load_config
    from ai_automation.mistakes import InvalidError
    from ai_automation.rulebook import load_rules

    base = {"rules": "rules.yaml", "state": "state", "home_assistant": {"url": "http://127.0.0.1:1"}}
    base["mqtt"] = {"host": "127.0.0.1"}
    base["clients"] = [{"name": "a", "token_sha256": "0" * 64, "scopes": ["read"]}]
    (folder / "config.yaml").write_text(yaml.safe_dump(base | config))
    (folder / "rules.yaml").write_text(rules)
    try:
        load_rules(load_config(folder / "config.yaml"))
    except InvalidError as error:
        return [(m.line, m.field, f"{m.wrong} ({m.right})") for m in error.mistakes]
    return []


def test_right_rules_are_fine(tmp_path: Path) -> None:
    assert mistakes(tmp_path, RIGHT) == []


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "words"),
    [
        ("id: evening", "id: Evening hour", 2, "id", "'Evening hour' is wrong (1 to 64 of a-z, 0-9, _)"),
        ("id: evening", "name: evening", 2, "id", "is missing"),
        ("    conditions", "    condition", 7, "condition", "did you mean conditions?"),
        ("17:30", "25:00", 4, "triggers.0.at.time", "write 07:30"),
        ("mon, sun", "monday", 4, "triggers.0.at.weekdays.0", "'monday' is wrong"),
        ("minutes: 5", "minutes: 0", 5, "triggers.1.every", "is no time at all"),
        ("minutes: 5", "minutes: five", 5, "triggers.1.every.minutes", "whole minutes"),
        ("rest: {}", "rest: {}\n        mqtt: {topic: x}", 6, "triggers.2", "is rest and mqtt"),
        ("rest: {}", "webhook: {}", 6, "triggers.2.webhook", "known are rest, mqtt, every, at"),
        ("rest: {}", 'mqtt: {topic: "a/#/b"}', 6, "triggers.2.mqtt.topic", "is not an MQTT topic filter"),
        ("rest: {}", 'mqtt: {topic: "#"}', 6, "triggers.2.mqtt.topic", "this service's own messages"),
        ("rest: {}", "mqtt: {topic: t, payload: [{field: a}]}", 6, "triggers.2.mqtt.payload.0", "compares with nothing"),  # noqa: E501
        ("light.turn_on", "turn_on", 11, "actions.0.home_assistant.service", "e.g. light.turn_on"),
        ("home_assistant:", "home_asistant:", 11, "actions.0.home_asistant", "did you mean home_assistant?"),
        ("effect: on", 'effect: "{{ 1 + }}"', 11, "actions.0.home_assistant.data.effect", "is not a template"),  # noqa: E501
        ("effect: on", 'effect: "{{ tigger }}"', 11, "actions.0.home_assistant.data.effect", "uses tigger"),
        ("effect: on", 'effect: "{{ 1|nonsense }}"', 11, "actions.0.home_assistant.data.effect", "nonsense"),
        ("effect: on", "effect: \"{{ ''.__class__ }}\"", 11, "actions.0.home_assistant.data.effect", "not allowed"),  # noqa: E501
        ("effect: on", "effect: \"{% include '/etc/passwd' %}\"", 11, "actions.0.home_assistant.data.effect", "another"),  # noqa: E501
        ("effect: on", "effect: &a on", 0, "", ""),
        ("{service: light.turn_on", "{service: light.turn_on, service: a.b", 11, "actions.0.home_assistant.service", "twice"),  # noqa: E501
        ("effect: on", "effect: *nobody", 11, None, "is not YAML"),
        ("effect: on", "effect: !!int x", 11, "actions.0.home_assistant.data.effect", "what its tag says"),
        ("effect: on", "effect: !!python/name:os.system x", 11, "actions.0.home_assistant.data.effect", "tag"),  # noqa: E501
        ("- template", "- tempalte", 9, "conditions.1.tempalte", "did you mean template?"),
        ("    actions", "    timeout: 2\n    actions", 0, "", ""),
        ("    actions", "    timeout: -2\n    actions", 10, "timeout", "-2 is wrong"),
        ("    actions", "    mode: parallel\n    actions", 10, "mode", "single, queued or restart"),
        (RIGHT[RIGHT.index("    actions") :], "    actions: []", 10, "actions", "a list of actions"),
        ("- home_assistant: {", "- wait: {seconds: 90}\n      - home_assistant: {", 2, "timeout", "before the waits"),  # noqa: E501
        ("- home_assistant: {", "- mcp_hub: {server: a, tool: b}\n      - home_assistant: {", 11, "actions.0.mcp_hub", "add mcp_hub"),  # noqa: E501
        ("- home_assistant: {", "- {}\n      - home_assistant: {", 11, "actions.0", "is none"),
        ("- home_assistant: {", '- mqtt: {topic: "a/#"}\n      - home_assistant: {', 11, "actions.0.mqtt.topic", "has a wildcard"),  # noqa: E501
        ("evening", "evening\n    " + "x" * 600000 + ": 1", None, None, "larger than 512 KiB"),
    ],
)  # fmt: skip
def test_each_mistake_is_named(  # noqa: PLR0917
    tmp_path: Path, old: str, new: str, line: int | None, field: str | None, words: str
) -> None:
    found = mistakes(tmp_path, RIGHT.replace(old, new, 1))
    if not words:
        assert found == []
        return
    wanted = f"automations.0.{field}" if field else field
    assert [
        m
        for m in found
        if words in m[2] and (line is None or m[0] == line) and (wanted is None or m[1] == wanted)
    ], found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("- a", "is missing or no list"),
        ("automations: {}", "is missing or no list"),
        ("automations: []\nrules: []", "is not a field here"),
        ("automations: [", "is not YAML"),
        ("automations: " + "[" * 2000 + "]" * 2000, ""),
        ("\0", "is not YAML"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, text: str, words: str) -> None:
    found = mistakes(tmp_path, text)
    assert len(found) == 1
    assert words in found[0][2]


def test_an_automation_must_not_set_itself_off(tmp_path: Path) -> None:
    loop = {**rule("loop", {"mqtt": {"topic": "a/b"}}), "triggers": [{"mqtt": {"topic": "a/+"}}]}
    (found,) = mistakes(tmp_path, yaml.safe_dump({"automations": [loop]}))
    assert "set off by its own action on a/b" in found[2]


def choice(**more: Any) -> dict[str, Any]:
    allowed = {"id": "lamp", "parameters": {"level": {"type": "integer"}}, **LIGHT}
    return {"choose": {"model": True, "prompt": "x", "allowed": [{**allowed, **more}]}}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"parameters": {"a": {"type": "whole"}}}, "is not a JSON schema"),
        ({"parameters": {"a": {"$ref": "http://127.0.0.1/x"}}}, "refers to another schema"),
        ({"optional": ["b"]}, "b is no parameter"),
        ({"id": None}, "id"),
        (choice(), "choose"),
        ({"home_assistant": {"service": "a.b", "data": {"x": "{{ argument.a }}"}}}, "uses argument,"),
    ],
)
def test_what_a_model_may_choose_is_checked(tmp_path: Path, more: dict[str, Any], words: str) -> None:
    model = {"enabled": True, "url": "http://127.0.0.1:1/v1", "model": "m"}
    assert mistakes(tmp_path, yaml.safe_dump({"automations": [rule("a", choice())]}), model=model) == []
    found = mistakes(tmp_path, yaml.safe_dump({"automations": [rule("a", choice(**more))]}), model=model)
    assert any(words in f"{field} {text}" for _, field, text in found), found


@pytest.mark.parametrize("model", [{}, {"model": {"url": "http://127.0.0.1:1/v1", "model": "m"}}])
def test_a_model_is_off_unless_it_is_switched_on(tmp_path: Path, model: dict[str, Any]) -> None:
    (found,) = mistakes(tmp_path, yaml.safe_dump({"automations": [rule("a", choice())]}), **model)
    assert "needs a model, which is off" in found[2]


def test_all_mistakes_of_all_files_at_once(home: Home) -> None:
    home.config["rules"] = "rules"
    home.write()
    (home.folder / "rules").mkdir()
    for name in ("a", "b"):
        text = yaml.safe_dump({"automations": [rule("same", {"wait": {"second": 1}}), rule("same", LIGHT)]})
        (home.folder / "rules" / f"{name}.yaml").write_text(text)
    home.folder.joinpath("secrets.yaml").chmod(0o640)
    code, said = home.check()
    assert code == 1
    assert "has mode 0640" in said
    assert said.count("is missing (seconds, above 0") == 2
    assert "same is there already, at" in said
    assert "a.yaml:" in said and "b.yaml:" in said
    assert "Traceback" not in said
    assert home.check_by_hand() == (code, said)


def test_check_is_fine_with_the_examples_and_without_secrets(home: Home) -> None:
    home.write(rule("a", LIGHT))
    home.folder.joinpath("secrets.yaml").unlink()
    code, said = home.check()
    assert (code, "1 automations" in said) == (0, True), said
    example = SOURCE / "example"
    for name in ("config.yaml", "rules.yaml"):
        (home.folder / name).write_text((example / name).read_text().replace("/etc/ssl/hearth/", ""))
    (home.folder / "ca.pem").touch()
    code, said = home.check()
    assert code == 0, said


@pytest.mark.parametrize(
    ("section", "value", "words"),
    [
        ("listen", {"host": "0.0.0.0"}, "is not loopback"),
        ("listen", {"port": 70000}, "a port, 1 to 65535"),
        ("clients", [], "at least one client"),
        ("clients", [{"name": "a", "token_sha256": "secret", "scopes": ["read"]}], "sha256sum"),
        ("clients", [{"name": "a", "token_sha256": "0" * 64, "scopes": ["admin"]}], "'admin' is wrong"),
        ("clients", [{"name": "a", "token_sha256": [], "scopes": ["read"]}], "sha256sum"),
        (
            "clients",
            [{"name": "a", "token_sha256": ["0" * 64, "0" * 64], "scopes": ["read"]}],
            "same token_sha256",
        ),
        (
            "clients",
            [{"name": n, "token_sha256": "0" * 64, "scopes": ["read"]} for n in "ab"],
            "same token_sha256",
        ),
        ("home_assistant", {"url": "homeassistant:8123"}, "is not a web address"),
        ("home_assistant", {"url": "http://user:pass@host"}, "secrets belong in the secrets file"),
        ("home_assistant", {"url": "https://h", "ca_file": "nowhere.pem"}, "there is no file"),
        ("timezone", "Europe/Atlantis", "is not a time zone"),
        ("secrets", None, "home_assistant_token, mcp_hub_token must come from it"),
        ("rules", "nowhere.yaml", "cannot be read"),
        ("colour", "red", "known are listen"),
    ],
)
def test_a_wrong_config_is_refused(home: Home, section: str, value: Any, words: str) -> None:
    home.config[section] = value
    home.write(rule("a", LIGHT))
    code, said = home.check()
    assert code == 1
    assert words in said
    assert "Traceback" not in said


def test_wrong_secrets_are_named_but_not_shown(home: Home) -> None:
    home.secrets = {"home_assistant_token": ["canary-in-a-list"], "hub": "canary-under-a-wrong-name"}  # type: ignore[dict-item]
    home.write(rule("a", LIGHT))
    code, said = home.check()
    assert code == 1
    assert "secrets.yaml:" in said
    assert "canary" not in said
    home.secrets = {name: value for name, value in SECRETS.items() if name != "mcp_hub_token"}
    home.write(rule("a", LIGHT))
    code, said = home.check()
    assert (code, "mcp_hub_token: is missing" in said) == (1, True), said
    assert "canary" not in said
