//! Members from a file: a JSON object or an id on each line. It is read a page at a time, so its size is of no matter.

use std::io::{ErrorKind, SeekFrom};
use std::path::PathBuf;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, BufReader};

use crate::domain::listing::{Cursor, Listing, Page, PageAsk, Parameters};
use crate::domain::source::FetchError;
use crate::source::listing::row;

/// A longer line names no member.
const LINE: u64 = 16 * 1024;

pub struct Lines {
    path: PathBuf,
    param: Option<String>,
}

impl Lines {
    pub fn new(path: PathBuf, param: Option<String>) -> Self {
        Self { path, param }
    }

    async fn page_after(&self, after: Option<&Cursor>, limit: usize) -> Result<Page, FetchError> {
        let mut at: u64 = after.map_or(Ok(0), |cursor| cursor.0.parse()).map_err(|_| FetchError::Broken)?;
        let broken = |error: std::io::Error| match error.kind() {
            ErrorKind::PermissionDenied => FetchError::Denied,
            ErrorKind::NotFound => FetchError::Unreachable,
            _ => FetchError::Broken,
        };
        let mut file = File::open(&self.path).await.map_err(broken)?;
        file.seek(SeekFrom::Start(at)).await.map_err(broken)?;
        let (mut reader, mut members) = (BufReader::new(file), Vec::new());
        let mut line = Vec::new();
        while members.len() < limit {
            line.clear();
            let read = (&mut reader).take(LINE).read_until(b'\n', &mut line).await.map_err(broken)?;
            if read == 0 {
                return Ok(Page { members, next: None, total: None });
            }
            if read as u64 == LINE && !line.ends_with(b"\n") {
                return Err(FetchError::TooLarge);
            }
            at += read as u64;
            members.extend(std::str::from_utf8(&line).ok().and_then(|line| self.member(line.trim())));
        }
        Ok(Page { members, next: Some(Cursor(at.to_string())), total: None })
    }

    /// None for a line that is empty, or that names nobody.
    fn member(&self, line: &str) -> Option<Parameters> {
        match (line, &self.param) {
            ("", _) => None,
            (object, _) if object.starts_with('{') => row::all_of(object),
            (id, Some(param)) => Some(Parameters::from([(param.clone(), id.to_owned())])),
            (_, None) => None,
        }
    }
}

impl Listing for Lines {
    fn page<'a>(&'a self, ask: PageAsk<'a>) -> BoxFuture<'a, Result<Page, FetchError>> {
        self.page_after(ask.after, ask.limit).boxed()
    }

    fn origin(&self) -> &str {
        "a file"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(text: &str, limit: usize) -> Result<Vec<String>, FetchError> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        let listing = Lines::new(file.path().to_owned(), Some("id".to_owned()));
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let page = listing.page_after(after.as_ref(), limit).await?;
            assert!(page.members.len() <= limit);
            ids.extend(page.members.iter().map(|params| params["id"].clone()));
            after = page.next;
            if after.is_none() {
                return Ok(ids);
            }
        }
    }

    #[tokio::test]
    async fn lines_are_ids_or_objects_page_by_page() {
        let text = "1\r\n\n{\"id\": 2}\n{\"id\": null}\n  three \n4";
        for limit in [1, 2, 100] {
            assert_eq!(all(text, limit).await.expect("read"), ["1", "2", "three", "4"], "{limit}");
        }
        assert_eq!(all("", 3).await.expect("read"), [""; 0]);
    }

    #[tokio::test]
    async fn a_file_that_is_none_and_a_line_without_end_are_told() {
        assert_eq!(all(&"x".repeat(20_000), 3).await, Err(FetchError::TooLarge));
        let none = Lines::new("/nowhere/at/all".into(), None);
        assert_eq!(none.page_after(None, 1).await, Err(FetchError::Unreachable));
    }
}
