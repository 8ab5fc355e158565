/* The gates of recurrent layers, for one row of n > 0 hidden units, and their derivatives. Gate k of unit u lies
 * k * gate_step + u behind the pointer, in the order of pyengine_layers.h: i f g o (LSTM), r z n (GRU), one (RNN).
 * Each operation rounds on its own, as if it were a call: fused and composed layers have the same bits. */
#ifndef PE_KERNELS_RECURRENCE_H
#define PE_KERNELS_RECURRENCE_H

#include <stddef.h>

/* With a = gates + (sum + bias), gate by gate:
 *   lstm  c = sigmoid(a_f) before + sigmoid(a_i) tanh(a_g),  y = sigmoid(a_o) tanh(c)
 *   gru   p = sum_n + bias_n,  n = tanh(gates_n + sigmoid(a_r) p),  y = n + sigmoid(a_z) (before - n)
 *   rnn   y = tanh(a) or relu(a)
 * Where keep is set, gates becomes what the squashing functions gave, and lstm's c or gru's p goes to kept. */
struct pe_gates {
    size_t n;
    const float *sum;    /* h' W^T; gates sum_step apart; readable up to whole vectors */
    size_t sum_step;
    float *gates;        /* x W^T + bias of the input */
    size_t gate_step;    /* of gates and bias */
    const float *ahead;  /* gates of the row that comes next, to be asked for */
    const float *bias;   /* or NULL: 0 */
    const float *before; /* lstm: c of the step before; gru: h of the step before */
    float *y, *c, *kept; /* c may be before */
    int keep;
};

/* dh = sum + dy is the gradient of y. gates and kept hold what forward kept (lstm: kept is c); dgates becomes the
 * gradient of a, for gru's n of what tanh is taken of, and dstate the same, but n's of p.
 *   lstm  carry: the gradient of c from later steps, becomes that of `before`
 *   gru   carry: becomes dh sigmoid(a_z), what y = .. + z before sends back at once */
struct pe_gate_slopes {
    size_t n;
    const float *sum;    /* readable up to whole vectors */
    const float *dy;     /* or NULL: 0 */
    const float *gates;
    size_t gate_step;    /* of gates, dgates and dstate */
    const float *before, *kept;
    float *carry, *dgates, *dstate;
};

struct pe_recurrence_kernels { /* by enum pe_recurrence_mode */
    void (*gates[4])(const struct pe_gates *);
    void (*slopes[4])(const struct pe_gate_slopes *);
};

#endif
