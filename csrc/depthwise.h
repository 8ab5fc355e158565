/* Convolution where a channel meets one channel of the input: in == 1 and out <= PE_DEPTHWISE_MOST_OUT. Groups of more
 * channels, and one channel that becomes many, are left to the products (conv_paths.h).
 *
 * Where x is 0 outside its sizes its zeros take part in every chain, as in the equation of conv.h: an infinite weight
 * makes NaN of them. The gradient to x has no such terms. All strides and 1 to 3 axes of space; fast where the channels
 * or the last axis lie close in both x and y. The results have the same bits for every layout, batch, number of threads
 * and level with fused steps. */
#ifndef PE_DEPTHWISE_H
#define PE_DEPTHWISE_H

#include "conv.h"

#define PE_DEPTHWISE_MOST_OUT 4

/* decided by the shape of one sample */
int pe_depthwise_suits(const struct pe_conv_problem *);

/* conv.h's equation */
pe_status pe_depthwise(pe_context *, const struct pe_conv_problem *, pe_error *);

/* dx, with x's sizes and strides, from the gradient to y, which is given in its place:
 *   dx[n, g, u] = sum over (o, k) of y[n, g out + o, p] w[g, o, k], for the p with p step + k spacing - before == u
 * chained in the order of (o, k); 0 where there are none. x, bias, residual, activation and accumulate are not read. */
pe_status pe_depthwise_input(pe_context *, const struct pe_conv_problem *, float *dx, pe_error *);

/* dw, with w's sizes and strides, from x and the gradient to y, which is given in its place:
 *   dw[g, o, k] = sum over (n, p) of y[n, g out + o, p] x[n, g, p step + k spacing - before]
 * w, bias, residual, activation and accumulate are not read. */
pe_status pe_depthwise_weight(pe_context *, const struct pe_conv_problem *, float *dw, pe_error *);

#endif
