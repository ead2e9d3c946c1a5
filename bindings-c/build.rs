//! Gives the shared library the name that programs load it by.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        // The number is that of SHMR_ABI_VERSION.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libshmr.so.1");
    }
}
