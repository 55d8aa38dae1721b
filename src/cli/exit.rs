//! How the process ends, as numbers that scripts can rely on: `docs/exit-codes.md`.

use std::process::ExitCode;

use crate::grpc::client::job::Job;
use crate::grpc::client::{Answer, CallError, Fault};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Ok,
    /// It ran, and the answer is no.
    No,
    /// It ran, and some of it worked.
    Partial,
    /// The command line, the configuration or the request is wrong.
    Usage,
    /// What was called cannot be reached, or did not answer in time.
    Unreachable,
    Defect,
    /// The system refused: a port is taken, a file cannot be read.
    System,
    Busy,
    NotAllowed,
    /// A second signal, by its number, cut a drain short.
    Cut(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Ok => 0,
            Exit::No => 1,
            Exit::Partial => 2,
            Exit::Usage => 64,
            Exit::Unreachable => 69,
            Exit::Defect => 70,
            Exit::System => 71,
            Exit::Busy => 75,
            Exit::NotAllowed => 77,
            // As a shell reports a process that a signal ended.
            Exit::Cut(signal) => 128 + signal,
        })
    }
}

impl Exit {
    pub fn of_answer(answer: &Answer) -> Self {
        match answer.status.as_str() {
            "PARTIAL" => Self::Partial,
            "SHED" => Self::Busy,
            "DISABLED" => Self::No,
            "COALESCED" if !answer.is_settled() => Self::Partial,
            _ => Self::Ok,
        }
    }

    /// What a job's state says: one that is not at its end has not failed either.
    pub fn of_job(job: &Job) -> Self {
        match job.state.as_str() {
            "SUCCEEDED" => Self::Ok,
            "FAILED" => Self::No,
            _ => Self::Partial,
        }
    }

    pub fn of_error(error: &CallError) -> Self {
        match error.fault() {
            Fault::Caller => Self::Usage,
            Fault::Unreachable => Self::Unreachable,
            Fault::Busy => Self::Busy,
            Fault::NotAllowed => Self::NotAllowed,
            Fault::No => Self::No,
            Fault::Defect => Self::Defect,
        }
    }
}
