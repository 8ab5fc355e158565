/* What the files of the depthwise convolution share.
 *
 * A convolution and the gradient to its input are one thing seen twice. Both write `out` from `source`, chain over
 * taps, and differ along an axis in who takes steps:
 *   convolution    out place p reads x at  p step + k spacing - before        (step_in = step, step_out = 1)
 *   its gradient   x at  q step + r - before  reads y at  q - (k spacing) / step  for the taps k with
 *                  (k spacing) mod step == r, its phase r                      (step_in = 1, step_out = step)
 * so that, sorted by phases, every window is dense. */
#ifndef PE_DEPTHWISE_PATHS_H
#define PE_DEPTHWISE_PATHS_H

#include "depthwise.h"
#include "sizes.h"

struct dw_axis {
    int64_t taps, spacing, step;
    int64_t step_in, step_out;
    int64_t source, out;       /* sizes */
    int64_t first, count;      /* q: the places of all phases of out */
    int64_t shift;             /* q reads source q step_in + phase + shift on */
    int64_t out_shift;         /* q writes out q step_out + phase + out_shift */
    int64_t reach;             /* cells of one phase that a place needs beside its own */
    int64_t s, t;              /* strides of source and out */
};

/* One of the two, for `images` images and `channels` channels of out. */
struct dw_task {
    pe_context *ctx;
    struct dw_axis axis[PE_CONV_AXES];
    int backward;
    int64_t images, channels;
    const float *source;
    int64_t source_n, source_c;
    int64_t repeat;            /* convolution: so many channels of out have one of source */
    int64_t width;             /* lines: channels of a group, of source and of out; else 1 */
    int64_t sum;               /* gradient: so many channels of source are added to one of out */
    const float *w;
    int64_t w_group, w_o, w_k[PE_CONV_AXES]; /* group c / repeat of out's channel c, o = c % repeat or counts to sum */
    int64_t w_i;               /* lines of several channels a group: w_o is from channel to channel of out, w_i of in */
    float *out;
    int64_t out_n, out_c;
    const float *bias, *residual, *start; /* start: out itself where chains start there */
    pe_loop *activation;
};

/* A block of places of out, and the cells of source that it needs: one copy in a thread's own memory, for `channels`
 * channels, sorted into phases, with zeros outside the source. */
struct dw_box {
    int64_t q[PE_CONV_AXES], n[PE_CONV_AXES];    /* of each axis; the first has always one place */
    int64_t cells[PE_CONV_AXES];                 /* depth (what a place reads), rows and columns of one phase */
    int64_t phase, channel;                      /* floats */
};

/* depthwise_box.c */
void dw_axes(const struct pe_conv_problem *, int backward, struct dw_axis axis[PE_CONV_AXES]);
/* the block of places from q on, of at most n; `deep` planes */
struct dw_box dw_box_at(const struct dw_axis axis[PE_CONV_AXES], const int64_t q[PE_CONV_AXES],
                        const int64_t n[PE_CONV_AXES], int64_t deep);
/* The planes of source (of `channels` channels at most PE_DW_ABREAST, `sizes` and strides in axis[1..2]) into `to`. */
void dw_box_load(pe_context *, const struct dw_axis axis[PE_CONV_AXES], const struct dw_box *, const float *source,
                 int64_t source_c, int64_t channels, float *to);

#define PE_DW_ABREAST 16 /* channels that are turned at a time where the last axis does not lie close */
#define PE_DW_COLUMNS 4096
#define PE_DW_FLOATS 6144 /* of a box, where more than one row of places is in it */

/* depthwise_ring.c: copies of `height` rows of a plane at a time, row v in the place of row v - height, each `width`
 * places of `chunk` channels, with zeros outside the image. */
struct dw_ring {
    float *floats;
    int64_t width, height, chunk;
};
static inline int64_t dw_ring_floats(const struct dw_ring *ring) { return ring->height * ring->width * ring->chunk; }
static inline float *dw_ring_row(const struct dw_ring *ring, int64_t plane, int64_t v) {
    const int64_t place = v - floored(v, ring->height) * ring->height;
    return ring->floats + (plane * ring->height + place) * ring->width * ring->chunk;
}
/* `width` places from number `from` on of a row of `size` places, `apart` floats apart; row NULL: all are zeros. */
void dw_ring_load(const struct dw_ring *ring, const struct pe_gemm_kernels *kernels, float *to, const float *row,
                  int64_t apart, int64_t from, int64_t size, int64_t width, int64_t channels);

/* Asks for the same places of a row that will be read soon. Where images lie behind the second cache this halves the
 * time (72 channels of 56x56, 16 images, Zen 5: 1.3 ms instead of 2.6): hardware sees no pattern in blocks of them. */
void dw_ask(const float *row, int64_t apart, int64_t from, int64_t size, int64_t width, int64_t channels);
#define PE_DW_FAR_FLOATS (1 << 20) /* what is read and written; below that it costs a tenth */

/* depthwise_planes.c */
pe_status dw_by_planes(struct dw_task *, pe_error *);
/* depthwise_lines.c: with the channels last in source and out, and repeat == sum == 1 */
int dw_lines_suit(const struct dw_task *);
pe_status dw_by_lines(struct dw_task *, pe_error *);
/* depthwise_pack.c: the weight as these read it, taps * width * channels floats, dense */
void dw_pack(const struct dw_task *, float *to);
/* depthwise_weight_lines.c: as the shape decides */
int dw_weight_lines_suit(const struct pe_conv_problem *);
pe_status dw_weight_by_lines(pe_context *, const struct pe_conv_problem *, float *dw, pe_error *);

#endif
