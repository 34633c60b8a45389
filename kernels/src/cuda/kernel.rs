//! The table of kernels and of the PTX modules that hold them.

use crate::CodeBits;

/// A file of compiled kernels, embedded in the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module {
    /// `cu/chains.cu`: layers as the CPU computes them.
    Chains,
    /// `cu/heads.cu`: what follows a network's last layer.
    Heads,
    /// `cu/keys.cu`: contrastive keys and the memory bank.
    Keys,
    /// `cu/layers.cu`: what happens between a network's matrix products.
    Layers,
    /// `cu/losses.cu`: the losses with their gradients.
    Losses,
    /// `cu/optimizer.cu`: the optimizers.
    Optimizer,
    /// `cu/scan.cu`: comparison of rows with queries by population counts.
    Scan,
    /// `cu/select.cu`: the nearest of the candidates.
    Select,
    /// `cu/step.cu`: where a training step begins and ends.
    Step,
    /// `cu/tensor.cu`: comparison of rows with queries by the matrix units.
    Tensor,
}

impl Module {
    /// All modules.
    pub const ALL: [Self; 10] = [
        Self::Chains,
        Self::Heads,
        Self::Keys,
        Self::Layers,
        Self::Losses,
        Self::Optimizer,
        Self::Scan,
        Self::Select,
        Self::Step,
        Self::Tensor,
    ];

    /// The module's text in the language PTX.
    #[must_use]
    pub const fn ptx(self) -> &'static str {
        match self {
            Self::Chains => include_str!("../../cu/ptx/chains.ptx"),
            Self::Heads => include_str!("../../cu/ptx/heads.ptx"),
            Self::Keys => include_str!("../../cu/ptx/keys.ptx"),
            Self::Layers => include_str!("../../cu/ptx/layers.ptx"),
            Self::Losses => include_str!("../../cu/ptx/losses.ptx"),
            Self::Optimizer => include_str!("../../cu/ptx/optimizer.ptx"),
            Self::Scan => include_str!("../../cu/ptx/scan.ptx"),
            Self::Select => include_str!("../../cu/ptx/select.ptx"),
            Self::Step => include_str!("../../cu/ptx/step.ptx"),
            Self::Tensor => include_str!("../../cu/ptx/tensor.ptx"),
        }
    }
}

/// Define the kernels: a variant, the name in the source and the module.
macro_rules! kernels {
    ($($variant:ident, $name:literal, $module:ident;)*) => {
        /// A kernel.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kernel {
            $(#[doc = concat!("`", $name, "`.")] $variant,)*
        }

        impl Kernel {
            /// All kernels, in the order of their discriminants.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// The name in the source, which is the symbol in the module.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The module that holds it.
            #[must_use]
            pub const fn module(self) -> Module {
                match self { $(Self::$variant => Module::$module,)* }
            }
        }
    };
}

kernels! {
    Scan16Bits, "scan_16_bits", Scan;
    Scan32Bits, "scan_32_bits", Scan;
    Scan1Word, "scan_1_word", Scan;
    Scan2Words, "scan_2_words", Scan;
    Scan4Words, "scan_4_words", Scan;
    Scan8Words, "scan_8_words", Scan;
    Scan16Words, "scan_16_words", Scan;
    ScanAnyWords, "scan_any_words", Scan;
    Count16Bits, "count_16_bits", Scan;
    Count32Bits, "count_32_bits", Scan;
    Count1Word, "count_1_word", Scan;
    Count2Words, "count_2_words", Scan;
    Count4Words, "count_4_words", Scan;
    Count8Words, "count_8_words", Scan;
    Count16Words, "count_16_words", Scan;
    CountAnyWords, "count_any_words", Scan;
    Narrow, "narrow", Select;
    Order, "order", Select;
    Tensor1Word, "tensor_scan_1_word", Tensor;
    Tensor2Words, "tensor_scan_2_words", Tensor;
    Tensor4Words, "tensor_scan_4_words", Tensor;
    Tensor8Words, "tensor_scan_8_words", Tensor;
    Tensor16Words, "tensor_scan_16_words", Tensor;
    BeginStep, "begin_step", Step;
    Chain, "chain", Chains;
    Gather, "gather", Layers;
    GatherHalf, "gather_half", Layers;
    GatherBytes, "gather_bytes", Layers;
    DropOut, "drop_out", Layers;
    AddBias, "add_bias", Layers;
    RectifyGradient, "rectify_gradient", Layers;
    ColumnSums, "column_sums", Layers;
    Head, "head", Heads;
    HeadGradient, "head_gradient", Heads;
    Pack, "pack", Heads;
    SignWords, "sign_words", Keys;
    MeanKeys, "mean_keys", Keys;
    SignRows, "sign_rows", Keys;
    DrawKeys, "draw_keys", Keys;
    UpdateBank, "update_bank", Keys;
    Contrastive, "contrastive", Losses;
    ContrastiveDense, "contrastive_dense", Losses;
    Ranking, "ranking", Losses;
    SumSquares, "sum_squares", Optimizer;
    RecordStep, "record_step", Step;
    Adam, "adam", Optimizer;
    Descend, "descend", Optimizer;
}

impl Kernel {
    /// The threads of a block, as the source declares the kernel.
    #[must_use]
    pub const fn threads(self) -> u32 {
        match self.module() {
            Module::Select => 512,
            _ => 256,
        }
    }

    /// The kernel that compares codes of a length.
    pub(crate) const fn scan(bits: CodeBits) -> Self {
        match (bits.bits(), bits.words()) {
            (16, _) => Self::Scan16Bits,
            (32, _) => Self::Scan32Bits,
            (_, 1) => Self::Scan1Word,
            (_, 2) => Self::Scan2Words,
            (_, 4) => Self::Scan4Words,
            (_, 8) => Self::Scan8Words,
            (_, 16) => Self::Scan16Words,
            _ => Self::ScanAnyWords,
        }
    }

    /// The kernel that compares codes of a length by the matrix units, where there is one.
    pub(crate) const fn tensor_scan(bits: CodeBits) -> Option<Self> {
        match Self::scan(bits) {
            Self::Scan1Word => Some(Self::Tensor1Word),
            Self::Scan2Words => Some(Self::Tensor2Words),
            Self::Scan4Words => Some(Self::Tensor4Words),
            Self::Scan8Words => Some(Self::Tensor8Words),
            Self::Scan16Words => Some(Self::Tensor16Words),
            _ => None,
        }
    }

    /// The kernel that counts codes of a length.
    pub(crate) const fn count(bits: CodeBits) -> Self {
        match Self::scan(bits) {
            Self::Scan16Bits => Self::Count16Bits,
            Self::Scan32Bits => Self::Count32Bits,
            Self::Scan1Word => Self::Count1Word,
            Self::Scan2Words => Self::Count2Words,
            Self::Scan4Words => Self::Count4Words,
            Self::Scan8Words => Self::Count8Words,
            Self::Scan16Words => Self::Count16Words,
            _ => Self::CountAnyWords,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_is_in_its_module() {
        for (place, kernel) in Kernel::ALL.into_iter().enumerate() {
            let entry = format!(".entry {}(", kernel.name());
            let declared = kernel.module().ptx().split_once(&entry).map_or("", |(_, after)| after);
            let threads = format!(".maxntid {}, 1, 1", kernel.threads());
            let head = declared.split('{').next().unwrap_or_default();
            assert!(head.contains(&threads), "{}", kernel.name());
            assert_eq!(kernel as usize, place);
        }
        let entries: usize = Module::ALL.iter().map(|module| module.ptx().matches(".entry ").count()).sum();
        assert_eq!(entries, Kernel::ALL.len(), "kernels in the modules");
    }

    #[test]
    fn the_oldest_driver_and_card_can_load_every_module() {
        for module in Module::ALL {
            // PTX ISA 9.0 is that of CUDA 13.0; see `CudaError::DRIVER`.
            assert!(module.ptx().contains(".version 9.0\n.target sm_80\n"), "{module:?}");
            assert!(!module.ptx().contains(".extern"), "{module:?} declares what it does not hold");
        }
    }

    #[test]
    fn the_layout_decides_the_kernel() {
        let scan = |bits| Kernel::scan(CodeBits::new(bits).unwrap()).name();
        assert_eq!(scan(8), "scan_1_word");
        assert_eq!(scan(16), "scan_16_bits");
        assert_eq!(scan(24), "scan_1_word");
        assert_eq!(scan(32), "scan_32_bits");
        assert_eq!(scan(128), "scan_2_words");
        assert_eq!(scan(136), "scan_any_words");
        assert_eq!(scan(1024), "scan_16_words");
        assert_eq!(Kernel::count(CodeBits::B256).name(), "count_4_words");
        assert_eq!(Kernel::tensor_scan(CodeBits::B128).unwrap().name(), "tensor_scan_2_words");
        assert_eq!(Kernel::tensor_scan(CodeBits::B16), None);
    }
}
