"""Give Hearth its own user, token, roles and SSH key on Proxmox, once, as root.

python bootstrap.py --endpoint https://192.168.1.185:8006 [--dry]
"""

import sys

from hearth.cli.bootstrap import main

if __name__ == "__main__":
    sys.exit(main())
