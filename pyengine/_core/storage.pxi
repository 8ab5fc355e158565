# Storage: who owns the bytes, how often they were written, who else may write them.

cimport cython

cdef uint64_t tensor_moves = 0  # how often a tensor took over another memory; what was kept of it is void then


@cython.freelist(256)
@cython.final
cdef class Storage:
    """A block of bytes shared by a tensor and its views."""

    def __dealloc__(self):
        if self.has_pack:
            packs.pop(<size_t><PyObject *>self, None)
        if self.owner is None:
            pe_free(context, self.pointer)

    def __len__(self):
        return self.nbytes


cdef Storage new_storage(size_t nbytes):
    cdef Storage s = Storage.__new__(Storage)
    s.pointer = pe_alloc(context, nbytes)
    if s.pointer == NULL:
        s.owner = False  # nothing to free
        raise MemoryError(f"no memory for {nbytes} bytes")
    s.nbytes = nbytes
    return s


cdef Storage foreign_storage(void *pointer, size_t nbytes, object owner, bint readonly):
    cdef Storage s = Storage.__new__(Storage)
    s.owner = owner
    s.pointer = pointer
    s.nbytes = nbytes
    s.readonly = readonly
    return s
