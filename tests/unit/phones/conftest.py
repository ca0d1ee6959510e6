"""The kits of the roles' tests, and the client of tests/verify, are used here too."""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]
for folder in ("verify", "unit/role"):
    if str(TESTS / folder) not in sys.path:
        sys.path.insert(0, str(TESTS / folder))
