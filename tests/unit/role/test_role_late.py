"""Files whose secret an earlier operation of the same run brings, roles that bring others, and overrides."""

from __future__ import annotations

from pathlib import Path

import ops_kit
import pytest
from role_kit import FakeRun, fleet, guest

from hearth.errors import HearthError
from hearth.fleet.loader import load_fleet
from hearth.ops import files
from hearth.ops.files import File
from hearth.role.declaration import Need, Port, Role
from hearth.role.order import in_order
from hearth.secrets import MissingSecretError
from hearth.values import overrides, tuned

FLEET = """
nodes: {pve: {address: 192.0.2.1, storage: local-lvm, images: local}}
networks: {lan: {bridge: vmbr0, subnet: 192.0.2.0/24}}
images: {debian: {kind: lxc, url: "http://images.example/d.tar.zst"}}
guests:
  one: {kind: lxc, address: 192.0.2.105, image: debian, memory: 512 MiB, disk: 8 GiB, roles: [web]}
  two: {kind: lxc, address: 192.0.2.106, image: debian, memory: 512 MiB, disk: 8 GiB}
"""
WEB = Role(provides=(Port("web", 8443, tls=True, behind=18443),), name="web")
FRONT = Role(name="front")


class Brought:
    """A secret that is not there until it is brought."""

    value: str | None = None

    def __call__(self) -> str:
        if self.value is None:
            raise MissingSecretError("find the secret t", "it is not there")
        return f"token {self.value}\n"


def test_a_file_is_planned_before_its_secret_exists_and_written_with_it(tmp_path: Path) -> None:
    brought = Brought()
    file = File(str(tmp_path / "f"), brought, *_me(), mode="600", secret=True)
    with ops_kit.preparing() as host:
        meta = files.present(name="Bring the token", files=[file])
        assert meta.will_change and host is not None
    brought.value = "abc"
    assert ops_kit.run(lambda: files.present(name="Bring the token", files=[file])).did_succeed()
    assert (tmp_path / "f").read_text() == "token abc\n"
    assert not ops_kit.run(lambda: files.present(name="Bring the token", files=[file])).did_change()


def test_a_secret_that_never_came_fails_the_operation_and_writes_nothing(tmp_path: Path) -> None:
    file = File(str(tmp_path / "f"), Brought(), *_me(), mode="600")
    assert not ops_kit.run(lambda: files.present(name="Bring the token", files=[file])).did_succeed()
    assert not (tmp_path / "f").exists()


def _me() -> tuple[str, str]:
    return "root", "root"


def test_a_late_template_is_rendered_again(tmp_path: Path) -> None:
    run = FakeRun(fleet(guest("one", 5)), roles={"late": Role(name="late")}, project=tmp_path)
    (tmp_path / "templates/late").mkdir(parents=True)
    (tmp_path / "templates/_shared").mkdir()
    (tmp_path / "templates/_shared/says.j2").write_text("{% macro says(x) %}<{{ x }}>{% endmacro %}")
    (tmp_path / "templates/late/t.j2").write_text(
        '{% from "says.j2" import says %}{{ says(here.secrets.get("late/t").reveal()) }}'
    )
    file = run.here("one", "late").template("t.j2", "/etc/t", late=True)
    with pytest.raises(MissingSecretError):
        file.text  # noqa: B018
    run.secrets.put("late/t", "x")
    assert file.text == "<x>"


def test_a_port_behind_the_front_brings_the_front_to_its_guest_alone(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET)
    found = load_fleet(path, {"base": Role(name="base"), "front": FRONT, "web": WEB})
    assert [guest.roles for guest in found.guests] == [("base", "web", "front"), ("base",)]


def test_what_is_brought_is_deployed_after_what_brings_it() -> None:
    door = Role(brings=("front",), name="a_door")
    user = Role(needs=(Need("web", "web"),), name="a_user")
    roles = {"front": FRONT, "web": WEB, "a_door": door, "a_user": user, "base": Role(name="base")}
    order = in_order(roles)
    assert order.index("front") > order.index("web") and order.index("front") > order.index("a_door")
    assert order.index("a_user") > order.index("web")


def test_what_is_used_at_run_time_only_orders_nothing() -> None:
    one = Role(needs=(Need("two", "p"),), name="one")
    two = Role(needs=(Need("one", "p", later=True),), name="two")
    assert in_order({"one": one, "two": two}) == ("two", "one")
    with pytest.raises(HearthError, match="circle"):
        in_order({"one": one, "two": Role(needs=(Need("one", "p"),), name="two")})


def test_a_port_behind_the_front_is_tls() -> None:
    with pytest.raises(ValueError, match="tls"):
        Port("web", 80, behind=1080)


def test_overrides_win_over_group_data(tmp_path: Path) -> None:
    (tmp_path / "group_data").mkdir()
    (tmp_path / "group_data/a.py").write_text("a_one = 1\na_two = 2\n_hidden = 3\n")
    (tmp_path / "o.yaml").write_text("a_two: [5]\n")
    assert tuned(tmp_path, {}) == {"a_one": 1, "a_two": 2}
    assert tuned(tmp_path, {"HEARTH_OVERRIDES": "o.yaml"}) == {"a_one": 1, "a_two": [5]}
    assert overrides({}, tmp_path) == {}


@pytest.mark.parametrize("text", ["- a list\n", "a: [\n", "not a name: 1\n", "1: 2\n", "\x00"])
def test_overrides_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "o.yaml").write_text(text)
    with pytest.raises(HearthError, match=r"o\.yaml"):
        overrides({"HEARTH_OVERRIDES": "o.yaml"}, tmp_path)


def test_overrides_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HearthError, match="HEARTH_OVERRIDES"):
        overrides({"HEARTH_OVERRIDES": "nowhere.yaml"}, tmp_path)
