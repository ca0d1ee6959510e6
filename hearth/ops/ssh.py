"""Settings of the SSH server that cannot lock us out."""

from __future__ import annotations

import shlex
from collections.abc import Generator
from io import StringIO
from typing import Any

from paramiko import SSHException
from pyinfra.api.command import FileUploadCommand, FunctionCommand, PyinfraCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from hearth.ops.facts import Succeeds
from hearth.ops.files import File, differing

KEPT = "/var/lib/hearth/sshd"
ROLLBACK = "hearth-sshd-rollback"
RELOAD = "systemctl try-reload-or-restart ssh.service"
ARMED = f"systemctl is-active {ROLLBACK}.timer"


@operation()
def settings(file: File, rollback_after: int = 60) -> Generator[PyinfraCommand, None, None]:
    """
    Put a drop-in of sshd_config in place, and take it back by itself unless a new login proves it.

    + file: the drop-in; the first value of a keyword wins in sshd_config(5), so it is named to be read first
    + rollback_after: seconds after which the guest restores what was there

    ``sshd -t`` must accept the whole configuration, else the old file stays. Then a timer on the guest itself
    is armed, and sshd reloaded. Only when a new connection with our key has been made from here is the timer
    disarmed. When it cannot be made, the old file is restored at once, or by the timer where the guest cannot
    be reached.

    The connector proves it: ``host.connector.prove_new_connection() -> bool``. It opens a new TCP and SSH
    connection (no channel of the present one), checks the host key, logs in with the key ``ssh/deploy``, runs
    ``true``, and closes it again. It answers within ten seconds, and never raises. Without that method
    nothing is proven.

    **Example:**

    .. code:: python

        ssh.settings(name="Harden SSH", file=File("/etc/ssh/sshd_config.d/00-hearth.conf", text, mode="600"))
    """
    changed = bool(differing([file]))
    if not changed and not host.get_fact(Succeeds, test=ARMED):
        host.noop("sshd has its settings")
        return
    if changed:
        candidate = f"{KEPT}/candidate"
        yield StringCommand(f"umask 077 && mkdir -p {KEPT}")
        yield FileUploadCommand(StringIO(file.text), candidate)
        yield StringCommand(trying(file, candidate, rollback_after))
    yield FunctionCommand(_prove, (), {})
    yield StringCommand(keeping(file))


def trying(file: File, candidate: str, rollback_after: int) -> str:
    """The script that arms the rollback, puts the candidate in place, has `sshd -t` judge it, reloads sshd.

    What was there before stays kept when a rollback is already armed: that one is still unproven.
    """
    path = shlex.quote(file.path)
    return f"""set -eu
umask 077
if ! {ARMED} >/dev/null 2>&1; then
  rm -f {KEPT}/old
  if [ -e {path} ]; then cp -p {path} {KEPT}/old; fi
fi
cat > {KEPT}/rollback <<'END'
if [ -e {KEPT}/old ]; then cp -p {KEPT}/old {path}; else rm -f {path}; fi
{RELOAD}
systemctl stop {ROLLBACK}.timer 2>/dev/null || :
END
systemctl stop {ROLLBACK}.timer 2>/dev/null || :
systemctl reset-failed {ROLLBACK}.service {ROLLBACK}.timer 2>/dev/null || :
systemd-run --quiet --collect --unit={ROLLBACK} --on-active={rollback_after} \\
  --timer-property=AccuracySec=1s /bin/sh {KEPT}/rollback
mkdir -p /run/sshd
install -D -o {file.user} -g {file.group} -m {file.mode} {candidate} {path}
if ! /usr/sbin/sshd -t; then
  sh {KEPT}/rollback
  systemctl stop {ROLLBACK}.timer
  echo {shlex.quote(f"sshd refused {file.path}; the old one is back")} >&2
  exit 1
fi
{RELOAD}
"""


def keeping(file: File) -> str:
    """The script that disarms the rollback, and fails when it was too late for that."""
    return f"""set -eu
systemctl stop {ROLLBACK}.timer 2>/dev/null || :
if ! printf '%s  %s\n' {file.wanted.sha256} {shlex.quote(file.path)} | sha256sum --check --status; then
  echo 'the rollback was faster; run again' >&2
  exit 1
fi
rm -rf {KEPT}
"""


def _prove(state: Any, host: Any) -> bool:
    """True when a new login works; False (the operation fails) after putting the old settings back."""
    # With the parameters `state` and `host`, and only then, False fails the operation
    # (pyinfra/api/command.py).
    prove = getattr(host.connector, "prove_new_connection", None)
    if prove is not None and prove():
        return True
    host.log_styled("a new SSH login failed: the old settings of sshd come back", fg="red")
    try:
        host.run_shell_command(StringCommand(f"systemctl start {ROLLBACK}.service"))
    except (OSError, SSHException, EOFError):
        host.log("the guest cannot be reached: its own timer restores them")
    return False
