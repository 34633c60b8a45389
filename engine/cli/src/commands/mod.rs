//! One module a command: its arguments and what it does.

pub mod checkpoint;
pub mod collections;
pub mod compact;
pub mod completions;
mod copied;
pub mod create;
pub mod data;
pub mod delete;
pub mod doctor;
pub mod drop;
pub mod eval;
pub mod experiment;
pub mod field;
pub mod get;
pub mod index;
pub mod ingest;
pub mod list;
pub mod model;
pub mod pictures;
pub mod rename;
pub mod restore;
pub mod search;
pub mod set;
mod sources;
pub mod stats;
pub mod train;
pub mod tune;
pub mod verify;

use crate::arguments::Command;
use crate::failure::Result;
use crate::session::Session;

/// Runs a command.
pub fn run(command: Command, session: &Session) -> Result {
    match command {
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => crate::demo::run(&arguments, session),
        Command::Create(arguments) => create::run(&arguments, session),
        Command::Train(arguments) => train::run(&arguments, session),
        Command::Tune(arguments) => tune::run(&arguments, session),
        Command::Ingest(arguments) => ingest::run(&arguments, session),
        Command::Search(arguments) => search::run(&arguments, session),
        Command::Get(arguments) => get::run(&arguments, session),
        Command::Delete(arguments) => delete::run(&arguments, session),
        Command::Set(arguments) => set::run(&arguments, session),
        Command::List(arguments) => list::run(&arguments, session),
        Command::Eval(arguments) => eval::run(&arguments, session),
        Command::Data(action) => data::run(&action, session),
        Command::Experiment(arguments) => experiment::run(&arguments, session),
        Command::Collections(arguments) => collections::run(&arguments, session),
        Command::Drop(arguments) => drop::run(&arguments, session),
        Command::Rename(arguments) => rename::run(&arguments, session),
        Command::Field(action) => field::run(&action, session),
        Command::Model(action) => model::run(&action, session),
        Command::Stats(arguments) => stats::run(&arguments, session),
        Command::Compact(arguments) => compact::run(&arguments, session),
        Command::Index(arguments) => index::run(&arguments, session),
        Command::Verify(arguments) => verify::run(&arguments, session),
        Command::Checkpoint(arguments) => checkpoint::run(&arguments, session),
        Command::Restore(arguments) => restore::run(&arguments, session),
        Command::Doctor(arguments) => doctor::run(&arguments, session),
        Command::Completions(arguments) => completions::run(&arguments),
    }
}
