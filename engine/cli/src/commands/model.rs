//! `twinbit model`: the model of a collection as a file, and back.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use twinbit::{ImageKind, Modality, Model, ModelSpec, TextKind, TrainingRecord};

use crate::commands::train::{install, save};
use crate::curves;
use crate::failure::{Failure, Result};
use crate::output::{Table, bytes, count};
use crate::session::Session;

/// What can be done with models.
#[derive(Subcommand)]
pub enum Action {
    /// Print what a model is made for and how it was trained: that of a collection, or one in a file
    #[command(after_help = "Examples:
  twinbit model show photos.db
  twinbit model show model.safetensors --plot training.svg")]
    Show(ShowArguments),
    /// Write a collection's model to a file: to go back to it later, or for another database
    #[command(after_help = "Example:\n  twinbit model export photos.db spring.safetensors")]
    Export(FileArguments),
    /// Install a model from a file: everything stored is encoded by it, then it takes the old one's
    /// place in one step
    #[command(
        after_help = "Example, back to an earlier model:\n  twinbit model import photos.db spring.safetensors"
    )]
    Import(FileArguments),
    /// Say where the folders of a collection's encoders are now; without options, print where they are
    #[command(after_help = "Examples:
  twinbit model encoders photos.db
  twinbit model encoders photos.db --image-encoder /data/clip --text-encoder /data/clip")]
    Encoders(EncodersArguments),
}

/// Arguments of `model encoders`.
#[derive(Args)]
pub struct EncodersArguments {
    /// Folder of the database
    #[arg(value_name = "DB")]
    db: PathBuf,
    /// Folder with the image encoder that the collection was created with
    #[arg(long, value_name = "FOLDER")]
    image_encoder: Option<PathBuf>,
    /// Folder with the text encoder that the collection was created with
    #[arg(long, value_name = "FOLDER")]
    text_encoder: Option<PathBuf>,
}

/// Arguments of `model show`.
#[derive(Args)]
pub struct ShowArguments {
    /// Folder of the database, or a file with a model
    #[arg(value_name = "DB|FILE")]
    place: PathBuf,
    /// Draws loss and validation scores by epoch
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

/// Arguments of `model export` and `model import`.
#[derive(Args)]
pub struct FileArguments {
    /// Folder of the database
    #[arg(value_name = "DB")]
    db: PathBuf,
    /// The file of the model
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Runs the command.
pub fn run(action: &Action, session: &Session) -> Result {
    match action {
        Action::Show(arguments) => {
            curves::check_name(arguments.plot.as_deref())?;
            let model = match arguments.place.is_file() {
                true => read(&arguments.place)?,
                false => installed(&arguments.place, session)?,
            };
            if let Some(path) = &arguments.plot {
                let Some(training) = model.training() else {
                    return Err(Failure::new("--plot: the model does not say how it was trained"));
                };
                curves::write_training(path, training)?;
            }
            show(&model, session)
        }
        Action::Export(arguments) => save(&arguments.file, &installed(&arguments.db, session)?, session),
        Action::Encoders(arguments) => encoders(arguments, session),
        Action::Import(arguments) => {
            let database = session.open(&arguments.db)?;
            let model = read(&arguments.file)?;
            crate::interrupt::listen();
            install(&session.collection(&database)?, &model, session)?;
            session.output.say(format!("model {} installed", model.id()))
        }
    }
}

/// Moves encoders, then prints where they are.
fn encoders(arguments: &EncodersArguments, session: &Session) -> Result {
    let moves = [(Modality::Image, &arguments.image_encoder), (Modality::Text, &arguments.text_encoder)];
    let database = match moves.iter().any(|(_, folder)| folder.is_some()) {
        true => session.open(&arguments.db)?,
        false => session.read(&arguments.db)?,
    };
    let collection = session.collection(&database)?;
    for (modality, folder) in moves {
        if let Some(folder) = folder {
            collection.move_encoder(modality, folder)?;
        }
    }
    let schema = collection.schema()?;
    let image = match schema.image_kind() {
        ImageKind::Pictures(encoding) => encoding.name().into_owned(),
        _ => "none".to_owned(),
    };
    let text = match schema.text_kind() {
        TextKind::Text(encoding) => encoding.name().into_owned(),
        _ => "none".to_owned(),
    };
    if session.output.is_json() {
        return session.output.object(&Encoders { image_encoder: image, text_encoder: text });
    }
    let mut table = Table::new(["image encoder", image.as_str()]);
    table.row(["text encoder".to_owned(), text]);
    session.output.table(&table)
}

/// The line of `model encoders --json`.
#[derive(Serialize)]
struct Encoders {
    image_encoder: String,
    text_encoder: String,
}

/// The model of the collection.
fn installed(db: &Path, session: &Session) -> Result<Model> {
    let database = session.read(db)?;
    let collection = session.collection(&database)?;
    collection.model()?.ok_or_else(|| {
        Failure::new(format!("collection \"{}\" has no model; train one, or import one", collection.name()))
    })
}

/// The model in a file.
pub fn read(path: &Path) -> Result<Model> {
    let bytes = std::fs::read(path).map_err(|error| Failure::file(path, "read the model", &error))?;
    Model::from_bytes(&bytes).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}

/// The line of `model show --json`.
#[derive(Serialize)]
struct Shown<'a> {
    model: String,
    bytes: u64,
    weights: u64,
    #[serde(flatten)]
    spec: &'a ModelSpec,
    training: Option<&'a TrainingRecord>,
}

fn show(model: &Model, session: &Session) -> Result {
    let spec = model.spec();
    let weights: u64 = Modality::ALL.into_iter().map(|modality| spec.weights(modality)).sum();
    let size = model.to_bytes().len() as u64;
    if session.output.is_json() {
        let (model, training) = (model.id().to_string(), model.training());
        return session.output.object(&Shown { model, bytes: size, weights, spec, training });
    }
    let mut table = Table::new(["model", model.id().to_string().as_str()]);
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("bits", spec.bits.bits().to_string());
    for (name, modality) in [("image", Modality::Image), ("text", Modality::Text)] {
        let layers = spec.layers(modality);
        let hidden = if layers > 1 { format!(" by way of {}", spec.hidden) } else { String::new() };
        let featurizer = match spec.featurizer(modality) {
            "none" => "features that come in".to_owned(),
            featurizer => featurizer.to_owned(),
        };
        row(name, featurizer);
        row("", format!("{} values{hidden}, {layers} layers", count(spec.width(modality) as u64)));
    }
    row("weights", count(weights));
    row("file", bytes(size));
    let Some(training) = model.training() else {
        return session.output.table(&table);
    };
    let pairs = [("", training.training_pairs), (", held out ", training.held_out_pairs)];
    row(
        "trained on",
        pairs.map(|(what, pairs)| format!("{what}{}", count(pairs as u64))).concat()
            + &format!(" pairs, by {}", training.machine),
    );
    for (number, settings) in settings(training)?.chunks(4).enumerate() {
        row(if number == 0 { "settings" } else { "" }, settings.join(", "));
    }
    session.output.table(&table)?;
    let mut table = Table::new([">epoch", ">loss", ">learning rate", ">image to text", ">text to image", ""]);
    for (number, epoch) in (1..).zip(&training.epochs) {
        let score = |side: Option<f64>| side.map_or_else(String::new, |score| format!("{score:.4}"));
        let best = if number == training.best_epoch { "kept" } else { "" };
        table.row([
            number.to_string(),
            format!("{:.4}", epoch.loss),
            format!("{:e}", epoch.learning_rate),
            score(epoch.validation.map(|scores| scores.image_to_text)),
            score(epoch.validation.map(|scores| scores.text_to_image)),
            best.to_owned(),
        ]);
    }
    session.output.say(format!("\nValidation: {}", curves::measure_name(training.measure)))?;
    session.output.table(&table)
}

/// The hyper-parameters, each with its name, but for those that the lines above tell.
fn settings(training: &TrainingRecord) -> Result<Vec<String>> {
    let settings = serde_json::to_value(&training.config).map_err(|error| Failure::new(error.to_string()))?;
    let told = ["bits", "hidden", "image_layers", "text_layers"];
    let named = settings.as_object().into_iter().flatten().filter(|(name, _)| !told.contains(&name.as_str()));
    Ok(named
        .map(|(name, value)| match value {
            serde_json::Value::Null => format!("no {name}"),
            serde_json::Value::String(value) => format!("{name} {value}"),
            value => format!("{name} {value}"),
        })
        .collect())
}
