"""`hearth fleet check`, `node-key`, and what every command does when something is wrong."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hearth.cli import main

Hearth = Callable[..., "subprocess.CompletedProcess[str]"]

FLEET = """\
nodes:
  pve: {address: 192.0.2.1, storage: local-lvm, images: local}
networks:
  lan: {bridge: vmbr0, subnet: 192.0.2.0/24, gateway: 192.0.2.254}
images:
  debian: {kind: lxc, url: "http://example.org/debian.tar.zst"}
guests:
  comms:
    {kind: lxc, address: 192.0.2.135, image: debian, cores: 1, memory: 512 MiB, disk: 8 GiB}
"""


def one_line(done: "subprocess.CompletedProcess[str]") -> str:
    """What stderr says, which is one line and no traceback; the exit code is 1."""
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    return done.stderr


# ------------------------------------------------------------------ fleet check


def test_a_good_fleet(hearth: Hearth, project: Path) -> None:
    (project / "inventory" / "fleet.yaml").write_text(FLEET)
    done = hearth("fleet", "check")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 guests" in done.stdout


def test_every_mistake_is_printed(hearth: Hearth, project: Path) -> None:
    wrong = FLEET.replace("192.0.2.135", "192.0.3.135").replace("512 MiB", "much")
    (project / "inventory" / "fleet.yaml").write_text(wrong)
    done = hearth("fleet", "check")
    assert done.returncode == 1
    assert "guests.comms.address" in done.stderr
    assert "guests.comms.memory" in done.stderr
    assert "fleet.yaml:9:" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_fleet_file(hearth: Hearth) -> None:
    done = hearth("fleet", "check")
    assert done.returncode == 1
    assert "fleet.yaml" in done.stderr
    assert "Traceback" not in done.stderr


def test_another_fleet_file_by_environment(hearth: Hearth, project: Path) -> None:
    (project / "other.yaml").write_text(FLEET)
    assert hearth("fleet", "check", HEARTH_FLEET="other.yaml").returncode == 0


def test_project_by_option(hearth: Hearth, project: Path) -> None:
    (project / "deep" / "inventory").mkdir(parents=True)
    (project / "deep" / "roles").mkdir()
    (project / "deep" / "inventory" / "fleet.yaml").write_text(FLEET)
    assert hearth("--project", "deep", "fleet", "check").returncode == 0


# --------------------------------------------------------------------- node-key


def test_node_key_is_made_once_and_bound_to_the_wrapper(hearth: Hearth, project: Path) -> None:
    first = hearth("node-key", "--line")
    assert first.returncode == 0
    assert hearth("node-key", "--line").stdout == first.stdout
    options, kind, key, comment = first.stdout.strip().rsplit(" ", 3)
    assert options == 'restrict,command="/usr/local/sbin/hearth-node"'
    assert (kind, comment) == ("ssh-ed25519", "hearth-node")
    assert hearth("secrets", "public", "ssh/node").stdout.split()[1] == key


def test_where_a_node_asks_for_the_tailnet_the_line_allows_that_too(hearth: Hearth, project: Path) -> None:
    plain = hearth("node-key", "--line").stdout
    asks = FLEET.replace("images: local", "images: local, tailnet: true", 1)
    (project / "inventory").mkdir(exist_ok=True)
    (project / "inventory" / "fleet.yaml").write_text(f"{asks}tailnet: {{domain: x.ts.net}}\n")
    line = hearth("node-key", "--line").stdout
    assert line == plain.replace('hearth-node"', 'hearth-node --tailnet"')
    (project / "authorized_keys").write_text(line)
    subprocess.run(["ssh-keygen", "-l", "-f", project / "authorized_keys"], capture_output=True, check=True)


def test_ssh_keygen_reads_the_line(hearth: Hearth, project: Path) -> None:
    (project / "authorized_keys").write_text(hearth("node-key", "--line").stdout)
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", project / "authorized_keys"], capture_output=True, text=True, check=True
    )
    assert "ED25519" in shown.stdout


def test_node_key_says_what_to_install_and_the_file_exists(hearth: Hearth) -> None:
    done = hearth("node-key")
    (copy,) = [line for line in done.stdout.splitlines() if line.startswith("scp ")]
    assert Path(copy.split()[1]).is_file()
    assert "authorized_keys" in done.stdout
    assert "PRIVATE" not in done.stdout


def test_a_new_identity_is_announced(hearth: Hearth, project: Path) -> None:
    done = hearth("node-key", "--line")
    assert str(project / "config" / "age.key") in done.stderr
    assert "back it up" in done.stderr
    assert hearth("node-key", "--line").stderr == ""


# ----------------------------------------------------------------------- errors


def test_as_a_process(project: Path) -> None:
    """The installed command's entry point: streams and exit code are the process's own."""
    (project / "inventory" / "fleet.yaml").write_text("guests: [")
    argv = [sys.executable, "-c", "from hearth.cli import main; raise SystemExit(main())", "fleet", "check"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert "fleet.yaml:" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_pipe_that_is_closed_early_is_no_traceback(project: Path) -> None:
    command = [sys.executable, "-c", "from hearth.cli import main; raise SystemExit(main())", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["doctor", "--nonsense"], ["secrets", "show"], ["import"]]
)
def test_wrong_arguments_are_exit_2(hearth: Hearth, arguments: list[str]) -> None:
    done = hearth(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["secrets", "--help"], ["import", "--help"], ["--version"]]
)
def test_help(hearth: Hearth, arguments: list[str]) -> None:
    done = hearth(*arguments)
    assert done.returncode == (0 if arguments else 2)
    assert "hearth" in (done.stdout + done.stderr).lower()


def test_an_error_is_one_line(hearth: Hearth) -> None:
    assert "hearth secrets set mqtt/none" in one_line(hearth("secrets", "show", "mqtt/none"))


def test_debug_shows_the_traceback(hearth: Hearth) -> None:
    done = hearth("--debug", "secrets", "show", "mqtt/none")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_a_bug_is_one_line_without_what_it_carries(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], project: Path
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("canary-value")

    monkeypatch.setattr("hearth.cli.doctor.examine", fails)
    assert main(["--project", str(project), "doctor"]) == 1
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "RuntimeError" in shown
    assert "canary" not in shown


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], project: Path) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hearth.cli.doctor.examine", interrupted)
    assert main(["--project", str(project), "doctor"]) == 130
    assert capsys.readouterr().err.strip() == "hearth: interrupted"


def test_the_projects_own_fleet_from_another_folder(tmp_path: Path) -> None:
    # As it is typed: a script beside Python, which has no project on its path.
    script, project = Path(sys.executable).parent / "hearth", Path(__file__).parents[3]
    done = subprocess.run(
        [script, "--project", project, "fleet", "check"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
