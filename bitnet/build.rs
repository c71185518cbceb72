//! Passes on where LibTorch is.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // torch-sys says where the LibTorch is that it links. The loader looks there, too, in this
    // crate's tests and examples; the build scripts of the programs say the same for these.
    if let Ok(folder) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
        println!("cargo::metadata=libtorch_lib={folder}");
    }
}
