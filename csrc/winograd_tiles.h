/* Tiles of Winograd's convolution: how images are cut into blocks of them, and how a block is transformed. */
#ifndef PE_WINOGRAD_TILES_H
#define PE_WINOGRAD_TILES_H

#include "conv.h"
#include "kernels/winograd.h"

#define PE_WINOGRAD_APART 16 /* floats more from position to position: a power of two would evict each other */

/* Blocks are rectangles of tiles of one image, or several images where one has few tiles. */
struct pe_winograd_cut {
    int64_t images, down, across;                       /* tiles of an image */
    int64_t block_images, block_down, block_across;     /* of a block */
    int64_t blocks_down, blocks_across, blocks;
    int64_t tiles;                                      /* of a block, at most */
};

/* Blocks of about `most` tiles, over y's places of q. */
struct pe_winograd_cut pe_winograd_cut_blocks(const struct pe_conv_problem *q, int64_t most);

/* A block; what is not about images counts tiles. */
struct pe_winograd_block {
    int64_t image, images, top, down, left, across, tiles;
};
struct pe_winograd_block pe_winograd_find_block(const struct pe_winograd_cut *cut, int64_t block);

double pe_winograd_tiles(const struct pe_conv_problem *q); /* of an image */
/* Whether so many images cost less by tiles than tap by tap; and what all of q's cost one thread. */
int pe_winograd_pays(const struct pe_conv_problem *q, int64_t images);
double pe_winograd_nanoseconds(const struct pe_conv_problem *q, int64_t lanes);

/* x or y as its transform reads it: a tile at row r and column c has `side` places from 4 r - before, 4 c - before. */
struct pe_winograd_view {
    const float *data;
    int64_t n, c, s[2], size[2], before[2]; /* strides of images, channels and space; sizes and offsets in space */
    int side;
    pe_winograd_tile_kernel *transform;
};
struct pe_winograd_view pe_winograd_view_x(const struct pe_conv_problem *q, const struct pe_winograd_kernels *kernels);
struct pe_winograd_view pe_winograd_view_y(const struct pe_conv_problem *q, const struct pe_winograd_kernels *kernels);

/* Floats that pe_winograd_transform gathers a block in, where its places do not lie close to each other. */
int64_t pe_winograd_gathered_floats(const struct pe_winograd_view *, const struct pe_winograd_cut *, int64_t depth);

/* The transforms of `deep` channels from `channel` on of a block's tiles: position after position `apart` floats from
 * each other, each of them rows of `depth` floats, one for a tile. */
void pe_winograd_transform(const struct pe_winograd_view *, const struct pe_gemm_kernels *,
                           const struct pe_winograd_block *, int64_t channel, int64_t deep, int64_t depth,
                           float *gathered, float *to, int64_t apart);

#endif
