/* From images of bytes, one after the other, to vectors of a pixel of each: a transposition, division by 255, and what
 * else is done to a channel (`channel_scales`, a factor and an addend each). */
#include "network.h"

/* b / 255, rounded correctly: the reciprocal in two parts, of which the first has so few bits that b times it is exact. */
INLINE vec scale(vec b) { return fma_(b, all(5.9838392e-08f), b * all(0.00392150879f)); }

#if defined(__SSE2__)

/* Sixteen pixels of LANES images: each round interleaves the images of the first half with those of the second. */
INLINE void sixteen(const uint8_t *const *from, size_t offset, vec *to) {
    __m128i a[LANES], b[LANES];
#pragma GCC unroll 16
    for (int l = 0; l < LANES; l++) a[l] = _mm_loadu_si128((const __m128i *)(from[l] + offset));
#pragma GCC unroll 4
    for (int round = 1; round < LANES; round *= 2) {
#pragma GCC unroll 8
        for (int l = 0; l < LANES / 2; l++) {
            b[2 * l] = _mm_unpacklo_epi8(a[l], a[l + LANES / 2]);
            b[2 * l + 1] = _mm_unpackhi_epi8(a[l], a[l + LANES / 2]);
        }
#pragma GCC unroll 16
        for (int l = 0; l < LANES; l++) a[l] = b[l];
    }
#if LANES == 16
#pragma GCC unroll 16
    for (int p = 0; p < 16; p++) to[p] = scale(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(a[p])));
#elif LANES == 8
#pragma GCC unroll 8
    for (int p = 0; p < 8; p++) {
        to[2 * p] = scale(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(a[p])));
        to[2 * p + 1] = scale(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(a[p], 8))));
    }
#else
    const __m128i zero = _mm_setzero_si128();
#pragma GCC unroll 4
    for (int p = 0; p < 4; p++) {
        __m128i low = _mm_unpacklo_epi8(a[p], zero), high = _mm_unpackhi_epi8(a[p], zero);
        to[4 * p] = scale(_mm_cvtepi32_ps(_mm_unpacklo_epi16(low, zero)));
        to[4 * p + 1] = scale(_mm_cvtepi32_ps(_mm_unpackhi_epi16(low, zero)));
        to[4 * p + 2] = scale(_mm_cvtepi32_ps(_mm_unpacklo_epi16(high, zero)));
        to[4 * p + 3] = scale(_mm_cvtepi32_ps(_mm_unpackhi_epi16(high, zero)));
    }
#endif
}

#endif

/* The images at order[0 .. count), and their labels; lanes beyond `count` hold the first image again. */
void gather(Workspace *w, const Call *call, const int64_t *order, int count) {
    const Network *n = w->network;
    const uint8_t *from[LANES];
    for (int l = 0; l < LANES; l++) {
        int64_t which = order[l < count ? l : 0];
        from[l] = call->images + (size_t)which * n->channels * n->height * n->width;
        w->labels[l] = (int)call->labels[which];
    }
    w->valid = count;
    const Layer *first = &n->layers[0];
    /* a recurrent network's rows are the pixels of a step, or 16 of several steps, which are shared out */
    int sequence = first->kind == RECURRENT, pixels = n->height * n->width, piece = sequence ? pixels / first->steps : 0;
    int shared = piece && piece < 16 && 16 % piece == 0 && pixels % 16 == 0;
    int width = shared ? 16 : sequence ? piece : n->width, rows = sequence ? pixels / width : n->height;
    size_t offset = 0, pitch = width + 2, of_step = padded(first->in);
    for (int c = 0; c < n->channels; c++)
        for (int y = 0; y < rows; y++) {
            vec *row = w->memory + (n->bordered ? ((size_t)(y + 1) * n->channels + c) * pitch + 1 : offset);
            if (sequence) row = shared ? w->scratch : w->memory + y * of_step + (size_t)c * piece;
            int x = 0;
#if defined(__SSE2__)
            for (; x + 16 <= width; x += 16) sixteen(from, offset + x, row + x);
#endif
            for (; x < width; x++) {
                vec v;
                for (int l = 0; l < LANES; l++) v[l] = from[l][offset + x];
                row[x] = scale(v);
            }
            for (x = 0; call->channel_scales && x < width; x++)
                row[x] = fma_(row[x], all(call->channel_scales[2 * c]), all(call->channel_scales[2 * c + 1]));
            for (x = 0; shared && x < width; x += piece)
                memcpy(w->memory + (y * width + x) / piece * of_step + (size_t)c * piece, row + x, sizeof(vec) * piece);
            offset += width;
        }
}
