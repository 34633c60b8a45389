//! `twinbit create`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;
use twinbit::{CodeBits, Database, IdKind, ImageEncoding, Schema, TextEncoding};

use crate::commands::field::{Declaration, FORM};
use crate::failure::{Failure, Result};
use crate::session::Session;

/// Name of a collection that is given none.
const DEFAULT_NAME: &str = "main";

/// Arguments of `create`.
#[derive(Args)]
#[command(after_help = "Examples:
  Own pictures with captions:
    twinbit create photos.db --bits 128 --ids str
  CLIP for both sides, from one folder:
    twinbit create photos.db --bits 128 --ids str --image-encoder models/clip --text-encoder models/clip
  Ready-made features, and a field to filter by:
    twinbit create features.db --bits 128 --ids str --image-encoder none --image-width 1280 \\
      --text-encoder none --text-width 1386 --field year:u64:indexed
  Ready-made codes:
    twinbit create codes.db --bits 64 --external-codes")]
pub struct Arguments {
    /// Folder of the database
    #[arg(value_name = "DB")]
    db: PathBuf,
    /// Bits of a code: a multiple of 8 from 8 to 4096
    #[arg(long, value_name = "N")]
    bits: usize,
    /// Type of the records' ids
    #[arg(long, value_enum, default_value_t = Ids::Auto)]
    ids: Ids,
    /// How pictures become features: efficientnet-lite0, a folder with a ResNet, VGG or CLIP, or none when
    /// features come in
    #[arg(long, value_name = "NAME|FOLDER")]
    image_encoder: Option<String>,
    /// How texts become features: ngram, bow, a folder with MiniLM, another BERT or CLIP, or none when features
    /// come in
    #[arg(long, value_name = "NAME|FOLDER")]
    text_encoder: Option<String>,
    /// Width of image features that come in; implies --image-encoder none
    #[arg(long, value_name = "N")]
    image_width: Option<usize>,
    /// Width of text features that come in; implies --text-encoder none
    #[arg(long, value_name = "N")]
    text_width: Option<usize>,
    /// A metadata field; may be given several times. Types: u64, i64, f64, str, bool, timestamp
    #[arg(long = "field", value_name = FORM)]
    fields: Vec<Declaration>,
    /// Codes come in from outside; there are no networks
    #[arg(long, conflicts_with_all = ["image_encoder", "text_encoder", "image_width", "text_width"])]
    external_codes: bool,
    /// Whether to keep features and texts, which training and re-encoding need
    #[arg(long, value_enum, default_value_t = Keep::Yes)]
    keep_inputs: Keep,
}

/// Type of the records' ids.
#[derive(Clone, Copy, ValueEnum)]
pub enum Ids {
    /// Numbered in the order of writing
    Auto,
    /// Integers
    U64,
    /// Strings of up to 1024 bytes
    Str,
}

impl Ids {
    /// As the library names it.
    pub fn kind(self) -> IdKind {
        match self {
            Self::Auto => IdKind::Auto,
            Self::U64 => IdKind::U64,
            Self::Str => IdKind::Str,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Keep {
    Yes,
    No,
}

#[derive(Serialize)]
struct Created<'a> {
    created: &'a str,
    bits: usize,
}

/// Creates a collection.
pub fn run(arguments: &Arguments, session: &Session) -> Result {
    let schema = schema(arguments)?;
    let bits = schema.bits().bits();
    let name = session.collection_name().unwrap_or(DEFAULT_NAME);
    // Before there is a folder, which a refusal would leave behind.
    Database::check_collection(name, &schema)?;
    let database = session.open_or_create(&arguments.db)?;
    database.create_collection(name, schema)?;
    if session.output.is_json() {
        return session.output.object(&Created { created: name, bits });
    }
    session
        .output
        .say(format!("created collection \"{name}\" in {}: codes of {bits} bits", arguments.db.display()))
}

fn schema(arguments: &Arguments) -> Result<Schema> {
    let bits = CodeBits::new(arguments.bits).map_err(|error| Failure::from(twinbit::Error::from(error)))?;
    let mut schema =
        Schema::new(bits).ids(arguments.ids.kind()).keep_inputs(arguments.keep_inputs == Keep::Yes);
    if arguments.external_codes {
        schema = schema.external_codes();
    } else {
        schema = with_inputs(schema, arguments)?;
    }
    for declaration in &arguments.fields {
        schema = schema.field(declaration.name(), declaration.field());
    }
    Ok(schema)
}

fn with_inputs(schema: Schema, arguments: &Arguments) -> Result<Schema> {
    let schema = match (arguments.image_encoder.as_deref(), arguments.image_width) {
        (None | Some("none"), Some(width)) => schema.image_features(width),
        (Some("none"), None) => return Err(width_missing("image")),
        (Some(name), Some(_)) => return Err(both("image", name)),
        (Some(name), None) => match folder(name) {
            Some(folder) => schema.image_encoder(ImageEncoding::Folder(folder)),
            None => schema.image_encoder(name.parse()?),
        },
        (None, None) => schema.image_encoder(ImageEncoding::EfficientNetLite0),
    };
    Ok(match (arguments.text_encoder.as_deref(), arguments.text_width) {
        (None | Some("none"), Some(width)) => schema.text_features(width),
        (Some("none"), None) => return Err(width_missing("text")),
        (Some(name), Some(_)) => return Err(both("text", name)),
        (Some(name), None) => schema.text_encoder(text_encoding(name)?),
        (None, None) => schema.text_encoder(TextEncoding::Ngram),
    })
}

/// The text encoder that a name or a path stands for.
pub fn text_encoding(name: &str) -> Result<TextEncoding> {
    Ok(match folder(name) {
        Some(folder) => TextEncoding::Folder(folder),
        None => name.parse()?,
    })
}

/// The folder that an encoder's name stands for: one that is there, or whatever looks like a path.
fn folder(name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    (path.components().count() > 1 || path.is_dir()).then(|| path.to_path_buf())
}

fn width_missing(modality: &str) -> Failure {
    Failure::usage(format!(
        "--{modality}-encoder none needs --{modality}-width: the width of the features that come in"
    ))
}

fn both(modality: &str, name: &str) -> Failure {
    Failure::usage(format!("--{modality}-width is for features that come in; \"{name}\" makes its own"))
}
