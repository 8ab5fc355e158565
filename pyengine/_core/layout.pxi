# Element types, and the arithmetic of shapes and strides.

cdef tuple DTYPE_NAMES = tuple(pe_dtype_name(i).decode() for i in range(PE_DTYPE_COUNT))


@cython.final
cdef class dtype:
    """An element type: `pyengine.float32`, `pyengine.int64`, ..."""
    cdef readonly int code
    cdef readonly str name

    def __repr__(self):
        return f"pyengine.{self.name}"

    def __reduce__(self):
        return dtype_of, (self.name,)

    @property
    def itemsize(self):
        """Bytes of one element."""
        return pe_dtype_size(self.code)

    @property
    def is_floating_point(self):
        """True for float32, float64, bfloat16 and float16."""
        return self.code <= PE_FLOAT16


cdef dtype new_dtype(int code):
    cdef dtype d = dtype.__new__(dtype)
    d.code = code
    d.name = DTYPE_NAMES[code]
    return d


cdef tuple DTYPES = tuple(new_dtype(i) for i in range(PE_DTYPE_COUNT))
cdef dict DTYPE_BY_NAME = {d.name: d for d in DTYPES}
cdef dict DTYPE_ALIASES = {float: "float32", int: "int64", bool: "bool"}


def dtype_of(x):
    """The element type for a name ("float32"), a dtype of ours or NumPy's, or float, int, bool."""
    if isinstance(x, dtype):
        return x
    name = DTYPE_ALIASES.get(x) if isinstance(x, type) else None
    if name is None:
        name = x if isinstance(x, str) else getattr(x, "name", None) or getattr(x, "__name__", "?")
    found = DTYPE_BY_NAME.get(name)
    if found is None:
        raise TypeError(f"unknown dtype {x!r}: one of {', '.join(DTYPE_NAMES)}")
    return found


cdef inline Tensor need(object x, str what, str argument="x"):
    """x, which operation `what` needs to be a Tensor: unlike a typed argument, the error names the operation."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{what}: {argument} must be a Tensor, got {type(x).__name__}")
    return <Tensor>x


cdef inline int64_t numel(const pe_tensor *v) noexcept nogil:
    cdef int64_t n = 1
    cdef int i
    for i in range(v.ndim):
        n *= v.shape[i]
    return n


cdef tuple shape_of(const pe_tensor *v):
    return tuple([v.shape[i] for i in range(v.ndim)])


cdef int read_shape(object shape, int64_t *out, str what) except -1:
    """Sizes from a sequence into out; the number of axes."""
    cdef int n = 0
    cdef Py_ssize_t whole  # by __index__: a float is no size
    for size in shape:
        if n == PE_MAX_DIMS:
            raise ValueError(f"{what}: at most {PE_MAX_DIMS} axes, got shape {tuple(shape)}")
        try:
            whole = size
        except TypeError:
            raise TypeError(f"{what}: sizes must be integers, got {size!r}") from None
        except OverflowError:
            raise MemoryError(f"{what}: a size of {size} is too large") from None
        if whole < 0:
            raise ValueError(f"{what}: sizes must not be negative, got shape {tuple(shape)}")
        out[n] = whole
        n += 1
    return n


cdef int fill_row_major(pe_tensor *v, str what) except -1:
    """Row-major strides for v.shape and v.dtype."""
    cdef int64_t step = <int64_t>pe_dtype_size(v.dtype)
    cdef int i
    for i in range(v.ndim - 1, -1, -1):
        v.strides[i] = step
        if v.shape[i] > 1:
            if step > <int64_t>(1 << 62) // v.shape[i]:
                raise MemoryError(f"{what}: shape {shape_of(v)} is too large")
            step *= v.shape[i]
    return 0


cdef int check_size(const pe_tensor *v, str what) except -1:
    """Raises where the number of elements (of a view that takes no memory) overflows."""
    cdef pe_tensor dense = v[0]
    cdef int i
    for i in range(v.ndim):
        if v.shape[i] == 0:
            return 0
    return fill_row_major(&dense, what)


cdef inline void extent(const pe_tensor *v, char **low, char **high) noexcept nogil:
    """The bytes that v's elements lie in: low up to, not including, high. v has elements."""
    cdef int i
    low[0], high[0] = <char *>v.data, <char *>v.data + pe_dtype_size(v.dtype)
    for i in range(v.ndim):
        if v.strides[i] < 0:
            low[0] += v.strides[i] * (v.shape[i] - 1)
        else:
            high[0] += v.strides[i] * (v.shape[i] - 1)


cdef Tensor new_tensor(const pe_tensor *layout):
    """A new tensor of layout's dtype, shape and (dense) strides; its values are not set."""
    cdef Tensor t = Tensor.__new__(Tensor)
    t.view = layout[0]
    t.storage = new_storage(<size_t>numel(layout) * pe_dtype_size(layout.dtype))
    t.view.data = t.storage.pointer
    return t


cdef Tensor new_row_major(int code, object shape, str what):
    cdef pe_tensor v
    v.dtype = code
    v.ndim = read_shape(shape, v.shape, what)
    fill_row_major(&v, what)
    cdef int i
    for i in range(v.ndim):
        if v.shape[i] == 0:  # an empty tensor may have one huge axis: no memory
            return new_tensor(&v)
    if v.ndim and v.strides[0] > 0 and v.shape[0] > <int64_t>(1 << 62) // v.strides[0]:
        raise MemoryError(f"{what}: shape {tuple(shape)} is too large")
    return new_tensor(&v)


cdef bint is_row_major(const pe_tensor *v) noexcept:
    cdef int64_t step = <int64_t>pe_dtype_size(v.dtype)
    cdef int i
    for i in range(v.ndim - 1, -1, -1):
        if v.shape[i] == 0:
            return True
        if v.shape[i] != 1:
            if v.strides[i] != step:
                return False
            step *= v.shape[i]
    return True


cdef bint is_dense(const pe_tensor *v) noexcept:
    """Some order of the axes is row-major without gaps (channels-last included)."""
    cdef int order[8]
    cdef int n = 0, i, j
    for i in range(v.ndim):
        if v.shape[i] == 0:
            return True
        if v.shape[i] != 1:
            j = n
            while j > 0 and v.strides[order[j - 1]] < v.strides[i]:
                order[j] = order[j - 1]
                j -= 1
            order[j] = i
            n += 1
    cdef int64_t step = <int64_t>pe_dtype_size(v.dtype)
    for i in range(n - 1, -1, -1):
        if v.strides[order[i]] != step:
            return False
        step *= v.shape[order[i]]
    return True


cdef Tensor empty_like(const pe_tensor *v, int code):
    """A new tensor of v's shape; of v's memory format too where v is dense."""
    cdef pe_tensor layout = v[0]
    cdef int64_t size, old
    cdef int i
    if code != v.dtype:
        size, old = <int64_t>pe_dtype_size(code), <int64_t>pe_dtype_size(v.dtype)
        layout.dtype = code
        for i in range(v.ndim):
            layout.strides[i] = v.strides[i] // old * size
    if not is_dense(v) or numel(v) == 0:  # empty arrays of NumPy have steps of 0
        fill_row_major(&layout, "empty_like")
    return new_tensor(&layout)


cdef Tensor clone(Tensor x):
    """A copy with memory of its own, in x's memory format; off the tape."""
    cdef Tensor out = empty_like(&x.view, x.view.dtype)
    copy_into(&x.view, &out.view)
    return out


cdef inline bint same_shape(const pe_tensor *a, const pe_tensor *b) noexcept nogil:
    cdef int i
    if a.ndim != b.ndim:
        return False
    for i in range(a.ndim):
        if a.shape[i] != b.shape[i]:
            return False
    return True


cdef inline bint same_strides(const pe_tensor *a, const pe_tensor *b) noexcept nogil:
    """Of the same shape: steps along axes of size 1 do not matter."""
    cdef int i
    for i in range(a.ndim):
        if a.shape[i] > 1 and a.strides[i] != b.strides[i]:
            return False
    return True
