"""Where the project is."""

from pathlib import Path

import pytest


@pytest.fixture
def project_folder() -> Path:
    """The project itself: its roles, its fleet."""
    return Path(__file__).parents[3]
