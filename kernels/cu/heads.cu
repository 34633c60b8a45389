// What follows a network's last layer: tanh and rows of unit norm, their gradient, and codes.

#include "sums.cuh"
#include "training.cuh"

struct HeadShared {
    WarpValues<float> values;
};

// h = t / |t| with t = tanh(product + bias); one block a row. A row without direction becomes zero.
KERNEL(BLOCK_THREADS) head(ARGUMENT(HeadArgument, argument)) {
    SHARED(HeadShared, shared);
    const uint64_t first = static_cast<uint64_t>(blockIdx.x) * argument.bits;
    float squares = 0.0f;
    for (uint32_t i = threadIdx.x; i < argument.bits; i += BLOCK_THREADS) {
        const float value = tanhf(argument.product[first + i] + argument.bias[i]);
        argument.squashed[first + i] = value;
        squares += value * value;
    }
    const float norm = sqrtf(block_sum(squares, shared.values));
    for (uint32_t i = threadIdx.x; i < argument.bits; i += BLOCK_THREADS) {
        argument.outputs[first + i] = norm > 0.0f ? argument.squashed[first + i] / norm : 0.0f;
    }
    if (threadIdx.x == 0) {
        argument.norms[blockIdx.x] = norm;
        if (!(norm > 0.0f)) atomicMin(argument.undirected, static_cast<uint32_t>(blockIdx.x));
    }
}

// Through h = t / |t| and t = tanh(z): dz = (1 - t^2) (dh - h <h, dh>) / |t|; one block a row.
KERNEL(BLOCK_THREADS) head_gradient(ARGUMENT(HeadGradientArgument, argument)) {
    SHARED(HeadShared, shared);
    const uint64_t first = static_cast<uint64_t>(blockIdx.x) * argument.bits;
    float along = 0.0f;
    for (uint32_t i = threadIdx.x; i < argument.bits; i += BLOCK_THREADS) {
        float gradient = 0.0f;
        if (argument.contrastive) gradient += argument.contrastive_share * argument.contrastive[first + i];
        if (argument.ranking) gradient += argument.ranking_share * argument.ranking[first + i];
        argument.flow[first + i] = gradient;
        along += gradient * argument.outputs[first + i];
    }
    along = block_sum(along, shared.values);
    const float norm = argument.norms[blockIdx.x];
    for (uint32_t i = threadIdx.x; i < argument.bits; i += BLOCK_THREADS) {
        const float squashed = argument.squashed[first + i];
        const float across = argument.flow[first + i] - argument.outputs[first + i] * along;
        argument.flow[first + i] = norm > 0.0f ? (1.0f - squashed * squashed) * across / norm : 0.0f;
    }
}

// Where byte `place` of a stored code lies, see `Codes`.
__device__ __forceinline__ uint64_t byte_of_code(uint32_t bits, uint32_t row, uint32_t place) {
    if (bits == 16 || bits == 32) return static_cast<uint64_t>(row) * (bits / 8) + place;
    const uint32_t words = (bits + 63) / 64;
    return (static_cast<uint64_t>(row / 8) * words + place / 8) * 64 + row % 8 * 8 + place % 8;
}

// The codes of product + bias, which has the signs of tanh and of the rows of unit norm; one warp a
// row. Bits and rows that only fill the layout are zero.
KERNEL(BLOCK_THREADS) pack(ARGUMENT(PackArgument, argument)) {
    const uint32_t row = blockIdx.x * BLOCK_WARPS + threadIdx.x / WARP;
    if (row >= argument.stored) return;
    const uint32_t bits = argument.bits, bytes = bits / 8;
    const uint32_t stored = bits == 16 || bits == 32 ? bytes : (bits + 63) / 64 * 8;
    const float* product = argument.product + static_cast<uint64_t>(row) * bits;
    bool directed = false, numbers = true;
    for (uint32_t place = threadIdx.x % WARP; place < stored; place += WARP) {
        uint32_t byte = 0;
        if (row < argument.count && place < bytes) {
#pragma unroll
            for (unsigned bit = 0; bit < 8; ++bit) {
                const float value = product[8 * place + bit] + argument.bias[8 * place + bit];
                byte = byte << 1 | (value >= 0.0f);
                directed = directed || value != 0.0f;
                numbers = numbers && value == value;
            }
        }
        argument.codes[byte_of_code(bits, row, place)] = static_cast<uint8_t>(byte);
    }
    const bool some = __any_sync(ALL_LANES, directed), broken = __any_sync(ALL_LANES, !numbers);
    if (threadIdx.x % WARP == 0 && row < argument.count && (!some || broken)) atomicMin(argument.undirected, row);
}
