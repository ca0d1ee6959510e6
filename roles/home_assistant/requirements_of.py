"""Print what Home Assistant's integrations need from PyPI: `python requirements_of.py DOMAIN...`.

It runs in the environment of the release, and reads the release's own files, none of which it runs. The rule
is that of `homeassistant/requirements.py`: requirements of an integration, of its dependencies and
after_dependencies, and of what discovers it. Python's own library only.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# homeassistant/requirements.py, DISCOVERY_INTEGRATIONS: who else is loaded for a key of the manifest.
DISCOVERS = {"dhcp": ("dhcp",), "mqtt": ("mqtt",), "ssdp": ("ssdp",), "zeroconf": ("zeroconf", "homekit")}
# homeassistant/bootstrap.py: what every start sets up, a start in recovery mode too.
ALWAYS = ("CORE_INTEGRATIONS", "DEFAULT_INTEGRATIONS", "DEFAULT_INTEGRATIONS_RECOVERY_MODE")


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


def texts_of(source: str, names: Iterable[str]) -> dict[str, set[str]]:
    """Every text in the values of a module's variables, by the variable's name.

    Raises:
        SystemExit: the module has no such variable: this release is built in another way.
    """
    wanted = set(names)
    found: dict[str, set[str]] = {}
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else ()
        for target in targets:
            if isinstance(target, ast.Name) and target.id in wanted and isinstance(node, ast.Assign):
                constants = (part for part in ast.walk(node.value) if isinstance(part, ast.Constant))
                found[target.id] = {part.value for part in constants if isinstance(part.value, str)}
    if wanted - set(found):
        raise SystemExit(f"Home Assistant no longer has {', '.join(sorted(wanted - set(found)))}")
    return found


def always(home: Path) -> set[str]:
    """What every start sets up: the named ones, and the base of every kind of entity."""
    named = texts_of((home / "bootstrap.py").read_text(), ALWAYS)
    kinds = {
        path.parent.name
        for path in (home / "components").glob("*/manifest.json")
        if json.loads(path.read_text()).get("integration_type") == "entity"
    }
    return kinds.union(*named.values())


def main() -> None:
    """Print them, one a line; those of the program that checks a configuration too."""
    spec = find_spec("homeassistant")
    assert spec is not None and spec.origin is not None
    home = Path(spec.origin).parent
    found = requirements_of({*always(home), *sys.argv[1:]}, home / "components")
    checker = texts_of((home / "scripts/check_config.py").read_text(), ["REQUIREMENTS"])
    print("\n".join([*found, *sorted(checker["REQUIREMENTS"])]))


if __name__ == "__main__":
    main()
