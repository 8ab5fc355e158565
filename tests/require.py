"""What a test may lack: on a user's machine it skips and says what to install; where PYENGINE_REQUIRE
names it (`.ci/run` does), it fails."""

import os

import pytest


def require(name: str, present: object, advice: str) -> None:
    """Skips unless `present`; fails instead when PYENGINE_REQUIRE lists `name`."""
    if present:
        return
    if name in os.environ.get("PYENGINE_REQUIRE", "").split(","):
        pytest.fail(f"PYENGINE_REQUIRE lists {name}: {advice}")
    pytest.skip(advice)
