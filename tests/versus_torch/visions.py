"""torchvision beside whatever build of torch is there."""

import importlib
import importlib.util
import re
import sys

from require import require


def torchvision_part(name):
    """The module torchvision.NAME. The package's compiled operations, which neither networks nor transforms use, may be
    for another build of torch: they are declared in its place."""
    here = importlib.util.find_spec("torchvision")
    require("torchvision", here, "torchvision is not installed (pip install --no-deps torchvision==0.28.0)")
    import torch

    for _ in range(50):
        try:
            return importlib.import_module(f"torchvision.{name}")
        except RuntimeError as error:
            missing = re.search(r"operator (torchvision::\w+) does not exist", str(error))
            if missing is None:
                raise
            torch.library.define(missing[1], "(Tensor x) -> Tensor")
            for known in [known for known in sys.modules if known.startswith("torchvision")]:
                del sys.modules[known]
    raise AssertionError("torchvision cannot be imported")
