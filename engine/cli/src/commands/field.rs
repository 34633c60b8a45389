//! `twinbit field`, and how a field is declared on the command line.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, Subcommand};
use serde_json::json;
use twinbit::{Collection, Field, FieldType};

use crate::failure::Result;
use crate::session::Session;

/// How a declaration is written.
pub const FORM: &str = "NAME:TYPE[:indexed]";

/// What can be done with fields.
#[derive(Subcommand)]
pub enum Action {
    /// Declare another field; the records there are have no value of it
    #[command(after_help = "Example:\n  twinbit field add photos.db year:u64:indexed")]
    Add(AddArguments),
    /// Make an index of a field, so that filters on few of its values are fast
    #[command(after_help = "Example:\n  twinbit field index photos.db year")]
    Index(NameArguments),
    /// Remove the index of a field; its values stay
    #[command(after_help = "Example:\n  twinbit field unindex photos.db year")]
    Unindex(NameArguments),
}

/// Arguments of `field index` and `field unindex`.
#[derive(Args)]
pub struct NameArguments {
    /// Folder of the database
    #[arg(value_name = "DB")]
    db: PathBuf,
    /// The field
    #[arg(value_name = "NAME")]
    field: String,
}

/// Arguments of `field add`.
#[derive(Args)]
pub struct AddArguments {
    /// Folder of the database
    #[arg(value_name = "DB")]
    db: PathBuf,
    /// The field. Types: u64, i64, f64, str, bool, timestamp
    #[arg(value_name = FORM)]
    field: Declaration,
}

/// A declared field: `year:u64:indexed`.
#[derive(Clone)]
pub struct Declaration {
    name: String,
    field: Field,
}

impl Declaration {
    /// The field's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its type and whether it is indexed.
    pub fn field(&self) -> Field {
        self.field
    }
}

impl FromStr for Declaration {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let mut parts = text.split(':');
        let (name, kind, indexed) = (parts.next(), parts.next(), parts.next());
        let (Some(name), Some(kind), None) = (name, kind, parts.next()) else {
            return Err(format!("a field is written {FORM}"));
        };
        let field = Field::new(match kind {
            "u64" => FieldType::U64,
            "i64" => FieldType::I64,
            "f64" => FieldType::F64,
            "str" => FieldType::Str,
            "bool" => FieldType::Bool,
            "timestamp" => FieldType::Timestamp,
            _ => {
                return Err(format!(
                    "\"{kind}\" is no type; there are u64, i64, f64, str, bool and timestamp"
                ));
            }
        });
        let field = match indexed {
            None => field,
            Some("indexed") => field.indexed(),
            Some(other) => return Err(format!("\"{other}\": only \"indexed\" may follow the type")),
        };
        Ok(Self { name: name.to_owned(), field })
    }
}

/// Changes the declared fields.
pub fn run(action: &Action, session: &Session) -> Result {
    match action {
        Action::Add(arguments) => {
            let declaration = &arguments.field;
            change(&arguments.db, session, declaration.name(), "added", |collection| {
                collection.add_field(declaration.name(), declaration.field())
            })
        }
        Action::Index(arguments) => {
            change(&arguments.db, session, &arguments.field, "indexed", |collection| {
                let spinner = session.progress.spinner("indexing");
                let result = collection.add_index(&arguments.field);
                spinner.finish_and_clear();
                result
            })
        }
        Action::Unindex(arguments) => {
            change(&arguments.db, session, &arguments.field, "unindexed", |collection| {
                collection.remove_index(&arguments.field)
            })
        }
    }
}

/// Changes one field and says what was done with it.
fn change(
    db: &Path,
    session: &Session,
    field: &str,
    done: &str,
    change: impl FnOnce(&Collection) -> twinbit::Result<()>,
) -> Result {
    let database = session.open(db)?;
    let collection = session.collection(&database)?;
    change(&collection)?;
    if session.output.is_json() {
        return session.output.object(&json!({ done: field }));
    }
    session.output.say(format!("{done} field \"{field}\" of collection \"{}\"", collection.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declaration_is_name_type_and_perhaps_indexed() {
        let declaration: Declaration = "year:u64:indexed".parse().unwrap();
        assert_eq!((declaration.name(), declaration.field()), ("year", Field::u64().indexed()));
        assert_eq!("lang:str".parse::<Declaration>().unwrap().field(), Field::str());
        for wrong in ["year", "year:u65", "year:u64:fast", "year:u64:indexed:more", ""] {
            assert!(wrong.parse::<Declaration>().is_err(), "{wrong}");
        }
    }
}
