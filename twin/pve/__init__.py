"""The fake Proxmox VE API: fakepve, corrected where real Proxmox answers otherwise.

`Pve` is the fake, `Server` runs it in a thread of its own, `furnish` gives it a small home node, and
`twin.pve.faults` breaks it on request. `Hooks` is where a twin makes its guests real.

Where each correction is, with its recordings and sources:

| what | where |
|---|---|
| form values, booleans, 501 for unknown paths | forms.py |
| methods of the daemon, empty bodies of 401 and 595, the request log | edge.py, request_log.py |
| login, tokens, tickets | login.py |
| users, groups, roles, tokens, ACLs, who may what | access*.py, permissions.py, roles.py |
| tasks: list, log, filters, stop, warnings | tasks.py |
| downloads | storage.py |
| a VM's config, pending, disks, import, resize, move | vm_config.py, vm_values.py, vm_disks.py, shown.py |
| starting, stopping, creating, destroying a VM | vm_power.py |
| a container's config, mount points, resize, features | ct_config.py |
| starting, stopping, creating, destroying a container | ct_life.py |
| nodes, networks, lists, guest agent | views.py |
| the firewall's configuration | firewall.py, macros.py |
| backup jobs | backup_jobs.py |
| what a restore takes from a backup | archives.py |
| vzdump | vzdump.py |

Not corrected, because nothing of Hearth relies on it: `/cluster/resources` and its lag, `/cluster/tasks`,
`query-url-metadata` (a canned answer), HA, SDN and replication lists, cloud-init dumps, migration of disks
to another VM, and the lines of tests/api/fake/test_replay.py's KNOWN.
"""

from twin.pve.furnish import furnish
from twin.pve.hooks import Hooks
from twin.pve.pve import Pve
from twin.pve.server import Server

__all__ = ["Hooks", "Pve", "Server", "furnish"]
