# The border with Python and NumPy: making tensors, reading elements, sharing memory both ways.

# buffer formats of the element types; bfloat16 crosses as uint16
cdef dict FORMATS = {
    "f": PE_FLOAT32, "d": PE_FLOAT64, "e": PE_FLOAT16, "b": PE_INT8, "h": PE_INT16, "i": PE_INT32,
    "q": PE_INT64, "B": PE_UINT8, "?": PE_BOOL, "l": PE_INT64 if sizeof(long) == 8 else PE_INT32,
}
cdef list FORMAT_BYTES = [b"f", b"d", b"H", b"e", b"b", b"h", b"i", b"q", b"B", b"?"]
cdef dict fallbacks = {}  # what is not hot and done with NumPy: name -> function, filled by ops


def set_fallback(str name, function):
    """Names the function that does what the kernels do not: "index", "index_put", "arithmetic"."""
    fallbacks[name] = function


cdef class BufferHold:
    """Keeps a foreign buffer open while a Storage uses it."""
    cdef Py_buffer buffer
    cdef bint open

    def __dealloc__(self):
        if self.open:
            PyBuffer_Release(&self.buffer)


cdef Tensor from_buffer(object array):
    """A tensor on the memory of a buffer-protocol object."""
    cdef BufferHold hold = BufferHold.__new__(BufferHold)
    cdef Tensor t = Tensor.__new__(Tensor)
    cdef Py_buffer *b = &hold.buffer
    cdef int i
    cdef bint readonly = False
    try:
        PyObject_GetBuffer(array, b, PyBUF_STRIDES | PyBUF_FORMAT | PyBUF_WRITABLE)
    except (BufferError, ValueError):
        try:
            PyObject_GetBuffer(array, b, PyBUF_STRIDES | PyBUF_FORMAT)
        except (BufferError, ValueError) as error:  # dates, for example
            raise TypeError(f"from_numpy: {error}") from None
        readonly = True
    hold.open = True
    text = b.format.decode() if b.format != NULL else "B"
    code = FORMATS.get(text.lstrip("@=<" if little_endian() else "@=>"))
    if code is None or pe_dtype_size(code) != <size_t>b.itemsize:
        raise TypeError(f"from_numpy: no tensor has element format {text!r}; "
                        f"one of {', '.join(DTYPE_NAMES)} (native byte order)")
    if b.ndim > PE_MAX_DIMS:
        raise ValueError(f"from_numpy: at most {PE_MAX_DIMS} axes, got {b.ndim}")
    t.view.dtype, t.view.ndim, t.view.data = code, b.ndim, b.buf
    for i in range(b.ndim):
        t.view.shape[i], t.view.strides[i] = b.shape[i], b.strides[i]
        if b.shape[i] <= 1:
            t.view.strides[i] = b.itemsize  # never taken, and NumPy leaves anything there
        elif b.strides[i] % b.itemsize:
            raise ValueError(f"from_numpy: strides {tuple([b.strides[j] for j in range(b.ndim)])} are not whole "
                             f"elements of {b.itemsize} bytes; pass a copy")
    if b.len and <size_t>b.buf % <size_t>b.itemsize:  # nothing has no address to align
        raise ValueError("from_numpy: the array is not aligned to its elements; pass a copy")
    if b.len == 0:
        fill_row_major(&t.view, "from_numpy")  # NumPy has steps of 0 there, as if it were broadcast
    t.storage = foreign_storage(b.buf, b.len, hold, readonly)
    if not readonly:
        t.storage.exports = 1  # its first owner may write unseen
    return t


cdef bint little_endian() noexcept:
    cdef uint16_t one = 1
    return (<uint8_t *>&one)[0] == 1


def from_numpy(array):
    """A tensor on the memory of `array` (anything with the buffer protocol); nothing is copied.
    Read-only arrays give read-only tensors. Errors: TypeError for element types without a dtype,
    ValueError for strides that are not whole elements."""
    if isinstance(array, Tensor) or not PyObject_CheckBuffer(array):
        raise TypeError(f"from_numpy: an array is needed, got {type(array).__name__}")
    return from_buffer(array)


def tensor(data, dtype=None, requires_grad=False):
    """A new tensor with a copy of data: numbers, nested lists, arrays, tensors. Python floats become
    float32 and ints int64; arrays keep their dtype."""
    cdef Tensor out
    cdef int code = dtype_of(dtype).code if dtype is not None else -1
    out = clone(as_tensor(data, code))
    if requires_grad:
        out.requires_grad_(True)
    return out


def as_tensor_(data, dtype=None):
    """data as a tensor, without a copy where possible."""
    return as_tensor(data, dtype_of(dtype).code if dtype is not None else -1)


cdef Tensor as_tensor(object data, int code, str what="tensor"):
    cdef Tensor t
    if isinstance(data, Tensor):
        t = <Tensor>data
    elif isinstance(data, (bool, int, float)):
        return scalar(data, code)
    else:
        import numpy
        plain = not PyObject_CheckBuffer(data)
        if plain and hasattr(data, "__dlpack__"):
            t = from_dlpack(data)
        else:
            array = numpy.asarray(data)
            if plain and array.dtype == numpy.float64:
                array = array.astype(numpy.float32)
            if array.dtype.kind not in "fiub":
                raise TypeError(f"{what}: numbers are needed, got {type(data).__name__} of {array.dtype}")
            t = from_buffer(array)
    return t if code < 0 or code == t.view.dtype else convert(t, code)


cdef Tensor scalar(object value, int code):
    """A tensor without axes. code -1: float32, int64 or bool by the type of value."""
    cdef pe_tensor v
    if code < 0:
        code = PE_FLOAT32 if isinstance(value, float) else PE_BOOL if isinstance(value, bool) else PE_INT64
    v.ndim = 0
    v.dtype = code
    cdef Tensor t = new_tensor(&v)
    write_element(&t.view, value)
    return t


cdef int write_element(pe_tensor *v, object value) except -1:
    cdef void *p = v.data
    cdef double wide
    cdef int64_t whole
    cdef pe_tensor source
    if v.dtype == PE_FLOAT32:
        (<float *>p)[0] = <float><double>value
    elif v.dtype == PE_BOOL:
        (<uint8_t *>p)[0] = bool(value)
    else:
        source.ndim = 0
        if v.dtype <= PE_FLOAT16:
            wide = value
            source.dtype, source.data = PE_FLOAT64, &wide
        else:
            whole = int(value)
            source.dtype, source.data = PE_INT64, &whole
        copy_into(&source, v)
    return 0


cdef object read_element(const pe_tensor *v):
    cdef pe_tensor source = v[0], target
    cdef double wide
    cdef int64_t whole
    source.ndim = target.ndim = 0
    if v.dtype == PE_FLOAT32:
        return (<float *>v.data)[0]
    if v.dtype == PE_BOOL:
        return (<uint8_t *>v.data)[0] != 0
    if v.dtype <= PE_FLOAT16:
        target.dtype, target.data = PE_FLOAT64, &wide
        copy_into(&source, &target)
        return wide
    target.dtype, target.data = PE_INT64, &whole
    copy_into(&source, &target)
    return whole


cdef int copy_into(const pe_tensor *source, const pe_tensor *target) except -1:
    """target = source, converted and broadcast."""
    cdef pe_copy_args args
    cdef pe_error err
    cdef pe_status status
    args.in_, args.out = source, target
    with nogil:
        status = pe_copy(context, &args, &err)
    return check(status, &err)


cdef Tensor convert(Tensor x, int code):
    """x with another element type; a new tensor, off the tape."""
    cdef Tensor out = empty_like(&x.view, code)
    copy_into(&x.view, &out.view)
    return out


def copy(input, dtype=None, memory_format=None, str what="copy"):
    """A new tensor with x's values (recorded on the tape), of another dtype and format where they are given."""
    cdef Tensor x = need(input, what)
    cdef Tensor out = like(&x.view, x.view.dtype if dtype is None else dtype_of(dtype).code, memory_format, what)
    copy_into(&x.view, &out.view)
    if wants_grad1(x) and out.view.dtype == PE_FLOAT32:
        record1(out, "copy", x, None, None)
    return out


def empty(shape, dtype=None, memory_format=None):
    """A new tensor whose values are not set."""
    cdef Tensor out = new_row_major(PE_FLOAT32 if dtype is None else dtype_of(dtype).code, shape, "empty")
    if memory_format is preserve_format:
        raise RuntimeError("empty: preserve_format needs a tensor whose format there is to preserve")
    if memory_format is not None:
        format_as(&out.view, read_format(memory_format, "empty"), "empty")  # dense either way: the same bytes
    return out


def full(shape, value, dtype=None, str what="full"):
    """A new tensor with every element equal to value; errors name the operation `what`."""
    cdef int code = dtype_of(dtype).code if dtype is not None else -1
    cdef Tensor one = scalar(value, code)
    cdef Tensor out = new_row_major(one.view.dtype, shape, what)
    fill(out, one)
    return out


cdef int fill(Tensor x, Tensor one) except -1:
    copy_into(&one.view, &x.view)
    return 0


# ---- sharing memory with NumPy -------------------------------------------------

cdef int export_buffer(Tensor x, Py_buffer *buffer, int flags) except -1:
    cdef bint wants_write = flags & PyBUF_WRITABLE == PyBUF_WRITABLE
    cdef int i
    buffer.obj = None
    if x.requires_grad and wants_write:
        raise BufferError("this tensor requires grad; use x.detach()")
    if wants_write and x.storage.readonly:
        raise BufferError("this tensor is read-only")
    # whoever asks for one block (in C's, Fortran's or any order) gets it in C's order or not at all
    cdef int orders = (PyBUF_C_CONTIGUOUS | PyBUF_F_CONTIGUOUS | PyBUF_ANY_CONTIGUOUS) & ~PyBUF_STRIDES
    cdef int fortran = PyBUF_F_CONTIGUOUS & ~PyBUF_STRIDES
    if (flags & PyBUF_STRIDES != PyBUF_STRIDES or flags & orders) and \
            not (is_row_major(&x.view) and (x.view.ndim < 2 or not flags & fortran)):
        raise BufferError("this tensor is not contiguous")
    # the arrays of shape and strides live inside the tensor, which the buffer keeps alive
    buffer.buf = x.view.data
    buffer.obj = x
    buffer.len = numel(&x.view) * <int64_t>pe_dtype_size(x.view.dtype)
    buffer.itemsize = pe_dtype_size(x.view.dtype)
    buffer.readonly = x.storage.readonly or x.requires_grad
    buffer.ndim = x.view.ndim
    buffer.format = <char *>FORMAT_BYTES[x.view.dtype] if flags & PyBUF_FORMAT else NULL
    buffer.shape = <Py_ssize_t *>x.view.shape
    buffer.strides = <Py_ssize_t *>x.view.strides
    buffer.suboffsets = NULL
    buffer.internal = NULL
    if not buffer.readonly:
        x.storage.exports += 1
    return 0


cdef int release_buffer(Tensor x, Py_buffer *buffer) except -1:
    if not buffer.readonly:
        x.storage.exports -= 1
        x.storage.unseen_writes += 1
    return 0


cdef object numpy_view(Tensor x):
    import numpy
    return numpy.asarray(alias(x))


def from_pickle(array, name, requires_grad, is_parameter=False):
    """Rebuilds a tensor from __reduce__."""
    cdef int code = dtype_of(name).code
    # bfloat16 travels as uint16, which no tensor has; int16 is as wide
    cdef Tensor t = clone(from_buffer(array.view("int16") if code == PE_BFLOAT16 else array))
    if pe_dtype_size(code) != pe_dtype_size(t.view.dtype):
        raise TypeError(f"from_pickle: an array of {t.dtype.name} does not hold {name}")
    t.view.dtype = code
    t.leaf_requires_grad, t.is_parameter = requires_grad, is_parameter
    return t


cdef str tensor_text(Tensor x):
    import numpy
    cdef Tensor plain = alias(x)
    if x.view.dtype == PE_BFLOAT16 or x.view.dtype == PE_FLOAT16:
        plain = convert(plain, PE_FLOAT32)
    body = numpy.array2string(numpy.asarray(plain), precision=4, separator=", ", prefix="tensor(", suppress_small=False,
                              threshold=1000, edgeitems=3, floatmode="maxprec_equal")
    notes = "" if x.view.dtype in (PE_FLOAT32, PE_INT64, PE_BOOL) else f", dtype={x.dtype!r}"
    if numel(&x.view) == 0:
        notes = f", size={x.shape}" + notes
    if x.node is not None:
        notes += f", grad_fn=<{x.node.name}>"
    elif x.leaf_requires_grad:
        notes += ", requires_grad=True"
    return f"tensor({body}{notes})"
