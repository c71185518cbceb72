//! The build script of both programs: has the loader look for LibTorch where the library found it.

fn main() {
    println!("cargo::rerun-if-changed=../command-line/loader.rs");
    if let Ok(folder) = std::env::var("DEP_BITNET_LIBTORCH_LIB") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
    }
}
