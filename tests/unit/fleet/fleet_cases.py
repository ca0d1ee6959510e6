"""A small whole fleet to spoil, and the table of mistakes: one a line where it fits, so that what is missing can be seen.

A case: pairs of old and new text for WHOLE, the field, a part of what is wrong, a part of what would
be right, and a text that stands (last) on the line of the mistake.
"""
# ruff: noqa: E501  a table reads by its lines

from __future__ import annotations

from hearth.role.declaration import Need, Port, Role

WHOLE = """\
nodes:
  pve:
    address: 192.168.1.185
    storage: local-lvm
    images: local
networks:
  lan:
    bridge: vmbr0
    subnet: 192.168.1.0/24
    gateway: 192.168.1.1
    resolver: [192.168.1.1]
    subnet6: fd00::/64
images:
  debian-12:
    kind: lxc
    url: http://example.org/debian-12.tar.zst
  debian-12-cloud:
    kind: vm
    url: https://example.org/debian-12.qcow2
admin:
  user: anna
defaults:
  memory: 512 MiB
  lxc:
    image: debian-12
  vm:
    image: debian-12-cloud
guests:
  comms:
    kind: lxc
    address: 192.168.1.135
    address6: fd00::135
    cores: 2
    disk: 16 GiB
    roles: [broker]
  database:
    kind: vm
    address: 192.168.1.136
    memory: 2 GiB
    disk: 32 GiB
  haos:
    kind: vm
    vmid: 1000
    appliance: true
"""

ROLES = {
    "base": Role(name="base"),
    "broker": Role(name="broker", provides=(Port("mqtts", 8883, tls=True),)),
    "hub": Role(name="hub", needs=(Need("broker", "mqtts"),)),
    "panel": Role(name="panel", needs=(Need("hub", "web", optional=True),)),
}


def spoiled(*changes: str) -> str:
    """WHOLE with pairs of old and new text; each old text must be there."""
    text = WHOLE
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert old in text
        text = text.replace(old, new, 1)
    return text


COMMS = "    cores: 2\n"  # a line of the guest comms, to add others to
DATABASE = "    memory: 2 GiB\n"
LAN = "    gateway: 192.168.1.1\n"
NODE = "    storage: local-lvm\n"
ADMIN = "  user: anna\n"
G = "guests.comms"


def comms(line: str) -> tuple[str, str]:
    return COMMS, f"{COMMS}    {line}\n"


def database(line: str) -> tuple[str, str]:
    return DATABASE, f"{DATABASE}    {line}\n"


CASES: dict[str, tuple[tuple[str, ...], str, str, str, str]] = {
    "unknown key": (comms("memroy: 1 GiB"), f"{G}.memroy", "no known key", "memory", "memroy: 1"),
    "unknown top key": (("admin:", "amdin:"), "amdin", "no known key", "admin", "amdin:"),
    "unknown node key": ((NODE, NODE + "    adress: x\n"), "nodes.pve.adress", "no known key", "address", "adress"),
    "unknown nested key": (comms("startup: {ordr: 1}"), f"{G}.startup.ordr", "known", "order", "ordr"),
    "unknown mount key": (
        comms("mounts: {mp0: {path: /a, size: 1 GiB, siez: 1}}"), f"{G}.mounts.mp0.siez", "known", "size", "siez",
    ),
    "bad address": (("192.168.1.135", "192.168.1.335"), f"{G}.address", "192.168.1.335", "192.168.1.", "1.335"),
    "address with prefix": (("192.168.1.135", "192.168.1.135/24"), f"{G}.address", "/24", "leave out", "135/24"),
    "IPv6 as address": (("192.168.1.135", '"fd00::1"'), f"{G}.address", "IPv4", "192.168", "fd00::1\""),
    "bad IPv6": (("fd00::135", "fd00:::135"), f"{G}.address6", "fd00:::135", "fd00::", "fd00:::135"),
    "IPv6 with interface": (("fd00::135", "fd00::135%eth0"), f"{G}.address6", "interface", "%", "eth0"),
    "address outside": (("192.168.1.135", "192.168.2.135"), f"{G}.address", "outside", "192.168.1.0/24", "2.135"),
    "IPv6 outside": (("fd00::135", "fd01::135"), f"{G}.address6", "outside", "fd00::/64", "fd01::135"),
    "no subnet6": (("    subnet6: fd00::/64\n", ""), f"{G}.address6", "no subnet6", "networks.lan", "address6"),
    "network's address": (
        ("192.168.1.135\n", "192.168.1.0\n    vmid: 135\n"), f"{G}.address", "network itself", "192.168", "1.0\n",
    ),
    "broadcast address": (("192.168.1.135", "192.168.1.255"), f"{G}.address", "network itself", "another", "1.255"),
    "IPv6 subnet's address": (("fd00::135", "'fd00::'"), f"{G}.address6", "itself", "another", "'fd00::'"),
    "gateway's address": (
        ("192.168.1.135\n", "192.168.1.1\n    vmid: 135\n"), f"{G}.address", "gateway of lan", "own", "1.1\n    vm",
    ),
    "node's address": (("192.168.1.135", "192.168.1.185"), f"{G}.address", "node pve", "own", "address: 192.168.1.185\n    address6"),
    "double address": (
        ("192.168.1.136", "192.168.1.135"), "guests.database.address", "comms", "own", "1.135\n    memory",
    ),
    "double IPv6 address": (database("address6: fd00::135"), "guests.database.address6", "comms", "own", "135\n    disk"),
    "double VMID": (("vmid: 1000", "vmid: 135"), "guests.haos.vmid", "135 is also comms", "own", "vmid: 135"),
    "VMID and derived VMID": (database("vmid: 135"), "guests.database.vmid", "comms", "own", "vmid: 135"),
    "double MAC": (
        (*comms('mac: "02:00:00:00:00:01"'), *database('mac: "02:00:00:00:00:01"')),
        "guests.database.mac", "comms", "own", "01\"\n    disk: 32",
    ),
    "MAC of a derived one": (
        database('mac: "02:48:00:00:00:87"'), "guests.database.mac", "comms", "own", "mac:",
    ),
    "multicast MAC": (comms('mac: "03:00:00:00:00:01"'), f"{G}.mac", "multicast", "even", "mac:"),
    "bad MAC": (comms("mac: 02-00-00-00-00-01"), f"{G}.mac", "no MAC", "02:48", "mac:"),
    "base 60 is no MAC": (comms("mac: 12:34:56"), f"{G}.mac", "12:34:56", "02:48", "mac:"),
    "last octet below 100": (("192.168.1.135", "192.168.1.35"), f"{G}.vmid", "35", "vmid", "1.35"),
    "last octet 99": (("192.168.1.135", "192.168.1.99"), f"{G}.vmid", "99", "vmid", "1.99"),
    "VMID too small": (comms("vmid: 99"), f"{G}.vmid", "99", "range", "vmid: 99"),
    "VMID too large": (comms("vmid: 1000000000"), f"{G}.vmid", "999999999", "range", "vmid: 1000000000"),
    "VMID as text": (comms('vmid: "135"'), f"{G}.vmid", "whole number", "number", 'vmid: "135"'),
    "VMID octal": (comms("vmid: 0135"), f"{G}.vmid", "whole number", "number", "vmid: 0135"),
    "VMID missing": (("    vmid: 1000\n", ""), "guests.haos.vmid", "missing", "VMID", "haos:"),
    "bad name": (("  comms:", "  Comms_1:"), "guests.Comms_1", "no name", "small letters", "Comms_1"),
    "name of a node": (("  comms:", "  pve:"), "guests.pve", "node", "another", "pve:\n    kind"),
    "name of a group": (("  comms:", "  guests:"), "guests.guests", "group", "another", "  guests:\n    kind"),
    "no kind": (("    kind: lxc\n    address", "    address"), f"{G}.kind", "missing", "lxc or vm", "comms:"),
    "bad kind": (("kind: lxc\n    address", "kind: ct\n    address"), f"{G}.kind", "ct", "lxc or vm", "kind: ct"),
    "no address": (("    address: 192.168.1.136\n", ""), "guests.database.address", "missing", "192", "database:"),
    "dhcp with roles": (("address: 192.168.1.136", "address: dhcp"), "guests.database.address", "dhcp", "fixed", "dhcp"),
    "unknown role": (("[broker]", "[borker]"), f"{G}.roles.0", "borker", "broker", "borker"),
    "second role unknown": (("[broker]", "\n    - broker\n    - hbu"), f"{G}.roles.1", "hbu", "hub", "hbu"),
    "base written out": (("[broker]", "\n    - base\n    - hbu"), f"{G}.roles.1", "hbu", "hub", "hbu"),
    "role twice": (("[broker]", "[broker, broker]"), f"{G}.roles", "twice", "remove", "[broker"),
    "role as text": (("[broker]", "broker"), f"{G}.roles", "list", "[one", "roles: broker"),
    "role on appliance": (
        ("appliance: true", "appliance: true\n    roles: [broker]"), "guests.haos.roles", "appliance", "remove", "s: [broker]\n",
    ),
    "need without provider": (("[broker]", "[hub]"), f"{G}.roles", "mqtts of broker", "add broker", "[hub]"),
    "unknown image": (comms("image: debian12"), f"{G}.image", "debian12", "debian-12", "image: debian12\n"),
    "unknown default image": (
        ("image: debian-12\n", "image: debain-12\n"), "defaults.lxc.image", "debain-12", "debian-12", "debain",
    ),
    "image of wrong kind": (comms("image: debian-12-cloud"), f"{G}.image", "kind vm", "write debian-12", "image: debian-12-cloud\n    disk: 16"),
    "unknown network": (comms("network: wan"), f"{G}.network", "wan", "lan", "network: wan"),
    "unknown node": (comms("node: pvee"), f"{G}.node", "pvee", "pve", "node: pvee"),
    "no size": (comms('memory: "2 GB of"'), f"{G}.memory", '"2 GB of" is no size', '"2 GiB" or "512 MiB"', "GB of"),
    "GB for GiB": (comms("memory: 2 GB"), f"{G}.memory", "2 GB", '"2 GiB"', "2 GB"),
    "no unit": (comms("memory: 512"), f"{G}.memory", "unit", '"512 MiB"', "memory: 512\n    disk"),
    "fraction of a MiB": (comms("memory: 0.3 GiB"), f"{G}.memory", "whole number of MiB", "307 MiB", "0.3"),
    "memory too small": (comms("memory: 15 MiB"), f"{G}.memory", "16 MiB", "16 MiB", "15 MiB"),
    "negative swap": (comms("swap: -1 MiB"), f"{G}.swap", "-1 MiB", "MiB", "swap"),
    "container disk too small": (("disk: 16 GiB", "disk: 1 GiB"), f"{G}.disk", "too small", "2048 MiB", "disk: 1 G"),
    "VM disk too small": (("disk: 32 GiB", "disk: 2.5 GiB"), "guests.database.disk", "3 GiB", "3072 MiB", "2.5"),
    "disk smaller than its image": (
        ("example.org/debian-12.tar.zst", "example.org/debian-12.tar.zst\n    disk: 20 GiB"),
        f"{G}.disk", "debian-12 needs 20480", "20480 MiB", "disk: 16",
    ),
    "no disk for an image": (("    disk: 32 GiB\n", ""), "guests.database.disk", "missing", "8 GiB", "database:"),
    "no cores": (("cores: 2", "cores: 0"), f"{G}.cores", "1 to 8192", "range", "cores: 0"),
    "half a core": (("cores: 2", "cores: 1.5"), f"{G}.cores", "1.5", "number", "cores: 1.5"),
    "yes where a text belongs": (comms("description: yes"), f"{G}.description", "`yes`", '"yes" in quotes', "tion: yes"),
    "no where a name belongs": (comms("pool: no"), f"{G}.pool", "`no`", '"no" in quotes', "pool: no"),
    "a text where yes belongs": (comms('onboot: "yes"'), f"{G}.onboot", '"yes"', "true or false", "onboot"),
    "a number where a text belongs": (comms("description: 5"), f"{G}.description", "number", '"5"', "tion: 5"),
    "a list where a text belongs": (comms("description: [a]"), f"{G}.description", "list", "one text", "tion: [a]"),
    "a text where keys belong": (comms("startup: 3"), f"{G}.startup", "keys and values", "below", "startup"),
    "a guest that is a text": (("  haos:\n", "  x: y\n  haos:\n"), "guests.x", "no guest", "kind", "x: y"),
    "a section that is a list": (("admin:\n  user: anna", "admin: [anna]"), "admin", "list", "below", "admin:"),
    "empty value": (comms("pool:"), f"{G}.pool", "no value", "remove", "pool:"),
    "empty text": (comms('pool: " "'), f"{G}.pool", "empty text", "remove", "pool:"),
    "control characters": (comms(r'description: "\e[2J"'), f"{G}.description", "printed", "remove", "[2J"),
    "half a surrogate": (comms(r'description: "\ud800"'), f"{G}.description", "printed", "remove", "ud800"),
    "duplicate key": (comms("cores: 3"), f"{G}.cores", "twice (first on line", "remove", "cores: 3"),
    "duplicate guest": (("  database:", "  comms:"), G, "twice", "remove", "comms:\n    kind: vm"),
    "YAML tag": (comms("description: !!str a"), f"{G}.description", "!!str", "write it out", "!!str"),
    "python tag": (comms("pool: !!python/object/apply:os.system [id]"), f"{G}.pool", "!!python", "out", "!!python"),
    "own tag": (comms("pool: !vault abc"), f"{G}.pool", "!vault", "write it out", "!vault"),
    "anchor": (comms("pool: &p home"), f"{G}.pool", "anchor p", "write it out", "&p"),
    "alias": (comms("pool: *p"), f"{G}.pool", "alias p", "write it out", "*p"),
    "key that is a list": (comms("[a]: b"), G, "no plain word", "plain word", "[a]: b"),
    "swap for a VM": (database("swap: 1 GiB"), "guests.database.swap", "container", "remove", "swap"),
    "features for a VM": (database("features: {nesting: true}"), "guests.database.features", "container", "remove", "features"),
    "mounts for a VM": (
        database("mounts: {mp0: {path: /a, size: 1 GiB}}"), "guests.database.mounts", "container", "remove", "mounts",
    ),
    "unprivileged VM": (database("unprivileged: true"), "guests.database.unprivileged", "container", "remove", "unpriv"),
    "tun for a VM": (database("tun: true"), "guests.database.tun", "container", "remove", "tun"),
    "disks for a container": (comms("disks: {scsi1: {size: 1 GiB}}"), f"{G}.disks", "VM", "remove", "disks"),
    "VM key in defaults.lxc": (
        ("  lxc:\n    image", "  lxc:\n    disks: {scsi1: {size: 1 GiB}}\n    image"),
        "defaults.lxc.disks", "VM", "remove", "scsi1",
    ),
    "VMID as default": (("  memory: 512 MiB", "  vmid: 500"), "defaults.vmid", "default", "guest", "vmid: 500"),
    "address as default": (
        ("  memory: 512 MiB", "  address: 192.168.1.9"), "defaults.address", "default", "guest", "1.9",
    ),
    "other kind in defaults.lxc": (
        ("  lxc:\n", "  lxc:\n    kind: vm\n"), "defaults.lxc.kind", "defaults.lxc", "remove", "kind: vm\n    image",
    ),
    "wrong default": (("memory: 512 MiB", "memory: lots"), "defaults.memory", "lots", "2 GiB", "lots"),
    "bad mount slot": (comms("mounts: {mp256: {path: /a, size: 1 GiB}}"), f"{G}.mounts.mp256", "slot", "mp255", "mp256"),
    "bad disk slot": (database("disks: {scsi0: {size: 1 GiB}}"), "guests.database.disks.scsi0", "slot", "scsi1", "scsi0"),
    "scsi31": (database("disks: {scsi31: {size: 1 GiB}}"), "guests.database.disks.scsi31", "slot", "scsi30", "scsi31"),
    "disk without size": (database("disks: {scsi1: {}}"), "guests.database.disks.scsi1", "size", "32 GiB", "scsi1"),
    "mount without path": (comms("mounts: {mp0: {size: 1 GiB}}"), f"{G}.mounts.mp0", "path", "/srv/data", "mp0"),
    "mount from nowhere": (comms("mounts: {mp0: {path: /a}}"), f"{G}.mounts.mp0", "size or source", "volume", "mp0"),
    "mount from two": (
        comms("mounts: {mp0: {path: /a, size: 1 GiB, source: /b}}"), f"{G}.mounts.mp0", "size or source", "folder", "mp0",
    ),
    "backup of a folder": (
        comms("mounts: {mp0: {path: /a, source: /b, backup: true}}"), f"{G}.mounts.mp0", "beside source", "neither", "mp0",
    ),
    "relative mount": (comms("mounts: {mp0: {path: a, size: 1 GiB}}"), f"{G}.mounts.mp0.path", "absolute", "/srv", "mp0"),
    "mount with dots": (comms("mounts: {mp0: {path: /a/../b, size: 1 GiB}}"), f"{G}.mounts.mp0.path", "..", "straight", "mp0"),
    "mount with comma": (
        comms("mounts: {mp0: {path: '/a,ro=1', size: 1 GiB}}"), f"{G}.mounts.mp0.path", "no absolute", "commas", "mp0",
    ),
    "two mounts on a path": (
        comms("mounts: {mp0: {path: /a, size: 1 GiB}, mp1: {path: /a, size: 1 GiB}}"),
        f"{G}.mounts.mp1.path", "mp0", "another", "mp1",
    ),
    "device outside /dev": (comms("devices: [/etc/passwd]"), f"{G}.devices.0", "no device", "/dev/serial", "passwd"),
    "device out of /dev": (comms("devices: [/dev/../etc/passwd]"), f"{G}.devices.0", "..", "straight", "passwd"),
    "device twice": (comms("devices: [/dev/ttyUSB0, /dev/ttyUSB0]"), f"{G}.devices", "twice", "remove", "ttyUSB0"),
    "capital tag": (comms("tags: [Garden]"), f"{G}.tags.0", "Garden", "small letters", "Garden"),
    "tag with blank": (comms("tags: [a b]"), f"{G}.tags.0", "a b", "small letters", "a b"),
    "tag twice": (comms("tags: [a, a]"), f"{G}.tags", "twice", "remove", "tags"),
    "bad storage": (comms("storage: a/b"), f"{G}.storage", "a/b", "local-lvm", "storage: a/b"),
    "bad pool": (comms("pool: a b"), f"{G}.pool", "a b", "home", "pool"),
    "bad restart": (comms("restart: always"), f"{G}.restart", "always", "allowed or never", "restart"),
    "negative order": (comms("startup: {order: -1}"), f"{G}.startup.order", "-1", "range", "startup"),
    "bad file system": (comms("features: {mount: [n-fs]}"), f"{G}.features.mount.0", "n-fs", "nfs", "n-fs"),
    "long description": (comms("description: " + "a" * 8193), f"{G}.description", "8192", "shorten", "tion: a"),
    "node without storage": ((NODE, ""), "nodes.pve.storage", "missing", "local-lvm", "pve:"),
    "node without address": (("    address: 192.168.1.185\n", ""), "nodes.pve.address", "missing", "192", "pve:"),
    "node without images": (("    images: local\n", ""), "nodes.pve.images", "missing", "local", "pve:"),
    "node called auto": (("  pve:", "  auto:"), "nodes.auto", "any node", "name", "auto:"),
    "bad node name": (("  pve:", "  p_ve:"), "nodes.p_ve", "node's name", "Proxmox", "p_ve:"),
    "plain HTTP endpoint": ((NODE, NODE + "    endpoint: http://pve:8006\n"), "nodes.pve.endpoint", "https", "https://", "http://pve"),
    "bad port": ((NODE, NODE + "    ssh: {port: 70000}\n"), "nodes.pve.ssh.port", "65535", "range", "ssh:"),
    "two nodes with an address": (
        ("networks:", "  pve2: {address: 192.168.1.185, storage: local, images: local}\nnetworks:", COMMS, COMMS + "    node: pve\n",
         DATABASE, DATABASE + "    node: auto\n", "    vmid", "    node: pve2\n    vmid"),
        "nodes.pve2.address", "also pve", "own", "pve2: {",
    ),
    "host bits in subnet": (("192.168.1.0/24", "192.168.1.5/24"), "networks.lan.subnet", "in a subnet", "192.168.1.0/24", "1.5/24"),
    "subnet without prefix": (("192.168.1.0/24", "192.168.1.0"), "networks.lan.subnet", "no subnet", "/24", "net: 192.168.1.0"),
    "IPv6 subnet as subnet": (("192.168.1.0/24", "fd00::/64"), "networks.lan.subnet", "IPv6", "subnet6", "subnet: fd00"),
    "IPv4 subnet as subnet6": (("fd00::/64", "10.0.0.0/8"), "networks.lan.subnet6", "IPv4", "subnet", "10.0.0.0"),
    "gateway outside": ((LAN, "    gateway: 192.168.2.1\n"), "networks.lan.gateway", "outside", "subnet", "192.168.2.1"),
    "gateway is the network": ((LAN, "    gateway: 192.168.1.0\n"), "networks.lan.gateway", "own", "router", "gateway"),
    "no bridge": (("    bridge: vmbr0\n", ""), "networks.lan.bridge", "missing", "vmbr0", "lan:"),
    "long bridge": (("vmbr0", "vmbr0123456789012"), "networks.lan.bridge", "bridge", "15", "bridge"),
    "VLAN 4095": ((LAN, LAN + "    vlan: 4095\n"), "networks.lan.vlan", "4094", "range", "vlan"),
    "MTU 63": ((LAN, LAN + "    mtu: 63\n"), "networks.lan.mtu", "64", "range", "mtu"),
    "MTU 65521": ((LAN, LAN + "    mtu: 65521\n"), "networks.lan.mtu", "65520", "range", "mtu"),
    "bad resolver": (("[192.168.1.1]", "[router]"), "networks.lan.resolver.0", "router", "192.168", "router"),
    "bad domain": ((LAN, LAN + "    domain: -a\n"), "networks.lan.domain", "-a", "home.arpa", "domain"),
    "image without URL": (
        ("    url: https://example.org/debian-12.qcow2\n", ""), "images.debian-12-cloud.url", "missing", "download", "cloud:",
    ),
    "image of another ending": ((".qcow2", ".iso"), "images.debian-12-cloud.url", "end", ".qcow2", ".iso"),
    "two images, one file": (
        ("https://example.org/debian-12.qcow2", "https://example.org/b/debian-12.tar.zst", "    kind: vm\n    url", "    kind: lxc\n    url",
         "  vm:\n    image: debian-12-cloud\n", "", "    disk: 32 GiB\n", ""),
        "images.debian-12-cloud.url", "also debian-12", "one", "/b/",
    ),
    "URL with a login": (("https://example", "https://a:hunter2@example"), "images.debian-12-cloud.url", "login", "leave", "hunter2"),
    "no URL": (("https://example.org", "file:///tmp"), "images.debian-12-cloud.url", "URL", "https://", "file:"),
    "short checksum": (
        (".qcow2\n", ".qcow2\n    checksum: sha512:abc\n"), "images.debian-12-cloud.checksum", "abc", "128", "checksum",
    ),
    "MD5": ((".qcow2\n", ".qcow2\n    checksum: md5:abc\n"), "images.debian-12-cloud.checksum", "md5", "sha512:", "checksum"),
    "root as admin": ((ADMIN, "  user: root\n"), "admin.user", "root", "not root", "root"),
    "private key": (
        (ADMIN, ADMIN + "  keys:\n  - -----BEGIN OPENSSH PRIVATE KEY----- hunter2\n"), "admin.keys.0", "private", "replace", "hunter2",
    ),
    "no key": ((ADMIN, ADMIN + "  keys: [ssh-rsa hunter2]\n"), "admin.keys.0", "no public", ".pub", "hunter2"),
    "time zone": ((ADMIN, ADMIN + "  timezone: Mars/Phobos\n"), "admin.timezone", "Mars/Phobos", "Europe", "Mars"),
    "time zone's path": ((ADMIN, ADMIN + "  timezone: ../etc/passwd\n"), "admin.timezone", "passwd", "Europe", "passwd"),
    "locale": ((ADMIN, ADMIN + "  locale: en US\n"), "admin.locale", "en US", "C.UTF-8", "locale"),
}  # fmt: skip
