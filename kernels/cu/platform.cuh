// What differs between a card and the CPU: the kernels themselves are written once.
//
// nvcc compiles the sources for a card. For tests g++ compiles them with TWINBIT_ON_CPU defined and
// runs the threads of a block as fibers (`cpu/blocks.h`). A kernel is launched with as many threads a
// block as its declaration says (`Kernel::threads` in `src/cuda/kernel.rs`). Every kernel takes one structure by value,
// whose layout `src/cuda/arguments.rs` repeats, and declares its shared memory as one structure.
#pragma once

#ifdef TWINBIT_ON_CPU

#include "cpu/blocks.h"

#define KERNEL(threads) extern "C" void
#define ARGUMENT(type, name) const type& name
#define SHARED(type, name) type& name = cpu::shared_memory<type>()

#else

#include <stdint.h>

#define KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads, 2)
#define ARGUMENT(type, name) const __grid_constant__ type name
#define SHARED(type, name) __shared__ type name

// A float16 number.
struct Half {
    uint16_t bits;
};

__device__ __forceinline__ float widen(Half value) {
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
    return wide;
}

// Number of bits set in both, for 16 rows of `a` and 8 columns of `b` of 128 bits, added to `sums`.
__device__ __forceinline__ void count_common_128(int (&sums)[4], const uint32_t (&a)[2], uint32_t b) {
    asm("mma.sync.aligned.m16n8k128.row.col.s32.b1.b1.s32.and.popc "
        "{%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(b));
}

// The same for 256 bits.
__device__ __forceinline__ void count_common_256(int (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm("mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#endif

constexpr unsigned WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;
// Threads of a block that compares.
constexpr unsigned BLOCK_THREADS = 256;
constexpr unsigned BLOCK_WARPS = BLOCK_THREADS / WARP;
