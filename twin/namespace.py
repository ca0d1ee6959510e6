"""The twin's own network, and the mount namespace in which LXC finds it.

The network namespace holds the fleet's bridges and the node's addresses. One veth pair with link-local
addresses joins it to the machine; no route, no forwarding and no NAT go over it, and nftables lets it carry
nothing but connections to the forward proxy.

The mount namespace is pinned to a file. In it /sys shows the devices of the network namespace (LXC looks
bridges up there), the machine's cgroups stay in place, and /etc, /usr/sbin and /usr/local/sbin are the node's
own: an overlay in memory adds /etc/pve, pct, qm, Hearth's wrapper and the ids of unprivileged guests. root
has another home there, whose authorized_keys is a link, as on Proxmox (there into /etc/pve/priv).
"""

from __future__ import annotations

import hashlib
import json
from ipaddress import IPv4Address
from pathlib import Path

from hearth.errors import HearthError
from twin.commands import run, works
from twin.home import Home, Segment
from twin.state import Twin, others

LINK = "link0"  # the veth end inside
PROXY_PORT = 8888
_FIRST_LINK = IPv4Address("169.254.77.0")
_SUBID = "root:100000:65536"
_BRIDGE_FILTER = Path("/proc/sys/net/bridge")
_CALLS = ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-call-arptables")

_MOUNTS = """set -e
aside=$1/cgroups
mkdir -p "$aside"
mount --rbind /sys/fs/cgroup "$aside"
umount -l /sys
mount -t sysfs sysfs /sys
mount --rbind "$aside" /sys/fs/cgroup
umount -l "$aside"
rmdir "$aside"
mount -t tmpfs -o mode=0711 tmpfs "$1/node"
for folder in etc usr/sbin usr/local/sbin; do
  upper=$1/node/upper/$folder
  work=$1/node/work/$folder
  mkdir -p "$upper" "$work"
  mount -t overlay overlay -o "lowerdir=/$folder,upperdir=$upper,workdir=$work" "/$folder"
done
echo "$2" > /etc/subuid
echo "$2" > /etc/subgid
mkdir -p /etc/pve/lxc /etc/pve/qemu-server
mkdir -m 700 "$1/node/root" "$1/node/root/.ssh"
ln -s "$3" "$1/node/root/.ssh/authorized_keys"
sed -i "s,^\\(root:[^:]*:0:0:[^:]*\\):/root:,\\1:$1/node/root:," /etc/passwd
: > "$1/mounts-ready"
"""


def veth(twin: Twin) -> str:
    """The veth end outside: 15 characters at most."""
    return "hth" + hashlib.sha256(f"{twin.home}/{twin.name}".encode()).hexdigest()[:9]


def link_addresses(twin: Twin) -> tuple[IPv4Address, IPv4Address]:
    """The link-local addresses outside and inside, chosen once so that no other twin has them."""
    slot = twin.load().get("link")
    if slot is None:
        taken = {other.load().get("link") for other in others(twin)}
        in_use = run("ip", "-4", "addr")
        slot = next(n for n in range(60) if n not in taken and str(_FIRST_LINK + 4 * n + 1) not in in_use)
        twin.save(link=slot)
    return _FIRST_LINK + 4 * slot + 1, _FIRST_LINK + 4 * slot + 2


def make(twin: Twin, home: Home) -> None:
    """Make the network, or what is missing of it."""
    if not works("ip", "netns", "exec", twin.netns, "true"):
        works("ip", "netns", "del", twin.netns)
        run("ip", "netns", "add", twin.netns)
    _ip(twin, "link", "set", "lo", "up")
    for key, value in (("ipv4.ip_forward", 0), ("ipv6.conf.all.forwarding", 0)):
        inside(twin, "sysctl", "-qw", f"net.{key}={value}")
    _filter_bridges(twin)
    for segment in home.segments:
        _make_bridge(twin, segment)
    _make_link(twin)
    _make_rules(twin, home)
    _make_mounts(twin)


def inside(twin: Twin, *argv: str, timeout: float = 60, stdin: str | None = None) -> str:
    """Run a program in the twin's network; the files are the machine's."""
    return run("nsenter", f"--net={twin.netns_file}", "--", *argv, timeout=timeout, stdin=stdin)


def enter(twin: Twin, *argv: str) -> list[str]:
    """The command line that runs a program in the twin's network and mounts."""
    return ["nsenter", f"--net={twin.netns_file}", f"--mount={twin.mount_ns}", "--", *argv]


def pinned(twin: Twin) -> bool:
    """Whether the mount namespace is there."""
    return f" {twin.mount_ns} " in _mountinfo()


def remove(twin: Twin) -> None:
    """Take all of it away again; what is not there is no error. The processes inside have to be gone."""
    for _ in range(8):  # a killed `up` may have mounted more than once
        for path in (twin.mount_ns, twin.ns_dir):
            if f" {path} " in _mountinfo():
                run("umount", "-l", str(path))
    works("ip", "link", "del", veth(twin))
    works("nft", "delete", "table", "inet", _table(twin))
    if twin.netns_file.exists():
        run("ip", "netns", "del", twin.netns)


def _filter_bridges(twin: Twin) -> None:
    """Let nftables see the packets that the twin's bridges carry: the guests' firewall.

    The setting is each network namespace's own (kernel 5.3). A module that is loaded for it would begin to
    filter the machine's own bridges too: there it is turned off.
    """
    if not _BRIDGE_FILTER.exists():
        run("modprobe", "br_netfilter")
        run("sysctl", "-qw", *(f"net.bridge.{name}=0" for name in _CALLS))
    inside(
        twin, "sysctl", "-qw", *(f"net.bridge.{name}=1" for name in _CALLS[:2]), f"net.bridge.{_CALLS[2]}=0"
    )


def _make_bridge(twin: Twin, segment: Segment) -> None:
    if segment.bridge not in _links(twin):
        mac = _bridge_mac(segment.bridge)
        _ip(twin, "link", "add", segment.bridge, "address", mac, "type", "bridge", "forward_delay", "0")
    for address in segment.addresses:
        _ip(twin, "addr", "replace", address, "dev", segment.bridge, *(["nodad"] if ":" in address else []))
    _ip(twin, "link", "set", segment.bridge, "up")
    for family in ("ipv4", "ipv6"):
        # Who asks for a guest that is still starting hears "no route" in 0.3 s, not in 3 s, and asks again.
        inside(twin, "sysctl", "-qw", f"net.{family}.neigh.{segment.bridge}.retrans_time_ms=100")


def _bridge_mac(bridge: str) -> str:
    """The node's own MAC on a bridge.

    Left to itself a bridge takes the lowest one of its ports, and when that port goes away, whoever knew the
    node by it loses the node for half a minute. On a real node the network card's is the lowest: guests' ends
    begin with fe (`tap_plug` in PVE/Network.pm).
    """
    digest = hashlib.sha256(bridge.encode()).hexdigest()
    return ":".join(["02", *(digest[at : at + 2] for at in range(0, 10, 2))])


def _make_link(twin: Twin) -> None:
    outside, within = link_addresses(twin)
    name = veth(twin)
    if LINK not in _links(twin):
        works("ip", "link", "del", name)
        run("ip", "link", "add", name, "type", "veth", "peer", "name", LINK, "netns", twin.netns)
    run("sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1")
    inside(twin, "sysctl", "-qw", f"net.ipv6.conf.{LINK}.disable_ipv6=1")
    run("ip", "addr", "replace", f"{outside}/30", "dev", name)
    run("ip", "link", "set", name, "up")
    _ip(twin, "addr", "replace", f"{within}/30", "dev", LINK)
    _ip(twin, "link", "set", LINK, "up")


def _make_rules(twin: Twin, home: Home) -> None:
    """Inside: only the proxy's port goes over the link.

    Its connections are tracked whether or not the firewall is on: what stands when it comes on goes on,
    although here both ends of a connection to the node may be inside.

    Outside: the proxy never asks for the home's addresses.
    """
    outside, _ = link_addresses(twin)
    table = _table(twin)
    inner = f"""table inet {table} {{}}
delete table inet {table}
table inet {table} {{
  chain output {{
    type filter hook output priority 0
    oifname "{LINK}" ip daddr {outside} tcp dport {PROXY_PORT} accept
    oifname "{LINK}" drop
  }}
  chain forward {{
    type filter hook forward priority 0
    oifname "{LINK}" drop
    iifname "{LINK}" drop
  }}
  chain tracked {{
    type filter hook input priority 0
    ct state established accept
  }}
}}
"""
    rules = "\n".join(
        f'    meta skuid "tinyproxy" {"ip6" if ":" in net else "ip"} daddr {net} reject'
        for net in home.subnets
    )
    outer = f"""table inet {table} {{}}
delete table inet {table}
table inet {table} {{
  chain output {{
    type filter hook output priority 0
{rules}
  }}
  chain input {{
    type filter hook input priority 0
    iifname "{veth(twin)}" tcp dport {PROXY_PORT} accept
    iifname "{veth(twin)}" ct state established accept
    iifname "{veth(twin)}" drop
  }}
  chain forward {{
    type filter hook forward priority 0
    iifname "{veth(twin)}" drop
    oifname "{veth(twin)}" drop
  }}
}}
"""
    inside(twin, "nft", "-f", "-", stdin=inner)
    run("nft", "-f", "-", stdin=outer)


def _make_mounts(twin: Twin) -> None:
    ready = twin.dir / "mounts-ready"
    if pinned(twin) and ready.exists():
        return
    for path in (twin.mount_ns, twin.ns_dir):
        while f" {path} " in _mountinfo():
            run("umount", "-l", str(path))
    ready.unlink(missing_ok=True)
    (twin.dir / "node").mkdir(mode=0o711, exist_ok=True)
    twin.ns_dir.mkdir(mode=0o700, exist_ok=True)
    run("mount", "--bind", str(twin.ns_dir), str(twin.ns_dir))
    run("mount", "--make-private", str(twin.ns_dir))
    twin.mount_ns.touch()
    run(
        *("nsenter", f"--net={twin.netns_file}", "--"),
        *("unshare", f"--mount={twin.mount_ns}", "--", "sh", "-c", _MOUNTS, "sh"),
        *(str(twin.dir), _SUBID, str(twin.node_keys)),
    )
    if not ready.exists():
        raise HearthError("make the twin's mounts", "the mount namespace came out incomplete")


def _ip(twin: Twin, *argv: str) -> str:
    return run("ip", "-n", twin.netns, *argv)


def _links(twin: Twin) -> set[str]:
    return {link["ifname"] for link in json.loads(_ip(twin, "-j", "link", "show") or "[]")}


def _table(twin: Twin) -> str:
    return f"hearth-twin-{twin.name}"


def _mountinfo() -> str:
    return Path("/proc/self/mountinfo").read_text()
