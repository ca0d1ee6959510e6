"""Home Assistant Core: a Python environment with all that its integrations need, under systemd.

Its makers no longer support this way of installing it.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from hearth.ops import apt, files, release, runtime
from hearth.ops.release import Parcel
from hearth.role.here import Here

from .configuration import CONFIG, NAME, Configuration, configuration
from .place import LIBRARY, UNIT, USER, WITHIN, configure, health, place

BUILD_WITHIN = 3600  # seconds
ALSO = ("psycopg2-binary==2.9.11",)  # the recorder's driver; no manifest names it
REQUIREMENTS = Path(__file__).with_name("requirements_of.py")
# What config flows and the API bring; the rest follows from the configuration.
BROUGHT = ("mqtt", "mcp_server", "mobile_app", "recorder", "api", "config", "onboarding", "file_upload")
# Some requirements bring no file for this Python, and are compiled (pyspeex-noise, by assist_pipeline).
PACKAGES = ("ca-certificates", "curl", "g++", "libturbojpeg0", "python3-venv")


def core(here: Here, port: int, web: dict[str, object]) -> Configuration:
    """Install, configure and run it; its configuration.

    Args:
        here: the guest.
        port: where it listens on loopback.
        web: settings of its web server.
    """
    found = configuration(here, USER)
    ident = install(here, wanted(here, found))
    place(here, port, web)
    python = f"{release.path_of(NAME, ident)}/venv/bin/python"
    # Compiled code goes to the cache that the service uses: its first start then finds it.
    cache = f"/var/cache/{NAME}"
    as_user = (
        f"sh -c 'install -d -o {USER} -g {USER} -m 750 {cache} && exec env HOME={cache} "
        f"PYTHONPYCACHEPREFIX={cache}/python "
        f'setpriv --reuid={USER} --regid={USER} --clear-groups --no-new-privs "$@"\' sh'
    )
    configure(here, found, f"{as_user} {python} {LIBRARY}/check.py")
    run(here, found, ident, port)
    return found


def install(here: Here, domains: list[str]) -> str:
    """Build the release; its name."""
    apt.installed(name="Install what Home Assistant is built with", packages=list(PACKAGES))
    uv = runtime.chosen_uv(here.host.data)
    runtime.uv(name="Install uv", pin=uv)
    script, requirements = build_script(here, uv.path, domains), REQUIREMENTS.read_bytes()
    ident = release.ident_of(str(here.value("version")), script, requirements)
    release.built(
        name="Install Home Assistant",
        app=NAME,
        ident=ident,
        build=script,
        parcels=[Parcel("requirements_of.py", requirements)],
        uses=[uv.path],
        within=BUILD_WITHIN,
    )
    return ident


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


def run(here: Here, found: Configuration, ident: str, port: int) -> None:
    """The service, healthy; else the release and the files that worked before."""
    values = {"name": NAME, "config": CONFIG, "current": release.current(NAME)}
    unit = here.template("unit.service.j2", f"/etc/systemd/system/{UNIT}", values=values)
    files.present(name="Confine Home Assistant", files=[unit])
    release.active(
        name="Run Home Assistant",
        role=here.role,
        app=NAME,
        ident=ident,
        unit=UNIT,
        restart_on=[*found.restarted, unit],
        health=health(f"{release.current(NAME)}/venv/bin/python", port, found.domains),
        ports=[port],
        within=WITHIN,
    )
