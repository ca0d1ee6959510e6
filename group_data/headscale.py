"""What an admin may tune about headscale, one's own coordination server; see docs/tailnet-guests.md."""

from typing import Any

# The program: the vendor's release by its hash (github.com/juanfont/headscale/releases, checksums.txt), or
# {"path": "/a/file/of/the/machine/that/deploys"}. A new version is tried on a copy of the database.
headscale_source: dict[str, str] = {
    "url": "https://github.com/juanfont/headscale/releases/download/v0.29.4/headscale_0.29.4_linux_amd64",
    "sha256": "212ed0a884c0d3541e094c4bebbe94397df6f4e01bd3d7f059c520cb55e0d757",
}

# Where the tailnet's addresses come from: subnets of 100.64.0.0/10 and of fd7a:115c:a1e0::/48, no others.
headscale_prefix4 = "100.64.0.0/10"
headscale_prefix6 = "fd7a:115c:a1e0::/48"

# Relays for devices that do not find a direct way. headscale's own one is always among them; these are maps
# of others, e.g. ["https://controlplane.tailscale.com/derpmap/default"]. Relays see no content.
headscale_derp_maps: list[str] = []

# DNS servers that devices with MagicDNS are told for all other names; empty: they keep their own.
headscale_nameservers: list[str] = []

# What goes to the journal: "error", "warn", "info" or "debug".
headscale_log_level = "info"

# Days for which Hearth's own API key holds. A run makes another one when a third of them is left.
headscale_api_key_days = 365

# It is restarted when it takes more memory than this (systemd.resource-control(5)).
headscale_memory = "256M"

# Any further settings, as headscale's config-example.yaml has them; ours win. E.g. {"oidc": {...}}.
headscale_settings: dict[str, Any] = {}
