//! `CacheReadService`: what applications tell of their reads. Reads through the sidecar's memory come with a later
//! version.

use tokio_stream::Empty;
use tonic::{Request, Response, Status, Streaming};

use crate::grpc::convert::record::Tally;
use crate::grpc::pb::cache_read_service_server::CacheReadService;
use crate::grpc::pb::{LookupRequest, LookupResponse, RecordRequest, RecordResponse, WatchRequest, WatchResponse};
use crate::grpc::service::{Services, not_built};

pub struct Read {
    services: Services,
}

impl Read {
    pub const fn new(services: Services) -> Self {
        Self { services }
    }
}

#[tonic::async_trait]
impl CacheReadService for Read {
    type WatchStream = Empty<Result<WatchResponse, Status>>;

    async fn lookup(&self, _: Request<LookupRequest>) -> Result<Response<LookupResponse>, Status> {
        Err(not_built())
    }

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(not_built())
    }

    async fn record(&self, call: Request<Streaming<RecordRequest>>) -> Result<Response<RecordResponse>, Status> {
        let mut messages = call.into_inner();
        let mut tally = Tally::default();
        // What was taken is taken: a stream that breaks off loses only what was not sent.
        while let Some(message) = messages.message().await? {
            tally.take(self.services.prehydrate.accesses(), message);
        }
        Ok(Response::new(tally.into_response()))
    }
}
