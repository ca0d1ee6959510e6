"""Exit codes are true: one run at a time, Ctrl-C, prompts, --json, --no-wait."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.api.run.conftest import PATIENCE, PROJECT, PYINFRA, Home


def wait_for(condition: Callable[[], bool], patience: float = 20.0) -> None:
    """Poll until something is so."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def test_a_second_run_is_refused_and_a_dry_one_is_not(small: Home) -> None:
    lock = small.place / "state" / "lock"
    lock.parent.mkdir()
    with lock.open("w") as held:
        held.write("4711\n")
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        done = small.deploy().refused("another one is under way", "4711")
        assert done.requests == ()
        small.dry().went_well()
        small.pyinfra("inventory", "debug-inventory").went_well()
        small.pyinfra("inventory", "teardown.py", "-y", "--data", "destroy=comms").refused("under way")
    small.deploy().went_well()


@pytest.mark.pve(time_scale=0.2)
def test_two_deploys_at_once_are_one(small: Home) -> None:
    small.pve.ct_secs["create"] = 20
    first = small.start("inventory", "deploy.py", "-y")
    try:
        wait_for(lambda: bool(small.pve.log.writes()))
        small.deploy().refused("another one is under way", str(first.pid))
    finally:
        first.communicate(timeout=PATIENCE)
    assert first.returncode == 0


@pytest.mark.pve(time_scale=1.0)
def test_ctrl_c_exits_130_and_the_next_run_converges(small: Home) -> None:
    small.pve.ct_secs["create"] = 2
    process = small.start("inventory", "deploy.py", "-y", start_new_session=True)
    wait_for(lambda: bool(small.pve.log.writes()))
    process.send_signal(2)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "run again" in err and "Traceback" not in err
    small.deploy().went_well()
    assert small.status(135) == small.status(136) == "running"


def test_without_a_terminal_and_without_y_it_says_so(small: Home) -> None:
    done = small.pyinfra("inventory", "deploy.py").refused("no terminal", "-y")
    assert done.writes == []


def at_a_terminal(home: Home, answer: str) -> tuple[int, str]:
    """Run the deploy at a terminal of its own, and type an answer at the prompt."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [PYINFRA, "inventory", "deploy.py"],
        cwd=PROJECT,
        env=home.env,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    said, deadline, typed = "", time.monotonic() + PATIENCE, False
    try:
        while time.monotonic() < deadline:
            ready, _, _ = select.select([ours], [], [], 0.1)
            if ready:
                try:
                    said += os.read(ours, 4096).decode(errors="replace")
                except OSError:
                    break
            if "Press enter" in said and not typed:
                typed = True
                os.write(ours, f"{answer}\n".encode())
        return process.wait(timeout=10), said
    finally:
        os.close(ours)
        if process.poll() is None:
            process.kill()
            process.wait()


def test_an_answer_other_than_enter_is_no_success(small: Home) -> None:
    code, said = at_a_terminal(small, "no")
    assert code not in (0, None), said
    assert "Traceback" not in said
    assert small.pve.log.writes() == []


def test_enter_at_the_prompt_deploys_after_showing_the_plan(small: Home) -> None:
    code, said = at_a_terminal(small, "")
    assert code == 0, said
    assert "create: 1 core, 512 MiB memory" in said
    assert small.status(135) == "running"


def test_json_that_applied_nothing_is_no_success(small: Home) -> None:
    done = small.pyinfra("inventory", "deploy.py", "--json").refused("Nothing was applied")
    assert done.writes == []
    assert '"guests"' in done.out


@pytest.mark.parametrize("how", [[], ["--no-wait"], ["--serial"], ["--json"]])
def test_a_failing_guest_fails_the_run_and_spares_the_others(small: Home, how: list[str]) -> None:
    small.pve.fail("POST", "/nodes/pve/lxc", 403, "Permission check failed (/vms/135, VM.Allocate)")
    done = small.deploy(*how).refused("create guest comms", "VM.Allocate")
    assert small.status(136) == "running", done.text
    small.pve.failures.clear()
    small.deploy(*how).went_well()
    assert small.status(135) == "running"


def test_a_deploy_file_that_is_not_there_is_an_error(small: Home) -> None:
    done = small.pyinfra("inventory", "deploy-all.py", "-y").refused("deploy-all.py")
    assert done.writes == []


@pytest.fixture
def closing_port() -> Iterator[int]:
    """A port of loopback that hangs up on whoever calls."""

    class HangUp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.close()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), HangUp) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_broken_ssh_to_the_node_is_one_clear_error(small: Home, closing_port: int) -> None:
    """Only what the API refuses to tokens goes that way: here a feature of a privileged container."""
    small.fleet["nodes"]["pve"]["ssh"] = {"port": closing_port}
    small.change("comms", unprivileged=False)
    done = small.deploy().refused(
        f"cannot reach node pve by SSH at 127.0.0.1:{closing_port}", "hearth doctor"
    )
    assert small.status(136) == "running", done.text
