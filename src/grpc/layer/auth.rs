//! Who is calling, whether it may, and how often. What the caller is goes along in the request's extensions, for the
//! service to ask what only the message can tell: whose data it is, and whether it clears.
//!
//! Whoever comes in by the loopback port or the socket shares the pod, and is one caller. Whoever comes in by the other
//! listener is known by what it shows; only the question whether we live is answered to anybody.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::request::Parts;
use http::{Request, Response};
use tokio::time::Instant;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::domain::error::Error;
use crate::grpc::caller::certificate::Names;
use crate::grpc::caller::{Caller, Callers};
use crate::grpc::layer::refuse;
use crate::grpc::rpc::{Needs, Rpc};

/// By which way a call came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Pod,
    Remote,
}

/// What the connection's client has shown of itself, in the request's extensions.
#[derive(Clone, Debug)]
pub struct Shown(pub Option<Arc<Names>>);

#[derive(Clone)]
pub struct AuthLayer {
    way: Way,
    callers: Callers,
}

#[derive(Clone)]
pub struct Auth<S> {
    inner: S,
    layer: AuthLayer,
}

impl AuthLayer {
    pub fn new(way: Way, callers: Callers) -> Self {
        Self { way, callers }
    }

    /// Puts the caller beside the call, if it may make it.
    fn admit(&self, parts: &mut Parts) -> Result<(), Error> {
        let rpc = Rpc::of(parts.uri.path());
        // A stream holds a place for as long as its reader likes: a stranger may ask whether we live, not go on asking.
        let is_watched = parts.uri.path().ends_with("/Watch");
        let caller: Arc<Caller> = match (self.way, rpc.needs()) {
            (Way::Remote, Needs::Nothing) if !is_watched => return Ok(()),
            (Way::Pod, _) => self.callers.pod(),
            (Way::Remote, Needs::Nothing | Needs::Caller | Needs::Right(_)) => {
                let shown = parts.extensions.get::<Shown>().and_then(|shown| shown.0.as_deref());
                self.callers.remote(&parts.headers, shown)?
            }
        };
        caller.admit(rpc, Instant::now())?;
        parts.extensions.insert(caller);
        Ok(())
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Auth<S> {
        Auth { inner, layer: self.clone() }
    }
}

impl<S, B> Service<Request<B>> for Auth<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        match self.layer.admit(&mut parts) {
            Ok(()) => Either::Left(self.inner.call(Request::from_parts(parts, body))),
            Err(error) => Either::Right(ready(Ok(refuse(&error)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Duration;

    use http_body_util::Full;
    use prost::Message;
    use prost_types::FileDescriptorSet;
    use tonic::Status;
    use tonic_types::StatusExt;

    use super::*;
    use crate::domain::bucket::Rate;
    use crate::domain::caller::{Act, Right, Tenants};
    use crate::domain::clock::Clock;
    use crate::grpc::caller::{Config, Declared, Grant, Shows};
    use crate::grpc::layer::testing::{PREHYDRATE, call, ok, reason, request, service};
    use crate::grpc::metrics::Metrics;
    use crate::grpc::pb;

    const HEALTH: &str = "/grpc.health.v1.Health/Check";
    const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

    fn named(name: &str) -> Names {
        Names { common: [name.to_owned()].into(), ..Names::default() }
    }

    /// A door for one caller from elsewhere, whose certificate says `ci`.
    fn remote(grant: Grant) -> AuthLayer {
        let shows = Shows { certificate: Some(named("ci")), ..Shows::default() };
        let remote = BTreeMap::from([("ci".to_owned(), Declared { shows, grant })]);
        let config = Config { pod: Grant::default(), jwt: None, remote };
        let callers = Callers::new(config, Clock::System, Metrics::register(&mut Default::default()));
        AuthLayer::new(Way::Remote, callers.expect("good callers"))
    }

    fn from_ci(path: &str) -> Request<Full<bytes::Bytes>> {
        let mut request = request(path);
        request.extensions_mut().insert(Shown(Some(Arc::new(named("ci")))));
        request
    }

    async fn answer(layer: &AuthLayer, request: Request<Full<bytes::Bytes>>) -> Option<String> {
        reason(&call(layer, service(|_| async { ok() }), request).await)
    }

    #[tokio::test]
    async fn the_service_learns_who_calls() {
        let inner = service(|request: Request<_>| async move {
            let caller: &Arc<Caller> = request.extensions().get().expect("a caller");
            assert_eq!(caller.name(), "ci");
            ok()
        });
        assert_eq!(reason(&call(&remote(Grant::default()), inner, from_ci(PREHYDRATE)).await), None);
    }

    #[tokio::test]
    async fn a_stranger_reaches_nothing_but_health() {
        let inner = || service(|_| async { panic!("reached") });
        let layer = remote(Grant::default());
        for path in [PREHYDRATE, REFLECTION, "/x.Y/Z", "/grpc.health.v1.Health/Watch"] {
            let response = call(&layer, inner(), request(path)).await;
            assert_eq!(reason(&response).as_deref(), Some("UNAUTHENTICATED"), "{path}");
            let mut other = request(path);
            other.extensions_mut().insert(Shown(Some(Arc::new(named("cicd")))));
            assert_eq!(reason(&call(&layer, inner(), other).await).as_deref(), Some("UNAUTHENTICATED"), "{path}");
        }
        assert_eq!(answer(&layer, request(HEALTH)).await, None);
    }

    /// Every rpc of the contract, as its descriptors have it.
    fn rpcs() -> Vec<String> {
        let set = FileDescriptorSet::decode(pb::DESCRIPTORS).expect("the compiled contract");
        let services = set.file.iter().filter(|file| file.package() == "hydrant.v1").flat_map(|file| &file.service);
        let path = |service: &str, method: &str| format!("/hydrant.v1.{service}/{method}");
        services.flat_map(|s| s.method.iter().map(move |method| path(s.name(), method.name()))).collect()
    }

    /// The one right that opens each rpc. A new rpc has to be put here, and so has the right it needs.
    const OPENED_BY: [(&str, Right); 10] = [
        ("Prehydrate", Right::Prehydrate),
        ("Invalidate", Right::Invalidate),
        ("GetJob", Right::Jobs),
        ("WatchJob", Right::Jobs),
        ("WarmUp", Right::WarmUp),
        ("Stats", Right::Stats),
        ("Explain", Right::Explain),
        ("Lookup", Right::Lookup),
        ("Watch", Right::Watch),
        ("Record", Right::Record),
    ];

    #[tokio::test]
    async fn each_rpc_is_opened_by_one_right_and_by_no_other() {
        let rpcs = rpcs();
        assert_eq!(rpcs.len(), OPENED_BY.len());
        for path in &rpcs {
            let name = path.rsplit('/').next().unwrap_or_default();
            let (_, opener) = OPENED_BY.iter().find(|(rpc, _)| *rpc == name).expect("a right of its own");
            for right in Right::ALL {
                let only = remote(Grant { rights: [right].into(), ..Grant::default() });
                let refused = (right != *opener).then_some("PERMISSION_DENIED");
                assert_eq!(answer(&only, from_ci(path)).await.as_deref(), refused, "{name} with {}", right.name());
            }
            let but = Right::ALL.into_iter().filter(|right| right != opener).collect::<BTreeSet<_>>();
            let all_but = remote(Grant { rights: but, ..Grant::default() });
            let response = call(&all_but, service(|_| async { panic!("reached") }), from_ci(path)).await;
            let info = Status::from_header_map(response.headers()).and_then(|s| s.get_details_error_info());
            assert_eq!(info.expect("an error").metadata["right"], opener.name());
        }
    }

    #[tokio::test]
    async fn who_shares_the_pod_needs_nothing_unless_the_configuration_says_so() {
        let pod = |grant| {
            let config = Config { pod: grant, jwt: None, remote: BTreeMap::new() };
            let callers = Callers::new(config, Clock::System, Metrics::register(&mut Default::default()));
            AuthLayer::new(Way::Pod, callers.expect("good callers"))
        };
        for path in rpcs() {
            assert_eq!(answer(&pod(Grant::default()), request(&path)).await, None, "{path}");
            let none = Grant { rights: BTreeSet::new(), tenants: Tenants::All, limits: BTreeMap::new() };
            assert_eq!(answer(&pod(none), request(&path)).await.as_deref(), Some("PERMISSION_DENIED"), "{path}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_over_its_limit_is_told_when_there_is_room_again() {
        let limits = BTreeMap::from([(Act::Stats, Rate::new(5, Duration::from_secs(60)).expect("a rate"))]);
        let layer = remote(Grant { limits, ..Grant::default() });
        let stats = "/hydrant.v1.CacheControlService/Stats";
        for _ in 0..5 {
            assert_eq!(answer(&layer, from_ci(stats)).await, None);
        }
        let response = call(&layer, service(|_| async { panic!("reached") }), from_ci(stats)).await;
        assert_eq!(reason(&response).as_deref(), Some("RATE_LIMITED"));
        let status = Status::from_header_map(response.headers()).expect("an error");
        let wait = status.get_details_retry_info().and_then(|info| info.retry_delay).expect("a time");
        assert_eq!(wait, Duration::from_secs(12));
        assert_eq!(answer(&layer, from_ci(PREHYDRATE)).await, None, "another rpc has a limit of its own");
        tokio::time::advance(wait).await;
        assert_eq!(answer(&layer, from_ci(stats)).await, None);
    }
}
