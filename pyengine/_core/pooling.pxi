# Pooling over windows and its gradients by the input. None is recorded here; ops/pool.py does it. A plan is a tuple of
# kernel, step, spacing and before, each a tuple of one number an axis of space; a kernel of 0 shares the axis out.

cdef bint lies_so(const pe_tensor *v, bint channels_last) noexcept:
    """v is dense in one of the two memory formats of images, or in both: with one channel, or one place."""
    cdef int i
    if not channels_last or not is_row_major(v):
        return is_channels_last(v) if channels_last else is_row_major(v)
    if v.shape[1] > 1:
        for i in range(2, v.ndim):
            if v.shape[i] != 1:
                return False
    return True


cdef Tensor in_format(Tensor x, bint channels_last, str what):
    """x, or a copy of it, in one of the two memory formats of images."""
    if lies_so(&x.view, channels_last):
        return x
    cdef Tensor out = new_image(&x.view, channels_last, what)
    copy_into(&x.view, &out.view)
    return out


cdef Tensor as_image(Tensor x, str what, str argument):
    """x, or a row-major copy where it is neither row-major nor channels-last."""
    float_only(x, what, argument)
    return in_format(x, is_channels_last(&x.view), what)


cdef int read_plan(pe_pool_args *args, const pe_tensor *x, tuple plan, str what) except -1:
    cdef int i, n = x.ndim - 2
    if n < 1 or n > 3 or any([len(numbers) != n for numbers in plan]):
        raise ValueError(f"{what}: {plan} is no plan for shape {shape_of(x)}")
    memset(args, 0, sizeof(pe_pool_args))
    kernel, step, spacing, before = plan
    for i in range(n):
        args.kernel[i], args.step[i] = kernel[i], step[i]
        args.spacing[i], args.before[i] = spacing[i], before[i]
    return 0


cdef Tensor resized(Tensor x, tuple sizes, bint channels_last, str what):
    """A new tensor (N, C, sizes) for an x (N, C, ...)."""
    cdef pe_tensor layout
    result_shape(&layout, x.view.shape[0], x.view.shape[1], sizes)
    return new_image(&layout, channels_last, what)


def max_pool(Tensor x, tuple plan, tuple places, bint placed):
    """(y, place): the maximum of each window of x (N, C, space), and its number (int32) in the flattened space; None
    unless `placed`."""
    cdef pe_pool_args args
    cdef pe_error err
    cdef pe_status status
    cdef Tensor image = as_image(x, "max_pool", "input"), place = None
    read_plan(&args, &x.view, plan, "max_pool")
    cdef Tensor y = resized(x, places, is_channels_last(&image.view), "max_pool")
    if placed:
        place = empty_like(&y.view, PE_INT32)
    args.x, args.y, args.place = &image.view, &y.view, view_or_null(place)
    with nogil:
        status = pe_max_pool(context, &args, &err)
    check(status, &err)
    return y, place


def max_pool_input(Tensor g, Tensor place, tuple plan, tuple sizes, bint channels_last):
    """x (N, C, sizes): each element of g added at its place."""
    cdef pe_pool_args args
    cdef pe_error err
    cdef pe_status status
    float_only(g, "max_pool_input", "grad")
    read_plan(&args, &g.view, plan, "max_pool_input")
    cdef Tensor y = in_format(g, channels_last, "max_pool_input")
    cdef Tensor x = resized(g, sizes, channels_last, "max_pool_input")
    args.x, args.y, args.place = &x.view, &y.view, &place.view
    with nogil:
        status = pe_max_pool_input(context, &args, &err)
    check(status, &err)
    return x


def avg_pool(Tensor x, tuple plan, tuple places, bint include_padding, double divisor):
    """The sum of each window of x (N, C, space), divided by divisor; where that is 0, by the elements it counts."""
    cdef pe_pool_args args
    cdef pe_error err
    cdef pe_status status
    cdef Tensor image = as_image(x, "avg_pool", "input")
    read_plan(&args, &x.view, plan, "avg_pool")
    cdef Tensor y = resized(x, places, is_channels_last(&image.view), "avg_pool")
    args.x, args.y, args.include_padding, args.divisor = &image.view, &y.view, include_padding, divisor
    with nogil:
        status = pe_avg_pool(context, &args, &err)
    check(status, &err)
    return y


def avg_pool_input(Tensor g, tuple plan, tuple sizes, double divisor, bint channels_last):
    """x (N, C, sizes): each element of g added over all of its window, the sums divided by divisor."""
    cdef pe_pool_args args
    cdef pe_error err
    cdef pe_status status
    float_only(g, "avg_pool_input", "grad")
    read_plan(&args, &g.view, plan, "avg_pool_input")
    cdef Tensor y = in_format(g, channels_last, "avg_pool_input")
    cdef Tensor x = resized(g, sizes, channels_last, "avg_pool_input")
    args.x, args.y, args.divisor = &x.view, &y.view, divisor
    with nogil:
        status = pe_avg_pool_input(context, &args, &err)
    check(status, &err)
    return x
