//! One server's memory, and everything it answers by itself: keyspace commands, functions, scripts.

use std::collections::{BTreeMap, BTreeSet};

use crate::redis::commands::{self, Answer, Command, Effect, integer};
use crate::redis::keyspace::{Keyspace, Refused};
use crate::redis::lua::{Engine, Script};
use crate::redis::wire::{Reply, Words};

#[derive(Clone, Default)]
pub struct Server {
    pub keys: Keyspace,
    /// By name, as text. They are in the snapshot and go to replicas.
    pub libraries: BTreeMap<String, Vec<u8>>,
    /// By hash. They are neither kept nor copied.
    pub scripts: BTreeSet<Vec<u8>>,
    /// No memory is left, and nothing may be evicted.
    pub is_full: bool,
}

const FULL: &str = "OOM command not allowed when used memory > 'maxmemory'.";

impl Server {
    /// Carries out one command; nothing if it is none that a server answers by itself.
    pub fn execute(&mut self, engine: &mut Engine, words: &Words) -> Option<Reply> {
        let name = words.first()?.to_ascii_uppercase();
        let answer = match name.as_slice() {
            b"FCALL" => self.call_function(engine, words),
            b"EVALSHA" => self.call_script(engine, words),
            b"FUNCTION" => self.function(engine, words),
            b"SCRIPT" => self.script(engine, words),
            b"PING" => Ok(Reply::Status("PONG".to_owned())),
            b"TIME" => Ok(self.time()),
            _ => self.simple(commands::find(&name)?, words),
        };
        Some(answer.unwrap_or_else(Reply::Error))
    }

    /// The keys that a command names, wherever it names them.
    pub fn keys_of(words: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let Some(name) = words.first().map(|name| name.to_ascii_uppercase()) else { return Vec::new() };
        match name.as_slice() {
            b"FCALL" | b"EVALSHA" => {
                let count: usize = words.get(2).and_then(|count| integer(count).ok()).unwrap_or(0);
                words.iter().skip(3).take(count).cloned().collect()
            }
            name => commands::find(name).map(|command| command.keys(words).to_vec()).unwrap_or_default(),
        }
    }

    fn simple(&mut self, command: &Command, words: &[Vec<u8>]) -> Answer {
        if self.is_full && command.effect == Effect::Takes {
            return Err(FULL.to_owned());
        }
        command.call(&mut self.keys, words)
    }

    fn time(&self) -> Reply {
        let now = self.keys.now;
        Reply::Array(vec![Reply::text((now / 1_000).to_string()), Reply::text((now % 1_000 * 1_000).to_string())])
    }

    fn call_function(&mut self, engine: &mut Engine, words: &[Vec<u8>]) -> Answer {
        let name = String::from_utf8_lossy(words.get(1).map_or(&[][..], Vec::as_slice)).into_owned();
        let texts: Vec<Vec<u8>> = self.libraries.values().cloned().collect();
        let found = texts.iter().find_map(|text| engine.compiled(text).ok()?.functions.get(&name).cloned());
        self.run(engine, &found.ok_or("ERR Function not found")?, words)
    }

    fn call_script(&mut self, engine: &mut Engine, words: &[Vec<u8>]) -> Answer {
        let missing = || "NOSCRIPT No matching script. Please use EVAL.".to_owned();
        let hash = words.get(1).filter(|hash| self.scripts.contains(*hash)).ok_or_else(missing)?;
        let script = engine.known_script(hash).ok_or_else(missing)?;
        self.run(engine, &script, words)
    }

    fn run(&mut self, engine: &Engine, script: &Script, words: &[Vec<u8>]) -> Answer {
        if self.is_full && !script.is_allowed_when_full {
            return Err(FULL.to_owned());
        }
        let count: usize = integer(words.get(2).ok_or("ERR wrong number of arguments for 'fcall' command")?)?;
        let (keys, args) =
            words[3..].split_at_checked(count).ok_or("ERR Number of keys can't be greater than number of args")?;
        Ok(engine.run(script, keys, args, |inner| self.inner(&inner)))
    }

    /// What a script may call. The memory was asked for when it began.
    fn inner(&mut self, words: &Words) -> Reply {
        let name = words.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
        if name == b"TIME" {
            return self.time();
        }
        match commands::find(&name) {
            Some(command) => command.call(&mut self.keys, words).unwrap_or_else(Reply::Error),
            None => Reply::Error("ERR Unknown Redis command called from script".to_owned()),
        }
    }

    fn function(&mut self, engine: &mut Engine, words: &[Vec<u8>]) -> Answer {
        match words.get(1).map(|word| word.to_ascii_uppercase()).as_deref() {
            Some(b"LOAD") => {
                let text = words.last().ok_or("ERR syntax error")?;
                if self.is_full {
                    return Err(FULL.to_owned());
                }
                let replaces = words[2..words.len() - 1].iter().any(|word| word.eq_ignore_ascii_case(b"REPLACE"));
                let library = engine.compiled(text)?;
                if self.libraries.contains_key(&library.name) && !replaces {
                    return Err(format!("ERR Library '{}' already exists", library.name));
                }
                self.libraries.insert(library.name.clone(), text.clone());
                Ok(Reply::text(library.name))
            }
            Some(b"FLUSH") => {
                self.libraries.clear();
                Ok(Reply::ok())
            }
            _ => Err(unknown(words)),
        }
    }

    fn script(&mut self, engine: &mut Engine, words: &[Vec<u8>]) -> Answer {
        match words.get(1).map(|word| word.to_ascii_uppercase()).as_deref() {
            Some(b"LOAD") => {
                let (hash, _) = engine.script(words.get(2).ok_or("ERR syntax error")?)?;
                self.scripts.insert(hash.clone());
                Ok(Reply::Bulk(hash))
            }
            Some(b"FLUSH") => {
                self.scripts.clear();
                Ok(Reply::ok())
            }
            _ => Err(unknown(words)),
        }
    }
}

fn unknown(words: &[Vec<u8>]) -> Refused {
    format!("ERR unknown subcommand of {}", String::from_utf8_lossy(&words[0]))
}
