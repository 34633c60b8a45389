//! What a bench prints: one JSON object a line, as soon as it is known.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use twinbit_kernels::cuda::Card;

/// Calls timed after a first one.
const RUNS: usize = 7;

/// What a case gives, or why it failed.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// Prints lines, and knows whether a case failed.
pub(crate) struct Report<'a> {
    out: &'a mut dyn Write,
    failed: bool,
}

impl<'a> Report<'a> {
    pub(crate) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, failed: false }
    }

    /// Print an object of these members. Who reads the lines and went away is not waited for.
    pub(crate) fn line(&mut self, members: &str) {
        let _ = writeln!(self.out, "{{{members}}}").and_then(|()| self.out.flush());
    }

    /// Run a case and print its members after those that name it, or why it failed; the next case comes
    /// in either way.
    pub(crate) fn case(&mut self, name: &str, run: impl FnOnce() -> Outcome<String>) {
        match run() {
            Ok(members) => self.line(&format!("{name}, {members}")),
            Err(error) => {
                self.failed = true;
                self.line(&format!("{name}, \"error\": {:?}", error.to_string()));
            }
        }
    }

    pub(crate) const fn failed(&self) -> bool {
        self.failed
    }
}

/// The least time of several runs after a first one, in seconds.
pub(crate) fn least_time<T>(mut run: impl FnMut() -> Outcome<T>) -> Outcome<f64> {
    run()?;
    let mut least = f64::INFINITY;
    for _ in 0..RUNS {
        let start = Instant::now();
        run()?;
        least = least.min(start.elapsed().as_secs_f64());
    }
    Ok(least)
}

/// Open the first card and print what it is and how long that took, the compilation of the kernels by the
/// driver included; where there is none, why.
pub(crate) fn open_card(report: &mut Report<'_>) -> Option<Card> {
    let start = Instant::now();
    let opened = Card::open(0).and_then(|card| card.memory().map(|memory| (card, memory)));
    match opened {
        Ok((card, (free, total))) => {
            let (major, minor) = card.compute_capability();
            report.line(&format!(
                "\"device\": {:?}, \"compute_capability\": \"{major}.{minor}\", \"cuda\": {}, \
                 \"free_bytes\": {free}, \"total_bytes\": {total}, \"open_seconds\": {:.3}",
                card.name(),
                card.cuda_version(),
                start.elapsed().as_secs_f64()
            ));
            Some(card)
        }
        Err(reason) => {
            report.line(&format!("\"skipped\": {:?}", format!("no device ({reason})")));
            None
        }
    }
}

/// Run the parts of a bench whose names are among the program's arguments, or all; exit code 1 when a case
/// failed or TWINBIT_REQUIRE_CARD is set and there is no card, 2 for a name that no part has.
pub(crate) fn run(parts: &[&str], part: impl Fn(&Card, &str, &mut Report<'_>)) -> ExitCode {
    let mut out = std::io::stdout();
    let mut report = Report::new(&mut out);
    // Cargo adds `--bench`.
    let asked: Vec<String> = std::env::args().skip(1).filter(|name| !name.starts_with("--")).collect();
    if let Some(name) = asked.iter().find(|name| !parts.contains(&name.as_str())) {
        report.line(&format!("\"error\": {:?}", format!("there is no part '{name}' beside {parts:?}")));
        return 2.into();
    }
    let Some(card) = open_card(&mut report) else {
        return u8::from(std::env::var_os("TWINBIT_REQUIRE_CARD").is_some()).into();
    };
    for name in parts.iter().filter(|name| asked.is_empty() || asked.iter().any(|asked| asked == *name)) {
        let start = Instant::now();
        part(&card, name, &mut report);
        report.line(&format!("\"part\": \"{name}\", \"seconds\": {:.1}", start.elapsed().as_secs_f64()));
    }
    u8::from(report.failed()).into()
}
