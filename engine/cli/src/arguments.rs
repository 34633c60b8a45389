//! The command line as a whole: global options and the list of commands.

use clap::{Args, Parser, Subcommand};
use twinbit::Device;

use crate::commands::{
    checkpoint, collections, compact, completions, create, data, delete, doctor, drop, eval, experiment,
    field, get, index, ingest, list, model, rename, restore, search, set, stats, train, tune, verify,
};

/// An embedded database for image-text pairs: short binary codes, exact search across both.
///
/// DB is a folder. Results go to standard output, as JSON Lines with --json; progress and warnings
/// go to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage.
#[derive(Parser)]
#[command(name = "twinbit", version, propagate_version = false, arg_required_else_help = true)]
#[command(after_help = "Try it, no data needed:\n  twinbit demo")]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args)]
pub struct Global {
    /// Collection to work on; needed only when the database has more than one
    #[arg(short, long, global = true, value_name = "NAME", help_heading = "Global options")]
    pub collection: Option<String>,
    /// Threads to use; 0 takes one a processor
    #[arg(long, global = true, value_name = "N", default_value_t = 0, help_heading = "Global options")]
    pub threads: usize,
    /// What to search, encode and train on: auto, cpu, cuda or cuda:N. auto takes the card where there is one
    /// and the work is worth it, cuda fails without one
    #[arg(long, global = true, default_value = "auto", help_heading = "Global options")]
    pub device: Device,
    /// Read segment files with ordinary calls instead of mapping them: for file systems that may lose
    /// a file while it is in use, at the price of memory and of a slower open
    #[arg(long, global = true, help_heading = "Global options")]
    pub no_mmap: bool,
    /// Print results as JSON Lines
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// Print results only: no progress, no remarks
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub quiet: bool,
    /// Print what happens inside to standard error
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub verbose: bool,
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Show the whole path on real data: train, store, search both ways, measure
    #[cfg(feature = "demo")]
    Demo(crate::demo::Arguments),
    /// Create a collection, and its database when there is none
    Create(create::Arguments),
    /// Train the two networks and install them
    Train(Box<train::Arguments>),
    /// Tune a picture encoder on pairs, before there is a collection
    Tune(Box<tune::Arguments>),
    /// Store pairs from arrays, codes, folders, tables or shards
    Ingest(ingest::Arguments),
    /// Find the nearest records to a text, a picture, features, codes or a record
    Search(search::Arguments),
    /// Print records
    Get(get::Arguments),
    /// Delete records, by id or by a filter
    Delete(delete::Arguments),
    /// Change fields of a record; image, text and codes stay
    Set(set::Arguments),
    /// Page through the records, oldest write first
    List(list::Arguments),
    /// Measure retrieval both ways with labeled queries
    Eval(eval::Arguments),
    /// Train and test methods over code lengths and seeds, and write one table of their scores
    Experiment(experiment::Arguments),
    /// Look after the files of the published data sets
    #[command(subcommand)]
    Data(data::Action),
    /// List the collections of a database
    Collections(collections::Arguments),
    /// Remove a collection and everything in it
    Drop(drop::Arguments),
    /// Give a collection another name
    Rename(rename::Arguments),
    /// Change the declared fields
    #[command(subcommand)]
    Field(field::Action),
    /// Show a model, write it to a file, or install one from a file
    #[command(subcommand)]
    Model(model::Action),
    /// Print sizes and counts
    Stats(stats::Arguments),
    /// Merge segments and give the space of removed records back
    Compact(compact::Arguments),
    /// Make indexes of the codes, so that searching large collections takes less time
    Index(index::Arguments),
    /// Compare everything on disk with its checksums
    Verify(verify::Arguments),
    /// Copy a database as it is now; the copy is a database of its own
    Checkpoint(checkpoint::Arguments),
    /// Make a database from a checkpoint, after verifying it
    Restore(restore::Arguments),
    /// Show what this machine offers and what would be used of it
    Doctor(doctor::Arguments),
    /// Print the completion script of a shell
    Completions(completions::Arguments),
}
