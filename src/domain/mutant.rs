//! Mutants: Hydrant broken on purpose in one way, to show that the tests would notice.
//!
//! A proof that finds nothing says little until it has found something. Each mutant takes away one thing that the
//! consistency protocol rests on; `docs/consistency.md` says which tier of the tests must catch it. They exist only with
//! the cargo feature `mutants`, which does not compile with optimisation, so that no release can have them. Without it
//! `on` is `false` at compile time and costs nothing.

#[cfg(all(feature = "mutants", not(debug_assertions)))]
compile_error!("the feature `mutants` breaks Hydrant on purpose: it is for tests, and never for an optimised build");

/// One way to be wrong. The numbers are those of the models (docs/consistency/models.md); those that are missing have no
/// switch here, and docs/consistency.md says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A commit writes whether its claim stands or not.
    M1NoClaim,
    /// Done is answered without waiting for replicas.
    M2NoWait,
    /// Claims are told apart by a short counter.
    M3CounterNonces,
    /// An alias is claimed after it was registered, instead of before.
    M4AliasClaimedLate,
    /// An invalidation empties the index of aliases.
    M5IndexCleared,
    /// A claim outlives the connection it was taken on.
    M7TokenSurvivesReconnect,
    /// The source is asked before the claim is held.
    M8FetchBeforeClaim,
    /// The intent is written after the deletes.
    M10JournalLate,
    /// A lease is counted from the moment its reply came.
    M14LeaseFromReply,
    /// A lease is given back without a look at whose it is.
    M15ReleaseUnasked,
    /// An alias is written without waiting for replicas to know its registration.
    M16NoWaitForRegistration,
    /// Nothing looks at values for what has the shape of a secret.
    M17DetectorsOff,
    /// The index is read before the key is deleted.
    M18IndexReadFirst,
    /// A sweep ends with its first pass.
    M19OnePass,
}

impl Mutant {
    pub const ALL: [Self; 14] = [
        Self::M1NoClaim,
        Self::M2NoWait,
        Self::M3CounterNonces,
        Self::M4AliasClaimedLate,
        Self::M5IndexCleared,
        Self::M7TokenSurvivesReconnect,
        Self::M8FetchBeforeClaim,
        Self::M10JournalLate,
        Self::M14LeaseFromReply,
        Self::M15ReleaseUnasked,
        Self::M16NoWaitForRegistration,
        Self::M17DetectorsOff,
        Self::M18IndexReadFirst,
        Self::M19OnePass,
    ];

    /// `M1`, as HYDRANT_MUTANT and `make consistency MUTANT=…` name it.
    pub fn name(self) -> String {
        format!("{self:?}")
            .chars()
            .enumerate()
            .take_while(|(at, c)| *at == 0 || c.is_ascii_digit())
            .map(|(_, c)| c)
            .collect()
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mutant| mutant.name() == name)
    }
}

/// Whether Hydrant is broken in this way.
#[cfg(not(feature = "mutants"))]
pub const fn on(_: Mutant) -> bool {
    false
}

/// Whether Hydrant is broken in this way: as HYDRANT_MUTANT said when it was first asked.
#[cfg(feature = "mutants")]
pub fn on(mutant: Mutant) -> bool {
    static CHOSEN: std::sync::LazyLock<Option<Mutant>> = std::sync::LazyLock::new(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "a switch handed down through every layer would be seen everywhere"
        )]
        let name = std::env::var("HYDRANT_MUTANT").ok()?;
        let mutant = Mutant::named(&name);
        assert!(mutant.is_some(), "there is no mutant with the name that HYDRANT_MUTANT gives");
        mutant
    });
    *CHOSEN == Some(mutant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_is_found_by_its_name() {
        assert_eq!(Mutant::M16NoWaitForRegistration.name(), "M16");
        for mutant in Mutant::ALL {
            assert_eq!(Mutant::named(&mutant.name()), Some(mutant));
        }
        assert_eq!(Mutant::named("M"), None);
    }

    #[test]
    fn no_build_for_users_has_the_mutants() {
        let manifest = include_str!("../../Cargo.toml");
        assert!(!manifest.lines().any(|line| line.starts_with("default =")), "a default could bring the feature in");
        for (name, text) in
            [("Dockerfile", include_str!("../../Dockerfile")), ("build.rs", include_str!("../../build.rs"))]
        {
            assert!(!text.contains("mutants") && !text.contains("features"), "{name} chooses features");
        }
    }

    #[cfg(not(feature = "mutants"))]
    #[test]
    fn without_the_feature_none_is_on() {
        const { assert!(!on(Mutant::M1NoClaim)) };
        assert!(!Mutant::ALL.into_iter().any(on));
    }
}
