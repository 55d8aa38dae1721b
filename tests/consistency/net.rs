//! The network under the cluster: one namespace for each server, sidecar and client, joined by a bridge in one more, so
//! that packets between any two of them can be dropped, in one direction alone where that is what is asked.
//!
//! A partition has to be made in the network: a process that is stopped loses nothing, its kernel goes on receiving.
//! Packets are dropped by a neighbour entry that names a hardware address nobody has: it needs neither a firewall nor
//! `tc`, no connection is reset, and whoever sends sees nothing but silence.
//!
//! Whatever the harness itself says to a server or a sidecar goes over Unix sockets, which no cut concerns. Where there
//! are no rights to make namespaces everything runs on loopback, and faults that need a cut are left out, with a line
//! that says so.

use std::fs::File;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Who has a namespace of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Node(usize),
    Sidecar(usize),
    /// 0 stays with the majority, 1 is cut off with the minority.
    Client(usize),
}

pub struct Net {
    kind: Kind,
}

enum Kind {
    /// The beginning of the namespaces' names.
    Namespaces(String),
    /// And why not namespaces.
    Loopback(String),
}

pub const NODES: usize = 6;
pub const SIDECARS: usize = 3;
pub const CLIENTS: usize = 2;
const PLACES: usize = NODES + SIDECARS + CLIENTS;
/// Where `ip netns` keeps them.
const NAMESPACES: &str = "/run/netns";

impl Net {
    pub fn make() -> Self {
        remove_left_over();
        let net = Self { kind: Kind::Namespaces(prefix()) };
        match net.join() {
            Ok(()) => net,
            // What was made is removed as the first one is dropped.
            Err(why) => Self { kind: Kind::Loopback(why) },
        }
    }

    /// Everything on loopback, and why.
    pub fn loopback(why: String) -> Self {
        Self { kind: Kind::Loopback(why) }
    }

    /// Why there are no namespaces.
    pub fn fallback(&self) -> Option<&str> {
        match &self.kind {
            Kind::Namespaces(_) => None,
            Kind::Loopback(why) => Some(why),
        }
    }

    pub fn ip(&self, place: Place) -> IpAddr {
        match self.kind {
            Kind::Namespaces(_) => Ipv4Addr::new(10, 87, 0, 10 + place.number() as u8).into(),
            Kind::Loopback(_) => Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// Runs something on a thread of that place. Sockets and processes that it makes stay there.
    pub fn inside<T: Send>(&self, place: Place, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                self.enter(place);
                work()
            });
            worker.join().expect("work in a namespace does not panic")
        })
    }

    /// Moves this thread there for good.
    pub fn enter(&self, place: Place) {
        let Kind::Namespaces(prefix) = &self.kind else { return };
        let file = File::open(format!("{NAMESPACES}/{prefix}{}", place.number())).expect("the namespace is there");
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may enter it");
    }

    /// From now on nothing that `from` sends reaches `to`.
    pub fn drop_packets(&self, from: Place, to: Place) {
        self.point(from, to, "02:00:00:00:00:ff");
    }

    /// Neither hears the other.
    pub fn cut(&self, one: Place, other: Place) {
        self.drop_packets(one, other);
        self.drop_packets(other, one);
    }

    /// Cuts a group off from everybody else.
    pub fn cut_off(&self, group: &[Place]) {
        for place in Place::all().filter(|place| !group.contains(place)) {
            group.iter().for_each(|inside| self.cut(*inside, place));
        }
    }

    pub fn heal(&self) {
        let Kind::Namespaces(prefix) = &self.kind else { return };
        for place in Place::all() {
            batch(&format!("{prefix}{}", place.number()), &self.neighbours(place)).expect("neighbours can be set");
        }
    }

    fn point(&self, from: Place, to: Place, hardware: &str) {
        let Kind::Namespaces(prefix) = &self.kind else { return };
        let line = format!("neigh replace {} lladdr {hardware} dev eth0 nud permanent\n", self.ip(to));
        batch(&format!("{prefix}{}", from.number()), &line).expect("neighbours can be set");
    }

    fn neighbours(&self, of: Place) -> String {
        let line =
            |to: Place| format!("neigh replace {} lladdr {} dev eth0 nud permanent\n", self.ip(to), to.hardware());
        Place::all().filter(|to| *to != of).map(line).collect()
    }

    fn join(&self) -> Result<(), String> {
        let Kind::Namespaces(prefix) = &self.kind else { return Ok(()) };
        let switch = format!("{prefix}switch");
        ip(&["netns", "add", &switch])?;
        batch(&switch, "link add bridge type bridge\nlink set bridge up\n")?;
        for place in Place::all() {
            let (name, port) = (format!("{prefix}{}", place.number()), format!("port{}", place.number()));
            ip(&["netns", "add", &name])?;
            batch(
                &name,
                &format!(
                    "link set lo up\nlink add eth0 address {} type veth peer name {port} netns {switch}\n\
                     addr add {}/24 dev eth0\nlink set eth0 up\n",
                    place.hardware(),
                    self.ip(place),
                ),
            )?;
            batch(&switch, &format!("link set {port} master bridge\nlink set {port} up\n"))?;
            batch(&name, &self.neighbours(place))?;
        }
        Ok(())
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let Kind::Namespaces(prefix) = &self.kind else { return };
        remove(|name| name.starts_with(prefix.as_str()));
    }
}

impl Place {
    pub fn all() -> impl Iterator<Item = Self> {
        let nodes = (0..NODES).map(Self::Node);
        nodes.chain((0..SIDECARS).map(Self::Sidecar)).chain((0..CLIENTS).map(Self::Client))
    }

    fn number(self) -> usize {
        let number = match self {
            Self::Node(number) => number,
            Self::Sidecar(number) => NODES + number,
            Self::Client(number) => NODES + SIDECARS + number,
        };
        debug_assert!(number < PLACES);
        number
    }

    fn hardware(self) -> String {
        format!("02:00:00:00:00:{:02x}", 16 + self.number())
    }
}

fn ip(words: &[&str]) -> Result<(), String> {
    let out = Command::new("ip").args(words).stdin(Stdio::null()).output().map_err(|error| format!("ip: {error}"))?;
    said(&out)
}

/// Several lines for `ip`, in one namespace.
fn batch(namespace: &str, lines: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("ip: {error}");
    let mut child = Command::new("ip")
        .args(["-netns", namespace, "-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    child.stdin.take().expect("piped").write_all(lines.as_bytes()).map_err(failed)?;
    said(&child.wait_with_output().map_err(failed)?)
}

fn said(out: &std::process::Output) -> Result<(), String> {
    let text = String::from_utf8_lossy(&out.stderr);
    if out.status.success() { Ok(()) } else { Err(text.lines().next().unwrap_or("ip failed").to_owned()) }
}

/// All of this process's, whoever still has a hand on them: for its end.
pub fn remove_own() {
    remove(|name| name.starts_with(&prefix()));
}

fn prefix() -> String {
    format!("hydrant-{}-", std::process::id())
}

/// Of runs that were killed before they could.
fn remove_left_over() {
    remove(|name| {
        let mut words = name.split('-');
        let ours = words.next() == Some("hydrant");
        ours && words.next().is_some_and(|pid| !Path::new("/proc").join(pid).exists())
    });
}

fn remove(is_meant: impl Fn(&str) -> bool) {
    let Ok(names) = std::fs::read_dir(NAMESPACES) else { return };
    for name in names.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        if is_meant(&name) {
            // Gone already is as good.
            let _ = ip(&["netns", "del", &name]);
        }
    }
}
