//! The user a request is about, and which of its facts a key may be made from.

use std::fmt;

use crate::domain::secret::Secret;
use crate::domain::template::Params;

/// Longest user id: it becomes part of keys, which end at 1,024 bytes.
pub const MAX_FACT_BYTES: usize = 256;
/// Longest attribute: most choose a cohort or stand in a source's path; one in a key still meets the key's own limit.
pub const MAX_ATTRIBUTE_BYTES: usize = 1_024;
/// Longest session token; a backend's header limit (8 KiB in most servers) ends it anyway.
pub const MAX_SESSION_BYTES: usize = 8_192;
/// Tenants stand in keys and channel names of all their users.
pub const MAX_TENANT_BYTES: usize = 128;
/// Attributes name a plan, a region, a role: a handful.
pub const MAX_ATTRIBUTES: usize = 32;

#[derive(Clone, PartialEq, Eq)]
pub struct Subject {
    user: String,
    session: Option<Secret>,
    tenant: Option<String>,
    attributes: Params,
}

/// One fact of a subject, as a parameter can be bound to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    User,
    Session,
    Tenant,
    Attribute(String),
}

/// What is wrong with a subject, by the field that holds it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    #[error("is empty")]
    Empty(&'static str),
    #[error("is longer than {1} bytes")]
    TooLong(&'static str, usize),
    #[error("has more than {MAX_ATTRIBUTES} entries")]
    TooManyAttributes,
}

impl SubjectError {
    pub fn field(&self) -> &'static str {
        match self {
            Self::Empty(field) | Self::TooLong(field, _) => field,
            Self::TooManyAttributes => "attributes",
        }
    }
}

impl Subject {
    pub fn new(
        user: String,
        session: Option<Secret>,
        tenant: Option<String>,
        attributes: Params,
    ) -> Result<Self, SubjectError> {
        check("user_id", &user, MAX_FACT_BYTES)?;
        if let Some(session) = &session {
            check("session_token", session.expose(), MAX_SESSION_BYTES)?;
        }
        if let Some(tenant) = &tenant {
            check("tenant", tenant, MAX_TENANT_BYTES)?;
        }
        if attributes.len() > MAX_ATTRIBUTES {
            return Err(SubjectError::TooManyAttributes);
        }
        for (_, value) in attributes.iter() {
            check("attributes", value, MAX_ATTRIBUTE_BYTES)?;
        }
        Ok(Self { user, session, tenant, attributes })
    }

    pub fn user(&self) -> &str {
        &self.user
    }

    pub fn session(&self) -> Option<&Secret> {
        self.session.as_ref()
    }

    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    pub fn fact(&self, fact: &Fact) -> Option<&str> {
        match fact {
            Fact::User => Some(&self.user),
            Fact::Session => self.session.as_ref().map(Secret::expose),
            Fact::Tenant => self.tenant.as_deref(),
            Fact::Attribute(name) => self.attributes.get(name),
        }
    }
}

/// A subject is personal: it says only which facts it has.
impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("session", &self.session.is_some())
            .field("tenant", &self.tenant.is_some())
            .field("attributes", &self.attributes)
            .finish_non_exhaustive()
    }
}

fn check(field: &'static str, value: &str, longest: usize) -> Result<(), SubjectError> {
    match value.len() {
        0 => Err(SubjectError::Empty(field)),
        n if n > longest => Err(SubjectError::TooLong(field, longest)),
        _ => Ok(()),
    }
}
