"""The store: what it generates, when it writes, and what it refuses."""

import logging
import multiprocessing
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from secret_place import Place

from hearth.errors import HearthError
from hearth.secrets import MissingSecretError, SecretStore
from hearth.secrets.age import generate_identity, recipient_of

Once = Callable[[str], Callable[[], str]]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def listing(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


# ------------------------------------------------------------------ generating


def test_missing_is_generated_once_and_kept(place: Place, once: Once) -> None:
    store = place.open()
    first = store.ensure("mqtt/kitchen", once("canary"))
    assert store.ensure("mqtt/kitchen", once("other")) == first
    store.save()
    assert place.open().get("mqtt/kitchen").reveal() == "canary"
    assert place.open().ensure("mqtt/kitchen", once("other")) == first


def test_without_save_nothing_is_written(place: Place, once: Once) -> None:
    store = place.open()
    store.ensure("mqtt/kitchen", once("canary"))
    store.put("a", "b")
    store.names()
    assert list(place.root.iterdir()) == []
    assert store.unsaved == ("a", "mqtt/kitchen")


def test_save_with_nothing_new_touches_nothing(saved: Place) -> None:
    before = saved.file.stat()
    store = saved.open()
    store.ensure("mqtt/kitchen", lambda: "unused")
    assert store.save() is False
    assert saved.file.stat().st_mtime_ns == before.st_mtime_ns
    assert saved.file.stat().st_ino == before.st_ino


def test_second_save_of_one_store_writes_nothing(place: Place) -> None:
    store = place.open()
    store.put("a", "b")
    assert store.save() is True
    assert store.save() is False


def test_file_is_armoured_hides_everything_and_is_private(saved: Place) -> None:
    data = saved.file.read_bytes()
    assert data.startswith(b"-----BEGIN AGE ENCRYPTED FILE-----\n")
    assert max(len(line) for line in data.splitlines()) <= 64
    assert b"canary" not in data
    assert b"kitchen" not in data
    assert mode(saved.file) == 0o600


def test_no_plain_text_is_left_in_any_file(saved: Place) -> None:
    store = saved.open()
    store.put("mqtt/other", "canary-other")
    store.save()
    assert listing(saved.root) == [saved.identity, saved.file]
    assert all(b"canary" not in path.read_bytes() for path in listing(saved.root))


def test_put_replaces_and_remove_removes(saved: Place) -> None:
    store = saved.open()
    store.put("mqtt/kitchen", "new")
    store.put("a", "b")
    store.save()
    store = saved.open()
    assert store.get("mqtt/kitchen").reveal() == "new"
    store.remove("a")
    assert store.find("a") is None
    store.save()
    assert saved.open().names() == ("mqtt/kitchen",)


def test_removed_then_ensured_is_new(saved: Place) -> None:
    store = saved.open()
    store.remove("mqtt/kitchen")
    store.save()
    store.ensure("mqtt/kitchen", lambda: "fresh")
    store.save()
    assert saved.open().get("mqtt/kitchen").reveal() == "fresh"


def test_created_is_noted(saved: Place) -> None:
    assert saved.open().created("mqtt/kitchen") == "2026-11-23T12:00:00Z"


def test_missing_names_the_remedy(saved: Place) -> None:
    with pytest.raises(MissingSecretError, match="hearth secrets set mqtt/garden"):
        saved.open().get("mqtt/garden")
    with pytest.raises(MissingSecretError, match="PROXMOX_VE_API_TOKEN"):
        saved.open().get("proxmox/token")


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "../a", "a b", "a\n", "ä", "-a", "a" + chr(0)])
def test_bad_names_are_refused(place: Place, name: str) -> None:
    with pytest.raises(HearthError):
        place.open().put(name, "x")
    with pytest.raises(HearthError):
        place.open().ensure(name, lambda: "x")


def test_long_and_odd_values_survive(place: Place) -> None:
    value = "ä\n\0\"'\\ {{ x }} " + "x" * 200_000
    store = place.open()
    store.put("odd", value)
    store.save()
    assert place.open().get("odd").reveal() == value


# ----------------------------------------------------------------- environment


def test_environment_wins_and_is_not_written(saved: Place) -> None:
    store = saved.open()
    store.put("proxmox/token", "from-file")
    store.save()
    store = saved.open(PROXMOX_VE_API_TOKEN="from-environment")
    assert store.get("proxmox/token").reveal() == "from-environment"
    assert store.overridden("proxmox/token") == "PROXMOX_VE_API_TOKEN"
    assert store.ensure("proxmox/token", lambda: "unused").reveal() == "from-environment"
    assert store.save() is False
    assert saved.open().get("proxmox/token").reveal() == "from-file"


def test_environment_answers_without_file_or_identity(saved: Place) -> None:
    saved.identity.unlink()
    store = saved.open(PROXMOX_VE_API_TOKEN="from-environment")
    assert store.get("proxmox/token").reveal() == "from-environment"
    with pytest.raises(HearthError, match="identity"):
        store.get("mqtt/kitchen")


def test_empty_variable_counts_as_unset(saved: Place) -> None:
    assert saved.open(PROXMOX_VE_API_TOKEN="").find("proxmox/token") is None


def test_paths_come_from_the_environment(tmp_path: Path) -> None:
    store = SecretStore.from_environment(tmp_path, {"HEARTH_SECRETS": "x/y.age", "HEARTH_AGE_KEY_FILE": "/k"})
    assert (store.path, store.identity_file) == (tmp_path / "x/y.age", Path("/k"))
    store = SecretStore.from_environment(tmp_path, {})
    assert store.path == tmp_path / "inventory/secrets.age"
    assert store.identity_file == Path("~/.config/hearth/age.key").expanduser()


# -------------------------------------------------------------------- identity


def test_first_save_makes_an_identity_and_says_so(place: Place) -> None:
    store = place.open()
    store.put("a", "b")
    store.save()
    assert mode(place.identity) == 0o600
    assert mode(place.identity.parent) == 0o700
    assert len(place.notices) == 1
    assert str(place.identity) in place.notices[0]
    assert "back it up" in place.notices[0]
    assert "AGE-SECRET-KEY" not in place.notices[0]


def test_a_new_identity_is_announced_even_if_the_file_cannot_be_written_then(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hearth.secrets import store as module

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_durably", full)
    store = place.open()
    store.put("a", "b")
    with pytest.raises(HearthError, match="No space left"):
        store.save()
    assert place.identity.exists()
    assert len(place.notices) == 1


def test_later_saves_keep_the_identity_and_say_nothing(saved: Place) -> None:
    before = saved.identity.read_bytes()
    saved.notices.clear()
    store = saved.open()
    store.put("a", "b")
    store.save()
    assert saved.identity.read_bytes() == before
    assert saved.notices == []


def test_notice_reaches_the_log_by_default(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    store = SecretStore(place.file, place.identity)
    store.put("a", "canary-b")
    store.save()
    assert str(place.identity) in caplog.text
    assert "canary" not in caplog.text
    assert caplog.records[0].levelno == logging.WARNING


def test_file_without_identity_is_an_error_and_no_new_identity_is_made(saved: Place) -> None:
    saved.identity.unlink()
    store = saved.open()
    with pytest.raises(HearthError, match="HEARTH_AGE_KEY_FILE"):
        store.get("mqtt/kitchen")
    with pytest.raises(HearthError):
        store.ensure("mqtt/other", lambda: "x")
    assert not saved.identity.exists()


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o644, 0o610, 0o660])
def test_identity_open_to_others_is_refused(saved: Place, bits: int) -> None:
    saved.identity.chmod(bits)
    with pytest.raises(HearthError, match=f"chmod 600 {saved.identity}"):
        saved.open().get("mqtt/kitchen")


@pytest.mark.parametrize(
    "content", [b"", b"# only a comment\n", b"AGE-SECRET-KEY-1CANARY\n", b"\xff\xfecanary", b"x\n"]
)
def test_identity_that_is_none_is_refused_without_quoting_it(saved: Place, content: bytes) -> None:
    saved.identity.write_bytes(content)
    with pytest.raises(HearthError, match="identity") as caught:
        saved.open().get("mqtt/kitchen")
    assert "CANARY" not in str(caught.value).upper()
    assert caught.value.__cause__ is None


def test_identity_that_is_a_directory_is_refused(saved: Place) -> None:
    saved.identity.unlink()
    saved.identity.mkdir()
    with pytest.raises(HearthError, match="directory"):
        saved.open().get("mqtt/kitchen")


def test_wrong_identity(saved: Place) -> None:
    saved.identity.write_text(generate_identity().reveal())
    with pytest.raises(HearthError, match="not encrypted for the identity"):
        saved.open().get("mqtt/kitchen")


def test_identity_file_of_several_with_comments(saved: Place) -> None:
    right = saved.identity.read_text()
    saved.identity.write_text(f"{generate_identity().reveal()}\n\n{right}")
    assert saved.open().get("mqtt/kitchen").reveal() == "canary-kitchen"


def test_age_keygen_reads_what_we_write_and_we_read_what_it_writes(saved: Place) -> None:
    """The form of age-keygen: comments, then one key."""
    lines = saved.identity.read_text().splitlines()
    assert lines[0].startswith("# created: 2026-11-23T12:00:00Z")
    assert lines[1].startswith("# public key: age1")
    assert lines[2].startswith("AGE-SECRET-KEY-1")
    assert len(lines) == 3


# --------------------------------------------------------------------- damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-80],
        lambda data: data[: len(data) // 2],
        lambda data: b"not age at all\n",
        lambda data: b"\0" * 100,
        lambda data: data.replace(b"\n", b"", 3),
        lambda data: b"<<<<<<< HEAD\n" + data + b"=======\n" + data + b">>>>>>> other\n",
    ],
)
def test_damaged_file(saved: Place, damage: Callable[[bytes], bytes]) -> None:
    saved.file.write_bytes(damage(saved.file.read_bytes()))
    with pytest.raises(HearthError, match="secrets file"):
        saved.open().get("mqtt/kitchen")


def test_damaged_file_is_never_overwritten(saved: Place) -> None:
    saved.file.write_bytes(b"damaged")
    store = saved.open()
    with pytest.raises(HearthError):
        store.put("a", "b")
        store.save()
    assert saved.file.read_bytes() == b"damaged"


@pytest.mark.parametrize(
    "plain",
    [
        b"canary no json",
        b"[]",
        b"{}",
        b"null",
        b'{"version": 1, "recipients": [], "secrets": {"a": "canary"}}',
        b'{"version": 1, "recipients": [1], "secrets": {}}',
        b'{"version": 1, "recipients": [], "secrets": {"a": {"value": 5, "created": "canary"}}}',
        b"\xff",
    ],
)
def test_content_that_hearth_did_not_write(saved: Place, plain: bytes) -> None:
    from hearth.secrets import age, identity

    keys = identity.read_identities(saved.identity)
    saved.file.write_bytes(age.encrypt(plain, [recipient_of(key) for key in keys]))
    with pytest.raises(HearthError, match="not what Hearth writes") as caught:
        saved.open().get("a")
    assert "canary" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_newer_version_is_refused(saved: Place) -> None:
    from hearth.secrets import age, identity

    keys = identity.read_identities(saved.identity)
    saved.file.write_bytes(age.encrypt(b'{"version": 2}', [recipient_of(key) for key in keys]))
    with pytest.raises(HearthError, match="newer Hearth"):
        saved.open().get("a")


def test_unwritable_place_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "inventory").write_text("a file where the directory should be")
    store = SecretStore(tmp_path / "inventory/secrets.age", tmp_path / "age.key")
    with pytest.raises(HearthError, match="secrets file"):
        store.put("a", "b")
        store.save()
    assert not (tmp_path / "age.key").exists()


def test_crash_while_writing_leaves_the_old_file(saved: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.file.read_bytes()
    store = saved.open()
    store.put("a", "b")

    def crash(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(HearthError, match="No space left"):
        store.save()
    assert saved.file.read_bytes() == before
    assert listing(saved.root) == [saved.identity, saved.file]
    monkeypatch.undo()
    assert store.save() is True
    assert saved.open().get("a").reveal() == "b"


# ------------------------------------------------------------------ recipients


def test_every_recipient_can_open_it(saved: Place) -> None:
    second = generate_identity()
    store = saved.open()
    store.set_recipients((recipient_of(second),))
    store.save()
    first = saved.identity.read_text()
    saved.identity.write_text(second.reveal())
    store = saved.open()
    assert store.get("mqtt/kitchen").reveal() == "canary-kitchen"
    store.put("by-second", "x")
    store.set_recipients(
        (*store.recipients, *[line.split()[-1] for line in first.splitlines() if "age1" in line])
    )
    store.save()
    saved.identity.write_text(first)
    assert saved.open().get("by-second").reveal() == "x"


def test_a_dropped_recipient_cannot_open_the_next_version(saved: Place) -> None:
    second = generate_identity()
    store = saved.open()
    store.set_recipients((recipient_of(second),))
    store.save()
    store = saved.open()
    store.set_recipients(())
    store.save()
    saved.identity.write_text(second.reveal())
    with pytest.raises(HearthError, match="not encrypted for"):
        saved.open().get("mqtt/kitchen")


@pytest.mark.parametrize("text", ["", "age1", "AGE-SECRET-KEY-1X", "ssh-ed25519 AAAA"])
def test_bad_recipient_is_refused(saved: Place, text: str) -> None:
    with pytest.raises(HearthError, match="age public key"):
        saved.open().set_recipients((text,))


# ------------------------------------------------------------------- two at once


def test_two_stores_merge(saved: Place) -> None:
    first, second = saved.open(), saved.open()
    first.ensure("a", lambda: "1")
    second.ensure("b", lambda: "2")
    first.save()
    second.save()
    assert saved.open().names() == ("a", "b", "mqtt/kitchen")


def test_same_secret_generated_twice_is_refused_and_the_first_stays(saved: Place) -> None:
    first, second = saved.open(), saved.open()
    first.ensure("a", lambda: "1")
    second.ensure("a", lambda: "2")
    second.ensure("b", lambda: "2")
    first.save()
    with pytest.raises(HearthError, match="run the command again"):
        second.save()
    assert saved.open().get("a").reveal() == "1"
    assert saved.open().find("b") is None


def _add(place: Place, number: int) -> None:
    store = place.open()
    store.ensure(f"made/{number}", lambda: str(number))
    store.save()


def test_many_processes_lose_nothing(saved: Place) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_add, args=(saved, number)) for number in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 8
    assert len(saved.open().names()) == 9


def test_first_run_twice_at_once_makes_one_identity(place: Place) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_add, args=(place, number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(place.open().names()) == 4


def test_a_held_lock_ends_in_a_clear_error(saved: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from hearth import durable

    with (
        subprocess.Popen(
            ["flock", str(saved.file.parent), "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as holder,
    ):
        assert holder.stdin and holder.stdout
        holder.stdin.write(b"held\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(HearthError, match="another process"), durable.locked(saved.file.parent, wait=0.1):
            pass
        holder.stdin.close()
    with durable.locked(saved.file.parent, wait=0.1):
        pass


# -------------------------------------------------------------------- canaries


def test_store_never_shows_values(saved: Place) -> None:
    store = saved.open(PROXMOX_VE_API_TOKEN="canary-token")
    store.ensure("x", lambda: "canary-x")
    store.get("mqtt/kitchen")
    shown = repr(store) + str(store) + repr(vars(store)["_loaded"]) + repr(vars(store)["_changes"])
    assert "canary" not in shown
    assert "kitchen" in shown
