# Tensors as they were: what is made of some (a folded weight) is right as long as nobody has written them.

@cython.final
cdef class Watched:
    """Some tensors (or None) at this moment. They are not kept alive."""
    cdef list references, versions

    def __init__(self, tuple tensors):
        cdef Storage s
        self.references, self.versions = [], []
        for t in tensors:
            s = (<Tensor?>t).storage if t is not None else None
            self.references.append(_weak_reference(t) if t is not None else None)
            self.versions.append((s.version, s.unseen_writes) if s is not None else None)

    def still(self, tuple tensors):
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
                    or self.versions[i] != (s.version, s.unseen_writes):
                return False
        return True
