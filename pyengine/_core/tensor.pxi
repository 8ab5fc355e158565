# Tensor: a typed, strided view of a Storage, and its place on the tape.

@cython.freelist(512)
@cython.final
cdef class Tensor:
    """A multidimensional array with a place on the tape. Made by `pyengine.tensor`, `from_numpy`,
    `zeros`, ...; operations on it are the functions of `pyengine.ops`, most of them methods too."""

    def __init__(self, *args, **kwargs):
        raise TypeError("Tensor() is not called directly: use pyengine.tensor(...), from_numpy, zeros, ...")

    @property
    def shape(self):
        """The sizes of the axes."""
        return shape_of(&self.view)

    @property
    def ndim(self):
        """The number of axes."""
        return self.view.ndim

    @property
    def dtype(self):
        """The element type."""
        return DTYPES[self.view.dtype]

    @property
    def data_ptr(self):
        """The address of the first element."""
        return <size_t>self.view.data

    @property
    def storage_(self):
        """The Storage below, shared by all views."""
        return self.storage

    def stride(self):
        """Steps between neighbours along each axis, in elements."""
        size = <int64_t>pe_dtype_size(self.view.dtype)
        return tuple([self.view.strides[i] // size for i in range(self.view.ndim)])

    def numel(self):
        """The number of elements."""
        return numel(&self.view)

    def dim(self):
        """The number of axes."""
        return self.view.ndim

    def size(self, dim=None):
        """The shape, or the size of axis dim."""
        if dim is None:
            return shape_of(&self.view)
        return self.view.shape[axis_of(dim, self.view.ndim, "size")]

    def element_size(self):
        """Bytes of one element."""
        return pe_dtype_size(self.view.dtype)

    def is_contiguous(self, memory_format=contiguous_format):
        """True when the elements lie without gaps, row-major or as the format says."""
        return lies_as(&self.view, read_format(memory_format, "is_contiguous"))

    def is_floating_point(self):
        """True for float dtypes."""
        return self.view.dtype <= PE_FLOAT16

    def __len__(self):
        if self.view.ndim == 0:
            raise TypeError("len() of a tensor without axes")
        return self.view.shape[0]

    def __bool__(self):
        if numel(&self.view) != 1:
            raise ValueError(f"the truth value of a tensor of shape {self.shape} is ambiguous")
        return bool(self.item())

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __index__(self):
        if self.view.dtype <= PE_FLOAT16 or numel(&self.view) != 1:
            raise TypeError("only an integer tensor of one element can be an index")
        return int(self.item())

    def __hash__(self):
        return <size_t><PyObject *>self >> 4

    def __iter__(self):
        if self.view.ndim == 0:
            raise TypeError("iteration over a tensor without axes")
        return (self[i] for i in range(self.view.shape[0]))

    @property
    def version(self):
        """How often the memory below has been written."""
        return self.storage.version

    # ---- the tape ----

    @property
    def requires_grad(self):
        """True when gradients flow to this tensor."""
        return self.leaf_requires_grad or self.node is not None

    @requires_grad.setter
    def requires_grad(self, bint value):
        self.requires_grad_(value)

    def requires_grad_(self, bint value=True):
        """Asks for a gradient (leaf tensors only). Returns self."""
        if self.node is not None:
            if not value:
                raise RuntimeError("requires_grad_: only leaf tensors can change it; use detach()")
            return self
        if value and self.view.dtype != PE_FLOAT32:
            raise TypeError(f"requires_grad_: float32 tensors only, got {self.dtype.name}")
        self.leaf_requires_grad = value
        return self

    @property
    def is_leaf(self):
        """True when no recorded operation made this tensor."""
        return self.node is None

    @property
    def grad_fn(self):
        """The recorded operation that made this tensor, or None."""
        return self.node

    @property
    def grad(self):
        """The gradient accumulated by backward(), or None; a RowSparse from layers with sparse=True."""
        return self.grad_ if self.row_grad is None else self.row_grad

    @grad.setter
    def grad(self, value):
        cdef bint rows = getattr(value, "is_sparse", False) and value.shape == self.shape
        if value is not None and not rows:
            if not isinstance(value, Tensor):
                raise TypeError(f"grad must be a Tensor or None, got {type(value).__name__}")
            if not same_shape(&(<Tensor>value).view, &self.view) or (<Tensor>value).view.dtype != self.view.dtype:
                raise RuntimeError(f"grad of shape {value.shape} and {value.dtype.name} does not fit a tensor "
                                   f"of shape {self.shape} and {self.dtype.name}")
        self.grad_, self.row_grad = None if rows else value, value if rows else None

    def backward(self, gradient=None, retain_graph=None, create_graph=False, inputs=None):
        """Adds d(self)/d(leaf) to the .grad of every leaf below, or of inputs only (times gradient, 1 for a scalar)."""
        backward([self], [gradient], retain_graph, create_graph, inputs)

    def detach(self):
        """The same values, off the tape; memory is shared."""
        return alias(self)

    def detach_(self):
        """Takes this tensor itself off the tape. Returns self."""
        if self.is_view and self.node is not None:
            raise RuntimeError("detach_: a view cannot be detached in place; use detach()")
        self.node, self.output, self.leaf_requires_grad, self.hooks = None, 0, False, None
        return self

    @property
    def data(self):
        """The same values, off the tape. Assigned: this leaf takes over another tensor's memory, shape and dtype."""
        return alias(self)

    @data.setter
    def data(self, value):
        if not isinstance(value, Tensor):
            raise TypeError(f"data must be a Tensor, got {type(value).__name__}")
        if self.node is not None:
            raise RuntimeError(f"data: the tensor of shape {self.shape} is the result of a recorded operation; only a "
                               "leaf can take over another tensor's memory")
        cdef Storage taken = (<Tensor>value).storage
        if taken is not self.storage and taken.version <= self.storage.version:
            taken.version = self.storage.version + 1  # what was saved of the old memory must not pass for the new one
        self.view, self.storage = (<Tensor>value).view, taken
        global tensor_moves
        tensor_moves += 1
        self.seen_writes = self.storage.recorded_writes

    @property
    def _version(self):
        """How often the memory below has been written."""
        return self.storage.version

    @property
    def output_nr(self):
        """Which output of grad_fn this is."""
        return self.output

    def register_hook(self, hook):
        """hook(gradient) runs when this tensor's gradient is known; what it returns (a Tensor or None) takes the
        gradient's place. Returns a handle with remove()."""
        return tensor_hook(self, hook)

    def register_post_accumulate_grad_hook(self, hook):
        """hook(leaf) runs when backward() has added the whole gradient to leaf.grad. Returns a handle."""
        if not self.requires_grad:
            raise RuntimeError("register_post_accumulate_grad_hook: the tensor does not require grad")
        if self.node is not None:
            raise RuntimeError("register_post_accumulate_grad_hook: leaf tensors only; a result has register_hook")
        if leaf_hooks(self).post is None:
            self.hooks.post = {}
        return add_hook(self.hooks.post, hook, "register_post_accumulate_grad_hook")

    def retain_grad(self):
        """backward() fills .grad of this result too."""
        if not self.requires_grad:
            raise RuntimeError("retain_grad: the tensor does not require grad")
        if self.node is None:
            return
        cdef NodeHooks hooks = hooks_of(self.node)
        if hooks.retained is None:
            hooks.retained = {}
        hooks.retained[self.output] = _weak_reference(self)

    @property
    def retains_grad(self):
        """True for a result whose .grad backward() fills."""
        if self.node is None or self.node.hooks is None or self.node.hooks.retained is None:
            return False
        reference = self.node.hooks.retained.get(self.output)
        return reference is not None and reference() is self

    # ---- to Python ----

    def item(self):
        """The one element as a Python number."""
        if numel(&self.view) != 1:
            raise ValueError(f"item: one element needed, got shape {self.shape}")
        return read_element(&self.view)

    def tolist(self):
        """Nested lists of Python numbers."""
        return self.detach().numpy().tolist() if self.view.dtype != PE_BFLOAT16 else self.float().tolist()

    def numpy(self):
        """A NumPy array on the same memory (bfloat16 as uint16)."""
        if self.requires_grad:
            raise RuntimeError("numpy: this tensor requires grad; use x.detach().numpy()")
        return numpy_view(self)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        export_buffer(self, buffer, flags)

    def __releasebuffer__(self, Py_buffer *buffer):
        release_buffer(self, buffer)

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        """A DLPack capsule on the same memory, or with copy=True on a copy (protocol of the Python array API);
        of DLPack 1 for those who ask with max_version=(1, ...), which is needed for read-only memory."""
        if dl_device is not None and tuple(dl_device) != (1, 0):
            raise BufferError(f"__dlpack__: only CPU memory, (1, 0), is here; device {dl_device} was asked for")
        return to_dlpack(self, max_version, bool(copy))

    def __dlpack_device__(self):
        """(1, 0): the CPU."""
        return (1, 0)

    def __repr__(self):
        return tensor_text(self)

    def __reduce__(self):
        return from_pickle, (self.detach().numpy().copy(), self.dtype.name, self.leaf_requires_grad,
                             self.is_parameter)

    def __deepcopy__(self, memo):
        if self.node is not None:
            raise RuntimeError("deepcopy: only leaf tensors; use x.detach().clone()")
        cdef Tensor t = clone(alias(self))
        t.leaf_requires_grad, t.is_parameter = self.leaf_requires_grad, self.is_parameter
        if self.grad_ is not None:
            t.grad_ = clone(self.grad_)
        t.row_grad = None if self.row_grad is None else self.row_grad.clone()
        memo[id(self)] = t
        return t

    # ---- views and elements ----

    def __getitem__(self, index):
        return get_item(self, index)

    def __setitem__(self, index, value):
        set_item(self, index, value)

    # ---- operators: rows of the table ----

    def __add__(self, other):
        return binary(OP_ADD, self, other)

    def __radd__(self, other):
        return binary(OP_ADD, other, self)

    def __sub__(self, other):
        return binary(OP_SUB, self, other)

    def __rsub__(self, other):
        return binary(OP_SUB, other, self)

    def __mul__(self, other):
        return binary(OP_MUL, self, other)

    def __rmul__(self, other):
        return binary(OP_MUL, other, self)

    def __truediv__(self, other):
        return binary(OP_DIV, self, other)

    def __rtruediv__(self, other):
        return binary(OP_DIV, other, self)

    def __floordiv__(self, other):
        return fallbacks["operator"]("floor_divide", self, other)

    def __rfloordiv__(self, other):
        return fallbacks["operator"]("floor_divide", other, self)

    def __mod__(self, other):
        return fallbacks["operator"]("remainder", self, other)

    def __rmod__(self, other):
        return fallbacks["operator"]("remainder", other, self)

    def __lshift__(self, other):
        return fallbacks["operator"]("bitwise_left_shift", self, other)

    def __rlshift__(self, other):
        return fallbacks["operator"]("bitwise_left_shift", other, self)

    def __rshift__(self, other):
        return fallbacks["operator"]("bitwise_right_shift", self, other)

    def __rrshift__(self, other):
        return fallbacks["operator"]("bitwise_right_shift", other, self)

    def __pow__(self, other, modulo):
        return binary(OP_POW, self, other)

    def __rpow__(self, other, modulo):
        return binary(OP_POW, other, self)

    def __neg__(self):
        return elementwise(OP_NEG, self)

    def __abs__(self):
        return elementwise(OP_ABS, self)

    def __matmul__(self, other):
        return matmul(self, other)

    def __rmatmul__(self, other):
        return matmul(other, self)

    def __eq__(self, other):
        return binary(OP_EQ, self, other)

    def __ne__(self, other):
        return binary(OP_NE, self, other)

    def __lt__(self, other):
        return binary(OP_LT, self, other)

    def __le__(self, other):
        return binary(OP_LE, self, other)

    def __gt__(self, other):
        return binary(OP_GT, self, other)

    def __ge__(self, other):
        return binary(OP_GE, self, other)

    def __iadd__(self, other):
        return binary_into(OP_ADD, self, other)

    def __isub__(self, other):
        return binary_into(OP_SUB, self, other)

    def __imul__(self, other):
        return binary_into(OP_MUL, self, other)

    def __itruediv__(self, other):
        return binary_into(OP_DIV, self, other)

    def __invert__(self):
        return elementwise(OP_NOT, self)

    def __and__(self, other):
        return binary(OP_AND, self, other)

    def __or__(self, other):
        return binary(OP_OR, self, other)

    def __xor__(self, other):
        return binary(OP_XOR, self, other)

    def __rand__(self, other):
        return binary(OP_AND, other, self)

    def __ror__(self, other):
        return binary(OP_OR, other, self)

    def __rxor__(self, other):
        return binary(OP_XOR, other, self)


cdef Tensor alias(Tensor x):
    """The same memory, off the tape."""
    cdef Tensor t = Tensor.__new__(Tensor)
    t.view = x.view
    t.storage = x.storage
    t.seen_writes = x.storage.recorded_writes
    return t


def add_method(str name, function):
    """Makes `function` a method of Tensor: ops are written once and used both ways."""
    standing = (<dict><object>(<PyTypeObject *>Tensor).tp_dict).get(name)
    if standing is not None and not hasattr(standing, "stands_in"):  # for one whose module is not read yet
        raise ValueError(f"Tensor has a method {name} already")
    (<dict><object>(<PyTypeObject *>Tensor).tp_dict)[name] = function
    PyType_Modified(<PyTypeObject *>Tensor)
