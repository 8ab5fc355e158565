"""examples/mixer.py trained by both engines: the file is torch's but for its imports, and the losses are the same."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from require import require

import pyengine as pe

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "mixer.py"
STEPS = 60


@pytest.fixture(scope="module")
def torch():
    require("torch", importlib.util.find_spec("torch"), "torch is not installed (pip install torch)")
    import torch

    return torch


def load(text, name):
    module = {"__name__": name}
    exec(compile(text, str(EXAMPLE), "exec"), module)
    return module


def test_the_same_losses(torch):
    text = EXAMPLE.read_text()
    theirs_text = text.replace("import pyengine as torch", "import torch").replace("from pyengine", "from torch")
    assert "pyengine" not in theirs_text.partition('"""\n\n')[2]
    ours, theirs = load(text, "ours"), load(theirs_text, "theirs")
    torch.manual_seed(0)
    rival, model = theirs["Mixer"](), ours["Mixer"]()
    model.load_state_dict({name: pe.tensor(value.numpy()) for name, value in rival.state_dict().items()})
    assert list(model.state_dict()) == list(rival.state_dict())
    expected, losses = theirs["train"](rival, STEPS), ours["train"](model, STEPS)
    assert expected[-1] < 0.7 * expected[0]
    np.testing.assert_allclose(losses, expected, rtol=2e-3)
