//! Progress on standard error: bars that appear only on a terminal and only once work takes time.

use std::borrow::Cow;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How a bar over a known number of steps looks.
const BAR: &str = "{msg:<22} {bar:28.cyan/black.bright} {human_pos:>9}/{human_len} {per_sec:>12} {eta:>4}";

/// Makes the bars of one command.
#[derive(Clone, Copy)]
pub struct Progress {
    quiet: bool,
}

impl Progress {
    /// Bars, or none when `quiet`.
    pub fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// A bar over a known number of steps.
    pub fn bar(self, what: impl Into<Cow<'static, str>>, steps: u64) -> ProgressBar {
        self.show(ProgressBar::with_draw_target(Some(steps), self.target()), BAR, what)
    }

    /// A counter for work of unknown length.
    pub fn counter(self, what: impl Into<Cow<'static, str>>) -> ProgressBar {
        let style = "{msg:<22} {spinner:.cyan} {human_pos:>9} {per_sec:>12} {elapsed:>5}";
        let counter = self.show(ProgressBar::with_draw_target(None, self.target()), style, what);
        counter.enable_steady_tick(std::time::Duration::from_millis(120));
        counter
    }

    /// Something that takes a while and cannot be counted.
    pub fn spinner(self, what: impl Into<Cow<'static, str>>) -> ProgressBar {
        let spinner = self.show(
            ProgressBar::with_draw_target(None, self.target()),
            "{msg:<22} {spinner:.cyan} {elapsed}",
            what,
        );
        spinner.enable_steady_tick(std::time::Duration::from_millis(120));
        spinner
    }

    fn target(self) -> ProgressDrawTarget {
        // `stderr()` draws nothing by itself when standard error is not a terminal.
        if self.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() }
    }

    fn show(self, bar: ProgressBar, style: &str, what: impl Into<Cow<'static, str>>) -> ProgressBar {
        restyle(&bar, style);
        bar.set_message(what);
        bar
    }
}

/// Turns a counter into a bar, once it is known how much there is to do.
pub fn make_bar(counter: &ProgressBar, steps: u64) {
    counter.set_length(steps);
    restyle(counter, BAR);
}

fn restyle(bar: &ProgressBar, style: &str) {
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style.progress_chars("\u{2501}\u{2578}\u{2500}"));
    }
}
