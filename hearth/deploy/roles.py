"""Every role of a guest, in the order of the roles' needs."""

from __future__ import annotations

from pyinfra import context

from hearth import run as runs
from hearth.ops import calm
from hearth.role.here import Here


def apply() -> None:
    """Prepare the operations of this host's roles; nothing for nodes and appliances.

    Each operation remembers its role's place in the order, which holds across guests: a provider's last
    operation comes before its user's first, wherever the two live.
    """
    run = runs.current()
    host = context.host
    if not run.is_guest(host.name):
        return
    guest = run.fleet.guest(host.name)
    # Inside host.loop the place counts in pyinfra's operation hash; without it, operations on the same line
    # of two roles' files would be one.
    for stage, name in enumerate(host.loop(run.order)):
        deployer = run.roles[name].deployer
        if name not in guest.roles or deployer is None:
            continue
        first = len(host.op_hash_order)
        with host.deploy(name.replace("_", " ").capitalize(), None, None):
            here = Here(run.staged or run, guest, host, run.roles[name])
            ends_debugging(here)
            deployer(here)
            here.restore_state()
            if here.run.restoring is not None:
                here.run.restoring.done(here)
        run.stage_of.update(dict.fromkeys(host.op_hash_order[first:], stage))


def ends_debugging(here: Here) -> None:
    """The timer that ends a role's debug level, set before the level is raised; none where it is not."""
    found = here.role.logging
    if found is None:
        return
    until = here.loud_until
    calm.back(
        name="End debug level in time" if until else "Have no debug level that would have to end",
        role=here.role.name,
        unit=found.unit,
        usual=tuple(found.files(here.calmly())) if until else (),
        until=until,
        step=found.step,
    )
