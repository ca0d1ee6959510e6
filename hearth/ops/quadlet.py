"""Podman's quadlets: units of containers, put in place only after Podman's own generator has accepted them.

podman-systemd.unit(5). Podman has them from 4.4 on: Debian 13, not Debian 12.
"""

from __future__ import annotations

import shlex
from collections.abc import Generator, Sequence

from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from hearth.ops import files
from hearth.ops.facts import Succeeds
from hearth.ops.files import File

FOLDER = "/etc/containers/systemd"
GENERATOR = "/usr/libexec/podman/quadlet"
PULLED = 900  # seconds


def check(generator: str = GENERATOR, folder: str = FOLDER) -> str:
    """The check for `files.present` that asks the generator; the quadlets are below `{stage}`.

    Podman 5's generator ends with 1 on a key that it does not know; Podman 4's said so and ended with 0. What
    comes out is seen as well: a file that it passed over would be no service.

    Args:
        generator: the program.
        folder: where the quadlets go, without the stage.
    """
    return f"""[ -x {generator} ] ||
  {{ echo 'this Podman knows no quadlets; that of Debian 13 does' >&2; exit 1; }}
code=0
said=$(QUADLET_UNIT_DIRS={{stage}}{folder} {generator} --dryrun 2>&1) || code=$?
wrong=$(printf '%s\\n' "$said" | grep -E '^quadlet-generator.*: (converting|error|[^ ]+ is not)' || :)
[ "$code" -eq 0 ] || [ -n "$wrong" ] || wrong=$said
made=$(printf '%s\\n' "$said" | grep -c '^---.*\\.service---' || :)
[ -n "$wrong" ] || [ "$made" -gt 0 ] || wrong='it makes no service'
[ -z "$wrong" ] || {{ printf '%s\\n' "$wrong" >&2; exit 1; }}"""


@operation()
def present(quadlets: Sequence[File]) -> Generator[PyinfraCommand, None, None]:
    """
    Quadlets in place, once Podman's generator has made services of all of them; else the old ones stay.

    + quadlets: files below ``FOLDER``

    **Example:**

    .. code:: python

        quadlet.present(name="Describe the container", quadlets=[here.template("it.container.j2", path)])
    """
    yield from files.present._inner(list(quadlets), check())


@operation()
def pulled(reference: str, insecure: bool = False) -> Generator[PyinfraCommand, None, None]:
    """
    An image in Podman's own storage.

    + reference: with its digest, see `hearth.ops.image.Image.pinned`
    + insecure: the registry's TLS is not checked, or there is none

    **Example:**

    .. code:: python

        quadlet.pulled(name="Fetch the image", reference="docker.io/vaultwarden/server@sha256:...")
    """
    name = shlex.quote(reference)
    if host.get_fact(Succeeds, test=f"podman image exists {name}"):
        host.noop(f"{reference} is there")
        return
    verify = " --tls-verify=false" if insecure else ""
    yield StringCommand(f"timeout {PULLED} podman pull --quiet{verify} {name}")
