"""Give secrets new values: `pyinfra inventory rotate.py --data rotate=all`, or names and patterns."""

from hearth.deploy import backup, node_token, roles, rotation

rotation.begin()  # new values are made; a rotation that was cut off goes on where it was
node_token.make()
with rotation.phase("offered"):
    roles.apply()  # servers accept the new values beside the old ones
rotation.switch()
with rotation.phase("switched"):
    roles.apply()  # whoever uses them gets the new values
rotation.withdraw()
with rotation.phase("withdrawn"):
    roles.apply()  # servers refuse the old values
node_token.remove()
rotation.end()
backup.keep_fleet()  # the secrets as they are now
