// The k nearest of each query's candidates; one block a query.

#include "arguments.cuh"

// Bins of a histogram: one for each distance, or one for each value of DIGIT_BITS bits of a position.
constexpr unsigned DIGIT_BITS = 12;
constexpr unsigned BINS = MOST_BITS + 1;

struct NarrowShared {
    uint32_t bins[BINS];
    uint32_t warp_sums[BLOCK_WARPS];
    uint32_t bin;     // the bin that holds the wanted rank
    uint32_t before;  // how many are in the bins before it
};

// The sum over the threads before this one. The caller synchronizes before `warp_sums` is used again.
__device__ __forceinline__ uint32_t sum_before(uint32_t value, uint32_t (&warp_sums)[BLOCK_WARPS], uint32_t& total) {
    const unsigned lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    uint32_t through = value;
#pragma unroll
    for (unsigned step = 1; step < WARP; step *= 2) {
        const uint32_t before = __shfl_up_sync(ALL_LANES, through, step);
        if (lane >= step) through += before;
    }
    if (lane == WARP - 1) warp_sums[warp] = through;
    __syncthreads();
    uint32_t sum = through - value;
    total = 0;
#pragma unroll
    for (unsigned i = 0; i < BLOCK_WARPS; ++i) {
        if (i < warp) sum += warp_sums[i];
        total += warp_sums[i];
    }
    return sum;
}

// Find the bin in which the `rank`-th smallest (from 1) lies; the bins hold at least that many.
__device__ void find_rank(NarrowShared& shared, unsigned bins, uint32_t rank) {
    const unsigned each = (bins + BLOCK_THREADS - 1) / BLOCK_THREADS;
    const unsigned first = min(threadIdx.x * each, bins), last = min(first + each, bins);
    uint32_t sum = 0;
    for (unsigned bin = first; bin < last; ++bin) sum += shared.bins[bin];
    uint32_t total;
    uint32_t before = sum_before(sum, shared.warp_sums, total);
    if (before < rank && rank <= before + sum) {
        unsigned bin = first;
        while (before + shared.bins[bin] < rank) before += shared.bins[bin++];
        shared.bin = bin;
        shared.before = before;
    }
    __syncthreads();
}

__device__ __forceinline__ void clear(NarrowShared& shared, unsigned bins) {
    for (unsigned bin = threadIdx.x; bin < bins; bin += BLOCK_THREADS) shared.bins[bin] = 0;
    __syncthreads();
}

// The k-th smallest key, or the largest number before the next key: exactly k keys are no larger.
// Also its distance. There are at least k keys.
__device__ uint64_t last_kept(const NarrowArgument& argument, const uint64_t* keys, uint32_t count,
                              NarrowShared& shared, uint32_t& distance) {
    clear(shared, argument.levels);
    for (uint32_t i = threadIdx.x; i < count; i += BLOCK_THREADS) {
        atomicAdd(shared.bins + (keys[i] >> POSITION_BITS), 1u);
    }
    __syncthreads();
    find_rank(shared, argument.levels, argument.k);
    distance = shared.bin;
    uint32_t wanted = argument.k - shared.before;
    uint32_t found = shared.bins[distance];
    // All keys that begin with `prefix`, followed by `rest` more bits, are candidates for the k-th.
    unsigned rest = argument.position_bits;
    uint64_t prefix = static_cast<uint64_t>(distance) << (POSITION_BITS - rest);
    // Rows of one distance: the first ones by position, a digit at a time.
    while (wanted < found) {
        const unsigned width = min(rest, DIGIT_BITS), shift = rest - width;
        __syncthreads();
        clear(shared, 1u << width);
        for (uint32_t i = threadIdx.x; i < count; i += BLOCK_THREADS) {
            if (keys[i] >> rest == prefix) atomicAdd(shared.bins + (keys[i] >> shift & ((1u << width) - 1)), 1u);
        }
        __syncthreads();
        find_rank(shared, 1u << width, wanted);
        prefix = prefix << width | shared.bin;
        wanted -= shared.before;
        found = shared.bins[shared.bin];
        rest = shift;
    }
    return ((prefix + 1) << rest) - 1;
}

// Drop all but the k nearest candidates and lower the bound to what a later row needs to enter.
KERNEL narrow(ARGUMENT(NarrowArgument, argument)) {
    SHARED(NarrowShared, shared);
    const Candidates& candidates = argument.candidates;
    const uint32_t query = blockIdx.x;
    if (*candidates.overflow != 0) {
        // The piece will be searched again: what it offered is forgotten, for every query.
        if (threadIdx.x == 0) candidates.counts[query] = candidates.kept[query];
        return;
    }
    const uint32_t count = candidates.counts[query];
    uint64_t* keys = candidates.keys + static_cast<uint64_t>(query) * candidates.capacity;
    if (count < argument.k) {
        if (threadIdx.x == 0) candidates.kept[query] = count;
        return;
    }
    uint32_t distance;
    const uint64_t last = last_kept(argument, keys, count, shared, distance);
    uint32_t kept = 0;
    for (uint32_t start = 0; start < count; start += BLOCK_THREADS) {
        const uint32_t i = start + threadIdx.x;
        const uint64_t key = i < count ? keys[i] : ~0ull;
        __syncthreads();
        // All keys up to here are in registers, and no more of them are kept than were read.
        uint32_t total;
        const uint32_t place = kept + sum_before(key <= last, shared.warp_sums, total);
        if (key <= last) keys[place] = key;
        kept += total;
    }
    if (threadIdx.x == 0) {
        candidates.counts[query] = kept;
        candidates.kept[query] = kept;
        // A later row of the same distance comes after these k in the order of positions.
        candidates.bounds[query] = static_cast<int32_t>(distance) - 1;
    }
}

struct OrderShared {
    uint64_t keys[MOST_KEPT];
};

// Sort the at most k candidates of each query (a bitonic sort); unused places become the largest number.
KERNEL order(ARGUMENT(OrderArgument, argument)) {
    SHARED(OrderShared, shared);
    const uint32_t query = blockIdx.x;
    const uint32_t count = argument.candidates.counts[query];
    const uint64_t* keys = argument.candidates.keys + static_cast<uint64_t>(query) * argument.candidates.capacity;
    unsigned size = 1;
    while (size < argument.k) size *= 2;
    for (unsigned i = threadIdx.x; i < size; i += BLOCK_THREADS) shared.keys[i] = i < count ? keys[i] : ~0ull;
    for (unsigned run = 2; run <= size; run *= 2) {
        for (unsigned step = run / 2; step > 0; step /= 2) {
            __syncthreads();
            for (unsigned i = threadIdx.x; i < size; i += BLOCK_THREADS) {
                const unsigned other = i ^ step;
                if (other <= i) continue;
                const uint64_t a = shared.keys[i], b = shared.keys[other];
                if ((a > b) == ((i & run) == 0)) {
                    shared.keys[i] = b;
                    shared.keys[other] = a;
                }
            }
        }
    }
    __syncthreads();
    uint64_t* results = argument.results + static_cast<uint64_t>(query) * argument.k;
    for (unsigned i = threadIdx.x; i < argument.k; i += BLOCK_THREADS) results[i] = shared.keys[i];
}
