//! The QEMU on this machine.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::machine::Machine;
use super::machine_cache::MachineCache;
use super::process::Process;
use crate::kernels::Arch;

/// The time limit for `qemu-system-x86_64 --version`, which takes some ten milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// The system calls that QEMU denies itself, once it has its devices: obsolete ones, those that gain privileges, start
/// programs, or change priorities and resource limits.
const SANDBOX: [&str; 2] = [
    "-sandbox",
    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
];

/// A QEMU whose version is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qemu {
    /// The program.
    pub path: PathBuf,
    /// Its version, as `7.2.22`.
    pub version: String,
    /// Whether it is built with a sandbox (seccomp).
    pub has_sandbox: bool,
}

impl Qemu {
    /// The QEMU for an architecture that the environment variable `QEMU` names, for arm64 `QEMU_ARM64`, otherwise the one on
    /// `PATH`; with the version from `cache` if it has it.
    pub fn find(arch: Arch, cache: &Path) -> Result<Self> {
        let path = find(arch)?;
        let mut cached = MachineCache::read(cache);
        if let Some((version, has_sandbox)) = cached.qemu(&path) {
            let version = version.to_owned();
            return Ok(Self {
                path,
                version,
                has_sandbox,
            });
        }
        let found = Self::at(&path)?;
        cached.learn_qemu(&path, &found.version, found.has_sandbox);
        Ok(found)
    }

    /// The arguments that narrow what QEMU itself may do, and that change nothing for the guest.
    pub(super) fn sandbox(&self) -> impl Iterator<Item = OsString> {
        let arguments = SANDBOX.into_iter().filter(|_| self.has_sandbox);
        arguments.map(OsString::from)
    }

    /// The QEMU at `path`.
    pub fn at(path: &Path) -> Result<Self> {
        let shown = path.display();
        let (status, output) = ask(path, &[])?;
        match version(&output) {
            Some(version) if status.success() => Ok(Self {
                path: path.to_owned(),
                version: version.to_owned(),
                has_sandbox: accepts_sandbox(path),
            }),
            _ => bail!(
                "`{shown} --version` ended with {status} and printed {:?}: this is not a QEMU",
                output.lines().next().unwrap_or_default()
            ),
        }
    }
}

/// Whether QEMU prints its version after it has read these arguments: it refuses unknown ones before.
fn accepts_sandbox(path: &Path) -> bool {
    ask(path, &SANDBOX).is_ok_and(|(status, output)| status.success() && version(&output).is_some())
}

/// Runs QEMU with these arguments and `--version`, and returns its status and the beginning of its output.
fn ask(path: &Path, arguments: &[&str]) -> Result<(ExitStatus, String)> {
    let mut command = Command::new(path);
    command
        .args(arguments)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let shown = path.display();
    let mut process =
        Process::spawn(command, &[]).with_context(|| format!("cannot run {shown}"))?;
    if !process.wait(PATIENCE)? {
        bail!("`{shown} --version` did not end within {PATIENCE:?}: is it a QEMU?");
    }
    let mut output = Vec::new();
    if let Some(stdout) = process.stdout() {
        process.end()?;
        stdout.take(4096).read_to_end(&mut output)?;
    }
    let status = process.end()?;
    Ok((status, String::from_utf8_lossy(&output).into_owned()))
}

fn find(arch: Arch) -> Result<PathBuf> {
    let machine = Machine::of(arch);
    let (named, path) = (env::var_os(machine.variable), env::var_os("PATH"));
    locate(machine, named, path.as_deref())
}

fn locate(machine: &Machine, named: Option<OsString>, path: Option<&OsStr>) -> Result<PathBuf> {
    let Machine {
        program,
        package,
        variable,
        ..
    } = machine;
    match named.filter(|named| !named.is_empty()) {
        // A path. What is known of a QEMU, its templates too, is kept by its path.
        Some(named) if named.to_string_lossy().contains('/') => Ok(named.into()),
        Some(named) => on_path(&named, path).with_context(|| {
            let named = named.display();
            format!(
                "{named}, which the environment variable {variable} names, is not on PATH: set it to the path of a QEMU"
            )
        }),
        None => on_path(program.as_ref(), path).with_context(|| {
            format!(
                "{program} is not on PATH: install it (Debian and Ubuntu: `apt-get install {package}`), \
                 or name one in the environment variable {variable}"
            )
        }),
    }
}

fn on_path(program: &OsStr, path: Option<&OsStr>) -> Option<PathBuf> {
    env::split_paths(path?)
        .map(|dir| dir.join(program))
        .find(|file| {
            file.metadata()
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
}

fn version(output: &str) -> Option<&str> {
    let rest = output.strip_prefix("QEMU emulator version ")?;
    rest.split_whitespace()
        .next()
        .filter(|word| word.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_follows_the_word_version() {
        let debian = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright (c)";
        assert_eq!(version(debian), Some("7.2.22"));
        assert_eq!(version("QEMU emulator version 10.0.0\n"), Some("10.0.0"));
        for other in [
            "",
            "QEMU emulator version ",
            "GNU bash, version 5.2.15",
            "QEMU emulator version x",
        ] {
            assert_eq!(version(other), None, "{other}");
        }
    }

    /// A program that prints a version, and refuses `-sandbox` if it is built without.
    #[test]
    fn sandbox_is_used_if_qemu_accepts_it() {
        let dir = tempfile::tempdir().unwrap();
        for (refuses, has_sandbox) in [("none", false), ("-sandbox", false), ("nothing", true)] {
            let program = dir.path().join(refuses);
            let text = format!(
                "#!/bin/sh\n[ \"$1\" = {refuses} ] && exit 1\n\
                 [ {refuses} = none ] && [ $# -gt 1 ] && exit 0\n\
                 echo QEMU emulator version 10.0.0\n"
            );
            std::fs::write(&program, text).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            let qemu = Qemu::at(&program).unwrap();
            assert_eq!(qemu.has_sandbox, has_sandbox, "{refuses}");
            assert_eq!(qemu.sandbox().count(), if has_sandbox { 2 } else { 0 });
        }
    }

    #[test]
    fn only_executable_files_are_found() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [plain, program] = dirs.each_ref().map(|dir| dir.path().join("qemu"));
        let path = env::join_paths(dirs.iter().map(tempfile::TempDir::path)).unwrap();
        std::fs::write(&plain, "").unwrap();
        let machine = Machine::of(Arch::X86_64);
        let found = |path| locate(machine, Some("qemu".into()), path).ok();
        assert_eq!(found(Some(&path)), None);
        std::fs::create_dir(&program).unwrap();
        assert_eq!(found(Some(&path)), None);
        std::fs::remove_dir(&program).unwrap();
        std::fs::copy("/bin/true", &program).unwrap();
        assert_eq!(found(Some(&path)), Some(program));
        assert_eq!(found(None), None);
    }

    #[test]
    fn without_a_qemu_the_error_names_the_package_and_the_variable() {
        for (arch, package, variable) in [
            (Arch::X86_64, "qemu-system-x86`", "variable QEMU"),
            (Arch::Arm64, "qemu-system-arm`", "variable QEMU_ARM64"),
        ] {
            let machine = Machine::of(arch);
            let error = locate(machine, Some("".into()), None)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(package) && error.ends_with(variable),
                "{error}"
            );
            let error = locate(machine, Some("no-such-qemu".into()), Some("/bin".as_ref()))
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("no-such-qemu") && error.contains(variable),
                "{error}"
            );
            assert_eq!(
                locate(machine, Some("/opt/qemu".into()), None).unwrap(),
                Path::new("/opt/qemu")
            );
        }
    }
}
