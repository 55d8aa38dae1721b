//! Whatever the bytes: no panic, no other subject.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::forge::*;
use crate::prehydrate::identity::{Identity, Who};

static ALL: LazyLock<Vec<(Identity, String)>> = LazyLock::new(|| {
    let good = claims().to_string();
    let ed = jwt(r#"{"alg":"EdDSA","kid":"ed"}"#, &good, eddsa);
    vec![
        (jwt_identity(), hs_jwt(&good)),
        (jwt_identity(), ed),
        (signed_identity(), signed("b", HS, &good)),
        (encrypted_identity(), encrypted("b", &AES, &good)),
    ]
});

/// JSON, dots and base64url, so that the parsers behind the first check are reached too.
fn almost_a_cookie() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[A-Za-z0-9_=.%-]{0,40}",
        r#"\{("(alg|kid|typ|exp|sub)":("HS256"|"hs"|"JWT"|1|\{\}|\[1e9\]),?){0,4}\}"#.prop_map(b64),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(b64),
        Just("h1".to_owned()),
        Just("b".to_owned()),
    ];
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.join("."))
}

proptest! {
    #[test]
    fn no_value_and_no_header_panics_or_passes(value in prop_oneof![any::<String>(), almost_a_cookie()]) {
        for (identity, _) in ALL.iter() {
            prop_assert!(identity.identify(Who::Value(&value), now()).is_err());
            prop_assert!(identity.identify(Who::Header(&value), now()).is_err());
            let header = format!("session={value}");
            prop_assert!(identity.identify(Who::Header(&header), now()).is_err());
        }
    }

    #[test]
    fn genuine_claims_never_panic(claims in prop_oneof![any::<String>(), r#"\{("(exp|nbf|sub|org|aud)":(-?[0-9]{1,30}(\.[0-9]+|e[0-9]{1,3})?|"\PC*"|\[\]|null),?){0,5}\}"#]) {
        for (identity, cookie) in [
            (&ALL[0].0, hs_jwt(&claims)),
            (&ALL[2].0, signed("b", HS, &claims)),
            (&ALL[3].0, encrypted("b", &AES, &claims)),
        ] {
            prop_assert!(identity.identify(Who::Value(&cookie), now()).is_err());
        }
    }

    #[test]
    fn a_changed_cookie_never_names_another_subject(which in 0..4_usize, at: prop::sample::Index, bit in 0..7_u8) {
        let (identity, good) = &ALL[which];
        let mut bytes = good.clone().into_bytes();
        bytes[at.index(good.len())] ^= 1 << bit;
        let changed = String::from_utf8(bytes).expect("ASCII stays ASCII");
        prop_assert!(identity.identify(Who::Value(&changed), now()).is_err());
    }

    #[test]
    fn a_cut_or_doubled_cookie_never_passes(which in 0..4_usize, from: prop::sample::Index, to: prop::sample::Index) {
        let (identity, good) = &ALL[which];
        let (from, to) = (from.index(good.len()), to.index(good.len()));
        let spliced = format!("{}{}", &good[..from], &good[to..]);
        prop_assert!(spliced == *good || identity.identify(Who::Value(&spliced), now()).is_err());
    }

    #[test]
    fn every_subject_that_is_named_is_the_one_signed_for(user in "\\PC{1,40}", tenant in "[a-z]{1,8}") {
        let mut claims = claims();
        claims["sub"] = user.as_str().into();
        claims["org"]["id"] = tenant.as_str().into();
        let claims = claims.to_string();
        for (identity, cookie) in [
            (&ALL[0].0, hs_jwt(&claims)),
            (&ALL[2].0, signed("b", HS, &claims)),
            (&ALL[3].0, encrypted("b", &AES, &claims)),
        ] {
            let subject = identity.identify(Who::Value(&cookie), now()).expect("a good cookie");
            prop_assert_eq!((subject.user(), subject.tenant()), (user.as_str(), Some(tenant.as_str())));
        }
    }
}
