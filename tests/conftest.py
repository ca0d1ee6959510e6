"""What holds for all tiers."""

from __future__ import annotations

from pathlib import Path

import pytest

VERIFY = Path(__file__).parent / "verify"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave tests/verify alone unless it was named: it talks to the fleet's own addresses.

    At home that is meant; where the tests of the project run, those addresses exist only in a twin, and
    `twin exec -- pytest tests/verify` names it.
    """
    if collection_path != VERIFY:
        return None
    named = (Path(str(argument).partition("::")[0]).resolve() for argument in config.args)
    return None if any(path == VERIFY or VERIFY in path.parents for path in named) else True
