"""What an admin may tune about ntfy, the server that tells phones; see docs/monitoring.md."""

from typing import Any

# The program: the vendor's release by its hash (github.com/binwiederhier/ntfy/releases, checksums.txt), 2.14
# or newer, or {"path": "/a/file/of/the/machine/that/deploys"}. New settings are tried aside first.
ntfy_source: dict[str, str] = {
    "url": "https://github.com/binwiederhier/ntfy/releases/download/v2.27.0/ntfy_2.27.0_linux_amd64.tar.gz",
    "sha256": "4b7220cb0e7673a66ace8e1368573c0df89888aafde6860ae3a48ae1174c8cee",
}

# Who reads the alerts: a login for each person or phone. The password is generated:
# `hearth secrets show ntfy/NAME`.
ntfy_readers: list[str] = ["admin"]

# Where phones find it; empty: the front door's address. Apps subscribe to the topic "alerts" there.
ntfy_url = ""

# How long messages are kept for phones that are away.
ntfy_keep = "12h"

# What goes to the journal: "error", "warn", "info", "debug" or "trace".
ntfy_log_level = "warn"

# It is restarted when it takes more memory than this (systemd.resource-control(5)).
ntfy_memory = "128M"

# Any further settings, as ntfy's server.yml has them; ours win. E.g. {"upstream-base-url": "https://ntfy.sh"},
# without which iPhones are told late: Apple wakes them through that server, which learns no content.
ntfy_settings: dict[str, Any] = {}
