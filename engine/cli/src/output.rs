//! What goes to standard output: JSON Lines, or sentences and tables for people.

use std::io::{ErrorKind, IsTerminal, Write};

use serde::Serialize;

use crate::failure::{Failure, Result};

/// Standard output in one of its two forms, and standard error for warnings.
#[derive(Clone, Copy)]
pub struct Output {
    json: bool,
    quiet: bool,
    styled: bool,
}

impl Output {
    /// JSON Lines when `json`; no sentences beyond results when `quiet`.
    pub fn new(json: bool, quiet: bool) -> Self {
        let styled = !json && std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { json, quiet, styled }
    }

    /// Whether results go out as JSON Lines.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// Writes one JSON object on a line of its own.
    pub fn object(self, value: &impl Serialize) -> Result {
        let mut line = serde_json::to_vec(value).map_err(|error| Failure::new(error.to_string()))?;
        line.push(b'\n');
        write_out(&line)
    }

    /// Writes a result for people; nothing under `--json`.
    pub fn line(self, text: impl AsRef<str>) -> Result {
        if self.json {
            return Ok(());
        }
        write_out(format!("{}\n", text.as_ref()).as_bytes())
    }

    /// Writes a sentence about what was done; nothing under `--json` or `--quiet`.
    pub fn say(self, text: impl AsRef<str>) -> Result {
        if self.quiet { Ok(()) } else { self.line(text) }
    }

    /// Writes a warning to standard error; nothing under `--quiet`.
    pub fn warn(self, text: impl AsRef<str>) {
        if !self.quiet {
            to_standard_error(&format!("warning: {}", text.as_ref()));
        }
    }

    /// Writes a table for people; nothing under `--json`.
    pub fn table(self, table: &Table) -> Result {
        if self.json {
            return Ok(());
        }
        write_out(table.render(self.styled).as_bytes())
    }

    /// Text in bold on a terminal.
    pub fn bold(self, text: &str) -> String {
        if self.styled { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Text in a softer color on a terminal.
    pub fn soft(self, text: &str) -> String {
        if self.styled { format!("\u{1b}[2m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Writes a line to standard error. Where that is closed, nobody wants to know.
pub fn to_standard_error(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn write_out(bytes: &[u8]) -> Result {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::new(format!("cannot write to standard output: {error}")),
    })
}

/// Rows under a head, columns aligned; numbers to the right.
pub struct Table {
    head: Vec<String>,
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column heads. A head that starts with `>` aligns its column to the right.
    pub fn new<'a>(head: impl IntoIterator<Item = &'a str>) -> Self {
        let (head, right) = head
            .into_iter()
            .map(|name| (name.trim_start_matches('>').to_owned(), name.starts_with('>')))
            .unzip();
        Self { head, right, rows: Vec::new() }
    }

    /// Adds a row. Line breaks and control characters in a cell are shown as spaces.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let clean = |cell: String| cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.rows.push(cells.into_iter().map(clean).collect());
    }

    /// Whether the table has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn render(&self, styled: bool) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.chain(self.head.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |cells: &[String]| {
            let padded = cells.iter().zip(&widths).zip(&self.right).map(|((cell, &width), &right)| {
                if right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let head = line(&self.head);
        let mut text = match (head.is_empty(), styled) {
            (true, _) => String::new(),
            (false, true) => format!("\u{1b}[2m{head}\u{1b}[0m\n"),
            (false, false) => format!("{head}\n"),
        };
        for row in &self.rows {
            text.push_str(&line(row));
            text.push('\n');
        }
        text
    }
}

/// Bytes for people: "12.3 MB".
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let (mut value, mut unit) = (count as f64 / 1000.0, 0);
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A count for people: "12,599".
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_control_characters_vanish() {
        let mut table = Table::new(["id", ">distance"]);
        table.row(["a\nb".to_owned(), "3".to_owned()]);
        table.row(["long id".to_owned(), "12".to_owned()]);
        assert_eq!(table.render(false), "id       distance\na b             3\nlong id        12\n");
    }

    #[test]
    fn numbers_are_grouped_and_bytes_are_scaled() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_500), "1.5 kB");
        assert_eq!(bytes(999_960), "1.0 MB");
    }
}
