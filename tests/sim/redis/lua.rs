//! Runs scripts and function libraries in Lua 5.1, as the server does: the simulation executes the very text that ships.
//!
//! Compiled once for all servers of a cluster; which of them has a library loaded is each server's own matter. Of the
//! `redis` table there is what scripts may need and nothing more, so that a script which uses something else fails here.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use mlua::{Function, Lua, MultiValue, Table, Value};

use crate::redis::keyspace::Refused;
use crate::redis::wire::{Reply, Words};

pub struct Engine {
    lua: Lua,
    redis: Table,
    libraries: BTreeMap<Vec<u8>, Library>,
    scripts: BTreeMap<Vec<u8>, Script>,
}

#[derive(Clone)]
pub struct Library {
    pub name: String,
    pub functions: BTreeMap<String, Script>,
}

#[derive(Clone)]
pub struct Script {
    pub name: String,
    body: Function,
    takes: Arguments,
    pub is_allowed_when_full: bool,
}

#[derive(Clone, Copy)]
enum Arguments {
    /// A function of a library is called with both tables.
    Passed,
    /// A script finds them as globals.
    Global,
}

/// An error of the server's that ended a script.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

impl Engine {
    pub fn new() -> Self {
        let lua = Lua::new();
        let redis = lua.create_table().expect("memory");
        let reply = |field: &'static str| {
            lua.create_function(move |lua, text: mlua::LuaString| {
                let table = lua.create_table()?;
                table.set(field, text)?;
                Ok(table)
            })
        };
        redis.set("error_reply", reply("err").expect("a function")).expect("a field");
        redis.set("status_reply", reply("ok").expect("a function")).expect("a field");
        let hash = lua.create_function(|_, value: Value| Ok(sha1_hex(&bytes_of(&value))));
        redis.set("sha1hex", hash.expect("a function")).expect("a field");
        lua.globals().set("redis", &redis).expect("a field");
        Self { lua, redis, libraries: BTreeMap::new(), scripts: BTreeMap::new() }
    }

    /// The library in a text, compiled the first time that any server is given it.
    pub fn compiled(&mut self, text: &[u8]) -> Result<Library, Refused> {
        if let Some(known) = self.libraries.get(text) {
            return Ok(known.clone());
        }
        let library = self.compile(text).map_err(|error| format!("ERR Error compiling function: {error}"))?;
        self.libraries.insert(text.to_vec(), library.clone());
        Ok(library)
    }

    /// The script in a text, under its hash.
    pub fn script(&mut self, text: &[u8]) -> Result<(Vec<u8>, Script), Refused> {
        let hash = sha1_hex(text).into_bytes();
        if let Some(known) = self.scripts.get(&hash) {
            return Ok((hash, known.clone()));
        }
        let body =
            self.lua.load(text).into_function().map_err(|error| format!("ERR Error compiling script: {error}"))?;
        let name = String::from_utf8_lossy(&hash).into_owned();
        let script = Script { name, body, takes: Arguments::Global, is_allowed_when_full: false };
        self.scripts.insert(hash.clone(), script.clone());
        Ok((hash, script))
    }

    pub fn known_script(&self, hash: &[u8]) -> Option<Script> {
        self.scripts.get(hash).cloned()
    }

    /// Runs a script to its end; `call` is what `redis.call` does.
    pub fn run(
        &self,
        script: &Script,
        keys: &[Vec<u8>],
        args: &[Vec<u8>],
        mut call: impl FnMut(Words) -> Reply,
    ) -> Reply {
        let call = std::cell::RefCell::new(&mut call);
        let result = self.lua.scope(|scope| {
            let raising =
                scope.create_function(|lua, words: MultiValue| match (call.borrow_mut())(words_of(words)) {
                    Reply::Error(error) => Err(mlua::Error::external(Raised(error))),
                    reply => to_lua(lua, reply),
                })?;
            let catching =
                scope.create_function(|lua, words: MultiValue| to_lua(lua, (call.borrow_mut())(words_of(words))))?;
            self.redis.set("call", raising)?;
            self.redis.set("pcall", catching)?;
            let table = |words: &[Vec<u8>]| {
                self.lua.create_sequence_from(words.iter().map(|word| self.lua.create_string(word).expect("memory")))
            };
            let (keys, args) = (table(keys)?, table(args)?);
            match script.takes {
                Arguments::Passed => script.body.call::<Value>((keys, args)),
                Arguments::Global => {
                    self.lua.globals().set("KEYS", keys)?;
                    self.lua.globals().set("ARGV", args)?;
                    script.body.call::<Value>(())
                }
            }
        });
        match result {
            Ok(value) => from_lua(&value),
            Err(error) => {
                let raised = error.downcast_ref::<Raised>().map(|raised| raised.0.clone());
                Reply::Error(match raised {
                    Some(raised) => format!("{raised} script: {}, on @user_function:1.", script.name),
                    None => format!("ERR {} script: {}", error.to_string().replace(['\r', '\n'], " "), script.name),
                })
            }
        }
    }

    fn compile(&self, text: &[u8]) -> mlua::Result<Library> {
        let text = String::from_utf8_lossy(text);
        let (header, body) = text.split_once('\n').unwrap_or((&text, ""));
        let name =
            header.strip_prefix("#!lua name=").ok_or_else(|| mlua::Error::runtime("Missing library metadata"))?;
        let functions = std::cell::RefCell::new(BTreeMap::new());
        self.lua.scope(|scope| {
            let register = scope.create_function(|_, declared: Table| {
                let name: String = declared.get("function_name")?;
                let flags: Option<Vec<String>> = declared.get("flags")?;
                let flags = flags.unwrap_or_default();
                let script = Script {
                    name: name.clone(),
                    body: declared.get("callback")?,
                    takes: Arguments::Passed,
                    is_allowed_when_full: flags.iter().any(|flag| flag == "allow-oom" || flag == "no-writes"),
                };
                functions.borrow_mut().insert(name, script);
                Ok(())
            })?;
            self.redis.set("register_function", register)?;
            self.lua.load(body).exec()
        })?;
        Ok(Library { name: name.trim().to_owned(), functions: functions.into_inner() })
    }
}

pub fn sha1_hex(text: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn words_of(words: MultiValue) -> Words {
    words.iter().map(bytes_of).collect()
}

/// A string or a number as an argument; anything else is nothing.
fn bytes_of(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.as_bytes().to_vec(),
        Value::Integer(number) => number.to_string().into_bytes(),
        Value::Number(number) => number.to_string().into_bytes(),
        _ => Vec::new(),
    }
}

fn to_lua(lua: &Lua, reply: Reply) -> mlua::Result<Value> {
    let tagged = |field: &str, text: String| {
        let table = lua.create_table()?;
        table.set(field, text)?;
        Ok(Value::Table(table))
    };
    let sequence = |items: Vec<Reply>| -> mlua::Result<Value> {
        let items = items.into_iter().map(|item| to_lua(lua, item)).collect::<mlua::Result<Vec<_>>>()?;
        Ok(Value::Table(lua.create_sequence_from(items)?))
    };
    match reply {
        Reply::Status(text) => tagged("ok", text),
        Reply::Error(text) => tagged("err", text),
        Reply::Int(number) => Ok(Value::Number(number as f64)),
        // A script speaks RESP2 unless it says otherwise: scores are strings, pairs stand in a row.
        Reply::Double(number) => Ok(Value::String(lua.create_string(number.to_string())?)),
        Reply::Bulk(bytes) => Ok(Value::String(lua.create_string(bytes)?)),
        Reply::Nil => Ok(Value::Boolean(false)),
        Reply::Array(items) => sequence(items.into_iter().flat_map(flattened).collect()),
        Reply::Map(pairs) => sequence(pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()),
    }
}

/// Pairs of member and score stand in a row in RESP2.
fn flattened(item: Reply) -> Vec<Reply> {
    match item {
        Reply::Array(pair) if matches!(pair.as_slice(), [_, Reply::Double(_)]) => pair,
        item => vec![item],
    }
}

fn from_lua(value: &Value) -> Reply {
    match value {
        Value::String(text) => Reply::Bulk(text.as_bytes().to_vec()),
        Value::Integer(number) => Reply::Int(*number),
        Value::Number(number) => Reply::Int(*number as i64),
        Value::Boolean(true) => Reply::Int(1),
        Value::Table(table) => from_table(table),
        _ => Reply::Nil,
    }
}

fn from_table(table: &Table) -> Reply {
    let field = |name: &str| table.raw_get::<Option<mlua::LuaString>>(name).ok().flatten();
    let text = |field: mlua::LuaString| String::from_utf8_lossy(&field.as_bytes()).into_owned();
    if let Some(error) = field("err") {
        return Reply::Error(text(error));
    }
    if let Some(status) = field("ok") {
        return Reply::Status(text(status));
    }
    Reply::Array(table.sequence_values::<Value>().flatten().map(|value| from_lua(&value)).collect())
}
