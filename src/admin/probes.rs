//! What each path of the probe port answers.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;

use crate::admin::{Probes, metrics};
use crate::domain::phase::Phase;

pub fn router(probes: Probes, registry: Arc<Registry>) -> Router {
    let ready = probes.clone();
    Router::new()
        // Alive is whoever answers. That the main runtime moves is not asked here: a busy sidecar that is restarted
        // comes back to the same load with an empty memory.
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(async move || readiness(&ready)))
        .route("/startupz", get(async move || startup(*probes.phase.borrow())))
        .route("/metrics", get(async move || metrics_page(&registry)))
        .fallback(async || (StatusCode::NOT_FOUND, "not here\n"))
}

fn readiness(probes: &Probes) -> Response {
    let phase = *probes.phase.borrow();
    let code = if phase == Phase::Serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let store = metrics::state_name(probes.store.state());
    (code, format!("{}\nstore: {store}\n", phase.as_str())).into_response()
}

fn startup(phase: Phase) -> Response {
    let code = if phase.has_started() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, format!("{}\n", phase.as_str())).into_response()
}

fn metrics_page(registry: &Registry) -> Response {
    match metrics::page(registry) {
        Ok(page) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], page).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be written out");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
