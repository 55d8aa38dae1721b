//! A job's states as a stream: at once, at each change, and every few seconds, so that a watcher knows that it still
//! watches; to the final state, or to the end of this process.
//!
//! States are made when they are asked for, and HTTP/2 asks only for what its reader has room for. So a slow reader misses
//! states in between and never piles any up, and one that reads nothing costs its place alone.

use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::domain::error::{Error, Kind};
use crate::grpc::pb::{Job, JobState, WatchJobResponse};
use crate::grpc::status;

/// What the contract promises.
const AT_LEAST_EVERY: Duration = Duration::from_secs(10);

pub type Following = BoxStream<'static, Result<WatchJobResponse, Status>>;

struct Follower<S> {
    states: S,
    stopping: CancellationToken,
    /// What was told last.
    last: Option<Job>,
}

pub fn follow(
    states: impl Stream<Item = Result<Job, Error>> + Send + Unpin + 'static,
    stopping: CancellationToken,
) -> Following {
    let begin = Follower { states, stopping, last: None };
    stream::unfold(Some(begin), |follower| async { follower?.next().await }).boxed()
}

impl<S: Stream<Item = Result<Job, Error>> + Unpin> Follower<S> {
    /// The next state, and whoever goes on after it.
    async fn next(mut self) -> Option<(Result<WatchJobResponse, Status>, Option<Self>)> {
        let told = tokio::select! {
            biased;
            () = self.stopping.cancelled() => {
                let ending = Error::new(Kind::ShuttingDown, "the process stops before the job does");
                return Some((Err(status::of(&ending)), None));
            }
            told = timeout(AT_LEAST_EVERY, self.states.next()) => told,
        };
        let job = match (told, &self.last) {
            (Ok(next), _) => match next? {
                Ok(job) => job,
                Err(error) => return Some((Err(status::of(&error)), None)),
            },
            (Err(_elapsed), Some(last)) => last.clone(),
            // It has not been told of even once: whoever tells is slower than that.
            (Err(_elapsed), None) => return Some((Err(status::internal()), None)),
        };
        let is_final = matches!(job.state(), JobState::Succeeded | JobState::Partial | JobState::Failed);
        self.last = Some(job.clone());
        let answer = WatchJobResponse { job: Some(job) };
        Some((Ok(answer), (!is_final).then_some(self)))
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tokio::time::Instant;
    use tokio_stream::wrappers::ReceiverStream;
    use tonic::Code;

    use super::*;

    fn job(state: JobState) -> Job {
        Job { state: state.into(), ..Job::default() }
    }

    fn state(told: Option<Result<WatchJobResponse, Status>>) -> JobState {
        told.expect("not over").expect("no error").job.expect("a job").state()
    }

    #[tokio::test(start_paused = true)]
    async fn each_change_is_told_and_the_final_one_is_the_last() {
        let (tell, states) = mpsc::channel(4);
        let mut following = follow(ReceiverStream::new(states), CancellationToken::new());
        for next in [JobState::Waiting, JobState::Running, JobState::Succeeded, JobState::Running] {
            tell.send(Ok(job(next))).await.expect("listens");
        }
        assert_eq!(state(following.next().await), JobState::Waiting);
        assert_eq!(state(following.next().await), JobState::Running);
        assert_eq!(state(following.next().await), JobState::Succeeded);
        assert!(following.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_change_is_told_again_every_ten_seconds() {
        let (tell, states) = mpsc::channel(4);
        let mut following = follow(ReceiverStream::new(states), CancellationToken::new());
        tell.send(Ok(job(JobState::Waiting))).await.expect("listens");
        let began = Instant::now();
        for _ in 0..3 {
            assert_eq!(state(following.next().await), JobState::Waiting);
        }
        assert_eq!(began.elapsed(), 2 * AT_LEAST_EVERY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_stops_ends_the_stream_and_says_so() {
        let (tell, states) = mpsc::channel(4);
        let stopping = CancellationToken::new();
        let mut following = follow(ReceiverStream::new(states), stopping.clone());
        tell.send(Ok(job(JobState::Waiting))).await.expect("listens");
        assert_eq!(state(following.next().await), JobState::Waiting);
        stopping.cancel();
        let last = following.next().await.expect("a last word").expect_err("not final");
        assert_eq!(last.code(), Code::Unavailable);
        assert!(following.next().await.is_none());
    }
}
