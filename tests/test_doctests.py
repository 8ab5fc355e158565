"""Every example in a docstring runs and gives what it shows."""

import doctest
import importlib
import pkgutil

import pytest

import pyengine

MODULES = sorted(
    info.name for info in pkgutil.walk_packages(pyengine.__path__, "pyengine.") if not info.name.endswith("__main__")
)


@pytest.mark.parametrize("name", ["pyengine", *MODULES])
def test_examples(name):
    if name == "pyengine.train.sklearn":
        pytest.importorskip("sklearn", reason="pip install scikit-learn")
    result = doctest.testmod(importlib.import_module(name), extraglobs={"pe": pyengine})
    assert result.failed == 0
