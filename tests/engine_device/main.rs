//! Databases with a card: search, training and encoding.
//!
//! The card is the machine of the kernels' own tests, which runs their sources on the CPU.
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "the kernels' tests use more of it")]
#[path = "../../kernels/tests/support/blocks.rs"]
mod blocks;
#[path = "../../kernels/tests/support/compiled.rs"]
mod compiled;
mod encoding;
mod search;
mod things;
mod training;

use std::sync::Arc;
use std::time::Duration;

use blocks::{Blocks, Health};
use twinbit::{Builder, Compaction, Database, Device, DeviceCosts};
use twinbit_kernels::cuda::AnyMachine;

/// Options of every test.
fn builder() -> Builder {
    let by_hand = Compaction { background: false, ..Compaction::default() };
    Database::builder().threads(2).compaction(by_hand)
}

/// Options that compute on a card, and what that card can do.
fn with_card(device: Device) -> (Builder, Arc<Health>) {
    let machine = Blocks::new(1);
    let health = machine.health();
    (builder().device(device).machine(AnyMachine::new(machine)), health)
}

/// Costs with which anything is worth the card.
fn for_nothing() -> DeviceCosts {
    DeviceCosts {
        open: Duration::ZERO,
        call: Duration::ZERO,
        upload_bytes_per_second: u64::MAX,
        scan_bytes_per_second: u64::MAX,
        card_operations_per_second: u64::MAX,
        processor_operations_per_second: 1,
    }
}
