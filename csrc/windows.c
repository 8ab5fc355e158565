/* A block of the windows' matrix, copied run by run: the places of one output row against the channels of one tap are
 * a rectangle with constant strides, of which the part outside the image is zeros. */
#include "windows.h"
#include "sizes.h"

#include <string.h>

/* Places of one row: where they start (image and place), and how many there are. */
struct row {
    int64_t image, at[PE_CONV_AXES], count;
};

static struct row row_from(const struct pe_conv_problem *w, int64_t i, int64_t most) {
    struct row row;
    for (int d = PE_CONV_AXES - 1; d >= 0; d--) {
        row.at[d] = i % w->places[d];
        i /= w->places[d];
    }
    row.image = i;
    row.count = min64(w->places[PE_CONV_AXES - 1] - row.at[PE_CONV_AXES - 1], most);
    return row;
}

static void clear(float *to, int64_t places, int64_t deep, int64_t to_place, int64_t to_p) {
    int64_t lines = deep, length = places, apart = to_p;
    if (to_p == 1) lines = places, length = deep, apart = to_place;
    for (int64_t y = 0; y < lines; y++) memset(to + y * apart, 0, (size_t)length * sizeof *to);
}

/* The row's places against `deep` channels from `channel` on, at one tap. */
static void copy_tap(const struct pe_gemm_kernels *kernels, const struct pe_conv_problem *w, const float *x,
                     const struct row *row, const int64_t tap[PE_CONV_AXES], int64_t channel, int64_t deep, float *to,
                     int64_t to_place, int64_t to_p) {
    const int last = PE_CONV_AXES - 1;
    int64_t from = row->image * w->x_n + channel * w->x_c, at[PE_CONV_AXES], inside = 1;
    for (int d = 0; d < PE_CONV_AXES; d++) {
        at[d] = row->at[d] * w->step[d] + tap[d] * w->spacing[d] - w->before[d];
        if (d < last) inside &= at[d] >= 0 && at[d] < w->size[d];
        from += at[d] * w->x_s[d];
    }
    /* places [low, high) of the row lie inside */
    int64_t low = at[last] < 0 ? min64(parts(-at[last], w->step[last]), row->count) : 0;
    int64_t high = low;
    if (inside && at[last] < w->size[last]) high = min64(parts(w->size[last] - at[last], w->step[last]), row->count);
    if (high < low) high = low;
    if (low > 0) clear(to, low, deep, to_place, to_p);
    if (high < row->count) clear(to + high * to_place, row->count - high, deep, to_place, to_p);
    if (low == high) return;
    int64_t apart = w->step[last] * w->x_s[last];
    x += from + low * apart;
    to += low * to_place;
    if (to_p == 1) kernels->copy(to, to_place, x, apart, w->x_c, (size_t)(high - low), (size_t)deep);
    else kernels->copy(to, to_p, x, w->x_c, apart, (size_t)deep, (size_t)(high - low));
}

void pe_windows_gather(const struct pe_gemm_kernels *kernels, const struct pe_conv_problem *w, const float *x,
                       int64_t i0, int64_t i1, int64_t p0, int64_t p1, float *to, int64_t to_place, int64_t to_p) {
    for (int64_t i = i0; i < i1;) {
        const struct row row = row_from(w, i, i1 - i);
        for (int64_t p = p0, deep; p < p1; p += deep) {
            int64_t channel = p % w->in, rest = p / w->in, tap[PE_CONV_AXES];
            deep = min64(w->in - channel, p1 - p);
            for (int d = PE_CONV_AXES - 1; d >= 0; d--) {
                tap[d] = rest % w->kernel[d];
                rest /= w->kernel[d];
            }
            copy_tap(kernels, w, x, &row, tap, channel, deep, to + (i - i0) * to_place + (p - p0) * to_p, to_place,
                     to_p);
        }
        i += row.count;
    }
}
