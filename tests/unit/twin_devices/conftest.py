"""The broker of the role's tests, and the client of tests/verify, are used here too."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "role"), str(Path(__file__).parents[2] / "verify")]
