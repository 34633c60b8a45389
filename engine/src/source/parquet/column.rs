//! One column of a row group, read row by row.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::RowGroupMetaData;
use parquet::schema::types::ColumnDescriptor;

use super::super::table::Cell;
use super::pages::{BoundedFile, MAX_ELEMENTS_A_BATCH, Pages};
use crate::Value;

/// How the values of a column are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Plain,
    Unsigned,
    Text,
    /// A time, in so many units a second.
    Time(i64),
    Days,
    /// Something no field can hold.
    Other,
}

/// A column of a row group.
pub(super) struct Column {
    reader: ColumnReader,
    meaning: Meaning,
    levels: Levels,
    elements: Arc<AtomicU64>,
}

/// How deep the values of a column lie.
#[derive(Debug, Clone, Copy)]
struct Levels {
    definition: i16,
    repetition: i16,
}

impl Column {
    pub(super) fn open(file: &Arc<BoundedFile>, group: &RowGroupMetaData, leaf: usize) -> Result<Column> {
        let chunk =
            group.columns().get(leaf).ok_or_else(|| ParquetError::General("no such column".into()))?;
        let rows = usize::try_from(group.num_rows())?;
        let elements = Arc::new(AtomicU64::new(MAX_ELEMENTS_A_BATCH));
        let pages = Pages::new(file, chunk, rows, Arc::clone(&elements))?;
        let descriptor = chunk.column_descr_ptr();
        Ok(Column {
            meaning: meaning(&descriptor),
            levels: Levels { definition: descriptor.max_def_level(), repetition: descriptor.max_rep_level() },
            reader: get_column_reader(descriptor, Box::new(pages)),
            elements,
        })
    }

    /// Steps over rows.
    pub(super) fn skip(&mut self, rows: usize) -> Result<()> {
        self.elements.store(u64::MAX, Ordering::Relaxed);
        let skipped = match &mut self.reader {
            ColumnReader::BoolColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::Int32ColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::Int64ColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::Int96ColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::FloatColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::DoubleColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::ByteArrayColumnReader(reader) => reader.skip_records(rows),
            ColumnReader::FixedLenByteArrayColumnReader(reader) => reader.skip_records(rows),
        }?;
        if skipped == rows { Ok(()) } else { Err(ended()) }
    }

    /// What stands in the next rows.
    pub(super) fn read(&mut self, rows: usize) -> Result<Vec<Cell>> {
        self.elements.store(MAX_ELEMENTS_A_BATCH, Ordering::Relaxed);
        let (levels, meaning) = (self.levels, self.meaning);
        match &mut self.reader {
            ColumnReader::BoolColumnReader(reader) => {
                cells(reader, rows, levels, |value| Cell::Value(Value::Bool(value)))
            }
            ColumnReader::Int32ColumnReader(reader) => cells(reader, rows, levels, |value| match meaning {
                Meaning::Unsigned => Cell::Value(Value::U64(u64::from(value.cast_unsigned()))),
                meaning => integer(meaning, i64::from(value)),
            }),
            ColumnReader::Int64ColumnReader(reader) => cells(reader, rows, levels, |value| match meaning {
                Meaning::Unsigned => Cell::Value(Value::U64(value.cast_unsigned())),
                meaning => integer(meaning, value),
            }),
            // Times of long ago.
            ColumnReader::Int96ColumnReader(reader) => cells(reader, rows, levels, |_| Cell::Other),
            ColumnReader::FloatColumnReader(reader) => {
                cells(reader, rows, levels, |value| float(f64::from(value)))
            }
            ColumnReader::DoubleColumnReader(reader) => cells(reader, rows, levels, float),
            ColumnReader::ByteArrayColumnReader(reader) => {
                cells(reader, rows, levels, |value| bytes(meaning, &value))
            }
            ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                cells(reader, rows, levels, |_| Cell::Other)
            }
        }
    }
}

fn ended() -> ParquetError {
    ParquetError::General("a column has fewer rows than its row group".into())
}

fn integer(meaning: Meaning, value: i64) -> Cell {
    let time = match meaning {
        Meaning::Plain | Meaning::Unsigned => return Cell::Value(Value::I64(value)),
        Meaning::Time(1_000_000_000) => Some(value.div_euclid(1_000)),
        Meaning::Time(units) => value.checked_mul(1_000_000 / units.max(1)),
        Meaning::Days => value.checked_mul(86_400_000_000),
        Meaning::Text | Meaning::Other => None,
    };
    time.map_or(Cell::Other, |time| Cell::Value(Value::Timestamp(time)))
}

/// What is missing among numbers is often written as NaN.
fn float(value: f64) -> Cell {
    if value.is_nan() { Cell::Null } else { Cell::Value(Value::F64(value)) }
}

fn bytes(meaning: Meaning, value: &ByteArray) -> Cell {
    match meaning {
        Meaning::Text => match std::str::from_utf8(value.data()) {
            Ok(text) => Cell::Value(Value::Str(text.to_owned())),
            Err(_) => Cell::Other,
        },
        Meaning::Plain => Cell::Picture(value.data().to_vec()),
        _ => Cell::Other,
    }
}

/// Reads rows, and puts lists of texts together.
fn cells<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    levels: Levels,
    cell: impl Fn(T::T) -> Cell,
) -> Result<Vec<Cell>> {
    let (mut definitions, mut repetitions, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let (read, _, _) =
        reader.read_records(rows, Some(&mut definitions), Some(&mut repetitions), &mut values)?;
    if read != rows {
        return Err(ended());
    }
    let mut values = values.into_iter().map(cell);
    if levels.definition == 0 {
        return Ok(values.collect());
    }
    let mut defined = |definition: i16| (definition == levels.definition).then(|| values.next()).flatten();
    if levels.repetition == 0 {
        return Ok(definitions.into_iter().map(|level| defined(level).unwrap_or(Cell::Null)).collect());
    }
    let mut lists: Vec<Cell> = Vec::with_capacity(rows);
    for (definition, repetition) in definitions.into_iter().zip(repetitions) {
        if repetition == 0 {
            lists.push(Cell::Texts(Vec::new()));
        }
        match (lists.last_mut(), defined(definition)) {
            (Some(Cell::Texts(texts)), Some(Cell::Value(Value::Str(text)))) => texts.push(text),
            (Some(list), Some(_)) => *list = Cell::Other,
            _ => {}
        }
    }
    Ok(lists)
}

fn meaning(column: &ColumnDescriptor) -> Meaning {
    match column.logical_type_ref() {
        Some(LogicalType::String | LogicalType::Enum | LogicalType::Json) => Meaning::Text,
        Some(LogicalType::Integer(integer)) if !integer.is_signed => Meaning::Unsigned,
        Some(LogicalType::Integer(_)) => Meaning::Plain,
        Some(LogicalType::Date) => Meaning::Days,
        Some(LogicalType::Timestamp(time)) => match time.unit {
            TimeUnit::MILLIS => Meaning::Time(1_000),
            TimeUnit::MICROS => Meaning::Time(1_000_000),
            TimeUnit::NANOS => Meaning::Time(1_000_000_000),
        },
        Some(_) => Meaning::Other,
        None => match column.converted_type() {
            ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON => Meaning::Text,
            ConvertedType::UINT_8
            | ConvertedType::UINT_16
            | ConvertedType::UINT_32
            | ConvertedType::UINT_64 => Meaning::Unsigned,
            ConvertedType::DATE => Meaning::Days,
            ConvertedType::TIMESTAMP_MILLIS => Meaning::Time(1_000),
            ConvertedType::TIMESTAMP_MICROS => Meaning::Time(1_000_000),
            ConvertedType::NONE
            | ConvertedType::INT_8
            | ConvertedType::INT_16
            | ConvertedType::INT_32
            | ConvertedType::INT_64 => Meaning::Plain,
            _ => Meaning::Other,
        },
    }
}

/// Whether a column holds bytes that are no text: pictures.
pub(super) fn is_binary(column: &ColumnDescriptor) -> bool {
    column.physical_type() == Type::BYTE_ARRAY && meaning(column) == Meaning::Plain
}
