// Codes of several adjacent rows in the registers of one thread, one structure for each layout.
//
// ROWS rows are read with loads of 16 bytes; READS such groups are read before any is compared, so
// that enough bytes are on their way to keep the memory busy.
#pragma once

#include "arguments.cuh"

struct Rows16 {
    static constexpr unsigned ROWS = 8, READS = 1;
    uint4 codes;

    __device__ __forceinline__ void read(const void* column, uint64_t row, uint32_t) {
        codes = __ldg(reinterpret_cast<const uint4*>(column) + row / ROWS);
    }

    __device__ __forceinline__ int distance(unsigned i, const uint64_t* query, uint32_t) const {
        const uint32_t pair = i < 2 ? codes.x : i < 4 ? codes.y : i < 6 ? codes.z : codes.w;
        const uint32_t differing = pair ^ static_cast<uint32_t>(query[0]);
        return __popc(i % 2 == 0 ? differing & 0xffffu : differing >> 16);
    }
};

struct Rows32 {
    static constexpr unsigned ROWS = 4, READS = 2;
    uint4 codes;

    __device__ __forceinline__ void read(const void* column, uint64_t row, uint32_t) {
        codes = __ldg(reinterpret_cast<const uint4*>(column) + row / ROWS);
    }

    __device__ __forceinline__ int distance(unsigned i, const uint64_t* query, uint32_t) const {
        const uint32_t code = i == 0 ? codes.x : i == 1 ? codes.y : i == 2 ? codes.z : codes.w;
        return __popc(code ^ static_cast<uint32_t>(query[0]));
    }
};

// Where word 0 of a row and of the row after it lie; their next words follow at 4 times 16 bytes.
__device__ __forceinline__ const ulonglong2* row_pair(const void* column, uint64_t row, uint32_t words) {
    return reinterpret_cast<const ulonglong2*>(column) + row / 8 * 4 * words + row % 8 / 2;
}

// Codes of WORDS 64-bit words, two rows of one block of 8.
template <unsigned WORDS>
struct RowsOfWords {
    static constexpr unsigned ROWS = 2, READS = WORDS <= 2 ? 4 : WORDS <= 4 ? 2 : 1;
    ulonglong2 codes[WORDS];

    __device__ __forceinline__ void read(const void* column, uint64_t row, uint32_t) {
        const ulonglong2* pair = row_pair(column, row, WORDS);
#pragma unroll
        for (unsigned word = 0; word < WORDS; ++word) codes[word] = __ldg(pair + 4 * word);
    }

    __device__ __forceinline__ int distance(unsigned i, const uint64_t* query, uint32_t) const {
        int sum = 0;
#pragma unroll
        for (unsigned word = 0; word < WORDS; ++word) {
            sum += __popcll((i == 0 ? codes[word].x : codes[word].y) ^ query[word]);
        }
        return sum;
    }
};

// Codes of any number of words, read again for each query: they would not fit the registers.
struct RowsOfAnyWords {
    static constexpr unsigned ROWS = 2, READS = 1;
    const ulonglong2* pair;

    __device__ __forceinline__ void read(const void* column, uint64_t row, uint32_t words) {
        pair = row_pair(column, row, words);
    }

    __device__ __forceinline__ int distance(unsigned i, const uint64_t* query, uint32_t words) const {
        int sum = 0;
        for (unsigned word = 0; word < words; ++word) {
            const ulonglong2 both = __ldg(pair + 4 * word);
            sum += __popcll((i == 0 ? both.x : both.y) ^ query[word]);
        }
        return sum;
    }
};
