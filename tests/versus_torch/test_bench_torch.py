"""The benchmark's calls of torch (and of the others that are here) compute what this engine's do, row by row."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from require import require

import pyengine as pe
from pyengine.bench import own, worker
from pyengine.bench.rounds import disagreeing

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.append(str(ROOT / "tests"))
from test_bench_rows import ROWS, small  # noqa: E402

# one case of each kind, group and operation
SHOWN = {(case.kind, case.group, case.params.get("op"), case.params.get("network"), case.params.get("name")): case
         for rows in ROWS.values() for case in rows if case.kind not in ("mlp_train", "mlp_infer")}  # fmt: skip


@pytest.fixture(scope="module", params=["torch", "onnxruntime", "openvino", "jax"])
def rival(request):
    found = importlib.util.find_spec(request.param)
    if request.param == "torch":
        require("torch", found, "torch is not installed (pip install torch)")
    elif not found or not importlib.util.find_spec("onnx"):
        pytest.skip(f"{request.param} or onnx is not installed")
    adapter = worker.load(ROOT / "bench" / "rivals" / f"{request.param}_calls.py")
    may_use = os.sched_getaffinity(0)
    adapter.prepare(2, True)
    yield worker.Participant(adapter)
    os.sched_setaffinity(0, may_use)
    if hasattr(adapter, "record"):
        adapter.record(True)


@pytest.fixture(autouse=True)
def recording():
    yield
    pe.set_grad_enabled(True)


@pytest.fixture
def uncompiled(monkeypatch):
    """torch.compile's code is the compiler's affair, and takes a minute a network."""
    torch = sys.modules.get("torch")
    if torch:
        monkeypatch.setattr(torch, "compile", lambda model: model)


@pytest.mark.parametrize("case", SHOWN.values(), ids=lambda case: case.name)
def test_calls_agree(rival, case, uncompiled):
    if case.kind not in rival.adapter.BUILDERS:
        pytest.skip("has no such call")
    params = small(case)
    theirs = rival.build(case.name, case.kind, params)
    rival.drop(case.name)
    ours = worker.Participant(own).build(case.name, case.kind, params)
    assert not theirs.get("failed") and ours["built"]
    assert disagreeing(case, {"pyengine": ours["built"], "theirs": theirs["built"]}) == []
