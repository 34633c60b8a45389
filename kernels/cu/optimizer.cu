// The optimizers, and the norm of all gradients, by which both clip.

#include "sums.cuh"
#include "training.cuh"

// Groups of numbers that a thread reads before it adds any: a block has little else to do meanwhile.
constexpr unsigned SQUARES_READS = 4;

struct SquaresShared {
    WarpValues<double> values;
};

// The sum of squares of each block's share of the numbers.
KERNEL(BLOCK_THREADS) sum_squares(ARGUMENT(SquaresArgument, argument)) {
    SHARED(SquaresShared, shared);
    const uint64_t stride = static_cast<uint64_t>(gridDim.x) * BLOCK_THREADS;
    double sum = 0.0;
    for (uint64_t start = static_cast<uint64_t>(blockIdx.x) * BLOCK_THREADS + threadIdx.x; start < argument.count;
         start += SQUARES_READS * stride) {
        float4 groups[SQUARES_READS];
#pragma unroll
        for (unsigned read = 0; read < SQUARES_READS; ++read) {
            const uint64_t i = start + read * stride;
            groups[read] = i < argument.count ? argument.values[i] : float4{0.0f, 0.0f, 0.0f, 0.0f};
        }
#pragma unroll
        for (unsigned read = 0; read < SQUARES_READS; ++read) {
            const double x = groups[read].x, y = groups[read].y, z = groups[read].z, w = groups[read].w;
            sum += (x * x + y * y) + (z * z + w * w);
        }
    }
    sum = block_sum(sum, shared.values);
    if (threadIdx.x == 0) argument.sums[blockIdx.x] = sum;
}

__device__ __forceinline__ void adam_one(const AdamArgument& argument, const StepNumbers& now, float clip, float gradient,
                                         float& parameter, float& first, float& second) {
    gradient = gradient * clip + argument.decay * parameter;
    first = argument.first_keep * first + argument.first_take * gradient;
    second = argument.second_keep * second + argument.second_take * gradient * gradient;
    parameter -= now.rate * first / (sqrtf(second) / now.correction + argument.epsilon);
}

// Clip, and Adam with weight decay in the gradient, in one pass over all parameters.
KERNEL(BLOCK_THREADS) adam(ARGUMENT(AdamArgument, argument)) {
    const float clip = *argument.clip;
    const StepNumbers now = *argument.now;
    const uint64_t stride = static_cast<uint64_t>(gridDim.x) * BLOCK_THREADS;
    for (uint64_t i = static_cast<uint64_t>(blockIdx.x) * BLOCK_THREADS + threadIdx.x; i < argument.count; i += stride) {
        const float4 gradient = argument.gradients[i];
        float4 parameter = argument.parameters[i], first = argument.first[i], second = argument.second[i];
        adam_one(argument, now, clip, gradient.x, parameter.x, first.x, second.x);
        adam_one(argument, now, clip, gradient.y, parameter.y, first.y, second.y);
        adam_one(argument, now, clip, gradient.z, parameter.z, first.z, second.z);
        adam_one(argument, now, clip, gradient.w, parameter.w, first.w, second.w);
        argument.parameters[i] = parameter;
        argument.first[i] = first;
        argument.second[i] = second;
    }
}

__device__ __forceinline__ void descend_one(const DescendArgument& argument, const StepNumbers& now, float clip, float gradient,
                                            float& parameter, float& velocity) {
    velocity = argument.keep * velocity + gradient * clip + argument.decay * parameter;
    parameter -= now.rate * velocity;
}

// Clip, and stochastic gradient descent with momentum, as above.
KERNEL(BLOCK_THREADS) descend(ARGUMENT(DescendArgument, argument)) {
    const float clip = *argument.clip;
    const StepNumbers now = *argument.now;
    const uint64_t stride = static_cast<uint64_t>(gridDim.x) * BLOCK_THREADS;
    for (uint64_t i = static_cast<uint64_t>(blockIdx.x) * BLOCK_THREADS + threadIdx.x; i < argument.count; i += stride) {
        const float4 gradient = argument.gradients[i];
        float4 parameter = argument.parameters[i], velocity = argument.velocity[i];
        descend_one(argument, now, clip, gradient.x, parameter.x, velocity.x);
        descend_one(argument, now, clip, gradient.y, parameter.y, velocity.y);
        descend_one(argument, now, clip, gradient.z, parameter.z, velocity.z);
        descend_one(argument, now, clip, gradient.w, parameter.w, velocity.w);
        argument.parameters[i] = parameter;
        argument.velocity[i] = velocity;
    }
}
