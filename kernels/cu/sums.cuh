// Sums and maxima over the threads of a block, the same in every run and for every thread.
#pragma once

#include "platform.cuh"

// One number of each warp.
template <class T>
using WarpValues = T[BLOCK_WARPS];

// Fold the values of all threads by `fold`, within warps in a butterfly, then warp after warp.
template <class T, class Fold>
__device__ __forceinline__ T fold_block(T value, WarpValues<T>& values, Fold fold) {
#pragma unroll
    for (unsigned step = WARP / 2; step > 0; step /= 2) {
        value = fold(value, __shfl_xor_sync(ALL_LANES, value, static_cast<int>(step)));
    }
    __syncthreads();  // the values may still be read for the fold before
    if (threadIdx.x % WARP == 0) values[threadIdx.x / WARP] = value;
    __syncthreads();
    T all = values[0];
#pragma unroll
    for (unsigned warp = 1; warp < BLOCK_WARPS; ++warp) all = fold(all, values[warp]);
    return all;
}

template <class T>
__device__ __forceinline__ T block_sum(T value, WarpValues<T>& values) {
    return fold_block(value, values, [](T a, T b) { return a + b; });
}

__device__ __forceinline__ float block_max(float value, WarpValues<float>& values) {
    return fold_block(value, values, [](float a, float b) { return fmaxf(a, b); });
}
