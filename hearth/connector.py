"""pyinfra connectors for guests and nodes (being written)."""

from pyinfra.connectors.ssh import SSHConnector


class GuestConnector(SSHConnector):
    """A guest."""


class NodeConnector(SSHConnector):
    """A node."""
