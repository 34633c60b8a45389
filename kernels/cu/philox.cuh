// Random numbers by counter: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as
// easy as 1, 2, 3", SC 2011). A draw is a function of seed and counter, whatever thread asks for it.
#pragma once

#include "platform.cuh"

struct Philox {
    uint32_t words[4];
};

__device__ __forceinline__ Philox philox(uint64_t seed, uint32_t c0, uint32_t c1, uint64_t c23) {
    uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
    uint32_t c2 = static_cast<uint32_t>(c23), c3 = static_cast<uint32_t>(c23 >> 32);
#pragma unroll
    for (unsigned round = 0; round < 10; ++round) {
        const uint64_t first = static_cast<uint64_t>(0xd2511f53u) * c0;
        const uint64_t second = static_cast<uint64_t>(0xcd9e8d57u) * c2;
        c0 = static_cast<uint32_t>(second >> 32) ^ c1 ^ key0;
        c2 = static_cast<uint32_t>(first >> 32) ^ c3 ^ key1;
        c1 = static_cast<uint32_t>(second);
        c3 = static_cast<uint32_t>(first);
        key0 += 0x9e3779b9u;
        key1 += 0xbb67ae85u;
    }
    return {{c0, c1, c2, c3}};
}

// What the counter's upper half begins with, so that no two uses draw the same numbers.
enum class Use : uint64_t { negatives = 1, dropout = 2 };

__device__ __forceinline__ uint64_t counter_of(Use use, uint64_t step) {
    return static_cast<uint64_t>(use) << 56 | step;
}
