"""Columns of tables: standardized numbers beside scikit-learn, categories as zeros and ones."""

import numpy as np
import pytest

import pyengine as pe
from pyengine.data import transforms as T
from pyengine.io import load_checkpoint, save_checkpoint

X = np.random.default_rng(0).normal([3.0, -1e6, 0.0], [2.0, 1e-2, 1e4], (50, 3))


def test_standardized_as_scikit_learn_does():
    preprocessing = pytest.importorskip("sklearn.preprocessing", reason="pip install scikit-learn")
    x = X.copy()
    x[3, 0] = x[9, 2] = np.nan
    theirs, ours = preprocessing.StandardScaler().fit(x), T.Standardize().fit(x)
    assert np.allclose(ours.mean, theirs.mean_, rtol=1e-12) and np.allclose(ours.deviation, theirs.scale_, rtol=1e-8)
    assert np.allclose(ours(x), theirs.transform(x), atol=1e-5, equal_nan=True) and ours(x).dtype == np.float32


def test_there_and_back():
    scale = T.Standardize().fit(X)
    z = scale.transform(X)
    assert np.allclose(z.mean(0), 0, atol=1e-5) and np.allclose(z.std(0), 1, atol=1e-5)
    assert np.allclose(scale.inverse(z), X, rtol=1e-6, atol=1e-2)
    tensor = scale(pe.from_numpy(X.astype("float32")), "labels")
    assert (
        isinstance(tensor[0], pe.Tensor) and tensor[1] == "labels" and isinstance(scale.inverse(tensor[0]), pe.Tensor)
    )
    assert np.array_equal(T.Standardize().fit(pe.from_numpy(X)).mean, scale.mean)


def test_constant_columns_become_zero():
    x = np.stack([np.full(7, 0.1), np.arange(7), np.full(7, -3e8), np.zeros(7)], 1)
    scale = T.Standardize().fit(x)
    assert scale.mean.tolist() == [0.1, 3.0, -3e8, 0.0] and scale.deviation.tolist() == [1.0, 2.0, 1.0, 1.0]
    z = scale(x)
    assert not z[:, [0, 2, 3]].any() and np.array_equal(
        scale.inverse(z)[:, [0, 2, 3]], x[:, [0, 2, 3]].astype("float32")
    )
    assert T.Standardize().fit(np.int64([[1], [3]]))(np.int64([[5]])).tolist() == [[3.0]]


def test_what_was_learned_is_kept(tmp_path):
    scale, again = T.Standardize().fit(X), T.Standardize()
    save_checkpoint(tmp_path / "c", scale=scale)
    load_checkpoint(tmp_path / "c", scale=again)
    assert np.array_equal(scale(X), again(X)) and T.Standardize().state_dict() == {}


def test_one_column_a_category():
    kinds = np.array([[3, 1], [1, 1], [7, 0]])
    hot = T.OneHot().fit(kinds)
    found = hot.transform(kinds)
    assert found.tolist() == [[0, 1, 0, 0, 1], [1, 0, 0, 0, 1], [0, 0, 1, 1, 0]] and found.dtype == np.float32
    assert [c.tolist() for c in hot.categories] == [[1, 3, 7], [0, 1]]
    assert np.array_equal(hot.inverse(found), kinds) and np.array_equal(hot.inverse(pe.from_numpy(found)), kinds)
    sklearn = pytest.importorskip("sklearn.preprocessing", reason="pip install scikit-learn")
    words = np.random.default_rng(0).choice(["north", "east", "süd"], (40, 2))
    theirs = sklearn.OneHotEncoder(sparse_output=False).fit_transform(words)
    assert np.array_equal(T.OneHot().fit(words).transform(words), theirs)
    assert T.OneHot().fit(words[:, 0]).inverse(theirs[:, :3]).tolist() == words[:, 0].tolist()


@pytest.mark.parametrize("call, error, text", [
    (lambda: T.Standardize()(X), RuntimeError, r"fit\(\) comes first"),
    (lambda: T.Standardize().fit(X[0]), ValueError, r"numbers of shape \(n, columns\).*float64 of shape \(3,\)"),
    (lambda: T.Standardize().fit([["a"]]), ValueError, "numbers of shape"),
    (lambda: T.Standardize().fit(X[:0]), ValueError, r"no rows in shape \(0, 3\)"),
    (lambda: T.Standardize().fit([[np.inf]]), ValueError, "infinities"),
    (lambda: T.Standardize().fit([[1.0, np.nan]]), ValueError, "column 1 of shape .1, 2. has no number"),
    (lambda: T.Standardize().fit(X)(X[:, :2]), ValueError, r"3 columns were fitted, got shape \(50, 2\)"),
    (lambda: T.OneHot().transform([1]), RuntimeError, r"fit\(\) comes first"),
    (lambda: T.OneHot().fit([1.5]), ValueError, "text or whole numbers.*float64"),
    (lambda: T.OneHot().fit([]), ValueError, "text or whole numbers"),
    (lambda: T.OneHot().fit(["Ulm", "Bonn"]).transform(["Köln"]), ValueError, "'Köln' is no category .* in column 0"),
    (lambda: T.OneHot().fit([[1, 2]]).transform([1]), ValueError, r"2 columns were fitted, got shape \(1, 1\)"),
    (lambda: T.OneHot().fit([1, 2]).transform([9]), ValueError, "9 is no category"),
    (lambda: T.OneHot().fit([1, 2]).inverse([1.0, 0.0]), ValueError, r"shape \(n, 2\) is needed, got \(2,\)"),
])  # fmt: skip
def test_tables_that_cannot_be(call, error, text):
    with pytest.raises(error, match=text):
        call()
