// What happens between the matrix products of a network: rows of a batch, bias, ReLU, dropout.

#include "philox.cuh"
#include "training.cuh"

// Copy the rows of a batch.
KERNEL(BLOCK_THREADS) gather(ARGUMENT(GatherArgument, argument)) {
    const uint32_t width = argument.width;
    for (uint32_t row = blockIdx.x; row < argument.count; row += gridDim.x) {
        const float* from = argument.from + static_cast<uint64_t>(argument.rows[row]) * width;
        float* to = argument.to + static_cast<uint64_t>(row) * width;
        for (uint32_t i = threadIdx.x; i < width; i += BLOCK_THREADS) to[i] = from[i];
    }
}

// Leave some numbers out and scale the others up; one random byte decides on a number.
KERNEL(BLOCK_THREADS) drop_out(ARGUMENT(DropArgument, argument)) {
    constexpr unsigned EACH = 16;  // bytes of one draw
    const uint64_t draws = (argument.count + EACH - 1) / EACH;
    const uint64_t stride = static_cast<uint64_t>(gridDim.x) * BLOCK_THREADS;
    for (uint64_t draw = static_cast<uint64_t>(blockIdx.x) * BLOCK_THREADS + threadIdx.x; draw < draws; draw += stride) {
        const Philox random = philox(argument.seed, static_cast<uint32_t>(draw), argument.pass,
                                     counter_of(Use::dropout, argument.step));
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

// The gradient of a bias: sums over the rows, top to bottom.
KERNEL(BLOCK_THREADS) column_sums(ARGUMENT(ColumnSumsArgument, argument)) {
    const uint32_t column = blockIdx.x * BLOCK_THREADS + threadIdx.x;
    if (column >= argument.width) return;
    float sum = 0.0f;
    for (uint32_t row = 0; row < argument.count; ++row) {
        sum += argument.values[static_cast<uint64_t>(row) * argument.width + column];
    }
    argument.sums[column] = sum;
}
