//! The runs of an experiment one by one, in a file from which it can be gone on with.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use twinbit::{Device, Precision, Scores, TrainConfig, TrainingMachine};
use xxhash_rust::xxh3::xxh3_64;

use super::table::Trial;
use crate::failure::{Failure, Result};
use crate::replace::replace;

/// First line, by which such a file is known: nothing else is ever replaced.
const HEAD: &str = "run,bits,seed,best_epoch,seconds,image_to_text,text_to_image,machine,method";
/// The first line of files whose runs do not name their machine.
const HEAD_WITHOUT_MACHINE: &str = "run,bits,seed,best_epoch,seconds,image_to_text,text_to_image,method";

/// What an experiment is computed on, which says the runs of which machines it may keep.
#[derive(Clone, Copy)]
pub struct Machines {
    /// As asked for.
    pub device: Device,
    /// Of the products, on a card.
    pub precision: Precision,
}

impl Machines {
    /// Whether a run may be kept: under a device asked for by name, if that one made it for all that is known.
    fn may_keep(self, machine: Option<TrainingMachine>) -> bool {
        let card = TrainingMachine::Card(self.precision);
        match self.device {
            Device::Cpu => machine == Some(TrainingMachine::Processor),
            Device::Cuda(_) => machine == Some(card),
            _ => machine.is_none_or(|machine| machine == TrainingMachine::Processor || machine == card),
        }
    }
}

/// The finished runs, and where they are written.
pub struct Runs {
    path: PathBuf,
    data: String,
    runs: Vec<(Key, Trial)>,
    /// Whose runs are kept, where any are.
    resumed: Option<Machines>,
}

/// Stands for all settings of a run and the data that it was made on.
type Key = u64;

impl Runs {
    /// The runs that the file holds, if it is to be gone on with on these machines; else none, and the first
    /// run to be added takes the file's place. `data` tells the data apart from others.
    pub fn open(path: PathBuf, data: String, resumed: Option<Machines>) -> Result<Self> {
        let refuse = |what: &str| Err(Failure::new(format!("{} {what}", path.display())));
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Failure::file(&path, "read the runs so far", &error)),
        };
        let mut lines = text.lines();
        let names_machine = match lines.next() {
            Some(HEAD) | None => true,
            Some(HEAD_WITHOUT_MACHINE) => false,
            Some(_) => return refuse("holds no runs of an experiment; name another by --out"),
        };
        let mut runs = Vec::new();
        for (at, line) in lines.enumerate().filter(|_| resumed.is_some()) {
            match run_of(line, names_machine) {
                Some(run) => runs.push(run),
                None => return refuse(&format!("is damaged in line {}; start without --resume", at + 2)),
            }
        }
        Ok(Self { path, data, runs, resumed })
    }

    /// The run of these settings, if it is finished and its machine is one of those of this experiment. That of
    /// another one stays in the file.
    pub fn find(&self, method: &str, config: &TrainConfig) -> Result<Option<Trial>> {
        let key = self.key(config)?;
        let may_keep = |machine| self.resumed.is_some_and(|machines| machines.may_keep(machine));
        let found = self.runs.iter().find(|(of, trial)| *of == key && may_keep(trial.machine));
        Ok(found.map(|(_, trial)| Trial { method: method.to_owned(), ..trial.clone() }))
    }

    /// Adds a finished run and writes the file anew.
    pub fn add(&mut self, trial: &Trial, config: &TrainConfig) -> Result {
        self.runs.push((self.key(config)?, trial.clone()));
        let mut text = format!("{HEAD}\n");
        for (key, trial) in &self.runs {
            let Trial { method, bits, seed, best_epoch, seconds, test, .. } = trial;
            let (image_to_text, text_to_image) = (test.image_to_text, test.text_to_image);
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{key:016x},{bits},{seed},{best_epoch},{seconds},{image_to_text},{text_to_image},{},{}",
                trial.machine_name(),
                method.replace('\n', " ")
            );
        }
        replace(&self.path, text.as_bytes())
            .map_err(|error| Failure::file(&self.path, "write the runs so far", &error))
    }

    fn key(&self, config: &TrainConfig) -> Result<Key> {
        let settings = serde_json::to_string(config).map_err(|error| Failure::new(error.to_string()))?;
        Ok(xxh3_64(format!("{}\n{settings}", self.data).as_bytes()))
    }
}

/// A line of the file. The method comes last, as it may hold commas.
fn run_of(line: &str, names_machine: bool) -> Option<(Key, Trial)> {
    let mut cells = line.splitn(if names_machine { 9 } else { 8 }, ',');
    let key = Key::from_str_radix(cells.next()?, 16).ok()?;
    let (bits, seed) = (cells.next()?.parse().ok()?, cells.next()?.parse().ok()?);
    let (best_epoch, seconds) = (cells.next()?.parse().ok()?, cells.next()?.parse().ok()?);
    let (image_to_text, text_to_image) = (cells.next()?.parse().ok()?, cells.next()?.parse().ok()?);
    let machine = match if names_machine { cells.next()? } else { "" } {
        "" => None,
        name => Some(TrainingMachine::try_from(name.to_owned()).ok()?),
    };
    let method = cells.next()?.to_owned();
    let test = Scores { image_to_text, text_to_image };
    Some((key, Trial { method, bits, seed, best_epoch, seconds, test, machine }))
}

/// Tells the state of some files apart from others: their paths, lengths and times.
pub fn state_of<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<String> {
    let mut state = String::new();
    for path in files {
        let failed = |error| Failure::file(path, "read the state", &error);
        let (absolute, metadata) = (path.canonicalize().map_err(failed)?, path.metadata().map_err(failed)?);
        let _ = writeln!(state, "{} {} {:?}", absolute.display(), metadata.len(), metadata.modified().ok());
    }
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path, device: Device) -> Runs {
        let machines = Machines { device, precision: Precision::Tf32 };
        Runs::open(path.to_path_buf(), "data".to_owned(), Some(machines)).unwrap()
    }

    fn trial(machine: Option<TrainingMachine>) -> Trial {
        let test = Scores { image_to_text: 0.5, text_to_image: 0.25 };
        Trial { method: "a, b".to_owned(), bits: 32, seed: 7, best_epoch: 3, seconds: 1.5, test, machine }
    }

    #[test]
    fn runs_are_kept_where_their_machine_could_have_been_chosen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.runs.csv");
        let config = TrainConfig::default();
        let [processor, card, other] = [
            TrainingMachine::Processor,
            TrainingMachine::Card(Precision::Tf32),
            TrainingMachine::Card(Precision::Bf16),
        ]
        .map(Some);
        let kept = |device| open(&path, device).find("a, b", &config).unwrap();
        for (machine, [auto, cpu, cuda]) in [
            (processor, [true, true, false]),
            (card, [true, false, true]),
            (other, [false, false, false]),
            (None, [true, false, false]),
        ] {
            let trial = trial(machine);
            let _ = std::fs::remove_file(&path);
            open(&path, Device::Auto).add(&trial, &config).unwrap();
            for (device, keeps) in [(Device::Auto, auto), (Device::Cpu, cpu), (Device::Cuda(1), cuda)] {
                assert_eq!(kept(device), keeps.then(|| trial.clone()), "{machine:?} under {device}");
            }
        }
        // What is not kept stays in the file beside what takes its place.
        open(&path, Device::Cpu).add(&trial(processor), &config).unwrap();
        open(&path, Device::Cuda(0)).add(&trial(card), &config).unwrap();
        assert_eq!((kept(Device::Cpu), kept(Device::Cuda(0))), (Some(trial(processor)), Some(trial(card))));
    }

    #[test]
    fn files_whose_runs_do_not_name_their_machine_are_read_and_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.runs.csv");
        let config = TrainConfig::default();
        open(&path, Device::Auto).add(&trial(None), &config).unwrap();
        let written = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, written.replace(",machine,method", ",method").replace("0.25,,", "0.25,"))
            .unwrap();
        let mut runs = open(&path, Device::Auto);
        assert_eq!(runs.find("a, b", &config).unwrap(), Some(trial(None)));
        let longer = TrainConfig { epochs: 99, ..config.clone() };
        runs.add(&trial(Some(TrainingMachine::Processor)), &longer).unwrap();
        let runs = open(&path, Device::Auto);
        assert_eq!(runs.find("a, b", &config).unwrap(), Some(trial(None)));
        assert_eq!(runs.find("a, b", &longer).unwrap(), Some(trial(Some(TrainingMachine::Processor))));
    }
}
