"""MQTT users and what each may read and write, derived from the roles' needs and the list of devices.

The rules of topics and filters: MQTT 3.1.1, 4.7. The ACL file: mosquitto.conf(5), `acl_file`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hearth.errors import HearthError
from hearth.fleet.model import Fleet, Guest
from hearth.phones.registry import topics_of, user_of
from hearth.role.declaration import Access, Need, Role, Topic

BROKER = "mosquitto"
VERIFIER = "hearth-verify"
VERIFIER_TOPICS = (Topic("hearth/verify/#"), Topic("$SYS/broker/version", "read"))
# A colon ends the name in the password file; `+` and `#` in a name open holes in patterns (CVE-2017-7650).
USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
LONGEST = 65535  # bytes, MQTT 3.1.1, 1.5.3
DEVICE_KEYS: Mapping[str, Access] = {"publish": "write", "subscribe": "read"}


@dataclass(frozen=True)
class MqttUser:
    """A login at the broker.

    Args:
        name: user name; the password is the secret `mqtt/<name>`.
        rules: what it may do; everything else is refused.
    """

    name: str
    rules: tuple[Topic, ...]


def service_user(role: str, guest: str) -> str:
    """The user name of a role on a guest: `ai-automation-comms`; one each, so that each can be revoked."""
    return f"{role.replace('_', '-')}-{guest}"


def mqtt_users(
    fleet: Fleet, roles: Mapping[str, Role], devices: Mapping[str, Any], phones: Iterable[str] = ()
) -> tuple[MqttUser, ...]:
    """Every user of the fleet's brokers: services, devices, phones, and the one of tests/verify.

    Args:
        fleet: which guest has which role.
        roles: the catalogue; a need for a port of `mosquitto` makes a user.
        devices: name -> {"publish": [filter, ...], "subscribe": [filter, ...]}, from group_data.
        phones: names; each may use the topics below its own.

    Raises:
        HearthError: a name or filter that Mosquitto would misread, an unknown key, or a name used twice.
    """
    users = [
        MqttUser(service_user(name, guest.name), _topics(roles[name].needs))
        for guest in fleet.guests
        for name in guest.roles
        if name in roles and _logs_in(guest, name, roles[name], fleet)
    ]
    users += [_device(name, topics) for name, topics in devices.items()]
    users += [MqttUser(user_of(name), (Topic(topics_of(name)),)) for name in phones]
    users.append(MqttUser(VERIFIER, VERIFIER_TOPICS))
    _check(users)
    return tuple(sorted(users, key=lambda user: user.name))


def with_logins(users: Sequence[MqttUser], logins: Mapping[str, Sequence[str]]) -> tuple[MqttUser, ...]:
    """The users by the names that they log in with, each with the user's rights.

    Args:
        users: from `mqtt_users`.
        logins: user -> the names of its logins (`hearth.secrets.mqtt_logins`).

    Raises:
        HearthError: a login's name is another user's.
    """
    found = tuple(MqttUser(name, user.rules) for user in users for name in logins[user.name])
    _check(found)
    return found


def acl_text(users: Sequence[MqttUser]) -> str:
    """The ACL file: what no line allows is refused, and there are no lines for everybody."""
    blocks = ["\n".join([f"user {user.name}", *map(_line, user.rules)]) for user in users]
    return "# Written by Hearth from the roles' needs and group_data.\n\n" + "\n\n".join(blocks) + "\n"


def check_filter(topic: str) -> str | None:
    """Why a text is no MQTT topic filter; None when it is one."""
    if not topic or topic != topic.strip() or len(topic.encode()) > LONGEST:
        return "empty, too long, or with blanks at an end"
    if not topic.isprintable():
        return "it has a control character"
    levels = topic.split("/")
    if any("+" in level and level != "+" for level in levels):
        return "`+` must stand alone between slashes"
    if any("#" in level and level != "#" for level in levels) or "#" in levels[:-1]:
        return "`#` must be the whole last level"
    return None


def _logs_in(guest: Guest, name: str, role: Role, fleet: Fleet) -> bool:
    if name == BROKER and fleet.with_role(BROKER)[0].name == guest.name:
        return False  # the others are bridged to the first broker, which logs in nowhere
    return any(need.role == BROKER for need in role.needs)


def _topics(needs: Sequence[Need]) -> tuple[Topic, ...]:
    return tuple(dict.fromkeys(topic for need in needs if need.role == BROKER for topic in need.topics))


def _line(topic: Topic) -> str:
    return f"topic {topic.access} {topic.filter}"


def _device(name: str, topics: Any) -> MqttUser:
    action = f"give MQTT device {name} its user"
    if not isinstance(topics, Mapping):
        raise HearthError(action, "it is no mapping", 'write {"publish": [...], "subscribe": [...]}')
    unknown = sorted(set(topics) - set(DEVICE_KEYS))
    if unknown:
        raise HearthError(action, f"unknown key {unknown[0]!r}", "use publish and subscribe")
    rules: list[Topic] = []
    for key, access in DEVICE_KEYS.items():
        filters = topics.get(key, ())
        if isinstance(filters, str):
            raise HearthError(action, f"{key} is one text", f"write a list: [{filters!r}]")
        rules += [Topic(filter_, access) for filter_ in filters]
    return MqttUser(name, tuple(rules))


def _check(users: Sequence[MqttUser]) -> None:
    seen: set[str] = set()
    for user in users:
        action = f"give MQTT user {user.name} its rights"
        if not USER.fullmatch(user.name):
            raise HearthError(action, "the name is no user name", "use letters, digits, `.`, `_` and `-`")
        if user.name in seen:
            raise HearthError(action, "the name is taken", "rename the device")
        seen.add(user.name)
        for rule in user.rules:
            if why := check_filter(rule.filter):
                raise HearthError(action, f"{rule.filter!r} is no topic filter: {why}")
