"""Run the roles' own files at their own places, in namespaces of our own: `python3 as_on_a_guest.py WORK`.

WORK has files.json (a list of path, content, user, group, mode), addresses.json and steps.json: what
makes users, then shell commands; what each printed and its exit code go to answers.json. /etc, /usr/local,
/var/lib, /run and /root are copies or empty; the network has nothing but loopback with the guests' addresses.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path


def main(work: Path) -> None:
    """Everything, in order."""
    cover(work)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in json.loads((work / "addresses.json").read_text()):
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    # Who speaks to the first one is the second one: both are this machine's, which else would be the first.
    first, second = json.loads((work / "addresses.json").read_text())[:2]
    route = ["ip", "route", "replace", "table", "local", "local", f"{first}/32", "dev", "lo", "src", second]
    subprocess.run(route, check=True)
    steps = json.loads((work / "steps.json").read_text())
    for command in steps["before"]:
        subprocess.run(["sh", "-ec", command], check=True)
    for file in json.loads((work / "files.json").read_text()):
        place(**file)
    server = sshd()
    try:
        answers = [answer(command) for command in steps["commands"]]
    finally:
        server.terminate()
        server.wait()
    (work / "answers.json").write_text(json.dumps(answers))


def cover(work: Path) -> None:
    """Put copies over what would be this machine's."""
    for place_, copied in (("/etc", True), ("/usr/local", False), ("/var/lib", False), ("/run", False)):
        new = work / place_.strip("/").replace("/", "-")
        if copied:
            subprocess.run(["cp", "-a", place_, new], check=True)
        else:
            new.mkdir()
        subprocess.run(["mount", "--bind", new, place_], check=True)
    Path("/run/sshd").mkdir()
    Path("/usr/local/sbin").mkdir()
    # Debian's own rule for sudo must be read: ours stands beside it.
    Path("/etc/sudoers.d").mkdir(exist_ok=True)


def place(path: str, content: str, user: str, group: str, mode: str) -> None:
    """Write a file as `files.present` does."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(content)
    shutil.chown(target, user, group)
    target.chmod(int(mode, 8))


def sshd() -> subprocess.Popen[bytes]:
    """Debian's sshd on every address of this namespace, with the host key that known_hosts has."""
    Path("/etc/ssh/sshd_config").write_text(
        "Port 22\nHostKey /etc/ssh/host\nUsePAM no\nPasswordAuthentication no\nPidFile none\n"
    )
    with Path("/run/sshd.log").open("wb") as log:
        server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e"], stderr=log)
    time.sleep(1)
    return server


def answer(command: str) -> dict[str, object]:
    """A command's end."""
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=False, timeout=120)
    return {
        "code": done.returncode,
        "out": done.stdout.decode(errors="replace"),
        "err": done.stderr.decode(errors="replace"),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
