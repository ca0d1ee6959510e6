"""Destroy the guests named on the command line, and nothing else.

pyinfra inventory teardown.py --data destroy=comms,data
"""

from hearth.deploy import guest

guest.gone()
