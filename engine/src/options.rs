//! How a database is opened.

use std::path::{Path, PathBuf};

use twinbit_kernels::cuda::AnyMachine;

use crate::database::Database;
use crate::{Compaction, Device, DeviceCosts, Durability, Indexing, Modality, ReadMode, Result};

/// Options of a database; made by [`Database::builder`].
///
/// ```no_run
/// use twinbit::{Database, Device, Durability};
///
/// let database = Database::builder()
///     .threads(4)
///     .durability(Durability::Eventual)
///     .device(Device::Cpu)
///     .open("photos.twinbit")?;
/// # Ok::<(), twinbit::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Builder {
    pub(crate) threads: usize,
    pub(crate) durability: Option<Durability>,
    pub(crate) device: Device,
    pub(crate) device_memory: Option<u64>,
    pub(crate) device_costs: DeviceCosts,
    pub(crate) machine: Option<AnyMachine>,
    pub(crate) cache_bytes: Option<usize>,
    pub(crate) read_mode: ReadMode,
    pub(crate) compaction: Compaction,
    pub(crate) indexing: Indexing,
    pub(crate) encoder_folders: [Option<PathBuf>; 2],
}

impl Builder {
    /// Threads for searching, encoding and training; 0 (the default) takes one a processor.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Whether a commit waits for the disk (default: [`Durability::Immediate`]).
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// What searches, encoding and training run on (default: [`Device::Auto`]).
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Bytes of a card's memory that codes may take (default: three quarters of what is free when it is
    /// opened). Codes are copied there when they are first searched, and those searched longest ago make
    /// room for others.
    pub fn device_memory(mut self, bytes: u64) -> Self {
        self.device_memory = Some(bytes);
        self
    }

    /// What [`Device::Auto`] expects of the card.
    pub fn device_costs(mut self, costs: DeviceCosts) -> Self {
        self.device_costs = costs;
        self
    }

    /// Takes this machine for the card, for tests.
    #[doc(hidden)]
    pub fn machine(mut self, machine: AnyMachine) -> Self {
        self.machine = Some(machine);
        self
    }

    /// Memory for the catalog's cache of ids, fields and indexes.
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = Some(bytes);
        self
    }

    /// How segments are merged and freed of dead rows (default: by a thread, at 64 MiB a second).
    ///
    /// ```no_run
    /// use twinbit::{Compaction, Database};
    ///
    /// let by_hand = Compaction { background: false, ..Compaction::default() };
    /// let database = Database::builder().compaction(by_hand).open("photos.twinbit")?;
    /// # Ok::<(), twinbit::Error>(())
    /// ```
    pub fn compaction(mut self, compaction: Compaction) -> Self {
        self.compaction = compaction;
        self
    }

    /// Which segments get an index of their codes (default: those of 2^20 rows and more), and the memory
    /// for making one. The thread of [`compaction`](Self::compaction) makes them;
    /// [`Collection::build_indexes`](crate::Collection::build_indexes) does so by hand.
    pub fn indexing(mut self, indexing: Indexing) -> Self {
        self.indexing = indexing;
        self
    }

    /// Reads encoders of a modality from this folder, wherever the collections say that theirs is: for
    /// databases that are only read, or are used in several places.
    /// [`Collection::move_encoder`](crate::Collection::move_encoder) writes a new place down instead.
    ///
    /// ```no_run
    /// use twinbit::{Database, Modality};
    ///
    /// let clip = "/mnt/models/clip-vit-base-patch32";
    /// let builder = Database::builder().encoder_folder(Modality::Image, clip).encoder_folder(Modality::Text, clip);
    /// let database = builder.open_read_only("photos.twinbit")?;
    /// # Ok::<(), twinbit::Error>(())
    /// ```
    pub fn encoder_folder(mut self, modality: Modality, folder: impl Into<PathBuf>) -> Self {
        let [image, text] = &mut self.encoder_folders;
        match modality {
            Modality::Image => *image = Some(folder.into()),
            Modality::Text => *text = Some(folder.into()),
        }
        self
    }

    /// How segment files are read (default: [`ReadMode::Mapped`]).
    pub fn read_mode(mut self, mode: ReadMode) -> Self {
        self.read_mode = mode;
        self
    }

    /// Opens the database in this folder for reading and writing; creates it when there is none.
    ///
    /// # Errors
    /// [`Error::Locked`](crate::Error::Locked) when another process writes to it,
    /// [`Error::NoCuda`](crate::Error::NoCuda) when the device cannot be used, and whatever the disk says.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Database> {
        Database::with(self, path.as_ref(), false)
    }

    /// Opens the database in this folder for reading, beside a process that writes to it.
    ///
    /// # Errors
    /// As [`open`](Self::open), and when there is no database.
    pub fn open_read_only(self, path: impl AsRef<Path>) -> Result<Database> {
        Database::with(self, path.as_ref(), true)
    }
}
