"""What an admin may tune about the MCP hub, or which program of your own takes its place."""

from typing import Any

# Where the hub comes from. A change builds the new one aside; it takes over when it is healthy, and gives
# its place back when it is not.
#   {"path": "apps/mcp_hub"}                                     a folder of this project (or any other)
#   {"git": "https://github.com/me/hub.git", "rev": "v1.2.0"}    a tag, or a whole commit, which cannot move;
#                                                                "folder": where in it the project is
#   {"package": "mcp-hub", "version": "4.2.1"}                   of npm; "lock": "inventory/hub-lock.json", a
#                                                                package-lock.json for all that it needs
# "registry": the URL of a registry of your own. A project needs a package-lock.json: nothing else is
# installed than what stands there.
mcp_hub_source: dict[str, str] = {"path": "apps/mcp_hub"}

# A shell script that builds a project in its own folder. None: npm ci, its script `build` if it has one,
# and its development dependencies taken away again.
mcp_hub_build: str | None = None

# How it is started, and how it checks a configuration before that goes live (None: it cannot). {release} is
# the program's folder, {runtime} the folder of Node.js, {config} the configuration, {stage} where the new
# files wait below their whole paths. It must listen on 127.0.0.1, port 13000: HAProxy serves 3000 before
# it.
mcp_hub_command = "{runtime}/bin/node {release}/dist/main.js --config {config}"
mcp_hub_check: str | None = (
    "{runtime}/bin/node {release}/dist/main.js --config {config} --check --root {stage}"
)

# What answers 200 when it is well.
mcp_hub_health = "/health"

# Seconds that it has to become well after a start; then the release before it comes back.
mcp_hub_starts_within = 120

# The template of its configuration, in templates/mcp_hub, and further environment variables (no secrets).
mcp_hub_config = "config.json.j2"
mcp_hub_environment: dict[str, str] = {}

# MCP servers besides Home Assistant's, which is there of itself. "secret": the name of the secret that is
# the server's bearer token (`hearth secrets set mcp-hub/server/garden`). apps/mcp_hub/README.md has every
# key.
#   "garden": {"type": "http", "url": "https://garden.example/mcp", "secret": "mcp-hub/server/garden"},
#   "files": {"type": "stdio", "command": "/opt/files", "secret_env": {"API_KEY": "mcp-hub/server/files"}},
mcp_hub_servers: dict[str, dict[str, Any]] = {}

# Who may use it besides the roles that do: scopes "read" (see tools and events), "call" (use tools),
# "publish" (events); "tools" narrows both. The token is the secret `mcp-hub/token/NAME`.
#   "tablet": {"scopes": ["read", "call"], "tools": ["home_assistant/*"]},
mcp_hub_clients: dict[str, dict[str, Any]] = {}

# Limits of requests and connections, as apps/mcp_hub/README.md lists them.
mcp_hub_limits: dict[str, int] = {}

# What goes to the journal: "debug", "info", "warn" or "error".
mcp_hub_log_level = "info"

# It is restarted when it takes more memory than this (systemd.resource-control(5)).
mcp_hub_memory = "384M"
