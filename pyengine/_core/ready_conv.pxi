# A convolution of nn, made ready: with its batch norm and its activation from x to y in one call, in inference.
#
# What was decided once (nn/conv_norm.py decides) holds as long as its marks do, and each call looks at all of them:
#   * modules: class, the class's forward, the dict of the instance (a forward of its own, hooks, parametrizations),
#     the very objects that are its numbers (tuples, integers and strings, which cannot change), training and eps;
#   * folded weights: their sources are Watched. Without a norm the layer's own tensors are read anew each time;
#   * the tape: nothing that takes part wants a gradient;
#   * shapes: those of input and weight are the ones that the windows were placed for, or they are placed anew.
# run() says None where one does not hold, and touches nothing then.

cdef bint still_plain(module, known, forward) except -1:
    """A call of module is still `forward` of the class `known` and nothing else."""
    if type(module) is not known or known.forward is not forward:
        return False
    cdef dict own = module.__dict__
    hooks = own.get("_hooks")
    return "forward" not in own and (hooks is None or not hooks.around_call) and not own.get("_parametrized")


@cython.final
cdef class ReadyConv:
    """One convolution padded with zeros, and maybe a norm and an activation, as one call. names: the layer's numbers;
    place(axes, input's shape, weight's, bias's, *numbers) -> (Windows, places)."""
    cdef object kind, forward, norm, norm_kind, norm_forward, eps, activation, activation_forward
    cdef object place, padding_mode
    cdef tuple names, numbers           # the layer's attributes that say where windows lie
    cdef Watched watched                # None without a norm
    cdef Tensor weight, bias            # folded
    cdef pe_conv_args args              # step, spacing, before, groups and activation
    cdef pe_tensor input, shape, result # of the input and the weight they are for; the result's shape
    cdef readonly uint64_t runs         # calls that were answered

    def __init__(self, conv, norm, activation, int row, tuple names, place, Watched watched or None, Tensor weight,
                 Tensor bias or None):
        self.kind, self.forward, self.place, self.names = type(conv), type(conv).forward, place, names
        self.numbers = tuple([conv.__dict__[name] for name in names])
        self.padding_mode = conv.__dict__["padding_mode"]
        if norm is not None:
            self.norm, self.norm_kind, self.norm_forward = _weak_reference(norm), type(norm), type(norm).forward
            self.eps, self.watched, self.weight, self.bias = norm.eps, watched, weight, bias
        self.activation = activation  # a function, or its class
        if isinstance(activation, type):
            self.activation_forward = activation.forward
        self.input.ndim, self.args.activation = -1, row

    cdef bint holds(self, conv, norm, activation) except -1:
        """The modules are as they were."""
        cdef dict own
        cdef Py_ssize_t i
        if not still_plain(conv, self.kind, self.forward):
            return False
        own = conv.__dict__
        if own.get("padding_mode") is not self.padding_mode:
            return False
        for i in range(len(self.names)):
            if own.get(self.names[i]) is not self.numbers[i]:
                return False
        if norm is not None:
            if self.norm is None or self.norm() is not norm \
                    or not still_plain(norm, self.norm_kind, self.norm_forward):
                return False
            own = norm.__dict__
            if own.get("training") is not False or own.get("eps") is not self.eps:
                return False
        elif self.norm is not None:
            return False
        if self.activation_forward is None:
            return activation is self.activation
        return still_plain(activation, self.activation, self.activation_forward)

    cdef tuple tensors(self, dict own, dict norm):
        """What the result depends on, in the order of `watched`."""
        cdef dict weights = own["_parameters"], learned, running
        if norm is None:
            return weights.get("weight"), weights.get("bias")
        learned, running = norm["_parameters"], norm["_buffers"]
        return (weights.get("weight"), weights.get("bias"), learned.get("weight"), learned.get("bias"),
                running.get("running_mean"), running.get("running_var"))

    cdef int settle(self, Tensor x, Tensor w, bias) except -1:
        """Places the windows for these shapes; the errors are the layer's own."""
        at, places = self.place(w.view.ndim - 2, x.shape, w.shape, None if bias is None else bias.shape, *self.numbers)
        cdef int activation = self.args.activation
        self.input.ndim = -1  # nothing is known if it fails half-way
        read_conv(&self.args, at[0], at[1], at[2], at[3], "conv")
        self.args.activation = activation
        result_shape(&self.result, x.view.shape[0], w.view.shape[0], places)
        self.shape, self.input = w.view, x.view
        return 0

    def run(self, x, conv, norm, activation, residual):
        """activation(norm(conv(x)) + residual), or None where something is not as it was."""
        cdef Tensor w = self.weight, bias = self.bias
        cdef pe_conv_args args
        cdef pe_tensor result
        if not isinstance(x, Tensor) or not self.holds(conv, norm, activation):
            return None
        if not (residual is None or isinstance(residual, Tensor)):
            return None
        cdef tuple tensors = self.tensors(conv.__dict__, None if norm is None else norm.__dict__)
        if grad_mode():
            for t in (x, residual, *tensors):
                if t is not None and wants_grad1(<Tensor?>t):
                    return None
        if norm is None:
            if tensors[0] is None:
                return None
            w, bias = tensors
        elif not self.watched.still(tensors):
            return None
        if (<Tensor>x).view.ndim != w.view.ndim or (bias is not None and bias.view.ndim != 1):
            return None
        if not same_shape(&(<Tensor>x).view, &self.input) or not same_shape(&w.view, &self.shape) \
                or (bias is not None and bias.view.shape[0] != w.view.shape[0]):
            self.settle(x, w, bias)
        args, result = self.args, self.result  # copies: other threads may settle while the kernel runs
        self.runs += 1
        return convolve(&args, &result, x, w, bias, False, None, residual)
