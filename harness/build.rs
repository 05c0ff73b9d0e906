//! Builds `/init`, the static guest, and has it list its scenarios, so that one `harness` binary carries what it boots
//! and needs no cargo at run time.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// Static glibc needs an explicit `--target`: without one, `crt-static` would reach proc macros as well.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What cargo tells this script about the outer build, and what must not reach the inner one.
const LEAKS: [&str; 12] = [
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_MAKEFLAGS",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_MANIFEST_LINKS",
    "RUSTC_LINKER",
    "RUSTC_WORKSPACE_WRAPPER",
    "TARGET",
    "OUT_DIR",
];

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let out = PathBuf::from(variable("OUT_DIR")?);
    let workspace = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("..");
    for input in [
        "bpf-build",
        "examples",
        "images",
        "fexit",
        "Cargo.toml",
        "Cargo.lock",
    ] {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(input).display()
        );
    }

    let target_dir = guest_target_dir(&out)?;
    let output = guest_build(&workspace, &target_dir)?
        .output()
        .map_err(|e| format!("cannot run cargo to build the guest: {e}"))?;
    if !output.status.success() {
        return Err(format!(
            "the guest (/init and the scenarios) does not build; its own cargo said:\n\n{}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }

    for name in ["init", "stage1"] {
        let built = target_dir.join(TARGET).join("guest").join(name);
        fs::copy(&built, out.join(name))
            .map_err(|e| format!("cannot copy the built guest from {}: {e}", built.display()))?;
    }
    let catalog = list_scenarios(&out.join("init"))?;
    fs::write(out.join("scenarios.json"), catalog)
        .map_err(|e| format!("cannot write scenarios.json: {e}"))
}

/// The guest's own list of its scenarios, so that the harness links none of their code.
fn list_scenarios(init: &Path) -> Result<Vec<u8>, String> {
    let output = Command::new(init)
        .arg("scenarios")
        .output()
        .map_err(|e| format!("cannot run the built guest {}: {e}", init.display()))?;
    if !output.status.success() {
        return Err(format!(
            "the built guest does not list its scenarios ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    Ok(output.stdout)
}

fn guest_build(workspace: &Path, target_dir: &Path) -> Result<Command, String> {
    let mut cargo = Command::new(variable("CARGO")?);
    cargo
        .current_dir(workspace)
        .args([
            "build",
            "--package",
            "guest",
            "--bin",
            "init",
            "--bin",
            "stage1",
        ])
        .args(["--profile", "guest", "--target", TARGET, "--target-dir"])
        .arg(target_dir);
    if workspace.join("Cargo.lock").exists() {
        cargo.arg("--locked");
    }
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        let about_this_build = ["CARGO_PKG_", "CARGO_CFG_", "CARGO_FEATURE_", "DEP_"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
        if about_this_build || LEAKS.contains(&name.as_ref()) {
            cargo.env_remove(name.as_ref());
        }
    }
    // cargo-clippy stands in for rustc through one of two variables; a wrapper of the user's own (sccache) stays.
    if env::var("RUSTC_WRAPPER").is_ok_and(|wrapper| wrapper.contains("clippy-driver")) {
        cargo.env_remove("RUSTC_WRAPPER");
    }
    cargo.env(
        "RUSTFLAGS",
        "-C target-feature=+crt-static -C relocation-model=static",
    );
    Ok(cargo)
}

/// A separate directory next to the outer build's: cargo locks a target directory for as long as it builds, and
/// the outer one waits for this script.
fn guest_target_dir(out: &Path) -> Result<PathBuf, String> {
    out.ancestors()
        .find(|dir| dir.ends_with("build"))
        .and_then(|build| build.parent()?.parent())
        .map(|target| target.join("guest"))
        .ok_or_else(|| format!("no target directory above {}", out.display()))
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("{name} is not set: build with cargo"))
}
