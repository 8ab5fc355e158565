"""The stub of the compiled module is what its generator writes from the module at hand."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def test_the_stub_is_up_to_date():
    if sys.version_info[:2] != (3, 11):
        pytest.skip("signatures are written as Python 3.11 shows them")
    done = subprocess.run([sys.executable, str(ROOT / "tests" / "tools" / "stubs.py"), "--check"], cwd=ROOT / "tests")
    assert done.returncode == 0, "run: python tests/tools/stubs.py"
