"""Language models of a text: they learn it, whatever the threads; their files and what is refused."""

import importlib.util
import json
import shutil

import pytest
from require import require

import pyengine as pe
from pyengine import cli, data
from pyengine.io import load_file
from pyengine.train.text import read_text, train_text
from pyengine.train.text_model import Characters, Pieces, text_net

TEXT = "the quick brown fox jumps over the lazy dog, and the dog sleeps on.\n" * 60
SETTINGS = {"steps": 30, "batch_size": 4, "sample": 30, "progress": False, "say": lambda line: None}


@pytest.mark.parametrize("model", ["gpt", "lstm"])
def test_learns_and_writes(model, tmp_path):
    run = train_text(TEXT, tmp_path, model=model, **SETTINGS)
    losses = [look[2] for look in run.history]
    assert len(losses) == 10 and losses[-1] < 0.8 * losses[0]
    assert set(run.sample) <= set(TEXT) and run.sample.startswith("\n") and len(run.sample) == 30
    assert run.weights.exists() and (run.picture is None or run.picture.read_bytes()[1:4] == b"PNG")
    again = text_net(model, len(run.tokenizer), {"context": 64, "layers": 4, "width": 128, "heads": 4,
                     "lstm_layers": 1, "lstm_width": 256}, 0.0)  # fmt: skip
    again.load_state_dict(load_file(run.weights))
    assert run.tokenizer.decode(run.tokenizer.encode("the fox?")) == "the fox"


@pytest.mark.parametrize("model", ["gpt", "lstm"])
def test_bits_do_not_depend_on_threads(model, tmp_path):
    files = []
    for threads in (1, 2):
        with pe.num_threads(threads):
            run = train_text(TEXT, tmp_path, model=model, dropout=0.1, **{**SETTINGS, "steps": 10, "batch_size": 16})
            files.append((run.weights.read_bytes(), run.sample))
    assert files[0] == files[1]


def test_pieces(tmp_path):
    require("tokenizers", importlib.util.find_spec("tokenizers"), "pip install tokenizers")
    pieces = Pieces(TEXT, 300)
    ids = pieces.encode("the lazy dog é")
    assert pieces.decode(ids) == "the lazy dog é" and len(ids) < 14 and len(pieces) <= 300
    assert json.loads(pieces.written())["model"]["type"] == "BPE"
    assert train_text(TEXT * 9, tmp_path, tokenizer="bpe", **SETTINGS).history[-1][2] < 6


def test_from_the_shell(tmp_path, capsys):
    (tmp_path / "text.txt").write_text(TEXT)
    common = ["--steps", "10", "--batch-size", "2", "--sample", "10", "--out", str(tmp_path), "--quiet"]
    assert cli.main(["train", "text", str(tmp_path / "text.txt"), *common]) == 0
    assert "bits a character" in capsys.readouterr().out
    assert cli.main(["train", "text", str(tmp_path / "none.txt"), *common]) == 1
    (tmp_path / "text.txt").write_bytes(b"\xff\xfe\x00")
    assert cli.main(["train", "text", str(tmp_path / "text.txt"), *common]) == 1
    assert "UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [{"model": "mlp"}, {"preset": "huge"}, {"tokenizer": "words"}])
def test_what_is_refused(wrong, tmp_path):
    with pytest.raises(ValueError, match="train text"):
        train_text(TEXT, tmp_path, **{**SETTINGS, **wrong})


def test_too_short_a_text(tmp_path):
    with pytest.raises(ValueError, match="too few"):
        train_text("abc" * 30, tmp_path, **SETTINGS)
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
