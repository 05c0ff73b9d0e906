//! Compares the library with its peers: fexit, libbpf-rs and aya load, attach and run the same objects in one VM.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use xshell::{Shell, cmd};

const PROGRAMS: [&str; 4] = ["bench", "with-fexit", "with-libbpf", "with-aya"];

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The kernel, as --kernel of the harness names it
    #[arg(long, default_value = "5.10")]
    kernel: String,
    /// Count guest instructions instead of time: independent of other load, but also of the hardware
    #[arg(long)]
    icount: bool,
    /// How often each case runs
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// The cases: plain, core, second, ten, hundred, module [default: all]
    cases: Vec<String>,
}

pub(crate) fn run(shell: &Shell, args: &Args) -> Result<()> {
    require_libraries()?;
    let work = shell.current_dir().join("target/bench");
    let stage = stage_programs(shell, &work)?;

    let kernel = &args.kernel;
    let rounds = args.rounds.to_string();
    let bench = stage.join("bench");
    let mut bench_args = vec!["--rounds".to_owned(), rounds];
    let mut accel = Vec::new();
    let _qemu;
    if args.icount {
        let wrapper = qemu_with_icount(shell, &work)?;
        _qemu = shell.push_env("QEMU", wrapper);
        bench_args.push("--icount".to_owned());
        accel = vec!["--accel", "tcg"];
    }
    bench_args.extend(args.cases.iter().cloned());
    cmd!(
        shell,
        "cargo run -q -p harness -- exec --kernel {kernel} {accel...} --module tun --timeout 3600 --file {stage}
         -- {bench} {bench_args...}"
    )
    .quiet()
    .run()?;
    Ok(())
}

/// libbpf comes with its crate, which links static libelf and zlib.
fn require_libraries() -> Result<()> {
    let libraries = PathBuf::from(format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    let needed = [
        (libraries.join("libelf.a"), "libelf-dev"),
        (libraries.join("libz.a"), "zlib1g-dev"),
        (PathBuf::from("/usr/bin/pkg-config"), "pkg-config"),
    ];
    let missing = needed.iter().filter(|(file, _)| !file.exists());
    let missing: Vec<_> = missing.map(|(_, package)| *package).collect();
    ensure!(
        missing.is_empty(),
        "libbpf-rs requires libraries that are not installed: apt-get install {}",
        missing.join(" ")
    );
    Ok(())
}

/// Builds the programs and objects for the VM. Returns their directory.
fn stage_programs(shell: &Shell, work: &Path) -> Result<PathBuf> {
    let arch = std::env::consts::ARCH;
    let target = format!("{arch}-unknown-linux-gnu");
    cmd!(
        shell,
        "cargo build --release --locked --manifest-path bench/Cargo.toml --target {target} --target-dir {work}"
    )
    .env("LIBBPF_SYS_LIBRARY_PATH", format!("/usr/lib/{arch}-linux-gnu"))
    .env("RUSTFLAGS", "-C target-feature=+crt-static")
    .run()?;
    let stage = shell.create_dir(work.join("stage"))?;
    for program in PROGRAMS {
        shell.copy_file(work.join(&target).join("release").join(program), &stage)?;
    }
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    for source in shell.read_dir("bench/bpf")? {
        let Some(name) = source.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if let Some(stem) = name.strip_suffix(".bpf.c") {
            let object = stage.join(format!("{stem}.bpf.o"));
            let headers = format!("/usr/include/{arch}-linux-gnu");
            cmd!(
                shell,
                "{clang} -O2 -g -target bpf -Wall -Werror -idirafter {headers} -c {source} -o {object}"
            )
            .quiet()
            .run()?;
        }
    }
    Ok(stage)
}

/// A script that starts QEMU with an instruction counter as its clock.
fn qemu_with_icount(shell: &Shell, work: &Path) -> Result<PathBuf> {
    let qemu = std::env::var("QEMU").unwrap_or_else(|_| "qemu-system-x86_64".to_owned());
    let script = work.join("qemu-icount");
    shell.write_file(
        &script,
        format!("#!/bin/sh\nexec '{qemu}' \"$@\" -icount shift=0,sleep=off\n"),
    )?;
    std::fs::set_permissions(&script, Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", script.display()))?;
    Ok(script)
}
