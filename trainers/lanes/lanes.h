/* The vector type: one float for each of LANES images, side by side.
 *
 * The same sources are compiled once for each instruction set, and this is the only file that knows which. Multiply-adds
 * are written out as `fma` and the compiler may not contract others (-ffp-contract=off), so that every build's bits are
 * fixed by the sources. Comparisons give a `mask`, one truth value per lane; at_least and at_most keep a NaN in their first
 * argument, so that a diverged member's loss shows it. */
#ifndef LANES_H
#define LANES_H

#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

#if defined(__AVX512F__) && defined(__AVX512DQ__)

#define LANES 16
#define REGISTERS 32
typedef __m512 vec;
typedef __mmask16 mask;
INLINE vec all(float x) { return _mm512_set1_ps(x); }
INLINE vec fma_(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
INLINE mask below(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
INLINE mask equal(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
INLINE mask is_nan(vec a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
INLINE vec choose(mask m, vec yes, vec no) { return _mm512_mask_blend_ps(m, no, yes); }
INLINE unsigned bits(mask m) { return m; }
INLINE vec at_least(vec a, vec low) { return _mm512_max_ps(low, a); }
INLINE vec at_most(vec a, vec high) { return _mm512_min_ps(high, a); }
INLINE float sum(vec a) { return _mm512_reduce_add_ps(a); }
INLINE vec first_halves(vec a, vec b) { /* a[0], b[0], a[1], b[1] and so on */
    return _mm512_permutex2var_ps(a, _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23), b);
}
INLINE vec second_halves(vec a, vec b) {
    return _mm512_permutex2var_ps(a, _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), b);
}

#elif defined(__AVX2__) && defined(__FMA__)

#define LANES 8
#define REGISTERS 16
typedef __m256 vec;
typedef int32_t mask __attribute__((vector_size(32)));
INLINE vec all(float x) { return _mm256_set1_ps(x); }
INLINE vec fma_(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
INLINE mask below(vec a, vec b) { return a < b; }
INLINE mask equal(vec a, vec b) { return a == b; }
INLINE mask is_nan(vec a) { return a != a; }
INLINE vec choose(mask m, vec yes, vec no) { return _mm256_blendv_ps(no, yes, (vec)m); }
INLINE unsigned bits(mask m) { return (unsigned)_mm256_movemask_ps((vec)m); }
INLINE vec at_least(vec a, vec low) { return _mm256_max_ps(low, a); }
INLINE vec at_most(vec a, vec high) { return _mm256_min_ps(high, a); }
INLINE float sum(vec a) {
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_shuffle_ps(b, b, 1)));
}
INLINE vec first_halves(vec a, vec b) {
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x20);
}
INLINE vec second_halves(vec a, vec b) {
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x31);
}

#else /* the compiler's own vectors of 16 bytes: SSE2, Arm's NEON, or whatever it makes of them */

#define LANES 4
typedef float vec __attribute__((vector_size(16)));
typedef int32_t mask __attribute__((vector_size(16)));
INLINE vec all(float x) { return (vec){x, x, x, x}; }
#if defined(__aarch64__)
#include <arm_neon.h>
#define REGISTERS 32
INLINE vec fma_(vec a, vec b, vec c) { return (vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
#else
#define REGISTERS 16
INLINE vec fma_(vec a, vec b, vec c) { return a * b + c; }
#endif
INLINE mask below(vec a, vec b) { return a < b; }
INLINE mask equal(vec a, vec b) { return a == b; }
INLINE mask is_nan(vec a) { return a != a; }
INLINE vec choose(mask m, vec yes, vec no) { return (vec)(((mask)yes & m) | ((mask)no & ~m)); }
INLINE unsigned bits(mask m) { return (m[0] & 1) | (m[1] & 2) | (m[2] & 4) | (m[3] & 8); }
INLINE vec at_least(vec a, vec low) { return choose(below(a, low), low, a); }
INLINE vec at_most(vec a, vec high) { return choose(below(high, a), high, a); }
INLINE float sum(vec a) { return (a[0] + a[2]) + (a[1] + a[3]); }
INLINE vec first_halves(vec a, vec b) { return (vec){a[0], b[0], a[1], b[1]}; }
INLINE vec second_halves(vec a, vec b) { return (vec){a[2], b[2], a[3], b[3]}; }

#endif

typedef uint32_t words __attribute__((vector_size(4 * LANES)));
typedef double wide __attribute__((vector_size(8 * LANES)));

/* Loads once into a register what the compiler would else load again for each use. */
INLINE vec loaded(vec a) {
#if defined(__x86_64__)
    __asm__("" : "+v"(a));
#elif defined(__aarch64__)
    __asm__("" : "+w"(a));
#endif
    return a;
}

/* LANES vectors turned around: lane l of vector k becomes lane k of vector l. Each round interleaves the vectors of the
 * first half with those of the second. */
INLINE void transpose(vec *a) {
    vec b[LANES];
#pragma GCC unroll 4
    for (int round = 1; round < LANES; round *= 2) {
#pragma GCC unroll 8
        for (int l = 0; l < LANES / 2; l++) {
            b[2 * l] = first_halves(a[l], a[l + LANES / 2]);
            b[2 * l + 1] = second_halves(a[l], a[l + LANES / 2]);
        }
#pragma GCC unroll 16
        for (int l = 0; l < LANES; l++) a[l] = b[l];
    }
}

INLINE wide widened(vec a) { return __builtin_convertvector(a, wide); }
INLINE vec narrowed(wide a) { return (vec)__builtin_convertvector(a, vec); }
INLINE vec from_words(words w) { return (vec)w; }
INLINE words to_words(vec v) { return (words)v; }
INLINE vec absolute(vec a) { return from_words(to_words(a) & 0x7fffffffu); }
INLINE vec with_sign_of(vec a, vec sign) { return from_words((to_words(a) & 0x7fffffffu) | (to_words(sign) & 0x80000000u)); }

#endif
