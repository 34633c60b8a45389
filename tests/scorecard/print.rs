//! Prints the scorecard of a run: the rows that its tests appended to `rows.jsonl` in a folder.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use serde_json::Value;

#[expect(clippy::print_stdout, reason = "a table is printed")]
fn main() -> ExitCode {
    let folder = std::env::args().nth(1).unwrap_or_else(|| panic!("usage: scorecard FOLDER"));
    let path = std::path::Path::new(&folder).join("rows.jsonl");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    rows.sort_by_key(|row| (row["row"].as_u64(), row["what"].as_str().map(str::to_owned)));
    let cell = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    println!("| # | what | size | result | figures | seconds |\n|---|---|---|---|---|---|");
    for row in &rows {
        let [what, size, result, figures] = ["what", "size", "result", "figures"].map(|name| cell(row, name));
        println!("| {} | {what} | {size} | {result} | {figures} | {} |", row["row"], row["seconds"]);
    }
    let absent: Vec<String> = (1..=14)
        .filter(|number| !rows.iter().any(|row| row["row"] == *number))
        .map(|number: u64| number.to_string())
        .collect();
    if !absent.is_empty() {
        println!("\nno result: rows {}", absent.join(", "));
    }
    match absent.is_empty() && rows.iter().all(|row| row["result"] != "FAILED") {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
