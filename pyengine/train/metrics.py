"""Metrics: numbers about a model's outputs and their targets, gathered batch by batch."""

import math

from pyengine import no_grad


class Metric:
    """The base of metrics: a subclass writes `start()`, the state that nothing was added to; `add(state, outputs,
    targets)`, which changes it by one batch; and `value(state)`. Outputs come detached, as NumPy arrays."""

    name = ""

    def __init__(self):
        self.name = self.name or type(self).__name__.lower()
        self.reset()

    def reset(self):
        """Forgets all batches."""
        self.state = self.start()

    @no_grad()
    def update(self, outputs, targets):
        """Takes in one batch, tensors or arrays."""
        arrays = [x.detach().float().numpy() if hasattr(x, "detach") and x.dtype.name in ("bfloat16", "float16")
                  else x.detach().numpy() if hasattr(x, "detach") else x for x in (outputs, targets)]  # fmt: skip
        if len(arrays[0]) != len(arrays[1]):
            raise ValueError(f"{self.name}: outputs of shape {arrays[0].shape}, targets of shape {arrays[1].shape}")
        self.add(self.state, *arrays)

    def compute(self):
        """The metric of all batches since reset()."""
        return self.value(self.state)


def of(metric, outputs, targets):
    """The value of metric (one that has seen nothing) on these outputs and targets.

    >>> import numpy
    >>> of(Accuracy(), numpy.array([[0.9, 0.1], [0.2, 0.8]]), numpy.array([0, 0]))
    0.5
    """
    metric.reset()
    metric.update(outputs, targets)
    return metric.compute()


def _classes(outputs):
    """The most likely class of each row: of scores (N, classes), or of one logit a row, positive for class 1."""
    if outputs.ndim > 1 and outputs.shape[1] > 1:
        return outputs.argmax(1)
    return (outputs.reshape(len(outputs), -1)[:, 0] > 0).astype("int64")


def _labels(targets):
    """The class of each row: of labels as they are, of shares (N, classes), as MixUp makes them, the greatest one's."""
    shares = targets.ndim == 2 and targets.shape[1] > 1 and targets.dtype.kind == "f"
    return targets.argmax(1) if shares else targets.reshape(-1)


class Accuracy(Metric):
    """The share of rows whose target is among the top_k highest scores."""

    def __init__(self, top_k=1):
        self.top_k, self.name = top_k, "accuracy" if top_k == 1 else f"top_{top_k}"
        super().__init__()

    def start(self):
        return {"right": 0, "seen": 0}

    def add(self, state, outputs, targets):
        targets = _labels(targets)
        if self.top_k == 1:
            right = _classes(outputs) == targets
        else:
            own = outputs[range(len(targets)), targets][:, None]
            right = (outputs > own).sum(1) < self.top_k
        state["right"] += int(right.sum())
        state["seen"] += right.size

    def value(self, state):
        return state["right"] / state["seen"] if state["seen"] else math.nan


class ConfusionMatrix(Metric):
    """counts[target][answer], as nested lists."""

    name = "confusion"

    def start(self):
        return {"counts": []}

    def add(self, state, outputs, targets):
        import numpy

        answers, targets = _classes(outputs).reshape(-1), _labels(targets).astype("int64")
        width = outputs.shape[1] if outputs.ndim > 1 else 2
        size = max(2, width, len(state["counts"]), int(targets.max(initial=0)) + 1)
        if targets.min(initial=0) < 0:
            raise ValueError(f"{self.name}: a target is {targets.min()}")
        counts = numpy.bincount(targets * size + answers, minlength=size * size).reshape(size, size)
        before = numpy.zeros((size, size), "int64")
        if state["counts"]:
            before[: len(state["counts"]), : len(state["counts"])] = state["counts"]
        state["counts"] = (before + counts).tolist()

    def value(self, state):
        return state["counts"]


class F1(ConfusionMatrix):
    """2 TP / (2 TP + FP + FN): its mean over the classes ("macro"), the mean weighted by the classes' sizes
    ("weighted"), of all counts together ("micro"), or class 1's ("binary"); 0 for a class that nobody has or names."""

    name = "f1"

    def __init__(self, average="macro"):
        if average not in ("macro", "weighted", "micro", "binary"):
            raise ValueError(f"F1: average must be macro, weighted, micro or binary, got {average!r}")
        self.average = average
        super().__init__()

    def value(self, state):
        import numpy

        counts = numpy.array(state["counts"] or [[0, 0], [0, 0]])
        hits, named, true = counts.diagonal(), counts.sum(0), counts.sum(1)
        if self.average == "micro":
            return float(hits.sum() / max(1, true.sum()))
        each = 2 * hits / numpy.maximum(1, named + true)
        if self.average == "binary":
            return float(each[1])
        if self.average == "macro":
            return float(each[(named + true) > 0].mean()) if counts.any() else math.nan
        return float((each * true).sum() / max(1, true.sum()))


class AUROC(Metric):
    """The probability that a row of the class has a higher score than another row (ties count half): of class 1 for
    one score or two a row, else the mean over the classes, by their softmax. (Hanley & McNeil 1982)"""

    def start(self):
        return {"scores": [], "targets": []}

    def add(self, state, outputs, targets):
        state["scores"].append(outputs.reshape(len(outputs), -1).copy())
        state["targets"].append(_labels(targets).copy())

    def value(self, state):
        import numpy

        if not state["targets"]:
            return math.nan
        scores = numpy.concatenate([numpy.asarray(x) for x in state["scores"]]).astype("float64")
        targets = numpy.concatenate([numpy.asarray(x) for x in state["targets"]])
        if scores.shape[1] < 3:
            return _rank_area(scores[:, -1] - (scores[:, 0] if scores.shape[1] == 2 else 0), targets == 1)
        scores = numpy.exp(scores - scores.max(1, keepdims=True))
        scores /= scores.sum(1, keepdims=True)
        areas = [_rank_area(scores[:, k], targets == k) for k in range(scores.shape[1])]
        return float(numpy.mean([area for area in areas if not math.isnan(area)] or [math.nan]))


def _rank_area(scores, positive):
    import numpy

    _, place, counts = numpy.unique(scores, return_inverse=True, return_counts=True)
    ranks = (numpy.cumsum(counts) - (counts - 1) / 2)[place]
    ones = int(positive.sum())
    pairs = ones * (len(scores) - ones)
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / pairs) if pairs else math.nan


class MAE(Metric):
    """The mean of |output - target|."""

    def start(self):
        return {"sum": 0.0, "count": 0}

    def add(self, state, outputs, targets):
        error = self._error(outputs.astype("float64") - targets.reshape(outputs.shape))
        state["sum"] += float(error.sum())
        state["count"] += error.size

    def _error(self, difference):
        return abs(difference)

    def value(self, state):
        return state["sum"] / state["count"] if state["count"] else math.nan


class RMSE(MAE):
    """The square root of the mean of (output - target)^2."""

    def _error(self, difference):
        return difference**2

    def value(self, state):
        return math.sqrt(super().value(state))


class Perplexity(MAE):
    """exp of the mean cross entropy: of scores (N, classes) or (N, classes, ...), without the targets ignore_index."""

    def __init__(self, ignore_index=-100):
        self.ignore_index = ignore_index
        super().__init__()

    def add(self, state, outputs, targets):
        from pyengine import from_numpy
        from pyengine.nn.functional import cross_entropy

        loss = cross_entropy(from_numpy(outputs), from_numpy(targets), ignore_index=self.ignore_index, reduction="sum")
        state["sum"] += loss.item()
        state["count"] += int((targets != self.ignore_index).sum())

    def value(self, state):
        mean = super().value(state)
        return math.exp(mean) if mean < 700 else math.inf if mean == mean else math.nan
