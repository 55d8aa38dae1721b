//! What a call of `WarmUp` is told while its plans run, to their end or to the end of this process.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::domain::error::{Error, Kind};
use crate::grpc::pb::WarmUpResponse;
use crate::grpc::{convert, status};
use crate::warm::request::Event;

/// After the process was told to stop: plans end by themselves at the next page, and are told of.
const LAST_WORDS: Duration = Duration::from_secs(10);

pub type Events = BoxStream<'static, Result<WarmUpResponse, Status>>;

pub fn events(told: mpsc::Receiver<Event>, stopping: CancellationToken) -> Events {
    stream::unfold(Some((told, stopping)), |state| async {
        let (mut told, stopping) = state?;
        let event = tokio::select! {
            biased;
            event = told.recv() => event,
            () = late(&stopping) => {
                let ending = Error::new(Kind::ShuttingDown, "the process stops before the plans do");
                return Some((Err(status::of(&ending)), None));
            }
        };
        Some((Ok(convert::warm_up::event(event?)), Some((told, stopping))))
    })
    .boxed()
}

async fn late(stopping: &CancellationToken) {
    stopping.cancelled().await;
    tokio::time::sleep(LAST_WORDS).await;
}
