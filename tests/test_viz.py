"""Pictures of runs and weights, and pages: what they show, that they need nothing else, that no name breaks out.

Where Chromium is installed (Debian: apt-get install chromium) the pages are opened in it."""

import base64
import json
import re
import shutil
import struct
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from require import require

import pyengine as pe
from pyengine import nn, optim
from pyengine.cli import main
from pyengine.io import save_file
from pyengine.train import GradientFlow, Trainer, metrics

pytest.importorskip("matplotlib", reason='pip install "pyengine[plot]"')
viz = pe.viz

HOSTILE = '<script>alert("x")</script>'
NAMES = [HOSTILE, "'><img src=x onerror=alert(1)>", "a&b;<!--", "$\\frac{", "_hidden", "tab\there\x00",
         "\u202eright to left", "x" * 300, "\u65e5\u672c"]  # fmt: skip


@pytest.fixture(scope="module")
def run():
    """A small run with everything a page shows, some names hostile."""
    pe.manual_seed(0)
    net = nn.Sequential({HOSTILE: nn.Conv2d(1, 8, 3), "relu": nn.ReLU(), "flat": nn.Flatten(),
                         "$head$": nn.Linear(288, 4)})  # fmt: skip
    flow = GradientFlow(3)
    trainer = Trainer(net, nn.CrossEntropyLoss(), optim.Adam(net.parameters()), metrics=[metrics.Accuracy()],
                      callbacks=[flow], progress=False)  # fmt: skip
    x, y = pe.randn(32, 1, 8, 8), pe.arange(32) % 4
    trainer.fit((x, y), (x, y), epochs=2, batch_size=8)
    return trainer, flow


class Parsed(HTMLParser):
    """Tags with their attributes, the text, and whether every tag is closed."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.text, self.open = [], [], []
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "img", "input", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "title"):
            self.text.append(data)


def checked(path):
    """The page, which is well formed, has no script, and asks for nothing from elsewhere."""
    source = path.read_text(encoding="utf-8")
    page = Parsed(source)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "img", "foreignobject"}
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "src", "xlink:href"):
            value = attributes.get(name, "#")
            assert value.startswith(("#", "data:image/png;base64,"))
            assert not value.startswith("#") or value == "#" or value[1:] in ids
    assert "://" not in source and "@import" not in source and not re.search(r"url\((?!#)", source)
    assert source.count("Content-Security-Policy") == 1 and 'name="viewport"' in source
    assert "prefers-color-scheme: dark" in source
    return page


# ---- pictures ----------------------------------------------------------------------


def test_curves(run):
    trainer, _ = run
    figure = viz.curves(trainer.history)
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy"]
    lines = figure.axes[0].lines
    assert [line.get_label() for line in lines] == ["training", "validation"]
    assert list(lines[1].get_ydata()) == [entry["val_loss"] for entry in trainer.history]
    with pytest.raises(ValueError, match=r"curves: the history \(0 epochs\) has no numbers"):
        viz.curves([])


def test_norms_over_time(run):
    _, flow = run
    figure = viz.norms_over_time(flow.records)
    assert [axes.get_title("left") for axes in figure.axes] == ["gradients", "updates", "weights", "outputs"]
    assert all(axes.get_yscale() == "log" and axes.get_xlabel() == "step" for axes in figure.axes)
    values = [record.layers["$head$"].gradient for record in flow.records]
    assert list(figure.axes[0].lines[-1].get_ydata()) == values
    with pytest.raises(ValueError, match="there are no records"):
        viz.norms_over_time([])


def test_histograms_count_every_element():
    values = np.array([0.0] * 30 + [1.0] * 60 + [np.nan, np.inf], "float32")
    figure = viz.histograms({"a": values, "same": np.full(5, 3.0), "words": np.arange(3), "bad": np.full(3, np.nan),
                             "wide": np.array([-1.7e308, 1.7e308])})  # fmt: skip
    first, same, bad, wide = figure.axes
    heights, edges, _ = first.patches[0].get_data()
    assert heights[0] == pytest.approx(100 / 3) and heights[-1] == pytest.approx(200 / 3) and heights.sum() == 100
    assert edges[0] == 0 and edges[-1] == 1 and same.patches[0].get_data().values.sum() == 100
    assert bad.texts[0].get_text() == "no finite values" and wide.texts[0].get_text() == "values beyond 1e+300"
    many = viz.histograms({f"{i}": pe.ones(2, 2) if i % 2 else pe.ones(3) for i in range(60)})
    assert len(many.axes) == 24 and many.axes[0].get_title("left") == "1"
    for nothing in ({}, {"i": np.arange(3)}):
        with pytest.raises(ValueError, match="histograms: there are no tensors of floats"):
            viz.histograms(nothing)
    with pytest.raises(TypeError, match="a Module or a dict of tensors is needed, got int"):
        viz.histograms(3)


def test_spectra():
    rng = np.random.default_rng(0)
    low = rng.normal(size=(20, 3)) @ rng.normal(size=(3, 30))
    figure = viz.spectra({"low": low, "conv": pe.randn(8, 2, 3, 3), "bias": np.ones(9), "nan": np.full((3, 3), np.nan)})
    lines = figure.axes[0].lines
    values = np.linalg.svd(low, compute_uv=False)
    assert len(lines) == 2 and np.allclose(lines[0].get_ydata()[:3], values[:3] / values[0])
    assert (lines[0].get_ydata()[3:] <= 1e-6).all() and len(lines[1].get_ydata()) == 8
    with pytest.raises(ValueError, match="spectra: there are no finite matrices"):
        viz.spectra({"bias": np.ones(9)})


def test_filters():
    net = nn.Sequential(nn.Flatten(), nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 70, 3))
    figure = viz.filters(net)
    assert figure.axes[0].get_title("left") == "2.weight: 70 filters of 3 x 3 (the first 64)"
    sheet = figure.axes[0].images[0].get_array()
    assert sheet.shape == (31, 31) and np.nanmax(abs(sheet)) == 1
    weights = net[2].weight.detach().numpy()
    assert np.allclose(sheet[4:7, :3] * abs(weights).max(), weights[8, 0])
    colored = viz.filters(pe.randn(5, 3, 4, 4)).axes[0].images[0].get_array()
    assert colored.shape == (4, 24, 4) and colored.min() >= 0 and colored.max() <= 1
    assert viz.filters({"b": np.ones(3), "w": np.ones((2, 1, 3, 3))}).axes[0].get_title("left").startswith("w: 2")
    for wrong, told in ((nn.Linear(2, 2), "Linear has no Conv2d"), ({"b": np.ones(3)}, "no tensor"),
                        (np.ones(3), r"is needed, got \(3,\)")):  # fmt: skip
        with pytest.raises(ValueError, match=told):
            viz.filters(wrong)


def test_attention_maps():
    layer = nn.MultiheadAttention(18, 6, batch_first=True)
    x = pe.randn(2, 5, 18)
    weights = layer(x, x, x, average_attn_weights=False)[1]
    figure = viz.attention_maps(weights, ["a", "$", "_", "<b>", "\x00"])
    assert [axes.get_title("left") for axes in figure.axes[:6]] == [f"head {i}" for i in range(1, 7)]
    assert np.array_equal(figure.axes[2].images[0].get_array(), weights.detach().numpy()[0, 2])
    assert len(viz.attention_maps(np.eye(3)).axes) == 2  # with the scale
    with pytest.raises(ValueError, match="3 tokens for 5 queries and 5 keys"):
        viz.attention_maps(weights, ["a", "b", "c"])
    with pytest.raises(ValueError, match=r"attention_maps: .* is needed, got \(3,\)"):
        viz.attention_maps(np.ones(3))


def test_files_and_the_callers_style(tmp_path):
    import matplotlib

    with matplotlib.rc_context({"axes.titlesize": 33, "axes.grid": False, "text.color": "red"}):
        figure = viz.histograms(nn.Linear(3, 3))
        assert matplotlib.rcParams["axes.titlesize"] == 33
    assert figure.axes[0].title.get_color() != "red"
    viz.save(figure, tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    width, height = struct.unpack(">II", content[16:24])
    assert content[:4] == b"\x89PNG" and width > 300 and height > 100


def test_without_matplotlib(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install \"pyengine\[plot\]\""):
        viz.histograms(nn.Linear(2, 2))
    with pytest.raises(ModuleNotFoundError, match="matplotlib is not installed"):
        viz.page(tmp_path / "a.html", model=nn.Linear(2, 2))
    assert not list(tmp_path.iterdir())


# ---- the loss around the weights ---------------------------------------------------


def test_loss_landscape_is_the_loss_along_normalized_filters():
    from pyengine.viz.landscape import loss_around

    pe.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5), nn.Linear(144, 2))
    net[1].eval()
    before = {name: tensor.numpy().copy() for name, tensor in net.state_dict().items()}
    seen = []

    def loss(model):
        assert not model.training and not model[3].training
        seen.append([p.detach().numpy().astype("f8") for p in model.parameters()])
        return model[4].weight.pow(2).sum()

    places, losses = loss_around(net, loss, points=3, span=0.5, generator=pe.Generator(1))
    assert places.tolist() == [-0.5, 0.0, 0.5] and losses.shape == (3, 3)
    center, right, above = seen[4], seen[5], seen[7]
    assert losses[1, 1] == pytest.approx((before["4.weight"].astype("f8") ** 2).sum(), rel=1e-6)
    for moved in (right, above):
        for old, new in zip(center, moved, strict=True):
            if old.ndim == 1:
                assert np.array_equal(old, new)
                continue
            size = np.linalg.norm((new - old).reshape(len(old), -1), axis=1)
            assert np.allclose(size, 0.5 * np.linalg.norm(old.reshape(len(old), -1), axis=1), rtol=1e-4)
    assert not np.allclose(right[0], above[0])
    assert losses[2, 2] == pytest.approx((seen[8][-2] ** 2).sum(), rel=1e-6)
    for name, tensor in net.state_dict().items():
        assert tensor.numpy().tobytes() == before[name].tobytes(), name
    assert net.training and net[3].training and not net[1].training


def test_loss_landscape_restores_where_the_loss_raises():
    net, calls = nn.Linear(3, 3), []
    before = net.weight.detach().numpy().copy()

    def loss(model):
        calls.append(1)
        if len(calls) == 7:
            raise RuntimeError("no more")
        return model.weight.sum()

    with pytest.raises(RuntimeError, match="no more"):
        viz.loss_landscape(net, loss, points=5)
    assert net.weight.detach().numpy().tobytes() == before.tobytes() and net.training and net.weight.requires_grad
    with pytest.raises(ValueError, match="points must be odd, from 3 to 101, got 4"):
        viz.loss_landscape(net, loss, points=4)
    with pytest.raises(ValueError, match="span must be positive and finite, got nan"):
        viz.loss_landscape(net, loss, span=float("nan"))
    with pytest.raises(ValueError, match="ReLU has no weights of two or more axes"):
        viz.loss_landscape(nn.ReLU(), loss)
    for value in (float("nan"), 2.0):
        assert viz.loss_landscape(net, lambda model, value=value: value, points=3).axes


# ---- pages -------------------------------------------------------------------------


def write_page(run, path):
    trainer, flow = run
    landscape = viz.loss_landscape(trainer.model, lambda model: model[0].weight.pow(2).sum(), points=5)
    viz.page(path, title=HOSTILE, facts={HOSTILE: NAMES[1], "seed": 0}, history=trainer.history, flow=flow,
             model=trainer.model, figures={HOSTILE: landscape})  # fmt: skip


def test_a_page_needs_nothing_but_itself(run, tmp_path):
    write_page(run, tmp_path / "run.html")
    page = checked(tmp_path / "run.html")
    told = "".join(page.text)
    for part in ("Curves", "Gradient flow", "Norms over time", "Weights", "Spectra", "First filters", HOSTILE,
                 f"{HOSTILE} (Conv2d)", "Nothing found:", NAMES[1], "$head$.weight"):  # fmt: skip
        assert part in told, part
    pictures = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(pictures) == 6 and all(attributes["aria-label"] for attributes in pictures)
    for _, attributes in page.tags:
        if attributes.get("href", "").startswith("data:"):
            assert base64.b64decode(attributes["href"].partition(",")[2])[:4] == b"\x89PNG"


def test_a_page_says_what_is_wrong(tmp_path):
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    nn.init.constant_(net[0].bias, -100.0)
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    flow = GradientFlow().attach(net, optimizer)
    nn.CrossEntropyLoss()(net(pe.randn(8, 4)), pe.arange(8) % 2).backward()
    optimizer.step()
    viz.page(tmp_path / "a.html", flow=flow)
    told = "".join(checked(tmp_path / "a.html").text)
    assert "Dead units, first at 1 (ReLU), step 1:" in told and "LeakyReLU" in told and "100%" in told
    viz.page(tmp_path / "b.html", flow=GradientFlow(), history=[], model=nn.ReLU())
    assert "No step was observed." in "".join(checked(tmp_path / "b.html").text)


def hostile_file(folder):
    path = folder / "<b>weights&.safetensors"
    rng = np.random.default_rng(0)
    tensors = {name: rng.normal(size=(8, 1, 3, 3)).astype("float32") for name in NAMES}
    tensors |= {"bad": np.array([np.nan, 1], "float32"), "none": np.zeros((0, 2), "int64"), "number": np.array(3)}
    save_file(tensors, path)
    return path


def test_inspect_writes_a_page(tmp_path, capsys):
    path, out = hostile_file(tmp_path), tmp_path / "out.html"
    assert main(["inspect", str(path), "--html", str(out)]) == 0
    assert capsys.readouterr().out == f"wrote {out}\n"
    told = "".join(checked(out).text)
    assert path.name in told and HOSTILE in told and NAMES[1] in told and "1 NaN or infinite" in told
    assert "tab\\there\\x00" in told and "\\u202e" in told and "x" * 300 not in told
    assert main(["inspect", str(tmp_path / "missing"), "--html", str(out)]) == 1
    assert main(["inspect", str(path), "--html", str(tmp_path / "no folder" / "x.html")]) == 1


@pytest.mark.filterwarnings("error")
def test_inspect_of_numbers_at_the_ends(tmp_path):
    ends = np.array([1.7e308, -1.7e308, 5e-324, 0, np.inf, np.nan])
    rows = {"ends": ends, "square": np.full((3, 3), 1e308), "half": ends.clip(-6e4, 6e4).astype("float16"),
            "filter": np.full((2, 3, 3, 3), -1e308), "\u65e5\u672c": np.zeros((2, 2))}  # fmt: skip
    save_file(rows, tmp_path / "a.safetensors")
    viz.inspect_page(tmp_path / "a.safetensors", tmp_path / "a.html")
    told = "".join(checked(tmp_path / "a.html").text)
    assert "values beyond 1e+300" in told and "2 NaN or infinite" in told and "\u65e5\u672c" in told


def test_inspect_of_surrogates_and_nothing(tmp_path):
    header = json.dumps({"\ud800": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    viz.inspect_page(tmp_path / "a.safetensors", tmp_path / "a.html")
    assert "\\ud800" in "".join(checked(tmp_path / "a.html").text)
    save_file({}, tmp_path / "b.safetensors")
    viz.inspect_page(tmp_path / "b.safetensors", tmp_path / "b.html")
    checked(tmp_path / "b.html")


# ---- in a browser ------------------------------------------------------------------

_LOOK = """<script>
addEventListener("load", () => {
  const found = [...document.querySelectorAll("svg")].map(e => e.getBoundingClientRect());
  const pre = document.createElement("pre");
  pre.id = "measured";
  pre.textContent = JSON.stringify({sizes: found.map(r => [Math.round(r.width), Math.round(r.height)]),
    wide: document.documentElement.scrollWidth, color: getComputedStyle(document.body).backgroundColor,
    alerts: window.alerted || 0, text: document.body.innerText.slice(0, 4000)});
  document.body.append(pre);
});
window.alert = () => { window.alerted = 1; };
</script>"""


def browser():
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    require("chromium", found, "no Chromium: apt-get install chromium")
    return found


def opened(path, width, folder):
    """What the page measures in Chromium in a window of that width: sizes of pictures, width, text."""
    source = path.read_text(encoding="utf-8")
    policy = re.search(r'<meta http-equiv="Content-Security-Policy"[^>]*>', source)[0]
    copy = folder / f"look-{width}.html"  # with a script that measures, for which the policy must go
    copy.write_text(source.replace(policy, _LOOK), encoding="utf-8")
    command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
               f"--window-size={width},1000", "--virtual-time-budget=5000", "--dump-dom", copy.as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    measured = re.search(r'<pre id="measured">(.*?)</pre>', done.stdout, re.S)
    assert measured, done.stderr[-2000:]
    from html import unescape

    return json.loads(unescape(measured[1]))


def test_pages_in_chromium(run, tmp_path):
    browser()
    write_page(run, tmp_path / "run.html")
    wide, narrow = (opened(tmp_path / "run.html", width, tmp_path) for width in (1100, 500))
    assert len(wide["sizes"]) == len(narrow["sizes"]) == 6
    assert all(width > 250 and height > 60 for width, height in wide["sizes"] + narrow["sizes"])
    assert narrow["wide"] <= 500 and wide["wide"] <= 1100  # pictures scroll in their cards, the page does not
    assert wide["alerts"] == narrow["alerts"] == 0 and HOSTILE in wide["text"] and "Nothing found:" in wide["text"]
    viz.inspect_page(hostile_file(tmp_path), tmp_path / "weights.html")
    page = opened(tmp_path / "weights.html", 1100, tmp_path)
    assert page["alerts"] == 0 and HOSTILE in page["text"] and len(page["sizes"]) == 3
    assert all(width > 250 and height > 60 for width, height in page["sizes"])
