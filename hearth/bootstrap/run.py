"""The whole of bootstrap.py: look, say what would be done, do it, prove it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from hearth.bootstrap import node as on_node
from hearth.bootstrap import reader, rights
from hearth.bootstrap.look import check_root, look, look_for_reader
from hearth.doctor import ask
from hearth.doctor.rights import judge_rights
from hearth.doctor.root_only import root_only_keys
from hearth.errors import HearthError
from hearth.fleet.model import AUTO
from hearth.proxmox.access import Access, access
from hearth.proxmox.api import Api
from hearth.proxmox.privileges import grants, needed
from hearth.proxmox.wrapper import authorized_line
from hearth.role.watched import MONITORING
from hearth.secrets import ensure_ssh_key

if TYPE_CHECKING:
    from hearth.bootstrap.node import NodeSeen, NodeStep
    from hearth.bootstrap.shell import RootShell
    from hearth.fleet.model import Fleet, Node
    from hearth.secrets import SecretStore

SECRET = "proxmox/token"
NODE_KEY = "ssh/node"
Say = Callable[[str], None]
OpenShell = Callable[["Node"], AbstractContextManager["RootShell"]]


@dataclass(frozen=True)
class Plan:
    """What is to be done: calls to Proxmox, then commands on nodes; and what the admin should know."""

    calls: tuple[rights.Step, ...]
    commands: tuple[tuple[RootShell, NodeStep], ...]
    notes: tuple[str, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """Each step in words."""
        return (
            *(step.text for step in self.calls),
            *(f"on {shell.node}: {step.text}" for shell, step in self.commands),
        )


@dataclass(frozen=True)
class Bootstrap:
    """One run.

    Args:
        fleet: from the fleet file.
        root: the way in of root, or of whoever may give rights.
        who: its user or token id.
        store: the project's secrets, without what the environment puts before them.
        shell: opens a root shell on a node.
    """

    fleet: Fleet
    root: Access
    who: str
    store: SecretStore
    shell: OpenShell

    @contextmanager
    def plan(self) -> Iterator[Plan]:
        """Look at everything; the plan holds while the context does, which keeps the shells open.

        Raises:
            HearthError: something cannot be asked, or the rights of `who` do not suffice.
        """
        api = Api(self.root)
        check_root(api, self.who)
        wanted = grants(needed(self.fleet))
        seen = look(api, self._own())
        pools = {guest.pool for guest in self.fleet.guests if guest.pool}
        calls = (*rights.plan(wanted, pools, seen), *self._reader(api))
        with ExitStack() as stack:
            commands, notes = self._on_nodes(stack)
            yield Plan(calls, tuple(commands), (*rights.strangers(wanted, seen), *notes))

    def carry_out(self, plan: Plan, say: Say) -> None:
        """Do it all, and prove with the new token that it suffices.

        Raises:
            HearthError: a step failed; run again, it goes on from there.
        """
        if any(shell for shell, _ in plan.commands):
            self.store.save()  # the node's key, before anybody trusts it
        api = Api(self.root)
        for step in plan.calls:
            say(step.text)
            self._call(api, step)
        for shell, command in plan.commands:
            say(f"on {shell.node}: {command.text}")
            shell.remember()
            shell.carry_out(command)
        self._prove()

    def _call(self, api: Api, step: rights.Step) -> None:
        send = {"POST": api.post, "PUT": api.put, "DELETE": api.delete}[step.method]
        answer = send(step.path, **step.params)
        if step.brings_token:
            try:
                value = f"{answer['full-tokenid']}={answer['value']}"
            except (TypeError, KeyError):
                raise HearthError(step.text, "Proxmox did not tell the token's value", "run again") from None
            self.store.put(step.kept_as, value)
            self.store.save()

    def _reader(self, api: Api) -> tuple[rights.Step, ...]:
        """What is to be done about the user that monitoring reads with."""
        own = self._own(reader.SECRET, reader.TOKEN)
        return reader.plan(bool(self.fleet.with_role(MONITORING)), look_for_reader(api, own))

    def _own(self, secret: str = SECRET, token: str = rights.TOKEN) -> Access | None:
        """The way in with the token that the secrets hold, where it is Hearth's own."""
        kept = self.store.find(secret)
        if kept is None or not kept.reveal().startswith(f"{token}="):
            return None
        own = access(self.fleet.nodes[0], {}, kept.reveal())
        return Access(self.root.endpoint, own.user, own.token_name, own.token_value, self.root.verify)

    def _prove(self) -> None:
        own = self._own()
        if own is None:
            raise HearthError(
                "prove the new rights", f"the secrets hold no token {rights.TOKEN}", "run again"
            )
        wanted = needed(self.fleet)
        held, everywhere = ask.rights(Api(own), wanted)
        for finding in judge_rights(wanted, held, everywhere, own.user, own.token_name):
            if finding.status == "fail":
                raise HearthError("prove the new rights", finding.text, finding.remedy)

    # ------------------------------------------------------------------- nodes

    def _on_nodes(self, stack: ExitStack) -> tuple[list[tuple[RootShell, NodeStep]], list[str]]:
        commands: list[tuple[RootShell, NodeStep]] = []
        notes: list[str] = []
        for node in self.fleet.nodes:
            needs = self._needs_wrapper(node)
            if not needs and self.store.find(NODE_KEY) is None:
                continue  # Hearth was never let in there
            try:
                shell = stack.enter_context(self.shell(node))
                seen = shell.look()
            except HearthError as error:
                if needs:
                    raise
                notes.append(f"no guest needs the SSH wrapper of {node.name}; whether it is there: {error}")
                continue
            steps, others = self._planned(seen, needs, node.tailnet)
            commands += [(shell, step) for step in steps]
            notes += [f"on {node.name} another key may run the wrapper too: {other}" for other in others]
        return commands, notes

    def _planned(
        self, seen: NodeSeen, needs: bool, tailnet: bool
    ) -> tuple[Sequence[NodeStep], Sequence[str]]:
        _, public = ensure_ssh_key(self.store, "node")
        line = authorized_line(public, tailnet)
        if not needs:
            return on_node.plan_removed(seen, line), ()
        text = (files("hearth.proxmox") / "node_wrapper.py").read_text(encoding="utf-8")
        return on_node.plan_installed(seen, text, line), on_node.other_keys(seen, line)

    def _needs_wrapper(self, node: Node) -> bool:
        there = [guest for guest in self.fleet.guests if guest.node in (node.name, AUTO)]
        return node.tailnet or any(root_only_keys(guest) for guest in there)
