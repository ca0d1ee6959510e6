"""The guest's own table of nftables; no other table is touched."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from hearth.ops import proven
from hearth.ops.facts import Succeeds
from hearth.ops.files import File
from hearth.ops.noted import Lack, note

TABLE = "inet hearth"


@operation()
def table(file: File, rollback_after: int = 60) -> Generator[PyinfraCommand, None, None]:
    """
    Load a table, and take it back by itself unless a new login proves it.

    + file: makes the table ``inet hearth`` from nothing, whatever there was; nft(8)
    + rollback_after: seconds after which the guest restores what was there

    ``nft -c`` must accept the file, else the old one stays. A second run is silent; a table that differs from
    what the file makes (edited, flushed, deleted by hand) is loaded again. The rest: hearth.ops.proven.

    **Example:**

    .. code:: python

        nft.table(name="Raise the wall", file=File("/etc/hearth/wall.nft", text, mode="600"))
    """
    yield from proven.change(risky(file), rollback_after)


def risky(file: File) -> proven.Risky:
    """How nftables makes use of the file.

    What the file would make is asked of a network namespace that nobody is in: so nothing has to be known of
    how this nft writes its rules. What comes back is the table as it was, also one edited by hand: it let us
    in.
    """
    return proven.Risky(
        name="wall",
        what="rules of the wall",
        kind="wall",
        file=file,
        check="nft -c -f {file}",
        apply="nft -f {file}",
        holds=f'wanted=$(unshare -n sh -c "nft -f {{file}} && nft -s list table {TABLE}") '
        f'&& [ "$wanted" = "$(nft -s list table {TABLE})" ]',
        save=f"if now=$(nft -s list table {TABLE} 2>/dev/null); then "
        f"printf '%s\\n' 'table {TABLE}' 'delete table {TABLE}' \"$now\" > {{kept}}/live; fi",
        # Where even that fails, it ends open: nobody shall stand outside for good.
        restore=f"nft -f {{kept}}/live 2>/dev/null || nft delete table {TABLE} 2>/dev/null || :",
    )


@operation()
def absent(unit: str, others: Sequence[str]) -> Generator[PyinfraCommand, None, None]:
    """
    Take away the table, the unit that loads it, and further files.

    + unit: the path of the unit's file
    + others: paths

    **Example:**

    .. code:: python

        nft.absent(name="Take the wall away", unit="/etc/systemd/system/hearth-wall.service", others=[RULES])
    """
    there = " || ".join(f"[ -e {path} ]" for path in (unit, *others))
    # Asked so that a guest that does not exist yet answers that nothing is there.
    if not host.get_fact(Succeeds, test=f"{there} || nft list table {TABLE}"):
        host.noop("there is no wall of ours")
        return
    note([Lack("wall", TABLE, "wall", "there", "none")])
    yield StringCommand(removing(unit, others))


def removing(unit: str, others: Sequence[str]) -> str:
    """The script of `absent`."""
    return f"""set -eu
systemctl -q disable --now {unit.rpartition("/")[2]} 2>/dev/null || :
rm -f {unit} {" ".join(others)}
systemctl daemon-reload
if nft list table {TABLE} >/dev/null 2>&1; then nft delete table {TABLE}; fi
"""
