//! A source behind Postgres: queries from the configuration, prepared, with every value bound as a parameter.
//!
//! A call passes, in this order: its turn (as many calls at once as the pool has connections, and a short line before
//! them), the breaker, a connection that is idle or a new one, and its statement. Every session is read only, speaks UTC
//! and has a statement timeout, so the server itself ends what takes too long; a call that is given up earlier, by its
//! caller's deadline or because it was dropped, is cancelled at the server too.
//!
//! The server makes the JSON (`row_to_json`): column by column in their order, numbers of any size as they are, times in
//! ISO 8601, arrays and `jsonb` as such, whatever types there are. Why not here: a driver knows fewer types than its
//! server, and would take every value apart to put it together again.

mod address;
mod error;
mod rows;
mod session;
mod sql;
mod tls;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Row;
use tracing::Instrument;

use crate::domain::breaker::Admission;
use crate::domain::budget::Meter;
use crate::domain::entity::Name;
use crate::domain::entity::load::{Ask, BulkAsk, Rows};
use crate::domain::query::Query;
use crate::domain::random::Random;
use crate::domain::secret::SecretCell;
use crate::domain::source::{FetchAsk, FetchError, FetchManyAsk, Fetched, Source};
use crate::source::bulk::Sorted;
use crate::source::gate::Gate;
use crate::source::health::{Blame, Health};
use crate::source::metrics::{Metrics, SourceMetrics};
use crate::source::postgres::error::Failed;
use crate::source::postgres::rows::{Kept, Taken};
use crate::source::postgres::session::{Login, Session};
use crate::source::postgres::sql::Value;
use crate::tasks::Tasks;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `postgres://user@host:5432/name`. Read at every connect, as the password is, so that both can be rotated.
    pub url: SecretCell,
    /// Instead of one in the URL.
    pub password: Option<SecretCell>,
    /// Connections, and so calls under way at once.
    pub pool: usize,
    /// How long the server works on one statement.
    pub statement_timeout: Duration,
    pub connect_timeout: Duration,
    /// More of one answer than this is not read.
    pub max_bytes: usize,
    /// TLS even where the URL does not ask for it.
    pub tls: Option<Tls>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The system's authorities if left out.
    pub ca: Option<PathBuf>,
    pub client: Option<ClientCertificate>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Why a source cannot be built from its configuration.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("{0}")]
    Url(#[from] address::AddressError),
    #[error("must be more than nothing")]
    Zero(&'static str),
}

/// A row of a listing: its columns as a JSON object, and where the next page goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub row: String,
    pub place: Option<String>,
}

/// From where a page goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From<'a> {
    /// After so many rows of the query as it is.
    Offset(u64),
    /// After this value of a column by which the rows are put in order; none for the first page.
    Column { name: &'a str, after: Option<&'a str> },
}

/// A statement's own timeout comes first: the server then says why, and the connection stays.
const SERVER_FIRST: Duration = Duration::from_millis(250);
/// A caller that waits less than this says nothing of the source when it runs out of time.
const PATIENCE: Duration = Duration::from_secs(1);

pub struct PostgresSource {
    name: Name,
    config: Config,
    gate: Gate,
    /// Those that nobody uses, the last used on top. Held for one push or pop.
    idle: Mutex<Vec<Session>>,
    health: Health,
    /// The last refusal that was logged, so that a broken query is told once and not with every call.
    told: Mutex<Option<String>>,
    metrics: SourceMetrics,
    tasks: Tasks,
}

/// How long a call may take and how much its answer may hold.
#[derive(Clone, Copy)]
struct Bounds<'a> {
    deadline: Instant,
    max_bytes: usize,
    meter: &'a Meter,
}

impl BuildError {
    /// The part of the source's configuration to look at.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Url(_) => "url",
            Self::Zero(field) => field,
        }
    }
}

/// Whether a URL can be used, and whether it holds a password; for who checks a configuration.
pub fn check_url(url: &str) -> Result<address::Told, BuildError> {
    Ok(address::Target::parse(url, None)?.told())
}

impl PostgresSource {
    /// Nothing is connected before the first call.
    pub fn build(
        name: Name,
        config: Config,
        random: Random,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Result<Self, BuildError> {
        for (field, is_zero) in [
            ("pool", config.pool == 0),
            ("statement_timeout", config.statement_timeout.is_zero()),
            ("connect_timeout", config.connect_timeout.is_zero()),
            ("max_bytes", config.max_bytes == 0),
        ] {
            if is_zero {
                return Err(BuildError::Zero(field));
            }
        }
        check_url(config.url.get().expose())?;
        let metrics = metrics.of(&name);
        Ok(Self {
            gate: Gate::new(config.pool),
            idle: Mutex::new(Vec::new()),
            health: Health::new(name.clone(), random, metrics.clone()),
            told: Mutex::new(None),
            metrics,
            tasks: tasks.clone(),
            config,
            name,
        })
    }

    /// A page of a listing.
    pub async fn page(
        &self,
        query: &Query,
        from: From<'_>,
        limit: usize,
        deadline: Instant,
    ) -> Result<Vec<Listed>, FetchError> {
        let call = self.metrics.call_started();
        let budget = crate::domain::budget::Budget::new(self.config.max_bytes);
        let bounds = Bounds { deadline, max_bytes: self.config.max_bytes, meter: &budget.meter() };
        let mut kept = Kept::new(bounds.max_bytes, bounds.meter);
        let mut listed = Vec::new();
        let (text, values) = sql::page(query, from, limit);
        let paged = self
            .call(bounds, &text, &values, |row| {
                let Taken { json, keys } = kept.take(row)?;
                let row = json.map(|json| String::from_utf8_lossy(&json).into_owned()).ok_or(FetchError::TooLarge)?;
                listed.push(Listed { row, place: keys.into_iter().next().flatten().map(str::to_owned) });
                Ok(())
            })
            .await;
        call.finished_page(&paged);
        paged.map(|()| listed)
    }

    async fn one(&self, ask: &FetchAsk<'_>) -> Result<Fetched, FetchError> {
        // Without a query, or with parameters that it lacks, there is nowhere to ask.
        let load = ask.member.entity.load().ok_or(FetchError::Unreachable)?;
        let Ask::Query { query, rows } = &load.ask else { return Err(FetchError::Unreachable) };
        let values = query.bind(&ask.member.params).map_err(|_| FetchError::Refused)?;
        let values: Vec<Value> = values.into_iter().map(Value::one).collect();
        let FetchAsk { deadline, max_bytes, meter, .. } = *ask;
        let bounds = Bounds { deadline, max_bytes: max_bytes.min(self.config.max_bytes), meter };
        let mut kept = Kept::new(bounds.max_bytes, meter);
        let text = sql::one(query, *rows, bounds.max_bytes);
        self.call(bounds, &text, &values, |row| kept.keep(row)).await?;
        kept.finish(*rows)
    }

    async fn many(&self, ask: &FetchManyAsk<'_>) -> Result<Vec<Result<Fetched, FetchError>>, FetchError> {
        let load = ask.members.first().and_then(|member| member.entity.load()).ok_or(FetchError::Unreachable)?;
        let rows = match &load.ask {
            Ask::Query { query: _, rows } => *rows,
            Ask::Get(_) => Rows::One,
        };
        let Some(BulkAsk::Query { query, columns }) = load.bulk.as_ref().map(|bulk| &bulk.ask) else {
            return Err(FetchError::Unreachable);
        };
        let FetchManyAsk { members, trace: _, deadline, max_bytes, meter } = *ask;
        let bounds = Bounds { deadline, max_bytes: max_bytes.min(self.config.max_bytes), meter };
        let values = query.params().map(|param| Value::many(members.iter().map(|member| member.params.get(param))));
        let values: Vec<Value> = values.collect();
        let (text, most) = sql::many(query, columns, rows, members.len(), bounds.max_bytes);
        let (mut kept, mut sorted, mut count) = (Kept::of_many(meter), Sorted::new(members), 0);
        self.call(bounds, &text, &values, |row| {
            count += 1;
            let Taken { json, keys } = kept.take(row)?;
            match (keys.iter().copied().collect::<Option<Vec<_>>>(), json) {
                (None, _) => sorted.stray(),
                (Some(ids), Some(json)) => sorted.put(&ids, json),
                (Some(ids), None) => sorted.fail(&ids, FetchError::TooLarge),
            }
            Ok(())
        })
        .await?;
        if count == most {
            // There may be more: who has no row now is not known to have none.
            sorted.stray();
        }
        let told = sorted.tell(rows);
        self.metrics.strays(told.strays);
        Ok(told.results)
    }

    /// One statement and its rows, and what it tells the breaker. What `take` refuses ends the call.
    async fn call(
        &self,
        bounds: Bounds<'_>,
        text: &str,
        values: &[Value],
        mut take: impl FnMut(&Row) -> Result<(), FetchError>,
    ) -> Result<(), FetchError> {
        let _turn = self.gate.turn(bounds.deadline).await?;
        if let Admission::No { .. } = self.health.admit() {
            return Err(FetchError::Shed);
        }
        let started = Instant::now();
        let longest = self.config.statement_timeout + SERVER_FIRST;
        let until = bounds.deadline.min(started + longest);
        let is_patient = until.duration_since(started) >= longest.min(PATIENCE);
        let ended = match timeout_at(until, self.attempts(text, values, &mut take)).await {
            Ok(ended) => ended,
            Err(_) => Err(Failed::late(is_patient)),
        };
        let blame = ended.as_ref().err().map_or(Blame::None, |failed| failed.blame);
        self.health.learn(started, blame);
        self.tell(ended.as_ref().err());
        ended.map_err(|failed| failed.error)
    }

    /// Once, and once more on a new connection where an idle one turned out to be dead or to have outlived its tables.
    async fn attempts(
        &self,
        text: &str,
        values: &[Value],
        take: &mut impl FnMut(&Row) -> Result<(), FetchError>,
    ) -> Result<(), Failed> {
        let (login, mut has_taken) = (Login::of(&self.config), false);
        if let Some(session) = self.idle_for(&login) {
            let mut noted = |row: &Row| {
                has_taken = true;
                take(row)
            };
            match self.run(session, text, values, &mut noted).await {
                // Rows that were taken would be taken again.
                Err(failed) if failed.is_of_connection && !has_taken => {
                    // What killed this one most likely killed the others.
                    self.idle().clear();
                    self.metrics.call_retried();
                }
                ended => return ended,
            }
        }
        let session = Session::open(&self.config, login, &self.tasks).await?;
        self.run(session, text, values, take).await
    }

    async fn run(
        &self,
        session: Session,
        text: &str,
        values: &[Value],
        take: &mut impl FnMut(&Row) -> Result<(), FetchError>,
    ) -> Result<(), Failed> {
        let mut running = session.running(&self.tasks, self.config.connect_timeout);
        let ended = running.query(text, values, take).await;
        match &ended {
            Ok(()) => self.put_back(running.done()),
            Err(failed) if failed.is_session_fine => self.put_back(running.done()),
            Err(_) => drop(running),
        }
        ended
    }

    fn idle_for(&self, login: &Login) -> Option<Session> {
        let mut idle = self.idle();
        // Those of an old password or another server go, as do those that have ended.
        idle.retain(|session| session.is_good(login));
        idle.pop()
    }

    fn put_back(&self, session: Option<Session>) {
        let mut idle = self.idle();
        if idle.len() < self.config.pool {
            idle.extend(session);
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, failed: Option<&Failed>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let why = failed.and_then(|failed| failed.told.clone());
        match (&why, &*told) {
            (Some(why), told) if told.as_ref() != Some(why) => {
                tracing::warn!(source = %self.name, %why, "a query fails");
            }
            (Some(_), _) => {}
            (None, _) if failed.is_some() => return,
            (None, _) => {}
        }
        *told = why;
    }
}

impl Source for PostgresSource {
    fn fetch<'a>(&'a self, ask: FetchAsk<'a>) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        let span = tracing::info_span!("source_call", source = %self.name, entity = %ask.member.entity.name());
        async move {
            let call = self.metrics.call_started();
            let result = self.one(&ask).await;
            call.finished(&result);
            result
        }
        .instrument(span)
        .boxed()
    }

    fn fetch_many<'a>(&'a self, ask: FetchManyAsk<'a>) -> BoxFuture<'a, Vec<Result<Fetched, FetchError>>> {
        let span = tracing::info_span!("source_call", source = %self.name, members = ask.members.len());
        async move {
            let call = self.metrics.call_started();
            let result = self.many(&ask).await;
            call.finished_many(&result);
            result.unwrap_or_else(|error| vec![Err(error); ask.members.len()])
        }
        .instrument(span)
        .boxed()
    }

    /// Opens as many connections as the pool may hold.
    fn connect<'a>(&'a self, deadline: Instant) -> BoxFuture<'a, Result<(), FetchError>> {
        async move {
            let login = Login::of(&self.config);
            let held = {
                let mut idle = self.idle();
                idle.retain(|session| session.is_good(&login));
                idle.len()
            };
            let opened = (held..self.config.pool).map(|_| async {
                let opening = Session::open(&self.config, login.clone(), &self.tasks);
                let session = timeout_at(deadline, opening).await.map_err(|_| FetchError::Timeout)?;
                self.put_back(Some(session.map_err(|failed| failed.error)?));
                Ok(())
            });
            join_all(opened).await.into_iter().collect()
        }
        .boxed()
    }
}

impl std::fmt::Debug for PostgresSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresSource").field("name", &self.name).finish_non_exhaustive()
    }
}
