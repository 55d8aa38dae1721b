//! Where a database is, read from the URL that people already have: `postgres://user:password@host:5432/name?sslmode=…`.
//!
//! TLS is used, and the server verified, unless the URL says `sslmode=disable` or the server is on this very machine.
//! `prefer` and `allow` are refused: whoever stands between could turn TLS off.

use std::str::FromStr;

use tokio_postgres::config::{Host, SslMode};

use crate::domain::secret::Secret;
use crate::source::postgres::Config;

pub struct Target {
    settings: tokio_postgres::Config,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Unsaid,
    Off,
    On,
}

/// What a URL says, for who checks a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub has_password: bool,
    /// TLS is turned off, and the server is not on this machine.
    pub is_in_the_clear: bool,
}

/// Why a URL cannot be used. It is not repeated: a password may be in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("it is not a URL of Postgres: {0}")]
    Malformed(String),
    #[error("`sslmode={0}` can be turned off by whoever stands between: `require` or `disable`")]
    Weak(String),
    #[error("`{0}` is not a known sslmode")]
    Mode(String),
    #[error("it names no {0}")]
    Lacks(&'static str),
}

impl Target {
    pub fn parse(url: &str, password: Option<&Secret>) -> Result<Self, AddressError> {
        let url = url.trim();
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(AddressError::Malformed("it begins `postgres://`".to_owned()));
        }
        // The driver knows fewer of the modes than libpq, and other meanings.
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let (modes, others): (Vec<&str>, Vec<&str>) = pairs.partition(|pair| pair.starts_with("sslmode="));
        let mode = match modes.last().and_then(|pair| pair.strip_prefix("sslmode=")) {
            None => Mode::Unsaid,
            Some("disable") => Mode::Off,
            Some("require" | "verify-ca" | "verify-full") => Mode::On,
            Some(weak @ ("prefer" | "allow")) => return Err(AddressError::Weak(weak.to_owned())),
            Some(_) => return Err(AddressError::Mode("it".to_owned())),
        };
        let bare = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
        let mut settings = tokio_postgres::Config::from_str(&bare)
            .map_err(|_| AddressError::Malformed("write `postgres://user@host:5432/name`".to_owned()))?;
        if settings.get_hosts().is_empty() {
            return Err(AddressError::Lacks("host"));
        }
        if settings.get_user().is_none() {
            return Err(AddressError::Lacks("user"));
        }
        if let Some(password) = password {
            settings.password(password.expose().trim_end_matches(['\r', '\n']));
        }
        Ok(Self { settings, mode })
    }

    pub fn told(&self) -> Told {
        let is_in_the_clear = self.mode == Mode::Off && !self.is_local();
        Told { has_password: self.settings.get_password().is_some(), is_in_the_clear }
    }

    /// What to connect with, and whether through TLS.
    pub fn settings(mut self, config: &Config) -> (tokio_postgres::Config, bool) {
        let tls = match self.mode {
            Mode::On => true,
            Mode::Off => false,
            Mode::Unsaid => config.tls.is_some() || !self.is_local(),
        };
        let timeout = config.statement_timeout.as_millis();
        let own = format!(
            "-c statement_timeout={timeout} -c default_transaction_read_only=on -c timezone=UTC -c intervalstyle=iso_8601"
        );
        let options = match self.settings.get_options() {
            Some(given) => format!("{given} {own}"),
            None => own,
        };
        self.settings
            .options(options)
            .application_name("hydrant")
            .ssl_mode(if tls { SslMode::Require } else { SslMode::Disable })
            .connect_timeout(config.connect_timeout)
            // A server that is gone without a word is noticed while the connection is idle.
            .keepalives_idle(std::time::Duration::from_secs(30))
            .tcp_user_timeout(std::time::Duration::from_secs(30));
        (self.settings, tls)
    }

    fn is_local(&self) -> bool {
        self.settings.get_hosts().iter().all(|host| match host {
            Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()),
            #[cfg(unix)]
            Host::Unix(_) => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::secret::SecretCell;

    fn is_tls(url: &str) -> Option<bool> {
        let config = Config {
            url: SecretCell::new(Secret::new(url)),
            password: None,
            pool: 1,
            statement_timeout: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(1),
            max_bytes: 1,
            tls: None,
        };
        Target::parse(url, None).ok().map(|target| target.settings(&config).1)
    }

    #[test]
    fn tls_is_used_unless_it_is_off_or_the_server_is_here() {
        for (url, tls) in [
            ("postgres://u@db.internal/x", true),
            ("postgres://u@10.0.0.1:5432/x?application_name=a", true),
            ("postgres://u@db.internal/x?sslmode=disable", false),
            ("postgresql://u@127.0.0.1/x", false),
            ("postgresql://u@localhost/x?sslmode=verify-full&connect_timeout=3", true),
            ("postgres://u@%2Frun%2Fpostgresql/x", false),
        ] {
            assert_eq!(is_tls(url), Some(tls), "{url}");
        }
    }

    #[test]
    fn a_url_that_cannot_be_used_is_not_repeated() {
        for url in [
            "",
            "mysql://u:hunter2@h/x",
            "host=h password=hunter2",
            "postgres://u:hunter2@h:x/y",
            "postgres://u:hunter2@h/x?sslmode=prefer",
            "postgres://u:hunter2@h/x?sslmode=hunter2",
            "postgres://h/x",
            "postgres:///x",
        ] {
            let error = Target::parse(url, None).err().expect("refused").to_string();
            assert!(!error.contains("hunter2"), "{url}: {error}");
        }
    }

    #[test]
    fn a_url_tells_whether_it_holds_a_secret() {
        let told = |url| Target::parse(url, None).expect("a good url").told();
        assert_eq!(told("postgres://u:p@h/x"), Told { has_password: true, is_in_the_clear: false });
        assert_eq!(told("postgres://u@h/x?sslmode=disable"), Told { has_password: false, is_in_the_clear: true });
    }
}
