"""An application on a guest: built, its configuration proven by itself, sandboxed, healthy or taken back."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from hearth.application.recipe import Recipe, recipe
from hearth.application.source import Declared, read_source
from hearth.ops import apt, files, release, runtime, shell
from hearth.ops.files import File
from hearth.role.here import Here

PATH = "/usr/local/bin:/usr/bin:/bin"
LONGEST_CHECK = 60  # seconds
PLACES = ("release", "runtime", "config", "stage")


@dataclass(frozen=True)
class Files:
    """What an application reads.

    Args:
        config: its configuration, which `{config}` in its command names.
        restarted: further files that it reads at the start only.
        reloaded: files that it reads again on a reload.
        reloads_config: it reads its configuration again on a reload; what takes a restart is `restarts`.
        restarts: whatever must restart it when it changes, besides files; goes into the unit as a digest.
    """

    config: File
    restarted: tuple[File, ...] = ()
    reloaded: tuple[File, ...] = ()
    reloads_config: bool = False
    restarts: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[File, ...]:
        """Every file."""
        return (self.config, *self.restarted, *self.reloaded)


class Application:
    """One role that is a program of its own, on one guest.

    Args:
        here: the role and the guest.
        title: what the admin calls it, e.g. "MCP hub".
        kind: what it runs on.

    Raises:
        HearthError: something in the role's group_data is no good; file, value and remedy are named.
    """

    def __init__(self, here: Here, title: str, kind: Literal["node", "python"]) -> None:
        self.here = here
        self.title = title
        self.kind = kind
        self.name = here.role.name
        self.user = self.name.replace("_", "-")
        data = here.host.data
        self.pin = runtime.chosen_node(data) if kind == "node" else runtime.chosen_uv(data)
        self.recipe = self._recipe()
        self.commands = {key: self._command(key) for key in ("command", "check")}
        self.health = self._text("health")
        if not self.health.startswith("/"):
            self.declared("health").refuse(
                f"it is {self.health!r}", "write a path with its slash, e.g. /health"
            )

    def declared(self, value: str) -> Declared:
        """A value of the role's group_data, for errors."""
        return Declared(self.name, f"{self.name}_{value}")

    def _recipe(self) -> Recipe:
        source = read_source(
            self.declared("source"), self.here.value("source"), self.kind, self.here.run.project
        )
        build = self.here.value("build")
        if build is not None and not (isinstance(build, str) and build.strip()):
            self.declared("build").refuse(f"it is {build!r}", "write a shell script, or None")
        python = self._text("python") if self.kind == "python" else ""
        return recipe(source, self.kind, self.pin, build=build, python=python)

    def _text(self, value: str) -> str:
        found = self.here.value(value)
        if not isinstance(found, str) or not found:
            self.declared(value).refuse(f"it is {found!r}", "write a text")
        return found

    def _command(self, value: str) -> str:
        """A command of group_data; "" for None. It may hold the places that `PLACES` lists."""
        found = self.here.value(value)
        if found is None and value != "command":
            return ""
        try:
            text = self._text(value)
            text.format(**dict.fromkeys(PLACES, ""))
        except (KeyError, IndexError, ValueError) as error:
            places = ", ".join(f"{{{place}}}" for place in PLACES)
            self.declared(value).refuse(
                f"{found!r} has {error} in braces", f"use {places}; write {{{{ for a brace"
            )
        return text

    @property
    def folder(self) -> str:
        """Where its configuration is."""
        return f"/etc/{self.user}"

    @property
    def unit(self) -> str:
        """Its unit."""
        return f"{self.user}.service"

    @property
    def port(self) -> int:
        """Where it listens in plain, on loopback."""
        behind = self.here.port("web").behind
        assert behind is not None
        return behind

    def own(self, name: str, content: Any, secret: bool = True) -> File:
        """A file of its folder that it alone may read."""
        return File(f"{self.folder}/{name}", content, self.user, self.user, "600", secret)

    # --------------------------------------------------------------- operations

    def deploy(self, given: Files, before_run: Callable[[], None] = lambda: None) -> None:
        """All of it, in order. Until the last operation whatever ran goes on with the files it has read.

        Args:
            given: what it reads.
            before_run: operations between its files and its start.
        """
        self._install()
        files.present(name=f"Configure {self.title}", files=given.all, check=self._check(given))
        unit = self._unit_file(given)
        files.present(name=f"Confine {self.title}", files=[unit], check=self._verify())
        before_run()
        config = () if given.reloads_config else (given.config,)
        again = (given.config,) if given.reloads_config else ()
        release.active(
            name=f"Run {self.title}",
            role=self.here.role,
            app=self.name,
            ident=self.recipe.ident,
            unit=self.unit,
            health=release.http_health(self.port, self.health),
            restart_on=[unit, *config, *given.restarted],
            reload_on=[*again, *given.reloaded],
            ports=[self.port],
            within=self.here.number("starts_within", 5),
        )

    def _install(self) -> None:
        shell.ensure(
            name=f"Create the user of {self.title}",
            holds=f"id -u {self.user}",
            command=f"useradd --system --user-group -d /nonexistent -s /usr/sbin/nologin {self.user}",
        )
        if isinstance(self.pin, runtime.Node):
            runtime.node(name=f"Install Node.js for {self.title}", pin=self.pin)
        else:
            runtime.uv(name=f"Install uv for {self.title}", pin=self.pin)
        if self.recipe.packages:
            apt.installed(name=f"Install what brings {self.title}", packages=list(self.recipe.packages))
        release.built(
            name=f"Build {self.title}",
            app=self.name,
            ident=self.recipe.ident,
            build=self.recipe.script,
            parcels=self.recipe.parcels,
            uses=[self.pin.path],
        )

    def _check(self, given: Files) -> str | None:
        if not self.commands["check"]:
            return None
        command = self._filled("check", "$scratch" + given.config.path, "$scratch")
        return CHECK.format(user=self.user, path=PATH, within=LONGEST_CHECK, command=command)

    def _verify(self) -> str:
        link, new = release.current(self.name), release.path_of(self.name, self.recipe.ident)
        return VERIFY_UNIT.format(unit=self.unit, link=link, release=new)

    def _filled(self, key: str, config: str, stage: str) -> str:
        new = release.path_of(self.name, self.recipe.ident)
        return self.commands[key].format(
            release=new if key == "check" else release.current(self.name),
            runtime=self.pin.path,
            config=config,
            stage=stage,
        )

    def _unit_file(self, given: Files) -> File:
        environment = self.here.value("environment")
        declared = self.declared("environment")
        if not isinstance(environment, Mapping) or not all(map(_is_variable, environment.items())):
            declared.refuse(f"it is {environment!r}", 'write texts, e.g. {"LOG_LEVEL": "info"}')
        values = {
            "application": self,
            "command": self._filled("command", given.config.path, ""),
            "environment": environment,
            "restarts": release.ident_of("", *given.restarts).lstrip("-"),
            "reloads": bool(given.reloads_config or given.reloaded),
        }
        return self.here.template("application.service.j2", f"/etc/systemd/system/{self.unit}", values=values)


def _is_variable(pair: tuple[Any, Any]) -> bool:
    name, value = pair
    plain = isinstance(name, str) and name.isidentifier() and isinstance(value, str)
    return plain and value.isprintable() and '"' not in value and "\\" not in value


def stray_files_gone(name: str, folder: str, wanted: Sequence[File]) -> None:
    """An operation that removes whatever else is in a folder of a program's files."""
    kept = " ".join(f"! -name {shlex.quote(PurePosixPath(file.path).name)}" for file in wanted)
    found = f"find {shlex.quote(folder)} -mindepth 1 -maxdepth 1 {kept}"
    shell.ensure(
        name=name,
        holds=f'[ -z "$({found} 2>/dev/null | head -n 1)" ]',
        command=f"{found} -exec rm -rf {{}} +",
    )


# The unit names the link, which on a new guest is not there yet.
VERIFY_UNIT = """
sed 's#{link}/#{release}/#g' {{candidate}} >{{stage}}/{unit}
systemd-analyze verify --man=no --recursive-errors=no {{stage}}/{unit}
"""

# The program reads the candidates as its own user, in a folder of its own: never as root, whoever wrote it.
CHECK = """
scratch=$(mktemp -d /run/hearth-check.XXXXXX)
trap 'rm -rf "$scratch" "$scratch.log"' EXIT
cp -r {{stage}}/. "$scratch"
chown -R {user}:{user} "$scratch"
chmod -R u=rwX,go= "$scratch"
code=0
( umask 077; cd / && exec env -i PATH={path} HOME=/nonexistent LANG=C.UTF-8 timeout -k 5 {within} \\
  setpriv --reuid={user} --regid={user} --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all \\
  {command} ) >"$scratch.log" 2>&1 || code=$?
[ "$code" -eq 0 ] || {{ sed "s#$scratch##g" "$scratch.log" >&2; exit 1; }}
"""
