// A layer of a network as the CPU computes it, bit for bit: every output is one chain of fused
// multiply-adds that starts at the bias and takes the inputs in their order.
//
// That is what makes codes from a card and from the CPU the same. A product by the matrix units or with
// its inner dimension split would be faster and round otherwise.

#include "training.cuh"

constexpr unsigned CHAIN_TILE = 128;  // rows and outputs of a block
constexpr unsigned CHAIN_DEPTH = 8;   // inputs in shared memory at once
constexpr unsigned CHAIN_EACH = 4;    // adjacent rows, or outputs, of a thread; it has two such groups of each
constexpr unsigned CHAIN_GROUPS = 2;
constexpr unsigned CHAIN_LOADS = CHAIN_TILE * CHAIN_DEPTH / BLOCK_THREADS;
static_assert(CHAIN_LOADS == 4, "a load of 16 bytes");
constexpr unsigned CHAIN_PADDING = 4;  // keeps the writes of a warp in different banks

struct ChainShared {
    // Twice: one is filled while the other is read.
    float rows[2][CHAIN_DEPTH][CHAIN_TILE + CHAIN_PADDING];
    float weights[2][CHAIN_DEPTH][CHAIN_TILE + CHAIN_PADDING];
};

// The share of a thread in a tile of a matrix of `inputs` columns, zeros beyond its ends; the matrix begins
// at a multiple of 16 bytes.
struct ChainLoads {
    float values[CHAIN_LOADS];

    __device__ __forceinline__ void load(const float* matrix, uint32_t first, uint32_t count, uint32_t input,
                                         uint32_t inputs) {
        constexpr unsigned THREADS_A_ROW = CHAIN_DEPTH / CHAIN_LOADS;
        const uint32_t row = first + threadIdx.x / THREADS_A_ROW;
        const uint32_t column = input + threadIdx.x % THREADS_A_ROW * CHAIN_LOADS;
        const float* from = matrix + static_cast<uint64_t>(row) * inputs + column;
        // Rows of whole 16 bytes take one load, a quarter of the memory's requests.
        if (inputs % CHAIN_LOADS == 0) {
            float4 four = {0.0f, 0.0f, 0.0f, 0.0f};
            if (row < count && column < inputs) four = __ldg(reinterpret_cast<const float4*>(from));
            values[0] = four.x;
            values[1] = four.y;
            values[2] = four.z;
            values[3] = four.w;
            return;
        }
#pragma unroll
        for (unsigned i = 0; i < CHAIN_LOADS; ++i) {
            values[i] = row < count && column + i < inputs ? __ldg(from + i) : 0.0f;
        }
    }

    __device__ __forceinline__ void store(float (&tile)[CHAIN_DEPTH][CHAIN_TILE + CHAIN_PADDING]) const {
        constexpr unsigned THREADS_A_ROW = CHAIN_DEPTH / CHAIN_LOADS;
#pragma unroll
        for (unsigned i = 0; i < CHAIN_LOADS; ++i) {
            tile[threadIdx.x % THREADS_A_ROW * CHAIN_LOADS + i][threadIdx.x / THREADS_A_ROW] = values[i];
        }
    }
};

// The place in a tile of number `i` of a thread that is the `thread`-th along that side.
__device__ __forceinline__ unsigned chain_place(unsigned thread, unsigned i) {
    return i / CHAIN_EACH * (CHAIN_TILE / CHAIN_GROUPS) + thread * CHAIN_EACH + i % CHAIN_EACH;
}

// outputs = rows weights' + bias; negative ones become 0 where ReLU follows. A multiplication by the zeros
// beyond the last input changes no sum.
KERNEL(BLOCK_THREADS) chain(ARGUMENT(ChainArgument, argument)) {
    SHARED(ChainShared, shared);
    constexpr unsigned NUMBERS = CHAIN_EACH * CHAIN_GROUPS;
    constexpr unsigned SIDE = CHAIN_TILE / NUMBERS;  // threads along a side of the tile
    const unsigned across = threadIdx.x % SIDE, down = threadIdx.x / SIDE;
    const uint32_t first_output = blockIdx.x * CHAIN_TILE, first_row = blockIdx.y * CHAIN_TILE;
    float sums[NUMBERS][NUMBERS];
#pragma unroll
    for (unsigned j = 0; j < NUMBERS; ++j) {
        const uint32_t output = first_output + chain_place(across, j);
        const float bias = output < argument.outputs ? argument.bias[output] : 0.0f;
#pragma unroll
        for (unsigned i = 0; i < NUMBERS; ++i) sums[i][j] = bias;
    }
    ChainLoads rows, weights;
    const auto load = [&](uint32_t input) {
        rows.load(argument.rows, first_row, argument.count, input, argument.inputs);
        weights.load(argument.weights, first_output, argument.outputs, input, argument.inputs);
    };
    load(0);
    rows.store(shared.rows[0]);
    weights.store(shared.weights[0]);
    __syncthreads();
    unsigned half = 0;
    for (uint32_t input = 0; input < argument.inputs; input += CHAIN_DEPTH, half ^= 1) {
        const bool more = argument.inputs - input > CHAIN_DEPTH;
        if (more) load(input + CHAIN_DEPTH);
#pragma unroll
        for (unsigned k = 0; k < CHAIN_DEPTH; ++k) {
            float values[NUMBERS], factors[NUMBERS];
#pragma unroll
            for (unsigned i = 0; i < NUMBERS; ++i) {
                values[i] = shared.rows[half][k][chain_place(down, i)];
                factors[i] = shared.weights[half][k][chain_place(across, i)];
            }
#pragma unroll
            for (unsigned i = 0; i < NUMBERS; ++i) {
#pragma unroll
                for (unsigned j = 0; j < NUMBERS; ++j) sums[i][j] = fmaf(values[i], factors[j], sums[i][j]);
            }
        }
        if (more) {
            // Nobody reads that half any more: everybody has passed the barrier after it was read.
            rows.store(shared.rows[half ^ 1]);
            weights.store(shared.weights[half ^ 1]);
        }
        __syncthreads();
    }
#pragma unroll
    for (unsigned i = 0; i < NUMBERS; ++i) {
        const uint32_t row = first_row + chain_place(down, i);
        if (row >= argument.count) continue;
        float* to = argument.to + static_cast<uint64_t>(row) * argument.outputs;
#pragma unroll
        for (unsigned j = 0; j < NUMBERS; ++j) {
            const uint32_t output = first_output + chain_place(across, j);
            const float sum = sums[i][j];
            if (output < argument.outputs) to[output] = argument.rectify && !(sum > 0.0f) ? 0.0f : sum;
        }
    }
}
