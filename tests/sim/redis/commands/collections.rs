//! Hashes and sorted sets.

use std::collections::BTreeMap;

use super::{Answer, Command, Effect, Keys, cursor_reply, float, integer, is, scan_options, scan_page, shown, syntax};
use crate::redis::keyspace::{Data, Keyspace, Refused, WRONG_TYPE};
use crate::redis::wire::Reply;

pub const TABLE: &[Command] = &[
    Command { name: "HSET", words: 4, keys: Keys::First, effect: Effect::Takes, run: hash_set },
    Command { name: "HGET", words: 3, keys: Keys::First, effect: Effect::Reads, run: hash_get },
    Command { name: "HMGET", words: 3, keys: Keys::First, effect: Effect::Reads, run: hash_get_many },
    Command { name: "HGETALL", words: 2, keys: Keys::First, effect: Effect::Reads, run: hash_all },
    Command { name: "HDEL", words: 3, keys: Keys::First, effect: Effect::Frees, run: hash_remove },
    Command { name: "HLEN", words: 2, keys: Keys::First, effect: Effect::Reads, run: hash_size },
    Command { name: "HEXISTS", words: 3, keys: Keys::First, effect: Effect::Reads, run: hash_has },
    Command { name: "ZADD", words: 4, keys: Keys::First, effect: Effect::Takes, run: add },
    Command { name: "ZREM", words: 3, keys: Keys::First, effect: Effect::Frees, run: remove },
    Command { name: "ZCARD", words: 2, keys: Keys::First, effect: Effect::Reads, run: size },
    Command { name: "ZSCORE", words: 3, keys: Keys::First, effect: Effect::Reads, run: score },
    Command { name: "ZRANGE", words: 4, keys: Keys::First, effect: Effect::Reads, run: range },
    Command { name: "ZRANGEBYSCORE", words: 4, keys: Keys::First, effect: Effect::Reads, run: range_by_score },
    Command { name: "ZCOUNT", words: 4, keys: Keys::First, effect: Effect::Reads, run: count },
    Command { name: "ZREMRANGEBYSCORE", words: 4, keys: Keys::First, effect: Effect::Frees, run: remove_by_score },
    Command { name: "ZSCAN", words: 3, keys: Keys::First, effect: Effect::Reads, run: scan },
];

type Fields = Vec<(Vec<u8>, Vec<u8>)>;
type Members = BTreeMap<Vec<u8>, f64>;

fn fields(data: &mut Data) -> Result<&mut Fields, Refused> {
    match data {
        Data::Hash(fields) => Ok(fields),
        _ => Err(WRONG_TYPE.to_owned()),
    }
}

fn field(fields: &Fields, name: &[u8]) -> Option<Vec<u8>> {
    fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone())
}

fn hash_set(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    if !words.len().is_multiple_of(2) {
        return Err("ERR wrong number of arguments for 'hset' command".to_owned());
    }
    let added = keys.edit(&words[1], Some(Data::Hash(Vec::new())), |data| {
        let fields = fields(data)?;
        let before = fields.len();
        for pair in words[2..].chunks(2) {
            match fields.iter_mut().find(|(field, _)| *field == pair[0]) {
                Some((_, value)) => *value = pair[1].clone(),
                None => fields.push((pair[0].clone(), pair[1].clone())),
            }
        }
        Ok((fields.len() - before, true))
    })?;
    Ok(Reply::count(added.unwrap_or(0)))
}

fn hash_get(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    let value = keys.edit(&words[1], None, |data| Ok((field(fields(data)?, &words[2]), false)))?;
    Ok(Reply::bulk_or_nil(value.flatten()))
}

fn hash_get_many(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    let found = keys.edit(&words[1], None, |data| Ok((fields(data)?.clone(), false)))?.unwrap_or_default();
    Ok(Reply::Array(words[2..].iter().map(|name| Reply::bulk_or_nil(field(&found, name))).collect()))
}

fn hash_all(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    let found = keys.edit(&words[1], None, |data| Ok((fields(data)?.clone(), false)))?.unwrap_or_default();
    Ok(Reply::Map(found.into_iter().map(|(field, value)| (Reply::Bulk(field), Reply::Bulk(value))).collect()))
}

fn hash_remove(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    let removed = keys.edit(&words[1], None, |data| {
        let fields = fields(data)?;
        let before = fields.len();
        fields.retain(|(field, _)| !words[2..].contains(field));
        Ok((before - fields.len(), before != fields.len()))
    })?;
    Ok(Reply::count(removed.unwrap_or(0)))
}

fn hash_size(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    Ok(Reply::count(keys.edit(&words[1], None, |data| Ok((fields(data)?.len(), false)))?.unwrap_or(0)))
}

fn hash_has(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    let there = keys.edit(&words[1], None, |data| Ok((field(fields(data)?, &words[2]).is_some(), false)))?;
    Ok(Reply::Int(i64::from(there.unwrap_or(false))))
}

fn members(data: &mut Data) -> Result<&mut Members, Refused> {
    match data {
        Data::Scored(members) => Ok(members),
        _ => Err(WRONG_TYPE.to_owned()),
    }
}

/// By score, then by name.
fn ordered(keys: &mut Keyspace, key: &[u8]) -> Result<Vec<(Vec<u8>, f64)>, Refused> {
    let found = keys.edit(key, None, |data| Ok((members(data)?.clone(), false)))?.unwrap_or_default();
    let mut ordered: Vec<(Vec<u8>, f64)> = found.into_iter().collect();
    ordered.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
    Ok(ordered)
}

fn add(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    let (mut only_new, mut only_there, mut greater, mut less, mut counts_changes) = (false, false, false, false, false);
    let mut at = 2;
    while let Some(word) = words.get(at) {
        match word {
            word if is(word, "NX") => only_new = true,
            word if is(word, "XX") => only_there = true,
            word if is(word, "GT") => greater = true,
            word if is(word, "LT") => less = true,
            word if is(word, "CH") => counts_changes = true,
            _ => break,
        }
        at += 1;
    }
    let pairs = &words[at..];
    if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
        return Err(syntax());
    }
    if only_new && only_there {
        return Err("ERR XX and NX options at the same time are not compatible".to_owned());
    }
    if [only_new, greater, less].into_iter().filter(|set| *set).count() > 1 {
        return Err("ERR GT, LT, and/or NX options at the same time are not compatible".to_owned());
    }
    let pairs = pairs.chunks(2).map(|pair| Ok((float(&pair[0])?, &pair[1]))).collect::<Result<Vec<_>, Refused>>()?;
    let new = (!only_there).then(|| Data::Scored(Members::new()));
    let answer = keys.edit(&words[1], new, |data| {
        let members = members(data)?;
        let (mut added, mut changed) = (0, 0);
        for (score, member) in pairs {
            match members.get(member).copied() {
                None if only_there => {}
                None => {
                    members.insert(member.clone(), score);
                    added += 1;
                }
                Some(old) if only_new || (greater && score <= old) || (less && score >= old) || score == old => {}
                Some(_) => {
                    members.insert(member.clone(), score);
                    changed += 1;
                }
            }
        }
        Ok((if counts_changes { added + changed } else { added }, added + changed > 0))
    })?;
    Ok(Reply::count(answer.unwrap_or(0)))
}

fn remove(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    let removed = keys.edit(&words[1], None, |data| {
        let members = members(data)?;
        let removed = words[2..].iter().filter(|member| members.remove(*member).is_some()).count();
        Ok((removed, removed > 0))
    })?;
    Ok(Reply::count(removed.unwrap_or(0)))
}

fn size(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    Ok(Reply::count(ordered(keys, &words[1])?.len()))
}

fn score(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    let found = keys.edit(&words[1], None, |data| Ok((members(data)?.get(&words[2]).copied(), false)))?;
    Ok(found.flatten().map_or(Reply::Nil, Reply::Double))
}

/// A bound of a range by score; `(` leaves the bound itself out.
fn above(low: &[u8], high: &[u8]) -> Result<impl Fn(f64) -> bool + use<>, Refused> {
    let bound = |word: &[u8]| -> Result<(f64, bool), Refused> {
        let (number, is_open) = match word.strip_prefix(b"(") {
            Some(number) => (number, true),
            None => (word, false),
        };
        Ok((float(number).map_err(|_| "ERR min or max is not a float".to_owned())?, is_open))
    };
    let ((low, low_open), (high, high_open)) = (bound(low)?, bound(high)?);
    Ok(move |score| {
        let is_above = if low_open { score > low } else { score >= low };
        let is_below = if high_open { score < high } else { score <= high };
        is_above && is_below
    })
}

fn range(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    let (mut by_score, mut with_scores, mut reversed, mut limit) = (false, false, false, (0, -1));
    let mut options = words[4..].iter();
    while let Some(option) = options.next() {
        match option {
            option if is(option, "BYSCORE") => by_score = true,
            option if is(option, "WITHSCORES") => with_scores = true,
            option if is(option, "REV") => reversed = true,
            option if is(option, "LIMIT") => {
                limit = (integer(options.next().ok_or_else(syntax)?)?, integer(options.next().ok_or_else(syntax)?)?);
            }
            _ => return Err(syntax()),
        }
    }
    if by_score {
        let (low, high) = if reversed { (&words[3], &words[2]) } else { (&words[2], &words[3]) };
        let within = above(low, high)?;
        let mut found = ordered(keys, &words[1])?;
        found.retain(|(_, score)| within(*score));
        if reversed {
            found.reverse();
        }
        return Ok(listed(limited(found, limit), with_scores));
    }
    let (from, to): (i64, i64) = (integer(&words[2])?, integer(&words[3])?);
    let mut found = ordered(keys, &words[1])?;
    if reversed {
        found.reverse();
    }
    let length = found.len() as i64;
    let place = |index: i64| if index < 0 { length + index } else { index };
    let (from, to) = (place(from).max(0), place(to).min(length - 1));
    let found = if from > to { Vec::new() } else { found[from as usize..=to as usize].to_vec() };
    Ok(listed(found, with_scores))
}

fn range_by_score(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    let mut longer: Vec<Vec<u8>> = words.to_vec();
    longer.insert(4, b"BYSCORE".to_vec());
    range(keys, &longer)
}

fn limited(found: Vec<(Vec<u8>, f64)>, (offset, count): (i64, i64)) -> Vec<(Vec<u8>, f64)> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    found.into_iter().skip(offset.max(0) as usize).take(count).collect()
}

fn listed(found: Vec<(Vec<u8>, f64)>, with_scores: bool) -> Reply {
    Reply::Array(
        found
            .into_iter()
            .map(|(member, score)| match with_scores {
                true => Reply::Array(vec![Reply::Bulk(member), Reply::Double(score)]),
                false => Reply::Bulk(member),
            })
            .collect(),
    )
}

fn count(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    let within = above(&words[2], &words[3])?;
    Ok(Reply::count(ordered(keys, &words[1])?.into_iter().filter(|(_, score)| within(*score)).count()))
}

fn remove_by_score(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    let within = above(&words[2], &words[3])?;
    let removed = keys.edit(&words[1], None, |data| {
        let members = members(data)?;
        let before = members.len();
        members.retain(|_, score| !within(*score));
        Ok((before - members.len(), before != members.len()))
    })?;
    Ok(Reply::count(removed.unwrap_or(0)))
}

fn scan(keys: &mut Keyspace, words: &[Vec<u8>]) -> Answer {
    let cursor = integer(&words[2]).map_err(|_| "ERR invalid cursor".to_owned())?;
    let (pattern, count) = scan_options(words, 3)?;
    let all = ordered(keys, &words[1])?.into_iter().map(|(member, score)| vec![member, shown(score)]);
    let (next, page) = scan_page(all, cursor, count, &pattern);
    Ok(cursor_reply(next, page.into_iter().flatten().map(Reply::Bulk).collect()))
}
