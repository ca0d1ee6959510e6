"""OCI images: taken by digest and unpacked as a release, without any right and without a container engine.

Podman does not work in every unprivileged container, and systemd can do the rest: a unit with
`RootDirectory=` runs from an image's files. So an image is a release like any other (hearth.ops.release):

    /opt/hearth/APP/releases/IDENT/rootfs        the image's files
    /opt/hearth/APP/releases/IDENT/environment   the image's own variables, for `EnvironmentFile=`
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from pyinfra.api.command import PyinfraCommand
from pyinfra.api.operation import operation

from hearth.errors import HearthError
from hearth.ops import release

PACKAGES = ("skopeo", "umoci", "ca-certificates")
WITHIN = 900  # seconds to fetch and unpack one
# Where the guest's own files are seen inside. They have to be there: a release is never written again.
MOUNTS = ("data", "dev", "proc", "run", "sys", "tmp", "var/tmp")
FILES = ("etc/hosts", "etc/localtime", "etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt")
# Grammar of a reference: distribution/reference (github.com), `REGISTRY/PATH[:TAG]@sha256:DIGEST`.
_REFERENCE = re.compile(
    r"(?P<registry>(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)(?::[0-9]+)?|localhost)"
    r"(?P<path>(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)+)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?"
    r"@(?P<digest>sha256:[0-9a-f]{64})"
)


@dataclass(frozen=True)
class Image:
    """An image of a registry, by digest.

    Args:
        repository: with its registry, e.g. "docker.io/vaultwarden/server".
        digest: "sha256:" and 64 hexadecimal digits, of a manifest or of an index of manifests.
        tag: for people; what is taken is the digest alone.
        insecure: the registry speaks plain HTTP, or TLS that nobody vouches for; the digest holds.
    """

    repository: str
    digest: str
    tag: str = ""
    insecure: bool = False

    @property
    def pinned(self) -> str:
        """`REPOSITORY@DIGEST`. skopeo 1.9 refuses a reference with tag and digest."""
        return f"{self.repository}@{self.digest}"

    @property
    def ident(self) -> str:
        """Its name among a program's releases."""
        return release.ident_of(self.tag or self.digest[7:19], self.script)

    def root(self, app: str) -> str:
        """The folder with its files, where it is a release of `app`."""
        return f"{release.path_of(app, self.ident)}/rootfs"

    @property
    def script(self) -> str:
        """What builds the release: fetch, check against the digest, unpack without any right."""
        source = shlex.quote(f"docker://{self.pinned}")
        verify = " --src-tls-verify=false" if self.insecure else ""
        layout = 'oci:"$TMPDIR/image:it"'
        return "\n".join(
            [
                # No signature is asked for: the digest says which image it is, and skopeo checks it.
                f'skopeo --insecure-policy --tmpdir "$TMPDIR" copy --quiet --retry-times 2{verify} '
                f"{source} {layout}",
                'umoci raw unpack --rootless --image "$TMPDIR/image:it" rootfs',
                "skopeo inspect --config --format '{{range .Config.Env}}{{println .}}{{end}}' "
                f"{layout} >environment",
                # Folders that nobody may write into come along: those could not be removed either.
                "chmod -R u+rwX rootfs",
                *(f"mkdir -p rootfs/{folder}" for folder in MOUNTS),
                *(f"mkdir -p rootfs/{file.rpartition('/')[0]}" for file in FILES),
                # A link would lead out of the image, or to nowhere: a mount needs a file.
                *(
                    f"if [ -L rootfs/{file} ] || [ ! -f rootfs/{file} ]; then rm -f rootfs/{file}; "
                    f": >rootfs/{file}; fi"
                    for file in FILES
                ),
            ]
        )


def image(reference: str, insecure: bool = False) -> Image:
    """An image from its reference, as group_data has it.

    Args:
        reference: `REGISTRY/PATH[:TAG]@sha256:DIGEST`, e.g. "docker.io/vaultwarden/server:1.37.3@sha256:...".
        insecure: see `Image`.

    Raises:
        HearthError: it is none, names no registry, or has no digest (a tag may be another image tomorrow).
    """
    found = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
    if found is None:
        raise HearthError(
            f"take the image {reference!r}",
            "it is not REGISTRY/PATH:TAG@sha256:DIGEST",
            "write it in full, with its digest (`skopeo inspect docker://REGISTRY/PATH:TAG | grep Digest`)",
        )
    return Image(found["registry"] + found["path"], found["digest"], found["tag"] or "", insecure)


@operation()
def unpacked(app: str, image: Image, uses: Sequence[str] = ()) -> Generator[PyinfraCommand, None, None]:
    """
    The image as a release of a program: `release.path_of(app, image.ident)`. Nothing runs from it yet.
    The guest needs the packages of ``PACKAGES``.

    + app: the program's name
    + image: see `image`
    + uses: folders of other releases that it cannot do without

    **Example:**

    .. code:: python

        it = image("docker.io/vaultwarden/server:1.37.3@sha256:...")
        image.unpacked(name="Take Vaultwarden's image", app="vaultwarden", image=it)
    """
    yield from release.built._inner(app, image.ident, image.script, uses=uses, within=WITHIN)
