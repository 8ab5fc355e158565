"""The estimators by scikit-learn's own checks, and what those do not look at."""

import importlib.util
import warnings

import numpy as np
import pytest
from require import require

import pyengine as pe

KINDS = ("PyEngineClassifier", "PyEngineRegressor")


@pytest.fixture(scope="module")
def estimators():
    require("sklearn", importlib.util.find_spec("sklearn"), "pip install scikit-learn")
    from pyengine.train import sklearn

    return sklearn


@pytest.mark.parametrize("kind", KINDS)
def test_scikit_learns_checks(estimators, kind):
    from sklearn.utils.estimator_checks import check_estimator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = check_estimator(getattr(estimators, kind)(), on_skip=None)
    done = [entry["check_name"] for entry in found if entry["status"] == "passed"]
    assert len(done) > 50 and {entry["status"] for entry in found} <= {"passed", "skipped"}


def blobs(rows=200, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, rows)
    return rng.normal(size=(rows, 2)) + 3 * np.array([[0, 0], [1, 1], [0, 2]])[labels], np.array(["a", "b", "c"])[
        labels
    ]


def test_classes_are_told_apart_in_every_way(estimators):
    from sklearn.model_selection import GridSearchCV

    X, y = blobs()
    for options in (
        {"dropout": 0.2}, {"early_stopping": True, "n_iter_no_change": 3}, {"class_weight": "balanced"},
        {"module": lambda width, outputs: pe.nn.Linear(width, outputs), "max_iter": 400}, {"activation": "gelu"},
    ):  # fmt: skip
        net = estimators.PyEngineClassifier((32,), random_state=0, learning_rate=0.01, **options).fit(X, y)
        assert net.score(*blobs(seed=1)) > 0.85 and np.allclose(net.predict_proba(X).sum(1), 1)
    assert estimators.PyEngineClassifier(max_iter=3).fit(X, y).n_iter_ == 3
    stopped = estimators.PyEngineClassifier(early_stopping=True, n_iter_no_change=2, learning_rate=0.05).fit(X, y)
    assert stopped.n_iter_ < 200 and len(stopped.loss_curve_) == stopped.n_iter_
    search = GridSearchCV(estimators.PyEngineClassifier(max_iter=5, learning_rate=0.02), {"dropout": [0.0, 0.5]}, cv=2)
    assert search.fit(X, y).best_params_["dropout"] in (0.0, 0.5)


def test_rows_pass_by_piece_by_piece(estimators):
    X, y = blobs()
    net = estimators.PyEngineClassifier((32,), learning_rate=0.02, random_state=0)
    with pytest.raises(ValueError, match="classes must be passed"):
        net.partial_fit(X, y)
    for _ in range(30):
        for part in range(0, 200, 50):
            net.partial_fit(X[part : part + 50], y[part : part + 50], ["a", "b", "c", "d"])
    assert net.score(X, y) > 0.85 and net.predict_proba(X).shape == (200, 4) and net.n_iter_ == 120
    with pytest.raises(ValueError, match="classes \\['e'\\], which are not among"):
        net.partial_fit(X[:1], ["e"])


def test_the_order_of_rows_and_the_shared_stream_do_not_matter(estimators):
    X, y = blobs(60)
    before, turned = pe.default_generator.get_state(), np.random.default_rng(3).permutation(60)
    first = estimators.PyEngineClassifier(random_state=1, dropout=0.3, max_iter=5).fit(X, y)
    second = estimators.PyEngineClassifier(random_state=1, dropout=0.3, max_iter=5).fit(X[turned], y[turned])
    assert np.array_equal(first.predict_proba(X), second.predict_proba(X))
    assert pe.default_generator.get_state() == before


def test_numbers_several_at_once(estimators):
    X = np.random.default_rng(0).uniform(-1, 1, (300, 3))
    y = np.stack([X[:, 0] * X[:, 1] * 100, X.sum(1) - 5], 1)
    net = estimators.PyEngineRegressor((64,), learning_rate=0.01, random_state=0).fit(X, y)
    assert net.predict(X).shape == (300, 2) and net.score(X, y) > 0.98
    with pytest.raises(ValueError, match=r"(?i)sample weights"):
        net.fit(X, y, sample_weight=np.zeros(300))
    with pytest.raises(ValueError, match="activation must be one of"):
        estimators.PyEngineRegressor(activation="step").fit(X, y)
