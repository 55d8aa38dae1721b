//! `entities.<name>.load`: what a source is asked, for one member and for many.
//!
//! Whether a path or a query is meant follows from the source, so each is held against the source it names.

use super::Context;
use super::entity::Sources;
use crate::config::file::entity as file;
use crate::config::file::source::Source;
use crate::config::form::query::SqlText;
use crate::config::form::{Formed, PathTemplate};
use crate::domain::entity::load::{Ask, Bulk, BulkAsk, Rows};
use crate::domain::entity::{Load, Name, Scope};
use crate::domain::projection::paths::Place;
use crate::domain::query::Query;
use crate::source::any;

/// A thousand ids of numbers are a URL of 8 KiB, where servers begin to refuse; those of UUIDs are longer.
const MOST_BY_PATH: usize = 50;
/// What a database answers in a few milliseconds.
const MOST_BY_QUERY: usize = 500;

impl Context<'_> {
    pub(super) fn load(
        &mut self,
        at: &str,
        load: file::Load,
        scope: Scope,
        params: &[&str],
        sources: &Sources,
    ) -> Option<Load> {
        let file::Load { source, get, query, rows, bulk, body: _, credential } = load;
        let source = Name::new(&source)?;
        // A source that is broken has its own problems.
        let config = sources.get(&source)?;
        let ask = match config {
            any::Config::Http(_) => self.by_path(at, get, query.is_some(), rows),
            any::Config::Postgres(_) => self.by_query(at, query, get.is_some(), rows, params),
        };
        let bulk = bulk.map(|bulk| self.bulk(&format!("{at}.bulk"), bulk, params, config));
        let credential = self.credential(at, credential, scope, config);
        let lag = self.take::<Source>(&["sources", source.as_str()])?.lag.map(|lag| lag.0);
        let bulk = match bulk {
            Some(bulk) => Some(bulk?),
            None => None,
        };
        Some(Load { source, ask: ask?, bulk, credential: credential?, lag })
    }

    fn by_path(
        &mut self,
        at: &str,
        get: Option<Formed<PathTemplate>>,
        has_query: bool,
        rows: file::Rows,
    ) -> Option<Ask> {
        if has_query || rows == file::Rows::List {
            let key = if has_query { "query" } else { "rows" };
            let problem = "the source is behind HTTP, where there are no queries";
            self.problem(&format!("{at}.{key}"), problem, "write `get`, or name a source behind `postgres`");
            return None;
        }
        match get {
            Some(Formed(PathTemplate(path))) => Some(Ask::Get(path)),
            None => {
                let hint = "write the path below the source's origin: `get: \"/users/{id}\"`";
                self.problem(at, "`get` is missing", hint);
                None
            }
        }
    }

    fn by_query(
        &mut self,
        at: &str,
        query: Option<Formed<SqlText>>,
        has_path: bool,
        rows: file::Rows,
        params: &[&str],
    ) -> Option<Ask> {
        if has_path {
            let problem = "the source is behind Postgres, where there are no paths";
            self.problem(&format!("{at}.get"), problem, "write `query`, or name a source behind `http`");
            return None;
        }
        let Some(Formed(SqlText(text))) = query else {
            let hint = "write the query for one member: `query: \"select … from users where id = {id}\"`";
            self.problem(at, "`query` is missing", hint);
            return None;
        };
        let query = self.query(&format!("{at}.query"), &text, params)?;
        let rows = match rows {
            file::Rows::One => Rows::One,
            file::Rows::List => Rows::List,
        };
        Some(Ask::Query { query, rows })
    }

    fn query(&mut self, at: &str, text: &str, params: &[&str]) -> Option<Query> {
        let hint = "`$1` is the first of the key's parameters; write them by name: `{id}`";
        Query::parse(text, params).map_err(|error| self.problem(at, error, hint)).ok()
    }

    fn bulk(&mut self, at: &str, bulk: file::Bulk, params: &[&str], source: &any::Config) -> Option<Bulk> {
        let file::Bulk { get, items, id, query, key, most } = bulk;
        let foreign = match source {
            any::Config::Http(_) => [("query", query.is_some()), ("key", !key.is_empty()), ("", false)],
            any::Config::Postgres(_) => [("get", get.is_some()), ("items", items.is_some()), ("id", id.is_some())],
        };
        if let Some((name, _)) = foreign.into_iter().find(|(_, given)| *given) {
            let hint = "a list over HTTP has `get`, `items` and `id`; one from Postgres has `query` and `key`";
            self.problem(&format!("{at}.{name}"), "the source is of the other kind", hint);
            return None;
        }
        match (source, get, query) {
            (any::Config::Http(_), Some(Formed(PathTemplate(path))), _) => {
                let place = |given: Option<Formed<Place>>| given.map(|Formed(place)| place);
                let id = place(id).unwrap_or_else(|| Place::field(params.first().copied().unwrap_or("id")));
                let ask = BulkAsk::Get { path, items: place(items).unwrap_or_else(whole), id };
                Some(Bulk { ask, most: most.unwrap_or(MOST_BY_PATH) })
            }
            (any::Config::Postgres(_), _, Some(Formed(SqlText(text)))) => {
                let query = self.query(&format!("{at}.query"), &text, params)?;
                let own = || params.iter().map(|param| (*param).to_owned()).collect();
                let columns = if key.is_empty() { own() } else { key };
                Some(Bulk { ask: BulkAsk::Query { query, columns }, most: most.unwrap_or(MOST_BY_QUERY) })
            }
            (any::Config::Http(_), None, _) => {
                let hint = "write the path of a list: `get: \"/users?ids={ids}\"`";
                self.problem(at, "`get` is missing", hint);
                None
            }
            (any::Config::Postgres(_), _, None) => {
                let hint = "write the query for many members: `query: \"select … where id = any({id})\"`";
                self.problem(at, "`query` is missing", hint);
                None
            }
        }
    }
}

fn whole() -> Place {
    Place { text: "$".to_owned(), steps: Vec::new() }
}
