/* pyengine: the public C interface. No Python is needed to use it.
 *
 * Every call has the form   pe_status pe_verb(pe_context *, const pe_verb_args *, pe_error *)
 * and keeps no state between calls: what it needs is in its arguments, so an
 * array of argument structs is a program. Calls may come from several threads.
 * `pe_error` may be NULL. Nothing is written when a call fails its checks.
 * The calls that layers of networks are made of are in pyengine_layers.h, which this header includes.
 */
#ifndef PYENGINE_H
#define PYENGINE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PE_API __attribute__((visibility("default")))
#define PE_VERSION "0.1.0"

/* ---- errors ------------------------------------------------------------ */

typedef enum {
    PE_OK = 0,
    PE_ERR_ARGUMENT, /* a value outside its domain                 -> ValueError */
    PE_ERR_SHAPE,    /* shapes that do not fit each other          -> ValueError */
    PE_ERR_DTYPE,    /* an element type the operation has not      -> TypeError  */
    PE_ERR_INDEX,    /* an index or label out of range             -> IndexError */
    PE_ERR_MEMORY    /* no memory                                  -> MemoryError */
} pe_status;

typedef struct pe_error {
    pe_status code;
    int axis;          /* the axis in question, or -1 */
    char message[240]; /* names the operation, the argument and the shapes */
} pe_error;

/* ---- tensors ------------------------------------------------------------ */

#define PE_MAX_DIMS 8

typedef enum { /* names follow the field; pe_dtype_size() gives the bytes */
    PE_FLOAT32 = 0, PE_FLOAT64, PE_BFLOAT16, PE_FLOAT16,
    PE_INT8, PE_INT16, PE_INT32, PE_INT64, PE_UINT8, PE_BOOL,
    PE_DTYPE_COUNT
} pe_dtype;

/* A view of memory that somebody else owns. Element (i0, i1, ...) lies at
 * data + i0*strides[0] + i1*strides[1] + ...; strides are in bytes, may be
 * zero or negative, and must be multiples of the element size. */
typedef struct pe_tensor {
    void *data;
    int32_t dtype;
    int32_t ndim;
    int64_t shape[PE_MAX_DIMS];
    int64_t strides[PE_MAX_DIMS];
} pe_tensor;

PE_API size_t pe_dtype_size(int dtype);
PE_API const char *pe_dtype_name(int dtype);

/* ---- the context: machine, threads, memory ------------------------------ */

typedef struct pe_context pe_context;

/* The context of this process. Cheap; starts no thread. Never NULL. */
PE_API pe_context *pe_default_context(void);

typedef struct pe_machine { /* what was found */
    char cpu[64];
    char isa[16];           /* the level in use */
    char isa_best[16];      /* the highest level this machine and build have */
    size_t l1d, l2, l3;     /* bytes, of one core's L1d and L2, of the shared L3 */
    int cpus_online;
    int cpus_affinity;      /* CPUs this thread may run on */
    double cpus_quota;      /* cgroup limit along all parents; 0: none */
    int threads_default;    /* min(affinity, floor(quota)), at least 1 */
} pe_machine;

PE_API void pe_machine_info(pe_machine *out);
/* Names of the levels this machine and build can run, lowest first; NULL-terminated. */
PE_API const char *const *pe_isa_levels(void);

PE_API int pe_get_num_threads(pe_context *);
PE_API void pe_set_num_threads(pe_context *, int n); /* clamped to 1 .. 256 */
/* Denormals: kept by default. on = 1 sets FTZ/DAZ around kernels, in every thread. */
PE_API void pe_set_flush_denormal(pe_context *, int on);
PE_API int pe_get_flush_denormal(pe_context *);

typedef struct pe_pool_stats {
    uint64_t parallel_calls; /* calls in which workers were invited */
    uint64_t shared_calls;   /* calls in which two or more threads took chunks */
    uint64_t chunks;         /* chunks run in all */
    uint64_t worker_chunks;  /* of these, by workers other than the caller */
    int workers;             /* worker threads that exist now */
} pe_pool_stats;

PE_API void pe_pool_statistics(pe_context *, pe_pool_stats *out);

/* body(begin, end, arg) runs for disjoint ranges that cover 0 .. count. The caller
 * takes part at once; nobody waits for a thread that has not taken a range.
 * Range i is i*grain .. min((i+1)*grain, count), whatever the number of threads, so that
 * begin/grain numbers partial results. Nested calls run inline. A body must not fork.
 * max_threads: 0 for the context's number. */
typedef void pe_range_body(int64_t begin, int64_t end, void *arg);
PE_API void pe_parallel_for(pe_context *, int64_t count, int64_t grain, int max_threads,
                            pe_range_body *body, void *arg);

/* 64-byte aligned memory from the context's cache; NULL when there is none. */
PE_API void *pe_alloc(pe_context *, size_t bytes);
PE_API void pe_free(pe_context *, void *p);

typedef struct pe_memory_stats {
    size_t in_use;      /* bytes handed out now */
    size_t cached;      /* bytes kept for reuse */
    size_t peak;        /* highest in_use so far */
    size_t cap;         /* limit of `cached` */
    uint64_t allocations, reuses, system_calls;
} pe_memory_stats;

PE_API void pe_memory_statistics(pe_context *, pe_memory_stats *out);
PE_API void pe_set_memory_cap(pe_context *, size_t bytes);
PE_API size_t pe_trim(pe_context *); /* give all cached memory back; bytes given */

/* ---- elementwise -------------------------------------------------------- */

/* Operations are rows of csrc/kernels/elementwise.def. A row called `tanh` gives the
 * operations tanh, tanh_backward and tanh_backward_kept; see that file. */
PE_API int pe_elementwise_count(void);
PE_API const char *pe_elementwise_name(int op);
PE_API int pe_elementwise_find(const char *name); /* -1: no such operation */

typedef struct pe_elementwise_info {
    const char *name;
    int32_t inputs;     /* how many */
    int32_t keep;       /* what the derivative needs: PE_KEEP_* */
    int32_t in_dtype[4], out_dtype;
    int32_t backward[4];  /* op that gives the gradient to input i, or -1 */
    int32_t backward_takes[4]; /* what that op takes after the gradient from above, in this
                                * order: bit j: input j; PE_TAKES_OUTPUT: the output */
} pe_elementwise_info;

enum { PE_KEEP_NONE = 0, PE_KEEP_INPUTS = 1, PE_KEEP_OUTPUT = 2 };
enum { PE_TAKES_OUTPUT = 16 };

PE_API const pe_elementwise_info *pe_elementwise_describe(int op);

/* out = op(in...). Inputs broadcast to out's shape by NumPy's rules. out may be
 * one of the inputs exactly (same data, shape, strides), otherwise they must not overlap. */
typedef struct pe_elementwise_args {
    int op;
    int inputs;
    const pe_tensor *in[4];
    const pe_tensor *out;
} pe_elementwise_args;

PE_API pe_status pe_elementwise(pe_context *, const pe_elementwise_args *, pe_error *);

/* Copy with conversion; in broadcasts to out. Float to integer truncates as C does,
 * out of range or NaN gives the lowest value (0 for unsigned); bool is x != 0. */
typedef struct pe_copy_args { const pe_tensor *in, *out; } pe_copy_args;
PE_API pe_status pe_copy(pe_context *, const pe_copy_args *, pe_error *);

/* ---- reductions --------------------------------------------------------- */

/* Rows of csrc/kernels/reduce.def: sum mean prod amax amin ... The order of the
 * combination depends on the logical sequence alone (see that file). */
PE_API int pe_reduce_count(void);
PE_API const char *pe_reduce_name(int op);
PE_API int pe_reduce_find(const char *name);

typedef struct pe_reduce_args {
    int op;
    uint32_t axes;        /* bit i set: axis i is reduced */
    const pe_tensor *in;  /* float32 */
    const pe_tensor *out; /* float32, same ndim as in, reduced axes of size 1 */
} pe_reduce_args;
PE_API pe_status pe_reduce(pe_context *, const pe_reduce_args *, pe_error *);

/* Index of the first maximum (or NaN) along one axis; out is int64, that axis of size 1. */
typedef struct pe_argmax_args { int axis, minimum; const pe_tensor *in, *out; } pe_argmax_args;
PE_API pe_status pe_argmax(pe_context *, const pe_argmax_args *, pe_error *);

/* ---- products ----------------------------------------------------------- */

#define PE_NO_ACTIVATION (-1)

/* c = act(scale a b + bias) + residual, batched over leading axes that broadcast.
 *   c[..,i,j] = act( scale * chain_{p=0..k-1} fma(a[..,i,p], b[..,p,j], .) + bias[j] ) + residual[..,i,j]
 * The chain over k is sequential and starts at +0 (at c when accumulate is set); each of the steps
 * after it rounds on its own, and those not asked for are left out. a (..,m,k), b (..,k,n), c (..,m,n),
 * bias (n) or NULL, residual c's shape or NULL, scale one number or NULL; any strides; c overlaps
 * nothing. All are float32; a and b may be bfloat16. One of them is widened to float32. Both: c may be bfloat16 too
 * (rounded once, after all; not with accumulate), and the sum over k is the level's own: the chain above over the
 * widened numbers or, at the levels amx and avx512_bf16, their instruction's (docs/decisions/010), in which numbers
 * below 2^-126 count as 0.
 * activation: a one-input elementwise op. packed: a weight (k, n) laid out by pe_pack, in place of b,
 * which then is NULL; the bits are the same. */
typedef struct pe_gemm_args {
    const pe_tensor *a, *b, *bias, *c;
    int activation;
    int accumulate;
    const pe_tensor *residual;
    const float *scale;
    const void *packed;
} pe_gemm_args;
PE_API pe_status pe_gemm(pe_context *, const pe_gemm_args *, pe_error *);

/* Products of ragged groups in one call: group g has the places ends[g-1] (0 for the first) .. ends[g]-1.
 *   b (groups, k, n), a (rows, k), c (rows, n):   c[r,:] = a[r,:] b[g] for the rows of group g
 *   b (rows, n), a (m, rows), c (groups, m, n):   c[g] = a[:, rows of g] b[rows of g, :], 0 without rows
 * ends (groups) int64, never falling, the last one is rows. float32, any strides; chains, accumulate and bits as
 * pe_gemm's for each group by itself; c overlaps nothing. */
typedef struct pe_gemm_groups_args {
    const pe_tensor *a, *b, *c, *ends;
    int accumulate;
} pe_gemm_groups_args;
PE_API pe_status pe_gemm_groups(pe_context *, const pe_gemm_groups_args *, pe_error *);

/* Lays b (k, n), float32 or bfloat16 (which it stays), any strides, out as products read it: done once for
 * a weight that is used many times. packed: pe_pack_bytes(..) bytes of the caller's on a boundary of 64.
 * A pack belongs to the level of this process; one of another level is refused. */
typedef struct pe_pack_args {
    const pe_tensor *b;
    void *packed;
    size_t bytes;
} pe_pack_args;
PE_API pe_status pe_pack_bytes(pe_context *, const pe_pack_args *, size_t *bytes, pe_error *);
PE_API pe_status pe_pack(pe_context *, const pe_pack_args *, pe_error *);

/* ---- quantized products ------------------------------------------------- */

/* How rows of floats become small integers q, x ~ scale (q - zero). Ties go to even. scale is at least 2^-126.
 * A row that holds a NaN or an infinity has the scale NaN and every q at zero: what is made of it is NaN. */
enum {
    PE_QUANT_S8 = 0, /* int8, -127 .. 127, zero 0:    scale = max|x| / 127 */
    PE_QUANT_U8,     /* uint8, 0 .. 255:              scale = (max - min) / 255 with 0 inside min .. max */
    PE_QUANT_S4,     /* uint8 holding 1 .. 15, zero 8: scale = max|x| / 7 */
    PE_QUANT_U4      /* uint8 holding 0 .. 15:        scale = (max - min) / 15 with 0 inside min .. max */
};

/* Each row of in by itself. in (rows, n) float32, any strides; out (rows, n) int8 or uint8 with a dense last
 * axis; scale (rows) float32; zero (rows) int32, or NULL for the kinds whose zero is fixed. No overlap. */
typedef struct pe_quantize_args {
    const pe_tensor *in, *out, *scale, *zero;
    int kind;
} pe_quantize_args;
PE_API pe_status pe_quantize(pe_context *, const pe_quantize_args *, pe_error *);

enum { PE_QPACK_INT8 = 0, PE_QPACK_INT4 };

/* Weights in the order in which the kernels read them, in a buffer of the caller's, aligned to 64 bytes. It
 * holds no pointer; a pack of another instruction set's width, or cut short, is refused where it is used.
 *   INT8: b (k, n) int8; scale (n) float32 of each column, or NULL (then for exact sums only); zero NULL.
 *   INT4: b (k, n) uint8 holding 0 .. 15; group (32, 64 or 128) steps of k share a scale and a zero:
 *         b[p,j] stands for scale[p/group, j] (b[p,j] - zero[p/group, j]); scale and zero (ceil(k/group), n)
 *         float32; zero NULL: 8. */
typedef struct pe_qpack_args {
    const pe_tensor *b, *scale, *zero;
    int kind;
    int group; /* INT4 only */
    void *packed;
    size_t bytes;
} pe_qpack_args;
/* *bytes: the size that this pack needs; `packed` and `bytes` of args are not looked at. */
PE_API pe_status pe_qpack_bytes(pe_context *, const pe_qpack_args *, size_t *bytes, pe_error *);
PE_API pe_status pe_qpack(pe_context *, const pe_qpack_args *, pe_error *);

/* out (k, n) float32, any strides: the weights that a pack with scales stands for. */
typedef struct pe_qunpack_args { const void *packed; size_t bytes; const pe_tensor *out; } pe_qunpack_args;
PE_API pe_status pe_qunpack(pe_context *, const pe_qunpack_args *, pe_error *);

/* The product of bytes, exact in int32 (modulo 2^32, as NumPy's int32): the same bits on every level.
 *   s[i,j] = sum over p of (a[i,p] - zero_a[i]) b[p,j]
 *   c int32:    c = s
 *   c float32:  c[i,j] = act( float(s[i,j]) * (scale_a[i] * scale_b[j]) + bias[j] ), each step rounded
 * a (m, k) uint8 or int8; b (k, n) int8, or NULL and a PE_QPACK_INT8 pack instead. zero_a int32 and scale_a
 * float32 have m elements or 1; zero_a NULL: 0. scale_b (n) float32, NULL: the pack's. bias (n) float32 or
 * NULL. scales, bias and activation belong to a float32 c alone. Any strides; c overlaps nothing. */
typedef struct pe_qgemm_args {
    const pe_tensor *a, *b;
    const void *packed;
    size_t packed_bytes;
    const pe_tensor *c;
    const pe_tensor *zero_a, *scale_a, *scale_b, *bias;
    int activation; /* PE_NO_ACTIVATION, or a one-input elementwise op */
} pe_qgemm_args;
PE_API pe_status pe_qgemm(pe_context *, const pe_qgemm_args *, pe_error *);

/* out = act(x w + bias) for float32 x (m, k) against packed weights, out (m, n) float32.
 *   INT8: each row of x is quantized first (PE_QUANT_U8), then as pe_qgemm; k <= 65793, so that no sum wraps.
 *   INT4: x stays float32; the sum over k is one chain a group, and one chain over the groups:
 *         out = chain over g of fma(scale[g,j], chain over p in g of fma(x[i,p], b[p,j] - zero[g,j], .), .)
 * The bits of a row depend neither on the other rows nor on threads. x any strides; out overlaps nothing. */
typedef struct pe_qlinear_args {
    const pe_tensor *x;
    const void *packed;
    size_t packed_bytes;
    const pe_tensor *bias, *out;
    int activation;
} pe_qlinear_args;
PE_API pe_status pe_qlinear(pe_context *, const pe_qlinear_args *, pe_error *);

/* ---- random numbers ----------------------------------------------------- */

/* Philox-4x32-10, counter-based: element i depends on (seed, offset + i) alone. */
enum { PE_RANDOM_UNIFORM = 0 /* a + (b-a) u, u in [0,1) */, PE_RANDOM_NORMAL = 1 /* a + b z */ };
typedef struct pe_random_args {
    const pe_tensor *out; /* float32, contiguous */
    int kind;
    float a, b;
    uint64_t seed, offset;
} pe_random_args;
PE_API pe_status pe_random(pe_context *, const pe_random_args *, pe_error *);

/* out = x / (1-p) where u(seed, offset+i) >= p, else 0; its own derivative with the same seed. */
typedef struct pe_dropout_args {
    const pe_tensor *in, *out; /* float32; i counts in's logical order */
    float p;
    uint64_t seed, offset;
} pe_dropout_args;
PE_API pe_status pe_dropout(pe_context *, const pe_dropout_args *, pe_error *);

/* ---- optimizer steps ---------------------------------------------------- */

/* Rows of csrc/kernels/optim.def: sgd, sgd_momentum, adam (and AdamW), adam_amsgrad, nadam, radam,
 * adamax, adagrad, adadelta, rmsprop (four rows: with momentum, centered), rprop, asgd, lion; and
 * lerp (a running average) and scale (of gradients: param and grad are one tensor). One call updates
 * every tensor; parameter groups with other hyper-parameters are further calls. */
#define PE_OPTIM_STATES 3
#define PE_OPTIM_HYPER 12
typedef struct pe_optim_info {
    const char *name;
    int32_t states;                    /* how many the rule keeps, each of the parameter's size */
    int32_t hypers;                    /* how many hyper-parameters it takes ... */
    const char *hyper[PE_OPTIM_HYPER]; /* ... and their names, in order */
} pe_optim_info;

PE_API int pe_optim_count(void);
PE_API int pe_optim_find(const char *name); /* -1: no such rule */
PE_API const pe_optim_info *pe_optim_describe(int rule);

typedef struct pe_optim_slot { /* contiguous float32, n elements each, all disjoint (grad may be param) */
    float *param;
    const float *grad;
    float *state[PE_OPTIM_STATES]; /* the first `states` of them; the caller fills them before step 1: zeros,
                                   * but rprop's step sizes (lr) and adagrad's sums (their first value) */
    int64_t n;
} pe_optim_slot;

typedef struct pe_optim_args {
    int rule;
    int64_t count;
    const pe_optim_slot *slots;
    const double *hyper; /* pe_optim_describe(rule)->hypers of them */
} pe_optim_args;
PE_API pe_status pe_optim_step(pe_context *, const pe_optim_args *, pe_error *);

/* out = the 2-norm of all elements of all tensors, contiguous float32 of n[i] elements each. The sums of
 * squares of 16,384 elements at a time are float32 in the order of pe_reduce, their sum is double: the
 * bits depend on neither threads nor instruction set. */
typedef struct pe_norm_args {
    int64_t count;
    const float *const *x;
    const int64_t *n;
    double *out;
    double *each; /* NULL, or count places for the 2-norm of each tensor */
} pe_norm_args;
PE_API pe_status pe_norm2(pe_context *, const pe_norm_args *, pe_error *);

#ifdef __cplusplus
}
#endif

#include "pyengine_layers.h"
#endif
