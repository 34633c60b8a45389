// The k nearest of each query's candidates; one block a query.

#include "arguments.cuh"

// A query's candidates are all read by one block, so that many reads must be on their way at once.
constexpr unsigned SELECT_THREADS = 512;
constexpr unsigned SELECT_WARPS = SELECT_THREADS / WARP;
constexpr unsigned READS = 8;
// Bins of a histogram: one for each distance, or one for each value of DIGIT_BITS bits of a position.
constexpr unsigned DIGIT_BITS = 12;
constexpr unsigned BINS = MOST_BITS + 1;
// No key: larger than every one.
constexpr uint64_t NONE = ~0ull;

struct NarrowShared {
    uint32_t bins[BINS];
    uint32_t warp_sums[SELECT_WARPS];
    uint32_t bin;     // the bin that holds the wanted rank
    uint32_t before;  // how many are in the bins before it
};

// Call `visit(keys)` with READS keys at a time of those of this thread, NONE where there is none;
// every thread of the block makes as many calls.
template <class Visit>
__device__ __forceinline__ void for_each_stretch(const uint64_t* keys, uint32_t count, Visit visit) {
    for (uint32_t start = 0; start < count; start += SELECT_THREADS * READS) {
        uint64_t stretch[READS];
#pragma unroll
        for (unsigned read = 0; read < READS; ++read) {
            const uint32_t i = start + read * SELECT_THREADS + threadIdx.x;
            stretch[read] = i < count ? keys[i] : NONE;
        }
        visit(stretch);
    }
}

// The sum over the threads before this one. The caller synchronizes before `warp_sums` is used again.
__device__ __forceinline__ uint32_t sum_before(uint32_t value, uint32_t (&warp_sums)[SELECT_WARPS], uint32_t& total) {
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
    for (unsigned i = 0; i < SELECT_WARPS; ++i) {
        if (i < warp) sum += warp_sums[i];
        total += warp_sums[i];
    }
    return sum;
}

// Find the bin in which the `rank`-th smallest (from 1) lies; the bins hold at least that many.
__device__ void find_rank(NarrowShared& shared, unsigned bins, uint32_t rank) {
    const unsigned each = (bins + SELECT_THREADS - 1) / SELECT_THREADS;
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
    for (unsigned bin = threadIdx.x; bin < bins; bin += SELECT_THREADS) shared.bins[bin] = 0;
    __syncthreads();
}

// Keep the keys that are at most `last`; their number.
__device__ uint32_t keep(uint64_t* keys, uint32_t count, uint64_t last, NarrowShared& shared) {
    uint32_t kept = 0;
    for_each_stretch(keys, count, [&](const uint64_t (&stretch)[READS]) {
        uint32_t mine = 0;
#pragma unroll
        for (unsigned read = 0; read < READS; ++read) mine += stretch[read] <= last;
        __syncthreads();
        uint32_t total;
        uint32_t place = kept + sum_before(mine, shared.warp_sums, total);
        // Every thread holds its keys of this stretch in registers, and no more keys are kept than
        // were read, so that the places of those kept are free.
#pragma unroll
        for (unsigned read = 0; read < READS; ++read) {
            if (stretch[read] <= last) keys[place++] = stretch[read];
        }
        kept += total;
    });
    __syncthreads();
    return kept;
}

// The largest number of which the keys of one distance that are no larger are the first `wanted` by
// position; `found` keys have this distance, at least as many.
__device__ uint64_t last_of_ties(const uint64_t* keys, uint32_t count, uint32_t distance, uint32_t wanted,
                                 uint32_t found, unsigned position_bits, NarrowShared& shared) {
    // All keys that begin with `prefix`, followed by `rest` more bits, are candidates for the last.
    unsigned rest = position_bits;
    uint64_t prefix = static_cast<uint64_t>(distance) << (POSITION_BITS - rest);
    while (wanted < found) {
        const unsigned width = min(rest, DIGIT_BITS), shift = rest - width;
        clear(shared, 1u << width);
        for_each_stretch(keys, count, [&](const uint64_t (&stretch)[READS]) {
#pragma unroll
            for (unsigned read = 0; read < READS; ++read) {
                const unsigned digit = stretch[read] >> shift & ((1u << width) - 1);
                if (stretch[read] >> rest == prefix) atomicAdd(shared.bins + digit, 1u);
            }
        });
        __syncthreads();
        find_rank(shared, 1u << width, wanted);
        prefix = prefix << width | shared.bin;
        wanted -= shared.before;
        found = shared.bins[shared.bin];
        rest = shift;
        __syncthreads();
    }
    return ((prefix + 1) << rest) - 1;
}

// Drop all but the k nearest candidates and lower the bound to what a later row needs to enter.
KERNEL(SELECT_THREADS) narrow(ARGUMENT(NarrowArgument, argument)) {
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
    // The distance of the k-th nearest: those that are nearer and some of its ties are kept.
    clear(shared, argument.levels);
    for_each_stretch(keys, count, [&](const uint64_t (&stretch)[READS]) {
#pragma unroll
        for (unsigned read = 0; read < READS; ++read) {
            if (stretch[read] != NONE) atomicAdd(shared.bins + (stretch[read] >> POSITION_BITS), 1u);
        }
    });
    __syncthreads();
    find_rank(shared, argument.levels, argument.k);
    const uint32_t distance = shared.bin, nearer = shared.before, ties = shared.bins[distance];
    const uint64_t last = (static_cast<uint64_t>(distance + 1) << POSITION_BITS) - 1;
    uint32_t kept = keep(keys, count, last, shared);
    if (kept > argument.k) {
        const uint32_t wanted = argument.k - nearer;
        kept = keep(keys, kept, last_of_ties(keys, kept, distance, wanted, ties, argument.position_bits, shared), shared);
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
KERNEL(SELECT_THREADS) order(ARGUMENT(OrderArgument, argument)) {
    SHARED(OrderShared, shared);
    const uint32_t query = blockIdx.x;
    const uint32_t count = argument.candidates.counts[query];
    const uint64_t* keys = argument.candidates.keys + static_cast<uint64_t>(query) * argument.candidates.capacity;
    unsigned size = 1;
    while (size < argument.k) size *= 2;
    for (unsigned i = threadIdx.x; i < size; i += SELECT_THREADS) shared.keys[i] = i < count ? keys[i] : NONE;
    for (unsigned run = 2; run <= size; run *= 2) {
        for (unsigned step = run / 2; step > 0; step /= 2) {
            __syncthreads();
            for (unsigned i = threadIdx.x; i < size; i += SELECT_THREADS) {
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
    for (unsigned i = threadIdx.x; i < argument.k; i += SELECT_THREADS) results[i] = shared.keys[i];
}
