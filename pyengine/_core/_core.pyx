# cython: language_level=3, embedsignature=True, allow_none_for_extension_args=False
"""Floors 3 and 4: Storage, Tensor, the tape and the binding. No arithmetic happens here."""

from cpython.buffer cimport (PyBUF_ANY_CONTIGUOUS, PyBUF_C_CONTIGUOUS, PyBUF_F_CONTIGUOUS, PyBUF_FORMAT,
                             PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_CheckBuffer,
                             PyObject_GetBuffer)
from cpython.dict cimport PyDict_GetItemWithError, PyDict_SetItem
from cpython.object cimport PyObject, PyTypeObject
from cpython.pycapsule cimport (PyCapsule_GetPointer, PyCapsule_IsValid, PyCapsule_New,
                                PyCapsule_SetName)
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from pyengine._core.capi cimport *
from pyengine._core.capi_layers cimport *

cdef extern from "Python.h":
    void PyType_Modified(PyTypeObject *type)
    PyObject *PyList_GET_ITEM(object items, Py_ssize_t i)  # borrowed
    PyObject *PyTuple_GET_ITEM(tuple items, Py_ssize_t i)

__version__ = PE_VERSION.decode()

include "errors.pxi"
include "context.pxi"
include "storage.pxi"
include "layout.pxi"
include "format.pxi"
include "tensor.pxi"
include "views.pxi"
include "windows.pxi"
include "border.pxi"
include "dlpack.pxi"
include "hooks.pxi"
include "tape.pxi"
include "engine.pxi"
include "elementwise.pxi"
include "structured.pxi"
include "norm.pxi"
include "attention.pxi"
include "quant.pxi"
include "packed.pxi"
include "watched.pxi"
include "product.pxi"
include "groups.pxi"
include "conv.pxi"
include "ready_conv.pxi"
include "pooling.pxi"
include "batch_norm.pxi"
include "optim_slots.pxi"
include "optim.pxi"
include "lists.pxi"
include "row_sparse.pxi"
include "random.pxi"
include "take_rows.pxi"
include "recurrence.pxi"
