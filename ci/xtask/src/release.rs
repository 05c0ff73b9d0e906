//! Builds the archive of a release: a static harness, its manual pages and completions, and a checksum.

use anyhow::{Result, ensure};
use xshell::{Shell, cmd};

/// Where the files of the release go.
const FILES: &str = "target/release-files";

/// What to release.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The tag of the release, which must be `v` and the version in Cargo.toml
    #[arg(long)]
    tag: Option<String>,
}

pub(crate) fn run(shell: &Shell, args: &Args) -> Result<()> {
    let version = format!("v{}", env!("CARGO_PKG_VERSION"));
    if let Some(tag) = &args.tag {
        ensure!(
            *tag == version,
            "the tag is {tag}, and the version in Cargo.toml is {version}: change one of them"
        );
    }

    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    // The C library of the machine that builds it does not matter then.
    cmd!(
        shell,
        "cargo build --release --locked -p harness --target {target}"
    )
    .env("RUSTFLAGS", "-C target-feature=+crt-static")
    .run()?;

    let name = format!("harness-{target}");
    let files = shell.current_dir().join(FILES);
    shell.remove_path(&files)?;
    let dir = files.join(&name);
    shell.create_dir(dir.join("man"))?;
    let built = format!("target/{target}/release/harness");
    shell.copy_file(&built, &dir)?;
    let man = dir.join("man");
    cmd!(shell, "{built} man {man}").run()?;
    for completions in ["bash", "zsh", "fish"] {
        let script = cmd!(shell, "{built} completions {completions}").read()?;
        shell.write_file(dir.join("completions").join(completions), script)?;
    }
    for text in ["README.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        shell.copy_file(text, &dir)?;
    }

    let _files = shell.push_dir(&files);
    let archive = format!("{name}.tar.gz");
    cmd!(
        shell,
        "tar --sort=name --owner=0 --group=0 --numeric-owner -czf {archive} {name}"
    )
    .run()?;
    shell.remove_path(&name)?;
    let sum = cmd!(shell, "sha256sum {archive}").read()?;
    shell.write_file(format!("{archive}.sha256"), format!("{sum}\n"))?;
    println!("{}", files.join(&archive).display());
    Ok(())
}
