"""What root must install on a node: Hearth's wrapper, and the line that lets its key run that. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from hearth.proxmox.wrapper import TAILNET, WRAPPER

KEYS = "~/.ssh/authorized_keys"
LOOK_WRAPPER = f"cat {WRAPPER}"
LOOK_MODE = f"stat -c '%a %u' {WRAPPER} && id -u"
LOOK_KEYS = f"cat {KEYS}"
MODE = "755"


@dataclass(frozen=True)
class NodeSeen:
    """What is on a node.

    Args:
        wrapper: the text of /usr/local/sbin/hearth-node, None where there is none.
        sound: only root may write it, and everybody may run it.
        keys: the text of root's authorized_keys, empty where there is none.
    """

    wrapper: str | None
    sound: bool
    keys: str


@dataclass(frozen=True)
class NodeStep:
    """A command for the node's shell: what it does, the command, and what it reads."""

    text: str
    command: str
    stdin: str = ""


def is_sound(answer: str) -> bool:
    """Whether LOOK_MODE found the file as it is installed: `755 0` and then our own `0`."""
    words = answer.split()
    return len(words) == 3 and words[0] == MODE and words[1] == words[2]  # noqa: PLR2004


def plan_installed(seen: NodeSeen, wrapper: str, line: str) -> tuple[NodeStep, ...]:
    """The steps after which the wrapper is there and our key may run it, and do nothing else.

    Args:
        seen: what is there.
        wrapper: the text of hearth/proxmox/node_wrapper.py.
        line: our key's line, of `authorized_line`: `restrict,command="..." ssh-ed25519 AAAA... hearth-node`.
    """
    steps = []
    if seen.wrapper != wrapper or not seen.sound:
        verb = "install" if seen.wrapper is None else "replace"
        command = _written(WRAPPER, wrapper, f"chmod {MODE}")
        steps.append(NodeStep(f"{verb} {WRAPPER}", f"umask 022 && {command}", wrapper))
    mine, others = _split(seen.keys, line)
    if mine != [line]:
        text = f"let Hearth's key run {WRAPPER}, and nothing else"
        text += ", which may bring the node into the tailnet" if TAILNET in line else ""
        if mine:
            text += " (until now its line says otherwise)"
        steps.append(_keys_step(text, [*others, line]))
    return tuple(steps)


def plan_removed(seen: NodeSeen, line: str) -> tuple[NodeStep, ...]:
    """The steps after which our key may do nothing; the wrapper goes with the last key that may run it."""
    mine, others = _split(seen.keys, line)
    steps = [_keys_step("take Hearth's key away: no guest needs it", others)] if mine else []
    if seen.wrapper is not None and not any(WRAPPER in other for other in others):
        steps.append(NodeStep(f"remove {WRAPPER}: no guest needs it", f"rm -f {WRAPPER}"))
    return tuple(steps)


def other_keys(seen: NodeSeen, line: str) -> tuple[str, ...]:
    """Comments of keys that are not ours and may run the wrapper too."""
    _, others = _split(seen.keys, line)
    return tuple(other.split()[-1] for other in others if f'command="{WRAPPER}' in other)


def _split(keys: str, line: str) -> tuple[list[str], list[str]]:
    """The lines with our key, whatever else they say; and all others."""
    _, blob, *_ = line.partition('" ')[2].split()  # after the options: type, key, comment
    mine: list[str] = []
    others: list[str] = []
    for text in keys.splitlines():
        ours = blob in text.split() and not text.lstrip().startswith("#")
        (mine if ours else others).append(text)
    return mine, others


def _keys_step(text: str, lines: list[str]) -> NodeStep:
    """On Proxmox the file is a link into /etc/pve: what it leads to is replaced, not the link."""
    content = "".join(f"{line}\n" for line in lines)
    place = f"umask 077 && mkdir -p ~/.ssh && keys=$(readlink -f {KEYS})"
    return NodeStep(text, f"{place} && {_written('$keys', content)}", content)


def _written(path: str, content: str, then: str = "true") -> str:
    """Whole or not at all: a connection that breaks leaves half a file, which `cat` calls done."""
    new = f'"{path}.hearth"'
    digest = hashlib.sha256(content.encode()).hexdigest()
    check = f'test "$(sha256sum < {new} | cut -c-64)" = {digest}'
    return f'cat > {new} && {check} && {then} {new} && mv -f {new} "{path}"'
