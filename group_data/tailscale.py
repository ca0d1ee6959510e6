"""What an admin may tune about Tailscale on the guests; docs/tailnet-guests.md says more."""

from typing import Any

# Where the program comes from: "vendor" is Tailscale's own Debian repository, whose key is pinned below.
# Another source: the vendor's archive by its hash, {"url": "https://.../tailscale_1.102.4_amd64.tgz",
# "sha256": "..."}, or {"path": "/a/file/of/the/machine/that/deploys.tgz"}.
tailscale_source: Any = "vendor"
tailscale_repository = "https://pkgs.tailscale.com/stable/debian"
# SHA-256 of .../debian/CODENAME.noarmor.gpg; the same for every release. The key's fingerprint:
# 2596 A99E AAB3 3821 893C 0A79 458C A832 957F 5868.
tailscale_repository_key = "3e03dacf222698c60b8e2f990b809ca1b3e104de127767864284e6c228f1fb39"

# May the tailnet rewrite the guest's DNS settings (MagicDNS)? Guests know each other by /etc/hosts anyway.
tailscale_accept_dns = False

# May the guest send traffic through other subnet routers of the tailnet?
tailscale_accept_routes = False

# Minutes for which a key to join holds. It is good for one guest, and used at once.
tailscale_key_minutes = 5

# Seconds that a guest has to come into the tailnet.
tailscale_joins_within = 60

# It is restarted when it takes more memory than this (systemd.resource-control(5)).
tailscale_memory = "256M"
