"""Finance: how much will the S&P 500 move in the five days to come? (volatility; its direction nobody knows)

    python examples/finance.py

A day's variance is estimated from its four prices (Garman & Klass 1980); the logarithm of its mean over the next five
days is to be told. A small recurrent network reads the last 22 days. Beside it: the naive "as in the last five days",
and the linear model that is hard to beat, the means of a day, a week and a month (HAR, Corsi 2009), by scikit-learn.
1999 to 2010 are learned from, 2011 to 2013 say when to stop, 2014 to 2018 is the test.
"""

import sys

import numpy as np
from sklearn.linear_model import LinearRegression

import pyengine as pe
from pyengine import nn, optim
from pyengine.data import load_sp500
from pyengine.train import Trainer
from pyengine.train.callbacks import EarlyStopping

PAST, AHEAD = 22, 5


class Reader(nn.Module):
    """(N, 22, 2) -> (N): what the last days say, beside their linear part."""

    def __init__(self):
        super().__init__()
        self.gru, self.head, self.linear = nn.GRU(2, 16, batch_first=True), nn.Linear(16, 1), nn.Linear(3, 1)

    def forward(self, days, means):
        return (self.head(self.gru(days)[0][:, -1]) + self.linear(means))[:, 0]


def samples(days):
    """For each day: its past (log variance, return), HAR's means, what comes, and its year."""
    high, low = np.log(days.high / days.low), np.log(days.close / days.open)
    variance = np.maximum(0.5 * high**2 - (2 * np.log(2) - 1) * low**2, 1e-7)
    returns = np.diff(np.log(days.close), prepend=np.log(days.close[0]))
    mean = {n: np.convolve(variance, np.ones(n) / n)[: len(variance)] for n in (1, AHEAD, PAST)}  # of the n last days
    now = np.arange(PAST - 1, len(variance) - AHEAD)
    seen = np.stack([np.log(variance) + 9.5, 50 * returns], 1).astype("float32")
    past = seen[now[:, None] + np.arange(1 - PAST, 1)]
    means = np.stack([np.log(mean[n][now]) + 9.5 for n in mean], 1).astype("float32")
    coming = (np.log(mean[AHEAD][now + AHEAD]) + 9.5).astype("float32")
    return past, means, coming, days.dates[now].astype("datetime64[Y]").astype(int) + 1970


def main(quick=False, data=None):
    past, means, coming, year = samples(load_sp500(data))
    learn, judge, test = year <= 2010, (year > 2010) & (year <= 2013), year > 2013
    told = []
    for seed in range(1 if quick else 5):
        pe.manual_seed(seed)
        model = Reader()
        trainer = Trainer(model, nn.MSELoss(), optim.AdamW(model.parameters(), lr=2e-3), progress=False,
                          callbacks=[EarlyStopping(patience=8)])  # fmt: skip
        trainer.fit((past[learn], means[learn], coming[learn]), (past[judge], means[judge], coming[judge]),
                    epochs=1 if quick else 60, batch_size=64)  # fmt: skip
        with pe.no_grad():
            told.append(model.eval()(*map(pe.from_numpy, (past[test], means[test]))).numpy())
    linear = LinearRegression().fit(means[learn], coming[learn]).predict(means[test])
    answers = {"network": np.mean(told, 0), "HAR": linear, "naive": means[test, 1]}
    rmse = {name: float(np.sqrt(np.mean((answer - coming[test]) ** 2))) for name, answer in answers.items()}
    print("RMSE of the log variance of the next five days, 2014 to 2018:")
    print("\n".join(f"  {name:8} {value:.4f}" for name, value in rmse.items()))
    return {
        "task": "finance: volatility of the next five days",
        "data": f"S&P 500, {learn.sum():,} days learned from, {test.sum():,} to test",
        "model": f"GRU of 16 beside a linear part, mean of {len(told)} seeds",
        "figure": f"RMSE of log variance {rmse['network']:.4f}",
        "baseline": f"naive {rmse['naive']:.4f}; scikit-learn's linear regression (HAR) {rmse['HAR']:.4f}",
    }


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
