/* Convolution by Winograd's F(4x4, 3x3): 36 products of tiles and weights in place of 144 a channel. A tile of y is
 *   A^T [ sum over channels i of (G w[o,i] G^T) (B^T x[i] B) ] A
 * with the sum, for each of the 36 positions, one chain in the order of the channels. The bits depend on the sample and
 * on the level alone: not on batch, threads or layout.
 *
 * Error: |y - exact| <= PE_WINOGRAD_ERROR(in) 2^-24 S beside that of what follows the sum, where S is the largest
 * sum |x| |w| among the windows of the image and the output channel. That is twice the largest error that was measured
 * with evenly distributed operands of one sign, which are the worst (8 at 64 channels, 18 at 512, 22 at 1024), and of
 * both signs (7 at 32 to 512). An element whose own sum is far below S is thus less exact than by the product, and a
 * NaN or an infinity in x or w spreads over all results of the tiles that it meets. */
#ifndef PE_WINOGRAD_H
#define PE_WINOGRAD_H

#include "conv.h"

#define PE_WINOGRAD_ERROR(in) (16 + (double)(in) / 16)

/* 3 x 3 taps over the last two axes, step and spacing 1, one group, channels and places enough that it is faster: by
 * the shape of one sample */
int pe_winograd_suits(const struct pe_conv_problem *);

/* conv.h's equation for what suits; panels: the weight by pe_conv_pack_panels, from which each block of tiles makes its
 * transforms anew: they are four times as large, so that they would come more slowly from memory. */
pe_status pe_winograd(pe_context *, const struct pe_conv_problem *, const float *panels, pe_error *);

#endif
