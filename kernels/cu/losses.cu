// The two losses of UCCH, each with its gradient.

#include "sums.cuh"
#include "training.cuh"

// Words of a code whose gradient is computed at once: both sides of their bits are a block's threads.
constexpr unsigned WORDS_AT_ONCE = BLOCK_WARPS / 2;
// Keys of a warp that are read before any is added to its sums.
constexpr unsigned KEYS_AT_ONCE = 8;

struct ContrastiveShared {
    float2 outputs[MOST_BITS];
    float2 parts[BLOCK_WARPS][WORDS_AT_ONCE][WARP];
    WarpValues<float> values;
};

// Turn the logits of both sides into their gradients, p_j - t_j, and give the sum of their losses. Every
// thread holds the same keys as when it wrote them.
__device__ __forceinline__ float softmax(const ContrastiveArgument& argument, float2* weights, WarpValues<float>& values) {
    const uint32_t count = argument.count;
    const auto target = [&](uint32_t key) {
        return key == 0 ? argument.own_target : key <= argument.neighbors ? argument.neighbor_target : 0.0f;
    };
    // The largest logit is taken off first, so that no exponential overflows.
    float2 largest = {-INFINITY, -INFINITY}, expected = {0.0f, 0.0f};
    for (uint32_t key = threadIdx.x; key < count; key += BLOCK_THREADS) {
        const float2 logits = weights[key];
        largest = {fmaxf(largest.x, logits.x), fmaxf(largest.y, logits.y)};
        if (key > argument.neighbors) continue;
        expected.x += target(key) * logits.x;
        expected.y += target(key) * logits.y;
    }
    largest = {block_max(largest.x, values), block_max(largest.y, values)};
    expected = {block_sum(expected.x, values), block_sum(expected.y, values)};
    float2 total = {0.0f, 0.0f};
    for (uint32_t key = threadIdx.x; key < count; key += BLOCK_THREADS) {
        float2 weight = weights[key];
        weight = {expf(weight.x - largest.x), expf(weight.y - largest.y)};
        weights[key] = weight;
        total.x += weight.x;
        total.y += weight.y;
    }
    total = {block_sum(total.x, values), block_sum(total.y, values)};
    for (uint32_t key = threadIdx.x; key < count; key += BLOCK_THREADS) {
        const float2 weight = weights[key];
        weights[key] = {weight.x / total.x - target(key), weight.y / total.y - target(key)};
    }
    return logf(total.x) + (largest.x - expected.x) + (logf(total.y) + (largest.y - expected.y));
}

// Keys that are signs, packed to words of 32: a dot product is a sum of +-h.
struct SignKeys {
    const uint32_t* signs;
    uint32_t words;

    __device__ __forceinline__ explicit SignKeys(const ContrastiveArgument& argument)
        : signs(argument.signs), words((argument.bits + 31) / 32) {}

    __device__ __forceinline__ float value(uint64_t row, uint32_t word, unsigned lane) const {
        return __ldg(signs + row * words + word) >> lane & 1 ? 1.0f : -1.0f;
    }

    // One thread a key: a word of a key is one load.
    template <class Row>
    __device__ __forceinline__ void logits(const ContrastiveArgument& argument, const float2* outputs, float2* weights,
                                           Row row_of) const {
        for (uint32_t key = threadIdx.x; key < argument.count; key += BLOCK_THREADS) {
            const uint32_t* own = signs + static_cast<uint64_t>(row_of(key)) * words;
            float2 sums = {0.0f, 0.0f};
            for (uint32_t word = 0; word < words; ++word) {
                const uint32_t bits_of_word = __ldg(own + word);
#pragma unroll
                for (unsigned i = 0; i < WARP; ++i) {
                    const float2 both = outputs[word * WARP + i];
                    const float sign = bits_of_word >> i & 1 ? 1.0f : -1.0f;
                    sums.x += sign * both.x;
                    sums.y += sign * both.y;
                }
            }
            weights[key] = {sums.x * argument.scale, sums.y * argument.scale};
        }
    }
};

// Keys that are rows of numbers.
struct DenseKeys {
    const float* values;
    uint32_t bits;

    __device__ __forceinline__ explicit DenseKeys(const ContrastiveArgument& argument)
        : values(argument.values), bits(argument.bits) {}

    __device__ __forceinline__ float value(uint64_t row, uint32_t word, unsigned lane) const {
        const uint32_t place = word * WARP + lane;
        return place < bits ? __ldg(values + row * bits + place) : 0.0f;
    }

    // One warp a key, so that its lanes read adjacent numbers.
    template <class Row>
    __device__ __forceinline__ void logits(const ContrastiveArgument& argument, const float2* outputs, float2* weights,
                                           Row row_of) const {
        const unsigned lane = threadIdx.x % WARP;
        for (uint32_t key = threadIdx.x / WARP; key < argument.count; key += BLOCK_WARPS) {
            const uint32_t row = row_of(key);
            float2 sums = {0.0f, 0.0f};
            for (uint32_t word = 0; word * WARP < bits; ++word) {
                const float number = value(row, word, lane);
                const float2 both = outputs[word * WARP + lane];
                sums.x += number * both.x;
                sums.y += number * both.y;
            }
#pragma unroll
            for (unsigned step = WARP / 2; step > 0; step /= 2) {
                sums.x += __shfl_xor_sync(ALL_LANES, sums.x, static_cast<int>(step));
                sums.y += __shfl_xor_sync(ALL_LANES, sums.y, static_cast<int>(step));
            }
            if (lane == 0) weights[key] = {sums.x * argument.scale, sums.y * argument.scale};
        }
        __syncthreads();  // other threads go on with these logits
    }
};

// L_c (eq. 3 and 4) of one sample, both sides; one block a sample. No gradient flows into the keys.
template <class Keys>
__device__ __forceinline__ void contrastive_loss(const ContrastiveArgument& argument, ContrastiveShared& shared) {
    const Keys key_rows(argument);
    const uint32_t sample = blockIdx.x, count = argument.count, bits = argument.bits;
    const uint32_t words = (bits + 31) / 32;
    const uint64_t output = static_cast<uint64_t>(sample) * bits;
    const uint32_t* keys = argument.keys ? argument.keys + static_cast<uint64_t>(sample) * count : nullptr;
    float2* weights = argument.weights + static_cast<uint64_t>(sample) * count;
    const auto row_of_batch = [&](uint32_t key) { return key == 0 ? sample : key <= sample ? key - 1 : key; };
    const auto row_of = [&](uint32_t key) { return keys ? keys[key] : row_of_batch(key); };
    for (uint32_t i = threadIdx.x; i < words * 32; i += BLOCK_THREADS) {
        float2 both = {0.0f, 0.0f};  // the last word's unused bits
        if (i < bits) both = {argument.image[output + i], argument.text[output + i]};
        shared.outputs[i] = both;
    }
    __syncthreads();
    key_rows.logits(argument, shared.outputs, weights, row_of);
    const float loss = softmax(argument, weights, shared.values);
    if (threadIdx.x == 0) argument.losses[sample] = loss;
    __syncthreads();
    // The gradient: every warp adds up its share of the keys, for some words a value of each a lane, so
    // that a key's weights are read once for all of them; then the shares are added.
    const unsigned lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const float scale = argument.scale * argument.share;
    for (uint32_t first = 0; first < words; first += WORDS_AT_ONCE) {
        float2 sums[WORDS_AT_ONCE] = {};
        for (uint32_t start = warp; start < count; start += KEYS_AT_ONCE * BLOCK_WARPS) {
            // Beyond the last key that one is read again, with weights of 0. No branch is between the reads.
            const auto key_of = [&](unsigned i) { return min(start + i * BLOCK_WARPS, count - 1); };
            uint32_t rows[KEYS_AT_ONCE];
            if (keys) {
#pragma unroll
                for (unsigned i = 0; i < KEYS_AT_ONCE; ++i) rows[i] = keys[key_of(i)];
            } else {
#pragma unroll
                for (unsigned i = 0; i < KEYS_AT_ONCE; ++i) rows[i] = row_of_batch(key_of(i));
            }
            float2 both[KEYS_AT_ONCE];
            float numbers[KEYS_AT_ONCE][WORDS_AT_ONCE];
#pragma unroll
            for (unsigned i = 0; i < KEYS_AT_ONCE; ++i) {
                both[i] = weights[key_of(i)];
                if (start + i * BLOCK_WARPS >= count) both[i] = {0.0f, 0.0f};
#pragma unroll
                for (unsigned word = 0; word < WORDS_AT_ONCE; ++word) {
                    numbers[i][word] = first + word < words ? key_rows.value(rows[i], first + word, lane) : 0.0f;
                }
            }
#pragma unroll
            for (unsigned i = 0; i < KEYS_AT_ONCE; ++i) {
#pragma unroll
                for (unsigned word = 0; word < WORDS_AT_ONCE; ++word) {
                    sums[word].x += numbers[i][word] * both[i].x;
                    sums[word].y += numbers[i][word] * both[i].y;
                }
            }
        }
#pragma unroll
        for (unsigned word = 0; word < WORDS_AT_ONCE; ++word) shared.parts[warp][word][lane] = sums[word];
        __syncthreads();
        const unsigned word = warp % WORDS_AT_ONCE;
        const bool image = warp < WORDS_AT_ONCE;
        const uint32_t place = (first + word) * WARP + lane;
        if (place < bits) {
            float sum = 0.0f;
            for (unsigned part = 0; part < BLOCK_WARPS; ++part) {
                const float2 both = shared.parts[part][word][lane];
                sum += image ? both.x : both.y;
            }
            (image ? argument.image_gradient : argument.text_gradient)[output + place] = sum * scale;
        }
        __syncthreads();
    }
}

KERNEL(BLOCK_THREADS) contrastive(ARGUMENT(ContrastiveArgument, argument)) {
    SHARED(ContrastiveShared, shared);
    contrastive_loss<SignKeys>(argument, shared);
}

KERNEL(BLOCK_THREADS) contrastive_dense(ARGUMENT(ContrastiveArgument, argument)) {
    SHARED(ContrastiveShared, shared);
    contrastive_loss<DenseKeys>(argument, shared);
}

struct RankingShared {
    WarpValues<float> values;
};

// L_r (eq. 8 and 14) or the max-margin loss (eq. 6 and 7) of one row of the similarities (column 0
// of blocks) or one column of them (column 1).
KERNEL(BLOCK_THREADS) ranking(ARGUMENT(RankingArgument, argument)) {
    SHARED(RankingShared, shared);
    const uint32_t own = blockIdx.x, samples = argument.samples;
    const uint64_t row_step = blockIdx.y == 0 ? samples : 1, step = blockIdx.y == 0 ? 1 : samples;
    const float* similarities = argument.similarities + own * row_step;
    const uint64_t number = static_cast<uint64_t>(blockIdx.y) * samples + own;
    float* gradients = argument.gradients + number * samples;
    const float own_value = similarities[own * step];
    float loss;
    if (argument.hinges) {
        float sum = 0.0f, active = 0.0f;
        for (uint32_t other = threadIdx.x; other < samples; other += BLOCK_THREADS) {
            const float hinge = similarities[other * step] + (argument.margin - own_value);
            const bool costs = other != own && hinge > 0.0f;
            if (costs) sum += hinge;
            if (costs) active += 1.0f;
            if (other != own) gradients[other] = costs ? argument.share : 0.0f;
        }
        loss = block_sum(sum, shared.values);
        active = block_sum(active, shared.values);
        if (threadIdx.x == 0) gradients[own] = -active * argument.share;
    } else {
        const float bound = own_value - argument.margin;
        const auto shifted = [&](float value) { return (value < bound ? value - argument.shift : value) * argument.scale; };
        float largest = -INFINITY, total = 0.0f;
        for (uint32_t other = threadIdx.x; other < samples; other += BLOCK_THREADS) {
            const float value = shifted(similarities[other * step]);
            gradients[other] = value;
            largest = fmaxf(largest, value);
        }
        largest = block_max(largest, shared.values);
        for (uint32_t other = threadIdx.x; other < samples; other += BLOCK_THREADS) {
            const float value = expf(gradients[other] - largest);
            gradients[other] = value;
            total += value;
        }
        total = block_sum(total, shared.values);
        for (uint32_t other = threadIdx.x; other < samples; other += BLOCK_THREADS) {
            const float own_share = other == own ? argument.share : 0.0f;
            gradients[other] = gradients[other] / total * argument.share - own_share;
        }
        loss = logf(total) + (largest - shifted(own_value)) + argument.margin * argument.scale;
    }
    if (threadIdx.x == 0) argument.losses[number] = loss;
}
