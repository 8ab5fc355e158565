# Memory formats: how the elements of a dense tensor lie. The shape as seen never changes, strides say it all.

@cython.final
cdef class memory_format:
    """How a dense tensor's elements lie: `pyengine.contiguous_format` (row-major), `channels_last` (N, H, W, C for a
    tensor of shape (N, C, H, W)), `channels_last_3d` (one axis of space more), `preserve_format` (as they lie)."""
    cdef readonly str name
    cdef int axes               # how many a tensor must have; 0: any number

    def __repr__(self):
        return f"pyengine.{self.name}"

    def __reduce__(self):
        return self.name


cdef memory_format new_format(str name, int axes=0):
    cdef memory_format f = memory_format.__new__(memory_format)
    f.name, f.axes = name, axes
    return f


contiguous_format = new_format("contiguous_format")
preserve_format = new_format("preserve_format")
channels_last = new_format("channels_last", 4)
channels_last_3d = new_format("channels_last_3d", 5)


cdef memory_format read_format(object given, str what):
    if not isinstance(given, memory_format):
        raise TypeError(f"{what}: memory_format must be a pyengine.memory_format, got {given!r}")
    return <memory_format>given


cdef bint channels_fastest(const pe_tensor *v) noexcept:
    """Dense, with the channels (axis 1) fastest and the other axes in their order. It may be row-major as well."""
    cdef int64_t step = <int64_t>pe_dtype_size(v.dtype)
    cdef int i, axis
    for i in range(v.ndim):
        axis = 1 if i == 0 else v.ndim - i if i < v.ndim - 1 else 0
        if v.shape[axis] != 1:
            if v.strides[axis] != step:
                return False
            step *= v.shape[axis]
    return True


cdef inline bint is_channels_last(const pe_tensor *v) noexcept:
    """channels_fastest, and not row-major as well. Any number of axes of space."""
    return v.ndim >= 3 and channels_fastest(v) and not is_row_major(v)


cdef bint lies_as(const pe_tensor *v, memory_format format) noexcept:
    return (v.ndim == format.axes and channels_fastest(v)) if format.axes else is_row_major(v)


cdef int lay_out(pe_tensor *v, bint channels_last, str what) except -1:
    """Strides for v.shape and v.dtype, row-major or with the channels fastest."""
    cdef int64_t step = <int64_t>pe_dtype_size(v.dtype)
    cdef int i
    fill_row_major(v, what)
    if channels_last and numel(v):
        v.strides[1] = step
        step *= v.shape[1]
        for i in range(v.ndim - 1, 1, -1):
            v.strides[i] = step
            step *= v.shape[i]
        v.strides[0] = step
    return 0


cdef int format_as(pe_tensor *v, memory_format format, str what) except -1:
    """lay_out for a format that a user named; RuntimeError, as torch's, where it does not fit the rank."""
    if format.axes and v.ndim != format.axes:
        raise RuntimeError(f"{what}: a tensor of {format.axes} axes is required for {format.name}, got shape "
                           f"{shape_of(v)}")
    return lay_out(v, format.axes != 0, what)


cdef Tensor like(const pe_tensor *v, int code, object format, str what):
    """A new tensor of v's shape. format None or preserve_format: of v's format where v is dense."""
    cdef pe_tensor layout
    if format is None or read_format(format, what) is preserve_format:
        return empty_like(v, code)
    layout = v[0]
    layout.dtype = code
    format_as(&layout, <memory_format>format, what)
    return new_tensor(&layout)


def new_like(Tensor x, value=None, dtype=None, memory_format=None, str what="new_like"):
    """A new tensor of x's shape with every element equal to value (None: they are not set). memory_format None is
    preserve_format."""
    cdef Tensor out = like(&x.view, x.view.dtype if dtype is None else dtype_of(dtype).code, memory_format, what)
    if value is not None:
        fill(out, scalar(value, out.view.dtype))
    return out


def new_image_like(Tensor x, shape, value=None):
    """A new tensor of x's dtype and another shape of as many axes; its channels lie last where x's do."""
    cdef Tensor out = new_row_major(x.view.dtype, shape, "new_image_like")
    if out.view.ndim == x.view.ndim and is_channels_last(&x.view):
        lay_out(&out.view, True, "new_image_like")
    if value is not None:
        fill(out, scalar(value, out.view.dtype))
    return out


def has_channels_last(Tensor x):
    """True where x is dense with its channels (axis 1) fastest, and not row-major as well."""
    return is_channels_last(&x.view)
