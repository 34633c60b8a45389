//! Ctrl-C: in commands that listen, the first one asks the work in hand to stop at its next safe
//! point and the second ends the process at once, which loses nothing that was acknowledged. In
//! all others the first one ends it.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// What a shell reports for a process ended by an interrupt.
const INTERRUPTED: i32 = 130;

fn shared() -> &'static Arc<AtomicBool> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    FLAG.get_or_init(Arc::default)
}

/// Starts to listen for Ctrl-C and for the signals that ask a process to end. Only for work that
/// asks again and again whether it is to stop.
pub fn listen() {
    let flag = Arc::clone(shared());
    // Failing to listen only means that Ctrl-C ends the process at once, as it does everywhere.
    let _ = ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::SeqCst) {
            std::process::exit(INTERRUPTED);
        }
    });
}

/// The flag, for work that watches one.
pub fn flag() -> Arc<AtomicBool> {
    Arc::clone(shared())
}

/// Whether the user asked to stop.
pub fn requested() -> bool {
    shared().load(Ordering::SeqCst)
}

/// The same for observers.
pub fn flow() -> ControlFlow<()> {
    if requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}
