//! Lists over HTTP: members in bulk (`/users?ids=1,2,3`) and the pages of a listing.
//!
//! The items of a list are cut out of the answer as they stand, and each becomes the answer that a call for it alone
//! would have given.

use bytes::Bytes;

use crate::domain::entity::load::{BulkAsk, IDS, Rows};
use crate::domain::json::{Fault, Kind, Reader};
use crate::domain::projection::paths::{Place, Step};
use crate::domain::source::{FetchError, FetchManyAsk, Fetched};
use crate::domain::template::{Params, Template};
use crate::domain::{budget, field, trace};
use crate::source::bulk::{Sorted, enveloped, ids_of};
use crate::source::http::{Bounds, HttpSource};

/// A page as it came.
pub struct Listed(Bytes);

impl HttpSource {
    pub(super) async fn fetch_listed(&self, ask: FetchManyAsk<'_>) -> Vec<Result<Fetched, FetchError>> {
        let call = self.metrics.call_started();
        let bulk = ask.members.first().and_then(|member| member.entity.load()?.bulk.as_ref());
        let fetched = match bulk.map(|bulk| &bulk.ask) {
            Some(BulkAsk::Get { path, items, id }) => self.told(&ask, path, items, id).await,
            // Whoever asks has looked whether there is a way to.
            Some(BulkAsk::Query { .. }) | None => Err(FetchError::Unreachable),
        };
        call.finished_many(&fetched);
        fetched.unwrap_or_else(|error| vec![Err(error); ask.members.len()])
    }

    async fn told(
        &self,
        ask: &FetchManyAsk<'_>,
        path: &Template,
        items: &Place,
        id: &Place,
    ) -> Result<Vec<Result<Fetched, FetchError>>, FetchError> {
        let FetchManyAsk { members, trace, deadline, max_bytes, meter } = *ask;
        let whole = max_bytes.saturating_mul(members.len());
        let path = path_of(members.iter().flat_map(|member| ids_of(member)), path)?;
        let body = match self.list(&path, trace, &Bounds { deadline, max_bytes: whole, meter }).await? {
            Fetched::Found(body) => body,
            // One that is not there is left out of a list; a list that is not there says nothing of anybody.
            Fetched::Absent => return Err(FetchError::Broken),
        };
        let mut sorted = Sorted::new(members);
        for item in items_of(&body, items).map_err(|_| FetchError::Broken)? {
            match (field::at(item.as_bytes(), id), members.first()) {
                (Some(id), Some(member)) if item.len() <= max_bytes => {
                    sorted.put(&[&id], enveloped(member.entity.projection().body(), item));
                }
                (Some(id), _) => sorted.fail(&[&id], FetchError::TooLarge),
                (None, _) => sorted.stray(),
            }
        }
        let told = sorted.tell(Rows::One);
        self.metrics.strays(told.strays);
        Ok(told.results)
    }

    /// A page of a listing, by its path below the origin.
    pub async fn page(
        &self,
        path: &str,
        trace: trace::TraceContext,
        deadline: tokio::time::Instant,
    ) -> Result<Option<Listed>, FetchError> {
        let call = self.metrics.call_started();
        // A listing is read by one reader at a time and holds no values that travel on: a budget of its own bounds it.
        let meter = budget::Budget::new(self.max_bytes).meter();
        let bounds = Bounds { deadline, max_bytes: self.max_bytes, meter: &meter };
        let fetched = self.list(path, trace, &bounds).await;
        call.finished_page(&fetched.as_ref().map(drop).map_err(|error| *error));
        Ok(match fetched? {
            Fetched::Found(body) => Some(Listed(body)),
            Fetched::Absent => None,
        })
    }

    /// The path that a link to the next page leads to; none where it leads to another origin.
    pub fn path_of_link(&self, link: &str) -> Option<String> {
        self.requests.path_of_link(link)
    }
}

impl Listed {
    pub fn items(&self, place: &Place) -> Result<Vec<&str>, FetchError> {
        items_of(&self.0, place).map_err(|_| FetchError::Broken)
    }

    pub fn text_at(&self, place: &Place) -> Option<String> {
        field::at(&self.0, place).filter(|text| !text.is_empty()).map(|text| text.into_owned())
    }
}

/// The path with the ids in place of `{ids}`: each encoded, the commas between them not.
fn path_of<'a>(ids: impl Iterator<Item = &'a str>, path: &Template) -> Result<String, FetchError> {
    // Rendered by a template of its own, so that an id is written here as everywhere.
    let one = Template::parse("{ids}").map_err(|_| FetchError::Refused)?;
    let mut written = String::new();
    for id in ids {
        let params: Params = [(IDS, id)].into_iter().collect();
        if !written.is_empty() {
            written.push(',');
        }
        written.push_str(&one.path(&params).map_err(|_| FetchError::Refused)?);
    }
    let mark = format!("{{{IDS}}}");
    Ok(path.as_str().replacen(&mark, &written, 1))
}

/// The elements of the array at a place, each as it stands.
fn items_of<'a>(body: &'a [u8], place: &Place) -> Result<Vec<&'a str>, Fault> {
    let mut reader = Reader::new(body)?;
    let mut items = None;
    descend(&mut reader, &place.steps, &mut items)?;
    reader.finish()?;
    items.ok_or(Fault::Short)
}

/// Reads one value to its end, and the array in it if the place leads there.
fn descend<'a>(reader: &mut Reader<'a>, steps: &[Step], items: &mut Option<Vec<&'a str>>) -> Result<(), Fault> {
    match (steps.split_first(), reader.peek()?) {
        (None, Kind::Array) => {
            let mut listed = Vec::new();
            reader.open()?;
            while reader.element()? {
                listed.push(reader.raw()?);
            }
            *items = Some(listed);
        }
        (Some((Step::Name(wanted), rest)), Kind::Object) => {
            reader.open()?;
            while let Some(name) = reader.member()? {
                match name.decoded() == *wanted {
                    true => descend(reader, rest, items)?,
                    false => reader.skip()?,
                }
            }
        }
        (Some((Step::Index(wanted), rest)), Kind::Array) => {
            reader.open()?;
            let mut index = 0;
            while reader.element()? {
                match index == *wanted {
                    true => descend(reader, rest, items)?,
                    false => reader.skip()?,
                }
                index += 1;
            }
        }
        _ => reader.skip()?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_cut_out_as_they_stand() {
        let body = br#" {"n": [1], "data": {"items": [ {"id": 1.0} , "x", [2, 3] ]}} "#;
        let items = |place| items_of(body, &Place::parse(place).expect("a place"));
        assert_eq!(items("$.data.items"), Ok(vec![r#"{"id": 1.0}"#, "\"x\"", "[2, 3]"]));
        assert_eq!(items("$.data.items[2]"), Ok(vec!["2", "3"]));
        for place in ["$", "$.data", "$.none", "$.data.items[0].id"] {
            assert!(items(place).is_err(), "{place}");
        }
        assert!(items_of(b"[1, 2", &Place::default()).is_err());
    }

    #[test]
    fn ids_are_encoded_one_by_one() {
        let path = Template::parse("/users?ids={ids}&x=1").expect("a path");
        let written = path_of(["1", "a,b", "ü/&"].into_iter(), &path);
        assert_eq!(written.as_deref(), Ok("/users?ids=1,a%2Cb,%C3%BC%2F%26&x=1"));
        assert_eq!(path_of([".."].into_iter(), &path), Err(FetchError::Refused));
    }
}
