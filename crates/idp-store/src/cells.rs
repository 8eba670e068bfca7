//! Values on their way into a statement and out of a row: text, integers and bytes, the three types that both databases
//! have in common.

use base::UnixMillis;
use idp::{RepositoryError, model::Digest};
use serde::de::DeserializeOwned;

/// A value for a placeholder. Absent ones keep their type, which PostgreSQL wants to know.
#[derive(Clone, Debug)]
pub(crate) enum Param {
    Text(Option<String>),
    Int(Option<i64>),
    Bytes(Option<Vec<u8>>),
}

/// A value of a row.
#[derive(Debug)]
pub(crate) enum Cell {
    Null,
    Text(String),
    Int(i64),
    Bytes(Vec<u8>),
}

/// A row of a result.
#[derive(Debug)]
pub(crate) struct Row(pub(crate) Vec<Cell>);

/// The placeholders' values in order.
macro_rules! params {
    ($($value:expr),* $(,)?) => { vec![$(crate::cells::Param::from($value)),*] };
}
pub(crate) use params;

macro_rules! into_param {
    ($($type:ty => $kind:ident, $value:ident => $convert:expr;)*) => {
        $(impl From<$type> for Param {
            fn from($value: $type) -> Self {
                Self::$kind($convert)
            }
        })*
    };
}

into_param! {
    &str => Text, value => Some(value.to_owned());
    &String => Text, value => Some(value.clone());
    String => Text, value => Some(value);
    Option<&str> => Text, value => value.map(str::to_owned);
    Option<String> => Text, value => value;
    i64 => Int, value => Some(value);
    u32 => Int, value => Some(i64::from(value));
    Option<i64> => Int, value => value;
    UnixMillis => Int, value => Some(value.0);
    Vec<u8> => Bytes, value => Some(value);
    Option<Vec<u8>> => Bytes, value => value;
    &Digest => Bytes, value => Some(value.0.to_vec());
}

impl Row {
    pub(crate) fn text(&self, column: usize) -> Result<&str, RepositoryError> {
        self.text_or_null(column)?.ok_or_else(|| unexpected(column))
    }

    pub(crate) fn text_or_null(&self, column: usize) -> Result<Option<&str>, RepositoryError> {
        match self.0.get(column) {
            Some(Cell::Text(text)) => Ok(Some(text)),
            Some(Cell::Null) => Ok(None),
            _ => Err(unexpected(column)),
        }
    }

    pub(crate) fn int(&self, column: usize) -> Result<i64, RepositoryError> {
        self.int_or_null(column)?.ok_or_else(|| unexpected(column))
    }

    pub(crate) fn int_or_null(&self, column: usize) -> Result<Option<i64>, RepositoryError> {
        match self.0.get(column) {
            Some(Cell::Int(number)) => Ok(Some(*number)),
            Some(Cell::Null) => Ok(None),
            _ => Err(unexpected(column)),
        }
    }

    pub(crate) fn bytes_or_null(&self, column: usize) -> Result<Option<&[u8]>, RepositoryError> {
        match self.0.get(column) {
            Some(Cell::Bytes(bytes)) => Ok(Some(bytes)),
            Some(Cell::Null) => Ok(None),
            _ => Err(unexpected(column)),
        }
    }

    pub(crate) fn digest(&self, column: usize) -> Result<Digest, RepositoryError> {
        let bytes = self.bytes_or_null(column)?.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Digest).ok_or_else(|| unexpected(column))
    }

    /// A column that holds JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self, column: usize) -> Result<T, RepositoryError> {
        serde_json::from_str(self.text(column)?)
            .map_err(|error| RepositoryError::Failed(format!("a stored record cannot be read: {error}")))
    }
}

/// The JSON of a record.
pub(crate) fn json<T: serde::Serialize>(record: &T) -> Result<String, RepositoryError> {
    serde_json::to_string(record)
        .map_err(|error| RepositoryError::Failed(format!("a record cannot be written: {error}")))
}

fn unexpected(column: usize) -> RepositoryError {
    RepositoryError::Failed(format!("column {column} of a result is missing or of another type"))
}
