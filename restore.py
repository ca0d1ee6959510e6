"""Bring the home back from its backups: all of it, or named guests; the newest backup, or one of a date.

pyinfra inventory restore.py
pyinfra inventory restore.py --data restore=comms,security --data date=2026-11-20
"""

from hearth.deploy import backup, guest, node, restore, roles

restore.prove()  # the backup is read whole before anything is touched
node.prepare()
if restore.concerns():  # not the guests that are not named
    guest.present()  # from Proxmox's backups where there are any, else new
    restore.guests_there()
    node.backups()
    node.firewall()
    with restore.states():
        roles.apply()  # each role, and its state before its service first starts
    node.tailnet()
    node.policy()
    backup.keep_fleet()
    guest.restart_last()
restore.verify()  # and the timeline, against what is promised
