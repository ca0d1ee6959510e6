"""A way from the tailnet into the guest's own network, for phones and laptops that are not at home.

The role `tailscale`, which it brings, advertises the network; this one lets the kernel pass it on.
"""

from __future__ import annotations

from hearth.ops import files, shell
from hearth.role.declaration import Role
from hearth.role.here import Here

SYSCTL = "/etc/sysctl.d/90-hearth-subnet-router.conf"

role = Role(brings=("tailscale",), packages=("procps",))


@role.deploy
def subnet_router(here: Here) -> None:
    """Let packets through, now and after a restart."""
    settings = here.template("sysctl.conf.j2", SYSCTL)
    files.present(name="Let packets of the tailnet through", files=[settings])
    wanted = [line for line in settings.text.splitlines() if "=" in line]
    holds = " && ".join(
        f'[ "$(sysctl -n {key.strip()})" = {value.strip()} ]'
        for key, value in (line.split("=", 1) for line in wanted)
    )
    shell.ensure(name="Let packets through from now on", holds=holds, command=f"sysctl -q --load={SYSCTL}")
