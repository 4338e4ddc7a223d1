/* 3x3 convolutions, on rows of vectors with their border of zeros in place (network.h).
 *
 * All speed is in the blocking. Forward, 3 channels by 8 pixels of sums stay in registers while the inputs pass by: a
 * multiply-add then costs half a load (8 pixels and 3 weights for 24 multiply-adds), and there are enough independent
 * sums to hide the latency. The gradient by the image is the same convolution with the weights turned around. The
 * gradient by the weights keeps 3 channels by 9 weights of sums in registers while the pixels pass by. With 16 registers
 * instead of 32 the blocks are smaller.
 *
 * The sums run over row, column, input channel, the last fastest, because PyTorch's convolution on a CPU (oneDNN) adds in
 * that order too. Deep in saturation the gradient hangs on the rounding of these sums (weights of 10 that cancel, and a
 * slope of 1e-8 or 1): another order errs as much, but elsewhere, and then neither is near the other on one member. */
#include "network.h"

#if defined(__GNUC__) && !defined(__clang__)
/* "predictive commoning" would keep pixels from one iteration to the next and push the sums out of the registers */
#pragma GCC optimize("no-predictive-commoning")
#endif

enum { CHANNELS = 3, PIXELS = REGISTERS == 32 ? 8 : 4, WEIGHT_ROWS = REGISTERS == 32 ? 3 : 1, STRIP = 2 };

/* The weights (out, in, 3, 3) in the order in which convolve_row reads them; `flipped` for the way back. */
void pack(const float *weights, int in, int out, int flipped, float *packed) {
    int to = flipped ? in : out, from = flipped ? out : in;
    for (int first = 0; first < to; first += CHANNELS)
        for (int k = 0; k < 9; k++)
            for (int i = 0; i < from; i++)
                for (int o = first; o < first + CHANNELS && o < to; o++)
                    *packed++ = flipped ? weights[(i * in + o) * 9 + 8 - k] : weights[(o * in + i) * 9 + k];
}

INLINE void block(const vec *above, int in, size_t pitch, const float *packed, const float *bias, vec *row,
                  size_t row_pitch, int channels, int pixels) {
    vec sums[CHANNELS][PIXELS];
#pragma GCC unroll 3
    for (int o = 0; o < channels; o++)
#pragma GCC unroll 8
        for (int p = 0; p < pixels; p++) sums[o][p] = all(bias ? bias[o] : 0.0f);
#pragma GCC unroll 3
    for (int y = 0; y < 3; y++)
#pragma GCC unroll 3
        for (int x = 0; x < 3; x++)
            for (int i = 0; i < in; i++) {
                const vec *from = above + (size_t)(y * in + i) * pitch + x;
                vec weight[CHANNELS];
#pragma GCC unroll 3
                for (int o = 0; o < channels; o++) weight[o] = all(*packed++);
#pragma GCC unroll 8
                for (int p = 0; p < pixels; p++) {
                    vec pixel = loaded(from[p]);
#pragma GCC unroll 3
                    for (int o = 0; o < channels; o++) sums[o][p] = fma_(pixel, weight[o], sums[o][p]);
                }
            }
#pragma GCC unroll 3
    for (int o = 0; o < channels; o++)
#pragma GCC unroll 8
        for (int p = 0; p < pixels; p++) row[o * row_pitch + p] = sums[o][p];
}

INLINE void blocks(const vec *above, int in, int width, const float *packed, const float *bias, vec *row,
                   size_t row_pitch, int channels) {
    size_t pitch = width + 2;
    int x = 0;
    for (; x + PIXELS <= width; x += PIXELS)
        block(above + x, in, pitch, packed, bias, row + x, row_pitch, channels, PIXELS);
    for (; x + 2 <= width; x += 2) block(above + x, in, pitch, packed, bias, row + x, row_pitch, channels, 2);
    for (; x < width; x++) block(above + x, in, pitch, packed, bias, row + x, row_pitch, channels, 1);
}

/* One row of the output, channel o at row + o * row_pitch, from the three rows of the input that begin at `above`. */
void convolve_row(const vec *above, int in, int width, const float *packed, const float *bias, vec *row, int out,
                  size_t row_pitch) {
    for (int o = 0; o < out; o += CHANNELS) {
        int channels = out - o < CHANNELS ? out - o : CHANNELS;
        if (channels == 3) blocks(above, in, width, packed, bias, row, row_pitch, 3);
        if (channels == 2) blocks(above, in, width, packed, bias, row, row_pitch, 2);
        if (channels == 1) blocks(above, in, width, packed, bias, row, row_pitch, 1);
        packed += (size_t)in * 9 * channels;
        if (bias) bias += channels;
        row += channels * row_pitch;
    }
}

/* Adds to sums (out, in, 3, 3) what a strip of rows contributes, for one input channel and a block of output channels. */
INLINE void strip(const vec *image, const vec *gradient, int in, int out, int height, int width, vec *sums,
                  int channels) {
    size_t pitch = width + 2;
#pragma GCC unroll 3
    for (int y0 = 0; y0 < 3; y0 += WEIGHT_ROWS) {
        vec part[CHANNELS][3 * WEIGHT_ROWS];
#pragma GCC unroll 3
        for (int o = 0; o < channels; o++)
#pragma GCC unroll 9
            for (int k = 0; k < 3 * WEIGHT_ROWS; k++) part[o][k] = all(0.0f);
        for (int y = 0; y < height; y++) {
            const vec *from = image + (size_t)(y + y0) * in * pitch, *g = gradient + (size_t)y * out * pitch;
            for (int x = 0; x < width; x++) {
                vec by[CHANNELS];
#pragma GCC unroll 3
                for (int o = 0; o < channels; o++) by[o] = g[o * pitch + x];
#pragma GCC unroll 9
                for (int k = 0; k < 3 * WEIGHT_ROWS; k++) {
                    vec pixel = loaded(from[(size_t)(k / 3) * in * pitch + k % 3 + x]);
#pragma GCC unroll 3
                    for (int o = 0; o < channels; o++) part[o][k] = fma_(pixel, by[o], part[o][k]);
                }
            }
        }
#pragma GCC unroll 3
        for (int o = 0; o < channels; o++)
#pragma GCC unroll 9
            for (int k = 0; k < 3 * WEIGHT_ROWS; k++) sums[(size_t)o * in * 9 + 3 * y0 + k] += part[o][k];
    }
}

/* Sums (out, in, 3, 3), a vector each, from the layer's input and the gradient by its output, both with their borders.
 *
 * Strip by strip of two rows: they stay in the first-level cache for all pairs of channels, and sums of sums round less
 * than one long sum. */
void weight_gradient(const vec *image, const vec *gradient, int in, int out, int height, int width, vec *sums) {
    size_t pitch = width + 2;
    memset(sums, 0, sizeof(vec) * out * in * 9);
    gradient += out * pitch + 1; /* past the border */
    for (int y = 0; y < height; y += STRIP) {
        int rows = height - y < STRIP ? height - y : STRIP;
        for (int o = 0; o < out; o += CHANNELS)
            for (int i = 0; i < in; i++) {
                const vec *from = image + ((size_t)y * in + i) * pitch;
                const vec *g = gradient + ((size_t)y * out + o) * pitch;
                vec *to = sums + ((size_t)o * in + i) * 9;
                if (out - o >= 3) strip(from, g, in, out, rows, width, to, 3);
                if (out - o == 2) strip(from, g, in, out, rows, width, to, 2);
                if (out - o == 1) strip(from, g, in, out, rows, width, to, 1);
            }
    }
}
