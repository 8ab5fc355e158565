"""Metrics: by hand on a few rows, and batch by batch as in one."""

import math

import numpy as np
import pytest

import pyengine as pe
from pyengine.train import metrics


def test_metrics_by_hand():
    scores = np.array([[3, 1, 0], [0, 2, 1], [1, 0, 2], [2, 1, 0], [0, 1, 2.5]], "float32")
    targets = np.array([0, 1, 1, 1, 2])  # answers 0 1 2 0 2
    of = metrics.of
    assert of(metrics.Accuracy(), scores, targets) == 0.6 and of(metrics.Accuracy(2), scores, targets) == 0.8
    assert of(metrics.ConfusionMatrix(), scores, targets) == [[1, 0, 0], [1, 1, 1], [0, 0, 1]]
    each = [2 / 3, 0.5, 2 / 3]
    assert math.isclose(of(metrics.F1(), scores, targets), sum(each) / 3)
    assert math.isclose(of(metrics.F1("weighted"), scores, targets), (each[0] + 3 * each[1] + each[2]) / 5)
    assert of(metrics.F1("micro"), scores, targets) == 0.6
    logits, truth = np.array([1.0, -1.0, 2.0, 0.5, 1.0], "float32"), np.array([1, 0, 1, 0, 0])
    assert of(metrics.Accuracy(), logits, truth) == 0.6 and of(metrics.F1("binary"), logits, truth) == 2 / 3
    assert math.isclose(of(metrics.AUROC(), logits, truth), 5.5 / 6)  # one tie
    assert math.isclose(of(metrics.AUROC(), np.stack([-logits, logits], 1), truth), 5.5 / 6)
    assert of(metrics.AUROC(), scores, targets) > 0.5 and math.isnan(of(metrics.AUROC(), logits, truth * 0))
    assert math.isclose(of(metrics.MAE(), logits, truth), 0.7)
    assert math.isclose(of(metrics.RMSE(), logits, truth), math.sqrt(0.65))
    logp = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    expected = math.exp(-np.mean(logp[range(5), targets]))
    assert math.isclose(of(metrics.Perplexity(), scores, targets), expected, rel_tol=1e-6)
    padded, more = np.concatenate([targets, [-100]]), np.concatenate([scores, scores[:1]])
    assert math.isclose(of(metrics.Perplexity(), more, padded), expected, rel_tol=1e-6)
    with pytest.raises(ValueError, match=r"accuracy: outputs of shape \(5, 3\), targets of shape \(4,\)"):
        of(metrics.Accuracy(), scores, targets[:4])
    with pytest.raises(ValueError, match="average"):
        metrics.F1("most")


def test_metrics_gather_batches():
    rng = np.random.default_rng(0)
    scores, targets = rng.normal(size=(50, 4)).astype("float32"), rng.integers(0, 4, 50)
    for kind in (metrics.Accuracy, metrics.F1, metrics.AUROC, metrics.ConfusionMatrix, metrics.Perplexity):
        metric = kind()
        for i in range(0, 50, 7):
            metric.update(pe.from_numpy(scores[i : i + 7]), pe.from_numpy(targets[i : i + 7]))
        whole = metrics.of(kind(), scores, targets)
        assert metric.compute() == whole or math.isclose(metric.compute(), whole, rel_tol=1e-6)
