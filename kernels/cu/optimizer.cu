// The end of a step: the norm of all gradients, the record of the step, clipping and the two optimizers.

#include "sums.cuh"
#include "training.cuh"

struct SquaresShared {
    WarpValues<double> values;
};

// The sum of squares of each block's share of the numbers.
KERNEL(BLOCK_THREADS) sum_squares(ARGUMENT(SquaresArgument, argument)) {
    SHARED(SquaresShared, shared);
    const uint64_t stride = static_cast<uint64_t>(gridDim.x) * BLOCK_THREADS;
    double sum = 0.0;
    for (uint64_t i = static_cast<uint64_t>(blockIdx.x) * BLOCK_THREADS + threadIdx.x; i < argument.count; i += stride) {
        const double value = argument.values[i];
        sum += value * value;
    }
    sum = block_sum(sum, shared.values);
    if (threadIdx.x == 0) argument.sums[blockIdx.x] = sum;
}

template <class T>
__device__ __forceinline__ double sum_of(const T* values, uint32_t count, WarpValues<double>& warp_values) {
    double sum = 0.0;
    for (uint32_t i = threadIdx.x; i < count; i += BLOCK_THREADS) sum += values[i];
    return block_sum(sum, warp_values);
}

// Sum up losses and squares, find the factor that clips the gradients, and write the record; one block.
KERNEL(BLOCK_THREADS) record_step(ARGUMENT(RecordArgument, argument)) {
    SHARED(SquaresShared, shared);
    const double contrastive = sum_of(argument.contrastive, argument.contrastive_count, shared.values);
    const double ranking = sum_of(argument.ranking, argument.ranking_count, shared.values);
    const double norm = sqrt(sum_of(argument.squares, argument.squares_count, shared.values));
    if (threadIdx.x != 0) return;
    const double clip = argument.clip_norm / (norm + 1e-6);
    StepRecord record;
    record.contrastive = static_cast<float>(contrastive * argument.contrastive_share);
    record.ranking = static_cast<float>(ranking * argument.ranking_share);
    record.gradient_norm = static_cast<float>(norm);
    record.clip = clip < 1.0 ? static_cast<float>(clip) : 1.0f;
    record.undirected[0] = argument.undirected[0];
    record.undirected[1] = argument.undirected[1];
    *argument.clip = record.clip;
    *argument.record = record;
}

__device__ __forceinline__ void adam_one(const AdamArgument& argument, float clip, float gradient, float& parameter,
                                         float& first, float& second) {
    gradient = gradient * clip + argument.decay * parameter;
    first = argument.first_keep * first + argument.first_take * gradient;
    second = argument.second_keep * second + argument.second_take * gradient * gradient;
    parameter -= argument.rate * first / (sqrtf(second) / argument.correction + argument.epsilon);
}

// Clip, and Adam with weight decay in the gradient, in one pass over all parameters.
KERNEL(BLOCK_THREADS) adam(ARGUMENT(AdamArgument, argument)) {
    const float clip = *argument.clip;
    const uint64_t stride = static_cast<uint64_t>(gridDim.x) * BLOCK_THREADS;
    for (uint64_t i = static_cast<uint64_t>(blockIdx.x) * BLOCK_THREADS + threadIdx.x; i < argument.count; i += stride) {
        const float4 gradient = argument.gradients[i];
        float4 parameter = argument.parameters[i], first = argument.first[i], second = argument.second[i];
        adam_one(argument, clip, gradient.x, parameter.x, first.x, second.x);
        adam_one(argument, clip, gradient.y, parameter.y, first.y, second.y);
        adam_one(argument, clip, gradient.z, parameter.z, first.z, second.z);
        adam_one(argument, clip, gradient.w, parameter.w, first.w, second.w);
        argument.parameters[i] = parameter;
        argument.first[i] = first;
        argument.second[i] = second;
    }
}

__device__ __forceinline__ void descend_one(const DescendArgument& argument, float clip, float gradient,
                                            float& parameter, float& velocity) {
    velocity = argument.keep * velocity + gradient * clip + argument.decay * parameter;
    parameter -= argument.rate * velocity;
}

// Clip, and stochastic gradient descent with momentum, as above.
KERNEL(BLOCK_THREADS) descend(ARGUMENT(DescendArgument, argument)) {
    const float clip = *argument.clip;
    const uint64_t stride = static_cast<uint64_t>(gridDim.x) * BLOCK_THREADS;
    for (uint64_t i = static_cast<uint64_t>(blockIdx.x) * BLOCK_THREADS + threadIdx.x; i < argument.count; i += stride) {
        const float4 gradient = argument.gradients[i];
        float4 parameter = argument.parameters[i], velocity = argument.velocity[i];
        descend_one(argument, clip, gradient.x, parameter.x, velocity.x);
        descend_one(argument, clip, gradient.y, parameter.y, velocity.y);
        descend_one(argument, clip, gradient.z, parameter.z, velocity.z);
        descend_one(argument, clip, gradient.w, parameter.w, velocity.w);
        argument.parameters[i] = parameter;
        argument.velocity[i] = velocity;
    }
}
