//! Strings.

use super::{Answer, Command, Effect, Keys, integer, is, syntax};
use crate::redis::keyspace::{Data, Entry, Keyspace};
use crate::redis::wire::Reply;

pub const TABLE: &[Command] = &[
    Command { name: "GET", words: 2, keys: Keys::First, effect: Effect::Reads, run: get },
    Command { name: "MGET", words: 2, keys: Keys::All, effect: Effect::Reads, run: get_many },
    Command { name: "SET", words: 3, keys: Keys::First, effect: Effect::Takes, run: set },
    Command { name: "STRLEN", words: 2, keys: Keys::First, effect: Effect::Reads, run: length },
    Command { name: "INCR", words: 2, keys: Keys::First, effect: Effect::Takes, run: increment },
];

fn get(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    Ok(Reply::bulk_or_nil(keys.text(&words[1])?.cloned()))
}

fn get_many(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    let values = words[1..].iter().map(|key| Reply::bulk_or_nil(keys.text(key).ok().flatten().cloned()));
    Ok(Reply::Array(values.collect()))
}

fn length(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    Ok(Reply::count(keys.text(&words[1])?.map_or(0, Vec::len)))
}

fn increment(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    let old: i64 = keys.text(&words[1])?.map_or(Ok(0), |text| integer(text))?;
    let ends = keys.get(&words[1]).and_then(|entry| entry.ends);
    keys.put(&words[1], Entry { data: Data::Text((old + 1).to_string().into_bytes()), ends });
    Ok(Reply::Int(old + 1))
}

fn set(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    let (mut only_new, mut only_there, mut keeps, mut wants_old, mut ends) = (false, false, false, false, None);
    let mut options = words[3..].iter();
    while let Some(option) = options.next() {
        let mut life = |scale: u64, since: u64| -> Result<Option<u64>, String> {
            let number: i64 = integer(options.next().ok_or_else(syntax)?)?;
            if number <= 0 {
                return Err("ERR invalid expire time in 'set' command".to_owned());
            }
            Ok(Some(since + number as u64 * scale))
        };
        match option {
            option if is(option, "NX") => only_new = true,
            option if is(option, "XX") => only_there = true,
            option if is(option, "KEEPTTL") => keeps = true,
            option if is(option, "GET") => wants_old = true,
            option if is(option, "PX") => ends = life(1, keys.now)?,
            option if is(option, "EX") => ends = life(1_000, keys.now)?,
            option if is(option, "PXAT") => ends = life(1, 0)?,
            _ => return Err(syntax()),
        }
    }
    if (only_new && only_there) || (keeps && ends.is_some()) {
        return Err(syntax());
    }
    let old = if wants_old { Some(Reply::bulk_or_nil(keys.text(&words[1])?.cloned())) } else { None };
    let there = keys.get(&words[1]).map(|entry| entry.ends);
    if (only_new && there.is_some()) || (only_there && there.is_none()) {
        return Ok(old.unwrap_or(Reply::Nil));
    }
    let ends = if keeps { there.flatten() } else { ends };
    keys.put(&words[1], Entry { data: Data::Text(words[2].clone()), ends });
    Ok(old.unwrap_or_else(Reply::ok))
}
