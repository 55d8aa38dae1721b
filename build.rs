//! Compiles the contract under `proto/` and nothing else. protox is a protobuf compiler in Rust, so no `protoc` is
//! needed on the machine. The descriptor set keeps the comments: reflection and the API reference are served from it.

#![expect(clippy::disallowed_methods, reason = "cargo speaks to a build script through its environment")]

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut files: Vec<PathBuf> =
        fs::read_dir("proto/hydrant/v1")?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.sort();

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(&files)?;
    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join("hydrant.v1.bin");
    fs::write(descriptors, compiler.encode_file_descriptor_set())?;

    tonic_prost_build::configure()
        .bytes(".")
        // Maps in the order of their names, so that a bad request is reported alike each time.
        .btree_map(".")
        // Bytes that are no message are the caller's mistake, where prost's own codec says INTERNAL.
        .codec_path("crate::grpc::codec::ContractCodec")
        .skip_debug(SECRET_MESSAGES)
        .compile_fds(compiler.file_descriptor_set())?;
    commit_for_version();
    Ok(())
}

/// Messages that carry a cookie, a token or a value (`debug_redact` in the contract, which prost does not know of). They
/// get no derived `Debug`; `src/grpc/redact.rs` writes one by hand that leaves the secret out.
const SECRET_MESSAGES: [&str; 7] = [
    ".hydrant.v1.Subject",
    ".hydrant.v1.Replacement",
    ".hydrant.v1.PrehydrateRequest",
    ".hydrant.v1.SubjectTarget",
    ".hydrant.v1.LookupRequest",
    ".hydrant.v1.LookupResult",
    ".hydrant.v1.WatchUpdated",
];

/// `hydrant --version` names the commit, in a release build: a build that is for trying says `dev`, since to follow the
/// commits would compile all of it anew after each. A tree without git (a source archive) says `unknown`; an image build
/// passes HYDRANT_COMMIT instead.
fn commit_for_version() {
    println!("cargo:rerun-if-env-changed=HYDRANT_COMMIT");
    let commit = env::var("HYDRANT_COMMIT").ok().or_else(released).unwrap_or_else(|| "dev".to_owned());
    println!("cargo:rustc-env=HYDRANT_COMMIT={commit}");
}

fn released() -> Option<String> {
    if env::var("PROFILE").as_deref() != Ok("release") {
        return None;
    }
    // Every commit and checkout adds a line to it; HEAD itself changes with the branch alone. A file that is not there
    // would count as changed each time, and all be compiled anew.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists()) {
        println!("cargo:rerun-if-changed={log}");
    }
    Some(git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned()))
}

fn git(args: &[&str]) -> Option<String> {
    let out = std::process::Command::new("git").args(args).output().ok()?;
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
}
