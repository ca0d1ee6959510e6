"""A machine below a temporary folder with releases and data; only systemctl and the programs are stand-ins.

Every release that starts converts the data: it writes its name into them. One called `sick` is never healthy.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hearth.ops import release
from hearth.ops.release import Running, RunningRelease
from hearth.ops.release_scripts import Switch, activating

PROJECT = Path(__file__).parents[3]
PYTHON = "/usr/bin/python3"  # the guest's own
SYSTEMCTL = """#!/bin/sh
[ ! -e {0}/kill-at ] || case "$1" in
  $(cat {0}/kill-at)) rm {0}/kill-at; /bin/kill -KILL -- -$(ps -o pgid= $$ | tr -d ' ') ;;
esac
started() {{
  echo "$(basename "$(readlink {0}/app/current)") $(cat {0}/etc/conf)" >>{0}/ran
  touch {0}/active
  if [ -d {0}/lib/data ]; then basename "$(readlink {0}/app/current)" >>{0}/lib/data/converted; fi
}}
case "$*" in
  *"-p ActiveState"*) echo active ;;
  *"-p MainPID"*) echo 10 ;;
  *"-p NRestarts"*) echo 0 ;;
  *status*) echo 'the log says why' ;;
  *is-active*) [ -e {0}/active ] ;;
  stop*) rm -f {0}/active; basename "$(readlink {0}/app/current)" >>{0}/stopped ;;
  *restart*|*start\\ *) started ;;
  *reload\\ *) started ;;
esac
"""
# Healthy unless the release or its configuration is "sick", as the program was started with them.
# Where "mended" is there, it is in any case.
HEALTH = "{{ echo 'it feels sick'; [ -e {0}/mended ] || ! tail -n 1 {0}/ran | grep -q sick; }}"
KEEPER = """#!/bin/sh
exec {python} -B - "$@" <<'END'
import sys
from pathlib import Path
sys.path.insert(0, "{0}/library")
from hearth_backup import __main__ as program, upgrade
root = Path("{0}")
upgrade.PLACE = root / "upgrades"
sys.exit(program.main(sys.argv[1:], root / "state.json", root / "lock", root / "spool"))
END
"""


@dataclass(frozen=True)
class Machine:
    """A guest, as far as a release knows it.

    Args:
        root: its folder.
    """

    root: Path

    @property
    def conf(self) -> Path:
        """A file that the program reads."""
        return self.root / "etc/conf"

    @property
    def data(self) -> Path:
        """What the role keeps."""
        return self.root / "lib/data"

    def made(self, ident: str, app: str = "app", uses: str = "") -> Path:
        """A release that is built."""
        folder = self.root / app / "releases" / ident
        folder.mkdir(parents=True)
        (folder / ".complete").write_text(f"{uses}\n")
        return folder

    def keeps(self, **more: object) -> Path:
        """Data, and the role's word that they are kept."""
        (self.data / "deep").mkdir(parents=True)
        (self.data / "deep/file").write_text("precious")
        entry = {"name": "app-0", "role": "app", "path": str(self.data), **more}
        self.settings(entry)
        return self.data

    def settings(self, *entries: dict[str, object]) -> None:
        """What role `state` has written."""
        (self.root / "state.json").write_text(json.dumps({"guest": "comms", "state": entries}))

    def program(self, name: str, text: str) -> None:
        """A program of its path."""
        path = self.root / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def switch(self, ident: str, *steps: str) -> subprocess.CompletedProcess[str]:
        """Run the script that a deploy runs."""
        process = self.start(ident, *steps)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess([], process.returncode, out, err)

    def start(self, ident: str, *steps: str) -> subprocess.Popen[str]:
        """Start it."""
        home, files = f"{self.root}/app", (str(self.conf),)
        health, keeper = HEALTH.format(self.root), f"{self.root}/bin/hearth-state"
        job = Switch(home, ident, "app.service", health, files, (), 2, "app", keeper)
        return subprocess.Popen(
            ["sh", "-c", activating(job, steps or ("daemon-reload", "restart"))],
            env={"PATH": f"{self.root}/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def killed(self, at: str) -> None:
        """Have the next switch killed, with all its processes, when it calls `systemctl AT`."""
        (self.root / "kill-at").write_text(at)

    @property
    def now(self) -> Running:
        """What the fact says."""
        command = RunningRelease().command("app").replace(f"{release.ROOT}/app", f"{self.root}/app")
        command = command.replace(release.UPGRADES, f"{self.root}/upgrades")
        out = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
        return RunningRelease().process(out.splitlines())

    @property
    def ran(self) -> list[str]:
        """Every start: the release, and what its file said."""
        return (self.root / "ran").read_text().splitlines()

    @property
    def converted(self) -> list[str]:
        """The releases that have had the data in their hands, by the data."""
        return (self.data / "converted").read_text().splitlines()


def machine(root: Path) -> Machine:
    """A machine with releases `one`, `two` and `sick`, a configuration, and no data."""
    found = Machine(root)
    for name in ("one", "two", "sick"):
        found.made(name)
    for folder in ("etc", "bin", "library"):
        (root / folder).mkdir()
    found.conf.write_text("well")
    (root / "library/hearth_backup").symlink_to(PROJECT / "hearth/backup/onguest")
    found.settings()
    found.program("systemctl", SYSTEMCTL.format(root))
    found.program("sleep", "#!/bin/sh\n/bin/sleep 0.02\n")
    found.program("hearth-state", KEEPER.format(root, python=PYTHON))
    return found
