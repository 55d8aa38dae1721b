//! One connection: how it is opened, what it remembers, and how what runs on it is cancelled.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::TryStreamExt;
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls, Row, Statement};

use crate::domain::secret::Secret;
use crate::domain::source::FetchError;
use crate::source::postgres::Config;
use crate::source::postgres::address::Target;
use crate::source::postgres::error::Failed;
use crate::source::postgres::sql::Value;
use crate::source::postgres::tls::{self, Connector};
use crate::tasks::Tasks;

/// Statements come from the configuration, and a few sizes of batches; more than this are those of old configurations.
const STATEMENTS: usize = 256;

/// What a connection was opened with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    url: Secret,
    password: Option<Secret>,
}

pub struct Session {
    client: Client,
    login: Login,
    tls: Option<Connector>,
    statements: BTreeMap<String, Statement>,
}

/// A session with a statement under way. Dropped before it is done, the statement is cancelled at the server, and the
/// connection is given up: a late cancel would meet whatever runs on it next.
pub struct Running<'a> {
    session: Option<Session>,
    tasks: &'a Tasks,
    patience: Duration,
}

impl Login {
    pub fn of(config: &Config) -> Self {
        Self { url: config.url.get(), password: config.password.as_ref().map(|cell| cell.get()) }
    }
}

impl Session {
    pub async fn open(config: &Config, login: Login, tasks: &Tasks) -> Result<Self, Failed> {
        let opening = Self::open_at_last(config, login, tasks);
        timeout(config.connect_timeout, opening)
            .await
            .unwrap_or_else(|_| Err(Failed::unreachable("no connection in time")))
    }

    async fn open_at_last(config: &Config, login: Login, tasks: &Tasks) -> Result<Self, Failed> {
        let password = login.password.as_ref();
        let target = Target::parse(login.url.expose(), password).map_err(Failed::unreachable)?;
        let (settings, wants_tls) = target.settings(config);
        let tls = match (wants_tls, &config.tls) {
            (true, tls) => Some(tls::connector(&tls.clone().unwrap_or_default()).await.map_err(Failed::unreachable)?),
            (false, _) => None,
        };
        let failed = |error| Failed::from_connect(&error);
        let client = match tls.clone() {
            Some(tls) => {
                let (client, connection) = settings.connect(tls).await.map_err(failed)?;
                tasks.until_end(async move { drop(connection.await) });
                client
            }
            None => {
                let (client, connection) = settings.connect(NoTls).await.map_err(failed)?;
                tasks.until_end(async move { drop(connection.await) });
                client
            }
        };
        Ok(Self { client, login, tls, statements: BTreeMap::new() })
    }

    pub fn is_good(&self, login: &Login) -> bool {
        !self.client.is_closed() && self.login == *login
    }

    pub fn running(self, tasks: &Tasks, patience: Duration) -> Running<'_> {
        Running { session: Some(self), tasks, patience }
    }

    async fn prepared(&mut self, text: &str) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.statements.get(text) {
            return Ok(statement.clone());
        }
        if self.statements.len() == STATEMENTS {
            self.statements.clear();
        }
        let statement = self.client.prepare(text).await?;
        self.statements.insert(text.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl Running<'_> {
    pub async fn query(
        &mut self,
        text: &str,
        values: &[Value],
        take: &mut impl FnMut(&Row) -> Result<(), FetchError>,
    ) -> Result<(), Failed> {
        let Some(session) = &mut self.session else { return Err(Failed::refused_here(FetchError::Broken)) };
        let failed = |error| Failed::from_call(&error);
        let statement = session.prepared(text).await.map_err(failed)?;
        let rows = session.client.query_raw(&statement, values).await.map_err(failed)?;
        let mut rows = std::pin::pin!(rows);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            take(&row).map_err(Failed::refused_here)?;
        }
        Ok(())
    }

    /// Nothing runs any more: what is left of the session is its owner's again.
    pub fn done(mut self) -> Option<Session> {
        self.session.take()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let Some(session) = self.session.take().filter(|session| !session.client.is_closed()) else { return };
        let (token, tls, patience) = (session.client.cancel_token(), session.tls, self.patience);
        drop(self.tasks.finish(async move {
            let cancelled = async {
                match tls {
                    Some(tls) => token.cancel_query(tls).await,
                    None => token.cancel_query(NoTls).await,
                }
            };
            // Where it cannot be cancelled, the statement's own timeout ends it.
            if !matches!(timeout(patience, cancelled).await, Ok(Ok(()))) {
                tracing::debug!("a query could not be cancelled");
            }
        }));
    }
}
