"""Home Assistant Core: a Python environment with all that its integrations need, under systemd."""

from __future__ import annotations

import shlex
from pathlib import Path

from hearth.ops import apt, files, release, runtime, shell
from hearth.ops.files import File
from hearth.ops.release import Parcel
from hearth.role.here import Here
from hearth.role.tokens import DEPLOYER, token_name

from .configuration import CONFIG, NAME, Configuration, configuration, stored_web_server

USER = "homeassistant"
UNIT = f"{NAME}.service"
LIBRARY = f"/usr/local/lib/hearth/{NAME}"
TOKEN = f"/etc/hearth/{NAME}/token"
WITHIN = 300  # seconds until it is healthy; the first start compiles everything
ALSO = ("psycopg2-binary==2.9.11",)  # the recorder's driver; no manifest names it
REQUIREMENTS = Path(__file__).with_name("requirements_of.py")
# What config flows and the API bring; the rest follows from the configuration.
BROUGHT = ("mqtt", "mcp_server", "mobile_app", "recorder", "api", "config", "onboarding", "file_upload")
# Some requirements bring no file for this Python, and are compiled (pyspeex-noise, by assist_pipeline).
PACKAGES = ("ca-certificates", "curl", "g++", "libturbojpeg0", "python3-venv")


def core(here: Here, web: dict[str, object]) -> Configuration:
    """Install, configure and run it; its configuration.

    Args:
        here: the guest.
        web: settings of its web server.
    """
    apt.installed(name="Install what Home Assistant is built with", packages=list(PACKAGES))
    uv = runtime.chosen_uv(here.host.data)
    runtime.uv(name="Install uv", pin=uv)
    found = configuration(here, USER)
    script = build_script(here, uv.path, wanted(here, found))
    requirements = REQUIREMENTS.read_bytes()
    ident = release.ident_of(str(here.value("version")), script, requirements)
    release.built(
        name="Install Home Assistant",
        app=NAME,
        ident=ident,
        build=script,
        parcels=[Parcel("requirements_of.py", requirements)],
        uses=[uv.path],
        within=3600,
    )
    place(web)
    configure(here, found, f"{release.path_of(NAME, ident)}/venv/bin/python")
    run(here, found, ident)
    return found


def wanted(here: Here, found: Configuration) -> list[str]:
    """The integrations whose requirements are installed in advance."""
    named = {*found.domains, *here.value("integrations"), *here.value("entries"), *BROUGHT}
    # Home Assistant tries these once, when it is new.
    return sorted({*named, *here.value("no_entries")})


def build_script(here: Here, uv: str, domains: list[str]) -> str:
    """The shell script that fills a release.

    Args:
        here: the guest.
        uv: uv's folder.
        domains: integrations.
    """
    version, python = shlex.quote(str(here.value("version"))), shlex.quote(str(here.value("python")))
    named = " ".join(map(shlex.quote, domains))
    pip = f'{uv}/bin/uv pip install -q --python venv/bin/python --cache-dir "$TMPDIR/uv"'
    return "\n".join(
        [
            "export UV_PYTHON_INSTALL_DIR=$RELEASE/python",
            f"{uv}/bin/uv venv -q --python {python} venv",
            f"{pip} homeassistant=={version} {' '.join(ALSO)}",
            f'venv/bin/python "$SOURCES/requirements_of.py" {named} >requirements.txt',
            "limits=$(echo venv/lib/python*/site-packages/homeassistant/package_constraints.txt)",
            f'{pip} -r requirements.txt -c "$limits"',
            "venv/bin/hass --version",
        ]
    )


def place(web: dict[str, object]) -> None:
    """A user, the folder of its configuration, and what must be there before the first start."""
    shell.ensure(
        name="Create Home Assistant's user",
        holds=f"id -u {USER}",
        command=f"useradd --system --home-dir {CONFIG} --no-create-home --shell /usr/sbin/nologin {USER}",
    )
    mine = f"install -o {USER} -g {USER}"
    edited = " ".join(f"{CONFIG}/{name}.yaml" for name in ("automations", "scripts", "scenes"))
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
        command=f"printf %s {text} >{stored}.new && {mine} -m 600 {stored}.new {stored} && rm {stored}.new",
    )


def configure(here: Here, found: Configuration, python: str) -> None:
    """The configuration in place, once Home Assistant has accepted it aside.

    Args:
        here: the guest.
        found: its files.
        python: the interpreter of the release that will run.
    """
    tools = [
        here.template("check.sh", f"{LIBRARY}/check", mode="755"),
        here.template("check.py", f"{LIBRARY}/check.py"),
        here.template("health.py", f"{LIBRARY}/health.py"),
    ]
    files.present(name="Bring the programs that judge Home Assistant", files=tools)
    as_user = (
        f"env HOME=/var/cache/{NAME} PYTHONPYCACHEPREFIX=/var/cache/{NAME}/python "
        f"setpriv --reuid={USER} --regid={USER} --clear-groups --no-new-privs"
    )
    files.present(
        name="Configure Home Assistant",
        files=[*found.restarted, found.levels],
        check=f"install -d -o {USER} -g {USER} -m 750 /var/cache/{NAME} && "
        f"sh {LIBRARY}/check {{stage}} {USER} {CONFIG} {as_user} {python} {LIBRARY}/check.py",
    )


def run(here: Here, found: Configuration, ident: str) -> None:
    """The service, healthy; else the release and the files that worked before."""
    values = {"name": NAME, "config": CONFIG, "current": release.current(NAME)}
    unit = here.template("unit.service.j2", f"/etc/systemd/system/{UNIT}", values=values)
    files.present(name="Confine Home Assistant", files=[unit])
    port = here.port("web").behind
    assert port is not None
    release.active(
        name="Run Home Assistant",
        app=NAME,
        ident=ident,
        unit=UNIT,
        restart_on=[*found.restarted, unit],
        health=health(port, found.domains),
        ports=[port],
        within=WITHIN,
    )


def health(port: int, domains: tuple[str, ...]) -> str:
    """The command that says whether Home Assistant does its work."""
    python = f"{release.current(NAME)}/venv/bin/python"
    return f"{python} {LIBRARY}/health.py {port} {TOKEN} {' '.join(map(shlex.quote, domains))}"


def keep_token(here: Here) -> None:
    """The run's own token, for the check of health; only root reads it, who could read all of it anyway."""

    def text() -> str:
        return here.secrets.get(token_name(DEPLOYER)).reveal() + "\n"

    token = File(TOKEN, text, mode="600", secret=True)
    files.present(name="Let the guest look into its Home Assistant", files=[token])
