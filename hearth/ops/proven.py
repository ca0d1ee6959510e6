"""A file that could lock us out: the guest takes it back by itself unless a new login proves it.

Three steps, shared by SSH's settings and the wall: *try* (a way back is armed on the guest, the file put in
place, judged and applied), *prove* (a new connection from here), *keep* (the way back is disarmed).

The way back is a timer, and for a guest that restarts meanwhile `hearth-rollback.service`, which runs before
the network is up. Whether it or the run was faster is decided by who renames the file `unproven`.
"""

from __future__ import annotations

import shlex
from collections.abc import Generator
from dataclasses import dataclass
from io import StringIO
from typing import Any

from paramiko import SSHException
from pyinfra.api.command import FileUploadCommand, FunctionCommand, PyinfraCommand, StringCommand
from pyinfra.context import host

from hearth.ops.facts import Succeeds
from hearth.ops.files import File, differing, lacks
from hearth.ops.noted import Lack, note

PLACE = "/var/lib/hearth"
STAGE = "/run/hearth"
BOOT = "/etc/systemd/system/hearth-rollback.service"
BOOT_UNIT = f"""[Unit]
Description=Take back what no login has proven before the restart
DefaultDependencies=no
RequiresMountsFor={PLACE} /etc
After=local-fs.target
Before=hearth-wall.service network-pre.target ssh.service shutdown.target
Wants=network-pre.target
Conflicts=shutdown.target
ConditionPathExistsGlob={PLACE}/*/undo

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'for undo in {PLACE}/*/undo; do /bin/sh "$$undo"; done'

[Install]
WantedBy=sysinit.target
"""


@dataclass(frozen=True)
class Risky:
    """A file, and how the guest makes use of it. The commands may use `{file}` and `{kept}`, quoted paths.

    Args:
        name: a word for folders and units, e.g. "sshd".
        what: what comes back, for the admin: "settings of sshd".
        file: the file.
        check: the program's own judgement, once the file is in place; what it prints is shown.
        apply: what makes the guest act on the file.
        holds: a test whether the guest acts on the file as it is; it decides together with the file.
        save: keeps below `{kept}` what else is to come back, before anything is changed.
        restore: acts on what was there before; `apply`, unless said.
        kind: of what it is part, see `hearth.ops.noted.Lack`.
    """

    name: str
    what: str
    file: File
    check: str
    apply: str
    holds: str = "true"
    save: str = ":"
    restore: str | None = None
    kind: str = "file"

    @property
    def kept(self) -> str:
        """The folder of what is kept while the file is unproven."""
        return f"{PLACE}/{self.name}"

    @property
    def candidate(self) -> str:
        """Where the file waits to be tried."""
        return f"{STAGE}/{self.name}.candidate"

    @property
    def rollback(self) -> str:
        """The name of timer and service, without the ending."""
        return f"hearth-{self.name}-rollback"

    @property
    def unproven(self) -> str:
        """A test whether it is in place and nobody has proven it."""
        return f"[ -e {self.kept}/unproven ]"

    def filled(self, command: str) -> str:
        """A command with its paths."""
        return command.replace("{file}", shlex.quote(self.file.path)).replace("{kept}", self.kept)


def change(risky: Risky, rollback_after: int) -> Generator[PyinfraCommand, None, None]:
    """What an operation yields to try, prove and keep a file; nothing where it holds and is proven.

    The connector proves it: ``host.connector.prove_new_connection() -> bool``. It opens a new TCP and SSH
    connection (no channel of the present one), checks the host key, logs in with the key ``ssh/deploy``, runs
    ``true``, and closes it again. It never raises. Without that method nothing is proven.

    Args:
        risky: the file.
        rollback_after: seconds after which the guest restores what was there.
    """
    same, holds = not differing([risky.file]), risky.filled(risky.holds)
    if same and host.get_fact(Succeeds, test=f"! {risky.unproven} && {holds}"):
        host.noop(f"{risky.file.path} is as wanted, and in use")
        return
    acted = same and host.get_fact(Succeeds, test=holds)
    note(lacks([risky.file], risky.kind) or [_lack(risky, acted)])
    if not acted:
        yield StringCommand(f"umask 077 && mkdir -p {STAGE}")
        yield FileUploadCommand(StringIO(risky.file.text), risky.candidate)
        yield StringCommand(trying(risky, rollback_after))
    yield FunctionCommand(_prove, (risky,), {})
    yield StringCommand(keeping(risky))


def _lack(risky: Risky, acted: bool) -> Lack:
    """Of a file that is as it should be."""
    if acted:
        return Lack(risky.kind, risky.what, "proof", "no login has proven them yet", "proven")
    return Lack(risky.kind, risky.what, "in force", "others", f"those of {risky.file.path}")


def trying(risky: Risky, rollback_after: int) -> str:
    """The script that arms the way back, puts the candidate in place, has it judged, and applies it.

    What was there before stays kept where something unproven is in place already.
    """
    kept, timer, path = risky.kept, f"{risky.rollback}.timer", shlex.quote(risky.file.path)
    owner = f"-o {risky.file.user} -g {risky.file.group} -m {risky.file.mode}"
    refused = shlex.quote(f"{risky.file.path} was refused; the old one is back")
    return f"""set -eu
umask 077
if [ -e {kept}/undoing ]; then sh {kept}/undo; fi
mkdir -p {kept}
if ! {risky.unproven}; then
  rm -f {kept}/*
  if [ -e {path} ]; then cp -p {path} {kept}/old; fi
  {risky.filled(risky.save)}
fi
cat > {kept}/undo <<'END'
{undoing(risky)}END
{_armed_for_a_restart(kept)}
touch {kept}/unproven
sync {kept}/*
systemctl stop {timer} 2>/dev/null || :
systemctl reset-failed {risky.rollback}.service {timer} 2>/dev/null || :
systemd-run --quiet --collect --unit={risky.rollback} --on-active={rollback_after} \\
  --timer-property=AccuracySec=1s /bin/sh {kept}/undo
if ! {{ install -D {owner} {risky.candidate} {path} && {risky.filled(risky.check)}; }} ||
    ! {{ {risky.filled(risky.apply)}; }}; then
  sh {kept}/undo
  echo {refused} >&2
  exit 1
fi
"""


def _armed_for_a_restart(kept: str) -> str:
    return f"""cat > {kept}/boot <<'END'
{BOOT_UNIT}END
if ! cmp -s {kept}/boot {BOOT} || ! systemctl -q is-enabled hearth-rollback.service; then
  install -D -m 644 {kept}/boot {BOOT}
  systemctl daemon-reload
  systemctl -q enable hearth-rollback.service
fi"""


def undoing(risky: Risky) -> str:
    """The script that puts the old file back; it does nothing where the new one was proven before."""
    kept, path = risky.kept, shlex.quote(risky.file.path)
    restore = risky.filled(risky.apply if risky.restore is None else risky.restore)
    return f"""[ -e {kept}/undoing ] || mv {kept}/unproven {kept}/undoing 2>/dev/null || exit 0
if [ -e {kept}/old ]; then cp -p {kept}/old {path}; else rm -f {path}; fi
{restore}
rm -f {kept}/undoing  # first: without the old file nobody may begin again
rm -rf {kept}
systemctl stop {risky.rollback}.timer 2>/dev/null || :
"""


def keeping(risky: Risky) -> str:
    """The script that disarms the way back, and fails when it was too late for that."""
    return f"""set -eu
if ! mv {risky.kept}/unproven {risky.kept}/keeping 2>/dev/null; then
  echo {shlex.quote(f"not proven in time: the old {risky.what} are back; run again")} >&2
  exit 1
fi
systemctl stop {risky.rollback}.timer 2>/dev/null || :
rm -rf {risky.kept}
"""


def _prove(state: Any, host: Any, risky: Risky) -> bool:
    """True when a new login works; False (the operation fails) after putting the old file back."""
    # With parameters named `state` and `host`, and only then, False fails the operation
    # (pyinfra/api/command.py).
    prove = getattr(host.connector, "prove_new_connection", None)
    if prove is not None and prove():
        return True
    host.log_styled(f"a new SSH login failed: the old {risky.what} come back", fg="red")
    try:
        host.run_shell_command(StringCommand(f"systemctl start {risky.rollback}.service"))
    except (OSError, SSHException, EOFError):
        host.log("the guest cannot be reached: its own timer restores them")
    return False
