//! Builds `/init`, the static guest, for each architecture for which this machine has what it takes, and has it list its
//! scenarios, so that one `harness` binary carries what it boots and needs no cargo at run time.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// The architectures of guests, as Rust calls them, and the variants of `Arch`.
const ARCHES: [(&str, &str); 2] = [("x86_64", "X86_64"), ("aarch64", "Arm64")];

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

/// The compiler and the linker for guests of an architecture.
struct Toolchain {
    /// Static glibc needs an explicit `--target`: without one, `crt-static` would reach proc macros as well.
    target: String,
    /// Where another compiler and linker than those of the outer build are used.
    cross: Option<Cross>,
}

struct Cross {
    rustc: PathBuf,
    linker: String,
}

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

    let host = variable("CARGO_CFG_TARGET_ARCH")?;
    let mut guests = "&[".to_owned();
    for (arch, variant) in ARCHES {
        let toolchain = if arch == host {
            native(arch)
        } else if let Some(toolchain) = cross(arch)? {
            toolchain
        } else {
            continue;
        };
        guest(&workspace, &out, arch, &toolchain)?;
        if arch == host {
            let catalog = list_scenarios(&out.join(format!("init-{arch}")))?;
            fs::write(out.join("scenarios.json"), catalog)
                .map_err(|e| format!("cannot write scenarios.json: {e}"))?;
        }
        let embedded =
            |name| format!("include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}-{arch}\"))");
        let (init, stage1) = (embedded("init"), embedded("stage1"));
        let _ = write!(
            guests,
            "Guest {{ arch: Arch::{variant}, init: {init}, stage1: {stage1} }},"
        );
    }
    fs::write(out.join("guests.rs"), guests + "]")
        .map_err(|e| format!("cannot write guests.rs: {e}"))
}

/// Builds the guest of an architecture.
fn guest(workspace: &Path, out: &Path, arch: &str, toolchain: &Toolchain) -> Result<(), String> {
    let target_dir = guest_target_dir(out, toolchain)?;
    let output = guest_build(workspace, &target_dir, toolchain)?
        .output()
        .map_err(|e| format!("cannot run cargo to build the guest: {e}"))?;
    if !output.status.success() {
        return Err(format!(
            "the guest for {arch} (/init and the scenarios) does not build; its own cargo said:\n\n{}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    for name in ["init", "stage1"] {
        let built = target_dir.join(&toolchain.target).join("guest").join(name);
        fs::copy(&built, out.join(format!("{name}-{arch}")))
            .map_err(|e| format!("cannot copy the built guest from {}: {e}", built.display()))?;
    }
    Ok(())
}

fn native(arch: &str) -> Toolchain {
    Toolchain {
        target: target(arch),
        cross: None,
    }
}

fn target(arch: &str) -> String {
    format!("{arch}-unknown-linux-gnu")
}

/// The cross toolchain for an architecture: a linker with a static libc, and a compiler with its standard library: that of
/// the outer build, or the one that `ci/setup --arm64` installs. `None` if there is none.
fn cross(arch: &str) -> Result<Option<Toolchain>, String> {
    let target = target(arch);
    let named = format!("HARNESS_RUSTC_{}", arch.to_uppercase());
    println!("cargo::rerun-if-env-changed={named}");
    let linker = format!("{arch}-linux-gnu-gcc");
    if !has_static_libc(&linker) {
        return Ok(None);
    }
    let outer = Some(PathBuf::from(variable("RUSTC")?));
    let installed = cache_dir().map(|cache| cache.join("fexit-rust").join(arch).join("rustc"));
    let rustc = match env::var_os(&named) {
        Some(named) => Some(PathBuf::from(named)),
        None => [outer, installed]
            .into_iter()
            .flatten()
            .find(|rustc| has_std(rustc, &target)),
    };
    Ok(rustc.map(|rustc| Toolchain {
        target,
        cross: Some(Cross { rustc, linker }),
    }))
}

fn has_static_libc(linker: &str) -> bool {
    let asked = Command::new(linker).arg("-print-file-name=libc.a").output();
    // The name alone means that the compiler found no such file.
    asked.is_ok_and(|output| output.stdout.starts_with(b"/"))
}

fn has_std(rustc: &Path, target: &str) -> bool {
    let mut asked = Command::new(rustc);
    asked.args(["--print", "target-libdir", "--target", target]);
    let Ok(output) = asked.output() else {
        return false;
    };
    let libdir = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    output.status.success() && libdir.is_dir()
}

fn cache_dir() -> Option<PathBuf> {
    let absolute = |name: &str| {
        let value = env::var_os(name).map(PathBuf::from);
        value.filter(|path| path.is_absolute())
    };
    absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))
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

fn guest_build(
    workspace: &Path,
    target_dir: &Path,
    toolchain: &Toolchain,
) -> Result<Command, String> {
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
        .args(["--profile", "guest", "--target", &toolchain.target])
        .arg("--target-dir")
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
    if let Some(Cross { rustc, linker }) = &toolchain.cross {
        let target = toolchain.target.to_uppercase().replace('-', "_");
        cargo
            .env("RUSTC", rustc)
            .env(format!("CARGO_TARGET_{target}_LINKER"), linker);
    }
    Ok(cargo)
}

/// A separate directory next to the outer build's: cargo locks a target directory for as long as it builds, and
/// the outer one waits for this script.
fn guest_target_dir(out: &Path, toolchain: &Toolchain) -> Result<PathBuf, String> {
    let name = match &toolchain.cross {
        Some(_) => format!("guest-{}", toolchain.target),
        None => "guest".to_owned(),
    };
    out.ancestors()
        .find(|dir| dir.ends_with("build"))
        .and_then(|build| build.parent()?.parent())
        .map(|target| target.join(name))
        .ok_or_else(|| format!("no target directory above {}", out.display()))
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("{name} is not set: build with cargo"))
}
