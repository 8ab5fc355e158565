/* Turned pairs: both orders, rows with gaps, features that stay, back again, and what is refused. */
#include "check.h"
#include "../../csrc/pyengine.h"

#include <math.h>

enum { HEADS = 3, STEPS = 5, WIDTH = 10, PAIRS = 4 };

static float x[STEPS][HEADS][WIDTH], y[STEPS][HEADS][WIDTH], again[STEPS][HEADS][WIDTH];
static float c[STEPS][PAIRS], s[STEPS][PAIRS];

/* (HEADS, STEPS, WIDTH) over memory of (STEPS, HEADS, WIDTH) */
static pe_tensor heads(void *data) {
    return (pe_tensor){data, PE_FLOAT32, 3, {HEADS, STEPS, WIDTH}, {WIDTH * 4, HEADS * WIDTH * 4, 4}};
}

static void turn(int neighbours) {
    pe_context *ctx = pe_default_context();
    pe_tensor in = heads(x), out = heads(y), back = heads(again);
    pe_tensor cosines = {c, PE_FLOAT32, 2, {STEPS, PAIRS}, {PAIRS * 4, 4}}, sines = cosines;
    sines.data = s;
    for (int t = 0; t < STEPS; t++) {
        for (int i = 0; i < PAIRS; i++) c[t][i] = cosf(0.3f * t * (i + 1)), s[t][i] = sinf(0.3f * t * (i + 1));
        for (int i = 0; i < HEADS * WIDTH; i++) x[t][i / WIDTH][i % WIDTH] = (float)(t * 7 + i * 3 % 11);
    }
    CHECK(!pe_rotary(ctx, &(pe_rotary_args){&in, &cosines, &sines, &out, neighbours, 0}, NULL));
    CHECK(!pe_rotary(ctx, &(pe_rotary_args){&out, &cosines, &sines, &back, neighbours, 1}, NULL));
    for (int t = 0; t < STEPS; t++)
        for (int h = 0; h < HEADS; h++) {
            for (int i = 0; i < PAIRS; i++) {
                int first = neighbours ? 2 * i : i, second = neighbours ? first + 1 : i + PAIRS;
                float a = x[t][h][first], b = x[t][h][second];
                CHECK(y[t][h][first] == a * c[t][i] - b * s[t][i]);
                CHECK(y[t][h][second] == b * c[t][i] + a * s[t][i]);
            }
            for (int i = 2 * PAIRS; i < WIDTH; i++) CHECK(y[t][h][i] == x[t][h][i]);
            for (int i = 0; i < WIDTH; i++) CHECK(fabsf(again[t][h][i] - x[t][h][i]) < 1e-4f);
        }
    cosines.shape[0] = STEPS - 1;
    sines.shape[0] = STEPS - 1;
    CHECK(pe_rotary(ctx, &(pe_rotary_args){&in, &cosines, &sines, &out, neighbours, 0}, NULL) == PE_ERR_SHAPE);
}

int main(void) {
    turn(0);
    turn(1);
    return check_report();
}
