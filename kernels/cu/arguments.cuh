// The one argument of each kernel; `src/cuda/arguments.rs` repeats these structures field by field.
#pragma once

#include "platform.cuh"

// Rows of a segment are searched in tiles of this many; a block takes one tile at a time.
constexpr unsigned TILE_ROWS = 2048;
// A block compares its tile with at most this many queries, whose words it holds in shared memory.
constexpr unsigned QUERY_TILE = 64;
constexpr unsigned QUERY_TILE_WORDS = 2048;
// The longest code, so that there are MOST_BITS + 1 distances.
constexpr unsigned MOST_BITS = 4096;
// The most rows that a query can keep.
constexpr unsigned MOST_KEPT = 2048;

// A candidate is one number, whose order is the order of answers: the distance above the position.
// Positions count rows through all segments in order, each segment starting at a whole tile.
constexpr unsigned POSITION_BITS = 48;

struct Segment {
    const void* codes;     // in the layout that is stored, see `Codes`
    const uint32_t* mask;  // one bit a row, or null for all rows
    uint64_t first_tile;   // the number of tiles in the segments before
    uint64_t rows;         // at least 1
};

// The tiles that one launch walks through.
struct Tiles {
    const Segment* segments;
    uint64_t first;
    uint64_t last;  // one past the end
    uint32_t segment_count;
    uint32_t words;  // 64-bit words of a code; 1 for 16 and 32 bits
};

struct Queries {
    const uint64_t* words;  // query after query; 16- and 32-bit codes repeated to fill their word
    uint32_t count;
    uint32_t per_tile;  // queries that a block takes
};

// What is known of each query's nearest rows so far.
struct Candidates {
    uint64_t* keys;      // `capacity` for each query
    uint32_t* counts;    // keys offered, for each query
    uint32_t* kept;      // keys that were there after the last `narrow`
    int32_t* bounds;     // the largest distance with which a later row can enter
    uint32_t* overflow;  // 0, or 1 + the number of the piece in which a query's keys did not fit
    uint32_t capacity;
    uint32_t piece;  // the number of this piece
};

struct ScanArgument {
    Tiles tiles;
    Queries queries;
    Candidates candidates;
};

struct CountArgument {
    Tiles tiles;
    Queries queries;
    uint64_t* totals;  // rows within the radius, for each query
    int32_t radius;
    uint32_t unused;
};

struct NarrowArgument {
    Candidates candidates;
    uint32_t k;
    uint32_t levels;         // bits of a code + 1
    uint32_t position_bits;  // positions are below 2 to this power
    uint32_t unused;
};

struct OrderArgument {
    Candidates candidates;
    uint64_t* results;  // `k` for each query, ascending
    uint32_t k;
    uint32_t unused;
};

static_assert(sizeof(Segment) == 32, "layout");
static_assert(sizeof(Tiles) == 32, "layout");
static_assert(sizeof(Queries) == 16, "layout");
static_assert(sizeof(Candidates) == 48, "layout");
static_assert(sizeof(ScanArgument) == 96, "layout");
static_assert(sizeof(CountArgument) == 64, "layout");
static_assert(sizeof(NarrowArgument) == 64, "layout");
static_assert(sizeof(OrderArgument) == 64, "layout");
