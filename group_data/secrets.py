"""How old secrets may become before `hearth secrets status` calls them due; defaults: docs/secrets.md."""

# Pattern -> days, or None for never. The first that fits counts, before the defaults:
#   {"mqtt/garden-*": None, "mqtt/*": 180, "proxmox/token": 90}
secrets_due: dict[str, int | None] = {}
