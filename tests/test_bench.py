"""The benchmark suite on cases made up here: what it counts, refuses and writes. No test looks at a real time."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from require import require

from pyengine.bench import cases, harness, worker
from pyengine.bench.cases import Case
from pyengine.bench.harness import Sample, interleave
from pyengine.bench.processes import Field, Gone, Participant, Setting
from pyengine.bench.rounds import Outcome, best_rates, disagreeing, doubt, run_case, shares
from pyengine.cli import main as cli

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))  # last: `bench` is found there, pyengine where it is installed
from bench import docs, rivals, roofline, summary  # noqa: E402

CASE = Case("twice 3", "twice", {"by": 3}, "fp32", 2e6, 4e6, 4e6)

ADAPTER = """
import os
TURN = []
def prepare(threads, tuned):
    print("engines print")
    if os.environ.get("BROKEN"):
        raise RuntimeError("cannot start here")
def about():
    return {"version": "1.2", "threads": 2, "path": os.environ.get("CHOICE", "plain")}
def to_numpy(result):
    return result
def twice(p, make):
    def call(i):
        if os.environ.get("ENDS") and len(TURN) > 5:
            os._exit(3)
        TURN.append(i)
        return make.np.full(4, p["by"] * 2.0)
    def broken():
        raise ValueError("no such instruction")
    return {"": [lambda i=i: call(i) for i in range(3)], "broken": [broken]}
def turns(p, make):
    return {"": [lambda: make.np.array(TURN)]}
BUILDERS = {"twice": twice, "turns": turns}
"""


@pytest.fixture
def setting(tmp_path):
    (tmp_path / "adapter.py").write_text(ADAPTER)

    def make(label="fake", engine="fake", tuned=False, **environment):
        return Setting(label, engine, sys.executable, tmp_path / "adapter.py", tuned, environment)

    return make


def outcome(name="a", own=1e-3, limit=1e9, **times):
    """A case of 1e6 operations in which pyengine takes `own` seconds and others what is said."""
    samples = {("pyengine", ""): Sample((own,))} if own else {}
    for key, seconds in times.items():
        label, _, variant = key.replace("_", " ").partition("  ")
        samples[label, variant] = Sample((seconds,))
    params = {"m": 256, "n": 256, "k": 256, "batch": 1}
    return Outcome(Case(name, "matmul", params, "fp32", 1e6, 1e3, 1e3), samples, {"fp32": (limit, limit)})


def test_sample():
    sample = Sample((4.0, 1.0, 2.0, 3.0, 100.0))
    assert (sample.median, sample.best, sample.spread) == (3.0, 1.0, 2 / 3)
    assert Sample((1.0, 9.0)).spread == 0.0


def test_rounds_take_turns_and_end_in_time(monkeypatch):
    order, clock = [], [0.0]
    monkeypatch.setattr(harness.time, "perf_counter", lambda: clock[0])

    def work(name, seconds):
        def run(repeats):
            order.append(name)
            clock[0] += seconds * repeats
            return seconds * repeats

        return run

    works = {"a": work("a", 0.001), "b": work("b", 0.002)}
    samples = interleave(works, rounds=4, seconds=0.01)
    assert order[-8:] == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert samples["a"].median == pytest.approx(0.001) and len(samples["b"].seconds) == 4
    assert len(interleave(works, rounds=9, seconds=0.01, at_most=0.0)["a"].seconds) == 3
    assert len(interleave(works, rounds=9, seconds=0.01, at_most=0.109)["a"].seconds) == 5


def test_a_long_call_is_not_repeated_to_calibrate():
    calls = []
    assert harness.calibrate(lambda repeats: calls.append(repeats) or 1.0, 0.01) == 1 and calls == [1]


def test_arithmetic_above_its_limit_is_refused():
    fine = outcome(own=1e-3, limit=0.98e9)
    share, of_best, by = shares(fine, 1e-3, best_rates([fine]))
    assert (round(share, 2), round(of_best, 2), by) == (1.02, 1.02, "fp32")
    fast = outcome(own=1e-3, limit=0.96e9)
    with pytest.raises(SystemExit, match=r"a ran at 104% of fp32.*probe in bench/limits is wrong"):
        shares(fast, 1e-3, best_rates([fast]))
    # a quieter moment elsewhere in the run shows what the machine can do
    share, of_best, _ = shares(fast, 1e-3, best_rates([fast, outcome(limit=2e9)]))
    assert share > 1.03 and of_best == pytest.approx(0.5)


def test_a_limit_is_probed_again_before_arithmetic_is_refused():
    class Calm:
        def look_again(self, name, enough):
            assert name == "fp32" and enough == pytest.approx(1e9)
            return 1.1e9

    made = outcome(own=1e-3, limit=0.5e9)
    doubt(made, Calm())
    assert made.rates == {"fp32": (0.5e9, 1.1e9)}
    assert shares(made, 1e-3, {})[:2] == pytest.approx((2.0, 1 / 1.1))
    # a rival may use other instructions than the level that is measured
    assert shares(made, 1e-4, {}, "torch")[0] == pytest.approx(20.0)


def test_bandwidth_above_its_bound_is_marked():
    case = Case("c", "linear", {}, "fp32", 1e3, 1e6, 1e6)
    made = Outcome(case, {}, {"fp32": (1e12, 1e12), "read": (1e9, 2e9)}, frozenset({"read"}))
    assert shares(made, 2e-3, best_rates([made])) == (0.5, 0.25, "read")
    assert shares(made, 0.5e-3, best_rates([made])) == (2.0, 1.0, "cache")
    assert shares(Outcome(case, {}), 1.0, {}) is None


def test_worker_answers_lines(setting):
    participant = Participant(setting(CHOICE="avx9"), 2)
    try:
        participant.meet()
        assert participant.about == {"version": "1.2", "threads": 2, "path": "avx9"}
        built = participant.ask(do="build", name="x", kind="twice", params={"by": 3})
        assert built["built"] == {"": [6.0] * (1 + worker.SAMPLED)}
        assert built["failed"] == ["broken ValueError: no such instruction"]
        assert participant.ask(do="build", name="y", kind="other", params={}) == {"built": {}}
        assert participant.run("x", "", 1) >= 0
        assert participant.run("x", "", 4) >= 0
        turns = participant.ask(do="build", name="t", kind="turns", params={})["built"][""]
        # building calls each once, then 1 and 2 + 4 calls go on where the last ended
        assert turns[0] == 2 and len(turns) == 9
        assert participant.ask(do="drop", name="x") == {}
        with pytest.raises(Gone, match="KeyError"):
            participant.run("x", "", 1)
        assert "error" in participant.ask(do="sing")
    finally:
        participant.close()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_participants_are_stopped_until_their_turn(setting):
    def state():
        status = Path(f"/proc/{participant.process.pid}/stat").read_text()
        return status.rpartition(")")[2].split()[0]

    participant = Participant(setting(), 2)
    try:
        participant.meet()
        for _ in range(3):
            os.waitpid(participant.process.pid, os.WUNTRACED)  # returns at once: it is, or will be, stopped
            assert state() == "T"
            participant.ask(do="drop", name="none")
    finally:
        participant.close()


def test_a_participant_that_cannot_start_is_left_out(setting, capsys):
    with Field([setting("good"), setting("bad", BROKEN="1")], 1) as contest:
        assert [p.setting.label for p in contest.participants] == ["good"]
        assert "bad is out: " in (said := capsys.readouterr().out) and "cannot start here" in said
        contest.build(CASE)
        assert contest.failures == {"good, twice": "broken ValueError: no such instruction"}
    with pytest.raises(SystemExit, match="cannot start here"), Field([setting("x", "pyengine", BROKEN="1")], 1):
        pass


def test_run_case_measures_everyone_and_the_limits(setting):
    class Limits:
        def works(self, case):
            return {"fp32": lambda repeats: 1e-3 * repeats, "read": lambda repeats: 2e-3 * repeats}

        def rate(self, name, case, seconds):
            return {"fp32": 5.0, "read": 8.0}[name] / seconds

        def counts_bytes(self, name):
            return name == "read"

        def look_again(self, name, enough):
            raise AssertionError("nothing is above its limit")

    with Field([setting("one"), setting("two tuned", tuned=True)], 1) as contest:
        found = run_case(CASE, contest, Limits(), 2)
        assert contest.of("one").ask(do="run", name=CASE.name, variant="", repeats=1)["error"]  # dropped
    assert set(found.samples) == {("one", ""), ("two tuned", "")}
    assert all(len(sample.seconds) == 2 for sample in found.samples.values())
    assert found.rates == {"fp32": pytest.approx((5e3, 5e3)), "read": pytest.approx((4e3, 4e3))}
    assert [bound.by for bound in found.bounds()] == ["read", "fp32"]


def test_a_rival_that_ends_on_the_way_is_left_out(setting, capsys):
    with Field([setting("stays"), setting("ends", ENDS="1")], 1) as contest:
        found = run_case(CASE, contest, None, 2)
        assert [p.setting.label for p in contest.participants] == ["stays"]
    assert set(found.samples) == {("stays", "")} and len(found.samples["stays", ""].seconds) == 2
    assert "ends is out: ended with status 3" in capsys.readouterr().out


def test_other_results_do_not_count():
    built = {"pyengine": {"": [2.0, 1.0, 2.0]}, "near": {"": [2.0, 1.0001, 2.0]}, "far": {"x": [2.0, 1.1, 2.0]},
             "nan": {"": [2.0, float("nan"), 2.0]}, "short": {"": [2.0, 1.0]}}  # fmt: skip
    assert disagreeing(CASE, built) == ["far x", "nan", "short"]
    assert disagreeing(CASE, {"one": {"": [1.0]}}) == [] == disagreeing(CASE, {})
    made = outcome(torch_tuned=1e-3, numpy_tuned=1e-4)
    made.differs = ["numpy tuned"]
    assert summary.best_rival(made) == ("torch tuned", pytest.approx(1e3))


def test_best_rival_is_the_fastest_at_its_best():
    made = outcome(torch=1e-4, torch_tuned=3e-3, torch_tuned__packed=2e-3, jax=5e-3)
    assert summary.best_rival(made) == ("torch tuned packed", pytest.approx(2e3))
    assert summary.ratio(made) == pytest.approx(2.0)
    assert summary.best_rival(outcome(jax=5e-3)) == ("jax", pytest.approx(5e3))
    assert summary.best_rival(outcome()) is None and summary.ratio(outcome(own=None, jax=1.0)) is None


def test_summary_counts():
    run = [outcome("a", torch_tuned=2e-3, torch=4e-3), outcome("b", torch_tuned=0.95e-3), outcome("c", jax=0.5e-3),
           outcome("d", jax=3e-3), outcome("e", own=None, jax=1e-3)]  # fmt: skip
    said = summary.lines(run)
    assert said[0].startswith("Ahead of the best rival at its best setting in 2 of 4 cases (50%), below 0.9 of it in 1")
    assert said[1] == "Not there yet in this engine, and not counted: e."
    assert said[2] == "Against torch as it installs, fp32 squares from 256 up: a 4.00."
    assert re.fullmatch(r"The worst cases: c: 0\.50 of jax, at 100% of fp32; b: 0\.95 of torch tuned, .*; a: 2.*",
                        said[3])  # fmt: skip
    assert summary.lines([outcome()]) == ["No rival ran any of these cases."]


def test_page(setting):
    class Options:
        only, threads, rounds, full, rivals = "64", 2, 3, False, ["/somewhere/bin/python"]

    made = outcome("64 | 3", fake_tuned=2e-3)
    with Field([setting("pyengine", "pyengine"), setting("fake tuned", tuned=True, CHOICE="a|b")], 1) as contest:
        page = docs.page("versus", [made], contest, Options)
    assert "python -m bench versus --only '64' --threads 2 --rounds 3 --rivals PYTHON --write-docs" in page
    assert "| 64 / 3 | 1000.0 | 2000.0 | 100% | 100% | fp32 | fake tuned | 2.00 |" in page
    assert "| fake tuned | 1.2 | 2 | a/b |" in page
    assert "Ahead of the best rival at its best setting in 1 of 1 cases" in page
    assert "somewhere" not in page and str(ROOT) not in page
    tables = [line.count("|") for line in page.splitlines() if line.startswith("|")]
    assert set(tables) == {6, 9}  # every row as wide as its head


def test_cases():
    found = cases.kernel_cases(48 << 20, full=True) + cases.model_cases()
    names = [case.name for case in found]
    assert len(set(names)) == len(names)
    for case in found:
        assert case.operations > 0 and case.moved > 0
        if "rotating" in case.name:
            assert case.resident >= 2 * (48 << 20) > cases.ROTATED
    assert {case.name for case in cases.kernel_cases(0)} < set(names)
    assert [case.name for case in cases.only(found, "64^3")] == ["64^3"]
    assert len(cases.only(found, r"^(64|128)\^3")) == 2 and cases.only(found, None) == found
    with pytest.raises(SystemExit, match="no case's name has 'nothing'"):
        cases.only(found, "nothing")
    with pytest.raises(SystemExit, match="no case's name has"):
        cases.only(found, "(")


SMALL = {
    "matmul": [{"m": 5, "k": 7, "n": 3, "batch": b, "transposed": t} for b in (1, 4) for t in ("", "a", "b")],
    "linear": [{"rows": 3, "k": 17, "n": 5, "weights": 2}],
    "mlp_infer": [{"layers": [9, 7, 4], "batch": 3, "optimizer": ""}],
}


@pytest.mark.parametrize("kind", SMALL)
def test_calls_of_both_engines_agree(kind):
    """The adapters of this engine and of NumPy compute the same from the same sizes, in every variant."""
    mine = worker.Participant(worker.load(ROOT / "pyengine" / "bench" / "own.py"))
    theirs = worker.Participant(worker.load(ROOT / "bench" / "rivals" / "numpy_calls.py"))
    for tuned in (False, True):
        mine.adapter.prepare(2, tuned), theirs.adapter.prepare(2, tuned)
        try:
            for params in SMALL[kind]:
                built = {who: side.build("x", kind, params) for who, side in (("pyengine", mine), ("numpy", theirs))}
                assert not any(answer.get("failed") for answer in built.values())
                samples = {who: answer["built"] for who, answer in built.items()}
                assert all(samples.values()) and disagreeing(CASE, samples) == []
                assert samples["pyengine"][""][0] > 0
        finally:
            mine.adapter.pe.set_grad_enabled(True)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_case_learns(optimizer):
    from pyengine.bench import own

    params = {"layers": [9, 7, 4], "batch": 3, "optimizer": optimizer}
    (step,) = own.mlp_train(params, worker.Make())[""]
    losses = [float(own.to_numpy(step())[0]) for _ in range(50)]
    assert losses[-1] < losses[0] and np.isfinite(losses).all()


def test_rivals_are_found_where_they_are():
    found = rivals.find([])
    assert found["numpy"] == sys.executable
    with pytest.raises(SystemExit, match="no such interpreter"):
        rivals.find(["no-such-python"])


def test_settings_show_each_as_it_installs_and_at_its_best(tmp_path):
    require("cc", rivals.shutil.which(os.environ.get("CC", "cc").split()[0]), "install gcc")
    made = rivals.settings(dict.fromkeys(rivals.ENGINES, "python"), tmp_path)
    labels = [setting.label for setting in made]
    assert len(set(labels)) == len(labels)
    for engine in rivals.ENGINES:
        assert f"{engine} tuned" in labels and (engine in labels or engine == "zentorch")
    for setting in made:
        assert setting.adapter.is_file()
        assert bool(setting.environment) == setting.tuned == setting.label.endswith(" tuned")
    torch = next(setting for setting in made if setting.label == "torch tuned")
    assert Path(torch.environment["LD_PRELOAD"]).is_file()


def test_picture(tmp_path, monkeypatch):
    require("matplotlib", roofline.importlib.util.find_spec("matplotlib"), 'pip install "pyengine[plot]"')
    series = {("pyengine", "linear"): [(2.0, 30.0)], ("best rival", "linear"): [(2.0, 20.0), (4.0, 50.0)]}
    roofline.draw(tmp_path / "x.png", "title", {"fp32": 300.0}, {"L2": 90.0, "DRAM": 18.0}, series)
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(roofline.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r'needs matplotlib: pip install "pyengine\[plot\]"'):
        roofline.draw(tmp_path / "y.png", "", {}, {}, {})


def run(*arguments):
    """As a user types it in the root of the repository."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
    command = [sys.executable, "-m", "bench", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def compiler():
    import shutil

    require("cc", shutil.which(os.environ.get("CC", "cc").split()[0]), "install gcc: the limits are compiled here")


def test_versus_in_small(tmp_path, compiler):
    page, figures = tmp_path / "page.md", tmp_path / "figures.json"
    chosen = r"^64\^3|^mlp .* b1 inference"
    done = run("versus", "--only", chosen, "--rounds", 1, "--write-docs", page, "--json", figures)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^64\^3 +\d", done.stdout, re.M) and "numpy tuned" in done.stdout
    found = json.loads(figures.read_text())
    assert {"pyengine", "numpy", "numpy tuned"} <= set(found["participants"])
    for case in found["cases"].values():
        assert {"pyengine", "numpy", "numpy tuned"} <= set(case["seconds"]) and case["rates"] and not case["differs"]
    assert "| 64^3 |" in page.read_text() and str(ROOT) not in page.read_text()


def test_kernels_and_limits_in_small(tmp_path, compiler):
    done = run("kernels", "--only", "64^3", "--rounds", 2, "--threads", 1)
    assert done.returncode == 0 and re.search(r"64\^3 .*%", done.stdout), done.stderr
    done = run("limits", "--only", "fp32", "--rounds", 2, "--json", tmp_path / "limits.json")
    assert done.returncode == 0 and "fp32" in done.stdout, done.stderr
    assert all(key.startswith(("fp32.", "clock.")) for key in json.loads((tmp_path / "limits.json").read_text()))


def test_usage_and_wrong_names():
    done = run("nothing")
    assert done.returncode == 2 and all(name in done.stdout for name in ("limits", "versus", "startup", "digits"))
    done = run("kernels", "--only", "nothing")
    assert done.returncode != 0 and "no case's name has 'nothing'" in done.stderr


def test_installed_part(tmp_path, capsys):
    """`pyengine bench` needs neither the repository nor a compiler."""
    figures = tmp_path / "figures.json"
    assert cli(["bench", "kernels", "--only", "64^3", "--rounds", "1", "--json", str(figures)]) == 0
    assert re.search(r"^64\^3 +\d", capsys.readouterr().out, re.M)
    assert json.loads(figures.read_text())["cases"]["64^3"]["seconds"]["pyengine"]["median"] > 0
    with pytest.raises(SystemExit):
        cli(["bench", "limits"])
    for path in (ROOT / "pyengine" / "bench").glob("*.py"):
        assert not re.search(r"^(from|import) bench\b", path.read_text(), re.M), path
