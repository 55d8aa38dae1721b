//! What of the rows is kept: bounded in bytes, each counted against the process's budget as it comes.

use bytes::Bytes;
use tokio_postgres::Row;

use crate::domain::budget::Meter;
use crate::domain::entity::load::Rows;
use crate::domain::source::{FetchError, Fetched};
use crate::source::bulk::{list, one};
use crate::source::postgres::sql::MAX_ROWS;

pub struct Kept<'a> {
    /// None where each row has a bound of its own, which the server keeps.
    left: Option<usize>,
    meter: &'a Meter,
    parts: Vec<Bytes>,
}

/// One row: its JSON, none where it is larger than allowed, and the columns behind it.
pub struct Taken<'r> {
    pub json: Option<Bytes>,
    pub keys: Vec<Option<&'r str>>,
}

impl<'a> Kept<'a> {
    pub fn new(max_bytes: usize, meter: &'a Meter) -> Self {
        Self { left: Some(max_bytes), meter, parts: Vec::new() }
    }

    pub fn of_many(meter: &'a Meter) -> Self {
        Self { left: None, meter, parts: Vec::new() }
    }

    pub fn take<'r>(&mut self, row: &'r Row) -> Result<Taken<'r>, FetchError> {
        // All columns are text by our own statement.
        let text = |at| row.try_get::<_, Option<&str>>(at).map_err(|_| FetchError::Broken);
        let json = text(0)?;
        let keys = (1..row.len()).map(text).collect::<Result<_, _>>()?;
        let Some(json) = json else { return Ok(Taken { json: None, keys }) };
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(json.len()).ok_or(FetchError::TooLarge)?;
        }
        if !self.meter.grow(json.len()) {
            return Err(FetchError::Shed);
        }
        Ok(Taken { json: Some(Bytes::copy_from_slice(json.as_bytes())), keys })
    }

    pub fn keep(&mut self, row: &Row) -> Result<(), FetchError> {
        let Taken { json, keys: _ } = self.take(row)?;
        if self.parts.len() == MAX_ROWS {
            return Err(FetchError::TooLarge);
        }
        self.parts.push(json.ok_or(FetchError::TooLarge)?);
        Ok(())
    }

    pub fn finish(self, rows: Rows) -> Result<Fetched, FetchError> {
        match rows {
            Rows::List => Ok(Fetched::Found(list(&self.parts))),
            Rows::One => one(self.parts).unwrap_or(Ok(Fetched::Absent)),
        }
    }
}
