//! What was asked for: `make consistency` turns its variables into these.

use std::path::PathBuf;

use hydrant::domain::mutant::Mutant;

use crate::faults::Fault;
use crate::run::Way;

#[derive(Debug)]
pub struct Args {
    pub faults: Vec<Fault>,
    pub seconds: u64,
    pub mutant: Option<Mutant>,
    pub way: Way,
    pub seed: u64,
    pub json: PathBuf,
    /// Run without namespaces where there could be some.
    pub loopback: Option<String>,
}

const SECONDS: u64 = 20;
const LONG_SECONDS: u64 = 300;

const USAGE: &str = "--fault <name,name|ci|all> --for <seconds> --mutant <M1…> --invalidate <hydrant|app> --seed <number> --json <file> \
                     --loopback --long";

impl Args {
    pub fn read(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut args = Self {
            faults: Vec::new(),
            seconds: SECONDS,
            mutant: None,
            way: Way::Hydrant,
            seed: 1,
            json: PathBuf::from("target/consistency.json"),
            loopback: None,
        };
        let (mut words, mut faults, mut seconds) = (words, String::new(), None);
        while let Some(word) = words.next() {
            // An empty value is a variable of make's that nobody has set.
            let mut value = || words.next().ok_or(format!("{word} needs a value; {USAGE}"));
            match word.as_str() {
                "--fault" => faults = value()?,
                "--for" => seconds = Some(value()?).filter(|text| !text.is_empty()),
                "--mutant" => args.mutant = mutant(&value()?)?,
                "--invalidate" => args.way = way(&value()?)?,
                "--seed" => args.seed = number(&value()?, args.seed)?,
                "--json" => args.json = value()?.into(),
                "--loopback" => args.loopback = Some("as asked".to_owned()),
                "--long" => args.seconds = LONG_SECONDS,
                // What cargo hands to every test binary.
                "--nocapture" | "--quiet" => {}
                _ => return Err(format!("{word} is not known; {USAGE}")),
            }
        }
        args.seconds = seconds.map_or(Ok(args.seconds), |text| number(&text, 0))?;
        args.faults = chosen(&faults, args.mutant)?;
        Ok(args)
    }
}

fn chosen(names: &str, mutant: Option<Mutant>) -> Result<Vec<Fault>, String> {
    match (names, mutant) {
        ("", Some(Mutant::M17DetectorsOff)) => {
            Err("M17 shows in the tests of the projection: nothing here is a secret".to_owned())
        }
        ("", Some(Mutant::M14LeaseFromReply | Mutant::M15ReleaseUnasked)) => {
            Err("M14 and M15 show in the tests of the lease: nothing here is warmed up".to_owned())
        }
        ("", Some(mutant)) => Ok(shows(mutant)),
        ("" | "ci", _) => Ok(Fault::for_ci()),
        ("all", _) => Ok(Fault::all()),
        (names, _) => {
            let known = || Fault::all().iter().map(|fault| fault.name()).collect::<Vec<_>>().join(" ");
            let named = |name: &str| Fault::named(name).ok_or_else(|| format!("no fault `{name}`: ci all {}", known()));
            names.split(',').map(named).collect()
        }
    }
}

/// Under which faults a mutant shows.
fn shows(mutant: Mutant) -> Vec<Fault> {
    match mutant {
        Mutant::M2NoWait | Mutant::M16NoWaitForRegistration => vec![Fault::CutThenKill],
        Mutant::M7TokenSurvivesReconnect => vec![Fault::RestartInPlace],
        Mutant::M10JournalLate => vec![Fault::KillSidecar],
        Mutant::M1NoClaim
        | Mutant::M3CounterNonces
        | Mutant::M4AliasClaimedLate
        | Mutant::M5IndexCleared
        | Mutant::M8FetchBeforeClaim
        | Mutant::M14LeaseFromReply
        | Mutant::M15ReleaseUnasked
        | Mutant::M17DetectorsOff
        | Mutant::M18IndexReadFirst
        | Mutant::M19OnePass => vec![Fault::None],
    }
}

fn mutant(name: &str) -> Result<Option<Mutant>, String> {
    if name.is_empty() {
        return Ok(None);
    }
    if !cfg!(feature = "mutants") {
        return Err("mutants need `--features mutants`".to_owned());
    }
    Mutant::named(name).map(Some).ok_or_else(|| format!("no mutant `{name}`"))
}

fn way(name: &str) -> Result<Way, String> {
    match name {
        "" | "hydrant" => Ok(Way::Hydrant),
        "app" => Ok(Way::App),
        _ => Err(format!("`{name}` is neither hydrant nor app")),
    }
}

fn number(text: &str, default: u64) -> Result<u64, String> {
    if text.is_empty() { Ok(default) } else { text.parse().map_err(|_| format!("`{text}` is no number")) }
}
