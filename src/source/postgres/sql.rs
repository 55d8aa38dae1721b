//! The statements that are sent: the configuration's query inside one of ours, and the values beside it.
//!
//! Ours makes JSON of each row, keeps back what is larger than allowed, and bounds the rows. `offset 0` keeps the planner
//! from making the JSON twice, once to measure it and once to send it.
//!
//! Values go as text, and the server reads them as the type it gave the parameter: a number, a time, a `uuid`, whatever.

use std::fmt::Write;

use bytes::BytesMut;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};

use crate::domain::entity::load::Rows;
use crate::domain::query::Query;
use crate::source::postgres::From;

/// Rows of one answer, of one member's list as of many members': an answer of more is no cached value.
pub const MAX_ROWS: usize = 10_000;

/// The text of one parameter. It does not print itself: it is an id or a token.
#[derive(PartialEq, Eq)]
pub struct Value(String);

pub fn one(query: &Query, rows: Rows, max_bytes: usize) -> String {
    let limit = match rows {
        Rows::One => 2,
        Rows::List => MAX_ROWS + 1,
    };
    select(query, &[], max_bytes, &format!("limit {limit}"))
}

/// The statement, and with how many rows it is cut off.
pub fn many(query: &Query, columns: &[String], rows: Rows, members: usize, max_bytes: usize) -> (String, usize) {
    // In steps, so that batches of different sizes share a few prepared statements.
    let most = match rows {
        Rows::One => members.next_power_of_two() * 2,
        Rows::List => MAX_ROWS,
    };
    (select(query, columns, max_bytes, &format!("limit {most}")), most)
}

pub fn page(query: &Query, from: From<'_>, limit: usize) -> (String, Vec<Value>) {
    let row = "select row_to_json(hydrant_row)::text";
    let inner = query.text();
    match from {
        From::Offset(offset) => {
            let text = format!("{row} from (\n{inner}\n) as hydrant_row offset $1::text::int8 limit {limit}");
            (text, vec![Value(offset.to_string())])
        }
        From::Column { name, after } => {
            let column = quoted(name);
            let (rest, values) = match after {
                None => (String::new(), Vec::new()),
                Some(after) => (format!("where hydrant_row.{column} > $1 "), vec![Value(after.to_owned())]),
            };
            let text = format!(
                "{row}, hydrant_row.{column}::text from (\n{inner}\n) as hydrant_row {rest}\
                 order by hydrant_row.{column} limit {limit}"
            );
            (text, values)
        }
    }
}

fn select(query: &Query, columns: &[String], max_bytes: usize, limit: &str) -> String {
    let mut text = format!("select case when octet_length(hydrant_json) <= {max_bytes} then hydrant_json end");
    for at in 0..columns.len() {
        // To a text nothing can fail that is written.
        let _ = write!(text, ", hydrant_key_{at}");
    }
    text.push_str(" from (select row_to_json(hydrant_row)::text as hydrant_json");
    for (at, column) in columns.iter().enumerate() {
        let _ = write!(text, ", hydrant_row.{}::text as hydrant_key_{at}", quoted(column));
    }
    let _ = write!(text, " from (\n{}\n) as hydrant_row offset 0) as hydrant {limit}", query.text());
    text
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Value {
    pub fn one(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// As an array, each element in quotes.
    pub fn many<'a>(texts: impl Iterator<Item = Option<&'a str>>) -> Self {
        let mut array = String::from("{");
        for text in texts {
            if array.len() > 1 {
                array.push(',');
            }
            array.push('"');
            for c in text.unwrap_or_default().chars() {
                if matches!(c, '"' | '\\') {
                    array.push('\\');
                }
                array.push(c);
            }
            array.push('"');
        }
        array.push('}');
        Self(array)
    }
}

impl ToSql for Value {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    tokio_postgres::types::to_sql_checked!();
}

/// The driver logs the parameters of what it executes.
impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_holds_its_texts_whatever_is_in_them() {
        let array = Value::many(["1", "a\"b\\c", "", "{x},NULL"].into_iter().map(Some));
        assert_eq!(array.0, r#"{"1","a\"b\\c","","{x},NULL"}"#);
        assert_eq!(format!("{array:?}"), "***");
    }

    #[test]
    fn a_query_stands_inside_ours() {
        let query = Query::parse("select id from t where id = any({id})", &[]).expect("a query");
        let (text, most) = many(&query, &["id".to_owned(), "o\"dd".to_owned()], Rows::One, 3, 99);
        assert_eq!(most, 8);
        assert_eq!(
            text,
            "select case when octet_length(hydrant_json) <= 99 then hydrant_json end, hydrant_key_0, hydrant_key_1 from \
             (select row_to_json(hydrant_row)::text as hydrant_json, hydrant_row.\"id\"::text as hydrant_key_0, \
             hydrant_row.\"o\"\"dd\"::text as hydrant_key_1 from (\nselect id from t where id = any($1 )\n) as hydrant_row \
             offset 0) as hydrant limit 8"
        );
    }
}
