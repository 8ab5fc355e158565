"""Columns of tables as networks like them: standardized numbers, categories as zeros and ones."""

import numpy

from pyengine import Tensor, from_numpy

from .base import Transform, as_given


class Standardize(Transform):
    """(x - mean) / deviation, column by column, of the rows that fit() saw; a constant column becomes 0.

    Missing numbers (NaN) do not count in fit() and stay NaN. state_dict() keeps what was learned for checkpoints.

    Shape: (n, columns) floats or whole numbers -> (n, columns) float32; sums are float64.
    Errors: ValueError for infinities, columns without numbers, another number of columns; RuntimeError before fit().

    >>> scaled = Standardize().fit([[1.0, 5.0], [3.0, 5.0]])
    >>> scaled(numpy.float32([[3.0, 5.0]])).tolist(), scaled.inverse([[-1.0, 0.0]]).tolist()
    ([[1.0, 0.0]], [[1.0, 5.0]])
    """

    mean = deviation = None

    def fit(self, x):
        """Learns means and deviations (of the whole, divided by n). Returns self."""
        x = self._table(x)
        if numpy.isinf(x).any() or not len(x):
            raise ValueError(f"Standardize.fit: finite numbers are needed, got {'infinities' if len(x) else 'no rows'} "
                             f"in shape {x.shape}")  # fmt: skip
        seen = ~numpy.isnan(x)
        count = seen.sum(0)
        if not count.all():
            raise ValueError(f"Standardize.fit: column {int(count.argmin())} of shape {x.shape} has no number")
        mean = numpy.where(seen, x, 0.0).sum(0) / count
        deviation = numpy.sqrt((numpy.where(seen, x - mean, 0.0) ** 2).sum(0) / count)
        least, most = numpy.nanmin(x, 0), numpy.nanmax(x, 0)
        # asked of the numbers themselves: rounding leaves a constant column a tiny deviation
        self.mean = numpy.where(least == most, least, mean)
        self.deviation = numpy.where(least == most, 1.0, deviation)
        return self

    def apply(self, x, generator):
        x = self._fitted(x)
        return ((x - self.mean) / self.deviation).astype("float32")

    def transform(self, x):
        """The standardized x, as calling does."""
        return self(x if isinstance(x, Tensor) else numpy.asarray(x))

    def inverse(self, x):
        """x as it was: mean + deviation x, float32."""
        array = self.array(x) if isinstance(x, Tensor) else numpy.asarray(x)
        return as_given((self._fitted(array) * self.deviation + self.mean).astype("float32"), x)

    def state_dict(self):
        """Means and deviations, or nothing before fit()."""
        if self.mean is None:
            return {}
        return {"mean": from_numpy(self.mean), "deviation": from_numpy(self.deviation)}

    def load_state_dict(self, state_dict):
        """Takes over what another one has learned."""
        self.mean, self.deviation = (
            state_dict[name].numpy().copy() if state_dict else None for name in ("mean", "deviation")
        )

    def _table(self, x):
        x = numpy.asarray(x.numpy() if isinstance(x, Tensor) else x)
        if x.ndim != 2 or x.dtype.kind not in "fiub":
            raise ValueError(f"Standardize: numbers of shape (n, columns) are needed, got {x.dtype} of shape {x.shape}")
        return x.astype("float64")

    def _fitted(self, x):
        if self.mean is None:
            raise RuntimeError("Standardize: fit() comes first")
        x = self._table(x)
        if x.shape[1] != len(self.mean):
            raise ValueError(f"Standardize: {len(self.mean)} columns were fitted, got shape {x.shape}")
        return x


class OneHot:
    """Columns of categories (text or whole numbers) as zeros and ones: a column for each category that fit() saw, in
    order.

    Shape: (n,) or (n, columns) -> (n, categories of all columns) float32.
    Errors: ValueError that names a category which fit() did not see; RuntimeError before fit().

    >>> towns = OneHot().fit(["Ulm", "Bonn", "Ulm"])
    >>> towns.transform(["Bonn", "Ulm"]).tolist(), towns.inverse([[0.0, 1.0]]).tolist()
    ([[1.0, 0.0], [0.0, 1.0]], ['Ulm'])
    """

    categories = None

    def fit(self, x):
        """Learns the categories of each column: `categories`, sorted arrays. Returns self."""
        table, self.flat = _categories(x)
        self.categories = [numpy.unique(column) for column in table.T]
        return self

    def transform(self, x):
        """The zeros and ones of x's rows."""
        known, (table, _) = self._known(), _categories(x)
        if table.shape[1] != len(known):
            raise ValueError(f"OneHot: {len(known)} columns were fitted, got shape {table.shape}")
        parts = []
        for number, (column, among) in enumerate(zip(table.T, known, strict=True)):
            place = numpy.searchsorted(among, column).clip(max=len(among) - 1)
            if (among[place] != column).any():
                new = column[among[place] != column][0].item()
                raise ValueError(f"OneHot: {new!r} is no category that fit() saw in column {number}")
            parts.append(numpy.eye(len(among), dtype="float32")[place])
        return numpy.concatenate(parts, 1)

    def inverse(self, x):
        """The category of the greatest number in each column's stretch of x (n, categories of all columns)."""
        known, x = self._known(), numpy.asarray(x.numpy() if isinstance(x, Tensor) else x)
        ends = numpy.cumsum([len(among) for among in known])
        if x.ndim != 2 or x.shape[1] != ends[-1]:
            raise ValueError(f"OneHot.inverse: shape (n, {ends[-1]}) is needed, got {x.shape}")
        columns = [among[part.argmax(1)] for among, part in zip(known, numpy.split(x, ends[:-1], 1), strict=True)]
        return columns[0] if self.flat else numpy.stack(columns, 1)

    def _known(self):
        if self.categories is None:
            raise RuntimeError("OneHot: fit() comes first")
        return self.categories


def _categories(x):
    """(x as a table, whether it was one column)."""
    x = numpy.asarray(x.numpy() if isinstance(x, Tensor) else x)
    if x.ndim not in (1, 2) or not x.size or x.dtype.kind not in "iubU":
        raise ValueError(f"OneHot: text or whole numbers of shape (n,) or (n, columns) are needed, got {x.dtype} of "
                         f"shape {x.shape}")  # fmt: skip
    return (x[:, None] if x.ndim == 1 else x), x.ndim == 1
