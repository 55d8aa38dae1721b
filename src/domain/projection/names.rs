//! Names under which nothing is ever cached, wherever they stand: `password`, `clientSecret`, `refresh-token`.
//!
//! Names are compared folded: without case, and without anything but letters and digits, so that every spelling of one
//! name is that name. A rule then looks at the end of it (`…secret`, `…token`), after marks that do not change what it
//! holds (`_hash`, `_encrypted`, `2`). Two kinds of name are let go on purpose, since apps need them and they hold no
//! secret: those about a password (`password_changed_at`), and cursors that are called tokens (`next_page_token`). A
//! question (`has_password`) may be answered by true, false or null and by nothing else. What the rules miss, an
//! entity's own `never` names; look-alike letters of other alphabets are not seen through.

use std::collections::BTreeSet;

const SECRET_ENDS_E: [&str; 6] =
    ["passphrase", "passcode", "recoverycode", "backupcode", "seedphrase", "recoveryphrase"];

/// What stands before `key` in the name of a key that opens something.
const SECRET_KEYS: [&str; 13] = [
    "api",
    "private",
    "secret",
    "access",
    "signing",
    "encryption",
    "master",
    "session",
    "auth",
    "hmac",
    "shared",
    "account",
    "priv",
];

/// Names that are secret as a whole, and not as the end of another.
const SECRET_NAMES: [&str; 39] = [
    "pin",
    "userpin",
    "cardpin",
    "atmpin",
    "authorization",
    "proxyauthorization",
    "authorizationcode",
    "authheader",
    "basicauth",
    "bearer",
    "cookie",
    "setcookie",
    "sessioncookie",
    "authcookie",
    "phpsessid",
    "jsessionid",
    "sessid",
    "otpcode",
    "totpcode",
    "mfacode",
    "twofactorcode",
    "verificationcode",
    "scratchcode",
    "otpauth",
    "otpauthurl",
    "otpauthuri",
    "totpuri",
    "totpurl",
    "otpseed",
    "totpseed",
    "mfaseed",
    "mnemonic",
    "socialsecurity",
    "socialsecuritynumber",
    "cardsecuritycode",
    "securityanswer",
    "secretanswer",
    "connectionstring",
    "secretkeybase",
];

/// The entity's own names, folded; the built-in rules hold for every entity.
#[derive(Clone, Debug, Default)]
pub struct Never {
    own: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Keep,
    /// Only true, false and null may stand here.
    Flag,
    Never,
}

impl Never {
    /// The first name that has neither letters nor digits is given back.
    pub fn new(names: &[String]) -> Result<Self, String> {
        let mut own = BTreeSet::new();
        for name in names {
            let mut folded = String::new();
            fold(name, &mut folded);
            if folded.is_empty() {
                return Err(name.clone());
            }
            own.insert(folded);
        }
        Ok(Self { own })
    }

    /// `scratch` is for the folded name; passing it in saves an allocation for each name of a value.
    pub fn judge(&self, name: &str, scratch: &mut String) -> Verdict {
        fold(name, scratch);
        if self.own.contains(scratch.as_str()) { Verdict::Never } else { built_in(scratch) }
    }
}

fn fold(name: &str, folded: &mut String) {
    folded.clear();
    for c in name.chars() {
        match c {
            'a'..='z' | '0'..='9' => folded.push(c),
            'A'..='Z' => folded.push(c.to_ascii_lowercase()),
            // Full-width letters are the same letters.
            '\u{ff01}'..='\u{ff5e}' => {
                let narrow = char::from_u32(c as u32 - 0xfee0).unwrap_or(c);
                folded.extend(Some(narrow.to_ascii_lowercase()).filter(char::is_ascii_alphanumeric));
            }
            // Through upper case, since `ſ` and the Kelvin sign only meet their letters there.
            c if c.is_alphanumeric() => folded.extend(c.to_uppercase().flat_map(char::to_lowercase)),
            _ => {}
        }
    }
}

fn built_in(name: &str) -> Verdict {
    let secret = match after_password(name) {
        Some(tail) => !is_about_a_password(tail),
        None => is_secret_in_some_form(undecorated(name)),
    };
    match (secret, name) {
        // Of a test as often as of a login.
        (_, "pass") => Verdict::Flag,
        (true, name) if is_question(name) => Verdict::Flag,
        (true, _) => Verdict::Never,
        (false, _) => Verdict::Keep,
    }
}

fn is_secret_in_some_form(name: &str) -> bool {
    let Some(singular) = name.strip_suffix('s') else { return is_secret(name) };
    // `total_tokens` counts what a language model has read, and `pins` are on a map: of tokens in the plural only some
    // kinds are secret.
    let plural = is_secret(singular) && !singular.ends_with("token") && singular != "pin";
    plural || is_token_kind(singular)
}

fn is_secret(name: &str) -> bool {
    !is_cursor(name) && (ends_secretly(name) || SECRET_NAMES.contains(&name))
}

/// By the last letter first: nearly every name is done with after one comparison.
fn ends_secretly(name: &str) -> bool {
    match name.as_bytes().last() {
        Some(b't') => name.ends_with("secret") || name.ends_with("jwt"),
        Some(b'n') => name.ends_with("token") || (name.ends_with("ssn") && !name.ends_with("issn")),
        Some(b'd') => name.ends_with("pwd"),
        Some(b'p') => name.ends_with("otp"),
        Some(b'v') => name.ends_with("cvv"),
        Some(b'c') => name.ends_with("cvc"),
        Some(b'e') => SECRET_ENDS_E.iter().any(|end| name.ends_with(end)),
        Some(b'y') => name.strip_suffix("key").is_some_and(|kind| SECRET_KEYS.iter().any(|end| kind.ends_with(end))),
        _ => false,
    }
}

fn is_token_kind(name: &str) -> bool {
    let kinds = ["access", "refresh", "session", "auth", "api", "bearer", "reset", "device", "push", "personal"];
    name.strip_suffix("token").is_some_and(|kind| kind == "id" || kinds.iter().any(|end| kind.ends_with(end)))
}

/// Tokens that say where a list goes on.
fn is_cursor(name: &str) -> bool {
    let kinds = ["page", "nextpage", "prevpage", "previouspage", "next", "prev", "continuation", "sync", "nextsync"];
    name.strip_suffix("token").is_some_and(|kind| kinds.contains(&kind))
}

/// What follows the last `password` or `passwd` of a name, if it has one.
fn after_password(name: &str) -> Option<&str> {
    let at = name.as_bytes().windows(5).rposition(|window| window == b"passw")?;
    let stem = &name[at..];
    stem.strip_prefix("password").or_else(|| stem.strip_prefix("passwd"))
}

fn is_about_a_password(tail: &str) -> bool {
    let moment = tail.strip_suffix("at").or_else(|| tail.strip_suffix("on")).unwrap_or(tail);
    matches!(
        moment,
        "changed"
            | "lastchanged"
            | "updated"
            | "lastupdated"
            | "set"
            | "created"
            | "reset"
            | "resetsent"
            | "expires"
            | "expired"
            | "expiry"
            | "age"
            | "ageindays"
            | "strength"
            | "policy"
            | "required"
            | "resetrequired"
            | "changerequired"
            | "enabled"
            | "login"
            | "loginenabled"
            | "less"
            | "count"
            | "attempts"
            | "minlength"
            | "maxlength"
    )
}

/// `has_password`, `isSecret`, `must_change_password`.
fn is_question(name: &str) -> bool {
    let asks = [
        "is", "has", "had", "needs", "need", "requires", "require", "uses", "use", "must", "should", "can", "allow",
        "allows", "force", "no", "show",
    ];
    let verbs = ["change", "reset", "set", "update", "rotate", "renew", "new", ""];
    let things = ["password", "passwd", "secret", "token", "otp", "totp", "apikey", "passphrase", "ssn"];
    let thing = |rest: &str| verbs.iter().any(|verb| rest.strip_prefix(verb).is_some_and(|r| things.contains(&r)));
    asks.iter().any(|ask| name.strip_prefix(ask).is_some_and(thing))
}

/// Without the marks that say in which form a secret stands there.
fn undecorated(name: &str) -> &str {
    const MARKS: [&str; 14] = [
        "hash",
        "hashed",
        "digest",
        "value",
        "encrypted",
        "enc",
        "plain",
        "plaintext",
        "raw",
        "base64",
        "hex",
        "text",
        "string",
        "pem",
    ];
    let mut bare = name;
    loop {
        let unnumbered = bare.trim_end_matches(|c: char| c.is_ascii_digit());
        let shorter = MARKS.iter().filter_map(|mark| bare.strip_suffix(mark)).next().unwrap_or(unnumbered);
        if shorter.is_empty() || shorter.len() == bare.len() {
            return bare;
        }
        bare = shorter;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judge(name: &str) -> Verdict {
        Never::default().judge(name, &mut String::new())
    }

    /// What the projection's promise names; kept apart from the rules, so that a rule that goes missing is noticed.
    pub const PROMISED: [&str; 24] = [
        "password",
        "passwd",
        "hashed_password",
        "password_hash",
        "secret",
        "client_secret",
        "two_factor_secret",
        "totp_secret",
        "otp",
        "recovery_codes",
        "backup_codes",
        "api_key",
        "apikey",
        "access_token",
        "refresh_token",
        "id_token",
        "oauth_token",
        "private_key",
        "ssn",
        "cvv",
        "pin",
        "session_token",
        "authorization",
        "cookie",
    ];

    #[test]
    fn promised_names_are_never_kept() {
        for name in PROMISED {
            assert_eq!(judge(name), Verdict::Never, "{name}");
        }
    }

    #[test]
    fn every_spelling_of_a_name_is_that_name() {
        for name in [
            "hashedPassword",
            "HASHED-PASSWORD",
            "hashed password",
            "Hashed_Password",
            "hashed.password",
            "pass_word",
            "password2",
            "newPasswords",
            "user[password]",
            "encrypted_password",
            "passwordHash",
            "password_hash_v2",
            "old-passwd",
            "webhookSecret",
            "secrets",
            "api-key-hash",
            "X-API-Key",
            "csrfToken",
            "token",
            "accessTokens",
            "ssn_encrypted",
            "CVV2",
            "pin_hash",
            "ＰＡＳＳＷＯＲＤ",
            "pa\u{17f}\u{17f}word",
            "pass\u{200b}word",
            "Set-Cookie",
            "aws_secret_access_key",
            "privateKeyPem_base64",
            "token1",
            "otp_code",
            "totp_secret_enc",
        ] {
            assert_eq!(judge(name), Verdict::Never, "{name}");
        }
    }

    #[test]
    fn names_that_only_sound_secret_are_kept() {
        for name in [
            "id",
            "name",
            "email",
            "token_count",
            "total_tokens",
            "max_tokens",
            "paid_tokens",
            "pins",
            "issn",
            "token_type",
            "tokenExpiresAt",
            "nextPageToken",
            "continuation_token",
            "password_changed_at",
            "passwordPolicy",
            "passwordless",
            "secretary",
            "spinning",
            "pinned",
            "opinion",
            "mapping",
            "session_id",
            "compass",
            "passport",
            "bypass",
            "keyboard",
            "public_key",
            "primary_key",
            "cookies_accepted",
            "authorized",
            "2",
            "hash",
            "",
            "ssn_last4",
        ] {
            assert_eq!(judge(name), Verdict::Keep, "{name}");
        }
    }

    #[test]
    fn questions_may_be_answered_but_not_filled() {
        for name in ["is_secret", "hasPassword", "must_change_password", "requires-otp", "pass"] {
            assert_eq!(judge(name), Verdict::Flag, "{name}");
        }
        assert_eq!(judge("issuer_secret"), Verdict::Never);
    }

    #[test]
    fn an_entitys_own_names_are_exact() {
        let never = Never::new(&["Salary-Band".to_owned()]).expect("a good name");
        assert_eq!(never.judge("salary_band", &mut String::new()), Verdict::Never);
        assert_eq!(never.judge("salary_bands", &mut String::new()), Verdict::Keep);
        assert_eq!(Never::new(&["-".to_owned()]).expect_err("no letters"), "-");
    }

    proptest! {
        #[test]
        fn judging_is_total(name in ".*") {
            judge(&name);
        }
    }
}
