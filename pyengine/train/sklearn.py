"""Estimators for scikit-learn: networks of linear layers that fit, predict and are searched over like all others.

Rows that are the same count as one row with the sum of their weights, and rows are put in order before they are
shuffled: what is learned depends on the data and random_state, neither on the order of the rows nor on whether a row
comes twice or weighs 2.
"""

from contextlib import contextmanager

import numpy
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from pyengine import default_generator, manual_seed, nn, optim

from .callbacks import EarlyStopping
from .trainer import Trainer

_ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "silu": nn.SiLU}
_ROWS = 200  # of a batch, where the data has so many


class _Weighted(Trainer):
    """Batches are (inputs, targets, weights)."""

    def compute(self, batch):
        inputs, targets, weights = batch
        outputs = self.model(inputs)
        each = self.loss(outputs, targets)
        each = each if each.ndim == 1 else each.mean(1)
        return (each * weights).sum() / weights.sum(), outputs, targets


class _Network(BaseEstimator):
    def __init__(
        self, hidden_layer_sizes=(100,), activation="relu", *, dropout=0.0, learning_rate=1e-3, weight_decay=1e-2,
        batch_size="auto", max_iter=200, early_stopping=False, validation_fraction=0.1, n_iter_no_change=10,
        module=None, random_state=None,
    ):  # fmt: skip
        self.hidden_layer_sizes, self.activation, self.dropout = hidden_layer_sizes, activation, dropout
        self.learning_rate, self.weight_decay, self.batch_size = learning_rate, weight_decay, batch_size
        self.max_iter, self.early_stopping, self.validation_fraction = max_iter, early_stopping, validation_fraction
        self.n_iter_no_change, self.module, self.random_state = n_iter_no_change, module, random_state

    def fit(self, X, y, sample_weight=None):
        """Learns anew from X (n, features) and y. Returns self."""
        return self._learn(*self._checked(X, y, sample_weight, True), self.max_iter, True)

    def _learn(self, X, y, weights, epochs, anew):
        X, y, weights = _merged(X, y, weights)
        seed = check_random_state(self.random_state).randint(2**31 - 1) if anew else self.n_iter_ + 1
        with _seeded(seed):
            if anew:
                self._begin(X, y, weights)
            x = ((X - self.x_mean_) / self.x_scale_).astype("float32")
            data = x, self._targets(y), weights.astype("float32")
            train, test, callbacks = data, None, []
            if self.early_stopping and anew:
                order = numpy.random.default_rng(seed).permutation(len(x))
                count = min(len(x) - 1, max(1, round(len(x) * self.validation_fraction)))
                if count < 1:
                    raise ValueError(f"early_stopping needs 2 different rows, got n_samples = {len(x)}")
                train, test = ([part[rows] for part in data] for rows in (order[count:], order[:count]))
                callbacks = [EarlyStopping(patience=self.n_iter_no_change)]
            trainer = _Weighted(self.module_, self._loss(), self.optimizer_, callbacks=callbacks, progress=False)
            size = min(_ROWS, len(train[0])) if self.batch_size == "auto" else self.batch_size
            trainer.fit(tuple(train), test and tuple(test), epochs=epochs, batch_size=size)
        self.n_iter_ = trainer.epoch if anew else self.n_iter_ + trainer.epoch
        self.loss_curve_ = ([] if anew else self.loss_curve_) + [entry["loss"] for entry in trainer.history]
        self.module_.eval()
        return self

    def _begin(self, X, y, weights):
        """A network, and how inputs and targets are scaled."""
        self.x_mean_, self.x_scale_ = _scale(X, weights)
        width, outputs = X.shape[1], self._count_outputs(y, weights)
        if self.module is not None:
            self.module_ = self.module(width, outputs)
        else:
            if self.activation not in _ACTIVATIONS:
                raise ValueError(f"activation must be one of {sorted(_ACTIVATIONS)}, got {self.activation!r}")
            layers = []
            for hidden in self.hidden_layer_sizes:
                layers += [nn.Linear(width, hidden), _ACTIVATIONS[self.activation](), nn.Dropout(self.dropout)]
                width = hidden
            self.module_ = nn.Sequential(*layers, nn.Linear(width, outputs))
        groups = optim.decay_groups(self.module_, self.weight_decay)
        self.optimizer_ = optim.AdamW(groups, lr=self.learning_rate)

    def _outputs(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=("float64", "float32"))
        x = ((X - self.x_mean_) / self.x_scale_).astype("float32")
        return Trainer(self.module_, None, self.optimizer_).predict(x).numpy().astype("float64")


class PyEngineClassifier(ClassifierMixin, _Network):
    """A network of linear layers that tells classes apart.

    Arguments: hidden_layer_sizes; activation, "relu", "gelu", "tanh" or "silu"; dropout; learning_rate and weight_decay
    (not of biases) of AdamW; batch_size, "auto" for at most 200; max_iter, passes through the data; early_stopping,
    which keeps validation_fraction of the rows and ends after n_iter_no_change passes without a better loss on them;
    module, a function (features, outputs) -> Module for a network of your own; random_state; class_weight, a dict or
    "balanced".

    Attributes: classes_, module_, n_iter_, loss_curve_, n_features_in_.

    >>> X = numpy.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> net = PyEngineClassifier((16,), learning_rate=0.02, random_state=0)
    >>> net.fit(X, ["same", "other", "other", "same"]).predict(X).tolist()
    ['same', 'other', 'other', 'same']
    """

    def __init__(
        self, hidden_layer_sizes=(100,), activation="relu", *, dropout=0.0, learning_rate=1e-3, weight_decay=1e-2,
        batch_size="auto", max_iter=200, early_stopping=False, validation_fraction=0.1, n_iter_no_change=10,
        module=None, random_state=None, class_weight=None,
    ):  # fmt: skip
        super().__init__(
            hidden_layer_sizes, activation, dropout=dropout, learning_rate=learning_rate, weight_decay=weight_decay,
            batch_size=batch_size, max_iter=max_iter, early_stopping=early_stopping,
            validation_fraction=validation_fraction, n_iter_no_change=n_iter_no_change, module=module,
            random_state=random_state,
        )  # fmt: skip
        self.class_weight = class_weight

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """One more pass, over these rows; the first call needs all classes. Returns self."""
        anew = not hasattr(self, "module_")
        if anew and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit")
        return self._learn(*self._checked(X, y, sample_weight, anew, classes), 1, anew)

    def _checked(self, X, y, sample_weight, anew, classes=None):
        X, y = validate_data(self, X, y, dtype=("float64", "float32"), reset=anew)
        check_classification_targets(y)
        if anew:
            self.classes_ = numpy.unique(y if classes is None else classes)
        strange = numpy.setdiff1d(y, self.classes_)
        if len(strange):
            raise ValueError(f"y has the classes {strange.tolist()}, which are not among {self.classes_.tolist()}")
        weights = _check_sample_weight(sample_weight, X, dtype="float64", ensure_non_negative=True)
        if self.class_weight is not None:
            weights = weights * compute_sample_weight(self.class_weight, y)
        return X, numpy.searchsorted(self.classes_, y), weights

    def _count_outputs(self, y, weights):
        return len(self.classes_)

    def _targets(self, y):
        return y.astype("int64")

    def _loss(self):
        return nn.CrossEntropyLoss(reduction="none")

    def decision_function(self, X):
        """The network's outputs; for two classes what the second has more than the first."""
        outputs = self._outputs(X)
        return outputs[:, 1] - outputs[:, 0] if len(self.classes_) == 2 else outputs

    def predict_proba(self, X):
        """The probability of each class: (n, classes)."""
        outputs = self._outputs(X)
        shares = numpy.exp(outputs - outputs.max(1, keepdims=True))
        return shares / shares.sum(1, keepdims=True)

    def predict_log_proba(self, X):
        """The logarithms of predict_proba."""
        return numpy.log(self.predict_proba(X))

    def predict(self, X):
        """The most likely class of each row."""
        answers = self._outputs(X).argmax(1)
        return self.classes_[answers]


class PyEngineRegressor(RegressorMixin, _Network):
    """A network of linear layers for one number or several: the squares of the errors, of targets scaled to mean 0 and
    deviation 1, are made small.

    Arguments and attributes: as PyEngineClassifier's, without class_weight and classes_.

    >>> X = numpy.linspace(-1, 1, 50)[:, None]
    >>> PyEngineRegressor((32,), learning_rate=0.02, random_state=0).fit(X, X[:, 0] ** 2).score(X, X[:, 0] ** 2) > 0.99
    True
    """

    def partial_fit(self, X, y, sample_weight=None):
        """One more pass, over these rows. Returns self."""
        anew = not hasattr(self, "module_")
        return self._learn(*self._checked(X, y, sample_weight, anew), 1, anew)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _checked(self, X, y, sample_weight, anew):
        X, y = validate_data(self, X, y, dtype=("float64", "float32"), multi_output=True, y_numeric=True, reset=anew)
        if anew:
            self._flat = y.ndim == 1
        return X, y, _check_sample_weight(sample_weight, X, dtype="float64", ensure_non_negative=True)

    def _count_outputs(self, y, weights):
        y = y.reshape(len(y), -1)
        self.y_mean_, self.y_scale_ = _scale(y, weights)
        return y.shape[1]

    def _targets(self, y):
        return ((y.reshape(len(y), -1) - self.y_mean_) / self.y_scale_).astype("float32")

    def _loss(self):
        return nn.MSELoss(reduction="none")

    def predict(self, X):
        """The numbers of each row, of y's shape."""
        found = self._outputs(X) * self.y_scale_ + self.y_mean_
        return found[:, 0] if self._flat else found


def _merged(X, y, weights):
    """The different rows of X and y in order, with the sums of their weights; none whose weight is 0."""
    kept = weights > 0
    if not kept.any():
        raise ValueError("all sample weights are 0: no sample is left")
    rows = numpy.concatenate([X[kept], y[kept].reshape(kept.sum(), -1)], axis=1, dtype="float64")
    _, first, group = numpy.unique(rows, axis=0, return_index=True, return_inverse=True)
    return X[kept][first], y[kept][first], numpy.bincount(group.reshape(-1), weights[kept])


def _scale(values, weights):
    """(mean, deviation) of each column, 1 where that is 0."""
    mean = numpy.average(values, axis=0, weights=weights)
    deviation = numpy.sqrt(numpy.average((values - mean) ** 2, axis=0, weights=weights))
    return mean, numpy.where(deviation > 1e-12 * (1 + abs(mean)), deviation, 1.0)


@contextmanager
def _seeded(seed):
    """Random numbers from seed, and after it those that would have come."""
    before = default_generator.get_state()
    manual_seed(seed)
    try:
        yield
    finally:
        default_generator.set_state(before)
