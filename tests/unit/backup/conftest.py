"""The fleet, run and broker of tests/unit/role are used here too, and the client of tests/verify."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "role"), str(Path(__file__).parents[2] / "verify")]
