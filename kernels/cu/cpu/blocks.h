// Runs CUDA kernels on the CPU, to test their logic without a card.
//
// The threads of a block are fibers on one thread of the system. A fiber runs until it waits at a
// barrier (a warp's operations are barriers too), then another one runs; which one is drawn from
// a seed, as is the order of blocks and whether a thread pauses at an atomic operation. A kernel that
// lacks a barrier gives a wrong answer in some schedule; one whose threads wait for each other in
// vain is reported. Shared memory is filled with a pattern before each block.
//
// What this cannot find: races between blocks (they run one after another) and everything that
// depends on the memory model or on the speed of a card.
#pragma once

#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

#include <algorithm>
#include <memory>
#include <vector>

#define __device__
#define __forceinline__ inline
#define threadIdx (cpu::current().index)
#define blockIdx (cpu::block().index)
#define blockDim (cpu::block().threads)
#define gridDim (cpu::block().blocks)

using std::max;
using std::min;

struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(16) ulonglong2 {
    unsigned long long x, y;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};

namespace cpu {

constexpr unsigned LANES = 32;
constexpr size_t STACK_BYTES = 64 << 10;
constexpr size_t SHARED_BYTES = 48 << 10;  // what every card gives a block without asking

struct Index {
    unsigned x = 1, y = 1, z = 1;
};

enum class State : uint8_t { ready, at_block_barrier, at_warp_barrier, finished };

struct Fiber {
    jmp_buf registers;
    ucontext_t start;
    std::unique_ptr<char[]> stack;
    Index index;
    unsigned number = 0;  // in the block
    State state = State::finished;
    uint32_t lanes = 0;  // those that meet at the warp's barrier
};

struct Warp {
    uint64_t values[LANES];
    uint32_t fragments[LANES][6];
};

struct Random {
    uint64_t state;

    uint64_t below(uint64_t end) {  // SplitMix64; the bias of the remainder does not matter here
        uint64_t z = state += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        return (z ^ z >> 31) % end;
    }
};

struct Block {
    std::vector<std::unique_ptr<Fiber>> fibers;
    std::vector<Warp> warps;
    Index index, threads, blocks;
    unsigned size = 0;
    Fiber* running = nullptr;
    jmp_buf scheduler;
    void (*kernel)(const void*) = nullptr;
    const void* argument = nullptr;
    Random random{0};
    const char* failure = nullptr;
    alignas(64) unsigned char shared[SHARED_BYTES];
};

// The block that this thread of the system runs; set by `launch`. The attribute makes it cheap to read.
inline thread_local Block* running_block __attribute__((tls_model("initial-exec"))) = nullptr;
inline Block& block() { return *running_block; }
inline Fiber& current() { return *block().running; }

// Leave the running fiber; it goes on when the scheduler picks it again.
__attribute__((noinline)) inline void leave() {
    Block& b = block();
    if (_setjmp(b.running->registers) == 0) _longjmp(b.scheduler, 1);
}

inline void fiber_main() {
    for (;;) {
        block().kernel(block().argument);
        current().state = State::finished;
        leave();
    }
}

// Run a fiber until it leaves.
__attribute__((noinline)) inline void resume(Fiber& fiber) {
    Block& b = block();
    b.running = &fiber;
    if (_setjmp(b.scheduler) != 0) return;
    if (fiber.stack) _longjmp(fiber.registers, 1);
    fiber.stack.reset(new char[STACK_BYTES]);
    getcontext(&fiber.start);
    fiber.start.uc_stack.ss_sp = fiber.stack.get();
    fiber.start.uc_stack.ss_size = STACK_BYTES;
    fiber.start.uc_link = nullptr;
    makecontext(&fiber.start, fiber_main, 0);
    setcontext(&fiber.start);
}

inline void wait_for_block() {
    current().state = State::at_block_barrier;
    leave();
}

inline void wait_for_warp(uint32_t lanes) {
    Fiber& fiber = current();
    if ((lanes >> fiber.number % LANES & 1) == 0) block().failure = "a lane waits for a group of lanes without itself";
    fiber.lanes = lanes;
    fiber.state = State::at_warp_barrier;
    leave();
}

// An atomic operation is a point where other threads may come between.
inline void pause_sometimes() {
    if (block().random.below(8) == 0) leave();
}

inline Warp& warp() { return block().warps[current().number / LANES]; }
inline unsigned lane() { return current().number % LANES; }

// Let the lanes go on whose whole group has arrived at the warp's barrier.
inline bool release_warp(Block& b, unsigned first, unsigned last) {
    bool released = false;
    for (unsigned i = first; i < last; ++i) {
        if (b.fibers[i]->state != State::at_warp_barrier) continue;
        const uint32_t lanes = b.fibers[i]->lanes;
        bool complete = true;
        for (unsigned lane = 0; lane < LANES; ++lane) {
            if ((lanes >> lane & 1) == 0) continue;
            const unsigned other = first + lane;
            complete = complete && other < last && b.fibers[other]->state == State::at_warp_barrier &&
                       b.fibers[other]->lanes == lanes;
        }
        if (!complete) continue;
        for (unsigned lane = 0; lane < LANES; ++lane) {
            if (lanes >> lane & 1) b.fibers[first + lane]->state = State::ready;
        }
        released = true;
    }
    return released;
}

// Run every ready thread of a warp once, from a random lane in a random direction.
inline bool run_warp(Block& b, unsigned first, unsigned last) {
    const unsigned count = last - first, start = b.random.below(count), back = b.random.below(2);
    bool progress = false;
    for (unsigned i = 0; i < count; ++i) {
        Fiber& fiber = *b.fibers[first + (back ? start + count - i : start + i) % count];
        if (fiber.state != State::ready) continue;
        progress = true;
        resume(fiber);
    }
    return release_warp(b, first, last) || progress;
}

inline bool all_are(const Block& b, State state) {
    return std::all_of(b.fibers.begin(), b.fibers.begin() + b.size, [&](const auto& fiber) {
        return fiber->state == state || fiber->state == State::finished;
    });
}

inline void run_block(Block& b) {
    memset(b.shared, 0xa5, sizeof b.shared);
    for (unsigned i = 0; i < b.size; ++i) {
        b.fibers[i]->number = i;
        b.fibers[i]->index = {i % b.threads.x, i / b.threads.x % b.threads.y, i / (b.threads.x * b.threads.y)};
        b.fibers[i]->state = State::ready;
    }
    const unsigned warps = (b.size + LANES - 1) / LANES;
    while (!all_are(b, State::finished) && b.failure == nullptr) {
        bool progress = false;
        // One warp after the other, each as far as it gets or, at times, only a little: a missing
        // barrier shows when a warp is far ahead of the others, or far behind.
        const unsigned start = b.random.below(warps);
        for (unsigned i = 0; i < warps; ++i) {
            const unsigned first = (start + i) % warps * LANES, last = min(first + LANES, b.size);
            const bool far = b.random.below(2) == 0;
            bool more = true;
            while (more && b.failure == nullptr) {
                more = run_warp(b, first, last);
                progress = progress || more;
                if (!far && b.random.below(16) == 0) break;
            }
        }
        if (all_are(b, State::at_block_barrier)) {
            for (unsigned i = 0; i < b.size; ++i) {
                if (b.fibers[i]->state == State::at_block_barrier) b.fibers[i]->state = State::ready;
            }
        } else if (!progress) {
            b.failure = "threads wait for each other at different barriers";
        }
    }
}

// Run all blocks of a launch in an order drawn from the seed. Null, or what went wrong.
inline const char* launch(void (*kernel)(const void*), Index blocks, Index threads, uint64_t seed, const void* argument) {
    static thread_local const std::unique_ptr<Block> only(new Block);
    running_block = only.get();
    Block& b = *only;
    b.kernel = kernel;
    b.argument = argument;
    b.blocks = blocks;
    b.threads = threads;
    b.size = threads.x * threads.y * threads.z;
    b.random.state = seed;
    b.failure = nullptr;
    while (b.fibers.size() < b.size) b.fibers.emplace_back(new Fiber);
    b.warps.resize((b.size + LANES - 1) / LANES);
    std::vector<Index> order;
    for (unsigned z = 0; z < blocks.z; ++z) {
        for (unsigned y = 0; y < blocks.y; ++y) {
            for (unsigned x = 0; x < blocks.x; ++x) order.push_back({x, y, z});
        }
    }
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[b.random.below(i)]);
    for (const Index index : order) {
        b.index = index;
        run_block(b);
        if (b.failure != nullptr) {
            b.fibers.clear();  // some of them stopped in the middle
            break;
        }
    }
    b.running = nullptr;
    return b.failure;
}

template <class T>
T& shared_memory() {
    static_assert(sizeof(T) <= SHARED_BYTES, "more shared memory than a block has");
    return *reinterpret_cast<T*>(block().shared);
}

// Every lane of the group shows a value and gets that of lane `source`, its own where there is none.
template <class T>
T exchange(uint32_t lanes, T value, unsigned source) {
    static_assert(sizeof(T) <= sizeof(uint64_t), "a value of at most 8 bytes");
    Warp& w = warp();
    memcpy(&w.values[lane()], &value, sizeof(T));
    wait_for_warp(lanes);
    if (source < LANES && (lanes >> source & 1)) memcpy(&value, &w.values[source], sizeof(T));
    wait_for_warp(lanes);
    return value;
}

}  // namespace cpu

inline void __syncthreads() { cpu::wait_for_block(); }
inline void __syncwarp(uint32_t lanes = 0xffffffffu) { cpu::wait_for_warp(lanes); }

template <class T>
T __shfl_sync(uint32_t lanes, T value, int source) {
    return cpu::exchange(lanes, value, static_cast<unsigned>(source) % cpu::LANES);
}
template <class T>
T __shfl_up_sync(uint32_t lanes, T value, unsigned step) {
    return cpu::exchange(lanes, value, cpu::lane() - step);
}
template <class T>
T __shfl_xor_sync(uint32_t lanes, T value, int other) {
    return cpu::exchange(lanes, value, cpu::lane() ^ static_cast<unsigned>(other));
}

inline uint32_t __reduce_add_sync(uint32_t lanes, uint32_t value) {
    cpu::Warp& w = cpu::warp();
    w.values[cpu::lane()] = value;
    cpu::wait_for_warp(lanes);
    uint32_t sum = 0;
    for (unsigned lane = 0; lane < cpu::LANES; ++lane) {
        if (lanes >> lane & 1) sum += static_cast<uint32_t>(w.values[lane]);
    }
    cpu::wait_for_warp(lanes);
    return sum;
}
inline int __any_sync(uint32_t lanes, int holds) { return __reduce_add_sync(lanes, holds != 0) != 0; }

inline int __popc(uint32_t bits) { return __builtin_popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __popcll(unsigned long long bits) { return __builtin_popcountll(bits); }

template <class T>
T __ldg(const T* place) {
    return *place;
}
template <class T>
T atomicAdd(T* place, T value) {
    cpu::pause_sometimes();
    const T before = *place;
    *place = before + value;
    return before;
}
template <class T>
T atomicMin(T* place, T value) {
    cpu::pause_sometimes();
    const T before = *place;
    if (value < before) *place = value;
    return before;
}
template <class T>
T atomicCAS(T* place, T expected, T value) {
    cpu::pause_sometimes();
    const T before = *place;
    if (before == expected) *place = value;
    return before;
}

namespace cpu {

// The matrix instruction on WORDS 32-bit words a row: fragments lie in the lanes as the PTX manual
// says. Words `lane % 4` and, of 8 words, `lane % 4 + 4` are a lane's; of `a` rows `lane / 4` and
// `lane / 4 + 8`, of `b` column `lane / 4`.
template <unsigned WORDS>
void count_common(int (&sums)[4], const uint32_t (&a)[WORDS / 2], const uint32_t* b) {
    constexpr unsigned HALVES = WORDS / 4;
    Warp& w = warp();
    for (unsigned i = 0; i < WORDS / 2; ++i) w.fragments[lane()][i] = a[i];
    for (unsigned i = 0; i < HALVES; ++i) w.fragments[lane()][4 + i] = b[i];
    wait_for_warp(0xffffffffu);
    for (unsigned i = 0; i < 4; ++i) {
        const unsigned row = lane() / 4 + i / 2 * 8, column = lane() % 4 * 2 + i % 2;
        for (unsigned word = 0; word < WORDS; ++word) {
            const uint32_t of_a = w.fragments[row % 8 * 4 + word % 4][row / 8 + word / 4 * 2];
            const uint32_t of_b = w.fragments[column * 4 + word % 4][4 + word / 4];
            sums[i] += __builtin_popcount(of_a & of_b);
        }
    }
    wait_for_warp(0xffffffffu);
}

}  // namespace cpu

struct Half {
    uint16_t bits;
};

inline float widen(Half value) {
    const int exponent = value.bits >> 10 & 31, fraction = value.bits & 0x3ff;
    const float size = exponent == 31 ? (fraction ? NAN : INFINITY)
                       : exponent == 0 ? ldexpf(static_cast<float>(fraction), -24)
                                       : ldexpf(static_cast<float>(0x400 | fraction), exponent - 25);
    return value.bits >> 15 ? -size : size;
}

inline void count_common_128(int (&sums)[4], const uint32_t (&a)[2], uint32_t b) {
    cpu::count_common<4>(sums, a, &b);
}
inline void count_common_256(int (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    cpu::count_common<8>(sums, a, b);
}
