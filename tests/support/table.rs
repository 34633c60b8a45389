//! Parquet files, written by the tests themselves.

use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// The values of one leaf of a schema, in its order; a missing one is null.
pub enum ColumnOf {
    /// Texts or bytes.
    Bytes(Vec<Option<Vec<u8>>>),
    /// Whole numbers.
    Numbers(Vec<Option<i64>>),
}

/// A Parquet file, neither packed nor with dictionaries. `schema` is written as the format's own
/// `message`, in which every leaf is optional and none is repeated.
///
/// # Panics
/// When the columns do not fit the schema.
pub fn parquet_file(schema: &str, columns: &[ColumnOf], rows_a_group: usize) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let properties = Arc::new(WriterProperties::builder().set_dictionary_enabled(false).build());
    let mut file = SerializedFileWriter::new(Vec::new(), schema, properties).expect("a writer");
    let rows = columns.iter().map(ColumnOf::len).max().unwrap_or(0);
    for first in (0..rows).step_by(rows_a_group) {
        let mut group = file.next_row_group().expect("a row group");
        for column in columns {
            let mut writer = group.next_column().expect("a column").expect("a column of the schema");
            let last = rows.min(first + rows_a_group);
            match column {
                ColumnOf::Bytes(values) => {
                    let typed = writer.typed::<ByteArrayType>();
                    let level = typed.get_descriptor().max_def_level();
                    let values = &values[first..last];
                    let levels: Vec<i16> = values.iter().map(|v| i16::from(v.is_some()) * level).collect();
                    let values: Vec<ByteArray> = values.iter().flatten().cloned().map(Into::into).collect();
                    typed.write_batch(&values, Some(&levels), None).expect("values");
                }
                ColumnOf::Numbers(values) => {
                    let typed = writer.typed::<Int64Type>();
                    let level = typed.get_descriptor().max_def_level();
                    let values = &values[first..last];
                    let levels: Vec<i16> = values.iter().map(|v| i16::from(v.is_some()) * level).collect();
                    let values: Vec<i64> = values.iter().flatten().copied().collect();
                    typed.write_batch(&values, Some(&levels), None).expect("values");
                }
            }
            writer.close().expect("a closed column");
        }
        group.close().expect("a closed row group");
    }
    file.into_inner().expect("a closed file")
}

impl ColumnOf {
    /// Texts.
    pub fn texts(texts: &[&str]) -> ColumnOf {
        ColumnOf::Bytes(texts.iter().map(|text| Some(text.as_bytes().to_vec())).collect())
    }

    fn len(&self) -> usize {
        match self {
            ColumnOf::Bytes(values) => values.len(),
            ColumnOf::Numbers(values) => values.len(),
        }
    }
}
