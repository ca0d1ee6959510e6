"""What an admin may tune about Home Assistant; docs/services/home_assistant.md says more of each install."""

from typing import Any

# How it is installed:
#   "container"  the official image, run by Podman; the guest needs Debian 13 or newer
#   "haos"       Home Assistant OS in a virtual machine of its own, an `appliance` of the fleet file; the
#                guest with this role then only stands before it, with TLS
#   "core"       in a Python environment, run by systemd. Home Assistant's makers no longer support this way
#                (since 2025.12): it works, and nobody there will help with it. The digital twin runs it
home_assistant_install = "container"

# The version of "core" (PyPI's homeassistant) and "container" (the image's tag). A newer one is tried, and
# taken back when it does not come up; what it has made of its own files by then stays: have a backup.
home_assistant_version = "2026.11.0"
home_assistant_image = "ghcr.io/home-assistant/home-assistant"
# "container": the image's digest ("sha256:..."), if it should be that one and no other; with every new
# version a new one: `skopeo inspect docker://IMAGE:VERSION`.
home_assistant_image_digest = ""
# "core": the Python it runs on. uv fetches one where the guest has none.
home_assistant_python = "3.14"
# "core" installs what integrations need in advance, for these and for what is configured below. One that is
# added in the web interface has to be named here first: its domain, as in its address (integrations/hue).
home_assistant_integrations: list[str] = []
# "haos": the name of the appliance in the fleet file, and what it speaks itself on 8123.
home_assistant_appliance = ""

# The person it belongs to. The password is the secret `home-assistant/owner`, generated where there is none
# (`hearth secrets show home-assistant/owner`). Home Assistant runs already? Put its owner's user name here,
# and the password into the secret.
home_assistant_owner = {"name": "Home", "username": "home", "language": "en"}

# Where the home is, and how it counts. What is None is left as it is; the time zone is then the admin's of
# the fleet file. Units: "metric" or "us_customary". Country, currency and language by their codes ("NL",
# "EUR", "en").
home_assistant_location: dict[str, Any] = {
    "location_name": "Home",
    "latitude": None,
    "longitude": None,
    "elevation": None,
    "unit_system": "metric",
    "time_zone": None,
    "country": None,
    "currency": None,
    "language": None,
}

# What is sent to Home Assistant's makers: nothing ("base": usage, "usage", "statistics", "diagnostics").
home_assistant_analytics: dict[str, bool] = {
    "base": False,
    "usage": False,
    "statistics": False,
    "diagnostics": False,
}

# ---------------------------------------------------------------------- configuration ("core", "container")

# Integrations of configuration.yaml and what each is given. `default_config` brings many more at once; some
# of them sweep the network and ask the Internet.
home_assistant_configuration: dict[str, Any] = {
    "default_config": {},
    "prometheus": {},
}

# Packages of your own: name -> a file beside this project's, relative to its folder, with a part of a
# configuration in it (automations, helpers, sensors). It is a Jinja template that sees `here`; what Home
# Assistant is to fill in itself stands between {% raw %} and {% endraw %}. `!secret NAME` is looked for in
# secrets.yaml of Home Assistant's folder, which Hearth leaves alone.
home_assistant_packages: dict[str, str] = {}

# The recorder: days of history, and what is left out or let in (recorder's `include` and `exclude`). It
# writes to PostgreSQL where the fleet has role postgresql, else to SQLite.
home_assistant_history_days = 10
home_assistant_recorder: dict[str, Any] = {}

# Levels of its log: "critical", "error", "warning", "info" or "debug"; by component in the second one, e.g.
# {"homeassistant.components.mqtt": "debug"}. A change takes no restart.
home_assistant_log_level = "warning"
home_assistant_log_levels: dict[str, str] = {}

# After this many failed logins an address is locked out (config/ip_bans.yaml); 0: never.
home_assistant_login_attempts = 10

# The service is restarted when it takes more memory than this (systemd.resource-control(5)).
home_assistant_memory = "2G"

# Events that AI automation is told of: the triggers of an automation as Home Assistant writes them, and the
# automation of AI automation that is called with the entity's new and old state:
#   "evening": {"triggers": [{"trigger": "state", "entity_id": "binary_sensor.hall_motion", "to": "on"}],
#               "automation": "evening_light"},
home_assistant_events: dict[str, dict[str, Any]] = {}

# ----------------------------------------------------------------------------- inside, for every install

# Further clients of its API, besides the roles that need it; each gets a token, the secret
# `home-assistant/token/NAME`.
home_assistant_clients: list[str] = []

# What assistants may use through its MCP server: APIs by their ids; None: all. `read_only`: look, touch
# nothing.
home_assistant_mcp: dict[str, Any] = {"apis": ["assist"], "require_admin": True, "read_only": False}

# Further integrations that can only be set up in dialogues: domain -> what each form of the dialogue is
# given, e.g. {"season": [{"type": "astronomical"}]}. One that is there is left as it is.
home_assistant_entries: dict[str, list[dict[str, Any]]] = {}

# Integrations that should not be there. Home Assistant adds these four by itself when it is new; three of
# them ask the Internet at every start. Take one off the list to keep it.
home_assistant_no_entries = ["google_translate", "met", "radio_browser", "shopping_list"]

# Its own backups, below its folder backups/: how often ("daily", "never"), when, and how many are kept.
# They are encrypted with the secret `home-assistant/backup`. The recorder's PostgreSQL is not in them.
home_assistant_backup: dict[str, Any] = {"recurrence": "daily", "time": "04:45:00", "copies": 3}

# How many entities the home has at least: those of its registry that are switched on and not `unavailable`.
# A check of tests/verify; below it something is missing. 0: not checked.
home_assistant_entities = 263
