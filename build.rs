//! Compiles the contract under `proto/` and nothing else. protox is a protobuf compiler in Rust, so no `protoc` is
//! needed on the machine. The descriptor set keeps the comments: reflection and the API reference are served from it.

#![expect(clippy::disallowed_methods, reason = "cargo speaks to a build script through its environment")]

use std::{env, fs, path::PathBuf};

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

/// `hydrant --version` names the commit. A tree without git (a source archive) says `unknown`; an image build passes
/// HYDRANT_COMMIT instead.
fn commit_for_version() {
    println!("cargo:rerun-if-env-changed=HYDRANT_COMMIT");
    println!("cargo:rerun-if-changed=.git/HEAD");
    let from_git = || {
        let out = std::process::Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
        out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    let commit = env::var("HYDRANT_COMMIT").ok().or_else(from_git).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=HYDRANT_COMMIT={commit}");
}
