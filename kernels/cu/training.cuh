// The one argument of each kernel of encoding and training; `src/cuda/train/arguments.rs` repeats
// these structures field by field. Matrices are row-major float32 numbers.
#pragma once

#include "arguments.cuh"

// What a step takes that the one before did not, beside its pairs.
struct StepNumbers {
    uint64_t step;     // steps before it: decides what it draws
    float rate;        // learning rate, with Adam over the first moment's bias correction
    float correction;  // root of the second moment's bias correction, of Adam
};

struct BeginArgument {
    const uint32_t* order;       // pairs of the batches to come
    const StepNumbers* numbers;  // of the same
    uint32_t* next;              // which of them comes
    uint32_t* pairs;             // gets its pairs
    StepNumbers* now;            // gets its numbers
    uint32_t samples;            // of a batch
    uint32_t unused;
};

struct GatherArgument {
    const void* from;      // in the type that the kernel's name tells
    const uint32_t* rows;  // `count` of them
    float* to;
    uint32_t count;
    uint32_t width;  // values of a row
};

struct DropArgument {
    float* values;
    uint64_t count;
    uint64_t seed;
    const StepNumbers* now;
    uint32_t pass;  // tells networks and layers of one step apart
    uint32_t out;   // of 256 values of a byte, how many leave a number out
    float scale;    // of the numbers that stay
    uint32_t unused;
};

struct BiasArgument {
    float* values;  // (count, width)
    const float* bias;
    uint32_t count;
    uint32_t width;
    uint32_t rectify;  // whether ReLU follows
    uint32_t unused;
};

struct RectifyArgument {
    float* gradient;
    const float* activation;
    uint64_t count;
    float scale;  // what dropout multiplied the activations that it left by
    uint32_t unused;
};

struct ColumnSumsArgument {
    const float* values;  // (count, width)
    float* sums;
    uint32_t count;
    uint32_t width;
};

struct HeadArgument {
    const float* product;  // (count, bits), the last layer's without its bias
    const float* bias;
    float* squashed;      // tanh of it
    float* norms;         // of its rows
    float* outputs;       // rows of unit norm
    uint32_t* undirected; // the first row that has no direction
    uint32_t count;
    uint32_t bits;
};

struct HeadGradientArgument {
    const float* contrastive;  // gradients of the losses with respect to the outputs, or null
    const float* ranking;
    const float* squashed;
    const float* norms;
    const float* outputs;
    float* flow;  // the gradient with respect to the last layer
    uint32_t count;
    uint32_t bits;
    float contrastive_share;
    float ranking_share;
};

struct PackArgument {
    const float* product;  // (count, bits), the last layer's without its bias
    const float* bias;
    uint8_t* codes;        // in the layout of `Codes`
    uint32_t* undirected;  // the first row that has no direction
    uint32_t count;
    uint32_t stored;  // rows with those that fill the last block of the layout
    uint32_t bits;
    uint32_t unused;
};

struct SignsArgument {
    const float* first;   // (rows, bits)
    const float* second;  // or null: the signs are those of the mean of both
    uint32_t* signs;      // (rows, words), one bit a value, from the lowest bit on
    uint32_t rows;
    uint32_t bits;
};

struct MeansArgument {
    const float* image;  // outputs, (samples, bits)
    const float* text;
    float* means;  // the same shape, rows of unit norm
    uint32_t samples;
    uint32_t bits;
};

struct SignRowsArgument {
    const float* values;
    float* signs;  // of each value, +-size
    uint64_t count;
    float size;
    uint32_t unused;
};

struct DrawArgument {
    const uint32_t* pairs;      // of the batch
    const uint32_t* neighbors;  // (rows, neighbor_count), or null
    uint32_t* keys;             // (samples, width): own row, neighbors, rows by chance
    uint64_t seed;
    const StepNumbers* now;
    uint32_t samples;
    uint32_t width;
    uint32_t neighbor_count;
    uint32_t rows;  // of the bank
};

struct ContrastiveArgument {
    const float* image;  // outputs, (samples, bits)
    const float* text;
    float* image_gradient;
    float* text_gradient;
    const uint32_t* signs;  // (rows, words), of `contrastive`
    const float* values;    // (rows, bits), of `contrastive_dense`
    const uint32_t* keys;   // (samples, count), or null: every pair of the batch, the own one first
    float2* weights;        // (samples, count), image's and text's
    float* losses;          // of each sample
    uint32_t samples;
    uint32_t bits;
    uint32_t count;      // keys of a sample
    uint32_t neighbors;  // how many keys after the own one share `neighbor_target`
    float scale;         // of a logit
    float share;         // of a sample in the loss
    float own_target;
    float neighbor_target;  // of each
};

struct RankingArgument {
    const float* similarities;  // (samples, samples)
    float* gradients;           // the same twice: of rows, and of columns transposed
    float* losses;              // of each row, then of each column
    uint32_t samples;
    uint32_t hinges;  // 0: L_r, 1: the max-margin loss
    float margin;
    float shift;
    float scale;  // of a similarity in the softmax of L_r
    float share;  // of a similarity's gradient
};

struct BankArgument {
    const float* image;  // outputs, (samples, bits)
    const float* text;
    const uint32_t* pairs;  // no two the same
    float* values;          // (rows, bits)
    uint32_t* signs;        // (rows, words)
    uint32_t samples;
    uint32_t bits;
    float keep;  // of a row
    float take;  // of the mean of the outputs
};

struct SquaresArgument {
    const float4* values;
    double* sums;  // one for each block
    uint64_t count;  // of groups of 4 numbers
};

// What a step leaves for the host.
struct StepRecord {
    float contrastive;
    float ranking;
    float gradient_norm;
    float clip;
    uint32_t undirected[2];  // the first row of either output without direction, in this step or before
};

struct RecordArgument {
    const float* contrastive;  // losses of `contrastive_count` samples
    const float* ranking;
    const double* squares;
    const uint32_t* undirected;
    const StepNumbers* now;
    float* clip;
    StepRecord* records;  // a step's place is its number modulo `places`
    uint32_t contrastive_count;
    uint32_t ranking_count;
    uint32_t squares_count;
    float contrastive_share;
    float ranking_share;
    float clip_norm;
    uint32_t places;
    uint32_t unused;
};

struct AdamArgument {
    float4* parameters;
    const float4* gradients;
    float4* first;
    float4* second;
    const float* clip;
    const StepNumbers* now;
    uint64_t count;  // of groups of 4 numbers
    float decay;
    float epsilon;
    float first_keep;
    float first_take;
    float second_keep;
    float second_take;
};

struct DescendArgument {
    float4* parameters;
    const float4* gradients;
    float4* velocity;
    const float* clip;
    const StepNumbers* now;
    uint64_t count;  // of groups of 4 numbers
    float decay;
    float keep;  // momentum
};

struct ChainArgument {
    const float* rows;     // (count, inputs)
    const float* weights;  // (outputs, inputs)
    const float* bias;
    float* to;  // (count, outputs)
    uint32_t count;
    uint32_t inputs;
    uint32_t outputs;
    uint32_t rectify;  // whether ReLU follows
};

static_assert(sizeof(StepNumbers) == 16, "layout");
static_assert(sizeof(BeginArgument) == 48, "layout");
static_assert(sizeof(GatherArgument) == 32, "layout");
static_assert(sizeof(DropArgument) == 48, "layout");
static_assert(sizeof(BiasArgument) == 32, "layout");
static_assert(sizeof(RectifyArgument) == 32, "layout");
static_assert(sizeof(ColumnSumsArgument) == 24, "layout");
static_assert(sizeof(HeadArgument) == 56, "layout");
static_assert(sizeof(HeadGradientArgument) == 64, "layout");
static_assert(sizeof(PackArgument) == 48, "layout");
static_assert(sizeof(SignsArgument) == 32, "layout");
static_assert(sizeof(MeansArgument) == 32, "layout");
static_assert(sizeof(SignRowsArgument) == 32, "layout");
static_assert(sizeof(DrawArgument) == 56, "layout");
static_assert(sizeof(ContrastiveArgument) == 104, "layout");
static_assert(sizeof(RankingArgument) == 48, "layout");
static_assert(sizeof(BankArgument) == 56, "layout");
static_assert(sizeof(SquaresArgument) == 24, "layout");
static_assert(sizeof(StepRecord) == 24, "layout");
static_assert(sizeof(RecordArgument) == 88, "layout");
static_assert(sizeof(AdamArgument) == 80, "layout");
static_assert(sizeof(DescendArgument) == 56, "layout");
static_assert(sizeof(ChainArgument) == 48, "layout");
