//! The programs and headers that a build needs, checked before it starts.

use std::env;
use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

/// A program and its Debian package.
const PROGRAMS: [(&str, &str); 8] = [
    ("make", "make"),
    ("gcc", "gcc"),
    ("ld", "binutils"),
    ("flex", "flex"),
    ("bison", "bison"),
    ("bc", "bc"),
    ("perl", "perl"),
    ("pahole", "dwarves"),
];

/// A header that the kernel's own tools include, and its Debian package.
const HEADERS: [(&str, &str); 2] = [("gelf.h", "libelf-dev"), ("zlib.h", "zlib1g-dev")];

/// What some kernel options require in addition: an option, and a program or header with its Debian package.
const OF_OPTIONS: [(&str, &str, &str); 5] = [
    ("CONFIG_MODULE_COMPRESS_XZ", "xz", "xz-utils"),
    ("CONFIG_MODULE_COMPRESS_ZSTD", "zstd", "zstd"),
    ("CONFIG_MODULE_SIG", "openssl", "openssl"),
    ("CONFIG_MODULE_SIG", "openssl/opensslv.h", "libssl-dev"),
    (
        "CONFIG_SYSTEM_TRUSTED_KEYRING",
        "openssl/opensslv.h",
        "libssl-dev",
    ),
];

/// Checks that what this configuration requires is there.
pub(super) fn check_for(config: &str) -> Result<()> {
    let is_there = |name: &str| {
        if name.ends_with(".h") {
            compiles(name)
        } else {
            is_on_path(name, &env::var_os("PATH").unwrap_or_default())
        }
    };
    match missing_for(config, is_there) {
        None => Ok(()),
        Some((option, name, package)) => bail!(
            "the configuration has {option}, for which {name} is missing (Debian and Ubuntu: `apt-get install {package}`)"
        ),
    }
}

fn missing_for(
    config: &str,
    is_there: impl Fn(&str) -> bool,
) -> Option<(&'static str, &'static str, &'static str)> {
    let is_on = |option: &str| config.lines().any(|line| line == format!("{option}=y"));
    OF_OPTIONS
        .into_iter()
        .find(|(option, name, _)| is_on(option) && !is_there(name))
}

/// The versions of the programs that the kernel records.
#[derive(Clone, Debug)]
pub struct Tools {
    /// As `gcc (Debian 12.2.0-14) 12.2.0`.
    pub compiler: String,
    /// As `GNU ld (GNU Binutils for Debian) 2.40`.
    pub linker: String,
    /// As `v1.24`.
    pub pahole: String,
}

impl Tools {
    /// Finds them; the error names all that are missing, and the packages to install.
    pub fn find() -> Result<Self> {
        let mut missing: Vec<_> = PROGRAMS
            .iter()
            .filter(|(program, _)| version(program).is_none())
            .collect();
        // The check for headers needs a compiler.
        if !missing.iter().any(|(program, _)| *program == "gcc") {
            missing.extend(HEADERS.iter().filter(|(header, _)| !compiles(header)));
        }
        if missing.is_empty() {
            let first_line = |program| version(program).unwrap_or_default();
            return Ok(Self {
                compiler: first_line("gcc"),
                linker: first_line("ld"),
                pahole: first_line("pahole"),
            });
        }
        let (names, packages): (Vec<_>, Vec<_>) = missing.into_iter().copied().unzip();
        bail!(
            "a kernel cannot be built here without {} (Debian and Ubuntu: `apt-get install {}`)",
            names.join(", "),
            packages.join(" ")
        )
    }

    /// 124 for version 1.24, as in the kernel's build system.
    pub(super) fn pahole_number(&self) -> u32 {
        let number = self.pahole.trim_start_matches('v').split_once('.');
        let number = number.and_then(|(major, minor)| {
            Some(major.parse::<u32>().ok()? * 100 + minor.parse::<u32>().ok()?)
        });
        number.unwrap_or(0)
    }
}

/// The first line of a program's `--version`; `None` if it does not run.
fn version(program: &str) -> Option<String> {
    let output = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let version = String::from_utf8_lossy(&output.stdout);
    output
        .status
        .success()
        .then(|| version.lines().next().unwrap_or_default().to_owned())
}

/// Whether a program is installed. Not all print a version: openssl refuses `--version`.
fn is_on_path(program: &str, path: &OsStr) -> bool {
    env::split_paths(path).any(|dir| dir.join(program).is_file())
}

fn compiles(header: &str) -> bool {
    let compiler = Command::new("gcc")
        .args(["-fsyntax-only", "-x", "c", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut compiler) = compiler else {
        return false;
    };
    if let Some(mut stdin) = compiler.stdin.take() {
        let _ = writeln!(stdin, "#include <{header}>");
    }
    compiler.wait().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn pahole_version_is_encoded_like_the_kernel_does() {
        for (version, number) in [("v1.24", 124), ("v1.30", 130), ("?", 0), ("", 0)] {
            let tools = Tools {
                compiler: String::new(),
                linker: String::new(),
                pahole: version.to_owned(),
            };
            assert_eq!(tools.pahole_number(), number, "{version}");
        }
    }

    #[test]
    fn only_an_option_that_is_on_requires_its_tools() {
        let signed = "CONFIG_MODULES=y\nCONFIG_MODULE_SIG=y\n";
        let found = missing_for(signed, |name| name == "openssl").unwrap();
        assert_eq!(found.2, "libssl-dev");
        assert_eq!(
            missing_for(signed, |name| name.starts_with("openssl")),
            None
        );
        let off = "CONFIG_MODULES=y\n# CONFIG_MODULE_SIG is not set\n";
        assert_eq!(missing_for(off, |_| false), None);
    }

    #[test]
    fn program_that_refuses_to_print_a_version_is_installed() {
        let dir = tempfile::tempdir().unwrap();
        let path = env::join_paths([Path::new("/nothing"), dir.path()]).unwrap();
        assert!(!is_on_path("openssl", &path));
        std::fs::write(dir.path().join("openssl"), "#!/bin/sh\nexit 1\n").unwrap();
        assert!(is_on_path("openssl", &path));
    }

    #[test]
    fn tool_that_does_not_run_counts_as_missing() {
        assert!(version("gcc").is_some());
        assert_eq!(version("no-such-program"), None);
        assert_eq!(version("false"), None);
        assert!(compiles("stdio.h"));
        assert!(!compiles("no/such/header.h"));
    }
}
