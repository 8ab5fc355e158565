# The error struct of C becomes a Python exception.

cdef int raise_error(pe_error *err) except -1:
    text = err.message.decode("utf-8", "replace")
    if err.code == PE_ERR_DTYPE:
        raise TypeError(text)
    if err.code == PE_ERR_INDEX:
        raise IndexError(text)
    if err.code == PE_ERR_MEMORY:
        raise MemoryError(text)
    raise ValueError(text)


cdef inline int check(pe_status status, pe_error *err) except -1:
    if status != PE_OK:
        raise_error(err)
    return 0
