//! Keys of any type: whether they are there, how long, and going through all of them.

use super::{Answer, Command, Effect, Keys, cursor_reply, integer, is, scan_options, scan_page, syntax};
use crate::redis::keyspace::Keyspace;
use crate::redis::wire::Reply;

pub const TABLE: &[Command] = &[
    Command { name: "DEL", words: 2, keys: Keys::All, effect: Effect::Frees, run: remove },
    Command { name: "UNLINK", words: 2, keys: Keys::All, effect: Effect::Frees, run: remove },
    Command { name: "EXISTS", words: 2, keys: Keys::All, effect: Effect::Reads, run: exists },
    Command { name: "TYPE", words: 2, keys: Keys::First, effect: Effect::Reads, run: type_of },
    Command { name: "PTTL", words: 2, keys: Keys::First, effect: Effect::Reads, run: left },
    Command { name: "PEXPIRE", words: 3, keys: Keys::First, effect: Effect::Frees, run: expire },
    Command { name: "PEXPIREAT", words: 3, keys: Keys::First, effect: Effect::Frees, run: expire_at },
    Command { name: "PERSIST", words: 2, keys: Keys::First, effect: Effect::Frees, run: persist },
    Command { name: "SCAN", words: 2, keys: Keys::None, effect: Effect::Reads, run: scan },
    Command { name: "DBSIZE", words: 1, keys: Keys::None, effect: Effect::Reads, run: size },
    Command { name: "FLUSHALL", words: 1, keys: Keys::None, effect: Effect::Frees, run: flush },
];

fn remove(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    Ok(Reply::count(words[1..].iter().filter_map(|key| keys.remove(key)).count()))
}

fn exists(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    Ok(Reply::count(words[1..].iter().filter(|key| keys.get(key).is_some()).count()))
}

fn type_of(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    Ok(Reply::Status(keys.get(&words[1]).map_or("none", |entry| entry.data.type_name()).to_owned()))
}

fn left(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    let now = keys.now;
    Ok(Reply::Int(match keys.get(&words[1]).map(|entry| entry.ends) {
        None => -2,
        Some(None) => -1,
        Some(Some(ends)) => (ends - now) as i64,
    }))
}

fn expire(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    let life: i64 = integer(&words[2])?;
    expire_then(keys, words, (keys.now as i64).saturating_add(life))
}

fn expire_at(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    let ends: i64 = integer(&words[2])?;
    expire_then(keys, words, ends)
}

fn expire_then(keys: &mut Keyspace, words: &[Vec<u8>], ends: i64) -> Answer {
    let Some(old) = keys.get(&words[1]).map(|entry| entry.ends) else { return Ok(Reply::Int(0)) };
    // A key without an end counts as one that never ends.
    let old = old.map_or(i64::MAX, |old| old as i64);
    let allowed = match words.get(3) {
        None => true,
        Some(option) if is(option, "NX") => old == i64::MAX,
        Some(option) if is(option, "XX") => old != i64::MAX,
        Some(option) if is(option, "GT") => ends > old && old != i64::MAX,
        Some(option) if is(option, "LT") => ends < old,
        Some(option) => return Err(format!("ERR Unsupported option {}", String::from_utf8_lossy(option))),
    };
    if !allowed {
        return Ok(Reply::Int(0));
    }
    if ends <= keys.now as i64 {
        keys.remove(&words[1]);
    } else {
        keys.set_end(&words[1], Some(ends as u64));
    }
    Ok(Reply::Int(1))
}

fn persist(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    let had_end = keys.get(&words[1]).is_some_and(|entry| entry.ends.is_some());
    if had_end {
        keys.set_end(&words[1], None);
    }
    Ok(Reply::Int(i64::from(had_end)))
}

fn scan(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    let cursor = integer(&words[1]).map_err(|_| "ERR invalid cursor".to_owned())?;
    let (pattern, count) = scan_options(words, 2)?;
    if count == 0 {
        return Err(syntax());
    }
    let count = count.min(keys.page.unwrap_or(count));
    let all = keys.keys().map(|(key, _)| vec![key.clone()]);
    let (next, page) = scan_page(all, cursor, count, &pattern);
    Ok(cursor_reply(next, page.into_iter().map(|mut item| Reply::Bulk(item.swap_remove(0))).collect()))
}

fn size(keys: &mut Keyspace, _: &[Vec<u8>]) -> Answer {
    Ok(Reply::count(keys.keys().count()))
}

fn flush(keys: &mut Keyspace, _: &[Vec<u8>]) -> Answer {
    keys.clear();
    Ok(Reply::ok())
}
