//! The learning rate of an epoch.

use std::f64::consts::PI;

use crate::config::Schedule;

/// Epochs, counted from 0, from which the step schedule divides by ten once more. The public code
/// names 30, 60, 90 and 120, and steps one epoch late.
const DROPS: [u32; 4] = [31, 61, 91, 121];

/// The learning rate of `epoch`, counted from 0.
pub(crate) fn learning_rate(base: f64, schedule: Schedule, epoch: u32, epochs: u32) -> f64 {
    match schedule {
        Schedule::Step => {
            let drops = DROPS.iter().filter(|&&drop| epoch >= drop).count();
            base * 0.1f64.powi(drops as i32)
        }
        Schedule::Cosine => {
            let progress = f64::from(epoch.saturating_sub(1)) / f64::from(epochs);
            base / 2.0 * (1.0 + (PI * progress).cos())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_come_one_epoch_late() {
        let at = |epoch| learning_rate(1.0, Schedule::Step, epoch, 200);
        assert_eq!(at(30), 1.0);
        assert!((at(31) - 0.1).abs() < 1e-15);
        assert!((at(121) - 1e-4).abs() < 1e-15);
    }

    #[test]
    fn the_cosine_keeps_its_first_rate_for_two_epochs() {
        let at = |epoch| learning_rate(2.0, Schedule::Cosine, epoch, 10);
        assert_eq!(at(0), 2.0);
        assert_eq!(at(1), 2.0);
        assert!((at(6) - 1.0).abs() < 1e-12);
    }
}
