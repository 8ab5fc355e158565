# What Cython code may cimport: `from pyengine._core._core cimport Tensor`.
from libc.stdint cimport int64_t, uint64_t
from pyengine._core.capi cimport pe_tensor


cdef class Storage:
    cdef void *pointer          # the first byte
    cdef size_t nbytes
    cdef object owner           # None: the engine's own memory; else what keeps it alive
    cdef readonly uint64_t version         # writes by our operations so far
    cdef readonly uint64_t recorded_writes # of these, the recorded ones
    cdef readonly int64_t exports          # live writable exports: NumPy may write unseen
    cdef readonly uint64_t unseen_writes   # exports that ended: whoever held them may have written
    cdef readonly bint readonly
    cdef bint has_pack          # there is an entry in packs (packed.pxi)
    cdef int pack_uses          # whether inference has used it as it is now:
    cdef uint64_t pack_version, pack_unseen # at this version, after so many ended exports


cdef class NodeHooks:
    cdef dict pre               # output -> {key: hook}: Tensor.register_hook
    cdef dict retained          # output -> weak reference of the tensor that asked for its .grad
    cdef dict before, post      # {key: hook}: Node.register_prehook, Node.register_hook
    cdef dict metadata
    cdef object trace           # where it was recorded, in anomaly mode


cdef class LeafHooks:
    cdef dict pre               # {key: hook}: Tensor.register_hook
    cdef dict post              # {key: hook}: register_post_accumulate_grad_hook


cdef class Node:
    cdef readonly str name
    cdef int op                 # an elementwise row, or -1: `rule` is called
    cdef object rule
    cdef list edges             # per input: Node, leaf Tensor, or None (no gradient wanted)
    cdef list edge_outputs      # per input: which output of that Node
    cdef tuple shapes           # per input: its shape, for sums over broadcast axes
    cdef list saved             # Saved or None
    cdef readonly object meta
    cdef readonly uint64_t sequence
    cdef readonly int outputs
    cdef bint released
    cdef bint many              # its rule takes a tuple of gradients, however many outputs there are
    cdef NodeHooks hooks        # None, or what users hung on it
    cdef bint into_leaves       # its rule may add to the .grad of leaves itself: see add_product


cdef class Tensor:
    cdef pe_tensor view
    cdef Storage storage
    cdef Tensor grad_
    cdef object row_grad        # None, or a RowSparse: then grad_ is None
    cdef Node node
    cdef int output             # which output of node this is
    cdef bint leaf_requires_grad
    cdef public bint is_parameter  # nn.Parameter's mark: a Module that it is assigned to counts it
    cdef bint is_view
    cdef LeafHooks hooks        # None, or a leaf's
    cdef uint64_t seen_writes   # storage.recorded_writes when this view was made
    cdef object __weakref__
