"""What an admin may tune about Vaultwarden; docs/services/vaultwarden.md says more."""

from typing import Any

# How it is run:
#   "unpacked"  its official image, taken apart and run by systemd; works in every guest
#   "quadlet"   the same image, run by Podman; the guest needs Debian 13 or newer
vaultwarden_install = "unpacked"

# The image, by digest: what is under a tag may be another image tomorrow. For a newer one: its tag, and what
# `skopeo inspect docker://docker.io/vaultwarden/server:TAG` says is its Digest. It is tried aside on a copy
# of the vault first, and the old one runs on when it fails.
vaultwarden_image = (
    "docker.io/vaultwarden/server:1.37.3"
    "@sha256:1587c45feaa479f1f5e8af3b00eded36bff77bcf1880cf8dbf0541706dd470e0"
)

# Does the registry speak plain HTTP, or TLS that nobody vouches for? The digest is checked all the same.
vaultwarden_image_insecure = False

# Where apps and browsers find it, without a slash at the end. Vaultwarden makes links of it, and passkeys
# hold for its name only, which must be a name for that, not an address. None: the guest's own address.
# Another name has to be among those of the guest's certificate (the guest's name, with or without domain).
vaultwarden_domain: str | None = None

# May members of an organisation with the right to do so invite people who have no account yet? Otherwise only
# who has the admin page's token can: `hearth secrets show vaultwarden/admin-token`, then /admin.
vaultwarden_invitations = False

# What goes to the journal: "error", "warn", "info" or "debug".
vaultwarden_log_level = "warn"

# Any further settings, as https://github.com/dani-garcia/vaultwarden/blob/main/.env.template has them, e.g.
# mail: {"SMTP_HOST": "mail.example.org", "SMTP_FROM": "vault@example.org", "SMTP_USERNAME": "vault"}.
vaultwarden_settings: dict[str, Any] = {}

# Settings whose values are secrets: setting -> secret, e.g. {"SMTP_PASSWORD": "vaultwarden/smtp-password"}
# (`hearth secrets set vaultwarden/smtp-password`).
vaultwarden_secret_settings: dict[str, str] = {}

# Seconds after which it has to answer; a new version may have to convert its database first.
vaultwarden_starts_within = 120

# It is restarted when it takes more memory than this (systemd.resource-control(5)). A login at the admin page
# takes 64 MiB for a moment: that is what makes its token's hash hard to guess.
vaultwarden_memory = "384M"
