/* Convolution by Winograd's F(4x4, 3x3): 36 products of tiles and weights in place of 144 a channel. A tile of y is
 *   A^T [ sum over channels i of (G w[o,i] G^T) (B^T x[i] B) ] A
 * with the sum, for each of the 36 positions, one chain in the order of the channels. The bits depend on the sample and
 * on the level alone: not on batch, threads or layout.
 *
 * Error: |y - exact| <= PE_WINOGRAD_ERROR(in) 2^-24 S beside that of what follows the sum, where S is the largest
 * sum |x| |w| among the windows of the image and the output channel. That is twice the largest error that was measured
 * with evenly distributed operands of one sign, which are the worst (8 at 64 channels, 18 at 512, 22 at 1024), and of
 * both signs (7 at 32 to 512). An element whose own sum is far below S is thus less exact than by the product, and a
 * NaN or an infinity in x or w spreads over all results of the tiles that it meets.
 *
 * The gradient by the weight goes the same way back. Its chains run over the tiles of all images, so that its error
 * is at most PE_WINOGRAD_ERROR(tiles) 2^-24 S, S the largest sum |x| |y| among the taps of the two channels (measured:
 * 12 at 128 tiles, 10 at 512 and at 12544, which are added up in parts). */
#ifndef PE_WINOGRAD_H
#define PE_WINOGRAD_H

#include "conv.h"

#define PE_WINOGRAD_ERROR(chain) (16 + (double)(chain) / 16)

/* 3 x 3 taps over the last two axes, step and spacing 1, one group, more than a few channels */
int pe_winograd_fits(const struct pe_conv_problem *);
/* ... and places enough that it is faster: by the shape of one sample */
int pe_winograd_suits(const struct pe_conv_problem *);

/* conv.h's equation for what suits; panels: the weight by pe_conv_pack_panels, from which each block of tiles makes its
 * transforms anew: they are four times as large, so that they would come more slowly from memory. */
pe_status pe_winograd(pe_context *, const struct pe_conv_problem *, const float *panels, pe_error *);

/* The gradient by the weight, written to the problem's w: winograd_weight.c. */
int pe_winograd_weight_suits(const struct pe_conv_problem *);
pe_status pe_winograd_weight(pe_context *, const struct pe_conv_problem *, pe_error *);

#endif
