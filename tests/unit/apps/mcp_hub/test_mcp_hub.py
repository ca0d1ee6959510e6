"""The MCP hub's own tests (apps/mcp_hub/test), built as a release is: one test for each file."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

APP = Path(__file__).parents[4] / "apps" / "mcp_hub"
SUITES = sorted(path.name for path in (APP / "test").glob("*.test.ts"))
PACKAGE = ("package.json", "package-lock.json", ".npmrc")
SOURCES = (*PACKAGE, "tsconfig.json", "tsconfig.build.json", "src", "test")
INSTALL_LIMIT = 300.0  # seconds; only where the cache is empty
RUN_LIMIT = 120.0


def run(*command: str, where: Path, limit: float) -> str:
    """What the command says; the test fails with that when it exits non-zero."""
    done = subprocess.run(
        command,
        cwd=where,
        timeout=limit,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command)}\n{done.stdout}", pytrace=False)
    return done.stdout


def installed(cache: Path) -> Path:
    """A node_modules that is exactly what the lock file says, made once for each lock file."""
    lock = hashlib.sha256((APP / "package-lock.json").read_bytes()).hexdigest()[:16]
    home = cache / lock
    done = home / "done"
    if not done.exists():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        for name in PACKAGE:
            shutil.copy(APP / name, home)
        run("npm", "ci", where=home, limit=INSTALL_LIMIT)
        done.touch()
    return home / "node_modules"


@pytest.fixture(scope="module")
def built(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the app with its dependencies and its compiled tests; the source tree stays as it is."""
    modules = installed(pytestconfig.cache.mkdir("mcp_hub"))
    copy = tmp_path_factory.mktemp("mcp_hub")
    for name in SOURCES:
        source = APP / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
    (copy / "node_modules").symlink_to(modules)
    run("npx", "--no-install", "tsc", "--outDir", ".test-build", where=copy, limit=RUN_LIMIT)
    return copy


@pytest.fixture(scope="module")
def runs(built: Path, request: pytest.FixtureRequest) -> Iterator[dict[str, Future[str]]]:
    """The files that were asked for, two at a time: they wait more than they work."""
    asked = {item.callspec.params.get("suite") for item in request.session.items if hasattr(item, "callspec")}
    with ThreadPoolExecutor(2) as pool:
        yield {
            suite: pool.submit(
                run, "node", "--test", f".test-build/test/{suite[:-3]}.js", where=built, limit=RUN_LIMIT
            )
            for suite in SUITES
            if suite in asked
        }


@pytest.mark.parametrize("suite", SUITES)
def test_suite(runs: dict[str, Future[str]], suite: str) -> None:
    """Every test of the file passes, and there are some."""
    said = runs[suite].result()
    passed = re.search(r"^\S+ pass (\d+)$", said, re.MULTILINE)
    assert passed and int(passed[1]) > 0, said
    assert re.search(r"^\S+ skipped 0$", said, re.MULTILINE), said


def test_every_suite_is_run() -> None:
    """The list is of what is there."""
    sides = ("cli", "config", "mcp", "mqtt", "rest", "upstream", "websocket")
    assert {f"{side}.test.ts" for side in sides} <= set(SUITES)


def test_a_release_is_build_alone(built: Path) -> None:
    """`npm run build` makes the program that package.json's `bin` names, without the tests."""
    run("npm", "run", "build", where=built, limit=RUN_LIMIT)
    program = built / json.loads((built / "package.json").read_text())["bin"]["mcp-hub"]
    version = json.loads((built / "package.json").read_text())["version"]
    assert run("node", str(program), "--version", where=built, limit=RUN_LIMIT).strip() == version
    assert not (built / "dist" / "test").exists()


def test_the_lock_names_no_registry() -> None:
    """Version 3, everything pinned by hash, and no address of where its maker fetched it from."""
    lock = json.loads((APP / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert lock["lockfileVersion"] == 3
    assert not [name for name, entry in packages.items() if "resolved" in entry]
    assert not [name for name, entry in packages.items() if "integrity" not in entry]


def test_versions_are_exact() -> None:
    """A release of tomorrow is made of what was tested today."""
    package = json.loads((APP / "package.json").read_text())
    asked = {**package["dependencies"], **package["devDependencies"]}
    assert not [name for name, version in asked.items() if not re.fullmatch(r"\d+\.\d+\.\d+", version)]
