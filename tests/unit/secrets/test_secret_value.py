"""A Secret never shows itself unasked."""

import copy
import json
import logging
import pickle
import traceback

import pytest

from hearth.secrets import MqttUser, Secret

CANARY = "canary-0d1c5e"


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        lambda secret: f"{secret} {secret!r} {secret!s} {secret:>20}",
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031
        lambda secret: "{} {!r}".format(secret, secret),  # noqa: UP032
        lambda secret: repr({"key": [secret]}),
        lambda secret: repr(MqttUser("kitchen", secret, secret)),
        lambda secret: json.dumps({"key": secret}, default=str),
        lambda secret: json.dumps({"key": secret}, default=repr),
        lambda secret: repr(copy.deepcopy([secret])),
        lambda secret: repr(vars(secret)) if hasattr(secret, "__dict__") else "",
    ],
)
def test_never_shown(show) -> None:  # type: ignore[no-untyped-def]
    assert CANARY not in show(Secret(CANARY))


def test_revealed_when_asked() -> None:
    assert Secret(CANARY).reveal() == CANARY


def test_not_encoded_as_json_by_accident() -> None:
    with pytest.raises(TypeError):
        json.dumps({"key": Secret(CANARY)})


def test_not_pickled() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret(CANARY))


def test_not_joined_into_a_text() -> None:
    with pytest.raises(TypeError):
        "".join([Secret(CANARY)])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        "password " + Secret(CANARY)  # type: ignore[operator]


def test_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("hearth.test").debug("%s %r", Secret(CANARY), Secret(CANARY))
    assert caplog.records
    assert CANARY not in caplog.text


def test_not_in_a_traceback_of_what_it_is_passed_to() -> None:
    def fails(secret: Secret) -> None:
        raise ValueError(f"not with {secret}")

    try:
        fails(Secret(CANARY))
    except ValueError as error:
        whole = traceback.TracebackException.from_exception(error, capture_locals=True)
        assert CANARY not in "".join(whole.format())


def test_compares_by_value() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
