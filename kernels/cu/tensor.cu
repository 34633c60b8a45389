// Comparison of rows with many queries by the matrix units: the scan of large batches.
//
// The matrix units count the bits that a query and a row have in common; the distance is the bits of
// the one plus the bits of the other minus twice that. Only whether a row may be within the bound is
// decided from these counts; the few rows that may are compared again, bit by bit. The last axis of
// the product is the bits of a code, whose order does not matter as long as queries and rows agree,
// so that words are taken as they lie in memory.

#include "tiles.cuh"

// Queries of a block, in groups of 16 as the instruction takes them.
constexpr unsigned TENSOR_QUERIES = 128;
constexpr unsigned GROUP_QUERIES = 16;
constexpr unsigned GROUPS = TENSOR_QUERIES / GROUP_QUERIES;
// A sum that stays negative whatever is in common.
constexpr int NEVER = -(1 << 20);

// How codes of WORDS 64-bit words are fed to the instruction.
template <unsigned WORDS>
struct Shape {
    // One instruction takes 128 bits of a code for short ones, else 256.
    static constexpr unsigned STEPS = WORDS <= 4 ? 1 : WORDS / 4;
    static constexpr unsigned ROW_REGISTERS = WORDS <= 2 ? 1 : 2;
    static constexpr unsigned QUERY_REGISTERS = 2 * ROW_REGISTERS;
    // Blocks of 8 rows that a warp holds in registers.
    static constexpr unsigned BLOCKS = WORDS <= 4 ? 8 : 4;
};

template <unsigned WORDS>
struct TensorShared {
    uint32_t queries[GROUPS][Shape<WORDS>::STEPS][WARP][Shape<WORDS>::QUERY_REGISTERS];
    int halves[TENSOR_QUERIES];
};

// The 32 bits of a code that a lane holds in one register of one step. A code's word w lies at
// `words[w * stride]`.
template <unsigned WORDS>
__device__ __forceinline__ uint32_t lane_bits(const uint64_t* words, unsigned stride, unsigned lane, unsigned step,
                                              unsigned part) {
    const unsigned place = lane % 4;
    if (WORDS <= 2) {
        const unsigned word = place / 2;
        return word < WORDS ? static_cast<uint32_t>(__ldg(words + word * stride) >> (place % 2 * 32)) : 0;
    }
    return static_cast<uint32_t>(__ldg(words + (step * 4 + place) * stride) >> (part * 32));
}

// Put the queries where the lanes read them, and half of what each allows: (bound - bits) / 2, rounded down.
template <unsigned WORDS>
__device__ void take_queries(const ScanArgument& argument, TensorShared<WORDS>& shared) {
    using Of = Shape<WORDS>;
    const uint32_t first = blockIdx.y * argument.queries.per_tile;
    const uint32_t left = argument.queries.count - first;
    constexpr unsigned REGISTERS = GROUPS * Of::STEPS * WARP * Of::QUERY_REGISTERS;
    for (unsigned i = threadIdx.x; i < REGISTERS; i += BLOCK_THREADS) {
        const unsigned part = i % Of::QUERY_REGISTERS, lane = i / Of::QUERY_REGISTERS % WARP;
        const unsigned step = i / (Of::QUERY_REGISTERS * WARP) % Of::STEPS;
        const unsigned group = i / (Of::QUERY_REGISTERS * WARP * Of::STEPS);
        const unsigned query = group * GROUP_QUERIES + lane / 4 + part % 2 * 8;
        const uint64_t* words = argument.queries.words + static_cast<uint64_t>(first + query) * WORDS;
        shared.queries[group][step][lane][part] = query < left ? lane_bits<WORDS>(words, 1, lane, step, part / 2) : 0;
    }
    for (unsigned query = threadIdx.x; query < TENSOR_QUERIES; query += BLOCK_THREADS) {
        int half = NEVER;
        if (query < left) {
            int bits = 0;
            const uint64_t* words = argument.queries.words + static_cast<uint64_t>(first + query) * WORDS;
            for (unsigned word = 0; word < WORDS; ++word) bits += __popcll(words[word]);
            half = (argument.candidates.bounds[first + query] - bits) >> 1;
        }
        shared.halves[query] = half;
    }
}

// The rows of BLOCKS blocks of 8 in the registers of a warp.
template <unsigned WORDS>
struct RowBlocks {
    uint32_t bits[Shape<WORDS>::BLOCKS][Shape<WORDS>::STEPS][Shape<WORDS>::ROW_REGISTERS];
    // Minus half the bits of the two rows whose sums the lane gets, rounded up. With half of what the
    // query allows, rounded down, and the bits in common the sum is at least 0 for a row in the bound.
    int halves[Shape<WORDS>::BLOCKS][2];

    __device__ __forceinline__ void read(const Segment& segment, uint64_t first_row) {
        using Of = Shape<WORDS>;
        const unsigned lane = threadIdx.x % WARP;
#pragma unroll
        for (unsigned block = 0; block < Of::BLOCKS; ++block) {
            const uint64_t row = first_row + block * 8;
            const bool there = row < segment.rows;
            const uint64_t* words = static_cast<const uint64_t*>(segment.codes) + (there ? row * WORDS : 0) + lane / 4;
            int count = 0;
#pragma unroll
            for (unsigned step = 0; step < Of::STEPS; ++step) {
#pragma unroll
                for (unsigned part = 0; part < Of::ROW_REGISTERS; ++part) {
                    bits[block][step][part] = lane_bits<WORDS>(words, 8, lane, step, part);
                    count += __popc(bits[block][step][part]);
                }
            }
            count += __shfl_xor_sync(ALL_LANES, count, 1);
            count += __shfl_xor_sync(ALL_LANES, count, 2);
            const int half = there ? (1 - count) >> 1 : NEVER;
            halves[block][0] = __shfl_sync(ALL_LANES, half, lane % 4 * 8);
            halves[block][1] = __shfl_sync(ALL_LANES, half, lane % 4 * 8 + 4);
        }
    }
};

// Compare one row with one query bit by bit, and offer it.
template <unsigned WORDS>
__device__ void offer_row(const ScanArgument& argument, const Segment& segment, uint64_t row, uint32_t query) {
    if (rows_to_search(segment, row, 1) == 0) return;
    const uint64_t* row_words = static_cast<const uint64_t*>(segment.codes) + row / 8 * 8 * WORDS + row % 8;
    const uint64_t* query_words = argument.queries.words + static_cast<uint64_t>(query) * WORDS;
    int distance = 0;
    for (unsigned word = 0; word < WORDS; ++word) distance += __popcll(row_words[word * 8] ^ query_words[word]);
    const Candidates& candidates = argument.candidates;
    if (distance > candidates.bounds[query]) return;
    const uint32_t place = reserve(candidates, query, 1);
    if (place >= candidates.capacity) return;
    candidates.keys[static_cast<uint64_t>(query) * candidates.capacity + place] =
        key_of(distance, segment.first_tile * TILE_ROWS + row);
}

template <unsigned WORDS>
__device__ __forceinline__ void multiply(int (&sums)[4], const uint32_t (&query)[4], const uint32_t (&row)[2]) {
    count_common_256(sums, query, row);
}
template <unsigned WORDS>
__device__ __forceinline__ void multiply(int (&sums)[4], const uint32_t (&query)[2], const uint32_t (&row)[1]) {
    count_common_128(sums, query, row[0]);
}

template <unsigned WORDS>
__device__ __forceinline__ void compare(const ScanArgument& argument, const TensorShared<WORDS>& shared,
                                        const Segment& segment, uint64_t first_row) {
    using Of = Shape<WORDS>;
    const unsigned lane = threadIdx.x % WARP;
    RowBlocks<WORDS> rows;
    rows.read(segment, first_row);
    const uint32_t first_query = blockIdx.y * argument.queries.per_tile;
    const uint32_t left = argument.queries.count - first_query;
#pragma unroll 1
    for (unsigned group = 0; group < GROUPS && group * GROUP_QUERIES < left; ++group) {
        const int of_query[2] = {shared.halves[group * GROUP_QUERIES + lane / 4],
                                 shared.halves[group * GROUP_QUERIES + lane / 4 + 8]};
        int sums[Of::BLOCKS][4];
#pragma unroll
        for (unsigned block = 0; block < Of::BLOCKS; ++block) {
#pragma unroll
            for (unsigned i = 0; i < 4; ++i) sums[block][i] = of_query[i / 2] + rows.halves[block][i % 2];
        }
#pragma unroll
        for (unsigned step = 0; step < Of::STEPS; ++step) {
            uint32_t query[Of::QUERY_REGISTERS];
#pragma unroll
            for (unsigned part = 0; part < Of::QUERY_REGISTERS; ++part) {
                query[part] = shared.queries[group][step][lane][part];
            }
#pragma unroll
            for (unsigned block = 0; block < Of::BLOCKS; ++block) {
                multiply<WORDS>(sums[block], query, rows.bits[block][step]);
            }
        }
        int all = -1;  // negative when all sums are
#pragma unroll
        for (unsigned block = 0; block < Of::BLOCKS; ++block) {
            all &= sums[block][0] & sums[block][1] & sums[block][2] & sums[block][3];
        }
        if (!__any_sync(ALL_LANES, all >= 0)) continue;
        uint32_t near = 0;  // one bit a sum
#pragma unroll
        for (unsigned i = 0; i < Of::BLOCKS * 4; ++i) {
            if (sums[i / 4][i % 4] >= 0) near |= 1u << i;
        }
        for (; near != 0; near &= near - 1) {
            const unsigned i = __ffs(near) - 1;
            const uint32_t query = group * GROUP_QUERIES + lane / 4 + i % 4 / 2 * 8;
            offer_row<WORDS>(argument, segment, first_row + i / 4 * 8 + lane % 4 * 2 + i % 2, first_query + query);
        }
        __syncwarp();
    }
}

template <unsigned WORDS>
__device__ __forceinline__ void tensor_scan(const ScanArgument& argument, TensorShared<WORDS>& shared) {
    if (overflowed_before(argument.candidates)) return;
    take_queries(argument, shared);
    __syncthreads();
    constexpr unsigned HELD = Shape<WORDS>::BLOCKS * 8;
    const Tiles& tiles = argument.tiles;
    for (uint64_t tile = tiles.first + blockIdx.x; tile < tiles.last; tile += gridDim.x) {
        const Segment segment = segment_of(tiles, tile);
        const uint64_t first_row = (tile - segment.first_tile) * TILE_ROWS;
        for (unsigned start = threadIdx.x / WARP * HELD; start < TILE_ROWS; start += BLOCK_WARPS * HELD) {
            if (first_row + start >= segment.rows) break;
            compare(argument, shared, segment, first_row + start);
        }
    }
}

#define TENSOR_KERNEL(name, WORDS)                                                \
    KERNEL(BLOCK_THREADS) tensor_scan_##name(ARGUMENT(ScanArgument, argument)) {  \
        SHARED(TensorShared<WORDS>, shared);                                      \
        tensor_scan<WORDS>(argument, shared);                                     \
    }

TENSOR_KERNEL(1_word, 1)
TENSOR_KERNEL(2_words, 2)
TENSOR_KERNEL(4_words, 4)
TENSOR_KERNEL(8_words, 8)
TENSOR_KERNEL(16_words, 16)
