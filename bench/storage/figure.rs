//! Figures, and the table of them.

use std::time::Duration;

/// One measured thing: the median of its runs beside that of its reference.
pub(crate) struct Figure {
    what: String,
    unit: &'static str,
    runs: Vec<f64>,
    reference: Option<(&'static str, Vec<f64>)>,
}

impl Figure {
    pub(crate) fn new(what: impl Into<String>, unit: &'static str, runs: Vec<f64>) -> Self {
        Figure { what: what.into(), unit, runs, reference: None }
    }

    /// What the medium does with the same bytes, in the same unit.
    pub(crate) fn beside(mut self, reference: &'static str, runs: Vec<f64>) -> Self {
        self.reference = Some((reference, runs));
        self
    }
}

/// Things a second.
pub(crate) fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn median(runs: &[f64]) -> f64 {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// All figures of a run.
pub(crate) struct Report {
    file_system: String,
    figures: Vec<Figure>,
}

impl Report {
    pub(crate) fn new(file_system: String) -> Self {
        Report { file_system, figures: Vec::new() }
    }

    pub(crate) fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    pub(crate) fn to_markdown(&self) -> String {
        let mut out = format!("File system: {}\n\n", self.file_system);
        out += "| what | median | lowest to highest | reference in the same run | of the reference |\n";
        out += "|---|---|---|---|---|\n";
        for figure in &self.figures {
            let own = median(&figure.runs);
            let low = figure.runs.iter().copied().fold(f64::INFINITY, f64::min);
            let high = figure.runs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let (reference, share) = match &figure.reference {
                None => (String::new(), String::new()),
                Some((name, runs)) => {
                    let theirs = median(runs);
                    (format!("{name}: {}", number(theirs)), format!("{:.0} %", own / theirs * 100.0))
                }
            };
            out += &format!(
                "| {} | {} {} | {} to {} | {reference} | {share} |\n",
                figure.what,
                number(own),
                figure.unit,
                number(low),
                number(high)
            );
        }
        out
    }

    pub(crate) fn to_json(&self) -> String {
        let figures: Vec<_> = self
            .figures
            .iter()
            .map(|figure| {
                serde_json::json!({
                    "what": figure.what,
                    "unit": figure.unit,
                    "median": median(&figure.runs),
                    "runs": figure.runs,
                    "reference": figure.reference.as_ref().map(|(name, runs)| {
                        serde_json::json!({ "what": name, "median": median(runs), "runs": runs })
                    }),
                })
            })
            .collect();
        serde_json::json!({ "file_system": self.file_system, "figures": figures }).to_string()
    }
}

/// Three digits that count, thousands set apart.
fn number(value: f64) -> String {
    if value >= 100.0 {
        let digits = format!("{value:.0}");
        let mut out = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                out.push(',');
            }
            out.push(digit);
        }
        return out;
    }
    let places = if value >= 10.0 { 1 } else { 2 };
    format!("{value:.places$}")
}
