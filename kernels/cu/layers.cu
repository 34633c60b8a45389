// What happens between the matrix products of a network: rows of a batch, bias, ReLU, dropout.

#include "philox.cuh"
#include "training.cuh"

__device__ __forceinline__ float widen(float value) { return value; }
__device__ __forceinline__ float widen(uint8_t value) { return value; }

// Copy the rows of a batch, each value as float32.
template <class Stored>
__device__ __forceinline__ void gather_rows(const GatherArgument& argument) {
    const uint32_t width = argument.width;
    for (uint32_t row = blockIdx.x; row < argument.count; row += gridDim.x) {
        const Stored* from = static_cast<const Stored*>(argument.from) + static_cast<uint64_t>(argument.rows[row]) * width;
        float* to = argument.to + static_cast<uint64_t>(row) * width;
        for (uint32_t i = threadIdx.x; i < width; i += BLOCK_THREADS) to[i] = widen(from[i]);
    }
}

KERNEL(BLOCK_THREADS) gather(ARGUMENT(GatherArgument, argument)) { gather_rows<float>(argument); }
KERNEL(BLOCK_THREADS) gather_half(ARGUMENT(GatherArgument, argument)) { gather_rows<Half>(argument); }
KERNEL(BLOCK_THREADS) gather_bytes(ARGUMENT(GatherArgument, argument)) { gather_rows<uint8_t>(argument); }

// Leave some numbers out and scale the others up; one random byte decides on a number.
KERNEL(BLOCK_THREADS) drop_out(ARGUMENT(DropArgument, argument)) {
    constexpr unsigned EACH = 16;  // bytes of one draw
    const uint64_t draws = (argument.count + EACH - 1) / EACH;
    const uint64_t stride = static_cast<uint64_t>(gridDim.x) * BLOCK_THREADS;
    for (uint64_t draw = static_cast<uint64_t>(blockIdx.x) * BLOCK_THREADS + threadIdx.x; draw < draws; draw += stride) {
        const Philox random = philox(argument.seed, static_cast<uint32_t>(draw), argument.pass,
                                     counter_of(Use::dropout, argument.now->step));
#pragma unroll
        for (unsigned i = 0; i < EACH; ++i) {
            const uint64_t place = draw * EACH + i;
            if (place >= argument.count) break;
            const uint32_t byte = random.words[i / 4] >> (8 * (i % 4)) & 0xff;
            argument.values[place] = byte < argument.out ? 0.0f : argument.values[place] * argument.scale;
        }
    }
}

// Add the bias to each row, and cut negative values off where ReLU follows.
KERNEL(BLOCK_THREADS) add_bias(ARGUMENT(BiasArgument, argument)) {
    const uint32_t width = argument.width;
    for (uint32_t row = blockIdx.x; row < argument.count; row += gridDim.x) {
        float* values = argument.values + static_cast<uint64_t>(row) * width;
        for (uint32_t i = threadIdx.x; i < width; i += BLOCK_THREADS) {
            const float value = values[i] + argument.bias[i];
            values[i] = argument.rectify && value <= 0.0f ? 0.0f : value;
        }
    }
}

// ReLU's derivative, 0 at 0: no gradient flows where the activation was cut off or left out.
KERNEL(BLOCK_THREADS) rectify_gradient(ARGUMENT(RectifyArgument, argument)) {
    const uint64_t stride = static_cast<uint64_t>(gridDim.x) * BLOCK_THREADS;
    for (uint64_t i = static_cast<uint64_t>(blockIdx.x) * BLOCK_THREADS + threadIdx.x; i < argument.count; i += stride) {
        argument.gradient[i] = argument.activation[i] > 0.0f ? argument.gradient[i] * argument.scale : 0.0f;
    }
}

struct ColumnSumsShared {
    float parts[BLOCK_WARPS][WARP];
};

// The gradient of a bias: sums over the rows. A block takes 32 columns, a lane each; every warp adds up
// its share of the rows, then the shares are added in their order.
KERNEL(BLOCK_THREADS) column_sums(ARGUMENT(ColumnSumsArgument, argument)) {
    SHARED(ColumnSumsShared, shared);
    const unsigned lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const uint32_t column = blockIdx.x * WARP + lane;
    float sum = 0.0f;
    if (column < argument.width) {
        for (uint32_t row = warp; row < argument.count; row += BLOCK_WARPS) {
            sum += argument.values[static_cast<uint64_t>(row) * argument.width + column];
        }
    }
    shared.parts[warp][lane] = sum;
    __syncthreads();
    if (warp != 0 || column >= argument.width) return;
    for (unsigned part = 1; part < BLOCK_WARPS; ++part) sum += shared.parts[part][lane];
    argument.sums[column] = sum;
}
