"""Images read at points of a grid: affine_grid and grid_sample. (Jaderberg et al., 2015)

The points' corners are found once; each corner's elements are gathered by index, weighted and added, so that the
gradients of image and grid follow from those of gather and of products."""

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._arguments import integers
from pyengine.ops._method import tensor_only
from pyengine.ops.create import arange
from pyengine.ops.fallback import _index
from pyengine.ops.product import matmul
from pyengine.ops.rounding import where
from pyengine.ops.shape import cat


def _centres(n: int, align_corners: bool) -> Tensor:
    """Where n elements lie in [-1, 1]."""
    at = arange(n).float()
    if align_corners:
        return at * (2.0 / (n - 1)) - 1.0 if n > 1 else at * 0.0
    return (at * 2.0 + 1.0) / float(n) - 1.0


def affine_grid(theta: Tensor, size, align_corners: bool | None = None) -> Tensor:
    """The points that matrices theta map an image's or volume's own points to, for `grid_sample`.

    Shape: theta (n, 2, 3) and size (n, c, h, w) -> (n, h, w, 2), or (n, 3, 4) and (n, c, d, h, w) -> (n, d, h, w, 3).
    """
    size = integers(size, "affine_grid", "size")
    axes = len(size) - 2
    if axes not in (2, 3):
        raise NotImplementedError(f"affine_grid: size needs 4 or 5 entries, got {size}")
    if tensor_only(theta, "affine_grid", "theta").shape != (size[0], axes, axes + 1) or not theta.is_floating_point():
        raise ValueError(
            f"affine_grid: theta of shape {theta.shape} and {theta.dtype.name} does not fit size {size}: floats "
            f"({size[0]}, {axes}, {axes + 1}) are needed"
        )
    if min(size) <= 0:
        raise ValueError(f"affine_grid: sizes must be positive, got {size}")
    space = size[2:]
    columns = []
    for axis in reversed(range(axes)):
        line = _core.reshape(_centres(space[axis], bool(align_corners)), [-1 if i == axis else 1 for i in range(axes)])
        columns.append(_core.reshape(_core.expand(line, space), (-1, 1)))
    points = cat([*columns, _core.full((columns[0].shape[0], 1), 1.0)], 1)
    return _core.reshape(matmul(points, _core.transpose(theta, 1, 2)), (size[0], *space, axes))


def _reflected(x: Tensor, low: float, high: float) -> Tensor:
    """x mirrored at low and high until it lies between them."""
    span = high - low
    if span <= 0:
        return x * 0.0
    distance = (x - low).abs()
    turns = (distance.detach() / span).floor()
    rest = distance - turns * span
    even = (turns * 0.5).floor() * 2.0 == turns
    return where(even, rest + low, high - rest)


def _held(x: Tensor, low: float, high: float) -> Tensor:
    """x between low and high; no gradient outside, and a NaN becomes low, as in torch."""
    inside = (x.detach() > low).logical_and(x.detach() < high)
    return where(inside, x, where(x.detach() >= high, float(high), float(low)))


def _within(x: Tensor, n: int, padding: str, align: bool) -> Tensor:
    """Places moved into the image as padding_mode says."""
    if padding == "reflection":
        x = _reflected(x, 0.0, n - 1.0) if align else _reflected(x, -0.5, n - 0.5)
    return x if padding == "zeros" else _held(x, 0.0, n - 1.0)


class _Reader:
    """An image of one sample size; reads the elements at whole places, 0 outside."""

    def __init__(self, image: Tensor, points: int):
        import numpy

        n, self.c, *self.space = image.shape
        self.rows = image.movedim(1, -1)
        self.sample = numpy.broadcast_to(numpy.arange(n)[:, None], (n, points))

    def read(self, places: list) -> Tensor:
        """(n, points, c) at whole places, one array an axis."""
        import numpy

        inside = numpy.ones(self.sample.shape, bool)
        index = [self.sample]
        for at, size in zip(places, self.space, strict=True):
            inside &= (at >= 0) & (at < size)
            index.append(numpy.where(inside, at, 0).clip(0, size - 1).astype("int64"))
        values = _index(self.rows, tuple(index))
        return where(_core.from_numpy(inside[..., None].copy()), values, 0.0)


def _linear_taps(x: Tensor, _) -> list:
    """(whole place, weight) of the two neighbours."""
    floor = x.detach().floor()
    part = x - floor
    whole = floor.numpy()
    return [(whole, 1.0 - part), (whole + 1, part)]


def _nearest_taps(x: Tensor, _) -> list:
    return [(x.detach().round().numpy(), None)]


def _cubic_taps(x: Tensor, hold) -> list:
    """The four neighbours by the convolution kernel of Keys (1981), a = -0.75; hold moves whole places inside."""
    floor, a, taps = x.detach().floor(), -0.75, []
    part = x - floor
    for k in range(-1, 3):
        t = (part - float(k)).abs()
        near, far = ((a + 2) * t - (a + 3)) * t * t + 1.0, ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
        weight = near if k in (0, 1) else far
        taps.append((hold(floor + float(k)).numpy(), weight))
    return taps


_TAPS = {"bilinear": _linear_taps, "nearest": _nearest_taps, "bicubic": _cubic_taps}


def grid_sample(
    input: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None
) -> Tensor:
    """Images at the points of grid, whose last axis is (x, y) or (x, y, z) in [-1, 1].

    Arguments: mode, "bilinear", "nearest" or (images only) "bicubic"; padding_mode, "zeros", "border" or "reflection".
    Shape: (n, c, h, w), grid (n, p, q, 2) -> (n, c, p, q); (n, c, d, h, w), grid (n, o, p, q, 3) -> (n, c, o, p, q).
    """
    _check_grid(input, grid, mode, padding_mode)
    (n, c, *space), out = input.shape, grid.shape[1:-1]
    axes, align = len(space), bool(align_corners)
    places = _core.reshape(grid, (n, -1 if n else 0, axes))
    reader, taps = _Reader(input, places.shape[1]), []
    for axis, size in enumerate(space):
        x = places[:, :, axes - 1 - axis]
        x = (x + 1.0) * ((size - 1) / 2.0) if align else ((x + 1.0) * float(size) - 1.0) * 0.5

        def hold(at, size=size):
            return _within(at, size, padding_mode, align)

        taps.append(_TAPS[mode](x if mode == "bicubic" else hold(x), hold))
    total = _added(reader, taps, [], None)
    return _core.reshape(_core.permute(total, (0, 2, 1)), (n, c, *out))


def _added(reader: _Reader, taps: list, places: list, weight) -> Tensor:
    """The sum over all combinations of the axes' taps."""
    if len(places) == len(taps):
        values = reader.read(places)
        return values if weight is None else values * weight.unsqueeze(-1)
    total = None
    for place, part in taps[len(places)]:
        both = part if weight is None else weight if part is None else weight * part
        term = _added(reader, taps, [*places, place], both)
        total = term if total is None else total + term
    assert total is not None
    return total


def _check_grid(input: Tensor, grid: Tensor, mode: str, padding_mode: str) -> None:
    tensor_only(input, "grid_sample", "input")
    tensor_only(grid, "grid_sample", "grid")
    if mode not in _TAPS or padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(f"grid_sample: no mode {mode!r} with padding_mode {padding_mode!r}")
    axes = input.ndim - 2
    if axes not in (2, 3) or grid.ndim != input.ndim or grid.shape[-1] != axes or grid.shape[0] != input.shape[0]:
        raise RuntimeError(f"grid_sample: shapes {input.shape} and {grid.shape} do not fit")
    if input.dtype is not grid.dtype:
        raise RuntimeError(f"grid_sample: dtypes {input.dtype.name} and {grid.dtype.name} differ")
    if 0 in input.shape[2:]:
        raise RuntimeError(f"grid_sample: an image of nothing, shape {input.shape}")
    if mode == "bicubic" and axes == 3:
        raise RuntimeError(f"grid_sample: bicubic takes images, got shape {input.shape}")
