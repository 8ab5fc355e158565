"""The rows of layers, networks, operations and optimizers: each runs, and is counted where it belongs."""

import argparse
import math
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import reference
from test_bench import CASE, outcome, run

import pyengine as pe
import pyengine.bench
from pyengine.bench import cases, layers, operations, own, suite, worker
from pyengine.bench.harness import Sample
from pyengine.bench.rounds import Outcome, best_rates, disagreeing, doubt, shares
from pyengine.cli import main as cli

sys.path.append(str(Path(__file__).parent.parent))
from bench import docs, machine, summary

OPTIONS = argparse.Namespace(full=False, only=None)
ROWS = {name: suite.chosen_cases(name, OPTIONS) for name in ("layers", "models", "ops", "optim")}


def small(case):
    """The same with less of it: a batch of one, small images, short rows, few tokens (still several of attention's
    blocks)."""
    p = dict(case.params)
    if case.suite == "layers":
        p["batch"] = 1
    elif "network" in p:
        p["shape"] = [2, p["shape"][1], *(min(side, 64) for side in p["shape"][2:])]
    elif case.suite == "ops" and "shape" in p:
        p["shape"] = [3, 50]
    elif "query" in p:  # batch, heads, tokens, features
        for name in ("query", "key"):
            _, heads, tokens, size = p[name]
            p[name] = [1, heads, min(tokens, 256), size]
    elif case.kind == "optimizer":
        p["shapes"] = [[max(1, side // 64) for side in shape] for shape in p["shapes"]]
    return p


@pytest.fixture(autouse=True)
def recording():
    yield
    pe.set_grad_enabled(True)


@pytest.mark.parametrize("name", ROWS)
def test_every_row_runs(name):
    """In this engine, as its worker builds it: no failure, and numbers in the result."""
    participant = worker.Participant(own)
    for case in ROWS[name]:
        answer = participant.build(case.name, case.kind, small(case))
        assert answer["built"] and not answer["failed"], (case.name, answer)
        for sample in answer["built"].values():
            assert len(sample) % (1 + worker.SAMPLED) == 0
            assert np.isfinite(sample).all() and sample[0] > 0, case.name
        assert participant.run(case.name, "", 2)["seconds"] > 0
        participant.drop(case.name)


def test_rows_are_told_apart():
    names = [case.name for found in ROWS.values() for case in found]
    assert len(set(names)) == len(names)
    for found in ROWS.values():
        for case in found:
            assert case.operations > 0 and case.moved > 0 and case.resident > 0
            assert "." not in case.name and "|" not in case.name
    versus = suite.chosen_cases("versus", OPTIONS)
    assert {case.suite for case in versus} == {"kernels", *ROWS}
    assert len(operations.gpt2()) == 100 and 80e6 < sum(map(math.prod, operations.gpt2())) < 124e6


def test_layers_are_those_of_the_networks():
    """23 distinct convolutions in ResNet-50, whose operations are known; 3x3 and 5x5 depthwise, both strides."""
    resnet = [case for case in ROWS["layers"] if case.group == "ResNet-50 b1"]
    assert len(resnet) == 23
    assert {case.name: case.operations for case in resnet}["64-64 3x3 of 56x56 b1"] == 2 * 64 * 64 * 9 * 56 * 56
    stem = next(case for case in ROWS["layers"] if case.name.startswith("3-64 7x7/2 of 224x224 b16 back"))
    assert not stem.params["dx"] and stem.operations == 2 * 16 * 3 * 64 * 49 * 112 * 112
    both = next(case for case in ROWS["layers"] if case.name == "64-64 1x1 of 56x56 b16 backward")
    assert both.params["dx"] and both.operations == 4 * 16 * 64 * 64 * 56 * 56
    depthwise = {tuple(c.params[k][0] for k in ("kernel", "stride")) for c in ROWS["layers"] if "depthwise" in c.group}
    assert depthwise == {(3, 1), (3, 2), (5, 1), (5, 2)}
    up = layers.convolution(layers.plain((8, 4, 2, 2, 0, 5), 2, True), 1, "")
    assert up.operations == 2 * 8 * 4 * 4 * 25 and up.moved == 4 * (8 * 25 + 8 * 4 * 4 + 4 * 100)
    nets = {case.name: case.operations for case in ROWS["models"]}
    assert nets["ResNet-50 b1 inference"] == pytest.approx(2 * 4.09e9, rel=0.01)
    assert nets["MobileNetV2 b32 inference"] == pytest.approx(32 * 2 * 0.301e9, rel=0.01)


CONVOLUTIONS = [
    {"in": 9, "out": 6, "kernel": [3, 3], "stride": [2, 2], "padding": [1, 1], "size": [7, 6], "groups": 3},
    {"in": 3, "out": 8, "kernel": [5, 3], "stride": [1, 2], "padding": [2, 0], "size": [9, 9], "groups": 1},
    {"in": 2, "out": 5, "kernel": [4], "stride": [2], "padding": [1], "size": [11], "groups": 1},
]


@pytest.mark.parametrize("p", CONVOLUTIONS, ids=str)
def test_a_layer_computes_what_all_engines_are_given(p):
    """Make.convolution, which the graphs of others are built of, draws the weights of torchlike's layer."""
    p, make = {**p, "batch": 2, "transposed": False}, worker.Make()
    (call,) = own.conv(p, make)[""]
    x, weight, bias = make.convolution(p)
    want = pe.nn.functional
    convolve = want.conv1d if len(p["size"]) == 1 else want.conv2d
    expected = convolve(pe.tensor(x), pe.tensor(weight), pe.tensor(bias), p["stride"], p["padding"], 1, p["groups"])
    np.testing.assert_allclose(own.to_numpy(call()), expected.detach().numpy(), rtol=1e-5, atol=1e-5)
    assert np.abs(bias).max() > 0.01


def test_values_of_operations():
    """The rows against the specification in float64."""
    make, p = worker.Make(), {"shape": [5, 12]}
    x, y = (make.array(5, 12, seed=seed).astype(np.float64) for seed in (1, 2))
    wanted = {"add": x + y, "mul": x * y, "sum": x.sum(1), "mean": x.mean(1), "max": x.max(1)}
    wanted |= {name: reference.UNARY[name](x) for name in operations.UNARY}
    for name, want in wanted.items():
        (call,) = own.BUILDERS["simple"]({**p, "op": name}, make)[""]
        np.testing.assert_allclose(own.to_numpy(call()), want, rtol=1e-5, atol=1e-6, err_msg=name)
    assert set(wanted) == {case.params["op"] for case in ROWS["ops"] if case.kind == "simple"}
    tape = {"n": 4, "operations": 6}
    (call,) = own.BUILDERS["tape"](tape, make)[""]
    x, w = (make.array(4, seed=seed).astype(np.float64) for seed in (1, 2))
    for _ in range(2):  # gradients do not pile up
        value, gradient = own.to_numpy(call())
        np.testing.assert_allclose(value, x * (1 + w + w**2 + w**3), rtol=1e-5)
        np.testing.assert_allclose(gradient, 1 + w + w**2 + w**3, rtol=1e-5)


def test_the_tape_is_on_where_a_row_needs_it():
    participant = worker.Participant(own)
    for kind, params in (("tape", {"n": 4, "operations": 2}), ("simple", {"op": "exp", "shape": [2, 2]})):
        participant.build("x", kind, params)
        assert pe.is_grad_enabled() == (kind in own.RECORDED)
    assert set(own.BUILDERS) > own.RECORDED


def test_fewer_operations_are_marked_and_not_refused():
    quick = Outcome(cases.Case("w", "conv", {}, "fp32", 2e6, 1, 1, fewer=True), {("pyengine", ""): Sample((1e-3,))},
                    {"fp32": (1e9, 1e9)})  # fmt: skip
    doubt(quick, None)  # nothing is probed again
    assert shares(quick, 1e-3, best_rates([quick])) == (2.0, 2.0, "fewer")
    assert shares(quick, 3e-3, best_rates([quick]))[2] == "fp32"


def test_each_array_of_a_result_is_judged_by_its_own_size():
    small, large = [1e-3, *[1e-3] * worker.SAMPLED], [10.0, *[10.0] * worker.SAMPLED]
    wrong = [value * 1.01 for value in small]
    built = {"pyengine": {"": [*large, *small]}, "other": {"": [*large, *wrong]}}
    assert disagreeing(CASE, built) == ["other"]
    assert disagreeing(CASE, {"pyengine": {"": large}, "other": {"": large}}) == []


def test_bandwidth_is_probed_as_the_case_moves_bytes():
    class Limits(machine.MachineLimits):
        def __init__(self):
            self.threads = 2
            self.probes = argparse.Namespace(index={"copy": 0, "copy_stream": 1, "read": 2, "update": 3})

    def probe(bandwidth, resident):
        return Limits().bandwidth(cases.Case("c", "simple", {}, "fp32", 1, 1, resident, bandwidth=bandwidth))

    assert probe("copy", 1 << 16) == "copy" and probe("copy", 1 << 33) == "copy_stream"
    assert probe("read", 1 << 33) == "read" and probe("update", 1 << 33) == "update"


def test_groups_have_a_row_each_and_suites_a_table():
    def of(group, *, suite="layers", **times):
        made = outcome(f"{group} {len(times)} {sum(times.values()):g}", **times)
        made.case = replace(made.case, group=group, suite=suite)
        return made

    made = [of("a", torch_tuned=2e-3, jax=8e-3), of("a", torch_tuned=0.5e-3), of("", suite="optim", torch_tuned=3e-3)]
    about = {"version": "1", "threads": 2, "path": ""}
    settings = [argparse.Namespace(label=label, note="") for label in ("pyengine", "torch tuned", "jax", "idle")]
    contest = argparse.Namespace(participants=[argparse.Namespace(setting=who, about=about) for who in settings])
    head, rows = summary.groups(made, contest)
    assert head[:5] == ["group", "cases", "ahead", "ratio", "lowest"]
    assert head[5:] == ["torch tuned / ours", "jax / ours", "share", "of best"]
    assert rows == [["a", "2", "1", "1.00", "0.50", "1.00", "8.00", "100%", "100%"],
                    ["optim", "1", "1", "3.00", "3.00", "3.00", "-", "100%", "100%"]]  # fmt: skip
    options = argparse.Namespace(only=None, threads=2, rounds=3, full=False, rivals=[])
    page = docs.page("layers", made, contest, options)
    assert "`python -m bench layers --threads 2 --rounds 3 --write-docs`" in page
    assert page.index("## By group") < page.index("## Results: layers") < page.index("## Results: optim")
    assert "| a 2 0.01 | 1000.0 | 2000.0 | 8000.0 |" in page and "idle us" not in page


@pytest.mark.parametrize("name", pyengine.bench.SUITES)
def test_all_suites_are_offered_to_who_has_the_wheel_alone(name, capsys):
    """And none has a row of a name that is not there."""
    with pytest.raises(SystemExit) as end:
        cli(["bench", name, "--help"])
    assert end.value.code == 0 and name in capsys.readouterr().out
    if name in suite.SUITES:
        with pytest.raises(SystemExit, match="no case's name has 'nothing'"):
            cli(["bench", name, "--only", "nothing"])


def test_ops_of_the_wheel_alone(capsys):
    assert cli(["bench", "ops", "--only", "tape", "--rounds", "1"]) == 0
    assert re.search(r"^tape: 100 operations on 16 floats +\d", capsys.readouterr().out, re.M)


def test_layers_in_small(tmp_path):
    page = tmp_path / "page.md"
    done = run("layers", "--only", r"^(1-32 3x3 of 28x28 b64|depthwise 960 3x3 of 7x7 b1)", "--rounds", 1,
               "--write-docs", page)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"^1-32 3x3 of 28x28 b64 backward +\d", done.stdout, re.M)
    assert "| 1-32 3x3 of 28x28 b64 |" in page.read_text() and "## Results: layers" in page.read_text()
