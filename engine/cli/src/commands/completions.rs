//! `twinbit completions`.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::arguments::Cli;
use crate::failure::{Failure, Result};

/// Arguments of `completions`.
#[derive(Args)]
#[command(after_help = "Example:\n  twinbit completions bash > twinbit.bash && source twinbit.bash")]
pub struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints a completion script.
pub fn run(arguments: &Arguments) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "twinbit", &mut script);
    std::io::stdout().write_all(&script).map_err(|_| Failure::OutputClosed)
}
