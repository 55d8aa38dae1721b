//! `CacheReadService`: what applications tell of their reads. Reads through the sidecar's memory come with a later
//! version.

use tokio_stream::Empty;
use tonic::{Request, Response, Status, Streaming};

use crate::domain::error::Error;
use crate::grpc::caller::{Caller, tenancy};
use crate::grpc::convert;
use crate::grpc::convert::record::Tally;
use crate::grpc::pb::cache_read_service_server::CacheReadService;
use crate::grpc::pb::lookup_request::Who as Shown;
use crate::grpc::pb::{
    self, LookupItem, LookupRequest, LookupResponse, RecordRequest, RecordResponse, WatchRequest, WatchResponse,
};
use crate::grpc::service::{Services, caller, not_built, refuse};

pub struct Read {
    services: Services,
}

impl Read {
    pub const fn new(services: Services) -> Self {
        Self { services }
    }

    /// Whether the caller may say whom it reads for, and may read that.
    fn held(&self, caller: &Caller, who: Option<Shown>, items: &[LookupItem]) -> Result<(), Error> {
        let said = who.map(convert::who).transpose()?;
        if let Some((_, who)) = &said {
            caller.may_name(who)?;
        }
        let identify = |(path, who)| Ok::<_, Error>((path, self.services.prehydrate.identify(who)?));
        let subject = said.filter(|_| caller.is_held()).map(identify).transpose()?;
        let catalog = self.services.live.get().catalog.clone();
        tenancy::lookup(caller, &catalog, subject.as_ref().map(|(path, subject)| (*path, subject)), items)
    }
}

#[tonic::async_trait]
impl CacheReadService for Read {
    type WatchStream = Empty<Result<WatchResponse, Status>>;

    async fn lookup(&self, call: Request<LookupRequest>) -> Result<Response<LookupResponse>, Status> {
        let caller = caller(&call)?;
        let LookupRequest { items, who, reach: _, max_age: _ } = call.into_inner();
        self.held(&caller, who, &items).map_err(refuse)?;
        Err(not_built())
    }

    async fn watch(&self, call: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (caller, catalog) = (caller(&call)?, self.services.live.get().catalog.clone());
        tenancy::watch(&caller, &catalog, call.get_ref()).map_err(refuse)?;
        Err(not_built())
    }

    async fn record(&self, call: Request<Streaming<RecordRequest>>) -> Result<Response<RecordResponse>, Status> {
        let caller = caller(&call)?;
        let mut messages = call.into_inner();
        let mut tally = Tally::default();
        // What was taken is taken: a stream that breaks off loses only what was not sent.
        while let Some(message) = messages.message().await? {
            let catalog = self.services.live.get().catalog.clone();
            let is_let = |access: &pb::Access| tenancy::access(&caller, &catalog, access);
            tally.take(self.services.prehydrate.accesses(), message, is_let);
        }
        Ok(Response::new(tally.into_response()))
    }
}
