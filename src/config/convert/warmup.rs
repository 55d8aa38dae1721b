//! `warmup`: plans, steps, and where their members come from. What is filled must be loadable without anybody's session.

use std::collections::BTreeMap;

use super::Context;
use super::entity::Entities;
use crate::config::file::warmup::{HttpList, InOrder, Lock, Missed, Plan as Written, QueryList, Step as WrittenStep};
use crate::config::form::query::SqlText;
use crate::config::form::warmup::{CronText, LockKey, StartAfter};
use crate::config::form::{Formed, PathTemplate};
use crate::config::value::Span;
use crate::config::{Listed, WarmUp};
use crate::domain::entity::{Credential, Entity, Name};
use crate::domain::key::Key;
use crate::domain::listing::Parameters;
use crate::domain::projection::paths::Place;
use crate::domain::query::Query;
use crate::domain::tag::Tag;
use crate::domain::template::Params;
use crate::source::{any, listing};
use crate::warm::events::{MAX_PLANS, MAX_STEPS};
use crate::warm::plan::{LeaseRules, Plan, Ready, Rules, Step, What, When};
use crate::warm::schedule::{Schedule, Zone};

/// What may stand in the path of a list.
const PLACEHOLDERS: [&str; 4] = ["page", "offset", "limit", "cursor"];

/// What steps refer to.
struct Declared<'a> {
    entities: &'a Entities,
    sources: &'a Sources,
}

type Sources = BTreeMap<Name, any::Config>;

/// A lease must outlive what is begun under it, its renewal and one failure of it.
const LIVES: u32 = 5;

impl Context<'_> {
    pub(super) fn warmup(&mut self, group: Option<&Name>, entities: &Entities, sources: &Sources) -> Option<WarmUp> {
        let names = self.names("warmup");
        let declared = Declared { entities, sources };
        if names.len() > MAX_PLANS {
            self.problem("warmup", format!("{} plans are more than {MAX_PLANS}", names.len()), "put steps together");
        }
        let mut warmup = WarmUp::default();
        for text in names {
            let path = format!("warmup.{text}");
            let name = self.name(&path, &text);
            let Some(written) = self.take::<Written>(&["warmup", &text]) else { continue };
            let (Some(name), Some(group)) = (name, group) else { continue };
            let plan = self.plan(&path, group, name, written, &declared, &mut warmup.origins);
            warmup.plans.extend(plan);
        }
        self.shared_locks(&warmup.plans);
        Some(warmup)
    }

    fn plan(
        &mut self,
        path: &str,
        group: &Name,
        name: Name,
        written: Written,
        declared: &Declared<'_>,
        origins: &mut BTreeMap<(Name, Name), Listed>,
    ) -> Option<Plan> {
        let Written {
            on_start: Formed(StartAfter(start)),
            cron,
            time_zone: Formed(zone),
            jitter,
            missed,
            lock,
            parallel,
            timeout,
            retries,
            stagger,
            shared: is_shared,
            before_ready,
            longest_wait,
            steps: InOrder(steps),
        } = written;
        let schedule = cron.and_then(|Formed(CronText(text))| self.schedule(path, &text, zone));
        let lease = self.lease(path, group, &name, lock, timeout);
        if steps.is_empty() || steps.len() > MAX_STEPS {
            let problem = format!("a plan has 1 to {MAX_STEPS} steps, and this one {}", steps.len());
            self.problem(
                &format!("{path}.steps"),
                problem,
                "name what to warm: `users: { entity: user, members: [1] }`",
            );
        }
        if before_ready && start.is_none() {
            let hint = "let it run at the start, `on_start: 500ms`, or leave `before_ready` out";
            self.problem(&format!("{path}.before_ready"), "nothing runs at the start that could be waited for", hint);
        }
        let missed = match missed {
            Missed::Skip => crate::warm::plan::Missed::Skip,
            Missed::Once => crate::warm::plan::Missed::Once,
        };
        let mut done = Vec::with_capacity(steps.len());
        for (text, step) in steps {
            let path = format!("{path}.steps.{text}");
            let Some(step_name) = self.name(&path, &text) else { continue };
            let Some((step, listed)) = self.step(&path, step_name.clone(), step, declared) else { continue };
            done.push(step);
            origins.extend(listed.map(|listed| ((name.clone(), step_name), listed)));
        }
        let stagger_percent = stagger.0;
        let ready = if before_ready { Ready::After { longest: longest_wait.0 } } else { Ready::Before };
        Some(Plan {
            name,
            when: When { start, schedule, jitter: jitter.0, missed },
            lease: lease?,
            rules: Rules { parallel, timeout: timeout.0, retries, stagger_percent, is_shared },
            ready,
            steps: done,
        })
    }

    fn schedule(&mut self, path: &str, text: &str, zone: Zone) -> Option<Schedule> {
        match Schedule::parse(text, zone) {
            Ok(schedule) => Some(schedule),
            Err(error) => {
                self.problem(&format!("{path}.cron"), error, "choose a time that comes in this time zone");
                None
            }
        }
    }

    fn lease(&mut self, path: &str, group: &Name, plan: &Name, lock: Lock, timeout: Span) -> Option<LeaseRules> {
        let Lock { key, ttl } = lock;
        if ttl.0 < timeout.0 * LIVES {
            let problem = format!("the lock stands for {ttl}, and one fill may take {timeout}");
            let hint = format!("make it at least {LIVES} times as long: {}", Span(timeout.0 * LIVES));
            self.problem(&format!("{path}.lock.ttl"), problem, hint);
        }
        let lock = match key {
            Some(Formed(LockKey(key))) => key,
            // Names are letters, digits, `_` and `-`, so it always is one.
            None => Key::new(format!("hydrant:{{{group}:warm:{plan}}}:lock")).ok()?,
        };
        Some(LeaseRules { lock, ttl: ttl.0 })
    }

    fn step(
        &mut self,
        path: &str,
        name: Name,
        written: WrittenStep,
        declared: &Declared<'_>,
    ) -> Option<(Step, Option<Listed>)> {
        let WrittenStep { connect, entity, members, query, list, file, tag, budget } = written;
        let budget = budget.0;
        let ways = [
            ("connect", !connect.is_empty()),
            ("members", !members.is_empty()),
            ("query", query.is_some()),
            ("list", list.is_some()),
            ("file", file.is_some()),
            ("tag", tag.is_some()),
        ];
        let given: Vec<&str> = ways.iter().filter(|(_, is_given)| *is_given).map(|(way, _)| *way).collect();
        let all = ways.map(|(way, _)| format!("`{way}`")).join(", ");
        let way = match given[..] {
            [way] => way,
            [] => {
                self.problem(path, "it does not say what to do", format!("name one of {all}"));
                return None;
            }
            _ => {
                self.problem(path, format!("it says {} things at once", given.len()), format!("keep one of {all}"));
                return None;
            }
        };
        if way == "connect" {
            if entity.is_some() {
                let hint = "leave it out, or make two steps of it";
                self.problem(&format!("{path}.entity"), "a step that connects fills nothing", hint);
            }
            let sources = connect.iter().filter_map(|text| Name::new(text)).collect();
            return Some((Step { name, budget, what: What::Connect { sources } }, None));
        }
        let Some(entity) = entity else {
            self.problem(path, "it does not say which entity it fills", "name it: `entity: user`");
            return None;
        };
        let (name_of, step) = (Name::new(&entity)?, |entity| Step { name, budget, what: What::Fill { entity } });
        // A broken entity has its own problems.
        let entity = declared.entities.get(&name_of)?;
        self.loadable(&format!("{path}.entity"), entity);
        let at = format!("{path}.{way}");
        let listed = match (query, list, file, tag) {
            (Some(query), ..) => Listed::Listing(self.query_list(&at, query, declared)?),
            (_, Some(list), ..) => Listed::Listing(self.http_list(&at, list, entity, declared)?),
            (_, _, Some(path), _) => Listed::Listing(listing::Config::File { path, param: only_param(entity) }),
            (_, _, _, Some(text)) => self.tag(&at, entity, text)?,
            (None, None, None, None) => Listed::Listing(listing::Config::Members(self.members(&at, entity, &members))),
        };
        Some((step(name_of), Some(listed)))
    }

    fn query_list(&mut self, path: &str, list: QueryList, declared: &Declared<'_>) -> Option<listing::Config> {
        let QueryList { source, sql: Formed(SqlText(text)), page_by } = list;
        let source =
            self.source_of(path, &source, declared, "query", |kind| matches!(kind, any::Config::Postgres(_)))?;
        match Query::parse(&text, &[]) {
            Ok(query) if query.params().next().is_none() => Some(listing::Config::Query { source, query, page_by }),
            Ok(_) => {
                self.problem(&format!("{path}.sql"), "a list has no parameters", "write values into the query itself");
                None
            }
            Err(error) => {
                self.problem(&format!("{path}.sql"), error, "a list has no parameters: write values into the query");
                None
            }
        }
    }

    fn http_list(
        &mut self,
        path: &str,
        list: HttpList,
        entity: &Entity,
        declared: &Declared<'_>,
    ) -> Option<listing::Config> {
        let HttpList { source, get: Formed(PathTemplate(get)), items, params, next, first_page } = list;
        let source = self.source_of(path, &source, declared, "list", |kind| matches!(kind, any::Config::Http(_)))?;
        for param in get.params().filter(|param| !PLACEHOLDERS.contains(param)) {
            let hint = "a page's place is told by `{page}`, `{offset}`, `{limit}` or `{cursor}`";
            self.problem(&format!("{path}.get"), format!("`{{{param}}}` is none of them"), hint);
        }
        let (items, next) = (place(items), next.map(|Formed(next)| next));
        if get.params().any(|param| param == "cursor") && next.is_none() {
            let hint = "say where an answer holds it: `next: $.next`";
            self.problem(&format!("{path}.next"), "`{cursor}` stands for what nobody reads", hint);
        }
        for param in params.keys().filter(|param| entity.key().params().all(|own| own != param.as_str())) {
            let problem = format!("`{param}` is no parameter of the key of `{}`", entity.name());
            self.problem(&format!("{path}.params.{param}"), problem, "name those that stand in its braces");
        }
        let at = |param: &str| params.get(param).map_or_else(|| field(param), |Formed(place)| Some(place.clone()));
        let params = entity.key().params().filter_map(|param| Some((param.to_owned(), at(param)?))).collect();
        let items = items?;
        Some(listing::Config::Pages(listing::Pages { source, get, items, params, next, first_page }))
    }

    fn source_of(
        &mut self,
        path: &str,
        text: &str,
        declared: &Declared<'_>,
        way: &str,
        is_fit: impl Fn(&any::Config) -> bool,
    ) -> Option<Name> {
        let name = Name::new(text)?;
        // A broken source has its own problems.
        if is_fit(declared.sources.get(&name)?) {
            return Some(name);
        }
        let hint = "`query` is for a source behind `postgres`, `list` for one behind `http`";
        self.problem(&format!("{path}.source"), format!("`{name}` cannot be asked by `{way}`"), hint);
        None
    }

    fn loadable(&mut self, path: &str, entity: &Entity) {
        let name = entity.name();
        match entity.load() {
            None => {
                let hint = format!("say where it is loaded from: `entities.{name}.load`");
                self.problem(path, format!("`{name}` has no `load`: it cannot be filled"), hint);
            }
            Some(load) if load.credential == Credential::Session => {
                let hint =
                    format!("let it be loaded with the sidecar's own: `entities.{name}.load.credential: service`");
                self.problem(
                    path,
                    format!("`{name}` is loaded with a user's session, and a warm-up has nobody's"),
                    hint,
                );
            }
            Some(_) => {}
        }
    }

    fn tag(&mut self, path: &str, entity: &Entity, text: String) -> Option<Listed> {
        if entity.tags().is_empty() {
            let hint = format!("declare it there: `entities.{}.tags`", entity.name());
            self.problem(path, format!("`{}` is filled with no tags", entity.name()), hint);
        }
        match Tag::declared(text.clone()) {
            Ok(tag) => Some(Listed::Tag { entity: entity.name().clone(), tag, text }),
            Err(error) => {
                self.problem(path, error, "write the tag as it is formed: `tenant:acme`");
                None
            }
        }
    }

    fn members(&mut self, path: &str, entity: &Entity, texts: &[String]) -> Vec<Parameters> {
        let params: Vec<&str> = entity.key().params().collect();
        let mut members = Vec::with_capacity(texts.len());
        for (at, text) in texts.iter().enumerate() {
            let pairs: Option<Parameters> = match (text.contains('='), &params[..]) {
                (false, [param]) => Some([((*param).to_owned(), text.clone())].into()),
                (false, _) => None,
                (true, _) => text.split('&').map(|pair| pair.split_once('=').map(own)).collect(),
            };
            let rendered =
                pairs.as_ref().map(|pairs| entity.key().key(&pairs.iter().collect::<Params>(), entity.ids()));
            match (pairs, rendered) {
                (Some(pairs), Some(Ok(_))) => members.push(pairs),
                (_, Some(Err(error))) => {
                    self.problem(&format!("{path}[{at}]"), error, format!("write {}", example(&params)));
                }
                (_, None) | (None, _) => {
                    let problem = "this names no member";
                    self.problem(&format!("{path}[{at}]"), problem, format!("write {}", example(&params)));
                }
            }
        }
        members
    }

    fn shared_locks(&mut self, plans: &[Plan]) {
        for (at, plan) in plans.iter().enumerate() {
            if let Some(other) = plans[..at].iter().find(|other| other.lease.lock == plan.lease.lock) {
                let problem = format!("the plans `{}` and `{}` have one lock", other.name, plan.name);
                let hint = "they never run at once then, and one that is cut off may not be gone on with";
                self.warning(&format!("warmup.{}.lock.key", plan.name), problem, hint);
            }
        }
    }
}

/// The key's parameter, where it has one only.
fn only_param(entity: &Entity) -> Option<String> {
    let mut params = entity.key().params();
    let first = params.next().map(str::to_owned);
    first.filter(|_| params.next().is_none())
}

fn place(items: Option<Formed<Place>>) -> Option<Place> {
    items.map_or_else(|| Place::parse("$").ok(), |Formed(items)| Some(items))
}

fn field(param: &str) -> Option<Place> {
    Place::parse(&format!("$.{param}")).ok()
}

fn own((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn example(params: &[&str]) -> String {
    let pairs: Vec<String> = params.iter().map(|param| format!("{param}=7")).collect();
    match params {
        [_] => format!("`7` or `{}`", pairs.join("&")),
        _ => format!("`{}`", pairs.join("&")),
    }
}
