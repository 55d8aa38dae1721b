//! The demo's slow backends: one HTTP server with a path for each, on a free port of loopback. They ask for the session
//! of the login, take their time, and one of them fails, as one always does.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::tasks::Tasks;

pub struct Backend {
    /// Also the name of the entity that is loaded from it.
    pub name: &'static str,
    pub takes: Duration,
    pub fails: bool,
}

pub const BACKENDS: [Backend; 5] = [
    Backend { name: "profile", takes: Duration::from_millis(120), fails: false },
    Backend { name: "preferences", takes: Duration::from_millis(80), fails: false },
    Backend { name: "orders", takes: Duration::from_millis(340), fails: false },
    Backend { name: "recommendations", takes: Duration::from_millis(560), fails: false },
    Backend { name: "notifications", takes: Duration::from_millis(50), fails: true },
];

/// Starts them; answers where.
pub async fn start(tasks: &Tasks) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let mut routes = Router::new();
    for backend in &BACKENDS {
        routes = routes.route(&format!("/{}/{{user}}", backend.name), get(answer).with_state(backend));
    }
    tasks.live("demo backends", async move {
        // Ends only with the process; `live` reports it if it ends earlier.
        let _ = axum::serve(listener, routes).await;
    });
    Ok(address)
}

async fn answer(State(backend): State<&'static Backend>, Path(user): Path<String>, headers: HeaderMap) -> Response {
    sleep(backend.takes).await;
    let asked_as = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if asked_as != Some(&format!("Bearer session-of-{user}")) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if backend.fails {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let body = format!(r#"{{"user":"{user}","of":"{}","password_hash":"never cached"}}"#, backend.name);
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
