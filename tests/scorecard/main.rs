//! The scorecard: what users of comparable systems report as failures, tried here and counted.
//!
//! `docs/reliability.md` says what each row shows. An ordinary test run takes the short sizes,
//! `make scorecard-long` the long ones.

#![forbid(unsafe_code)]

mod damage;
mod faults;
mod file_system;
mod full_disk;
mod fuzz;
mod growth;
mod hostile;
mod kill_points;
mod kills;
mod live_files;
mod power_loss;
mod processes;
mod readers;
mod recording;
mod versions;
