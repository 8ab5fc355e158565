"""The command line: what it prints, what it writes, how it fails."""

import os
import re
import subprocess
import sys

import pytest

import pyengine as pe
from pyengine.cli import main
from pyengine.io import load_file, save_file
from pyengine.train import report
from pyengine.train.jobs.digits import digits_model
from pyengine.viz import html


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A short run's folder."""
    folder = tmp_path_factory.mktemp("digits run")
    assert main(["train", "digits", "--epochs", "2", "--quiet", "--out", str(folder)]) == 0
    return folder


def run(*arguments, environment=None):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60,
                          env={**os.environ, **(environment or {})})  # fmt: skip


def test_train_says_what_it_does(tmp_path, capsys):
    out = tmp_path / "new folder" / "deep"
    assert main(["train", "digits", "--epochs", "2", "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "1,437 images to learn from, 360 to test" in lines[0]
    assert re.fullmatch(r"model: 64 -> .* -> 10, .*: [\d,]+ parameters", lines[1])
    epochs = [line for line in lines if line.startswith("epoch")]
    assert len(epochs) == 2 and all("loss" in line and "test accuracy" in line for line in epochs)
    assert any(re.fullmatch(r"test accuracy \d+\.\d\d%", line) for line in lines)
    weights = out / "digits.safetensors"
    assert f"wrote {weights}" in lines
    assert lines[-1] == f"next:   pyengine predict digits --weights '{weights}'"
    assert sorted(load_file(weights)) == sorted(digits_model().state_dict())


def test_picture(trained):
    if report.has_matplotlib():
        assert (trained / "digits.png").read_bytes().startswith(b"\x89PNG")


def test_page(trained, tmp_path, capsys):
    """The run's page has all its sections; --page names it, --no-page leaves it out, the weights are the same."""
    pytest.importorskip("matplotlib")
    text = (trained / "digits.html").read_text()
    parts = ("Curves", "Gradient flow", "Norms over time", "Weights", "The first layer's weights, as images")
    assert [part for part in (*parts, "1,437 images", "epochs = 2") if html.text(part) not in text] == []
    assert "://" not in text and "<script" not in text
    short = ["train", "digits", "--epochs", "1", "--quiet", "--out"]
    assert main([*short, str(tmp_path / "a"), "--page", str(tmp_path / "new" / "mine.html")]) == 0
    assert f"wrote {tmp_path / 'new' / 'mine.html'}" in capsys.readouterr().out
    assert "Norms over time" in (tmp_path / "new" / "mine.html").read_text()
    assert main([*short, str(tmp_path / "b"), "--no-page"]) == 0
    assert not list((tmp_path / "a").glob("*.html")) and not list((tmp_path / "b").glob("*.html"))
    a, b = (load_file(tmp_path / name / "digits.safetensors") for name in "ab")
    assert all((a[name].numpy() == b[name].numpy()).all() for name in a)


def test_without_matplotlib(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(report, "has_matplotlib", lambda: False)
    assert main(["train", "digits", "--epochs", "1", "--quiet", "--out", str(tmp_path)]) == 0
    assert 'pip install "pyengine[plot]"' in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits.safetensors", "history.jsonl", "run.toml"]


def test_seed_decides(tmp_path):
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        options = ["--epochs", "1", "--quiet", "--no-page", "--seed", seed]
        main(["train", "digits", *options, "--out", str(tmp_path / name)])
    a, b, c = ((tmp_path / name / "digits.safetensors").read_bytes() for name in "abc")
    assert a == b != c


def test_predict_draws_digits(trained, capsys):
    weights = str(trained / "digits.safetensors")
    assert main(["predict", "digits", "--weights", weights, "--count", "3"]) == 0
    text = capsys.readouterr().out
    assert text.count("read") >= 3 and "@@" in text
    assert re.search(r"\d+ of all 360 test images are read right \(\d+\.\d\d%\)", text)
    assert main(["predict", "digits", "--weights", weights, "--index", "359", "--index", "0"]) == 0
    text = capsys.readouterr().out
    assert "no. 359" in text and "no. 0" in text and "no. 1 " not in text


def test_failures_are_one_sentence(trained, tmp_path, capsys):
    weights = str(trained / "digits.safetensors")
    other, cut = tmp_path / "other.safetensors", tmp_path / "cut.safetensors"
    save_file({"1.weight": pe.ones(2, 2)}, other)
    cut.write_bytes((trained / "digits.safetensors").read_bytes()[:1000])
    file = tmp_path / "file"
    file.write_text("")
    cases = [
        (["predict", "digits", "--weights", str(tmp_path / "no.safetensors")], "no.safetensors"),
        (["predict", "digits", "--weights", str(tmp_path)], str(tmp_path)),
        (["predict", "digits", "--weights", str(cut)], "truncated"),
        (["predict", "digits", "--weights", str(other)], "missing keys"),
        (["predict", "digits", "--weights", weights, "--index", "360"], "numbered 0 to 359"),
        (["train", "digits", "--out", str(file / "x"), "--epochs", "1", "--quiet"], "file"),
        (["train", "digits", "--out", str(tmp_path / "o"), "--epochs", "1", "--lr", "1e30", "--quiet"], "loss"),
        (["train", "digits", "--threads", "1000", "--quiet"], "1 to 256"),
    ]
    for arguments, text in cases:
        assert main(arguments) == 1, arguments
        captured = capsys.readouterr()
        assert captured.err.startswith("pyengine: ") and text in captured.err and "Traceback" not in captured.err
        assert not captured.out.endswith("next:"), arguments


@pytest.mark.parametrize(
    "arguments",
    [[], ["train"], ["train", "letters"], ["train", "digits", "--epochs", "0"], ["train", "digits", "--lr", "nan"],
     ["train", "digits", "--batch-size", "x"], ["predict", "digits"]],
)  # fmt: skip
def test_usage_errors(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2 and "usage: pyengine" in capsys.readouterr().err


def test_info(capsys):
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    assert "threads" in text and "instructions" in text


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("PYENGINE_ISA", "sse9", True), ("PYENGINE_ISA", "AVX2", True), ("PYENGINE_ISA", "generic", False),
     ("PYENGINE_ISA", "", False), ("PYENGINE_NUM_THREADS", "two", True), ("PYENGINE_NUM_THREADS", "0", True),
     ("PYENGINE_NUM_THREADS", " 3", False)],
)  # fmt: skip
def test_info_names_what_was_not_heeded(name, value, said):
    done = run("-m", "pyengine", "info", environment={name: value})
    assert done.returncode == 0 and done.stderr == ""
    assert (f"{name}={value} is none and changes nothing" in done.stdout) == said


def test_as_a_module():
    done = run("-m", "pyengine", "--version")
    assert done.returncode == 0 and done.stdout == f"pyengine {pe.__version__}\n"


def test_a_reader_that_leaves(trained):
    weights = trained / "digits.safetensors"
    command = f"{sys.executable} -m pyengine predict digits --weights '{weights}' --count 360 | head -n 1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr and "Broken" not in done.stderr


def test_commands_read_what_they_need():
    """`pyengine info` and the like do not wait for the trainer, layers and optimizers."""
    heavy = ["pyengine.nn", "pyengine.train", "pyengine.optim"]
    code = f"import sys; from pyengine.cli import main; main(['info']); print([m for m in {heavy} if m in sys.modules])"
    assert run("-c", code).stdout.splitlines()[-1] == "[]"


def test_import_brings_nothing_heavy():
    heavy = ["tqdm", "safetensors", "matplotlib", "argparse", "json", "pyengine.nn", "pyengine.cli", "numpy"]
    done = run("-c", f"import sys, pyengine; print([m for m in {heavy} if m in sys.modules])")
    assert done.stdout.strip() in ("[]", "['numpy']")
    layers = ["tqdm", "safetensors", "matplotlib", "argparse"]
    code = (
        "import sys; from pyengine import nn, optim, data, io, train; "
        f"print([m for m in {layers} if m in sys.modules])"
    )
    assert run("-c", code).stdout.strip() == "[]"
