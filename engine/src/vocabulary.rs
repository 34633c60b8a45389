//! Types of the packages below that are part of this one's interface, with examples in its own terms.

/// Codes in memory, to be handed in.
///
/// ```
/// use twinbit::{CodeBits, CodesBuf};
///
/// let bits = CodeBits::new(16)?;
/// let mut codes = CodesBuf::from_packed(bits, &[0x00, 0xff, 0x12, 0x34])?;
/// codes.push(&[0xab, 0xcd])?;
/// assert_eq!((codes.rows(), codes.as_codes().row(1)), (3, vec![0x12, 0x34]));
/// assert!(CodeBits::new(12).is_err(), "codes are whole bytes");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(inline)]
pub use twinbit_kernels::CodesBuf;

/// How a query goes over codes: all of them, or by their index.
///
/// ```
/// use twinbit::{CodeBits, Database, IdKind, Method, Modality, Record, Schema};
///
/// # let folder = tempfile::tempdir()?;
/// # let database = Database::open(folder.path())?;
/// let schema = Schema::new(CodeBits::new(8)?).ids(IdKind::U64).external_codes();
/// let things = database.create_collection("things", schema)?;
/// let mut writer = things.writer()?;
/// writer.extend((0..256_u64).map(|id| Record::new(id).code(Modality::Text, [id as u8])))?;
/// writer.commit()?;
/// let snapshot = things.snapshot()?;
/// let found = |method| snapshot.query_id(7, Modality::Text).method(method).limit(9).run();
/// assert_eq!(found(Method::Scan)?, found(Method::MultiIndex)?, "answers never differ");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(inline)]
pub use twinbit_kernels::Method;

/// Image or text.
///
/// ```
/// use twinbit::Modality;
///
/// assert_eq!(Modality::Image.other(), Modality::Text);
/// assert_eq!("text".parse(), Ok(Modality::Text));
/// ```
#[doc(inline)]
pub use twinbit_kernels::Modality;

/// Classes of rows, to measure and to choose epochs with.
///
/// ```
/// use twinbit::Labels;
///
/// // Two rows of three classes: a row of numbers, 0 or 1, or the numbers of the classes.
/// let dense = Labels::from_dense(2, 3, &[1, 0, 1, 0, 1, 0])?;
/// let sets = Labels::from_sets([vec![0, 2], vec![1]])?;
/// assert!(dense.relevant(0, &sets, 0) && !dense.relevant(0, &sets, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(inline)]
pub use twinbit_hashing::Labels;

/// What training can be told, and a training told so.
///
/// ```
/// use std::ops::ControlFlow;
///
/// use twinbit::{CodeBits, Database, Features, Modality, Model, Schema, TrainConfig};
///
/// # let folder = tempfile::tempdir()?;
/// # let database = Database::open(folder.path())?;
/// let things = database.create_collection("things", Schema::new(CodeBits::B32).image_features(2).text_features(3))?;
/// let image: Vec<f32> = (0..64_u8).flat_map(|pair| [f32::from(pair % 2), 1.0]).collect();
/// let text: Vec<f32> = (0..64_u8).flat_map(|pair| [1.0, f32::from(pair % 2), 0.5]).collect();
/// let pairs = Features::new(&image, 2, &text, 3)?;
/// let config = TrainConfig { hidden: 16, batch: 32, epochs: 5, seed: 7, ..TrainConfig::default() };
/// let outcome = things
///     .trainer()
///     .config(TrainConfig { bits: CodeBits::B32, ..config })
///     .on_epoch(|epoch| {
///         println!("epoch {}: loss {:.3}", epoch.epoch, epoch.loss);
///         ControlFlow::Continue(())
///     })
///     .fit_source(&pairs)?;
/// assert_eq!((outcome.epochs.len(), outcome.training_pairs), (5, 64));
///
/// // A model is one file, and says how it was trained.
/// let model = Model::from_bytes(&outcome.model.to_bytes())?;
/// assert_eq!(model.training().map(|training| training.config.seed), Some(7));
/// assert_eq!(model.encode(Modality::Image, &image)?.rows(), 64);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(inline)]
pub use twinbit_hashing::TrainConfig;

/// The id of a record: a number or a text.
///
/// ```
/// use twinbit::{RecordId, Value};
///
/// let (number, name) = (RecordId::from(7_u64), RecordId::from("cat.jpg"));
/// assert_eq!([number.to_string(), name.to_string()], ["7", "cat.jpg"]);
/// let value: Value = 1999_u64.into();
/// assert_eq!(value.field_type(), Value::from(2020_u64).field_type());
/// ```
#[doc(inline)]
pub use twinbit_storage::RecordId;

/// What a commit waits for; with the other choices of a database.
///
/// ```
/// use twinbit::{Compaction, Database, Durability, Indexing, ReadMode};
///
/// # let folder = tempfile::tempdir()?;
/// let database = Database::builder()
///     .durability(Durability::Eventual)
///     .compaction(Compaction { background: false, ..Compaction::default() })
///     .indexing(Indexing::default())
///     .read_mode(ReadMode::Read)
///     .open(folder.path())?;
/// # drop(database);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(inline)]
pub use twinbit_storage::Durability;
