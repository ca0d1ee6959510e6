"""Roles are found by their files, and what is wrong with a file is said with its place."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from role_kit import PROJECT

from hearth.errors import HearthError
from hearth.role.catalogue import load_roles
from hearth.role.declaration import Need, Role
from hearth.role.order import in_order

GOOD = """
from hearth.role.declaration import Port, Need, Role
role = Role(provides=(Port("web", 80),), needs={needs})
@role.deploy
def deploy(here):
    pass
"""


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_file_and_a_folder_are_roles_and_know_their_names(tmp_path: Path) -> None:
    write(tmp_path, "one.py", GOOD.format(needs="()"))
    write(tmp_path, "two/__init__.py", "from roles.two.rest import X\n" + GOOD.format(needs="()"))
    write(tmp_path, "two/rest.py", "X = 1\n")
    write(tmp_path, "_shared.py", "raise SystemError\n")
    write(tmp_path, "__pycache__/one.pyc", "")
    roles = load_roles(tmp_path)
    assert list(roles) == ["one", "two"]
    assert [role.name for role in roles.values()] == ["one", "two"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n", "no `role`"),
        ("role = 'Role'\n", "no `role`"),
        ("from hearth.role.declaration import Role\nrole = Role()\n", "no deploy function"),
        ("\n\nimport nothing_of_this_name\n", "bad.py:3"),
        ("\nrole = (\n", "bad.py:2"),
        ("def f():\n    raise ValueError('inner')\n\nf()\n", "bad.py:2"),
        (GOOD.format(needs="(Need('gone', 'web'),)"), "there is no such role"),
        (GOOD.format(needs="(Need('bad', 'mail'),)"), "provides no such port"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    write(tmp_path, "bad.py", text)
    with pytest.raises(HearthError, match="load role bad") as caught:
        load_roles(tmp_path)
    assert said in str(caught.value)


def test_an_optional_need_may_have_no_provider(tmp_path: Path) -> None:
    write(tmp_path, "good.py", GOOD.format(needs="(Need('gone', 'web', optional=True),)"))
    assert list(load_roles(tmp_path)) == ["good"]


@pytest.mark.parametrize("name", ["My-Role.py", "1st.py", "a.b.py"])
def test_a_name_that_is_no_roles_name_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, name, GOOD.format(needs="()"))
    with pytest.raises(HearthError, match="no role's name"):
        load_roles(tmp_path)


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "one.py", GOOD.format(needs="()"))
    write(tmp_path, "one/__init__.py", GOOD.format(needs="()"))
    with pytest.raises(HearthError, match="keep one"):
        load_roles(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HearthError, match="no such folder"):
        load_roles(tmp_path / "nowhere")


def roles(**needs: str) -> dict[str, Role]:
    return {
        name: Role(needs=tuple(Need(other, "x") for other in others.split()), name=name)
        for name, others in needs.items()
    }


def test_base_is_first_then_needs_and_otherwise_the_given_order() -> None:
    order = in_order(roles(app="broker store", zebra="", broker="", store="broker", base=""))
    assert order == ("base", "broker", "store", "app", "zebra")


def test_what_base_brings_comes_before_all_others() -> None:
    found = roles(a="", base="", wall="")
    found["base"].brings = ("wall",)
    assert in_order(found) == ("base", "wall", "a")


def test_a_role_may_bridge_to_its_own_kind() -> None:
    assert in_order(roles(base="", broker="broker")) == ("base", "broker")


def test_a_circle_is_named() -> None:
    with pytest.raises(HearthError, match="a -> b -> c -> a"):
        in_order(roles(base="", a="b", b="c", c="a"))


def test_the_projects_own_roles_load_in_order() -> None:
    order = in_order(load_roles(PROJECT / "roles"))
    assert order[0] == "base"
    assert "mosquitto" in order


def test_the_projects_own_roles_load_for_a_command_of_another_folder(tmp_path: Path) -> None:
    """`hearth` is no module of the project's folder: Python does not look there."""
    code = "import sys; from hearth.role import catalogue; catalogue.load_roles(catalogue.Path(sys.argv[1]))"
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-P", "-c", code, str(PROJECT / "roles")]
    done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
