//! What may be kept of a source's answer. No answer may make it panic; what passes is JSON, keeps the size limit, and
//! passes again unchanged.

#![no_main]

use std::sync::LazyLock;

use hydrant::domain::projection::{Projection, Spec};
use libfuzzer_sys::fuzz_target;

static PROJECTIONS: LazyLock<[Projection; 3]> = LazyLock::new(|| {
    let projection = |body: Option<&str>, allow: &[&str]| {
        let spec = Spec {
            body: body.map(str::to_owned),
            allow: allow.iter().map(|path| (*path).to_owned()).collect(),
            never: vec!["nickname".to_owned()],
            trust: vec!["order".to_owned()],
            max_bytes: 4_096,
        };
        Projection::new(spec).expect("a good specification")
    };
    [projection(None, &["*"]), projection(None, &["a", "b.c", "order"]), projection(Some("$.data"), &["*"])]
});

fuzz_target!(|bytes: &[u8]| {
    for projection in PROJECTIONS.iter() {
        let _ = projection.apply(bytes);
    }
    for projection in &PROJECTIONS[..2] {
        if let Ok(kept) = projection.apply(bytes) {
            assert!(kept.len() <= projection.max_bytes());
            assert_eq!(projection.apply(&kept).expect("what was kept may be kept"), kept);
        }
    }
});
