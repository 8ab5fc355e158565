# DLPack, both ways (the protocol's C structs are declared here from its specification).

cdef struct DLDevice:
    int32_t device_type
    int32_t device_id

cdef struct DLDataType:
    uint8_t code
    uint8_t bits
    uint16_t lanes

cdef struct DLTensor:
    void *data
    DLDevice device
    int32_t ndim
    DLDataType dtype
    int64_t *shape
    int64_t *strides
    uint64_t byte_offset

cdef struct DLManagedTensor:
    DLTensor dl_tensor
    void *manager_ctx
    void (*deleter)(DLManagedTensor *) noexcept with gil

cdef struct DLPackVersion:
    uint32_t major
    uint32_t minor

cdef struct DLManagedTensorVersioned:  # since DLPack 1.0
    DLPackVersion version
    void *manager_ctx
    void (*deleter)(DLManagedTensorVersioned *) noexcept with gil
    uint64_t flags
    DLTensor dl_tensor

cdef struct Exported:  # one block: the struct the consumer sees (one of the two), and the sizes it points at
    DLManagedTensor plain
    DLManagedTensorVersioned versioned
    PyObject *tensor
    int64_t shape[8]
    int64_t strides[8]

cdef enum:
    DL_CPU = 1
    DL_INT = 0
    DL_UINT = 1
    DL_FLOAT = 2
    DL_BFLOAT = 4
    DL_BOOL = 6
    DL_READ_ONLY = 1  # flags of the versioned struct
    DL_IS_COPIED = 2

cdef dict DL_TYPES = {  # (code, bits) -> dtype
    (DL_FLOAT, 32): PE_FLOAT32, (DL_FLOAT, 64): PE_FLOAT64, (DL_BFLOAT, 16): PE_BFLOAT16,
    (DL_FLOAT, 16): PE_FLOAT16, (DL_INT, 8): PE_INT8, (DL_INT, 16): PE_INT16, (DL_INT, 32): PE_INT32,
    (DL_INT, 64): PE_INT64, (DL_UINT, 8): PE_UINT8, (DL_BOOL, 8): PE_BOOL,
}
cdef dict DL_CODES = {code: pair for pair, code in DL_TYPES.items()}


cdef void release_export(Exported *e) noexcept:
    cdef Tensor x = <Tensor>e.tensor
    if not x.storage.readonly:
        x.storage.exports -= 1
        x.storage.unseen_writes += 1
    Py_DECREF(x)
    pe_free(context, e)


cdef void release_plain(DLManagedTensor *managed) noexcept with gil:
    release_export(<Exported *>managed.manager_ctx)


cdef void release_versioned(DLManagedTensorVersioned *managed) noexcept with gil:
    release_export(<Exported *>managed.manager_ctx)


cdef void release_capsule(object capsule) noexcept:
    if PyCapsule_IsValid(capsule, "dltensor"):  # nobody took it
        release_plain(<DLManagedTensor *>PyCapsule_GetPointer(capsule, "dltensor"))
    elif PyCapsule_IsValid(capsule, "dltensor_versioned"):
        release_versioned(<DLManagedTensorVersioned *>PyCapsule_GetPointer(capsule, "dltensor_versioned"))


cdef object to_dlpack(Tensor source, object max_version, bint copy):
    """A capsule; one with a version, which can say that memory is read-only, for those who know DLPack 1."""
    cdef bint versioned = max_version is not None and max_version[0] >= 1
    if source.requires_grad and not copy:
        raise BufferError("__dlpack__: this tensor requires grad; use x.detach()")
    cdef Tensor x = clone(source) if copy else alias(source)
    if x.storage.readonly and not versioned:
        raise BufferError("__dlpack__: this tensor is read-only, which only DLPack 1 (max_version) can say; "
                          "use x.clone()")
    cdef int i
    cdef int64_t size = <int64_t>pe_dtype_size(x.view.dtype)
    cdef Exported *e = <Exported *>pe_alloc(context, sizeof(Exported))
    if e == NULL:
        raise MemoryError("__dlpack__")
    for i in range(x.view.ndim):
        e.shape[i], e.strides[i] = x.view.shape[i], x.view.strides[i] // size
    code, bits = DL_CODES[x.view.dtype]
    cdef DLTensor *d = &e.versioned.dl_tensor if versioned else &e.plain.dl_tensor
    d.data, d.byte_offset = x.view.data, 0
    d.device.device_type, d.device.device_id = DL_CPU, 0
    d.ndim, d.shape, d.strides = x.view.ndim, e.shape, e.strides
    d.dtype.code, d.dtype.bits, d.dtype.lanes = code, bits, 1
    e.plain.manager_ctx = e.versioned.manager_ctx = e
    e.plain.deleter, e.versioned.deleter = release_plain, release_versioned
    e.versioned.version.major, e.versioned.version.minor = 1, 0
    e.versioned.flags = (DL_READ_ONLY if x.storage.readonly else 0) | (DL_IS_COPIED if copy else 0)
    e.tensor = <PyObject *>x
    Py_INCREF(x)
    if not x.storage.readonly:
        x.storage.exports += 1
    if versioned:
        return PyCapsule_New(&e.versioned, "dltensor_versioned", release_capsule)
    return PyCapsule_New(&e.plain, "dltensor", release_capsule)


@cython.final
cdef class ImportedDLPack:
    """Calls the producer's deleter when the last tensor on its memory goes."""
    cdef DLManagedTensor *plain
    cdef DLManagedTensorVersioned *versioned

    def __dealloc__(self):
        if self.plain != NULL and self.plain.deleter != NULL:
            self.plain.deleter(self.plain)
        if self.versioned != NULL and self.versioned.deleter != NULL:
            self.versioned.deleter(self.versioned)


cdef object ask_capsule(object source):
    """source's capsule, with a version where it knows of versions."""
    try:
        return source.__dlpack__(max_version=(1, 0))
    except TypeError:  # made before DLPack 1
        return source.__dlpack__()


def from_dlpack(source):
    """A tensor on the memory of any object with `__dlpack__` (CPU); nothing is copied. Memory that its owner
    says is read-only gives a read-only tensor."""
    if not hasattr(source, "__dlpack__"):
        raise TypeError(f"from_dlpack: {type(source).__name__} has no __dlpack__")
    capsule = ask_capsule(source)
    cdef ImportedDLPack hold = ImportedDLPack.__new__(ImportedDLPack)
    cdef DLManagedTensor *plain = NULL
    cdef DLManagedTensorVersioned *versioned = NULL
    cdef DLTensor *d
    cdef bint readonly = False
    if PyCapsule_IsValid(capsule, "dltensor_versioned"):
        versioned = <DLManagedTensorVersioned *>PyCapsule_GetPointer(capsule, "dltensor_versioned")
        if versioned.version.major != 1:  # another layout; the capsule stays its owner's
            raise BufferError(f"from_dlpack: DLPack 1 is understood, got version {versioned.version.major}."
                              f"{versioned.version.minor}")
        d, readonly = &versioned.dl_tensor, versioned.flags & DL_READ_ONLY
    elif PyCapsule_IsValid(capsule, "dltensor"):
        plain = <DLManagedTensor *>PyCapsule_GetPointer(capsule, "dltensor")
        d = &plain.dl_tensor
    else:
        raise TypeError("from_dlpack: the capsule is not a fresh 'dltensor' or 'dltensor_versioned'")
    cdef Tensor t = borrow(d)
    cdef char *low
    cdef char *high
    extent(&t.view, &low, &high)
    if numel(&t.view) == 0:
        low = high = <char *>t.view.data
        fill_row_major(&t.view, "from_dlpack")
    if versioned != NULL:
        hold.versioned = versioned
        PyCapsule_SetName(capsule, "used_dltensor_versioned")
    else:
        hold.plain = plain
        PyCapsule_SetName(capsule, "used_dltensor")
    t.storage = foreign_storage(low, <size_t>(high - low), hold, readonly)
    t.storage.exports = 0 if readonly else 1
    return t


cdef Tensor borrow(const DLTensor *d):
    """A tensor, still without storage, of d's elements."""
    cdef Tensor t = Tensor.__new__(Tensor)
    cdef int i
    cdef int64_t size
    code = DL_TYPES.get((d.dtype.code, d.dtype.bits))
    if d.device.device_type != DL_CPU:
        raise BufferError(f"from_dlpack: only CPU memory, got device type {d.device.device_type}")
    if code is None or d.dtype.lanes != 1 or not 0 <= d.ndim <= PE_MAX_DIMS:
        raise TypeError(f"from_dlpack: no dtype for code {d.dtype.code}, {d.dtype.bits} bits, "
                        f"{d.dtype.lanes} lanes, {d.ndim} axes")
    t.view.dtype, t.view.ndim = code, d.ndim
    t.view.data = <char *>d.data + d.byte_offset
    size = <int64_t>pe_dtype_size(code)
    for i in range(d.ndim):
        t.view.shape[i] = d.shape[i]
        t.view.strides[i] = d.strides[i] * size if d.strides != NULL else 0
    if d.strides == NULL:
        fill_row_major(&t.view, "from_dlpack")
    check_size(&t.view, "from_dlpack")
    return t
