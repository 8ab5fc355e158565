# The public C interface, for Cython code: `from pyengine._core.capi cimport pe_gemm, ...`. (pyengine.get_include says
# where the header is, and what to do before a module that calls these functions is imported.)
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "pyengine.h" nogil:
    const char *PE_VERSION
    enum:
        PE_MAX_DIMS
        PE_KEEP_NONE
        PE_KEEP_INPUTS
        PE_KEEP_OUTPUT
        PE_TAKES_OUTPUT
        PE_NO_ACTIVATION
        PE_RANDOM_UNIFORM
        PE_RANDOM_NORMAL
        PE_OPTIM_STATES
        PE_OPTIM_HYPER

    ctypedef enum pe_status:
        PE_OK
        PE_ERR_ARGUMENT
        PE_ERR_SHAPE
        PE_ERR_DTYPE
        PE_ERR_INDEX
        PE_ERR_MEMORY

    ctypedef struct pe_error:
        pe_status code
        int axis
        char message[240]

    ctypedef enum pe_dtype:
        PE_FLOAT32
        PE_FLOAT64
        PE_BFLOAT16
        PE_FLOAT16
        PE_INT8
        PE_INT16
        PE_INT32
        PE_INT64
        PE_UINT8
        PE_BOOL
        PE_DTYPE_COUNT

    ctypedef struct pe_tensor:
        void *data
        int32_t dtype
        int32_t ndim
        int64_t shape[8]
        int64_t strides[8]

    size_t pe_dtype_size(int dtype)
    const char *pe_dtype_name(int dtype)

    ctypedef struct pe_context:
        pass
    pe_context *pe_default_context()

    ctypedef struct pe_machine:
        char cpu[64]
        char isa[16]
        char isa_best[16]
        size_t l1d, l2, l3
        int cpus_online, cpus_affinity, threads_default
        double cpus_quota
    void pe_machine_info(pe_machine *out)
    const char *const *pe_isa_levels()

    int pe_get_num_threads(pe_context *)
    void pe_set_num_threads(pe_context *, int n)
    void pe_set_flush_denormal(pe_context *, int on)
    int pe_get_flush_denormal(pe_context *)

    ctypedef struct pe_pool_stats:
        uint64_t parallel_calls, shared_calls, chunks, worker_chunks
        int workers
    void pe_pool_statistics(pe_context *, pe_pool_stats *out)

    void *pe_alloc(pe_context *, size_t bytes)
    void pe_free(pe_context *, void *p)

    ctypedef struct pe_memory_stats:
        size_t in_use, cached, peak, cap
        uint64_t allocations, reuses, system_calls
    void pe_memory_statistics(pe_context *, pe_memory_stats *out)
    void pe_set_memory_cap(pe_context *, size_t bytes)
    size_t pe_trim(pe_context *)

    int pe_elementwise_count()
    const char *pe_elementwise_name(int op)
    int pe_elementwise_find(const char *name)

    ctypedef struct pe_elementwise_info:
        const char *name
        int32_t inputs, keep
        int32_t in_dtype[4]
        int32_t out_dtype
        int32_t backward[4]
        int32_t backward_takes[4]
    const pe_elementwise_info *pe_elementwise_describe(int op)

    ctypedef struct pe_elementwise_args:
        int op, inputs
        const pe_tensor *in_ "in"[4]
        const pe_tensor *out
    pe_status pe_elementwise(pe_context *, const pe_elementwise_args *, pe_error *)

    ctypedef struct pe_copy_args:
        const pe_tensor *in_ "in"
        const pe_tensor *out
    pe_status pe_copy(pe_context *, const pe_copy_args *, pe_error *)

    int pe_reduce_find(const char *name)
    int pe_reduce_count()
    const char *pe_reduce_name(int op)
    ctypedef struct pe_reduce_args:
        int op
        uint32_t axes
        const pe_tensor *in_ "in"
        const pe_tensor *out
    pe_status pe_reduce(pe_context *, const pe_reduce_args *, pe_error *)

    ctypedef struct pe_argmax_args:
        int axis, minimum
        const pe_tensor *in_ "in"
        const pe_tensor *out
    pe_status pe_argmax(pe_context *, const pe_argmax_args *, pe_error *)

    ctypedef struct pe_gemm_args:
        const pe_tensor *a
        const pe_tensor *b
        const pe_tensor *bias
        const pe_tensor *c
        int activation, accumulate
        const pe_tensor *residual
        const float *scale
        const void *packed
    pe_status pe_gemm(pe_context *, const pe_gemm_args *, pe_error *)
    ctypedef struct pe_gemm_groups_args:
        const pe_tensor *a
        const pe_tensor *b
        const pe_tensor *c
        const pe_tensor *ends
        int accumulate
    pe_status pe_gemm_groups(pe_context *, const pe_gemm_groups_args *, pe_error *)
    ctypedef struct pe_pack_args:
        const pe_tensor *b
        void *packed
        size_t bytes
    pe_status pe_pack_bytes(pe_context *, const pe_pack_args *, size_t *bytes, pe_error *)
    pe_status pe_pack(pe_context *, const pe_pack_args *, pe_error *)

    enum:
        PE_QUANT_S8
        PE_QUANT_U8
        PE_QUANT_S4
        PE_QUANT_U4
        PE_QPACK_INT8
        PE_QPACK_INT4
    ctypedef struct pe_quantize_args:
        const pe_tensor *in_ "in"
        const pe_tensor *out
        const pe_tensor *scale
        const pe_tensor *zero
        int kind
    pe_status pe_quantize(pe_context *, const pe_quantize_args *, pe_error *)
    ctypedef struct pe_qpack_args:
        const pe_tensor *b
        const pe_tensor *scale
        const pe_tensor *zero
        int kind, group
        void *packed
        size_t bytes
    pe_status pe_qpack_bytes(pe_context *, const pe_qpack_args *, size_t *, pe_error *)
    pe_status pe_qpack(pe_context *, const pe_qpack_args *, pe_error *)
    ctypedef struct pe_qunpack_args:
        const void *packed
        size_t bytes
        const pe_tensor *out
    pe_status pe_qunpack(pe_context *, const pe_qunpack_args *, pe_error *)
    ctypedef struct pe_qgemm_args:
        const pe_tensor *a
        const pe_tensor *b
        const void *packed
        size_t packed_bytes
        const pe_tensor *c
        const pe_tensor *zero_a
        const pe_tensor *scale_a
        const pe_tensor *scale_b
        const pe_tensor *bias
        int activation
    pe_status pe_qgemm(pe_context *, const pe_qgemm_args *, pe_error *)
    ctypedef struct pe_qlinear_args:
        const pe_tensor *x
        const void *packed
        size_t packed_bytes
        const pe_tensor *bias
        const pe_tensor *out
        int activation
    pe_status pe_qlinear(pe_context *, const pe_qlinear_args *, pe_error *)

    ctypedef struct pe_random_args:
        const pe_tensor *out
        int kind
        float a, b
        uint64_t seed, offset
    pe_status pe_random(pe_context *, const pe_random_args *, pe_error *)

    ctypedef struct pe_dropout_args:
        const pe_tensor *in_ "in"
        const pe_tensor *out
        float p
        uint64_t seed, offset
    pe_status pe_dropout(pe_context *, const pe_dropout_args *, pe_error *)

    ctypedef struct pe_optim_slot:
        float *param
        const float *grad
        float *state[3]
        int64_t n
    ctypedef struct pe_optim_args:
        int rule
        int64_t count
        const pe_optim_slot *slots
        const double *hyper
    ctypedef struct pe_optim_info:
        const char *name
        int32_t states, hypers
        const char *hyper[12]
    int pe_optim_count()
    int pe_optim_find(const char *name)
    const pe_optim_info *pe_optim_describe(int rule)
    pe_status pe_optim_step(pe_context *, const pe_optim_args *, pe_error *)

    ctypedef struct pe_norm_args:
        int64_t count
        const float *const *x
        const int64_t *n
        double *out
        double *each
    pe_status pe_norm2(pe_context *, const pe_norm_args *, pe_error *)
