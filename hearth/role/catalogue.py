"""The roles there are: every file or folder of roles/."""

from __future__ import annotations

import importlib.util
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType

from hearth.errors import HearthError
from hearth.role.declaration import Role

NAME = re.compile(r"[a-z][a-z0-9_]*")
PACKAGE = "roles"


def load_roles(directory: Path) -> dict[str, Role]:
    """Import every role below a folder.

    A role is `<name>.py` or `<name>/__init__.py`; names that begin with `_` or `.` are passed over.

    Args:
        directory: the folder, usually PROJECT/roles.

    Returns:
        The roles by name, in alphabetical order; each knows its name.

    Raises:
        HearthError: the folder is missing, a name is no role's name, an import fails (file and line are
            named), a file has no `role`, or a role no deploy function.
    """
    if not directory.is_dir():
        raise HearthError(f"load the roles of {directory}", "there is no such folder")
    _make_package(directory)
    roles = {name: _load(name, path) for name, path in sorted(_files(directory).items())}
    for role in roles.values():
        _check_needs(role, roles)
    return roles


def _make_package(directory: Path) -> None:
    """A package `roles`: `from roles.greeter.inner import ...` works wherever the program was started."""
    package = sys.modules.setdefault(PACKAGE, ModuleType(PACKAGE))
    paths = list(getattr(package, "__path__", ()))
    if str(directory) not in paths:
        package.__path__ = [*paths, str(directory)]


def _files(directory: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for entry in sorted(directory.iterdir()):
        path = entry / "__init__.py" if entry.is_dir() else entry
        if entry.name.startswith(("_", ".")) or path.suffix != ".py" or not path.is_file():
            continue
        name = entry.name.removesuffix(".py")
        if not NAME.fullmatch(name):
            raise HearthError(f"load role {path}", f"{name!r} is no role's name", "use a-z, 0-9 and _")
        if name in found:
            raise HearthError(
                f"load role {name}", f"there are both {found[name]} and {path}", "keep one of them"
            )
        found[name] = path
    return found


def _load(name: str, path: Path) -> Role:
    module = _import(name, path)
    role = getattr(module, "role", None)
    if not isinstance(role, Role):
        raise HearthError(
            f"load role {name}", f"{path} has no `role`", "add `role = Role(...)`, see docs/roles.md"
        )
    if role.deployer is None:
        raise HearthError(
            f"load role {name}",
            f"{path} has no deploy function",
            "mark one with `@role.deploy`, see docs/roles.md",
        )
    role.name = name
    return role


def _import(name: str, path: Path) -> ModuleType:
    # Under `roles.`, so that a role named like a Python module (`time`) hides nothing.
    full_name = f"{PACKAGE}.{name}"
    folder = [str(path.parent)] if path.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(full_name, path, submodule_search_locations=folder)
    if spec is None or spec.loader is None:
        raise HearthError(f"load role {name}", f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[full_name] = module
    try:
        spec.loader.exec_module(module)
    except HearthError:
        raise
    except Exception as error:
        sys.modules.pop(full_name, None)
        raise HearthError(
            f"load role {name}", f"{_place(error, path)}: {type(error).__name__}: {error}", "mend the file"
        ) from error
    return module


def _place(error: Exception, path: Path) -> str:
    """FILE:LINE of an error: the deepest line inside the role's own folder or file, else the file."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    own = [
        frame for frame in traceback.extract_tb(error.__traceback__) if _within(Path(frame.filename), path)
    ]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else str(path)


def _within(file: Path, role: Path) -> bool:
    return file == role or (role.name == "__init__.py" and role.parent in file.parents)


def _check_needs(role: Role, roles: dict[str, Role]) -> None:
    for need in role.needs:
        provider = roles.get(need.role)
        if provider is None and need.optional:
            continue
        if provider is None:
            raise HearthError(
                f"load role {role.name}", f"it needs {need.role}.{need.port}, but there is no such role"
            )
        if need.port not in {port.name for port in provider.provides}:
            raise HearthError(
                f"load role {role.name}",
                f"it needs {need.role}.{need.port}, but {need.role} provides no such port",
                f"it provides {', '.join(port.name for port in provider.provides) or 'none'}",
            )
