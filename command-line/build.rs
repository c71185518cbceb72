//! Passes on which commit is built, and to the loader where LibTorch is.

use std::path::Path;

#[path = "src/commit.rs"]
mod commit;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/commit.rs");
    if let Ok(folder) = std::env::var("DEP_BITNET_LIBTORCH_LIB") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
    }
    let Some(commit) = commit::find(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..")) else {
        return;
    };
    for file in commit.files {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    println!("cargo::rustc-env=BITNET_COMMIT={}", commit.hash);
}
