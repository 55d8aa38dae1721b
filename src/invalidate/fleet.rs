//! The longest life of a claim in the fleet, while a rollout changes it.
//!
//! A sweep waits for claims that were taken before it, whoever took them. A sidecar whose own claims live the longest says
//! so at a place in the journal that all of them find, again and again; what nobody says any more is forgotten. It needs no
//! more than that: where the journal cannot be asked, no sweep gets far either.

use std::time::Duration;

use tokio::time::sleep;

use crate::domain::journal::{JobId, Note, Standing};
use crate::invalidate::tools::Tools;

/// What was said is believed for so long: longer than any claim of a sidecar that has gone since can stand.
const BELIEVED: Duration = Duration::from_secs(900);
const SAID_AGAIN: Duration = Duration::from_secs(300);

/// Says what this one's claims live, unless others' live longer, for ever.
pub async fn tell(tools: Tools) {
    loop {
        if let Some(sign) = sign()
            && noted(&tools, &sign).await.is_none_or(|noted| noted <= tools.config.claim_life)
        {
            let text = tools.config.claim_life.as_millis().to_string().into();
            if let Err(error) = tools.hands.journal.note(&sign, Note { text, life: BELIEVED }).await {
                tracing::debug!(%error, "how long claims live here could not be said");
            }
        }
        sleep(SAID_AGAIN.mul_f64(0.5 + tools.means.random.unit() / 2.0)).await;
    }
}

pub async fn longest_claim(tools: &Tools) -> Duration {
    let noted = match sign() {
        Some(sign) => noted(tools, &sign).await,
        None => None,
    };
    noted.map_or(tools.config.claim_life, |noted| noted.max(tools.config.claim_life))
}

async fn noted(tools: &Tools, sign: &JobId) -> Option<Duration> {
    let Ok(Standing { intent: _, note: Some(note) }) = tools.hands.journal.standing(sign).await else { return None };
    let millis = std::str::from_utf8(&note).ok()?.parse().ok()?;
    // Nobody can configure more.
    Some(Duration::from_millis(millis).min(BELIEVED))
}

/// A place in the journal at which no intent can stand.
fn sign() -> Option<JobId> {
    JobId::new("0-0-2")
}
