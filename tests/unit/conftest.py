"""Importing pyinfra's command line patches the whole process (gevent): not that of all other tests."""

from __future__ import annotations

from unittest import mock

with mock.patch("gevent.monkey.patch_all"):
    import pyinfra_cli  # noqa: F401
