// Kernels with the faults that the tests must be able to find.
#define TWINBIT_ON_CPU
#include "../platform.cuh"

struct SumArgument {
    const uint32_t* values;  // BLOCK_THREADS of them
    uint32_t* sum;
    uint32_t barrier;  // whether the kernel waits where it must
    uint32_t unused;
};

struct SumShared {
    uint32_t warp_sums[BLOCK_WARPS];
};

// The sum of the values; wrong without the barrier, in most schedules.
KERNEL(BLOCK_THREADS) sum_values(ARGUMENT(SumArgument, argument)) {
    SHARED(SumShared, shared);
    const uint32_t sum = __reduce_add_sync(ALL_LANES, argument.values[threadIdx.x]);
    if (threadIdx.x % WARP == 0) shared.warp_sums[threadIdx.x / WARP] = sum;
    if (argument.barrier) __syncthreads();
    if (threadIdx.x != 0) return;
    uint32_t total = 0;
    for (unsigned i = 0; i < BLOCK_WARPS; ++i) total += shared.warp_sums[i];
    *argument.sum = total;
}

// One lane does not come to the barrier of its warp.
KERNEL(BLOCK_THREADS) wait_in_vain(ARGUMENT(SumArgument, argument)) {
    if (threadIdx.x != 5) *argument.sum = __reduce_add_sync(ALL_LANES, argument.values[threadIdx.x]);
}

extern "C" const char* launch(void (*kernel)(const void*), const uint32_t* blocks, const uint32_t* threads,
                              uint64_t seed, const void* argument) {
    return cpu::launch(kernel, {blocks[0], blocks[1], blocks[2]}, {threads[0], threads[1], threads[2]}, seed, argument);
}
