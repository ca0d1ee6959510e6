"""A role is added by files of its name and one word in the fleet file; everything else follows."""

from __future__ import annotations

from tests.twin.annex_kit import Annex
from tests.twin.test_home import executed


def test_only_its_files_and_the_fleet_file_were_touched(annex: Annex) -> None:
    assert sorted(annex.added) == [
        " M inventory/fleet.yaml",
        "?? group_data/echo.py",
        "?? roles/echo.py",
        "?? templates/echo/echo.env.j2",
        "?? templates/echo/echo.service.j2",
        "?? tests/verify/test_echo.py",
    ]
    changed = annex.git("diff", "--unified=0", "HEAD", "--", "inventory/fleet.yaml").decode().splitlines()
    assert [line for line in changed if line[:1] in "+-" and line[:3] not in ("+++", "---")] == [
        "+    - echo"
    ]


def test_it_is_deployed_after_the_broker_that_it_needs(annex: Annex) -> None:
    assert annex.first.code == 0, annex.first.text
    done = executed(annex.first)
    assert ("annex", "Echo | Run echo") in done
    assert ("annex", "Mosquitto | Run Mosquitto") in done
    order = [line for line in annex.first.text.splitlines() if "Starting operation: " in line]
    broker = max(place for place, line in enumerate(order) if "Mosquitto | " in line)
    assert all(place > broker for place, line in enumerate(order) if "Echo | " in line)


def test_it_has_its_certificate_and_its_tuning(annex: Annex) -> None:
    subject = annex.home.said("annex", "openssl x509 -noout -ext subjectAltName -in /etc/echo/server.crt")
    assert "DNS:annex" in subject
    assert "IP Address:192.168.1.150" in subject
    assert annex.home.said("annex", "systemctl show -p Nice --value echo.service") == "5"


def test_its_user_has_exactly_its_topics(annex: Annex) -> None:
    acl = annex.home.said("annex", "cat /etc/mosquitto/acl")
    block = next(block for block in acl.split("\n\n") if block.startswith("user echo-annex\n"))
    assert block.splitlines()[1:] == ["topic readwrite echo/#", "topic read house/+/set"]


def test_it_is_verified_with_the_rest(annex: Annex) -> None:
    done = annex.home.verify("-vv").went_well()
    for check in (
        "test_echo.py::test_it_turns_words_round[annex]",
        "test_echo.py::test_its_user_talks_on_its_topics[annex]",
        "test_echo.py::test_its_user_publishes_nowhere_else[annex-other/x]",
        "test_ports.py::test_it_is_healthy[annex-echo-echo]",
        "test_ports.py::test_it_refuses_old_tls[annex-echo-echo]",
        "test_ports.py::test_its_certificate_holds_for_name_and_address[annex-echo-echo]",
    ):
        assert f"{check} PASSED" in done.text, f"{check}\n{done.text}"
