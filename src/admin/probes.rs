//! What each path of the probe port answers.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;

use crate::admin::Probes;
use crate::admin::metrics::{CONTENT_TYPE, Page, state_name};
use crate::domain::phase::Phase;

pub fn router(probes: Probes, page: Page) -> Router {
    let (ready, page) = (probes.clone(), Arc::new(page));
    Router::new()
        // Alive is whoever answers. That the main runtime moves is not asked here: a busy sidecar that is restarted
        // comes back to the same load with an empty memory.
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(async move || readiness(&ready)))
        .route("/startupz", get(async move || startup(*probes.phase.borrow())))
        .route("/metrics", get(async move || metrics_page(&page)))
        .fallback(async || (StatusCode::NOT_FOUND, "not here\n"))
        // A defect in one answer must not look like a dead process to a kubelet.
        .layer(CatchPanicLayer::new())
}

fn readiness(probes: &Probes) -> Response {
    let phase = *probes.phase.borrow();
    let code = if phase == Phase::Serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let store = state_name(probes.store.state());
    (code, format!("{}\nstore: {store}\n", phase.as_str())).into_response()
}

fn startup(phase: Phase) -> Response {
    let code = if phase.has_started() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, format!("{}\n", phase.as_str())).into_response()
}

fn metrics_page(page: &Page) -> Response {
    match page.text() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be written out");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
