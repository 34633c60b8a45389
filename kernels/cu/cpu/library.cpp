// All kernels as a shared library for the CPU: a kernel is a symbol of its own name, and `launch`
// runs it. Built and used by `tests/support/blocks.rs`.
#define TWINBIT_ON_CPU
#include "../chains.cu"
#include "../heads.cu"
#include "../keys.cu"
#include "../layers.cu"
#include "../losses.cu"
#include "../optimizer.cu"
#include "../scan.cu"
#include "../select.cu"
#include "../step.cu"
#include "../tensor.cu"

extern "C" const char* launch(void (*kernel)(const void*), const uint32_t* blocks, const uint32_t* threads,
                              uint64_t seed, const void* argument) {
    return cpu::launch(kernel, {blocks[0], blocks[1], blocks[2]}, {threads[0], threads[1], threads[2]}, seed, argument);
}

// The sizes of the argument structures, in the order of `src/cuda/arguments.rs`.
extern "C" const uint32_t argument_bytes[] = {sizeof(ScanArgument), sizeof(CountArgument), sizeof(NarrowArgument),
                                              sizeof(OrderArgument)};
// The same of `src/cuda/train/arguments.rs`.
extern "C" const uint32_t training_argument_bytes[] = {
    sizeof(StepNumbers), sizeof(BeginArgument), sizeof(GatherArgument), sizeof(DropArgument), sizeof(BiasArgument), sizeof(RectifyArgument),
    sizeof(ColumnSumsArgument), sizeof(HeadArgument), sizeof(HeadGradientArgument), sizeof(PackArgument),
    sizeof(SignsArgument), sizeof(MeansArgument), sizeof(SignRowsArgument), sizeof(DrawArgument), sizeof(ContrastiveArgument),
    sizeof(RankingArgument), sizeof(BankArgument), sizeof(SquaresArgument), sizeof(StepRecord),
    sizeof(RecordArgument), sizeof(AdamArgument), sizeof(DescendArgument), sizeof(ChainArgument)};
