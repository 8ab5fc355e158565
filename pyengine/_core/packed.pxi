# Packed weights: what `linear` keeps of a weight that inference uses again. The bits are those of the weight itself.
#
# The rule. A weight is packed at its second use in a row by recorded-nothing calls of at most PACK_ROWS rows (more
# rows pay for packing on their own, and one use would pay for nothing), when it is a whole matrix in the engine's own
# memory. The pack doubles the weight's memory: memory_stats()["packed"] counts it, trim() gives it back, and it dies
# with the weight. It is of one version of the Storage; a write, or an array of NumPy's that may write, ends it: no
# linear uses it from then on, and the next look at it (linear, memory_stats, trim) frees it.

cdef enum:
    PACK_ROWS = 256
    PACK_ELEMENTS = 4096  # smaller weights lie in L1 or L2 as they are
    CONV_PACK_ROWS = 4096 # places of all images: from there on, packing a weight costs next to nothing

cdef dict packs = {}      # address of a living Storage -> its PackedWeight


@cython.final
cdef class PackedWeight:
    """A weight (out, in) laid out as products read it. Made by pack(); linear finds it by the weight."""
    cdef void *memory
    cdef pe_tensor source     # the weight it was made of: place, shape and strides
    cdef uint64_t version, unseen_writes
    cdef int64_t groups       # of a convolution; 0 for a linear layer's
    cdef readonly size_t nbytes

    def __init__(self):
        raise TypeError("PackedWeight() is not called directly: use pyengine.pack(weight)")

    def __dealloc__(self):
        if self.memory != NULL:
            pe_free(context, self.memory)

    @property
    def shape(self):
        """The shape of the weight: (out, in)."""
        return shape_of(&self.source)

    @property
    def data_ptr(self):
        """The address of the first byte."""
        return <size_t>self.memory

    def __repr__(self):
        return f"PackedWeight(shape={self.shape}, nbytes={self.nbytes})"


cdef bint same_layout(const pe_tensor *a, const pe_tensor *b) noexcept nogil:
    cdef int i
    if a.data != b.data or not same_shape(a, b):
        return False
    for i in range(a.ndim):
        if a.strides[i] != b.strides[i]:
            return False
    return True


cdef bint packable(Tensor weight) noexcept:
    """Nobody can write the weight unseen, and it is all of its Storage."""
    cdef Storage s = weight.storage
    return s.owner is None and s.exports == 0 \
        and <size_t>numel(&weight.view) * pe_dtype_size(weight.view.dtype) == s.nbytes and is_dense(&weight.view)


cdef inline bint is_stale(PackedWeight p, Storage s) noexcept:
    return p.version != s.version or p.unseen_writes != s.unseen_writes or s.exports != 0


cdef int drop_pack(Storage s) except -1:
    s.has_pack, s.pack_uses = False, 0
    packs.pop(<size_t><PyObject *>s, None)
    return 0


cdef size_t packed_bytes() except? 0xffffffff:
    """Bytes of all packs that may still be used; the others are freed."""
    cdef PackedWeight p
    cdef size_t total = 0
    cdef Storage s
    for key in list(packs):
        s = <Storage><PyObject *><size_t>key  # alive: its end takes it out of packs
        p = packs[key]
        if is_stale(p, s):
            drop_pack(s)
        else:
            total += p.nbytes
    return total


cdef int drop_all_packs() except -1:
    for key in list(packs):
        drop_pack(<Storage><PyObject *><size_t>key)
    return 0


cdef PackedWeight new_pack(Tensor weight, size_t nbytes, int64_t groups):
    """Memory for a pack of the weight as it is now."""
    cdef PackedWeight p = PackedWeight.__new__(PackedWeight)
    cdef Storage s = weight.storage
    p.memory = pe_alloc(context, nbytes)
    if p.memory == NULL:
        raise MemoryError(f"pack: no memory for {nbytes} bytes")
    p.nbytes, p.source, p.version, p.unseen_writes, p.groups = nbytes, weight.view, s.version, s.unseen_writes, groups
    return p


cdef PackedWeight keep_pack(Tensor weight, PackedWeight p):
    """Remembers p; None when the weight was written meanwhile (other threads run while it is packed)."""
    cdef Storage s = weight.storage
    if is_stale(p, s):
        return None
    packs[<size_t><PyObject *>s] = p
    s.has_pack = True
    return p


cdef PackedWeight make_pack(Tensor weight):
    """Packs a linear layer's weight now and remembers it; None when it was written meanwhile."""
    cdef PackedWeight p
    cdef pe_tensor b = weight.view
    cdef pe_pack_args args
    cdef pe_error err
    cdef pe_status status
    b.shape[0], b.shape[1] = weight.view.shape[1], weight.view.shape[0]
    b.strides[0], b.strides[1] = weight.view.strides[1], weight.view.strides[0]
    memset(&args, 0, sizeof(args))
    args.b = &b
    check(pe_pack_bytes(context, &args, &args.bytes, &err), &err)
    p = new_pack(weight, args.bytes, 0)
    args.packed = p.memory
    with nogil:
        status = pe_pack(context, &args, &err)
    check(status, &err)
    return keep_pack(weight, p)


cdef PackedWeight make_conv_pack(Tensor weight, const pe_conv_args *args):
    """The same for a convolution; None too where a pack gains nothing."""
    cdef PackedWeight p
    cdef pe_error err
    cdef pe_status status
    cdef size_t nbytes
    check(pe_conv_pack_bytes(context, args, &nbytes, &err), &err)
    if nbytes == 0:
        return None
    p = new_pack(weight, nbytes, args.groups)
    with nogil:
        status = pe_conv_pack(context, args, p.memory, &err)
    check(status, &err)
    return keep_pack(weight, p)


cdef PackedWeight known_pack(Tensor weight, int64_t groups):
    """The pack that is there and still true of this weight, or None."""
    cdef Storage s = weight.storage
    cdef PackedWeight p
    if not s.has_pack:
        return None
    p = packs[<size_t><PyObject *>s]
    if is_stale(p, s):
        drop_pack(s)
        return None
    return p if p.groups == groups and same_layout(&p.source, &weight.view) else None


cdef bint second_use(Tensor weight) noexcept:
    """Whether this is not the first use of the weight as it is now; counts it."""
    cdef Storage s = weight.storage
    if s.pack_uses and s.pack_version == s.version and s.pack_unseen == s.unseen_writes:
        return True
    s.pack_uses, s.pack_version, s.pack_unseen = 1, s.version, s.unseen_writes
    return False


cdef PackedWeight find_pack(Tensor weight, int64_t rows):
    """The pack that a product of so many rows shall use, made now if it pays; or None."""
    cdef PackedWeight p = known_pack(weight, 0)
    if p is not None or weight.storage.has_pack:
        return p
    if rows > PACK_ROWS or numel(&weight.view) < PACK_ELEMENTS or weight.view.ndim != 2 or not packable(weight):
        return None
    if not second_use(weight):
        return None
    try:
        return make_pack(weight)
    except MemoryError:  # it is a luxury
        return None


cdef PackedWeight find_conv_pack(Tensor weight, const pe_conv_args *args):
    """find_pack for a convolution of args.x and args.y."""
    cdef PackedWeight p = known_pack(weight, args.groups)
    cdef int64_t rows = args.y.shape[0]
    cdef int i
    if p is not None or weight.storage.has_pack:
        return p
    for i in range(2, args.y.ndim):
        rows *= args.y.shape[i]
    if rows > CONV_PACK_ROWS or not packable(weight) or not second_use(weight):
        return None
    try:
        return make_conv_pack(weight, args)
    except MemoryError:
        return None


cdef inline int forget_pack(Tensor weight) except -1:
    """A recorded product looks: what an optimizer's step has made stale goes before training takes more memory."""
    cdef Storage s = weight.storage
    if s.has_pack and is_stale(<PackedWeight>packs[<size_t><PyObject *>s], s):
        drop_pack(s)
    return 0


def pack(Tensor weight):
    """Packs a float32 or bfloat16 weight (out, in) for the products of inference; see ops.pack."""
    if weight.view.dtype != PE_BFLOAT16:
        float_only(weight, "pack", "weight")
    if weight.view.ndim != 2:
        raise ValueError(f"pack: a weight (out, in) is needed, got shape {weight.shape}")
    if not packable(weight):
        raise ValueError(f"pack: the weight of shape {weight.shape} is part of other memory, or an array that lives "
                         "shares it and could change it unseen; clone() it first")
    cdef PackedWeight p = known_pack(weight, 0)
    if p is not None:
        return p
    p = make_pack(weight)
    if p is None:
        raise RuntimeError("pack: the weight was written while it was packed")
    return p


def packed_weight(Tensor weight):
    """The pack that the next linear with this weight would use, or None."""
    return known_pack(weight, 0) if weight.view.ndim == 2 else known_pack(weight, 1)
