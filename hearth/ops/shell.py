"""A command that is run only where it is needed."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from hearth.ops.facts import Succeeds


@operation()
def ensure(holds: str, command: str) -> Generator[PyinfraCommand, None, None]:
    """
    Run a command unless a test already holds, and fail when it does not hold afterwards.

    + holds: shell command that exits with 0 when there is nothing to do
    + command: what makes it so

    **Example:**

    .. code:: python

        shell.ensure(name="Lock root", holds="passwd -S root | grep -q '^root L'", command="passwd -l root")
    """
    if host.get_fact(Succeeds, test=holds):
        host.noop("holds already")
        return
    yield StringCommand(
        f"{command}\n( {holds} ) >/dev/null || {{ echo 'done, and still it does not hold' >&2; exit 1; }}"
    )
