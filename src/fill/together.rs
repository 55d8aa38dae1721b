//! Many fills at once that share their fetches: a thousand members are two queries, not a thousand.
//!
//! Each member is filled by the very fill that it would have by itself: claim, tags, projection, aliases, commit and all
//! their rules. The one difference is where its fetch goes: to a table with the others of its entity, where a driver waits
//! until everybody has come, or has ended without a fetch, and then asks the source once for all of them. So a member
//! that is fresh, fenced, refused or late harms nobody else, and what is in flight together is sent together by the store.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join, join_all};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::domain::budget::Meter;
use crate::domain::entity::{Credential, Member};
use crate::domain::key::Key;
use crate::domain::outcome::Resource;
use crate::domain::source::{FetchAsk, FetchError, FetchManyAsk, Fetched, Source};
use crate::domain::trace::TraceContext;
use crate::fill::ending::Filled;
use crate::fill::{Filler, Job, load_of};

/// Whoever comes later than this after the first is fetched by the next call: another process may hold its claim for
/// seconds, and the claims of all the others are running. Claims of a thousand keys take a few milliseconds.
const PATIENCE: Duration = Duration::from_millis(25);
/// A call that is refused as a whole is halved to find the member to blame. Eight of five hundred are found so; where the
/// query itself is wrong, this ends the search.
const HALVINGS: usize = 64;

/// The members of one entity that are fetched with one call, as far as they come.
struct Table<'a> {
    source: &'a dyn Source,
    jobs: Vec<&'a Job>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Who waits for the next call, by their places.
    waiting: Vec<Guest>,
    /// Who has come so far, or will not come.
    settled: usize,
    has_settled: Vec<bool>,
}

struct Guest {
    place: usize,
    deadline: Instant,
    max_bytes: usize,
    answer: oneshot::Sender<Result<Fetched, FetchError>>,
}

/// One job's place at a table: to its fill, the source.
struct Seat<'t, 'a> {
    table: &'t Table<'a>,
    place: usize,
}

/// Which table a job sits at, and where; none if it is fetched by itself.
type Placed = Option<(usize, usize)>;

impl Filler {
    /// Fills members of any entities, those of an entity with a bulk load by shared calls. One line for each, in their
    /// order. The jobs should have one deadline. As many as there are, are in flight at once: the caller bounds them.
    pub async fn fill_many(&self, jobs: Vec<Job>) -> Vec<Resource> {
        let ended = {
            let (tables, placed) = tables(&jobs);
            // Held until all of them are written: what was fetched together is in memory together.
            let meter = self.budget.meter();
            let fills = jobs.iter().zip(placed).map(|(job, placed)| {
                let seat = placed.map(|(table, place)| Seat { table: &tables[table], place });
                async move {
                    let filled = self.fill_one(job, seat.as_ref().map(|seat| -> &dyn Source { seat })).await;
                    if let Some(seat) = seat {
                        seat.table.settle(seat.place);
                    }
                    filled
                }
            });
            let drivers = tables.iter().map(|table| table.drive(&meter));
            join(join_all(fills), join_all(drivers)).await.0
        };
        let resource = |(job, (filled, elapsed)): (Job, (Filled, Duration))| filled.about(job.member, elapsed);
        jobs.into_iter().zip(ended).map(resource).collect()
    }
}

/// Seats every job whose entity can be loaded in bulk; a key that is there twice sits once.
fn tables(jobs: &[Job]) -> (Vec<Table<'_>>, Vec<Placed>) {
    let mut tables: Vec<Table<'_>> = Vec::new();
    let mut open: BTreeMap<&str, usize> = BTreeMap::new();
    let mut seen: BTreeMap<&Key, ()> = BTreeMap::new();
    let seat = |job| seat_of(job, &mut tables, &mut open, &mut seen);
    let placed = jobs.iter().map(seat).collect();
    (tables, placed)
}

fn seat_of<'a>(
    job: &'a Job,
    tables: &mut Vec<Table<'a>>,
    open: &mut BTreeMap<&'a str, usize>,
    seen: &mut BTreeMap<&'a Key, ()>,
) -> Placed {
    let (load, source) = load_of(&job.settings, &job.member.entity)?;
    let bulk = load.bulk.as_ref().filter(|_| load.credential == Credential::Service)?;
    if seen.insert(&job.member.key, ()).is_some() {
        return None;
    }
    let name = job.member.entity.name().as_str();
    let at = match open.get(name) {
        // Settings may have been replaced between two jobs.
        Some(at) if tables[*at].jobs.len() < bulk.most && std::ptr::addr_eq(tables[*at].source, &**source) => *at,
        Some(_) | None => {
            tables.push(Table::new(&**source));
            open.insert(name, tables.len() - 1);
            tables.len() - 1
        }
    };
    tables[at].jobs.push(job);
    Some((at, tables[at].jobs.len() - 1))
}

impl<'a> Table<'a> {
    fn new(source: &'a dyn Source) -> Self {
        Self { source, jobs: Vec::new(), state: Mutex::default(), changed: Notify::new() }
    }

    /// Runs until everybody has been served or has gone.
    async fn drive(&self, meter: &Meter) {
        loop {
            self.until(|state| !state.waiting.is_empty() || self.is_settled(state)).await;
            // Those who are still on their way then come with the next call.
            let _ = timeout(PATIENCE, self.until(|state| self.is_settled(state))).await;
            let guests = std::mem::take(&mut self.state().waiting);
            if guests.is_empty() {
                return;
            }
            self.serve(guests, meter).await;
        }
    }

    async fn serve(&self, guests: Vec<Guest>, meter: &Meter) {
        let (mut calls, mut halvings) = (vec![guests], 0);
        while let Some(mut guests) = calls.pop() {
            let results = self.call(&guests, meter).await;
            if guests.len() > 1 && halvings < HALVINGS && is_refused_as_a_whole(&results) {
                halvings += 1;
                calls.push(guests.split_off(guests.len() / 2));
                calls.push(guests);
                continue;
            }
            for (guest, result) in guests.into_iter().zip(results) {
                // Its fill has gone: its deadline is over.
                let _ = guest.answer.send(result);
            }
        }
    }

    async fn call(&self, guests: &[Guest], meter: &Meter) -> Vec<Result<Fetched, FetchError>> {
        let members: Vec<&Member> = guests.iter().map(|guest| &self.jobs[guest.place].member).collect();
        let first = guests.first().map(|guest| self.jobs[guest.place].trace);
        let ask = FetchManyAsk {
            members: &members,
            trace: first.unwrap_or_else(|| self.trace()),
            // Who has less time leaves earlier.
            deadline: guests.iter().map(|guest| guest.deadline).max().unwrap_or_else(Instant::now),
            max_bytes: guests.iter().map(|guest| guest.max_bytes).max().unwrap_or_default(),
            meter,
        };
        self.source.fetch_many(ask).await
    }

    fn trace(&self) -> TraceContext {
        self.jobs[0].trace
    }

    fn settle(&self, place: usize) {
        self.state().settle(place);
        self.changed.notify_one();
    }

    fn is_settled(&self, state: &State) -> bool {
        state.settled == self.jobs.len()
    }

    /// The driver is the only one who waits here.
    async fn until(&self, is_so: impl Fn(&State) -> bool) {
        while !is_so(&self.state()) {
            self.changed.notified().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn settle(&mut self, place: usize) {
        if self.has_settled.len() <= place {
            self.has_settled.resize(place + 1, false);
        }
        if !std::mem::replace(&mut self.has_settled[place], true) {
            self.settled += 1;
        }
    }
}

impl Source for Seat<'_, '_> {
    fn fetch<'f>(&'f self, ask: FetchAsk<'f>) -> BoxFuture<'f, Result<Fetched, FetchError>> {
        let (answer, answered) = oneshot::channel();
        let FetchAsk { deadline, max_bytes, .. } = ask;
        let guest = Guest { place: self.place, deadline, max_bytes, answer };
        {
            let mut state = self.table.state();
            state.waiting.push(guest);
            state.settle(self.place);
        }
        self.table.changed.notify_one();
        async move {
            let together = match timeout_at(deadline, answered).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(FetchError::Broken),
                Err(_) => Err(FetchError::Timeout),
            };
            match together {
                // By itself it may be told, or told why not.
                Err(FetchError::Ambiguous | FetchError::TooLarge) if self.table.jobs.len() > 1 => {
                    self.table.source.fetch(ask).await
                }
                result => result,
            }
        }
        .boxed()
    }
}

/// One member that cannot be asked for spoils the call for all: a word where a number is meant, an id that is too long.
fn is_refused_as_a_whole(results: &[Result<Fetched, FetchError>]) -> bool {
    let refused = |result: &Result<Fetched, FetchError>| match result {
        Err(FetchError::Refused | FetchError::TooLarge | FetchError::Ambiguous | FetchError::Status(400..=499)) => true,
        Ok(_) | Err(_) => false,
    };
    results.iter().all(refused)
}
