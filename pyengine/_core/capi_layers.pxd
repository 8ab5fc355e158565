# The calls that layers are made of, for Cython code: `from pyengine._core.capi_layers cimport pe_conv, ...`.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from pyengine._core.capi cimport pe_context, pe_error, pe_status, pe_tensor


cdef extern from "pyengine_layers.h" nogil:
    ctypedef struct pe_conv_args:
        const pe_tensor *x
        const pe_tensor *w
        const pe_tensor *y
        int64_t groups
        int64_t step[3]
        int64_t spacing[3]
        int64_t before[3]
        const pe_tensor *bias
        const pe_tensor *residual
        int activation, accumulate
        const void *packed
    pe_status pe_conv(pe_context *, const pe_conv_args *, pe_error *)
    pe_status pe_conv_input(pe_context *, const pe_conv_args *, pe_error *)
    pe_status pe_conv_weight(pe_context *, const pe_conv_args *, pe_error *)
    pe_status pe_conv_pack_bytes(pe_context *, const pe_conv_args *, size_t *bytes, pe_error *)
    pe_status pe_conv_pack(pe_context *, const pe_conv_args *, void *packed, pe_error *)

    ctypedef struct pe_softmax_args:
        const pe_tensor *in_ "in"
        const pe_tensor *out
        int logarithm
    pe_status pe_softmax(pe_context *, const pe_softmax_args *, pe_error *)
    ctypedef struct pe_softmax_backward_args:
        const pe_tensor *y
        const pe_tensor *g
        const pe_tensor *dx
        int logarithm
    pe_status pe_softmax_backward(pe_context *, const pe_softmax_backward_args *, pe_error *)

    ctypedef struct pe_layer_norm_args:
        const pe_tensor *in_ "in"
        const pe_tensor *weight
        const pe_tensor *bias
        const pe_tensor *out
        const pe_tensor *mean
        const pe_tensor *rstd
        float eps
    pe_status pe_layer_norm(pe_context *, const pe_layer_norm_args *, pe_error *)
    ctypedef struct pe_layer_norm_backward_args:
        const pe_tensor *in_ "in"
        const pe_tensor *g
        const pe_tensor *weight
        const pe_tensor *mean
        const pe_tensor *rstd
        const pe_tensor *dx
        const pe_tensor *dweight
        const pe_tensor *dbias
    pe_status pe_layer_norm_backward(pe_context *, const pe_layer_norm_backward_args *, pe_error *)
    ctypedef struct pe_rms_norm_args:
        const pe_tensor *in_ "in"
        const pe_tensor *weight
        const pe_tensor *out
        const pe_tensor *rstd
        float eps
    pe_status pe_rms_norm(pe_context *, const pe_rms_norm_args *, pe_error *)
    ctypedef struct pe_rms_norm_backward_args:
        const pe_tensor *in_ "in"
        const pe_tensor *g
        const pe_tensor *weight
        const pe_tensor *rstd
        const pe_tensor *dx
        const pe_tensor *dweight
    pe_status pe_rms_norm_backward(pe_context *, const pe_rms_norm_backward_args *, pe_error *)

    ctypedef struct pe_rotary_args:
        const pe_tensor *x
        const pe_tensor *cos
        const pe_tensor *sin
        const pe_tensor *y
        int neighbours
        int back
    pe_status pe_rotary(pe_context *, const pe_rotary_args *, pe_error *)

    ctypedef struct pe_cross_entropy_args:
        const pe_tensor *logits
        const pe_tensor *target
        const pe_tensor *loss
        const pe_tensor *lse
        int64_t ignore_index
        float label_smoothing
        int64_t *counted
    pe_status pe_cross_entropy(pe_context *, const pe_cross_entropy_args *, pe_error *)
    ctypedef struct pe_cross_entropy_backward_args:
        const pe_tensor *logits
        const pe_tensor *target
        const pe_tensor *lse
        const pe_tensor *g
        const pe_tensor *dx
        int64_t ignore_index
        float label_smoothing, scale
    pe_status pe_cross_entropy_backward(pe_context *, const pe_cross_entropy_backward_args *, pe_error *)

    ctypedef struct pe_pool_args:
        const pe_tensor *x
        const pe_tensor *y
        const pe_tensor *place
        int64_t kernel[3]
        int64_t step[3]
        int64_t spacing[3]
        int64_t before[3]
        int include_padding
        double divisor
    pe_status pe_max_pool(pe_context *, const pe_pool_args *, pe_error *)
    pe_status pe_avg_pool(pe_context *, const pe_pool_args *, pe_error *)
    pe_status pe_max_pool_input(pe_context *, const pe_pool_args *, pe_error *)
    pe_status pe_avg_pool_input(pe_context *, const pe_pool_args *, pe_error *)
    ctypedef struct pe_batch_norm_args:
        const pe_tensor *x
        const pe_tensor *y
        const pe_tensor *weight
        const pe_tensor *bias
        const pe_tensor *mean
        const pe_tensor *rstd
        const pe_tensor *running_mean
        const pe_tensor *running_var
        float eps
        float momentum
        int training
    pe_status pe_batch_norm(pe_context *, const pe_batch_norm_args *, pe_error *)
    ctypedef struct pe_batch_norm_backward_args:
        const pe_tensor *x
        const pe_tensor *g
        const pe_tensor *weight
        const pe_tensor *mean
        const pe_tensor *rstd
        const pe_tensor *dx
        const pe_tensor *dweight
        const pe_tensor *dbias
        int training
    pe_status pe_batch_norm_backward(pe_context *, const pe_batch_norm_backward_args *, pe_error *)

    ctypedef struct pe_attention_args:
        const pe_tensor *q
        const pe_tensor *k
        const pe_tensor *v
        const pe_tensor *out
        const pe_tensor *lse
        const pe_tensor *mask
        const pe_tensor *lengths
        const pe_tensor *slopes
        float scale
        int causal
        int64_t query_start, window
    pe_status pe_attention(pe_context *, const pe_attention_args *, pe_error *)
    ctypedef struct pe_attention_backward_args:
        const pe_attention_args *forward
        const pe_tensor *g
        const pe_tensor *dq
        const pe_tensor *dk
        const pe_tensor *dv
    pe_status pe_attention_backward(pe_context *, const pe_attention_backward_args *, pe_error *)

    ctypedef struct pe_rows_by_number_args:
        const pe_tensor *matrix
        const pe_tensor *index
        const pe_tensor *picked
        int64_t step, skip
    pe_status pe_take_rows(pe_context *, const pe_rows_by_number_args *, pe_error *)
    pe_status pe_add_rows(pe_context *, const pe_rows_by_number_args *, pe_error *)
    ctypedef struct pe_bags_args:
        const pe_tensor *matrix
        const pe_tensor *index
        const pe_tensor *offsets
        const pe_tensor *weights
        const pe_tensor *out
        const pe_tensor *place
        int64_t skip
    pe_status pe_sum_bags(pe_context *, const pe_bags_args *, pe_error *)
    pe_status pe_max_bags(pe_context *, const pe_bags_args *, pe_error *)

    enum pe_recurrence_mode:
        PE_RNN_TANH, PE_RNN_RELU, PE_LSTM, PE_GRU
    ctypedef struct pe_recurrence_args:
        int mode, backwards
        int64_t steps
        const int64_t *sizes
        const pe_tensor *x
        const pe_tensor *w_ih
        const pe_tensor *w_hh
        const pe_tensor *b_ih
        const pe_tensor *b_hh
        const pe_tensor *h0
        const pe_tensor *c0
        const pe_tensor *y
        const pe_tensor *h_n
        const pe_tensor *c_n
        const pe_tensor *gates
        const pe_tensor *kept
        const void *packed_ih
        const void *packed_hh
    pe_status pe_recurrence(pe_context *, const pe_recurrence_args *, pe_error *)
    ctypedef struct pe_recurrence_backward_args:
        int mode, backwards
        int64_t steps
        const int64_t *sizes
        const pe_tensor *x
        const pe_tensor *w_ih
        const pe_tensor *w_hh
        const pe_tensor *h0
        const pe_tensor *c0
        const pe_tensor *y
        const pe_tensor *gates
        const pe_tensor *kept
        const pe_tensor *dy
        const pe_tensor *dh_n
        const pe_tensor *dc_n
        const pe_tensor *dx
        const pe_tensor *dw_ih
        const pe_tensor *dw_hh
        const pe_tensor *db_ih
        const pe_tensor *db_hh
        const pe_tensor *dh0
        const pe_tensor *dc0
        int wants_state, add_dx
    pe_status pe_recurrence_backward(pe_context *, const pe_recurrence_backward_args *, pe_error *)
    pe_status pe_recurrence_pack_bytes(pe_context *, const pe_tensor *, int, size_t *, pe_error *)
    pe_status pe_recurrence_pack(pe_context *, const pe_tensor *, int, void *, pe_error *)
