//! `twinbit`: the database for image-text pairs on the command line.
//!
//! A thin face of the crate `twinbit`: it reads arguments, calls the library, and prints. What
//! goes where is a contract: results on standard output (JSON Lines with `--json`), progress and
//! warnings on standard error, exit codes 0 done, 1 failed, 2 wrong usage.

#![forbid(unsafe_code)]
#![allow(unreachable_pub, reason = "in a program, pub means: for the other modules")]

mod arguments;
mod commands;
mod curves;
#[cfg(feature = "demo")]
mod demo;
mod failure;
mod figure;
mod interrupt;
mod log;
mod output;
mod page;
mod progress;
mod replace;
mod session;
mod values;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::arguments::Cli;
use crate::failure::Failure;
use crate::session::Session;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let session = Session::new(cli.global);
    match commands::run(cli.command, &session) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => {
            let error = Cli::command().error(clap::error::ErrorKind::ValueValidation, message);
            let _ = error.print();
            ExitCode::from(2)
        }
        Err(failure) => {
            if !matches!(failure, Failure::OutputClosed) {
                output::to_standard_error(&format!("error: {failure}"));
            }
            ExitCode::from(failure.exit_code())
        }
    }
}
