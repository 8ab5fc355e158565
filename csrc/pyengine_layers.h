/* pyengine: the part of the public C interface that layers of networks are made of: windows over space, softmax and
 * losses, norms, rows by number. pyengine.h includes it; either may be named. */
#ifndef PYENGINE_LAYERS_H
#define PYENGINE_LAYERS_H

#include "pyengine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- convolutions ------------------------------------------------------- */

/* x (N, groups I, space), w (groups O, I, kernel), y (N, groups O, places), one to three axes of space, any strides;
 *   y[n,o,p] = act( chain over taps k, the last axis fastest, and channels i inside, of
 *                   fma(x[n, i, p step + k spacing - before], w[o,i,k], .) + bias[o] ) + residual[n,o,p]
 * with x 0 outside. Convolutions of 3 x 3 taps, one apart and in one group, go by Winograd's F(4x4, 3x3) where that is
 * faster for a sample of that shape: the sums then are within winograd.h's bound in place of the chain's. Chains start
 * at +0, at the result's elements when accumulate is set. What lies behind the last window, and how much of it is
 * padding, follows from the sizes. bias is dense, one float a channel of the result; residual has the result's shape
 * and strides; both may be NULL. The result overlaps nothing. float32.
 * pe_conv writes y. pe_conv_input writes x, the sum over all windows that meet an element of y w (the gradient by x;
 * a transposed convolution). pe_conv_weight writes w, the sum over images and places of x y (the gradient by w).
 * packed: w laid out by pe_conv_pack, or NULL; for pe_conv alone, which reads w where another way suits it. */
typedef struct pe_conv_args {
    const pe_tensor *x, *w, *y;
    int64_t groups, step[3], spacing[3], before[3];
    const pe_tensor *bias, *residual;
    int activation, accumulate;
    const void *packed;
} pe_conv_args;
PE_API pe_status pe_conv(pe_context *, const pe_conv_args *, pe_error *);
PE_API pe_status pe_conv_input(pe_context *, const pe_conv_args *, pe_error *);
PE_API pe_status pe_conv_weight(pe_context *, const pe_conv_args *, pe_error *);
/* Lays w out once for many convolutions of shapes like these; the bits are the same. packed: the caller's *bytes
 * that pe_conv_pack_bytes says (0: there is nothing to gain), on a boundary of 64. Of one level of one process. */
PE_API pe_status pe_conv_pack_bytes(pe_context *, const pe_conv_args *, size_t *bytes, pe_error *);
PE_API pe_status pe_conv_pack(pe_context *, const pe_conv_args *, void *packed, pe_error *);

/* ---- attention ---------------------------------------------------------- */

/* out[b,h,i] = sum over j of w[i,j] v[b,g,j], w = softmax over the keys j that i sees of
 *   q[b,h,i] . k[b,g,j] scale + mask[b,h,i,j] - slopes[h] |query_start + i - j|,   g = h / (heads of q / heads of k);
 * zeros where it sees none. It sees j < lengths[b]; where causal is set, j <= query_start + i, and where window is not
 * 0, j > query_start + i - window.
 * q (B, H, L, E), k (B, G, S, E), v (B, G, S, V), out (B, H, L, V): float32, rows dense, other strides free. mask
 * (B, H, L, S): float32, or bool (true: takes part); any strides, 0 among them. lengths (B) int64; slopes (H) float32.
 * lse, dense (B, H, L): the logarithm of the sum of exponentials, +infinity where no key is seen. All four may be NULL.
 * The bits of a row depend on what it sees alone: not on threads, other rows, or keys behind the last it sees; where a
 * call has 64 queries or fewer and some see more than 64 keys, as in decoding, also on how many queries it has. Scratch
 * does not grow with L. out and lse overlap nothing. */
typedef struct pe_attention_args {
    const pe_tensor *q, *k, *v, *out, *lse, *mask, *lengths, *slopes;
    float scale;
    int causal;
    int64_t query_start, window;
} pe_attention_args;
PE_API pe_status pe_attention(pe_context *, const pe_attention_args *, pe_error *);
/* From the gradient g of out: dq, dk, dv, of the shapes of q, k, v (dk and dv summed over the heads that share them).
 * forward has out and lse as they were made. Weights are computed again; the order of all sums follows from the shapes
 * alone. Beside the scratch, at most three more of dk and dv. */
typedef struct pe_attention_backward_args {
    const pe_attention_args *forward;
    const pe_tensor *g, *dq, *dk, *dv;
} pe_attention_backward_args;
PE_API pe_status pe_attention_backward(pe_context *, const pe_attention_backward_args *, pe_error *);

/* ---- softmax and cross entropy ------------------------------------------ */

/* Along the last axis. out = exp(x - lse(x)), or x - lse(x) when logarithm is set. */
typedef struct pe_softmax_args { const pe_tensor *in, *out; int logarithm; } pe_softmax_args;
PE_API pe_status pe_softmax(pe_context *, const pe_softmax_args *, pe_error *);
/* dx from the output y and the gradient g: y (g - sum(g y)), or g - exp(y) sum(g). */
typedef struct pe_softmax_backward_args {
    const pe_tensor *y, *g, *dx; int logarithm;
} pe_softmax_backward_args;
PE_API pe_status pe_softmax_backward(pe_context *, const pe_softmax_backward_args *, pe_error *);

/* loss[i] = w[i] (lse(x[i]) - x[i, t[i]]), with w[i] = 0 where t[i] == ignore_index, else 1.
 * logits (n, classes) float32, target (n) int64, loss (n), lse (n). A label outside
 * 0 .. classes-1 is PE_ERR_INDEX. *counted: how many rows were not ignored. */
typedef struct pe_cross_entropy_args {
    const pe_tensor *logits, *target, *loss, *lse;
    int64_t ignore_index;
    float label_smoothing;
    int64_t *counted;
} pe_cross_entropy_args;
PE_API pe_status pe_cross_entropy(pe_context *, const pe_cross_entropy_args *, pe_error *);
/* dx[i,j] = g[i] (exp(x[i,j] - lse[i]) - smoothed one-hot), 0 for ignored rows; g (n) may have stride 0. */
typedef struct pe_cross_entropy_backward_args {
    const pe_tensor *logits, *target, *lse, *g, *dx;
    int64_t ignore_index;
    float label_smoothing;
    float scale; /* multiplies g: 1/counted for the mean */
} pe_cross_entropy_backward_args;
PE_API pe_status pe_cross_entropy_backward(pe_context *, const pe_cross_entropy_backward_args *, pe_error *);

/* ---- layer and RMS normalization ---------------------------------------- */

/* Along the last axis of n elements, in rows: out = (in - mean) rstd weight + bias with
 * rstd = 1 / sqrt(variance + eps), the variance about the mean and divided by n. weight and bias (n)
 * may be NULL: 1 and 0. mean and rstd (rows) are dense, rows in row-major order; all is float32.
 * out may be in. */
typedef struct pe_layer_norm_args {
    const pe_tensor *in, *weight, *bias, *out, *mean, *rstd; float eps;
} pe_layer_norm_args;
PE_API pe_status pe_layer_norm(pe_context *, const pe_layer_norm_args *, pe_error *);
/* From the gradient g of out: dx, and where not NULL dweight (n) and dbias (n), summed over the rows
 * in an order that follows from the shape alone: threads do not change the bits. */
typedef struct pe_layer_norm_backward_args {
    const pe_tensor *in, *g, *weight, *mean, *rstd, *dx, *dweight, *dbias;
} pe_layer_norm_backward_args;
PE_API pe_status pe_layer_norm_backward(pe_context *, const pe_layer_norm_backward_args *, pe_error *);

/* out = in rstd weight with rstd = 1 / sqrt(mean(in^2) + eps); the rest as above. */
typedef struct pe_rms_norm_args { const pe_tensor *in, *weight, *out, *rstd; float eps; } pe_rms_norm_args;
PE_API pe_status pe_rms_norm(pe_context *, const pe_rms_norm_args *, pe_error *);
typedef struct pe_rms_norm_backward_args {
    const pe_tensor *in, *g, *weight, *rstd, *dx, *dweight;
} pe_rms_norm_backward_args;
PE_API pe_status pe_rms_norm_backward(pe_context *, const pe_rms_norm_backward_args *, pe_error *);

/* ---- rotary positions --------------------------------------------------- */

/* Pairs (a, b) of the last axis of x (..., T, E) turned by the angles of their position, (a c - b s, b c + a s), into y
 * of the same shape, which is not x: of features i and i + D/2, or with neighbours of 2 i and 2 i + 1. cos and sin
 * (T, D/2); features from D on are copied. back: turned by the negative angles, which is also the gradient. */
typedef struct pe_rotary_args { const pe_tensor *x, *cos, *sin, *y; int neighbours, back; } pe_rotary_args;
PE_API pe_status pe_rotary(pe_context *, const pe_rotary_args *, pe_error *);

/* ---- pooling ------------------------------------------------------------ */

/* Windows of x (N, C, space), one to three axes of space, into y (N, C, places): place p holds the elements
 * p step + k spacing - before, those outside left out. Where kernel is 0 the axis is shared out instead: place p of P
 * holds the elements from floor(p n / P) up to ceil((p + 1) n / P). All tensors are dense and of one memory format:
 * row-major, or channels last; the bits are the same. place (int32, y's shape) holds each maximum's number in x's
 * flattened space, -1 where a window has nothing inside; pe_max_pool may do without. Of equal numbers the first wins,
 * NaN wins over numbers. pe_avg_pool divides by divisor, or where that is 0 by the elements of the window that lie
 * inside, the padding `before` (and as much behind) included or not; its spacing is 1.
 * The _input functions write x from y, the gradient: each element of y added at its place, or over its window, the sums
 * divided by divisor where that is not 0. */
typedef struct pe_pool_args {
    const pe_tensor *x, *y, *place;
    int64_t kernel[3], step[3], spacing[3], before[3];
    int include_padding;
    double divisor;
} pe_pool_args;
PE_API pe_status pe_max_pool(pe_context *, const pe_pool_args *, pe_error *);
PE_API pe_status pe_avg_pool(pe_context *, const pe_pool_args *, pe_error *);
PE_API pe_status pe_max_pool_input(pe_context *, const pe_pool_args *, pe_error *);
PE_API pe_status pe_avg_pool_input(pe_context *, const pe_pool_args *, pe_error *);

/* ---- batch normalization ------------------------------------------------ */

/* y = (x - mean) rstd weight + bias by channel, rstd = 1 / sqrt(variance + eps). x and y (N, C, ...) are dense and of
 * one memory format: row-major, or channels last; the bits are the same, and the order of all sums follows from the
 * shape alone. All others hold C dense floats; weight and bias may be NULL: 1 and 0.
 * training: mean and the variance (divided by the count) are x's, and where running_mean and running_var are given they
 * move towards them by momentum, the variance there divided by one less. Else the running ones are taken.
 * mean and rstd: what was used is written there; may be NULL. */
typedef struct pe_batch_norm_args {
    const pe_tensor *x, *y, *weight, *bias, *mean, *rstd, *running_mean, *running_var;
    float eps, momentum;
    int training;
} pe_batch_norm_args;
PE_API pe_status pe_batch_norm(pe_context *, const pe_batch_norm_args *, pe_error *);
/* From the gradient g of y (x's memory format): dx, dweight and dbias, each of which may be NULL. mean and rstd are
 * those that were used, functions of x where training is set. */
typedef struct pe_batch_norm_backward_args {
    const pe_tensor *x, *g, *weight, *mean, *rstd, *dx, *dweight, *dbias;
    int training;
} pe_batch_norm_backward_args;
PE_API pe_status pe_batch_norm_backward(pe_context *, const pe_batch_norm_backward_args *, pe_error *);

/* ---- recurrence --------------------------------------------------------- */

/* The steps of one direction of a recurrent layer. x (rows, in) holds the input of all steps, one step behind the
 * other: sizes[t] rows of step t, never more than of the step before, or NULL: all are alike. With
 * a = (w_ih x + b_ih) + (w_hh h + b_hh), h and c of the step before, h0 and c0 at first, from the last step on where
 * backwards is set, w_ih (G H, in), w_hh (G H, H), the biases (G H) or NULL:
 *   RNN   h = tanh(a), relu(a)                                                   G = 1
 *   LSTM  c = sigmoid(a_f) c + sigmoid(a_i) tanh(a_g), h = sigmoid(a_o) tanh(c)  G = 4: i f g o
 *   GRU   n = tanh(w_ih x + b_ih + sigmoid(a_r) p), p = w_hh h + b_hh, both n's part,
 *         h = n + sigmoid(a_z) (h - n)                                           G = 3: r z n
 * y (rows, H) becomes h of every step, h_n and c_n (sizes[0], H) that of each sequence's last. c0 and c_n belong to the
 * LSTM. gates (rows, G H) and kept (rows, H) are for the derivative, or both NULL: what the squashing functions gave,
 * and c of every step (LSTM) or p (GRU). Columns lie side by side, rows as far apart as they like; nothing overlaps;
 * all is float32. A row's bits depend on its sequence alone: neither on threads nor on the rows beside it. */
enum pe_recurrence_mode { PE_RNN_TANH = 0, PE_RNN_RELU, PE_LSTM, PE_GRU };
typedef struct pe_recurrence_args {
    int mode, backwards;
    int64_t steps;
    const int64_t *sizes;
    const pe_tensor *x, *w_ih, *w_hh, *b_ih, *b_hh, *h0, *c0, *y, *h_n, *c_n, *gates, *kept;
    const void *packed_ih; /* w_ih turned, by pe_pack, or NULL */
    const void *packed_hh; /* w_hh by pe_recurrence_pack, or NULL */
} pe_recurrence_args;
PE_API pe_status pe_recurrence(pe_context *, const pe_recurrence_args *, pe_error *);

/* Its derivative, from what it kept and the gradients dy (rows, H), dh_n, dc_n, each of which may be NULL: 0. What is
 * not NULL of dx, dw_ih, dw_hh, db_ih and db_hh is written; dx is added to where add_dx is set. dc0 (LSTM) and dh0
 * become the gradients of the state where wants_state is set: else they are memory to work in, and dh0 may be NULL but
 * for the GRU. The sums over rows are one chain, from the last step of the recurrence to the first. */
typedef struct pe_recurrence_backward_args {
    int mode, backwards;
    int64_t steps;
    const int64_t *sizes;
    const pe_tensor *x, *w_ih, *w_hh, *h0, *c0, *y, *gates, *kept, *dy, *dh_n, *dc_n;
    const pe_tensor *dx, *dw_ih, *dw_hh, *db_ih, *db_hh, *dh0, *dc0;
    int wants_state, add_dx;
} pe_recurrence_backward_args;
PE_API pe_status pe_recurrence_backward(pe_context *, const pe_recurrence_backward_args *, pe_error *);

/* Lays a weight (gates H, H) out once for many calls of pe_recurrence; the bits are the same. packed:
 * pe_recurrence_pack_bytes(..) bytes of the caller's on a boundary of 64. Of one level of one process. */
PE_API pe_status pe_recurrence_pack_bytes(pe_context *, const pe_tensor *weight, int gates, size_t *bytes, pe_error *);
PE_API pe_status pe_recurrence_pack(pe_context *, const pe_tensor *weight, int gates, void *packed, pe_error *);

/* ---- rows by number ------------------------------------------------------ */

/* matrix (rows, n), index (count) int64, picked (count, n). Entry i means the row index[i] + i * step: with step 0
 * any row, 0 .. rows-1; else the index[i]-th of its own `step` rows (a label among classes), count * step = rows.
 * Others are PE_ERR_INDEX, but the entry `skip` (give an impossible one for none) picks zeros and adds nothing. */
typedef struct pe_rows_by_number_args {
    const pe_tensor *matrix, *index, *picked;
    int64_t step, skip;
} pe_rows_by_number_args;
/* picked[i] = matrix[index[i] + i * step] */
PE_API pe_status pe_take_rows(pe_context *, const pe_rows_by_number_args *, pe_error *);
/* matrix = 0, then matrix[index[i] + i * step] += picked[i] in the order of i: the bits do not depend on threads. */
PE_API pe_status pe_add_rows(pe_context *, const pe_rows_by_number_args *, pe_error *);

/* Bag b holds the entries offsets[b] .. offsets[b+1]-1 of index (count) int64: rows of matrix (rows, n), those that are
 * `skip` left out; others outside 0 .. rows-1 are PE_ERR_INDEX. offsets (bags + 1) int64, 0 to count, never falling.
 * pe_sum_bags: out[b] = sum over its entries e, in their order from +0, of weights[e] * matrix[index[e]], the product
 * rounded by itself; weights (count) or NULL: 1. pe_max_bags: the maximum of each column and in place (bags, n) int64,
 * dense, the entry it is from, -1 in an empty bag, whose out is 0; of equal numbers the first wins, NaN over all. */
typedef struct pe_bags_args {
    const pe_tensor *matrix, *index, *offsets, *weights, *out, *place;
    int64_t skip;
} pe_bags_args;
PE_API pe_status pe_sum_bags(pe_context *, const pe_bags_args *, pe_error *);
PE_API pe_status pe_max_bags(pe_context *, const pe_bags_args *, pe_error *);

#ifdef __cplusplus
}
#endif
#endif
