"""Why a job failed stands in the log of a failing test; outside tests it is never written."""

import logging

import pytest


@pytest.fixture(autouse=True)
def _say_why(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "workers.running")
