"""Sensors: does the wearer of a watch stand, walk, run or play badminton? Six channels of ten seconds (BasicMotions).

    python examples/sensors.py

Forty recordings are learned from and forty others tell how well: convolutions along time, whose windows are shifted
while learning, beside scikit-learn's nearest neighbour. Ten seeds, since forty answers are few.
"""

import sys

import numpy as np
from sklearn.neighbors import KNeighborsClassifier

import pyengine as pe
from pyengine import nn, optim
from pyengine.data import load_basic_motions
from pyengine.train import Trainer, metrics


def network():
    """(N, 6, 100) -> (N, 4)"""
    return nn.Sequential(
        nn.Conv1d(6, 32, 7, padding=3), nn.BatchNorm1d(32), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(32, 64, 5, padding=2), nn.BatchNorm1d(64), nn.ReLU(),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, 4),
    )  # fmt: skip


def shifted(series):
    """Each recording begins somewhere else: movements go round and round."""
    start = pe.randint(0, series.shape[2], (1,)).item()
    return pe.cat([series[:, :, start:], series[:, :, :start]], 2)


def accuracy(train, test, epochs, seed):
    pe.manual_seed(seed)
    model = network()
    optimizer = optim.AdamW(model.parameters(), lr=3e-3)
    trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer, augment=shifted, progress=False)
    trainer.fit(train, epochs=epochs, batch_size=10)
    return trainer.evaluate(test, [metrics.Accuracy()])["accuracy"]


def main(quick=False, data=None):
    train, test = load_basic_motions(data)
    scale = train.series.std((0, 2), keepdims=True)
    train, test = ((part.series / scale, part.labels) for part in (train, test))
    found = [accuracy(train, test, 1 if quick else 40, seed) for seed in range(1 if quick else 10)]
    neighbour = KNeighborsClassifier(1).fit(train[0].reshape(40, -1), train[1])
    nearest = neighbour.score(test[0].reshape(40, -1), test[1])
    print(f"convolutions  {np.mean(found):.1%} of 40, the worst of {len(found)} seeds {min(found):.1%}")
    print(f"nearest neighbour  {nearest:.1%}")
    return {
        "task": "sensors: standing, walking, running, badminton",
        "data": "BasicMotions, 40 + 40 recordings",
        "model": "two convolutions along time",
        "figure": f"accuracy {np.mean(found):.1%} (mean of {len(found)} seeds; the worst {min(found):.1%})",
        "baseline": f"scikit-learn's nearest neighbour: {nearest:.1%}",
    }


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
