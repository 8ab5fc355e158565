"""Language models of a text: they learn it, whatever the threads; their files and what is refused."""

import importlib.util
import json
import shutil

import numpy as np
import pytest
from require import require

import pyengine as pe
from pyengine import cli, data
from pyengine.io import load_file, save_file
from pyengine.io.safetensors import load_with_metadata
from pyengine.models import generate
from pyengine.train.jobs.text import Text, read_text
from pyengine.train.run import train_job
from pyengine.train.text_model import Characters, Pieces, RandomWindows, text_net

TEXT = "the quick brown fox jumps over the lazy dog, and the dog sleeps on.\n" * 60
SETTINGS = {"steps": 30, "batch_size": 4, "sample": 30}


def train_text(text, folder, **options):
    """The Run, and what was said last: the sample."""
    (folder / "text.txt").write_text(text)
    said = []
    job = Text(file=str(folder / "text.txt"), **{**SETTINGS, **options})
    return train_job(job, folder / "run", progress=False, say=said.append), said[-1][1:]


@pytest.mark.parametrize("model", ["gpt", "lstm"])
def test_learns_and_writes(model, tmp_path):
    run, sample = train_text(TEXT, tmp_path, model=model)
    losses = [look["val_loss"] for look in run.history]
    assert len(losses) == 10 and losses[-1] < 0.8 * losses[0]
    assert set(sample) <= set(TEXT) and sample.startswith("\n") and len(sample) == 30
    assert run.weights.exists() and (run.picture is None or run.picture.read_bytes()[1:4] == b"PNG")
    spelling = run.data.extra[0]
    again = text_net(model, len(spelling), {"context": 64, "layers": 4, "width": 128, "heads": 4,
                     "lstm_layers": 1, "lstm_width": 256}, 0.0)  # fmt: skip
    again.load_state_dict(load_file(run.weights))
    assert spelling.decode(spelling.encode("the fox?")) == "the fox"


@pytest.mark.parametrize("model", ["gpt", "lstm"])
def test_bits_do_not_depend_on_threads(model, tmp_path):
    files = []
    for threads in (1, 2):
        with pe.num_threads(threads):
            run, sample = train_text(TEXT, tmp_path, model=model, dropout=0.1, steps=10, batch_size=16)
            files.append((run.weights.read_bytes(), sample))
    assert files[0] == files[1]


def test_windows_are_as_many_as_steps():
    ids = np.arange(1000)

    def made():
        return RandomWindows(ids, 5, 2, 25, 3, 7)

    whole, sizes = [], []
    loader = made()
    while len(loader):
        sizes.append(len(loader))
        whole += [x.tolist() for x, _ in loader]
    assert sizes == [3] * 8 + [1] and len(whole) == 25 and len({str(x) for x in whole}) == 25
    for stop in (0, 2, 4, 24):
        first, taken = made(), 0
        while taken < stop:
            for _ in first:
                taken += 1
                if taken == stop:
                    break
        second = made()
        second.load_state_dict(first.state_dict())
        rest = []
        while len(second):
            rest += [x.tolist() for x, _ in second]
        assert rest == whole[stop:], stop
    with pytest.raises(ValueError, match="RandomWindows: the state is of 1000 tokens of checksum"):
        RandomWindows(ids + 1, 5, 2, 25, 3, 7).load_state_dict(loader.state_dict())


def test_pieces(tmp_path):
    require("tokenizers", importlib.util.find_spec("tokenizers"), "pip install tokenizers")
    pieces = Pieces(TEXT, 300)
    ids = pieces.encode("the lazy dog é")
    assert pieces.decode(ids) == "the lazy dog é" and len(ids) < 14 and len(pieces) <= 300
    assert json.loads(pieces.written())["model"]["type"] == "BPE"
    assert train_text(TEXT * 9, tmp_path, tokenizer="bpe")[0].history[-1]["val_loss"] < 6


def test_from_the_shell(tmp_path, capsys):
    (tmp_path / "text.txt").write_text(TEXT)
    common = ["--steps", "10", "--batch-size", "2", "--sample", "10", "--out", str(tmp_path), "--quiet"]
    assert cli.main(["train", "text", str(tmp_path / "text.txt"), *common]) == 0
    assert "bits a character" in capsys.readouterr().out
    assert cli.main(["train", "text", str(tmp_path / "none.txt"), *common]) == 1
    (tmp_path / "text.txt").write_bytes(b"\xff\xfe\x00")
    assert cli.main(["train", "text", str(tmp_path / "text.txt"), *common]) == 1
    assert "UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("options", [{"model": "gpt"}, {"model": "lstm"}, {"tokenizer": "bpe"}], ids=str)
def test_generate_reads_what_was_written(options, tmp_path, capsys):
    """The shell's greedy text is the trained net's own; a net of 64 positions ends there by itself."""
    if options.get("tokenizer") == "bpe":
        require("tokenizers", importlib.util.find_spec("tokenizers"), "pip install tokenizers")
    run, _ = train_text(TEXT * 9, tmp_path, **options)
    spelling, prompt = run.data.extra[0], "the quick"
    ids = spelling.encode(prompt)
    count = 90 if options.get("model") == "lstm" else 64 - len(ids)
    expected = prompt + spelling.decode(generate(run.model.eval(), ids, count))
    assert cli.main(["generate", prompt, "--weights", str(run.weights), "--tokens", "90"]) == 0
    told = capsys.readouterr()
    assert told.out == expected + "\n" and f"{len(ids)} tokens read" in told.err and len(expected) > 60
    tensors, metadata = load_with_metadata(run.weights)
    for spoiled in ({"spelling": "[1"}, {"spelling": "3"}, {"spelling": '"ab"'}, {"pyengine.run": 'job = "text"\nx'}):
        save_file(tensors, run.weights, metadata | spoiled)
        assert cli.main(["generate", prompt, "--weights", str(run.weights)]) == 1
        assert "text-" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [{"model": "mlp"}, {"preset": "huge"}, {"tokenizer": "words"}])
def test_what_is_refused(wrong):
    (name, value), *_ = wrong.items()
    with pytest.raises(ValueError, match=f"Text: {name} must be one of .*, got {value!r}"):
        Text(file="x", **wrong)


def test_too_short_a_text(tmp_path):
    with pytest.raises(ValueError, match="too few"):
        train_text("abc" * 30, tmp_path)
    assert Characters("abca").encode("cab!") == [2, 0, 1]


def test_king_james(tmp_path):
    with pytest.raises(FileNotFoundError, match="bible-kjv"):
        data.load_king_james(tmp_path)
    if shutil.which("bible") is None:
        pytest.skip("Debian's bible-kjv is not installed")
    first, second = data.load_king_james(passage="Ge1:1-Ge1:2")
    assert first == data.Verse("Genesis", 1, 1, "In the beginning God created the heaven and the earth.")
    assert second.number == 2 and second.text.endswith("the face of the waters.")
    assert len(data.load_king_james()) == 31102 and read_text("king-james").count("\n") == 31102
    with pytest.raises(ValueError):
        data.load_king_james(passage="No1:1")


def test_a_printed_chapter(tmp_path):
    """The program itself is not needed for how its lines are read."""
    program = tmp_path / "usr" / "bin" / "bible"
    program.parent.mkdir(parents=True)
    printed = "\\nGenesis 1\\n\\n  1 In the\\nbeginning.\\n  2 And 3\\n\\n2 John 1\\n\\n  1 The\\n"
    program.write_text(f"#!/bin/sh\nprintf '{printed}'\n")
    program.chmod(0o755)
    verses = data.load_king_james(tmp_path)
    assert verses == [("Genesis", 1, 1, "In the beginning."), ("Genesis", 1, 2, "And 3"), ("2 John", 1, 1, "The")]
