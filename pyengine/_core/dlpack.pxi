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

cdef struct Exported:  # one block: the struct the consumer sees, and the sizes it points at
    DLManagedTensor managed
    int64_t shape[8]
    int64_t strides[8]

cdef enum:
    DL_CPU = 1
    DL_INT = 0
    DL_UINT = 1
    DL_FLOAT = 2
    DL_BFLOAT = 4
    DL_BOOL = 6

cdef dict DL_TYPES = {  # (code, bits) -> dtype
    (DL_FLOAT, 32): PE_FLOAT32, (DL_FLOAT, 64): PE_FLOAT64, (DL_BFLOAT, 16): PE_BFLOAT16,
    (DL_FLOAT, 16): PE_FLOAT16, (DL_INT, 8): PE_INT8, (DL_INT, 16): PE_INT16, (DL_INT, 32): PE_INT32,
    (DL_INT, 64): PE_INT64, (DL_UINT, 8): PE_UINT8, (DL_BOOL, 8): PE_BOOL,
}
cdef dict DL_CODES = {code: pair for pair, code in DL_TYPES.items()}


cdef void release_exported(DLManagedTensor *managed) noexcept with gil:
    cdef Tensor x = <Tensor>managed.manager_ctx
    x.storage.exports -= 1
    x.storage.unseen_writes += 1
    Py_DECREF(x)
    pe_free(context, managed)


cdef void release_capsule(object capsule) noexcept:
    cdef DLManagedTensor *managed
    if PyCapsule_IsValid(capsule, "dltensor"):  # nobody took it
        managed = <DLManagedTensor *>PyCapsule_GetPointer(capsule, "dltensor")
        managed.deleter(managed)


cdef object to_dlpack(Tensor source):
    if source.requires_grad:
        raise BufferError("__dlpack__: this tensor requires grad; use x.detach()")
    if source.storage.readonly:
        raise BufferError("__dlpack__: this tensor is read-only; use x.clone()")
    cdef Tensor x = alias(source)
    cdef int i
    cdef int64_t size = <int64_t>pe_dtype_size(x.view.dtype)
    cdef Exported *e = <Exported *>pe_alloc(context, sizeof(Exported))
    if e == NULL:
        raise MemoryError("__dlpack__")
    for i in range(x.view.ndim):
        e.shape[i], e.strides[i] = x.view.shape[i], x.view.strides[i] // size
    code, bits = DL_CODES[x.view.dtype]
    cdef DLTensor *d = &e.managed.dl_tensor
    d.data, d.byte_offset = x.view.data, 0
    d.device.device_type, d.device.device_id = DL_CPU, 0
    d.ndim, d.shape, d.strides = x.view.ndim, e.shape, e.strides
    d.dtype.code, d.dtype.bits, d.dtype.lanes = code, bits, 1
    e.managed.manager_ctx = <void *>x
    e.managed.deleter = release_exported
    Py_INCREF(x)
    x.storage.exports += 1
    return PyCapsule_New(e, "dltensor", release_capsule)


@cython.final
cdef class ImportedDLPack:
    """Calls the producer's deleter when the last tensor on its memory goes."""
    cdef DLManagedTensor *managed

    def __dealloc__(self):
        if self.managed != NULL and self.managed.deleter != NULL:
            self.managed.deleter(self.managed)


def from_dlpack(source):
    """A tensor on the memory of any object with `__dlpack__` (CPU); nothing is copied."""
    if not hasattr(source, "__dlpack__"):
        raise TypeError(f"from_dlpack: {type(source).__name__} has no __dlpack__")
    capsule = source.__dlpack__()
    if not PyCapsule_IsValid(capsule, "dltensor"):
        raise TypeError("from_dlpack: the capsule is not a fresh 'dltensor'")
    cdef DLManagedTensor *managed = <DLManagedTensor *>PyCapsule_GetPointer(capsule, "dltensor")
    cdef DLTensor *d = &managed.dl_tensor
    cdef Tensor t = Tensor.__new__(Tensor)
    cdef int i
    cdef int64_t size
    cdef char *low
    cdef char *high
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
    extent(&t.view, &low, &high)
    if numel(&t.view) == 0:
        low = high = <char *>t.view.data
        fill_row_major(&t.view, "from_dlpack")
    cdef ImportedDLPack hold = ImportedDLPack.__new__(ImportedDLPack)
    hold.managed = managed
    PyCapsule_SetName(capsule, "used_dltensor")
    t.storage = foreign_storage(low, <size_t>(high - low), hold, False)
    t.storage.exports = 1
    return t
