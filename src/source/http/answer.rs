//! What an answer means: found, absent, or why not. A body is read up to its limit and no further.

use bytes::BytesMut;
use reqwest::header::CONTENT_ENCODING;
use reqwest::{Error, Response};

use crate::domain::budget::Meter;
use crate::domain::source::{FetchError, Fetched};

/// What is left of a body nobody wants may be read, so that its connection can be used again; more is hung up on.
const REST: u64 = 16 * 1024;

pub async fn read(response: Response, limit: usize, meter: &Meter) -> Result<Fetched, FetchError> {
    let meaning = match response.status().as_u16() {
        200 | 203 => return body(response, limit, meter).await,
        204 | 404 | 410 => Ok(Fetched::Absent),
        300..=399 => Err(FetchError::Redirect),
        401 | 403 => Err(FetchError::Denied),
        status @ 400..=599 => Err(FetchError::Status(status)),
        // Accepted, partial, made up: whatever it is, it is not the member.
        _ => Err(FetchError::Broken),
    };
    drain(response).await;
    meaning
}

/// Why no answer came.
pub fn transport_error(error: &Error) -> FetchError {
    if error.is_connect() {
        FetchError::Unreachable
    } else if error.is_timeout() {
        FetchError::Timeout
    } else {
        FetchError::Broken
    }
}

async fn body(mut response: Response, limit: usize, meter: &Meter) -> Result<Fetched, FetchError> {
    // None was asked for; a packed answer could also unpack to any size.
    if response.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(FetchError::Broken);
    }
    let announced = response.content_length().unwrap_or(0);
    let announced = usize::try_from(announced).ok().filter(|length| *length <= limit).ok_or(FetchError::TooLarge)?;
    if !meter.grow(announced) {
        return Err(FetchError::Shed);
    }
    let mut body = BytesMut::with_capacity(announced);
    while let Some(chunk) = response.chunk().await.map_err(|_| FetchError::Broken)? {
        let length = body.len() + chunk.len();
        if length > limit {
            return Err(FetchError::TooLarge);
        }
        // What was announced has been taken from the budget already.
        let unannounced = length.saturating_sub(announced.max(body.len()));
        if !meter.grow(unannounced) {
            return Err(FetchError::Shed);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Fetched::Found(body.freeze()))
}

async fn drain(mut response: Response) {
    if response.content_length().is_some_and(|length| length <= REST) {
        while let Ok(Some(_)) = response.chunk().await {}
    }
}
