"""The node's `pct`, `qm` and `pvesm`, as far as the wrapper of Hearth's key uses them.

They hand over to the API process as root@pam:


python -m twin.pct TWIN lxc|qemu set VMID --KEY VALUE ... | config VMID | list
python -m twin.pct TWIN pvesm path VOLUME
"""

from __future__ import annotations

import sys
from urllib.parse import quote

from hearth.errors import HearthError
from twin.control import ask_api
from twin.real.archives import folder
from twin.state import Twin


def options(argv: list[str]) -> dict[str, str]:
    """`--key value`, `-key value` and `--key=value` as Proxmox's command line reads them.

    Raises:
        HearthError: a word stands where an option should.
    """
    found: dict[str, str] = {}
    words = iter(argv)
    for word in words:
        key, equals, value = word.partition("=")
        if not key.startswith("-"):
            raise HearthError("read the command line", f"{word!r} is not an option")
        found[key.lstrip("-")] = value if equals else next(words, "1")
    return found


def node_of(twin: Twin, kind: str, vmid: str) -> str:
    """The node that a guest is on."""
    rows = ask_api(twin, "GET", "/cluster/resources?type=vm")
    found = [row["node"] for row in rows if row["id"] == f"{kind}/{vmid}"]
    if not found:
        raise HearthError(f"find {vmid}", f"Configuration file 'nodes/*/{kind}/{vmid}.conf' does not exist")
    return str(found[0])


def main(argv: list[str]) -> int:
    """Run one command; returns the exit code."""
    name, kind, command, *rest = argv
    twin = Twin.named(name)
    try:
        if (kind, command) == ("pvesm", "path"):
            storage, _, volume = rest[0].partition(":")
            print(folder(twin, storage) / volume.removeprefix("backup/"))
            return 0
        if command == "list":
            for row in ask_api(twin, "GET", "/cluster/resources?type=vm"):
                if row["type"] == kind:
                    print(f"{row['vmid']}\t{row['status']}\t{row['name']}")
            return 0
        vmid, *more = rest
        path = f"/nodes/{node_of(twin, kind, vmid)}/{kind}/{quote(vmid)}/config"
        if command == "config":
            for key, value in sorted(ask_api(twin, "GET", path).items()):
                print(f"{key}: {value}")
            return 0
        if command == "set":
            ask_api(twin, "PUT", path, options(more))
            return 0
    except (HearthError, ValueError) as error:
        print(error.reason if isinstance(error, HearthError) else error, file=sys.stderr)
        return 255
    print(f"ERROR: unknown command '{command}'", file=sys.stderr)
    return 255


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
