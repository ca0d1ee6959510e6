"""Stops, kills, restarts, reloads: what becomes of the runs."""

from __future__ import annotations

import json
import signal
import sqlite3
import threading
import time

import pytest
import yaml
from ai_kit import LIGHT, SECRETS, TOKENS, Home, Mosquitto, Mqtt, Stream, install, rule, until
from ai_peers import Answer, Peer

LONG = {"wait": {"seconds": 30}}
WORDS = "the service stopped before this run had ended"


def test_a_kill_in_the_middle_is_told_after_the_start(home: Home, broker: Mosquitto) -> None:
    home.with_mqtt(broker)
    home.serve(rule("long", {"mqtt": {"topic": "out/x"}}, LONG, LIGHT, mode="queued"))
    cut, waiting = home.trigger("long", {"why": "test"}), home.trigger("long")
    until(lambda: home.get(f"/api/runs/{cut}").json()["actions"][1]["state"] == "running")
    home.kill()
    with Mqtt(broker, "ai_automation/#") as mqtt:
        home.start()
        found = home.get(f"/api/runs/{cut}").json()
        assert (found["state"], found["error"], found["trigger"]["data"]) == (
            "interrupted",
            WORDS,
            {"why": "test"},
        )
        assert [o["state"] for o in found["actions"]] == ["succeeded", "interrupted", "not_run"]
        late = home.get(f"/api/runs/{waiting}").json()  # had not begun: reported, not made up for
        assert (late["state"], late["actions"][0]["state"]) == ("interrupted", "not_run")
        interrupted = home.get("/api/runs?state=interrupted").json()["runs"]
        assert {run["id"] for run in interrupted} == {cut, waiting}
        for run in (cut, waiting):
            topic = f"ai_automation/runs/{run}"
            until(lambda topic=topic: mqtt.payloads(topic), "the report by MQTT")
            assert json.loads(mqtt.payloads(topic)[-1])["state"] == "interrupted"
        with Stream(home) as stream:
            assert {run["id"] for run in stream.next("hello")["interrupted"]} == {cut, waiting}
    fresh = home.trigger("long")  # nothing is left that blocks the next
    assert home.get(f"/api/runs/{fresh}").json()["state"] == "running"
    home.kill()
    home.start()
    assert home.get(f"/api/runs/{cut}").json() == found  # told once, then history


def test_the_worker_alone_is_killed(home: Home) -> None:
    home.serve(rule("long", LONG))
    run = home.trigger("long")
    assert home.process is not None
    children = f"/proc/{home.process.pid}/task/{home.process.pid}/children"
    with open(children) as file:  # noqa: PTH123 - a line of procfs
        (worker,) = file.read().split()
    import os

    os.kill(int(worker), signal.SIGKILL)
    assert home.ended(run, "interrupted") if until(home.reachable) else None


def test_sigterm_lets_running_actions_end_and_takes_no_more(
    home: Home, assistant: Peer, broker: Mosquitto
) -> None:
    home.with_mqtt(broker)
    gate = threading.Event()
    home.config["home_assistant"]["timeout"] = 20
    assistant.answers["/api/services/light/turn_on"] = [Answer(gate=gate)]
    home.serve(rule("short", LIGHT), rule("long", LONG), rule("queue", LONG, mode="queued"))
    short, long = home.trigger("short"), home.trigger("long")
    queued = [home.trigger("queue"), home.trigger("queue")][1]
    with Mqtt(broker, "ai_automation/#") as mqtt, Stream(home) as stream:
        stream.next("hello")
        begin = time.monotonic()
        home.signal(signal.SIGTERM)
        assert stream.state(queued, "interrupted")
        stream.say({"type": "trigger", "automation": "short"})
        assert stream.next("error")["error"]["code"] == "stopping"
        gate.set()
        assert stream.state(short, "succeeded")
        assert stream.state(long, "interrupted")
        assert stream.next("closed")["code"] == 1001
        assert home.process is not None
        assert home.process.wait(20) == 0
        assert time.monotonic() - begin > 2.5  # stop_seconds is 3
        assert len(assistant.calls()) == 1
        until(lambda: "offline" in mqtt.payloads("ai_automation/status"))
    home.start()
    states = [home.get(f"/api/runs/{run}").json()["state"] for run in (short, long, queued)]
    assert states == ["succeeded", "interrupted", "interrupted"]


def test_an_idle_service_stops_at_once(home: Home) -> None:
    home.serve(rule("light", LIGHT))
    with Stream(home) as stream:
        stream.next("hello")
        begin = time.monotonic()
        assert home.terminate() == 0
        assert time.monotonic() - begin < 10
        assert stream.next("closed")["code"] == 1001


def test_sighup_takes_right_rules_and_keeps_the_old_ones_against_wrong_ones(
    home: Home, broker: Mosquitto
) -> None:
    home.with_mqtt(broker)
    home.serve(rule("long", LONG), {**rule("old", LIGHT), "triggers": [{"mqtt": {"topic": "sensors/old"}}]})
    run = home.trigger("long")
    home.write_rules("automations: [{id: broken}]")
    home.signal(signal.SIGHUP)
    until(lambda: "the old ones stay in force" in home.log())
    assert "rules.yaml:1: automations.0.triggers: is missing" in home.log()
    assert [a["id"] for a in home.get("/api/automations").json()["automations"]] == ["long", "old"]
    new = [
        {**rule(name, LIGHT), "triggers": [{"mqtt": {"topic": f"sensors/{name}"}}]}
        for name in ("new", "other")
    ]
    home.write_rules(yaml.safe_dump({"automations": new}))
    home.signal(signal.SIGHUP)
    until(lambda: [a["id"] for a in home.get("/api/automations").json()["automations"]] == ["new", "other"])
    assert home.get(f"/api/runs/{run}").json()["state"] == "running"  # what runs is not disturbed
    with Mqtt(broker) as mqtt:
        until(lambda: mqtt.say("sensors/new", "1") or home.runs("new"), "a run by a new topic")
        mqtt.say("sensors/old", "1")
        mqtt.say("sensors/other", "1")
        until(lambda: home.runs("other"))
    assert home.runs("old") == []


def test_two_services_never_share_a_state_folder(home: Home) -> None:
    import subprocess

    from ai_kit import _environment

    home.serve(rule("light", LIGHT))
    second = subprocess.run(home.command(), env=_environment(), capture_output=True, timeout=20)  # noqa: PLW1510
    assert second.returncode == 1
    assert b"another ai-automation works in" in second.stderr
    assert home.get("/health").status_code == 200


def test_history_is_bounded_and_a_broken_one_stops_nothing(home: Home) -> None:
    home.config["limits"] |= {"history_runs": 3}
    home.serve(rule("light", LIGHT))
    runs = [home.run("light")["id"] for _ in range(5)]
    assert [run["id"] for run in home.runs("light")] == runs[:1:-1]
    assert home.get(f"/api/runs/{runs[0]}").status_code == 404
    home.kill()
    database = home.folder / "state" / "runs.db"
    assert database.stat().st_mode & 0o777 == 0o600
    for ending in ("-wal", "-shm"):  # with these SQLite mends the file
        database.with_name(database.name + ending).unlink(missing_ok=True)
    database.write_bytes(b"not a database" * 1000)
    home.start()
    assert home.runs("light") == []
    assert home.run("light")["state"] == "succeeded"
    (aside,) = home.folder.glob("state/runs.db.broken-*")
    assert aside.read_bytes().startswith(b"not a database")
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)


def test_no_secret_is_ever_said(home: Home, assistant: Peer, broker: Mosquitto) -> None:
    home.with_mqtt(broker)
    home.config["log_level"] = "debug"
    assistant.answers["/api/services/light/turn_on"] = [
        Answer(401, {"message": SECRETS["home_assistant_token"]})
    ]
    home.serve(rule("light", LIGHT))
    told = json.dumps(home.run("light"))
    home.post("/api/automations/light/trigger", {}, "wrong-token-of-somebody")
    told += home.get("/api/automations/light").text + home.get("/health").text
    assert home.process is not None
    with open(f"/proc/{home.process.pid}/cmdline") as file:  # noqa: PTH123 - procfs
        told += file.read()
    home.terminate()
    told += home.log() + (home.folder / "state" / "runs.db").read_bytes().decode("latin-1")
    for secret in (*SECRETS.values(), *TOKENS.values(), "wrong-token-of-somebody"):
        assert secret not in told


def test_a_wrong_file_starts_nothing(home: Home) -> None:
    import subprocess

    from ai_kit import _environment

    home.write(rule("light", {"wait": {}}))
    done = subprocess.run(home.command(), env=_environment(), capture_output=True, timeout=20)  # noqa: PLW1510
    assert done.returncode == 1
    assert b"actions.0.wait.seconds: is missing" in done.stderr
    assert not (home.folder / "state").exists()
    home.write(rule("light", LIGHT))
    (home.folder / "secrets.yaml").unlink()
    done = subprocess.run(home.command(), env=_environment(), capture_output=True, timeout=20)  # noqa: PLW1510
    assert (done.returncode, b"secrets.yaml: cannot be read" in done.stderr) == (1, True)


def test_it_installs_as_the_readme_says(home: Home) -> None:
    import shutil
    import subprocess

    from ai_kit import SOURCE

    copy = home.folder / "source"
    shutil.copytree(
        SOURCE, copy, ignore=shutil.ignore_patterns("*.egg-info", "build", ".mypy_cache", "__pycache__")
    )
    target = home.folder / "installed"
    install(home.python, "--no-deps", "--target", str(target), str(copy))
    command = [str(home.python), str(target / "bin" / "ai-automation"), "--version"]
    done = subprocess.run(  # noqa: PLW1510
        command, env={"PYTHONPATH": str(target)}, capture_output=True, text=True, timeout=20
    )
    assert "1.0.0" in done.stdout, done.stderr
    assert (target / "ai_automation" / "server.py").exists()
    lock = (SOURCE / "requirements.lock").read_text()
    assert "://" not in lock
    assert lock.count("==") == len([line for line in lock.splitlines() if line and line[0].isalnum()])


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU])
def test_no_signal_makes_a_second_worker(home: Home, number: signal.Signals) -> None:
    home.serve(rule("light", LIGHT))
    home.signal(number)
    until(lambda: "ignored" in home.log())
    assert home.log().count("Booting worker") == 1
    assert home.run("light")["state"] == "succeeded"
