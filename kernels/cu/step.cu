// Where a step begins and ends: what it takes from the host, and what it leaves for it.

#include "sums.cuh"
#include "training.cuh"

// Make the next of the batches to come the present one; one block. Steps follow each other without
// the host, which copies the batches of an epoch at once.
KERNEL(BLOCK_THREADS) begin_step(ARGUMENT(BeginArgument, argument)) {
    const uint32_t number = *argument.next;
    const uint32_t* pairs = argument.order + static_cast<uint64_t>(number) * argument.samples;
    for (uint32_t i = threadIdx.x; i < argument.samples; i += BLOCK_THREADS) argument.pairs[i] = pairs[i];
    __syncthreads();  // every thread has read the number
    if (threadIdx.x != 0) return;
    *argument.now = argument.numbers[number];
    *argument.next = number + 1;
}

struct RecordShared {
    WarpValues<double> values;
};

template <class T>
__device__ __forceinline__ double sum_of(const T* values, uint32_t count, WarpValues<double>& warp_values) {
    double sum = 0.0;
    for (uint32_t i = threadIdx.x; i < count; i += BLOCK_THREADS) sum += values[i];
    return block_sum(sum, warp_values);
}

// Sum up losses and squares, find the factor that clips the gradients, and write the record; one block.
KERNEL(BLOCK_THREADS) record_step(ARGUMENT(RecordArgument, argument)) {
    SHARED(RecordShared, shared);
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
    argument.records[argument.now->step % argument.places] = record;
}
