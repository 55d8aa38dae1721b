//! A placeholder: see the branch that brings scans.

use crate::domain::removal::{Primary, ScanPage, ScanStep};
use crate::domain::store::{Refusal, StoreError};
use crate::remote::store::Remote;

pub fn primaries(_remote: &Remote) -> Vec<Primary> {
    Vec::new()
}

pub async fn scan(_remote: &Remote, _step: ScanStep<'_>) -> Result<ScanPage, StoreError> {
    Err(StoreError::Refused(Refusal::Other))
}
