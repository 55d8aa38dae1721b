use super::*;
#[test]
fn tmp() {
    let l = load(
        Path::new("/tmp/min.yaml"),
        &BTreeMap::from([("HYDRANT__ENTITIES__USER__TTL__JITTER".to_owned(), "5%".to_owned())]),
    );
    match l {
        Ok(l) => {
            eprintln!("{}", l.effective.render("min"));
            for w in l.warnings {
                eprintln!("{}", w.render(Path::new("x")))
            }
        }
        Err(e) => eprintln!("{e}"),
    }
    eprintln!("{}", schema());
    eprintln!("{}", reference::markdown());
}
