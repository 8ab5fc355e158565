# Tensors as they were: what is made of some (a folded weight) is right as long as nobody has written them.

cdef enum:
    WATCHED = 8  # at most


@cython.final
cdef class Watched:
    """Some tensors (or None) at this moment. They are not kept alive."""
    cdef tuple references
    cdef uint64_t versions[WATCHED]
    cdef uint64_t unseen[WATCHED]

    def __init__(self, tuple tensors):
        cdef Storage s
        cdef Py_ssize_t i
        if len(tensors) > WATCHED:
            raise ValueError(f"Watched: at most {WATCHED} tensors, got {len(tensors)}")
        self.references = tuple([_weak_reference(t) if t is not None else None for t in tensors])
        for i in range(len(tensors)):
            if tensors[i] is not None:
                s = (<Tensor?>tensors[i]).storage
                self.versions[i], self.unseen[i] = s.version, s.unseen_writes

    cpdef bint still(self, tuple tensors) except -1:
        """True when these are the same tensors with the same values. A tensor that arrays of NumPy's share and could
        write unseen is never the same."""
        cdef Storage s
        cdef Py_ssize_t i
        for i in range(len(self.references)):
            t, reference = tensors[i], self.references[i]
            if t is None or reference is None:
                if t is not reference:
                    return False
                continue
            s = (<Tensor?>t).storage
            if reference() is not t or s.owner is not None or s.exports \
                    or self.versions[i] != s.version or self.unseen[i] != s.unseen_writes:
                return False
        return True
