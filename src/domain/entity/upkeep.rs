//! What an entity asks of the fills and invalidations of its members, worked out from what was declared of it.

use std::time::Duration;

use crate::domain::entity::{Alias, AliasValue, Entity, Member, Scope, Writers};
use crate::domain::field;
use crate::domain::member_version::Version;
use crate::domain::projection::paths::Place;
use crate::domain::pseudonym::Pseudonym;
use crate::domain::store::Rules;
use crate::domain::subject::Fact;
use crate::domain::template::{Params, Template};

/// The last sweep over a key that apps write as well comes 2 s after its invalidation; a node may be away meanwhile, and
/// come and go. Without its mark a stale value could not be told from others any more, and would stay for its whole life.
const SWEPT_WITHIN: Duration = Duration::from_secs(60);
/// A floor has to outlast whatever may still bring an older value: a fill in flight, a message that was held up.
const FLOOR_STANDS: Duration = Duration::from_secs(600);

impl Entity {
    /// Of its members' own keys, and of their aliases.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        std::iter::once(self.key()).chain(self.aliases().iter().map(|alias| &alias.key))
    }

    /// How long an invalidation leaves its mark beside a key: one life for all marks of the entity, so that a mark's age
    /// can be told by what is left of it. None where no write has anything to ask of a mark.
    pub fn mark_life(&self) -> Option<Duration> {
        let shared = (self.writers() == Writers::Shared).then_some(SWEPT_WITHIN);
        let floor = self.version().map(|_| self.ttl().longest().max(FLOOR_STANDS));
        [self.lag(), shared, floor].into_iter().flatten().max()
    }

    /// What a write of this entity has to ask its key's mark.
    pub fn rules(&self, version: Option<Version>) -> Rules {
        Rules {
            version,
            has_floor: self.version().is_some(),
            lag: self.lag(),
            is_shared: self.writers() == Writers::Shared,
        }
    }

    /// How long what leads to a member's keys (its index, its tags) has to last: as long as the longest life of a value,
    /// and of the claim that it may be written under.
    pub fn registered_for(&self, claim_life: Duration) -> Duration {
        self.ttl().longest() + claim_life
    }

    /// Whether a logout finds the key by its template alone, from the user and the tenant that it names, and nothing else
    /// asks for it by a tag: then its registration may be lost. Else the replicas have to know of it, and every fill
    /// waits for them.
    pub fn is_found_without_tags(&self) -> bool {
        let is_named = |param| matches!(self.fact_of(param), Some(Fact::User | Fact::Tenant));
        self.tags().is_empty() && self.key().params().all(is_named)
    }

    /// A value with less than this left counts as about to end, and is filled again. What lives out the grace of a soft
    /// invalidation always does: nobody has to look for a mark to know that it is stale.
    pub fn renew_below(&self) -> Duration {
        let grace = self.soft().map(|grace| grace + Duration::from_millis(1));
        self.ttl().renew_below().max(grace.unwrap_or_default())
    }

    /// For how long after a change the source may answer what was before it.
    pub fn lag(&self) -> Option<Duration> {
        self.load().and_then(|load| load.lag)
    }
}

impl Member {
    /// The subject whose member it is, as far as its parameters tell. A tenant that does not stand in the key is not
    /// known here: then this is the user without one.
    pub fn owner(&self, group: &str) -> Option<Pseudonym> {
        let fact = |fact| self.entity.param_of(fact).and_then(|param| self.params.get(param));
        match self.entity.scope() {
            Scope::Subject => fact(&Fact::User).map(|user| Pseudonym::new(group, fact(&Fact::Tenant), user)),
            Scope::Tenant | Scope::Shared => None,
        }
    }
}

impl Alias {
    /// The parameter of the member's key that stands in this alias' key as its id: the only one that the alias' own key
    /// does not have.
    pub fn id_param<'a>(&self, key: &'a Template) -> Option<&'a str> {
        let mut rest = key.params().filter(|param| self.key.params().all(|own| own != *param));
        let id = rest.next()?;
        rest.next().is_none().then_some(id)
    }

    /// Where a value holds a parameter that is not the member's own.
    pub fn place(&self, param: &str) -> Place {
        self.from.clone().unwrap_or_else(|| Place::field(param))
    }

    /// What the alias of one member is named by: the member's own parameters, and for the others the fields of its
    /// value. None where such a field is missing: then the member has no such alias.
    pub fn params(&self, member: &Member, value: &[u8]) -> Option<Params> {
        let mut params = Params::default();
        for param in self.key.params() {
            match member.params.get(param) {
                Some(own) => params.insert(param, own),
                None => {
                    let named = field::at(value, &self.place(param)).filter(|text| !text.is_empty());
                    params.insert(param, named?);
                }
            }
        }
        Some(params)
    }

    /// Whose key it is, by its own parameters and by what stands there: the parameters of a member's `key`. None where that
    /// names no member.
    pub fn leads_to(&self, key: &Template, own: &Params, value: &[u8]) -> Option<Params> {
        let mut params = Params::default();
        let id = self.id_param(key);
        for param in key.params() {
            match (own.get(param), self.value) {
                (Some(own), _) => params.insert(param, own),
                (None, AliasValue::Full) => params.insert(param, field::at(value, &Place::field(param))?),
                (None, AliasValue::Id) if id == Some(param) => params.insert(param, std::str::from_utf8(value).ok()?),
                (None, AliasValue::Id) => return None,
            }
        }
        Some(params)
    }

    /// What is written at the alias' key of a member with this value.
    pub fn content(&self, member: &Member, value: &bytes::Bytes) -> Option<bytes::Bytes> {
        match self.value {
            AliasValue::Full => Some(value.clone()),
            AliasValue::Id => {
                let id = member.params.get(self.id_param(member.entity.key())?)?;
                Some(bytes::Bytes::copy_from_slice(id.as_bytes()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalog::Catalog;
    use crate::domain::declared_version::DeclaredVersion;
    use crate::domain::entity::load::Ask;
    use crate::domain::entity::sample::{alias, shared};
    use crate::domain::entity::{Draft, Load, Name};
    use crate::domain::ttl::Ttl;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn member(draft: Draft, params: &[(&str, &str)]) -> Member {
        let name = draft.name.clone();
        let catalog = Catalog::new(vec![Entity::new(draft).expect("a good entity")]).expect("no clash");
        catalog.member(name.as_str(), params.iter().copied().collect()).expect("a good member")
    }

    fn life(draft: Draft) -> Option<Duration> {
        Entity::new(draft).expect("a good entity").mark_life()
    }

    #[test]
    fn a_mark_lives_as_long_as_somebody_may_ask_it() {
        let plain = || shared("x", "x:{id}");
        let version = Some(DeclaredVersion::Number(Place::field("rev")));
        let path = Template::parse("/x").expect("a good template");
        let lagging = |lag| Load {
            lag: Some(Duration::from_secs(lag)),
            ..Load::plain(Name::new("api").expect("a good name"), Ask::Get(path.clone()))
        };
        assert_eq!(life(plain()), None, "nobody asks");
        assert_eq!(life(Draft { writers: Writers::Shared, ..plain() }), Some(SWEPT_WITHIN));
        assert_eq!(life(Draft { load: Some(lagging(2)), ..plain() }), Some(Duration::from_secs(2)));
        assert_eq!(
            life(Draft { load: Some(lagging(60)), writers: Writers::Shared, ..plain() }),
            Some(Duration::from_secs(60))
        );
        assert_eq!(life(Draft { version: version.clone(), ..plain() }), Some(FLOOR_STANDS));
        let ttl = Ttl::new(HOUR, 10, 20, None).expect("a good ttl");
        assert_eq!(life(Draft { version, ttl, ..plain() }), Some(HOUR.mul_f64(1.1)));
    }

    #[test]
    fn what_lives_out_its_grace_is_about_to_end() {
        let ttl = Ttl::new(HOUR, 10, 20, None).expect("a good ttl");
        let below = |soft: Option<u64>| {
            let soft = soft.map(Duration::from_secs);
            Entity::new(Draft { ttl, soft, ..shared("x", "x:{id}") }).expect("a good entity").renew_below()
        };
        assert_eq!(below(None), HOUR / 5);
        assert_eq!(below(Some(60)), HOUR / 5);
        assert!(below(Some(1_800)) > Duration::from_secs(1_800), "also with all of the grace left");
    }

    #[test]
    fn an_alias_is_named_by_its_members_value() {
        let member = member(Draft { aliases: vec![alias("mail:{email}")], ..shared("x", "x:{id}") }, &[("id", "7")]);
        let alias = &member.entity.aliases()[0];
        let named = |value: &str| alias.params(&member, value.as_bytes()).map(|p| p.get("email").map(str::to_owned));
        assert_eq!(named(r#"{"email":"a@b.c"}"#), Some(Some("a@b.c".to_owned())));
        for none in [r#"{"email":null}"#, r#"{"email":""}"#, r#"{"email":["a"]}"#, "{}"] {
            assert_eq!(named(none), None, "{none}");
        }
        let elsewhere = Alias { from: Place::parse("$.contact.email").ok(), ..alias.clone() };
        let value = br#"{"email":"x","contact":{"email":1234}}"#;
        assert_eq!(elsewhere.params(&member, value).expect("named").get("email"), Some("1234"));
        assert_eq!(alias.content(&member, &"v".into()).as_deref(), Some(&b"7"[..]));
    }

    #[test]
    fn the_members_own_parameters_name_its_aliases_too() {
        let draft = Draft { aliases: vec![alias("mail:{tenant}:{email}")], ..shared("x", "x:{tenant}:{id}") };
        let member = member(draft, &[("tenant", "acme"), ("id", "7")]);
        let alias = &member.entity.aliases()[0];
        let params = alias.params(&member, br#"{"tenant":"other","email":"a@b.c"}"#).expect("named");
        assert_eq!((params.get("tenant"), params.get("email")), (Some("acme"), Some("a@b.c")));
        assert_eq!(alias.content(&member, &"v".into()).as_deref(), Some(&b"7"[..]));
    }

    #[test]
    fn whose_a_member_is_follows_from_its_parameters() {
        let own = |key: &str, params: &[(&str, &str)]| {
            member(Draft { scope: Scope::Subject, ..shared("x", key) }, params).owner("shop")
        };
        assert_eq!(own("x:{id}", &[("id", "7")]), Some(Pseudonym::new("shop", None, "7")));
        let of_tenant = own("x:{tenant}:{id}", &[("tenant", "acme"), ("id", "7")]);
        assert_eq!(of_tenant, Some(Pseudonym::new("shop", Some("acme"), "7")));
        assert_eq!(member(shared("x", "x:{id}"), &[("id", "7")]).owner("shop"), None);
    }
}
