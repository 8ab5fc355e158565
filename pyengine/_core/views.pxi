# Views: new shapes and strides over the same memory. No element is touched.

cdef int axis_of(object dim, int ndim, str what) except -1:
    """dim as 0 .. ndim-1; negative ones count from the end."""
    cdef Py_ssize_t d
    try:
        d = dim
    except TypeError:
        raise TypeError(f"{what}: an axis must be an integer, got {dim!r}") from None
    except OverflowError:
        d = ndim
    if d < -ndim or d >= ndim:
        raise IndexError(f"{what}: axis {dim} is out of range for {ndim} axes")
    return <int>(d + ndim if d < 0 else d)


cdef inline int axis_or_scalars(object dim, int ndim, str what) except -1:
    """The same; a tensor without axes may be asked for its axis 0 or -1, as in torch, and has nothing there."""
    return axis_of(dim, ndim if ndim > 0 else 1, what)


cdef Tensor view_of(Tensor x):
    """A new view like x, not yet recorded; the caller changes its shape and strides."""
    cdef Tensor t = alias(x)
    t.is_view = True
    return t


def permute(input, dims):
    """x with its axes in the order dims."""
    cdef Tensor x = need(input, "permute")
    dims = tuple(dims)
    cdef int i, axis, n = x.view.ndim
    cdef uint32_t seen = 0
    cdef Tensor out = view_of(x)
    if len(dims) != n:
        raise ValueError(f"permute: dims {dims} must name each axis of shape {x.shape} once")
    for i in range(n):
        axis = axis_of(dims[i], n, "permute")
        if seen >> axis & 1:
            raise ValueError(f"permute: dims {dims} name axis {axis} twice")
        seen |= 1u << axis
        out.view.shape[i] = x.view.shape[axis]
        out.view.strides[i] = x.view.strides[axis]
    if wants_grad1(x):
        record1(out, "permute", x, None, dims)
    return out


def transpose(input, dim0, dim1):
    """x with the axes dim0 and dim1 exchanged."""
    cdef Tensor x = need(input, "transpose")
    cdef int a = axis_or_scalars(dim0, x.view.ndim, "transpose"), b = axis_or_scalars(dim1, x.view.ndim, "transpose")
    dims = list(range(x.view.ndim))
    if dims:
        dims[a], dims[b] = dims[b], dims[a]
    return permute(x, dims)


cdef bint restride(const pe_tensor *v, pe_tensor *out) noexcept:
    """Strides for out.shape over v's memory, where they exist without a copy."""
    cdef int64_t size[8]
    cdef int64_t stride[8]
    cdef int n = 0, i, j, first
    cdef int64_t have, want, step
    for i in range(v.ndim):  # axes of size 1 do not matter
        if v.shape[i] != 1:
            size[n], stride[n] = v.shape[i], v.strides[i]
            n += 1
    for j in range(out.ndim):
        out.strides[j] = <int64_t>pe_dtype_size(v.dtype)
    if numel(v) <= 1:
        return True
    i = j = 0
    while i < n:
        while out.shape[j] == 1:
            j += 1
        # the smallest groups of axes, old and new, with the same number of elements
        have, want, first = size[i], out.shape[j], j
        while have != want:
            if have < want:
                if stride[i] != size[i + 1] * stride[i + 1]:
                    return False
                i += 1
                have *= size[i]
            else:
                j += 1
                want *= out.shape[j]
        step = stride[i]
        while j >= first:
            out.strides[j] = step
            step *= out.shape[j]
            j -= 1
        # past this group
        want = 1
        j = first
        while want != have:
            want *= out.shape[j]
            j += 1
        i += 1
    return True


cdef Py_ssize_t size_of(object size, str what) except? -2:
    """A size, or the -1 that stands for one, as an integer."""
    cdef Py_ssize_t whole
    try:
        whole = size
    except TypeError:
        raise TypeError(f"{what}: sizes must be integers, got {size!r}") from None
    except OverflowError:
        raise ValueError(f"{what}: a size of {size} does not fit") from None
    return whole


cdef int resolve_shape(Tensor x, object shape, pe_tensor *out, str what) except -1:
    """Reads shape (one -1 allowed) into out; checks that it holds x's elements."""
    cdef int64_t total = numel(&x.view), known = 1
    cdef int unknown = -1, n = 0
    shape = tuple(shape)
    for size in shape:
        if n == PE_MAX_DIMS:
            raise ValueError(f"{what}: at most {PE_MAX_DIMS} axes, got {shape}")
        out.shape[n] = size_of(size, what)
        if out.shape[n] == -1 and unknown < 0:
            unknown = n
        elif out.shape[n] < 0:
            raise ValueError(f"{what}: invalid shape {shape}")
        else:
            if out.shape[n] > 1 and known > <int64_t>(1 << 62) // out.shape[n]:
                raise ValueError(f"{what}: shape {shape} is too large for {total} elements")
            known *= out.shape[n]
        n += 1
    if unknown >= 0:
        if known == 0 or total % known:
            raise ValueError(f"{what}: shape {shape} does not fit {total} elements of shape {x.shape}")
        out.shape[unknown] = total // known
        known = total
    if known != total:
        raise ValueError(f"{what}: shape {shape} does not fit {total} elements of shape {x.shape}")
    out.ndim = n
    return 0


cdef bint image_as_stored(const pe_tensor *v) noexcept:
    """An image, with or without an axis of images before it, whose channels lie last."""
    cdef pe_tensor one
    cdef int i
    if is_channels_last(v):
        return True
    if v.ndim < 3 or v.ndim >= PE_MAX_DIMS:
        return False
    one = v[0]
    one.ndim, one.shape[0], one.strides[0] = v.ndim + 1, 1, 0
    for i in range(v.ndim):
        one.shape[i + 1], one.strides[i + 1] = v.shape[i], v.strides[i]
    return is_channels_last(&one)


def view(input, shape):
    """x's memory with another shape; an error where that needs a copy. Only a whole image with its channels last,
    which a convolution may have made of a row-major one, is copied instead: so x.view(x.size(0), -1) holds anyway."""
    cdef Tensor x = need(input, "view")
    cdef Tensor out = view_of(x)
    resolve_shape(x, shape, &out.view, "view")
    if not restride(&x.view, &out.view):
        if image_as_stored(&x.view):
            return reshape(x, shape)
        raise ValueError(f"view: shape {tuple(shape)} is no view of shape {x.shape} with strides {x.stride()}; "
                         "use reshape")
    if wants_grad1(x):
        record1(out, "reshape", x, None, shape_of(&x.view))
    return out


def reshape(input, shape):
    """x with another shape: a view where possible, else a copy."""
    cdef Tensor x = need(input, "reshape")
    cdef Tensor out = view_of(x)
    resolve_shape(x, shape, &out.view, "reshape")
    if not restride(&x.view, &out.view):
        fill_row_major(&out.view, "reshape")
        flat = out.view
        out = new_tensor(&flat)
        flat = x.view
        fill_row_major(&flat, "reshape")
        flat.data = out.view.data
        copy_into(&x.view, &flat)
    if wants_grad1(x):
        record1(out, "reshape", x, None, shape_of(&x.view))
    return out


def expand(input, shape):
    """x broadcast to shape (-1 keeps a size) with steps of zero; no memory is used."""
    cdef Tensor x = need(input, "expand")
    shape = tuple(shape)
    cdef Tensor out = view_of(x)
    cdef int n = len(shape), lead = n - x.view.ndim, i
    cdef int64_t size
    if lead < 0 or n > PE_MAX_DIMS:
        raise ValueError(f"expand: shape {shape} does not extend shape {x.shape}")
    out.view.ndim = n
    for i in range(n):
        size = size_of(shape[i], "expand")
        if i < lead:
            if size < 0:
                raise ValueError(f"expand: shape {shape} does not extend shape {x.shape}")
            out.view.shape[i], out.view.strides[i] = size, 0
            continue
        if size == -1 or size == x.view.shape[i - lead]:
            out.view.shape[i], out.view.strides[i] = x.view.shape[i - lead], x.view.strides[i - lead]
        elif x.view.shape[i - lead] == 1 and size >= 0:
            out.view.shape[i], out.view.strides[i] = size, 0
        else:
            raise ValueError(f"expand: shape {shape} does not extend shape {x.shape} at axis {i}")
    check_size(&out.view, "expand")
    if wants_grad1(x):
        record1(out, "expand", x, None, shape_of(&x.view))
    return out


cdef bint basic_index(object index) except -1:
    """True when index is made of ints, slices, ... and None: a view."""
    for part in index:
        if part is None or part is Ellipsis or isinstance(part, slice) or type(part) is int:
            continue
        if isinstance(part, bool) or isinstance(part, Tensor) or not hasattr(part, "__index__") \
                or getattr(part, "ndim", 0) or getattr(getattr(part, "dtype", None), "kind", "") == "b":
            return False
    return True


cdef object LONGEST_STEP = 1 << 62


cdef Tensor slice_view(Tensor x, tuple index):
    """The view that a basic index names; not recorded."""
    cdef Tensor out = view_of(x)
    cdef int used = 0, axis = 0, n = 0, fresh = 0, k
    cdef int64_t i, size, start, stop, step
    cdef char *data = <char *>x.view.data
    for part in index:
        used += part is not None and part is not Ellipsis
        fresh += part is None
    if used > x.view.ndim:
        raise IndexError(f"index: {used} indices for shape {x.shape}")
    if fresh + x.view.ndim > PE_MAX_DIMS:
        raise IndexError(f"index: {fresh} new axes for shape {x.shape} make more than {PE_MAX_DIMS}")
    if Ellipsis not in index:
        index = index + (Ellipsis,)
    elif index.count(Ellipsis) > 1:
        raise IndexError("index: ... may stand once only")
    for part in index:
        if part is Ellipsis:
            for k in range(x.view.ndim - used):
                out.view.shape[n], out.view.strides[n] = x.view.shape[axis], x.view.strides[axis]
                n, axis = n + 1, axis + 1
            used = x.view.ndim
        elif part is None:
            out.view.shape[n], out.view.strides[n] = 1, <int64_t>pe_dtype_size(x.view.dtype)
            n += 1
        elif isinstance(part, slice):
            start, stop, wide = part.indices(x.view.shape[axis])
            step = max(min(wide, LONGEST_STEP), -LONGEST_STEP)
            if step > 0:
                size = (stop - start - 1) // step + 1 if stop > start else 0
            else:
                size = (start - stop - 1) // -step + 1 if start > stop else 0
            if size:
                data += start * x.view.strides[axis]
            # one element or none: no step is taken, and this one must not overflow
            out.view.shape[n], out.view.strides[n] = size, x.view.strides[axis] * (step if size > 1 else 1)
            n, axis = n + 1, axis + 1
        else:
            size = x.view.shape[axis]
            try:
                i = part.__index__()
            except OverflowError:
                i = size
            if i < -size or i >= size:
                raise IndexError(f"index {part} is out of range for axis {axis} of shape {x.shape}")
            data += (i + size if i < 0 else i) * x.view.strides[axis]
            axis += 1
    out.view.ndim, out.view.data = n, data
    return out


cdef object get_item(Tensor x, object index):
    if not isinstance(index, tuple):
        index = (index,)
    if not basic_index(index):
        return fallbacks["index"](x, index)
    cdef Tensor out = slice_view(x, index)
    if wants_grad1(x):
        record1(out, "slice", x, None, (shape_of(&x.view), index))
    return out


cdef int set_item(Tensor x, object index, object value) except -1:
    if not isinstance(index, tuple):
        index = (index,)
    if not basic_index(index):
        writable(x, "index assignment")
        fallbacks["index_put"](x, index, value)
        x.storage.version += 1
        return 0
    cdef Tensor target = slice_view(x, index)
    cdef Tensor source = as_tensor(value, x.view.dtype)
    writable(x, "index assignment")
    if grad_mode() and (x.requires_grad or source.requires_grad):
        raise RuntimeError("index assignment is not recorded on the tape: build the result with where or cat, "
                           "or assign under no_grad()")
    if overlaps(target, source):
        source = clone(source)
    copy_into(&source.view, &target.view)
    x.storage.version += 1
    return 0
