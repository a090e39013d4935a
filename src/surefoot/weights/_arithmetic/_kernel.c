/* One pass over a chunk: decode the inputs, sum in 32 bits, round once, and measure what the rounding took.
 *
 * The bits are those of the numpy code in _methods.py and _numbers.py: the same operations in the same order, so this
 * file is compiled without contraction and without fast mathematics. It works on blocks that stay in the first cache.
 * A function returns 1 when something was not finite; the caller then takes the numpy path, which knows those rules.
 */
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__has_attribute)
#if __has_attribute(target_clones)
#define FASTEST __attribute__((target_clones("avx2", "default")))
#endif
#endif
#ifndef FASTEST
#define FASTEST
#endif
#define INLINE static inline __attribute__((always_inline))
#define BLOCK 1024
#ifndef STAMP
#define STAMP 0
#endif

enum { BF16, F16, F32 };
typedef uint16_t __attribute__((aligned(1), may_alias)) half_bits;
typedef uint32_t __attribute__((aligned(1), may_alias)) single_bits;
typedef float lanes __attribute__((vector_size(32)));
typedef union __attribute__((may_alias)) { uint32_t u; float f; } word;

uint32_t surefoot_stamp(void) { return STAMP; }

INLINE float from_half(uint32_t half) {
    word found = {(half & 0x7FFF) << 13}, least = {113u << 23};
    uint32_t exponent = found.u & 0x0F800000;
    word small = {found.u + (113u << 23)};
    small.f -= least.f;
    found.u += exponent == 0x0F800000 ? 224u << 23 : 112u << 23;
    found.u = (exponent ? found.u : small.u) | (half & 0x8000) << 16;
    return found.f;
}

INLINE uint32_t to_half(float value) {
    word given = {.f = value}, magic = {126u << 23};
    uint32_t sign = given.u & 0x80000000;
    given.u ^= sign;
    word small = {.f = given.f + magic.f};
    uint32_t normal = (given.u - (112u << 23) + 0xFFF + ((given.u >> 13) & 1)) >> 13;
    uint32_t large = given.u > 0x7F800000 ? 0x7E00 : 0x7C00;
    uint32_t found = given.u < (113u << 23) ? small.u - magic.u : normal;
    return (given.u >= (143u << 23) ? large : found) | sign >> 16;
}

INLINE void decode(const void *raw, int type, int64_t start, int count, float *out) {
    if (type == F32) {
        memcpy(out, (const char *)raw + 4 * start, 4 * count);
        return;
    }
    const half_bits *bits = (const half_bits *)raw + start;
    if (type == BF16)
        for (int i = 0; i < count; i++) {
            word one = {(uint32_t)bits[i] << 16};
            out[i] = one.f;
        }
    else
        for (int i = 0; i < count; i++) out[i] = from_half(bits[i]);
}

/* Rounds to nearest, ties to even; `lost` is what the rounding added. */
INLINE void encode(const float *values, int type, int64_t start, int count, void *out, float *lost) {
    half_bits *bits = (half_bits *)out + start;
    if (type == F32) {
        memcpy((char *)out + 4 * start, values, 4 * count);
        for (int i = 0; i < count; i++) lost[i] = values[i] - values[i]; /* NaN where it is not finite */
    } else if (type == BF16)
        for (int i = 0; i < count; i++) {
            word one = {.f = values[i]};
            one.u += 0x7FFF + ((one.u >> 16) & 1);
            bits[i] = one.u >> 16;
            one.u &= 0xFFFF0000;
            lost[i] = one.f - values[i];
        }
    else
        for (int i = 0; i < count; i++) {
            uint32_t half = to_half(values[i]);
            bits[i] = half;
            lost[i] = from_half(half) - values[i];
        }
}

/* Sum of squares of a block, in 64 bits where 32 hold none; what lies behind `count` is cleared first. */
INLINE double squares(float *values, int count) {
    lanes sums[4] = {{0}};
    memset(values + count, 0, sizeof(float) * (BLOCK - count));
    for (int i = 0; i < BLOCK; i += 32)
        for (int j = 0; j < 4; j++) {
            lanes some;
            memcpy(&some, values + i + 8 * j, sizeof some);
            sums[j] += some * some;
        }
    sums[0] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    double total = 0;
    for (int j = 0; j < 8; j++) total += sums[0][j];
    if (total > 1e-25 && total < 1e35) return total;
    double wide[8] = {0};
    for (int i = 0; i < BLOCK; i += 8)
        for (int j = 0; j < 8; j++) wide[j] += (double)values[i + j] * values[i + j];
    total = 0;
    for (int j = 0; j < 8; j++) total += wide[j];
    return total;
}

INLINE void times(float *values, int count, double weight) {
    float near = (float)weight, rest = (float)(weight - (double)near);
    for (int i = 0; i < count; i++) values[i] = values[i] * near + values[i] * rest;
}

/* out = start - (change * weight), for each output; start is the base or, seen from the other end, a tuned input. */
typedef struct {
    int64_t outputs;
    const double *weights;
    const int32_t *ends; /* the input that an output starts from */
    void *const *out;
    int64_t type;
    double *sums; /* squares of the change, then of what was lost for each output */
} target;

INLINE void finish(const void *const *raw, const int32_t *types, int64_t start, int count, const float *base,
                   float *change, const target *to) {
    float near[BLOCK], value[BLOCK], lost[BLOCK], left[BLOCK];
    for (int64_t output = 0; output < to->outputs; output++) {
        int end = to->ends[output];
        if (end) decode(raw[end], types[end], start, count, near);
        else memcpy(near, base, sizeof(float) * count);
        memcpy(value, change, sizeof(float) * count);
        times(value, count, to->weights[output]);
        for (int i = 0; i < count; i++) { /* `left` is what the difference itself does not hold (Knuth) */
            float step = value[i] + 0.0f, made = near[i] - step, back = made - near[i];
            left[i] = (near[i] - (made - back)) - (step + back);
            value[i] = made;
        }
        encode(value, (int)to->type, start, count, to->out[output], lost);
        for (int i = 0; i < count; i++) lost[i] -= left[i];
        to->sums[1 + output] += squares(lost, count);
    }
    to->sums[0] += squares(change, count);
}

INLINE int all_finite(const target *to) {
    for (int64_t i = 0; i <= to->outputs; i++)
        if (to->sums[i] - to->sums[i] != 0) return 0;
    return 1;
}

/* The sum over terms of weight * ((base - tuned) - (base - start)); start is 0 where it is the base itself. */
FASTEST int surefoot_edit(const void *const *raw, const int32_t *types, int64_t count, int64_t terms,
                          const int32_t *tuned, const int32_t *started, const double *weights, int64_t mixed,
                          const target *to) {
    float base[BLOCK], one[BLOCK], other[BLOCK], total[BLOCK];
    for (int64_t start = 0; start < count; start += BLOCK) {
        int here = count - start < BLOCK ? (int)(count - start) : BLOCK;
        decode(raw[0], types[0], start, here, base);
        for (int64_t term = 0; term < terms; term++) {
            decode(raw[tuned[term]], types[tuned[term]], start, here, one);
            for (int i = 0; i < here; i++) one[i] = base[i] - one[i];
            if (started[term]) {
                decode(raw[started[term]], types[started[term]], start, here, other);
                for (int i = 0; i < here; i++) one[i] -= base[i] - other[i];
            }
            if (mixed) times(one, here, weights[term]);
            if (term) for (int i = 0; i < here; i++) total[i] += one[i];
            else memcpy(total, one, sizeof total);
        }
        finish(raw, types, start, here, base, total, to);
    }
    return !all_finite(to);
}

INLINE uint32_t mixed_bits(uint32_t value) {
    value = (value ^ value >> 16) * 0x21F0AAAD;
    value = (value ^ value >> 15) * 0xD35A2D97;
    return value ^ value >> 15;
}

/* How the change of one tuned input is thinned: magnitudes within a band, then at random, then divided. */
typedef struct {
    float low, high, divisor, weight;
    uint32_t first, second; /* keys of the random stream */
    uint32_t limit;         /* an element is kept when its random bits are below; all are when `random` is 0 */
    uint32_t random;
} thinning;

INLINE void drop(word *words, int from, int to, uint32_t offset, uint32_t second, uint32_t limit) {
    for (int i = from; i < to; i++) {
        uint32_t bits = mixed_bits(mixed_bits(offset + (uint32_t)i) ^ second);
        words[i].u &= bits < limit ? 0xFFFFFFFF : 0;
    }
}

/* What is dropped becomes +0 by its bits; a change that is not finite is told to the caller, as it has no product. */
INLINE uint32_t thin(float *delta, int count, uint64_t element, const thinning *how) {
    word *words = (word *)delta, low = {.f = how->low}, high = {.f = how->high};
    int32_t largest = 0, least = (int32_t)low.u, most = (int32_t)high.u;
    for (int i = 0; i < count; i++) { /* magnitudes are ordered as their bits are */
        int32_t size = (int32_t)(words[i].u & 0x7FFFFFFF);
        largest = size > largest ? size : largest;
        words[i].u &= (size >= least) & (size <= most) ? 0xFFFFFFFF : 0;
    }
    if (how->random) {
        uint32_t near = (uint32_t)(element + how->first + (element >> 32) * 0x9E3779B9u);
        uint64_t left = (1ull << 32) - (element & 0xFFFFFFFF); /* to the next multiple of 2^32 */
        int turn = left < (uint64_t)count ? (int)left : count;
        drop(words, 0, turn, near, how->second, how->limit);
        drop(words, turn, count, near + 0x9E3779B9u, how->second, how->limit);
    }
    float divisor = how->divisor, weight = how->weight;
    if (divisor != 1.0f)
        for (int i = 0; i < count; i++) delta[i] /= divisor;
    for (int i = 0; i < count; i++) delta[i] *= weight;
    return (uint32_t)largest;
}

/* TIES, steps 2 and 3: the sign of the summed mass wins, and what agrees with it is merged. */
INLINE void elect(const float *parts, int inputs, const thinning *how, int count, int normalize, float *total) {
    float merged[BLOCK] = {0}, divisor[BLOCK] = {0};
    for (int input = 0; input < inputs; input++) {
        const float *part = parts + (int64_t)input * BLOCK;
        float weight = how[input].weight;
        for (int i = 0; i < count; i++) {
            uint32_t agrees = -(uint32_t)(total[i] >= 0 ? part[i] > 0 : part[i] < 0);
            word one = {.f = part[i]}, share = {.f = weight};
            one.u &= agrees;
            share.u &= agrees;
            merged[i] += one.f;
            divisor[i] += share.f;
        }
    }
    if (normalize)
        for (int i = 0; i < count; i++) total[i] = merged[i] / (divisor[i] == 0 ? 1.0f : divisor[i]);
    else memcpy(total, merged, sizeof merged);
}

/* The sum of thinned changes. `parts` has room for BLOCK floats of each tuned input; `divisor` 1 divides nothing. */
FASTEST int surefoot_thinned(const void *const *raw, const int32_t *types, int64_t count, int64_t element,
                             int64_t inputs, const thinning *how, int64_t by_sign, int64_t normalize, float divisor,
                             float scale, float *parts, const target *to) {
    float base[BLOCK], total[BLOCK];
    uint32_t largest = 0;
    for (int64_t start = 0; start < count; start += BLOCK) {
        int here = count - start < BLOCK ? (int)(count - start) : BLOCK;
        decode(raw[0], types[0], start, here, base);
        memset(total, 0, sizeof total);
        for (int64_t input = 0; input < inputs; input++) {
            float *part = parts + input * BLOCK;
            decode(raw[input + 1], types[input + 1], start, here, part);
            for (int i = 0; i < here; i++) part[i] -= base[i];
            uint32_t size = thin(part, here, (uint64_t)(element + start), how + input);
            largest = size > largest ? size : largest;
            for (int i = 0; i < here; i++) total[i] += part[i];
        }
        if (by_sign) elect(parts, (int)inputs, how, here, (int)normalize, total);
        else if (normalize) for (int i = 0; i < here; i++) total[i] /= divisor;
        if (scale != 1.0f) for (int i = 0; i < here; i++) total[i] *= scale;
        finish(raw, types, start, here, base, total, to);
    }
    return largest >= 0x7F800000 || !all_finite(to);
}

/* Counts the magnitudes of tuned - base whose bits above shift + width are `prefix`, by the `width` bits below. */
FASTEST void surefoot_count(const void *const *raw, const int32_t *types, int64_t count, int64_t input, int64_t shift,
                            int64_t width, uint32_t prefix, int64_t *counts) {
    float base[BLOCK], one[BLOCK];
    uint32_t digits[BLOCK], mask = (1u << width) - 1, above = (uint32_t)(shift + width);
    for (int64_t start = 0; start < count; start += BLOCK) {
        int here = count - start < BLOCK ? (int)(count - start) : BLOCK;
        decode(raw[0], types[0], start, here, base);
        decode(raw[input], types[input], start, here, one);
        for (int i = 0; i < here; i++) {
            word size = {.f = one[i] - base[i]};
            digits[i] = size.u & 0x7FFFFFFF;
        }
        if (above >= 31) for (int i = 0; i < here; i++) counts[digits[i] >> shift]++;
        else for (int i = 0; i < here; i++)
            if (digits[i] >> above == prefix) counts[digits[i] >> shift & mask]++;
    }
}
