"""Make the home what inventory/fleet.yaml says it is."""

from hearth.deploy import backup, guest, node, roles

node.prepare()  # templates and images that guests to be created need
guest.present()  # created, changed in place, started
node.backups()  # Proxmox's own backup jobs, where the fleet file has them
node.firewall()  # who may reach what, where the fleet file says that Hearth keeps it
roles.apply()  # every role of this guest, in the order of their needs
node.tailnet()  # the node itself in the tailnet, where the fleet file asks for it
node.policy()  # who may reach what over the tailnet
backup.keep_fleet()  # the secrets, encrypted, and the fleet file, where backups are kept
guest.restart_last()  # the restart of a guest that this very run passes through
