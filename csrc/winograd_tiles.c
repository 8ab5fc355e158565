/* Blocks of tiles, and their transforms out of images in any layout. */
#include "winograd_tiles.h"
#include "sizes.h"

#define PLACES PE_WINOGRAD_PLACES
/* What a tile costs, transforms and all, beside the 36 products of its positions, and the transform of the weight (or
 * of its gradient) beside a tile. */
#define TILE_COST 1.5
#define WEIGHT_COST 6
static const double FMA_NS = 0.2; /* of a vector */

double pe_winograd_tiles(const struct pe_conv_problem *q) {
    return (double)parts(q->places[1], PLACES) * (double)parts(q->places[2], PLACES);
}

/* products for each pair of channels */
static double cost(const struct pe_conv_problem *q, int64_t images) {
    return PE_WINOGRAD_POSITIONS * (TILE_COST * pe_winograd_tiles(q) * (double)images + WEIGHT_COST);
}

int pe_winograd_pays(const struct pe_conv_problem *q, int64_t images) {
    return 9 * (double)q->places[1] * (double)q->places[2] * (double)images >= cost(q, images);
}

double pe_winograd_nanoseconds(const struct pe_conv_problem *q, int64_t lanes) {
    return cost(q, q->images) * (double)q->in * (double)q->out / (double)lanes * FMA_NS;
}

struct pe_winograd_cut pe_winograd_cut_blocks(const struct pe_conv_problem *q, int64_t most) {
    struct pe_winograd_cut cut = { .images = q->images, .down = parts(q->places[1], PLACES),
                                   .across = parts(q->places[2], PLACES) };
    cut.blocks_across = parts(cut.across, most);
    cut.block_across = parts(cut.across, cut.blocks_across);
    cut.blocks_down = parts(cut.down, max64(most / cut.block_across, 1));
    cut.block_down = parts(cut.down, cut.blocks_down);
    cut.block_images = cut.blocks_down * cut.blocks_across > 1 ? 1 : max64(most / (cut.down * cut.across), 1);
    cut.block_images = min64(cut.block_images, q->images);
    cut.blocks = parts(q->images, cut.block_images) * cut.blocks_down * cut.blocks_across;
    cut.tiles = cut.block_images * cut.block_down * cut.block_across;
    return cut;
}

struct pe_winograd_block pe_winograd_find_block(const struct pe_winograd_cut *cut, int64_t block) {
    struct pe_winograd_block b;
    int64_t across = block % cut->blocks_across, rest = block / cut->blocks_across;
    b.left = across * cut->block_across, b.across = min64(cut->block_across, cut->across - b.left);
    b.top = rest % cut->blocks_down * cut->block_down, b.down = min64(cut->block_down, cut->down - b.top);
    b.image = rest / cut->blocks_down * cut->block_images, b.images = min64(cut->block_images, cut->images - b.image);
    b.tiles = max64(b.images * b.down * b.across, 0);
    return b;
}

struct pe_winograd_view pe_winograd_view_x(const struct pe_conv_problem *q, const struct pe_winograd_kernels *kernels) {
    return (struct pe_winograd_view){ q->x, q->x_n, q->x_c, { q->x_s[1], q->x_s[2] }, { q->size[1], q->size[2] },
                                      { q->before[1], q->before[2] }, PE_WINOGRAD_SIDE, kernels->input };
}

struct pe_winograd_view pe_winograd_view_y(const struct pe_conv_problem *q, const struct pe_winograd_kernels *kernels) {
    return (struct pe_winograd_view){ q->y, q->y_n, q->y_c, { q->y_s[1], q->y_s[2] }, { q->places[1], q->places[2] },
                                      { 0, 0 }, PLACES, kernels->gradient };
}

/* Channels last and few: neighbours are near each other. Places of many channels share the sets of the first cache, and
 * tiles overlap, so that even they are read faster from a copy. */
static int lies_close(const struct pe_winograd_view *view) {
    return view->c == 1 && view->s[1] >= 0 && view->s[1] <= PE_WINOGRAD_DEPTH;
}

int64_t pe_winograd_gathered_floats(const struct pe_winograd_view *view, const struct pe_winograd_cut *cut,
                                    int64_t depth) {
    int64_t more = view->side - PLACES;
    return lies_close(view) ? 0 : (PLACES * cut->block_down + more) * (PLACES * cut->block_across + more) * depth;
}

/* The part of one image that a block reads, its channels last; x is the place (top, left). */
struct source {
    const float *x;
    int64_t row, column, top, left, bottom, right; /* strides; places that it holds */
};

static struct source find_source(const struct pe_winograd_view *view, const struct pe_gemm_kernels *kernels,
                                 const struct pe_winograd_block *b, int64_t image, int64_t channel, int64_t deep,
                                 float *gathered) {
    int64_t more = view->side - PLACES;
    struct source s = {
        .top = max64(PLACES * b->top - view->before[0], 0), .left = max64(PLACES * b->left - view->before[1], 0),
        .bottom = min64(PLACES * (b->top + b->down) + more - view->before[0], view->size[0]),
        .right = min64(PLACES * (b->left + b->across) + more - view->before[1], view->size[1]),
        .row = view->s[0], .column = view->s[1],
    };
    int64_t rows = s.bottom - s.top, columns = s.right - s.left;
    if (rows <= 0 || columns <= 0) {
        s.bottom = s.top, s.x = view->data;
        return s;
    }
    s.x = view->data + image * view->n + channel * view->c + s.top * s.row + s.left * s.column;
    if (lies_close(view)) return s;
    if (s.row == columns * s.column) columns *= rows, rows = 1;
    for (int64_t y = 0; y < rows; y++)
        kernels->copy(gathered + y * columns * deep, deep, s.x + y * s.row, s.column, view->c, (size_t)columns,
                      (size_t)deep);
    s.x = gathered, s.column = deep, s.row = (s.right - s.left) * deep;
    return s;
}

static int within(int64_t at, int side) { return (int)max64(min64(at, side), 0); }

void pe_winograd_transform(const struct pe_winograd_view *view, const struct pe_gemm_kernels *kernels,
                           const struct pe_winograd_block *b, int64_t channel, int64_t deep, int64_t depth,
                           float *gathered, float *to, int64_t apart) {
    for (int64_t n = 0; n < b->images; n++) {
        const struct source s = find_source(view, kernels, b, b->image + n, channel, deep, gathered);
        for (int64_t y = b->top; y < b->top + b->down; y++)
            for (int64_t x = b->left; x < b->left + b->across; x++, to += depth) {
                int64_t row = PLACES * y - view->before[0], column = PLACES * x - view->before[1];
                const int low[2] = { within(s.top - row, view->side), within(s.left - column, view->side) };
                const int high[2] = { within(s.bottom - row, view->side), within(s.right - column, view->side) };
                view->transform(to, apart, s.x + (row - s.top) * s.row + (column - s.left) * s.column, s.row, s.column,
                                low, high, (size_t)deep);
            }
    }
}
