//! `CacheReadService`: reads through the sidecar's memory. Its flows come with a later version.

use tokio_stream::Empty;
use tonic::{Request, Response, Status, Streaming};

use crate::grpc::pb::cache_read_service_server::CacheReadService;
use crate::grpc::pb::{LookupRequest, LookupResponse, RecordRequest, RecordResponse, WatchRequest, WatchResponse};
use crate::grpc::service::not_built;

pub struct Read;

#[tonic::async_trait]
impl CacheReadService for Read {
    type WatchStream = Empty<Result<WatchResponse, Status>>;

    async fn lookup(&self, _: Request<LookupRequest>) -> Result<Response<LookupResponse>, Status> {
        Err(not_built())
    }

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(not_built())
    }

    async fn record(&self, _: Request<Streaming<RecordRequest>>) -> Result<Response<RecordResponse>, Status> {
        Err(not_built())
    }
}
