//! Letting a value live on for a while after it was invalidated.
//!
//! Command by command and in the order of a removal: the marks, the claim, the value's life, the index. A fill whose claim
//! went has not registered anything after that, and one that was quicker stands in the index that is read last.

use std::time::Duration;

use redis::Value;

use crate::domain::key::{Key, Sibling};
use crate::domain::removal::{Erasure, Gone, Softened};
use crate::domain::store::{Refusal, StoreError};
use crate::remote::erase::{aliases, count, index};
use crate::remote::request::{Decimal, Op, Request};
use crate::remote::store::Remote;
use crate::remote::{lane, mark};

impl Remote {
    pub async fn soften_by_steps(&self, erasure: &Erasure, grace: Duration) -> Result<Softened, StoreError> {
        let Erasure { key, has_index, mark } = erasure;
        let mut carriers = Vec::new();
        let mut send = async |command: Request| {
            let (reply, carrier) = self.follow(Op::Soften, key.slot(), &command).await?;
            carriers.push(carrier);
            Ok::<Value, StoreError>(reply)
        };
        // As with a removal: a mark that cannot be left is told in the end.
        let mut marked = Ok(());
        for command in mark.iter().flat_map(|mark| mark::commands(key, mark)) {
            marked = marked.and(send(command).await.map(drop));
        }
        let fenced = count(&send(Request::one(&[b"DEL", &key.sibling(Sibling::Guard)])).await?)? > 0;
        let left = count(&send(Request::one(&[b"PTTL", key.as_bytes()])).await?)?;
        let held = match shortened(key, left, grace)? {
            Shortened::Nothing => false,
            Shortened::Already => true,
            // A fill that writes in between gets its value shortened, which does no harm.
            Shortened::By(command) => send(command).await? == Value::Int(1),
        };
        let aliases = if *has_index { aliases(send(index(key)).await?)? } else { Vec::new() };
        marked?;
        Ok(Softened { gone: Gone { held, fenced, aliases }, confirmation: lane::confirmation(carriers) })
    }
}

enum Shortened {
    /// No value.
    Nothing,
    /// Its life is short enough.
    Already,
    By(Request),
}

/// `left` as `PTTL` answers it.
fn shortened(key: &Key, left: i64, grace: Duration) -> Result<Shortened, StoreError> {
    match left {
        -2 => Ok(Shortened::Nothing),
        -1.. if u64::try_from(left).is_ok_and(|left| Duration::from_millis(left) <= grace) => Ok(Shortened::Already),
        -1.. => Ok(Shortened::By(Request::one(&[b"PEXPIRE", key.as_bytes(), Decimal::millis(grace).as_bytes()]))),
        _ => Err(StoreError::Refused(Refusal::Other)),
    }
}
