"""Sends this guest's journal to the central one, entry by entry as it is written, with a certificate of its
own.

Every guest has it where some guest has role central_journal. Up to where it got is in a file: while the
server is away nothing is lost that the guest's own journal still has.
"""

from __future__ import annotations

from hearth.ops import files, shell, systemd
from hearth.ops.files import File
from hearth.role.certificates import AUTHORITY
from hearth.role.declaration import Need, Role
from hearth.role.here import Here

USER, UNIT = "journal-upload", "journal-upload.service"
FOLDER, STATE = "/etc/journal-upload", "/var/lib/journal-upload"

role = Role(
    needs=(Need("central_journal", "https"),),
    secrets=("client/*",),
    packages=("systemd-journal-remote",),  # which starts nothing by itself
    follows="central_journal",
)


@role.deploy
def journal_upload(here: Here) -> None:
    """Bring the certificate, and send."""
    shell.ensure(
        name="Give the journal's client its user",
        holds=f"id -u {USER}",
        command=f"useradd --system --user-group --home-dir {STATE} --no-create-home "
        f"--shell /usr/sbin/nologin {USER}",
    )
    parts = client_files(here)
    files.present(name="Bring the certificate for the central journal", files=parts)
    unit = here.template("journal-upload.service.j2", f"/etc/systemd/system/{UNIT}", values=places(here))
    files.present(name="Describe the journal's client", files=[unit])
    systemd.service(name="Send the journal", unit=UNIT, restart_on=[*parts, unit])


def places(here: Here) -> dict[str, object]:
    """What its unit has to know."""
    server = here.providers("central_journal.https")[0]
    return {
        "user": USER,
        "folder": FOLDER,
        "state": STATE,
        "authority": AUTHORITY,
        "url": f"https://{server.guest.name}:{server.port.number}",
    }


def client_files(here: Here) -> list[File]:
    """The certificate that it shows."""
    leaf = here.authority.client_leaf(here.guest.name)
    return [
        File(f"{FOLDER}/client.crt", leaf.cert_pem),
        File(f"{FOLDER}/client.key", leaf.key_pem.reveal(), USER, USER, "600", secret=True),
    ]
