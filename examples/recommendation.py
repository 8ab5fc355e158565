"""Recommendation: how many stars will someone give a film? MovieLens 100k. (Harper & Konstan 2015)

    python examples/recommendation.py

Matrix factorization (Koren, Bell & Volinsky 2009) and neural collaborative filtering (He et al. 2017): both know a
person and a film by rows of tables, whose gradients are sparse: a step touches the rows in use alone. A fifth of the
ratings, drawn at random, is the test. Beside them: scikit-learn's ridge regression of who and what, and the mean.
"""

import sys

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.linear_model import Ridge

import pyengine as pe
from pyengine import nn, optim
from pyengine.data import load_movielens
from pyengine.train import Trainer, metrics

PEOPLE, FILMS = 943, 1682


class Factors(nn.Module):
    """stars = mean + b_person + b_film + p_person . q_film"""

    def __init__(self, mean, width=24):
        super().__init__()
        self.mean = mean
        self.people, self.films = nn.Embedding(PEOPLE, width, sparse=True), nn.Embedding(FILMS, width, sparse=True)
        self.person, self.film = nn.Embedding(PEOPLE, 1, sparse=True), nn.Embedding(FILMS, 1, sparse=True)
        for table in (self.people, self.films):
            nn.init.normal_(table.weight, std=0.1)
        for table in (self.person, self.film):
            nn.init.zeros_(table.weight)

    def forward(self, people, films):
        both = (self.people(people) * self.films(films)).sum(1)
        return self.mean + both + (self.person(people) + self.film(films))[:, 0]


class Neural(Factors):
    """... and what a network makes of both rows."""

    def __init__(self, mean, width=24):
        super().__init__(mean, width)
        self.net = nn.Sequential(nn.Linear(2 * width, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1))

    def forward(self, people, films):
        rows = pe.cat([self.people(people), self.films(films)], 1)
        return self.mean + self.net(rows)[:, 0] + (self.person(people) + self.film(films))[:, 0]


class Pair:
    """One optimizer for sparse gradients and one for dense ones, that go together."""

    def __init__(self, model, lr):
        tables = [p for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()]
        dense = [p for p in model.parameters() if all(p is not t for t in tables)]
        self.all = [optim.Adagrad(tables, lr=lr)] + ([optim.AdamW(dense, lr=1e-3)] if dense else [])

    def zero_grad(self):
        for optimizer in self.all:
            optimizer.zero_grad()

    def step(self):
        for optimizer in self.all:
            optimizer.step()


class Ridged(Trainer):
    """Beside the error, the squares of the rows in use are kept small, by a share that was chosen on training ratings
    that were left out."""

    def compute(self, batch):
        loss, outputs, targets = super().compute(batch)
        people, films, _ = batch
        if self.model.training:
            rows = self.model.people(people), self.model.films(films), self.model.person(people), self.model.film(films)
            loss = loss + 0.1 * sum((row**2).sum(1).mean() for row in rows)
        return loss, outputs, targets


def main(quick=False, data=None):
    ratings = load_movielens(data)
    order = np.random.default_rng(0).permutation(len(ratings.stars))
    train, test = ([part[rows] for part in ratings[:3]] for rows in (order[20000 : 25000 if quick else None],
                   order[:20000]))  # fmt: skip
    rmse = {"mean": float(np.sqrt(np.mean((test[2] - train[2].mean()) ** 2)))}

    def one_hot(people, films):
        rows = np.arange(len(people))
        place = np.concatenate([rows, rows]), np.concatenate([people, PEOPLE + films])
        return csr_matrix((np.ones(2 * len(rows)), place), shape=(len(rows), PEOPLE + FILMS))

    ridge = Ridge(5.0).fit(one_hot(*train[:2]), train[2])
    rmse["ridge"] = float(np.sqrt(np.mean((ridge.predict(one_hot(*test[:2])) - test[2]) ** 2)))
    for name, kind in (("factors", Factors), ("neural", Neural)):
        pe.manual_seed(0)
        model = kind(float(train[2].mean()))
        trainer = Ridged(model, nn.MSELoss(), Pair(model, 0.03), progress=False)
        trainer.fit(tuple(train), epochs=1 if quick else 20, batch_size=256)
        rmse[name] = trainer.evaluate(tuple(test), [metrics.RMSE()])["rmse"]
    print("RMSE in stars: " + ", ".join(f"{name} {value:.4f}" for name, value in rmse.items()))
    return {
        "task": "recommendation: how many stars",
        "data": f"MovieLens 100k, {len(train[2]):,} ratings learned from, {len(test[2]):,} to test",
        "model": "matrix factorization, neural collaborative filtering; sparse gradients",
        "figure": f"RMSE {rmse['factors']:.4f}, {rmse['neural']:.4f}",
        "baseline": f"the mean {rmse['mean']:.4f}; scikit-learn's ridge of person and film {rmse['ridge']:.4f}",
    }


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
