"""Every role of a guest, in the order of the roles' needs."""

from __future__ import annotations

from pyinfra import context

from hearth import run as runs
from hearth.role.here import Here


def apply() -> None:
    """Prepare the operations of this host's roles; nothing for nodes and appliances.

    Each operation remembers its role's place in the order, which holds across guests: a provider's last operation
    comes before its user's first, wherever the two live.
    """
    run = runs.current()
    host = context.host
    if not run.is_guest(host.name):
        return
    guest = run.fleet.guest(host.name)
    for stage, name in enumerate(run.order):
        if name not in guest.roles:
            continue
        first = len(host.op_hash_order)
        with host.deploy(name.replace("_", " ").capitalize(), None, None):
            run.roles[name].deployer(Here(run, guest, host))
        run.stage_of.update(dict.fromkeys(host.op_hash_order[first:], stage))
