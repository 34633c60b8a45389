// Finding the rows of a tile and offering rows to a query.
#pragma once

#include "arguments.cuh"

// The segment that a tile belongs to.
__device__ __forceinline__ Segment segment_of(const Tiles& tiles, uint64_t tile) {
    uint32_t low = 0, high = tiles.segment_count;
    while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        if (tiles.segments[middle].first_tile <= tile) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return tiles.segments[low];
}

// One bit for each of `count` adjacent rows (a divisor of 32, from a multiple of it) that is to be
// searched: it exists and is in the mask.
__device__ __forceinline__ unsigned rows_to_search(const Segment& segment, uint64_t row, unsigned count) {
    if (row >= segment.rows) return 0;
    const uint64_t left = segment.rows - row;
    const unsigned all = (1u << count) - 1;
    const unsigned existing = left < count ? (1u << left) - 1 : all;
    if (segment.mask == nullptr) return existing;
    return __ldg(segment.mask + row / 32) >> (row % 32) & existing;
}

__device__ __forceinline__ uint64_t key_of(int distance, uint64_t position) {
    return static_cast<uint64_t>(distance) << POSITION_BITS | position;
}

// Whether an earlier piece overflowed, so that this one must wait for another try. Blocks of the
// same piece may set `overflow` meanwhile, to a value that leaves the answer as it is.
__device__ __forceinline__ bool overflowed_before(const Candidates& candidates) {
    const uint32_t overflow = *static_cast<const volatile uint32_t*>(candidates.overflow);
    return overflow != 0 && overflow != candidates.piece + 1;
}

// Places for `count` keys of a query. Places at `capacity` or beyond do not exist; then the piece
// is marked for another try.
__device__ __forceinline__ uint32_t reserve(const Candidates& candidates, uint32_t query, uint32_t count) {
    const uint32_t place = atomicAdd(candidates.counts + query, count);
    if (place >= candidates.capacity || count > candidates.capacity - place) {
        atomicCAS(candidates.overflow, 0u, candidates.piece + 1);
    }
    return place;
}
