"""What "core" and "container" share: a user, the configuration's folder, and the programs that judge it."""

from __future__ import annotations

import shlex

from hearth.ops import files, shell
from hearth.ops.files import File
from hearth.role.here import Here
from hearth.role.tokens import DEPLOYER, token_name

from .configuration import CONFIG, NAME, Configuration, stored_web_server

USER = "homeassistant"
UNIT = f"{NAME}.service"
LIBRARY = f"/usr/local/lib/hearth/{NAME}"
TOKEN = f"/etc/hearth/{NAME}/token"
WITHIN = 180  # seconds until it is healthy; the first start compiles everything
EDITED = ("automations", "scripts", "scenes")  # by the web interface: ours to create, never to change


def place(here: Here, port: int, web: dict[str, object], uid: int | None = None) -> None:
    """A user, the folder of its configuration, and what must be there before the first start.

    Args:
        here: the guest.
        port: where it listens on loopback.
        web: settings of its web server.
        uid: the user's number; None: any.
    """
    number = f"--uid {uid} " if uid is not None else "--system "
    shell.ensure(
        name="Create Home Assistant's user",
        holds=f"id -u {USER}",
        command=f"useradd {number}--home-dir {CONFIG} --no-create-home --shell /usr/sbin/nologin {USER}",
    )
    files.present(name="Bring the programs that dump and restore Home Assistant", files=keepers(here, port))
    here.restore_state()
    mine = f"install -o {USER} -g {USER}"
    edited = " ".join(f"{CONFIG}/{name}.yaml" for name in EDITED)
    shell.ensure(
        name="Make a place for Home Assistant's configuration",
        holds=f"for f in {edited}; do [ -e $f ] || exit 1; done",
        command=f"{mine} -d -m 750 {CONFIG} && {mine} -d -m 700 {CONFIG}/.storage {CONFIG}/hearth "
        f"{CONFIG}/hearth/packages\n"
        f"for f in {edited}; do [ -e $f ] || {mine} -m 600 /dev/null $f; done",
    )
    stored = f"{CONFIG}/.storage/http"
    text = shlex.quote(stored_web_server(web))
    shell.ensure(
        name="Let Home Assistant's web server begin on loopback",
        holds=f"[ -e {stored} ]",
        command=f"printf %s {text} >{stored}.new && chmod 600 {stored}.new && chown {USER}: {stored}.new && "
        f"mv {stored}.new {stored}",
    )


def keepers(here: Here, port: int) -> list[File]:
    """The programs that dump its configuration and bring it back.

    Args:
        here: the guest.
        port: where it listens on loopback.
    """
    values = {
        "config": CONFIG,
        "library": LIBRARY,
        "port": port,
        "token": TOKEN,
        "unit": UNIT,
        "user": USER,
    }
    scripts = [
        here.template(f"{name}.sh.j2", f"{LIBRARY}/{name}", values=values, mode="755")
        for name in ("dump", "restore")
    ]
    return [here.template("dump.py", f"{LIBRARY}/dump.py"), *scripts]


def configure(here: Here, found: Configuration, judge: str, tools: tuple[File, ...] = ()) -> None:
    """The configuration in place, once Home Assistant has accepted it aside.

    Args:
        here: the guest.
        found: its files.
        judge: the command that is given the folder with the candidates.
        tools: further programs that it uses.
    """
    programs = [
        here.template("check.sh", f"{LIBRARY}/check", mode="755"),
        here.template("check.py", f"{LIBRARY}/check.py"),
        here.template("health.py", f"{LIBRARY}/health.py"),
        *tools,
    ]
    files.present(name="Bring the programs that judge Home Assistant", files=programs)
    files.present(
        name="Configure Home Assistant",
        files=[*found.restarted, found.levels],
        check=f"sh {LIBRARY}/check {{stage}} {USER} {CONFIG} {judge}",
    )


def health(python: str, port: int, domains: tuple[str, ...]) -> str:
    """The command that says whether Home Assistant does its work."""
    return f"{python} {LIBRARY}/health.py {port} {TOKEN} {' '.join(map(shlex.quote, domains))}"


def keep_token(here: Here) -> None:
    """The run's own token, for the check of health; only root reads it, who could read all of it anyway."""

    def text() -> str:
        return here.secrets.get(token_name(DEPLOYER)).reveal() + "\n"

    token = File(TOKEN, text, mode="600", secret=True)
    files.present(name="Let the guest look into its Home Assistant", files=[token])
