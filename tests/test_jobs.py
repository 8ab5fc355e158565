"""Runs of jobs: what describes them, what stops them and goes on, what judges them, and what is refused."""

import json
import os
import signal
import subprocess
import sys
import tomllib
from dataclasses import dataclass

import pytest

import pyengine as pe
from pyengine import nn, optim
from pyengine.cli import main
from pyengine.io import load_file, save_file
from pyengine.train import Callback, Trainer, metrics, run
from pyengine.train.jobs import find_job, job_names
from pyengine.train.jobs.digits import Digits, digits_model
from pyengine.train.options import Config, nearest, option, options_of, parsed, written

SHORT = ["--epochs", "3", "--batch-size", "200", "--quiet"]


def failed(arguments, capsys, status=1):
    """What the command that fails says."""
    try:
        found = main([str(word) for word in arguments])
    except SystemExit as error:
        found = error.code
    told = capsys.readouterr()
    assert found == status and "Traceback" not in told.err, told
    return told.err


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    assert main(["train", "digits", *SHORT, "--out", str(folder)]) == 0
    return folder


# ---- options -----------------------------------------------------------------------


@dataclass
class Options:
    count: int = option(3, "how many", above=0)
    share: float = option(0.5, "of what", least=0, below=1)
    name: str = option("a", "which", choices=("a", "b"))
    text: str | None = option(None, "free")
    loud: bool = option(False, "whether")


def test_options_are_read_written_and_read_again():
    given = Options(7, 1e-5, "b", 'ä "x"\n\t\x7f\\', True)
    assert tomllib.loads(written(given)) == vars(given)
    assert Config("x", written(given)).check(options_of(Options)) == vars(given)
    assert "text" not in written(Options())
    fields = options_of(Options)
    assert parsed(fields["count"], "12") == 12 and parsed(fields["share"], "1e-3") == 1e-3
    assert Config("x", "share = 0").check(fields) == {"share": 0.0}
    assert nearest("cuont", fields) == "did you mean 'count'?" and "there are count, share" in nearest("zzz", fields)


@pytest.mark.parametrize(
    "line, told",
    [
        ("count = 0", "count must be a whole number above 0, got 0"),
        ("count = 2.0", "count must be a whole number above 0, got 2.0"),
        ("count = true", "count must be a whole number above 0, got True"),
        ('count = "3"', "count must be a whole number above 0, got '3'"),
        ("share = nan", "share must be a number at least 0 and below 1, got nan"),
        ("share = 1", "share must be a number at least 0 and below 1, got 1.0"),
        ("name = 'c'", "name must be one of a, b, got 'c'"),
        ("loud = 1", "loud must be true or false, got 1"),
        ("text = [1]", "text must be a text, got [1]"),
        ("cuont = 3", "unknown key 'cuont'; did you mean 'count'?"),
        ("[share]\nx = 1", "share must be a number at least 0 and below 1, got {'x': 1}"),
    ],
)
def test_what_options_refuse(line, told):
    with pytest.raises(ValueError) as error:
        Config("my.toml", f"# mine\n\n{line}").check(options_of(Options))
    assert str(error.value) == f"my.toml, line 3: {told}"


def test_jobs_are_checked_too():
    assert job_names() == ["digits", "fashion-mnist", "text"] and find_job("digits") is Digits
    with pytest.raises(ValueError, match=r"Digits: lr must be a number above 0, got -1\.0"):
        Digits(lr=-1)
    with pytest.raises(ValueError, match="there is no job 'fashion'; did you mean 'fashion-mnist'"):
        find_job("fashion")


# ---- from the shell -------------------------------------------------------------------


def test_a_config_is_the_same_run_as_its_options(whole, tmp_path, capsys):
    out = tmp_path / "run"
    config = tmp_path / "mine.toml"
    config.write_text(f'job = "digits"\nepochs = 3\nbatch_size = 200\nlr = 1\nout = "{out}"\nquiet = true\n')
    assert main(["train", str(config), "--lr", "0.003"]) == 0, "the shell's word counts more"
    assert (out / "digits.safetensors").read_bytes() == (whole / "digits.safetensors").read_bytes()
    assert "epoch" not in capsys.readouterr().out.replace("epochs", "")
    again = tmp_path / "again"
    assert main(["train", str(out / "run.toml"), "--out", str(again), "--quiet"]) == 0, "a run's options are a config"
    assert (again / "digits.safetensors").read_bytes() == (whole / "digits.safetensors").read_bytes()


def test_configs_that_cannot_be(tmp_path, capsys):
    config = tmp_path / "c.toml"
    for text, told in (
        ('job = "digits"\nepoch = 3', "c.toml, line 2: unknown key 'epoch'; did you mean 'epochs'?"),
        ('job = "digits"\n\nepochs = "3"', "c.toml, line 3: epochs must be a whole number above 0, got '3'"),
        ('job = "digit"', "c.toml, line 1: there is no job 'digit'; did you mean 'digits'?"),
        ("epochs = 3", "c.toml: job must be one of digits, fashion-mnist, text, got None"),
        ('job = "text"', "FILE"),
        ("job = ", "c.toml: Invalid value (at"),
        ("job = 'digits'\nthreads = 0", "c.toml, line 2: threads must be a whole number above 0, got 0"),
    ):
        config.write_text(text)
        assert told in failed(["train", config], capsys, 2 if told == "FILE" else 1)
    config.write_bytes(b"\xff\xfe")
    assert "c.toml" in failed(["train", config], capsys)
    assert "none.toml" in failed(["train", tmp_path / "none.toml"], capsys)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.toml"], "nothing was begun"


def test_words_that_cannot_be(capsys):
    for words, told in (
        (["digits", "--epoch", "x"], "epochs must be a whole number above 0, got 'x'"),
        (["digits", "--epohcs", "3"], "unknown option --epohcs; did you mean '--epochs'?"),
        (["digits", "3"], "'3' is more than it takes"),
        (["digits", "--lr", "inf"], "lr must be a number above 0, got inf"),
        (["fashion-mnist", "--model", "vgg"], "model must be one of cnn, resnet18, got 'vgg'"),
        (["fashion"], "there is no job 'fashion'; did you mean 'fashion-mnist'?"),
        ([], "which job? digits, fashion-mnist, text"),
        (["text"], "FILE"),
    ):
        assert told in failed(["train", *words], capsys, 2)
    for words in (["--help"], ["digits", "--help"], ["text", "-h"]):
        with pytest.raises(SystemExit) as error:
            main(["train", *words])
        assert error.value.code == 0 and "digits" in capsys.readouterr().out + " digits" * ("text" in words)


# ---- stopped and gone on ---------------------------------------------------------------


@pytest.mark.parametrize("job", ["digits", "text"])
def test_ctrl_c_then_resume(job, tmp_path, capsys):
    """A run that Ctrl-C has stopped goes on in a new process with the bits of one that was not."""
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 60)
    words = {"digits": ["digits", "--epochs", "12"],
             "text": ["text", str(tmp_path / "text.txt"), "--steps", "60", "--dropout", "0.1", "--batch-size", "4"],
             }[job]  # fmt: skip
    assert main(["train", *words, "--out", str(tmp_path / "whole"), "--quiet"]) == 0
    command = [sys.executable, "-m", "pyengine"]
    stopped = tmp_path / "stopped"
    first = subprocess.Popen([*command, "train", *words, "--out", str(stopped)], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True, restore_signals=True,
                             preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))  # fmt: skip
    for line in first.stdout:
        if line.startswith(("epoch   2", "look   2")):
            first.send_signal(signal.SIGINT)
            break
    rest = first.communicate()[0]
    assert first.returncode == 130 and f"next: pyengine resume {stopped}" in rest
    assert "has a run that has not ended" in failed(["train", *words, "--out", stopped], capsys)
    assert main(["evaluate", str(stopped)]) == 0 and "loss" in capsys.readouterr().out
    second = subprocess.run([*command, "resume", stopped], capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    files = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert files == sorted(path.name for path in stopped.iterdir()) and "checkpoint.safetensors" not in files
    for name in files:
        if not name.endswith((".png", ".html", ".toml")):
            assert (tmp_path / "whole" / name).read_bytes() == (stopped / name).read_bytes(), name
    assert main(["resume", str(stopped)]) == 0 and "the run has ended" in capsys.readouterr().out


class Interrupted(Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def epoch_end(self, trainer):
        if trainer.epoch == self.epoch:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("epoch", [1, 3])
def test_ctrl_c_between_two_epochs(whole, tmp_path, epoch, monkeypatch):
    """As while the held-out set is looked at; after the last epoch, too."""
    callbacks = Digits.callbacks
    monkeypatch.setattr(Digits, "callbacks", lambda *given: [*callbacks(*given), Interrupted(epoch)])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    quiet = {"progress": False, "say": lambda line: None}
    with pytest.raises(KeyboardInterrupt):
        run.train_job(Digits(epochs=3, batch_size=200), tmp_path, **quiet)
    monkeypatch.undo()
    run.resume_job(tmp_path, **quiet)
    for name in ("digits.safetensors", "history.jsonl"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize("step", [1, 8, 11, 24])
def test_kill_then_resume(whole, tmp_path, step):
    """Killed after a step whose checkpoint is there; epochs have 8 steps."""
    code = (f"import os, pyengine.train.run as run, pyengine.cli as cli; run.SECONDS = 0.0; save = run.Trainer.save\n"
            f"def saved(self, path):\n    save(self, path)\n    self.step == {step} and os.kill(os.getpid(), 9)\n"
            f"run.Trainer.save = saved; cli.main({['train', 'digits', *SHORT, '--out', str(tmp_path)]!r})")  # fmt: skip
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == -signal.SIGKILL
    assert main(["resume", str(tmp_path), "--quiet"]) == 0
    for name in ("digits.safetensors", "history.jsonl"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


def test_a_run_without_a_checkpoint_begins_anew(whole, tmp_path):
    (tmp_path / "run.toml").write_bytes((whole / "run.toml").read_bytes())
    assert main(["resume", str(tmp_path), "--quiet"]) == 0
    assert (tmp_path / "digits.safetensors").read_bytes() == (whole / "digits.safetensors").read_bytes()


def test_weights_of_a_run_before_are_not_those_of_the_next(whole, tmp_path, capsys):
    """The next was killed before its first checkpoint."""
    (tmp_path / "digits.safetensors").write_bytes((whole / "digits.safetensors").read_bytes())
    (tmp_path / "run.toml").write_text('job = "digits"\nepochs = 1\n')
    assert main(["evaluate", str(tmp_path)]) == 0
    assert main(["resume", str(tmp_path), "--quiet"]) == 0 and "wrote" in capsys.readouterr().out
    assert (tmp_path / "digits.safetensors").read_bytes() != (whole / "digits.safetensors").read_bytes()


def test_folders_that_cannot_be(tmp_path, capsys):
    assert f"{tmp_path / 'no'}: there is no such folder" in failed(["resume", tmp_path / "no"], capsys)
    assert f"{tmp_path} is no run's folder: run.toml is not in it" in failed(["resume", tmp_path], capsys)
    assert "run.toml is not in it" in failed(["evaluate", tmp_path], capsys)
    (tmp_path / "run.toml").write_text('job = "digits"\nepohcs = 3')
    assert "run.toml, line 2: unknown key 'epohcs'" in failed(["resume", tmp_path], capsys)
    (tmp_path / "run.toml").write_text('job = "digits"')
    assert "neither weights nor a checkpoint" in failed(["evaluate", tmp_path], capsys)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"no checkpoint")
    assert "checkpoint.safetensors" in failed(["resume", tmp_path, "--quiet"], capsys)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == b"no checkpoint"


def test_a_folder_that_may_not_be_written_to(whole, tmp_path, capsys):
    """It is told before anything is learned. Where permissions do not stop us (root), a folder that is none does."""
    target = tmp_path / "read only"
    target.mkdir()
    (target / "run.toml").write_bytes((whole / "run.toml").read_bytes())
    if os.geteuid() == 0:
        assert "/proc" in failed(["train", "digits", "--out", "/proc/self"], capsys)
        return
    target.chmod(0o500)
    for words in (["train", "digits", "--out", target], ["resume", target]):
        assert "run.toml" in failed(words, capsys)
    target.chmod(0o700)


def test_a_checkpoint_of_another_model(tmp_path, capsys):
    net = nn.Linear(64, 10)
    trainer = Trainer(net, nn.CrossEntropyLoss(), optim.Adam(net.parameters()), metrics=[metrics.Accuracy()])
    (tmp_path / "run.toml").write_text('job = "digits"\n')
    trainer.save(tmp_path / "checkpoint.safetensors")
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    for words in (["resume", tmp_path, "--quiet"], ["evaluate", tmp_path]):
        told = failed(words, capsys)
        assert "is a checkpoint of another model" in told
        assert "only in the model: 1.weight" in told and "only in the file: weight, bias" in told
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before


# ---- judged --------------------------------------------------------------------------


def test_evaluate(whole, tmp_path, capsys):
    weights = whole / "digits.safetensors"
    assert main(["evaluate", str(whole), str(weights)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split("  ")[1:] == second.split("  ")[1:] and first.startswith(f"{whole}  digits  loss 0.")
    last = json.loads((whole / "history.jsonl").read_text().splitlines()[-1])
    job, found = run.evaluate_job(weights)
    assert job == Digits(epochs=3, batch_size=200)
    assert found["loss"] == last["val_loss"] and found["accuracy"] == last["val_accuracy"] and 0 < found["f1"] < 1
    bare = tmp_path / "bare.safetensors"
    save_file(load_file(weights), bare)
    assert "does not say which job's weights it has: --job NAME" in failed(["evaluate", bare], capsys)
    assert main(["evaluate", str(bare), "--job", "digits"]) == 0 and f"accuracy {found['accuracy']:.4f}" in (
        capsys.readouterr().out
    )
    save_file({"0.weight": pe.zeros(2, 2), "1.weight": pe.zeros(2, 2)}, bare)
    told = failed(["evaluate", bare, "--job", "digits"], capsys)
    for text in ("of another model", "only in the model: 1.bias", "only in the file: 0.weight",
                 "1.weight: (2, 2) in the file, (512, 64) in the model"):  # fmt: skip
        assert text in told
    assert "none" in failed(["evaluate", tmp_path / "none"], capsys)
    assert sorted(load_file(weights)) == sorted(digits_model().state_dict())
