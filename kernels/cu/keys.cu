// Contrastive keys: signs packed to words, rows of the memory bank drawn by chance, and its update.

#include "philox.cuh"
#include "sums.cuh"
#include "training.cuh"

__device__ __forceinline__ uint32_t words_of(uint32_t bits) { return (bits + 31) / 32; }

// The signs of up to 32 values, sgn(0) = +1, from the lowest bit on.
template <class Value>
__device__ __forceinline__ uint32_t pack_signs(uint32_t count, Value value) {
    uint32_t word = 0;
    for (uint32_t i = 0; i < count; ++i) word |= static_cast<uint32_t>(value(i) >= 0.0f) << i;
    return word;
}

// Pack the signs of rows, or of the means of two rows.
KERNEL(BLOCK_THREADS) sign_words(ARGUMENT(SignsArgument, argument)) {
    const uint32_t words = words_of(argument.bits);
    const uint64_t count = static_cast<uint64_t>(argument.rows) * words;
    const uint64_t stride = static_cast<uint64_t>(gridDim.x) * BLOCK_THREADS;
    for (uint64_t i = static_cast<uint64_t>(blockIdx.x) * BLOCK_THREADS + threadIdx.x; i < count; i += stride) {
        const uint32_t word = static_cast<uint32_t>(i % words);
        const uint64_t first = i / words * argument.bits + word * 32;
        argument.signs[i] = pack_signs(min(argument.bits - word * 32, 32u), [&](uint32_t bit) {
            const float value = argument.first[first + bit];
            return argument.second ? (value + argument.second[first + bit]) * 0.5f : value;
        });
    }
}

// The signs of rows as rows of unit norm, sgn(0) = +1: what the ranking loss of codes compares.
KERNEL(BLOCK_THREADS) sign_rows(ARGUMENT(SignRowsArgument, argument)) {
    const uint64_t stride = static_cast<uint64_t>(gridDim.x) * BLOCK_THREADS;
    for (uint64_t i = static_cast<uint64_t>(blockIdx.x) * BLOCK_THREADS + threadIdx.x; i < argument.count; i += stride) {
        argument.signs[i] = argument.values[i] >= 0.0f ? argument.size : -argument.size;
    }
}

struct MeansShared {
    WarpValues<float> values;
};

// Rows of unit norm in the direction of the mean of two rows; one block a row. Where both cancel out
// there is no direction, and the row is zero: as far from all.
KERNEL(BLOCK_THREADS) mean_keys(ARGUMENT(MeansArgument, argument)) {
    SHARED(MeansShared, shared);
    const uint64_t first = static_cast<uint64_t>(blockIdx.x) * argument.bits;
    const auto mean = [&](uint32_t i) { return (argument.image[first + i] + argument.text[first + i]) * 0.5f; };
    float squares = 0.0f;
    for (uint32_t i = threadIdx.x; i < argument.bits; i += BLOCK_THREADS) squares += mean(i) * mean(i);
    const float norm = sqrtf(block_sum(squares, shared.values));
    for (uint32_t i = threadIdx.x; i < argument.bits; i += BLOCK_THREADS) {
        argument.means[first + i] = norm > 0.0f ? mean(i) / norm : 0.0f;
    }
}

// The keys of each pair of the batch: its own row, its neighbors, then rows drawn uniformly with
// replacement, none excluded. Column y of blocks is sample y; a thread draws four.
KERNEL(BLOCK_THREADS) draw_keys(ARGUMENT(DrawArgument, argument)) {
    const uint32_t sample = blockIdx.y, group = blockIdx.x * BLOCK_THREADS + threadIdx.x;
    if (group >= (argument.width + 3) / 4) return;
    const Philox random = philox(argument.seed, group, sample, counter_of(Use::negatives, argument.now->step));
    const uint32_t own = argument.pairs[sample], drawn = 1 + argument.neighbor_count;
    uint32_t* keys = argument.keys + static_cast<uint64_t>(sample) * argument.width;
#pragma unroll
    for (uint32_t i = 0; i < 4; ++i) {
        const uint32_t key = 4 * group + i;
        if (key >= argument.width) break;
        if (key == 0) {
            keys[key] = own;
        } else if (key < drawn) {
            keys[key] = argument.neighbors[static_cast<uint64_t>(own) * argument.neighbor_count + key - 1];
        } else {
            keys[key] = static_cast<uint32_t>(static_cast<uint64_t>(random.words[i]) * argument.rows >> 32);
        }
    }
}

struct BankShared {
    float row[MOST_BITS];
    WarpValues<float> values;
};

// Move the bank's row of each pair towards the mean of its outputs (eq. 5, with the normalizations of
// the public code); one block a pair. A pair whose outputs cancel out keeps its row.
KERNEL(BLOCK_THREADS) update_bank(ARGUMENT(BankArgument, argument)) {
    SHARED(BankShared, shared);
    const uint32_t bits = argument.bits, words = words_of(bits);
    const uint64_t output = static_cast<uint64_t>(blockIdx.x) * bits;
    const uint32_t pair = argument.pairs[blockIdx.x];
    float* row = argument.values + static_cast<uint64_t>(pair) * bits;
    float squares = 0.0f;
    for (uint32_t i = threadIdx.x; i < bits; i += BLOCK_THREADS) {
        const float mean = (argument.image[output + i] + argument.text[output + i]) * 0.5f;
        shared.row[i] = mean;
        squares += mean * mean;
    }
    float norm = sqrtf(block_sum(squares, shared.values));
    if (!(norm > 0.0f)) return;
    squares = 0.0f;
    for (uint32_t i = threadIdx.x; i < bits; i += BLOCK_THREADS) {
        const float value = argument.keep * row[i] + argument.take * (shared.row[i] / norm);
        shared.row[i] = value;
        squares += value * value;
    }
    norm = sqrtf(block_sum(squares, shared.values));
    if (!(norm > 0.0f)) return;
    for (uint32_t i = threadIdx.x; i < bits; i += BLOCK_THREADS) row[i] = shared.row[i] / norm;
    for (uint32_t word = threadIdx.x; word < words; word += BLOCK_THREADS) {
        argument.signs[static_cast<uint64_t>(pair) * words + word] =
            pack_signs(min(bits - word * 32, 32u), [&](uint32_t bit) { return shared.row[word * 32 + bit]; });
    }
}
