"""What an admin may tune about AI automation, or which program of your own takes its place."""

from typing import Any

# Where it comes from. A change builds the new one aside; it takes over when it is healthy, and gives its
# place back when it is not.
#   {"path": "apps/ai_automation"}                               a folder of this project (or any other)
#   {"git": "https://github.com/me/ai.git", "rev": "v1.2.0"}     a tag, or a whole commit, which cannot move;
#                                                                "folder": where in it the project is
#   {"package": "my-automation", "version": "1.2.0"}             of PyPI; "lock": "inventory/ai.lock", which
#                                                                uv makes (uv pip compile --generate-hashes)
# "registry": the URL of a registry of your own. A project needs a uv.lock, or a requirements.lock with
# hashes: nothing else is installed than what stands there.
ai_automation_source: dict[str, str] = {"path": "apps/ai_automation"}

# A shell script that builds a project in its own folder. None: its lock file and itself, installed into
# .venv.
ai_automation_build: str | None = None

# The Python it runs on: a path, or a version such as "3.13", which uv fetches.
ai_automation_python = "/usr/bin/python3"

# How it is started, and how it checks a configuration before that goes live (None: it cannot). {release} is
# the program's folder, {runtime} the folder of uv, {config} the configuration, {stage} where the new files
# wait below their whole paths. It must listen on 127.0.0.1, port 15000: HAProxy serves 5000 before it.
ai_automation_command = "{release}/.venv/bin/ai-automation --config {config}"
ai_automation_check: str | None = "{release}/.venv/bin/ai-automation --config {config} --check"

# What answers 200 when it is well.
ai_automation_health = "/health"

# Seconds that it has to become well after a start; then the release before it comes back.
ai_automation_starts_within = 120

# The template of its configuration, in templates/ai_automation, and further environment variables (no
# secrets).
ai_automation_config = "config.yaml.j2"
ai_automation_environment: dict[str, str] = {}

# Your own rules: files, or folders whose *.yaml are taken, e.g. ["inventory/automations"]. What a rule may
# say: apps/ai_automation/README.md.
ai_automation_rules: list[str] = []

# Rules for the common case, an event that turns things on and tells a phone. Name one as `automation` of an
# event in home_assistant_events, and Home Assistant calls it. "turn_on": entities, by Home Assistant;
# "tool": SERVER/TOOL of the MCP hub, with its "arguments"; "notify": the phone's notify service, with
# "title" and "message".
#   "too_warm": {"turn_on": ["switch.fan"],
#                "tool": "home_assistant/HassTurnOn", "arguments": {"name": "Shade"},
#                "notify": "mobile_app_phone", "message": "It is {{ trigger.data.to }} degrees."},
ai_automation_alarms: dict[str, dict[str, Any]] = {}

# A service that speaks OpenAI's chat completions, which rules may let choose among actions that they name.
# None: off.
#   {"enabled": True, "url": "https://models.example/v1", "model": "some-model",
#    "secret": "ai-automation/model-key"}
ai_automation_model: dict[str, Any] | None = None

# Who may use it besides the roles that do: scopes "read" and "trigger". The token is the secret
# `ai-automation/token/NAME`.
#   "tablet": {"scopes": ["read", "trigger"]},
ai_automation_clients: dict[str, dict[str, Any]] = {}

# Limits of requests and history, as apps/ai_automation/README.md lists them.
ai_automation_limits: dict[str, float] = {}

# What goes to the journal: "debug", "info", "warning" or "error".
ai_automation_log_level = "info"

# It is restarted when it takes more memory than this (systemd.resource-control(5)).
ai_automation_memory = "384M"
