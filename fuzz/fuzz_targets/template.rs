//! Key templates, ids and keys. A key that is made reads back as the member it was made of, and a key that is read is the
//! one that member gets.

#![no_main]

use hydrant::domain::template::{Ids, Params, Template};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, Vec<&str>, &str)| {
    let (text, values, key) = input;
    let _ = Template::parse(text);
    let Ok(template) = Template::for_key(text) else { return };
    let names: Vec<String> = template.params().map(str::to_owned).collect();
    for ids in [Ids::Plain, Ids::Encoded] {
        let params: Params = names.iter().zip(&values).map(|(name, value)| (name.as_str(), *value)).collect();
        if let Ok(made) = template.key(&params, ids) {
            assert!(template.match_key(&made.to_string(), ids) == Some(params), "it reads back");
        }
        if let Some(params) = template.match_key(key, ids) {
            assert_eq!(template.key(&params, ids).expect("its own key").as_bytes(), key.as_bytes());
        }
    }
});
