// Exact comparison of every row with every query by population counts.
//
// `scan_*` offers the rows that are no farther than the query's bound, few after the first piece;
// `count_*` only counts them. The codes are read once for each tile of queries, so that a single
// query runs at the speed of the memory.

#include "rows.cuh"
#include "tiles.cuh"

struct ScanShared {
    uint64_t words[QUERY_TILE_WORDS];
    int bounds[QUERY_TILE];
    uint32_t totals[QUERY_TILE];
};

// Rows that a thread holds at the same time.
template <class Rows>
struct Held {
    static constexpr unsigned COUNT = Rows::ROWS * Rows::READS;
    static constexpr unsigned STEPS = TILE_ROWS / BLOCK_THREADS / COUNT;
    Rows rows[Rows::READS];
    unsigned valid;  // one bit a row
    uint64_t row;    // the first row; each further read is a block's worth of rows later
};

template <class Rows>
__device__ __forceinline__ uint64_t row_of(const Held<Rows>& held, unsigned i) {
    return held.row + i / Rows::ROWS * (BLOCK_THREADS * Rows::ROWS) + i % Rows::ROWS;
}

template <class Rows>
__device__ __forceinline__ int distance_of(const Held<Rows>& held, unsigned i, const uint64_t* query, uint32_t words) {
    return held.rows[i / Rows::ROWS].distance(i % Rows::ROWS, query, words);
}

// Offer the rows within the bound; all lanes of a warp come here together.
template <class Rows>
__device__ __forceinline__ void offer(const Candidates& candidates, const Held<Rows>& held,
                                      const int (&distances)[Held<Rows>::COUNT], uint32_t query, int bound,
                                      uint64_t first_position) {
    unsigned near = 0;
#pragma unroll
    for (unsigned i = 0; i < Held<Rows>::COUNT; ++i) {
        if (distances[i] <= bound) near |= 1u << i;
    }
    near &= held.valid;
    const unsigned lane = threadIdx.x % WARP;
    const unsigned mine = __popc(near);
    unsigned through = mine;
#pragma unroll
    for (unsigned step = 1; step < WARP; step *= 2) {
        const unsigned before = __shfl_up_sync(ALL_LANES, through, step);
        if (lane >= step) through += before;
    }
    const unsigned total = __shfl_sync(ALL_LANES, through, WARP - 1);
    if (total == 0) return;
    uint32_t place = 0;
    if (lane == 0) place = reserve(candidates, query, total);
    place = __shfl_sync(ALL_LANES, place, 0) + through - mine;
    uint64_t* keys = candidates.keys + static_cast<uint64_t>(query) * candidates.capacity;
#pragma unroll
    for (unsigned i = 0; i < Held<Rows>::COUNT; ++i) {
        if ((near >> i & 1) == 0) continue;
        if (place < candidates.capacity) keys[place] = key_of(distances[i], first_position + row_of(held, i));
        ++place;
    }
}

// Walk the tiles of this block and call `compare(held, first position of the segment)` with the
// rows of each thread; all lanes of a warp make the same calls.
template <class Rows, class Compare>
__device__ __forceinline__ void walk(const Tiles& tiles, Compare compare) {
    for (uint64_t tile = tiles.first + blockIdx.x; tile < tiles.last; tile += gridDim.x) {
        const Segment segment = segment_of(tiles, tile);
        const uint64_t first_row = (tile - segment.first_tile) * TILE_ROWS;
#pragma unroll 1
        for (unsigned step = 0; step < Held<Rows>::STEPS; ++step) {
            Held<Rows> held;
            held.valid = 0;
            held.row = first_row + (step * Rows::READS * BLOCK_THREADS + threadIdx.x) * Rows::ROWS;
#pragma unroll
            for (unsigned read = 0; read < Rows::READS; ++read) {
                const uint64_t row = row_of(held, read * Rows::ROWS);
                const unsigned valid = rows_to_search(segment, row, Rows::ROWS);
                // A group without a row to search reads the segment's first group, which is there.
                held.rows[read].read(segment.codes, valid == 0 ? 0 : row, tiles.words);
                held.valid |= valid << (read * Rows::ROWS);
            }
            if (__any_sync(ALL_LANES, held.valid != 0)) compare(held, segment.first_tile * TILE_ROWS);
        }
    }
}

// The queries of this block, copied to shared memory; their number.
__device__ __forceinline__ unsigned take_queries(const Queries& queries, uint32_t words, ScanShared& shared) {
    const uint32_t first = blockIdx.y * queries.per_tile;
    const uint32_t left = queries.count - first;
    const unsigned count = left < queries.per_tile ? left : queries.per_tile;
    for (unsigned i = threadIdx.x; i < count * words; i += BLOCK_THREADS) {
        shared.words[i] = queries.words[static_cast<uint64_t>(first) * words + i];
    }
    return count;
}

template <class Rows>
__device__ __forceinline__ void scan(const ScanArgument& argument, ScanShared& shared) {
    const Candidates& candidates = argument.candidates;
    if (overflowed_before(candidates)) return;
    const uint32_t words = argument.tiles.words;
    const uint32_t first_query = blockIdx.y * argument.queries.per_tile;
    const unsigned count = take_queries(argument.queries, words, shared);
    for (unsigned i = threadIdx.x; i < count; i += BLOCK_THREADS) {
        shared.bounds[i] = candidates.bounds[first_query + i];
    }
    __syncthreads();
    walk<Rows>(argument.tiles, [&](const Held<Rows>& held, uint64_t first_position) {
        for (unsigned query = 0; query < count; ++query) {
            const uint64_t* query_words = shared.words + query * words;
            const int bound = shared.bounds[query];
            int distances[Held<Rows>::COUNT], nearest = MOST_BITS + 1;
#pragma unroll
            for (unsigned i = 0; i < Held<Rows>::COUNT; ++i) {
                distances[i] = distance_of(held, i, query_words, words);
                nearest = min(nearest, distances[i]);
            }
            const bool enters = nearest <= bound && held.valid != 0;
            if (__any_sync(ALL_LANES, enters)) {
                offer(candidates, held, distances, first_query + query, bound, first_position);
            }
        }
    });
}

template <class Rows>
__device__ __forceinline__ void count(const CountArgument& argument, ScanShared& shared) {
    const uint32_t words = argument.tiles.words;
    const uint32_t first_query = blockIdx.y * argument.queries.per_tile;
    const unsigned count = take_queries(argument.queries, words, shared);
    for (unsigned i = threadIdx.x; i < count; i += BLOCK_THREADS) shared.totals[i] = 0;
    __syncthreads();
    walk<Rows>(argument.tiles, [&](const Held<Rows>& held, uint64_t) {
        for (unsigned query = 0; query < count; ++query) {
            const uint64_t* query_words = shared.words + query * words;
            unsigned within = 0;
#pragma unroll
            for (unsigned i = 0; i < Held<Rows>::COUNT; ++i) {
                const bool near = distance_of(held, i, query_words, words) <= argument.radius;
                within += near ? held.valid >> i & 1 : 0;
            }
            within = __reduce_add_sync(ALL_LANES, within);
            if (threadIdx.x % WARP == 0 && within != 0) atomicAdd(shared.totals + query, within);
        }
    });
    __syncthreads();
    for (unsigned i = threadIdx.x; i < count; i += BLOCK_THREADS) {
        const unsigned long long total = shared.totals[i];
        atomicAdd(reinterpret_cast<unsigned long long*>(argument.totals) + first_query + i, total);
    }
}

#define SCAN_KERNELS(name, Rows)                                             \
    KERNEL(BLOCK_THREADS) scan_##name(ARGUMENT(ScanArgument, argument)) {    \
        SHARED(ScanShared, shared);                                          \
        scan<Rows>(argument, shared);                                        \
    }                                                                        \
    KERNEL(BLOCK_THREADS) count_##name(ARGUMENT(CountArgument, argument)) {  \
        SHARED(ScanShared, shared);                                          \
        count<Rows>(argument, shared);                                       \
    }

SCAN_KERNELS(16_bits, Rows16)
SCAN_KERNELS(32_bits, Rows32)
SCAN_KERNELS(1_word, RowsOfWords<1>)
SCAN_KERNELS(2_words, RowsOfWords<2>)
SCAN_KERNELS(4_words, RowsOfWords<4>)
SCAN_KERNELS(8_words, RowsOfWords<8>)
SCAN_KERNELS(16_words, RowsOfWords<16>)
SCAN_KERNELS(any_words, RowsOfAnyWords)
