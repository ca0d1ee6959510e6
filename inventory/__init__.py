"""The inventory: hosts and groups of the fleet, and what the live API says of them.

pyinfra executes this when it is given `inventory` (config.py tells it how). Every module-level list is a
group.
"""

from hearth.inventory import groups as _groups
from hearth.run import current as _current

globals().update(_groups(_current()))
