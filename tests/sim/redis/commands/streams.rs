//! Streams, without consumer groups: the journal has none.

use super::{Answer, Command, Effect, Keys, integer, is, syntax};
use crate::redis::keyspace::{Data, Keyspace, Refused, Stream, WRONG_TYPE};
use crate::redis::wire::Reply;

pub const TABLE: &[Command] = &[
    Command { name: "XADD", words: 5, keys: Keys::First, effect: Effect::Takes, run: add },
    Command { name: "XLEN", words: 2, keys: Keys::First, effect: Effect::Reads, run: length },
    Command { name: "XRANGE", words: 4, keys: Keys::First, effect: Effect::Reads, run: range },
    Command { name: "XDEL", words: 3, keys: Keys::First, effect: Effect::Frees, run: remove },
];

type Id = (u64, u64);

fn stream(data: &mut Data) -> Result<&mut Stream, Refused> {
    match data {
        Data::Stream(stream) => Ok(stream),
        _ => Err(WRONG_TYPE.to_owned()),
    }
}

fn id(word: &[u8], default_low: u64) -> Result<Id, Refused> {
    let bad = || "ERR Invalid stream ID specified as stream command argument".to_owned();
    let text = std::str::from_utf8(word).map_err(|_| bad())?;
    match (text, text.split_once('-')) {
        ("-", _) => Ok((0, 0)),
        ("+", _) => Ok((u64::MAX, u64::MAX)),
        (_, Some((high, low))) => Ok((high.parse().map_err(|_| bad())?, low.parse().map_err(|_| bad())?)),
        (high, None) => Ok((high.parse().map_err(|_| bad())?, default_low)),
    }
}

fn shown(id: Id) -> Reply {
    Reply::text(format!("{}-{}", id.0, id.1))
}

fn add(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    let now = keys.now;
    let mut at = 2;
    let (mut creates, mut most) = (true, None);
    loop {
        match words.get(at) {
            Some(word) if is(word, "NOMKSTREAM") => creates = false,
            Some(word) if is(word, "MAXLEN") => {
                at += 1;
                if words.get(at).is_some_and(|word| matches!(word.as_slice(), b"~" | b"=")) {
                    at += 1;
                }
                most = Some(integer::<usize>(words.get(at).ok_or_else(syntax)?)?);
            }
            _ => break,
        }
        at += 1;
    }
    let asked = words.get(at).ok_or_else(syntax)?.clone();
    let fields = words[at + 1..].to_vec();
    if fields.is_empty() || !fields.len().is_multiple_of(2) {
        return Err("ERR wrong number of arguments for 'xadd' command".to_owned());
    }
    if asked != b"*" && id(&asked, 0)? == (0, 0) {
        return Err("ERR The ID specified in XADD must be greater than 0-0".to_owned());
    }
    let new = creates.then(|| Data::Stream(Stream::default()));
    let added = keys.edit(&words[1], new, |data| {
        let stream = stream(data)?;
        let new = match asked.as_slice() {
            b"*" => stream.last.max((now, 0)),
            asked => id(asked, 0)?,
        };
        let new = if asked == b"*" && new == stream.last { (new.0, new.1 + 1) } else { new };
        if new <= stream.last {
            return Err("ERR The ID specified in XADD is equal or smaller than the target stream top item".to_owned());
        }
        stream.entries.insert(new, fields);
        stream.last = new;
        while most.is_some_and(|most| stream.entries.len() > most) {
            stream.entries.pop_first();
        }
        Ok((shown(new), true))
    })?;
    Ok(added.unwrap_or(Reply::Nil))
}

fn length(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    let length = keys.edit(&words[1], None, |data| Ok((stream(data)?.entries.len(), false)))?;
    Ok(Reply::count(length.unwrap_or(0)))
}

fn range(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    let (from, to) = (bound(&words[2], true)?, bound(&words[3], false)?);
    let count = match &words[4..] {
        [] => usize::MAX,
        [option, count] if is(option, "COUNT") => integer(count)?,
        _ => return Err(syntax()),
    };
    let found = keys.edit(&words[1], None, |data| {
        let entries = stream(data)?.entries.iter().filter(|(id, _)| (from..=to).contains(*id)).take(count);
        let shown = entries.map(|(id, fields)| {
            Reply::Array(vec![shown(*id), Reply::Array(fields.iter().cloned().map(Reply::Bulk).collect())])
        });
        Ok((shown.collect(), false))
    })?;
    Ok(Reply::Array(found.unwrap_or_default()))
}

/// `(` leaves the bound itself out.
fn bound(word: &[u8], is_lower: bool) -> Result<Id, Refused> {
    let default_low = if is_lower { 0 } else { u64::MAX };
    match word.strip_prefix(b"(") {
        None => id(word, default_low),
        Some(word) => {
            let (high, low) = id(word, default_low)?;
            Ok(match (is_lower, low) {
                (true, low) => (high, low.saturating_add(1)),
                (false, 0) => (high.saturating_sub(1), u64::MAX),
                (false, low) => (high, low - 1),
            })
        }
    }
}

fn remove(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    let ids = words[2..].iter().map(|word| id(word, 0)).collect::<Result<Vec<_>, _>>()?;
    let removed = keys.edit(&words[1], None, |data| {
        let stream = stream(data)?;
        let removed = ids.iter().filter(|id| stream.entries.remove(id).is_some()).count();
        Ok((removed, removed > 0))
    })?;
    Ok(Reply::count(removed.unwrap_or(0)))
}
