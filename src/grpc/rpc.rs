//! The rpcs by name, and what the door grants each: how large a request, how long, from which share of the places.
//!
//! A closed set: a path that is none of them is `Other`, so that a caller cannot make up metric labels.

use std::time::Duration;

use crate::domain::caller::Act;
use crate::grpc::Limits;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rpc {
    Prehydrate,
    Invalidate,
    GetJob,
    WatchJob,
    WarmUp,
    Stats,
    Explain,
    Lookup,
    Watch,
    Record,
    Health,
    Reflection,
    Other,
}

/// How many messages a caller sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    One,
    Stream,
}

/// How many it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    One,
    Stream,
}

/// Whose places a call may take when all are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Places {
    Common,
    /// Those kept free for calls that must get through: what says that data is wrong, and who asks whether we live.
    Reserved,
}

/// What a caller must be, or have, to call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Whoever reaches us may ask whether we live.
    Nothing,
    /// A caller that is known.
    Caller,
    /// One that has the right to this.
    Right(Act),
}

impl Rpc {
    pub const ALL: [Self; 13] = [
        Self::Prehydrate,
        Self::Invalidate,
        Self::GetJob,
        Self::WatchJob,
        Self::WarmUp,
        Self::Stats,
        Self::Explain,
        Self::Lookup,
        Self::Watch,
        Self::Record,
        Self::Health,
        Self::Reflection,
        Self::Other,
    ];

    pub fn of(path: &str) -> Self {
        let mut parts = path.split('/').skip(1);
        match (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()) {
            ("hydrant.v1.CacheControlService", "Prehydrate") => Self::Prehydrate,
            ("hydrant.v1.CacheControlService", "Invalidate") => Self::Invalidate,
            ("hydrant.v1.CacheControlService", "GetJob") => Self::GetJob,
            ("hydrant.v1.CacheControlService", "WatchJob") => Self::WatchJob,
            ("hydrant.v1.CacheControlService", "WarmUp") => Self::WarmUp,
            ("hydrant.v1.CacheControlService", "Stats") => Self::Stats,
            ("hydrant.v1.CacheControlService", "Explain") => Self::Explain,
            ("hydrant.v1.CacheReadService", "Lookup") => Self::Lookup,
            ("hydrant.v1.CacheReadService", "Watch") => Self::Watch,
            ("hydrant.v1.CacheReadService", "Record") => Self::Record,
            ("grpc.health.v1.Health", _) => Self::Health,
            ("grpc.reflection.v1.ServerReflection" | "grpc.reflection.v1alpha.ServerReflection", _) => Self::Reflection,
            _ => Self::Other,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Prehydrate => "Prehydrate",
            Self::Invalidate => "Invalidate",
            Self::GetJob => "GetJob",
            Self::WatchJob => "WatchJob",
            Self::WarmUp => "WarmUp",
            Self::Stats => "Stats",
            Self::Explain => "Explain",
            Self::Lookup => "Lookup",
            Self::Watch => "Watch",
            Self::Record => "Record",
            Self::Health => "Health",
            Self::Reflection => "Reflection",
            Self::Other => "other",
        }
    }

    /// The deadline of a call that names none, as the contract's comments promise; none for streams.
    pub const fn deadline(self, limits: &Limits) -> Option<Duration> {
        match self {
            Self::Prehydrate | Self::Lookup => Some(limits.deadline),
            Self::Invalidate => Some(Duration::from_millis(100)),
            Self::Stats => Some(Duration::from_millis(50)),
            Self::GetJob | Self::Explain | Self::Other => Some(Duration::from_secs(1)),
            Self::WatchJob | Self::WarmUp | Self::Watch | Self::Record | Self::Health | Self::Reflection => None,
        }
    }

    pub const fn needs(self) -> Needs {
        match self {
            Self::Prehydrate => Needs::Right(Act::Prehydrate),
            Self::Invalidate => Needs::Right(Act::Invalidate),
            Self::GetJob | Self::WatchJob => Needs::Right(Act::Jobs),
            Self::WarmUp => Needs::Right(Act::WarmUp),
            Self::Stats => Needs::Right(Act::Stats),
            Self::Explain => Needs::Right(Act::Explain),
            Self::Lookup => Needs::Right(Act::Lookup),
            Self::Watch => Needs::Right(Act::Watch),
            Self::Record => Needs::Right(Act::Record),
            Self::Health => Needs::Nothing,
            Self::Reflection | Self::Other => Needs::Caller,
        }
    }

    /// The bytes of one request message.
    pub const fn message(self, limits: &Limits) -> usize {
        match self {
            Self::Invalidate => limits.value_message,
            _ => limits.message,
        }
    }

    pub const fn request(self) -> Request {
        match self {
            Self::Record | Self::Reflection => Request::Stream,
            _ => Request::One,
        }
    }

    pub const fn answer(self) -> Answer {
        match self {
            Self::WatchJob | Self::WarmUp | Self::Watch | Self::Health | Self::Reflection => Answer::Stream,
            _ => Answer::One,
        }
    }

    pub const fn places(self) -> Places {
        match self {
            Self::Invalidate | Self::Health => Places::Reserved,
            _ => Places::Common,
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;
    use crate::grpc::pb;

    #[test]
    fn every_rpc_of_the_contract_is_known_with_its_streams() {
        let set = FileDescriptorSet::decode(pb::DESCRIPTORS).expect("the compiled contract");
        let mut known = 0;
        for file in set.file.iter().filter(|file| file.package() == "hydrant.v1") {
            for service in &file.service {
                for method in &service.method {
                    let rpc = Rpc::of(&format!("/hydrant.v1.{}/{}", service.name(), method.name()));
                    assert_eq!(rpc.name(), method.name());
                    assert_eq!(rpc.request() == Request::Stream, method.client_streaming(), "{}", method.name());
                    assert_eq!(rpc.answer() == Answer::Stream, method.server_streaming(), "{}", method.name());
                    known += 1;
                }
            }
        }
        assert_eq!(known, 10);
    }

    #[test]
    fn what_nobody_declared_shares_one_name() {
        for path in ["", "/", "/hydrant.v1.CacheControlService/Drop", "/x.Y/Prehydrate", "Prehydrate"] {
            assert_eq!(Rpc::of(path), Rpc::Other, "{path}");
        }
    }
}
