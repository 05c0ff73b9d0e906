//! For build scripts: compiles BPF programs in C with clang.
//!
//! ```no_run
//! // build.rs
//! fn main() -> std::process::ExitCode {
//!     bpf_build::compile_all("src", &[])
//! }
//! ```

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const INSTALL: &str = "apt-get install clang libbpf-dev linux-libc-dev";

/// Compiles each `NAME.bpf.c` of the directory `sources` to `NAME.bpf.o` in `OUT_DIR`; headers are
/// searched in `includes` too. Both are relative to the crate. An error is printed, and fails the build.
pub fn compile_all(sources: &str, includes: &[&str]) -> ExitCode {
    match try_compile_all(sources, includes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn try_compile_all(sources: &str, includes: &[&str]) -> Result<(), Box<dyn Error>> {
    for dir in includes.iter().chain([&sources]) {
        println!("cargo::rerun-if-changed={dir}");
    }
    println!("cargo::rerun-if-env-changed=CLANG");
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    for entry in fs::read_dir(sources)? {
        let source = entry?.path();
        let name = source.file_name().and_then(|name| name.to_str());
        if let Some(stem) = name.and_then(|name| name.strip_suffix(".bpf.c")) {
            compile(&source, includes, &out_dir.join(format!("{stem}.bpf.o")))?;
        }
    }
    Ok(())
}

fn compile(source: &Path, includes: &[&str], object: &Path) -> Result<(), Box<dyn Error>> {
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let arch = env::var("CARGO_CFG_TARGET_ARCH")?;
    let define = match arch.as_str() {
        "x86_64" => "-D__TARGET_ARCH_x86",
        "aarch64" => "-D__TARGET_ARCH_arm64",
        other => return Err(format!("cannot compile BPF programs for the architecture {other}: only x86_64 and aarch64 are supported").into()),
    };
    let output = Command::new(&clang)
        .args(["-O2", "-g", "-target", "bpf", "-Wall", "-Werror", define])
        .args(includes.iter().map(|dir| format!("-I{dir}")))
        // Debian keeps asm/types.h in a directory per architecture, which clang does not search for this target.
        .arg(format!("-idirafter/usr/include/{arch}-linux-gnu"))
        // For another architecture they come with its compiler.
        .arg(format!("-idirafter/usr/{arch}-linux-gnu/include"))
        .arg("-c")
        .arg(source)
        .arg("-o")
        .arg(object)
        .output()
        .map_err(|error| {
            format!("cannot run `{clang}` to compile the BPF programs ({error}): {INSTALL}")
        })?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let hint = if stderr.contains("file not found") {
        format!("\nheaders are missing: {INSTALL}")
    } else {
        String::new()
    };
    Err(format!(
        "{clang} cannot compile {}:\n{stderr}{hint}",
        source.display()
    )
    .into())
}
