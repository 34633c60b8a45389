//! Training as it goes on: a bar, and a line or two an epoch as the reference code prints them.

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;
use twinbit::{EpochReport, Observer, Scores};

use crate::failure::Failure;
use crate::interrupt;
use crate::session::Session;

/// Watches training for the command line.
pub struct Watch<'a> {
    session: &'a Session,
    bar: ProgressBar,
    epochs: u32,
    trouble: &'a Trouble,
}

/// Why a watch told training to stop, when that was not Ctrl-C.
#[derive(Default)]
pub struct Trouble(Mutex<Option<Failure>>);

impl Trouble {
    fn note(&self, failure: Failure) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }

    /// The reason, if there was one.
    pub fn take(&self) -> Option<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<'a> Watch<'a> {
    /// A watch over this many epochs, which says in `trouble` why it stopped them.
    pub fn new(session: &'a Session, epochs: u32, trouble: &'a Trouble) -> Self {
        Self { session, bar: session.progress.bar("training", 0), epochs, trouble }
    }

    fn print(&self, report: &EpochReport) -> Result<(), Failure> {
        let output = self.session.output;
        if output.is_json() {
            return output.object(report);
        }
        output.say(format!(
            "Epoch: {} / {} | Step: {:.0}ms | Loss: {:.4} | LR: {}",
            report.epoch, self.epochs, report.step_ms, report.loss, report.learning_rate
        ))?;
        match &report.validation {
            Some(scores) => output.say(scores_line("Evaluation", scores)),
            None => Ok(()),
        }
    }
}

/// "Evaluation: Img2Txt: 0.7696 Txt2Img: 0.7467 Avg: 0.7582".
pub fn scores_line(name: &str, scores: &Scores) -> String {
    format!(
        "{name}: Img2Txt: {:.4} Txt2Img: {:.4} Avg: {:.4}",
        scores.image_to_text,
        scores.text_to_image,
        scores.mean()
    )
}

impl Observer for Watch<'_> {
    fn on_step(&mut self, step: usize, steps: usize, loss: f64) -> ControlFlow<()> {
        self.bar.set_length(steps as u64);
        self.bar.set_position(step as u64);
        self.bar.set_message(format!("training, loss {loss:.3}"));
        interrupt::flow()
    }

    fn on_epoch(&mut self, report: &EpochReport) -> ControlFlow<()> {
        let printed = self.bar.suspend(|| self.print(report));
        match printed {
            Ok(()) => interrupt::flow(),
            Err(failure) => {
                self.trouble.note(failure);
                ControlFlow::Break(())
            }
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_read_as_in_the_reference() {
        let scores = Scores { image_to_text: 0.7696, text_to_image: 0.7467 };
        assert_eq!(scores_line("Test", &scores), "Test: Img2Txt: 0.7696 Txt2Img: 0.7467 Avg: 0.7581");
    }
}
