cdef extern from "pyengine.h":
    const char *PE_VERSION

__version__ = PE_VERSION.decode()
