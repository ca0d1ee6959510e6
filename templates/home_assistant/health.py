"""Written by Hearth. `python health.py PORT TOKEN_FILE DOMAIN...`: does Home Assistant do its work?

Without a token (before onboarding): that it answers, and has not started in recovery mode. With one: that
everything configured is set up, and no automation of ours was refused.
"""

import http.client
import json
import subprocess
import sys
from pathlib import Path

OURS = "hearth_"
FAILED = ("setup_error", "migration_error", "failed_unload")


def main(port: int, token_file: Path, domains: list[str]) -> int:
    """0 where it does."""
    status, _ = ask(port, "/manifest.json", "")
    if status != http.client.OK:
        return bad(f"it answers with {status}")
    token = token_file.read_text().strip() if token_file.exists() else ""
    status, config = ask(port, "/api/config", token) if token else (401, None)
    if status != http.client.OK or not isinstance(config, dict):
        return bad("it has started in recovery mode") if recovering() else 0
    _, entries = ask(port, "/api/config/config_entries/entry", token)
    _, states = ask(port, "/api/states", token)
    found = troubles(config, entries or [], states or [], domains)
    return bad("; ".join(found)) if found else 0


def troubles(config: dict, entries: list, states: list, domains: list[str]) -> list[str]:
    """What is wrong, in words.

    Args:
        config: /api/config.
        entries: /api/config/config_entries/entry.
        states: /api/states.
        domains: the integrations that are configured.
    """
    if config.get("recovery_mode"):
        return ["it has started in recovery mode"]
    if config.get("state") != "RUNNING":
        return [f"it is {config.get('state')}"]
    absent = sorted(set(domains) - {name.partition(".")[0] for name in config.get("components", ())})
    failed = [f"{row['domain']} ({row['state']})" for row in entries if row.get("state") in FAILED]
    refused = [
        row["entity_id"]
        for row in states
        if row["entity_id"].startswith("automation.")
        and str(row["attributes"].get("id", "")).startswith(OURS)
        and row["state"] == "unavailable"
    ]
    found = [f"not set up: {', '.join(absent)}"] if absent else []
    found += [f"failed: {', '.join(failed)}"] if failed else []
    return [*found, *([f"refused: {', '.join(refused)}"] if refused else [])]


def ask(port: int, path: str, token: str) -> tuple[int, object]:
    """Status and JSON of a GET on loopback."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        body = answer.read()
    except OSError as error:
        return 0, str(error)
    finally:
        connection.close()
    try:
        return answer.status, json.loads(body)
    except ValueError:
        return answer.status, None


def recovering() -> bool:
    """Whether its log since the last start speaks of recovery mode."""
    show = ["systemctl", "show", "-p", "InvocationID", "--value", "home-assistant.service"]
    start = subprocess.run(show, capture_output=True, text=True, check=True).stdout.strip()
    match = [f"_SYSTEMD_INVOCATION_ID={start}", "+", f"INVOCATION_ID={start}"]
    log = subprocess.run(
        ["journalctl", "-q", "-o", "cat", *match], capture_output=True, text=True, check=False
    )
    return "recovery mode" in log.stdout.lower()


def bad(why: str) -> int:
    """Say why, and be 1."""
    print(f"Home Assistant: {why}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
