"""Print what Home Assistant's integrations need from PyPI: `python requirements_of.py DOMAIN...`.

It runs in the environment of the release, and reads the release's own manifests. The rule is that of
`homeassistant/requirements.py`: requirements of an integration, of its dependencies and after_dependencies,
and of what discovers it. Python's own library only.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# homeassistant/requirements.py, DISCOVERY_INTEGRATIONS: who else is loaded for a key of the manifest.
DISCOVERS = {"dhcp": ("dhcp",), "mqtt": ("mqtt",), "ssdp": ("ssdp",), "zeroconf": ("zeroconf", "homekit")}


def requirements_of(domains: Iterable[str], components: Path) -> list[str]:
    """The requirements of integrations and of all that they bring with them, sorted.

    Args:
        domains: where to begin.
        components: homeassistant/components of the release.

    Raises:
        SystemExit: one of `domains` is no integration.
    """
    waiting = sorted(set(domains))
    unknown = [domain for domain in waiting if not (components / domain / "manifest.json").exists()]
    if unknown:
        raise SystemExit(f"Home Assistant has no integration {', '.join(unknown)}")
    seen: set[str] = set()
    found: set[str] = set()
    while waiting:
        domain = waiting.pop()
        path = components / domain / "manifest.json"
        if domain in seen or not path.exists():
            continue
        seen.add(domain)
        manifest: dict[str, Any] = json.loads(path.read_text())
        found.update(manifest.get("requirements", ()))
        waiting += _brought(manifest)
    return sorted(found)


def _brought(manifest: dict[str, Any]) -> list[str]:
    discovering = [domain for domain, keys in DISCOVERS.items() if any(key in manifest for key in keys)]
    return [*manifest.get("dependencies", ()), *manifest.get("after_dependencies", ()), *discovering]


def always() -> set[str]:
    """What every start sets up, a start in recovery mode too."""
    bootstrap = importlib.import_module("homeassistant.bootstrap")
    named = ("CORE_INTEGRATIONS", "DEFAULT_INTEGRATIONS", "DEFAULT_INTEGRATIONS_RECOVERY_MODE")
    return {domain for name in named for domain in getattr(bootstrap, name)}


def main() -> None:
    """Print them, one a line; those of the program that checks a configuration too."""
    home = Path(importlib.import_module("homeassistant").__file__ or "").parent
    checker = importlib.import_module("homeassistant.scripts.check_config")
    found = requirements_of({*always(), *sys.argv[1:]}, home / "components")
    print("\n".join([*found, *checker.REQUIREMENTS]))


if __name__ == "__main__":
    main()
