//! Reports of reads, to the flow's words. A wrong one is refused alone; the others of its batch are taken.

use prost_types::Timestamp;

use crate::domain::error::Kind;
use crate::domain::pseudonym::Pseudonym;
use crate::grpc::{pb, status};
use crate::prehydrate::access::{Access, Accesses, Fate, Refused, What};
use crate::prehydrate::request::{Found, MemberRef};

/// The limits of `record.proto` and `member.proto`.
const MAX_ACCESSES: usize = 256;
const MAX_REFUSALS: usize = 16;
const MAX_COUNT: u32 = 1_000_000;
const MAX_KEY_BYTES: usize = 1_024;
const MAX_USER_BYTES: usize = 256;
const MAX_TENANT_BYTES: usize = 128;
const MAX_PARAMS: usize = 16;
const MAX_NAME_BYTES: usize = 64;
const MAX_VALUE_BYTES: usize = 512;

/// What became of a stream so far.
#[derive(Default)]
pub struct Tally {
    messages: u64,
    response: pb::RecordResponse,
}

impl Tally {
    /// `is_let` says whether the caller may report a read of this.
    pub fn take(
        &mut self,
        accesses: &Accesses,
        message: pb::RecordRequest,
        is_let: impl Fn(&pb::Access) -> Result<(), Refused>,
    ) {
        let count = message.accesses.len();
        if count == 0 || count > MAX_ACCESSES {
            let problem = format!("has {count} entries; 1 to {MAX_ACCESSES} are taken");
            self.refuse("accesses".to_owned(), Kind::InvalidField, problem, count.max(1));
        } else {
            for (at, access) in message.accesses.into_iter().enumerate() {
                match is_let(&access)
                    .and_then(|()| access_in(accesses, access))
                    .and_then(|access| accesses.tell(access))
                {
                    Ok(Fate::Taken) => self.response.accepted += 1,
                    Ok(Fate::Dropped) => self.response.dropped += 1,
                    Err(Refused { path, kind, problem }) => {
                        self.refuse(format!("accesses[{at}].{path}"), kind, problem, 1);
                    }
                }
            }
        }
        self.messages += 1;
    }

    pub fn into_response(self) -> pb::RecordResponse {
        self.response
    }

    fn refuse(&mut self, field: String, kind: Kind, description: String, how_many: usize) {
        self.response.refused += how_many as u64;
        if self.response.refusals.len() < MAX_REFUSALS {
            let reason = status::reason_of(kind).to_owned();
            let message_index = self.messages;
            self.response.refusals.push(pb::RecordRefusal { message_index, field, reason, description });
        }
    }
}

fn access_in(accesses: &Accesses, access: pb::Access) -> Result<Access, Refused> {
    let pb::Access { subject, tenant, what, result, latency, time, count } = access;
    within("tenant", &tenant, 0, MAX_TENANT_BYTES)?;
    let tenant = (!tenant.is_empty()).then_some(tenant.as_str());
    let subject = match subject {
        None => None,
        Some(pb::access::Subject::UserId(user)) => {
            within("user_id", &user, 1, MAX_USER_BYTES)?;
            Some(accesses.subject(tenant, &user))
        }
        Some(pb::access::Subject::SubjectHash(hash)) => {
            let problem = "is not a subject's hash: 32 lower-case hexadecimal digits";
            Some(Pseudonym::parse(&hash).ok_or_else(|| wrong("subject_hash", problem))?)
        }
    };
    let found = match pb::AccessResult::try_from(result) {
        Ok(pb::AccessResult::Unspecified) => Found::Untold,
        Ok(pb::AccessResult::Hit) => Found::Hit,
        Ok(pb::AccessResult::Miss) => Found::Miss,
        Ok(pb::AccessResult::Error) => Found::Error,
        Err(_) => return Err(wrong("result", "is not a result of this version")),
    };
    if latency.is_some_and(|latency| !(0..=600).contains(&latency.seconds) || latency.nanos < 0) {
        return Err(wrong("latency", "is not between nothing and 10 minutes"));
    }
    if count > MAX_COUNT {
        return Err(wrong("count", &format!("is more than {MAX_COUNT}")));
    }
    let at = time.and_then(|Timestamp { seconds, nanos: _ }| u64::try_from(seconds).ok());
    let tenant = tenant.map(str::to_owned);
    Ok(Access { subject, tenant, what: what_in(what)?, found, at, count: count.max(1) })
}

fn what_in(what: Option<pb::access::What>) -> Result<What, Refused> {
    match what {
        None => Err(wrong("what", "is not set")),
        Some(pb::access::What::Key(key)) => {
            within("key", &key, 1, MAX_KEY_BYTES)?;
            Ok(What::Key(key))
        }
        Some(pb::access::What::Member(pb::Member { entity, alias, params })) => {
            within("member.entity", &entity, 1, MAX_NAME_BYTES)?;
            within("member.alias", &alias, 0, MAX_NAME_BYTES)?;
            let fits = |(name, value): (&String, &String)| {
                (1..=MAX_NAME_BYTES).contains(&name.len()) && (1..=MAX_VALUE_BYTES).contains(&value.len())
            };
            if params.len() > MAX_PARAMS || !params.iter().all(fits) {
                let problem = format!(
                    "has more than {MAX_PARAMS} entries, or one that is empty or too long: names have \
                     {MAX_NAME_BYTES} bytes at most, values {MAX_VALUE_BYTES}"
                );
                return Err(wrong("member.params", &problem));
            }
            let member = MemberRef { entity, params: params.into_iter().collect() };
            Ok(if alias.is_empty() { What::Member(member) } else { What::Alias { member, alias } })
        }
    }
}

fn within(path: &'static str, text: &str, shortest: usize, longest: usize) -> Result<(), Refused> {
    if (shortest..=longest).contains(&text.len()) {
        return Ok(());
    }
    Err(wrong(path, &format!("is not {shortest} to {longest} bytes long")))
}

fn wrong(path: &'static str, problem: &str) -> Refused {
    Refused { path, kind: Kind::InvalidField, problem: problem.to_owned() }
}
