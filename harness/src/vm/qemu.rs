//! The QEMU on this machine.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::machine_cache::MachineCache;
use super::process::Process;

const PROGRAM: &str = "qemu-system-x86_64";

/// The environment variable that names another QEMU than the one on `PATH`.
const VARIABLE: &str = "QEMU";

/// The time limit for `qemu-system-x86_64 --version`, which takes some ten milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// The first major version whose TCG may run each virtual CPU in a thread of its own. With 7.2, kernels from 7.0 on panic
/// while a program is detached and another CPU runs it: that CPU executes a breakpoint (`int3`) that the kernel has
/// replaced already. 10.0 and 11.1 do not do that; versions between were not run.
const SAFE_THREADS: u32 = 10;

/// A QEMU whose version is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qemu {
    /// The program.
    pub path: PathBuf,
    /// Its version, as `7.2.22`.
    pub version: String,
}

impl Qemu {
    /// The QEMU that the environment variable `QEMU` names, otherwise the one on `PATH`.
    pub fn find() -> Result<Self> {
        Self::at(&locate(
            env::var_os(VARIABLE),
            env::var_os("PATH").as_deref(),
        )?)
    }

    /// The same, with the version from `cache` if it has it.
    pub fn find_known(cache: &Path) -> Result<Self> {
        let path = locate(env::var_os(VARIABLE), env::var_os("PATH").as_deref())?;
        let mut cached = MachineCache::read(cache);
        if let Some(version) = cached.version(&path) {
            let version = version.to_owned();
            return Ok(Self { path, version });
        }
        let found = Self::at(&path)?;
        cached.learn_version(&path, &found.version);
        Ok(found)
    }

    /// Whether TCG may run each virtual CPU in a thread of its own.
    pub(super) fn has_safe_threads(&self) -> bool {
        let major = self.version.split('.').next().unwrap_or_default();
        major.parse().is_ok_and(|major: u32| major >= SAFE_THREADS)
    }

    /// The QEMU at `path`.
    pub fn at(path: &Path) -> Result<Self> {
        let mut command = Command::new(path);
        command
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
        let output = String::from_utf8_lossy(&output);
        match version(&output) {
            Some(version) if status.success() => Ok(Self {
                path: path.to_owned(),
                version: version.to_owned(),
            }),
            _ => bail!(
                "`{shown} --version` ended with {status} and printed {:?}: this is not a QEMU",
                output.lines().next().unwrap_or_default()
            ),
        }
    }
}

fn locate(named: Option<OsString>, path: Option<&OsStr>) -> Result<PathBuf> {
    match named.filter(|named| !named.is_empty()) {
        Some(named) => Ok(named.into()),
        None => on_path(path).with_context(|| {
            format!(
                "{PROGRAM} is not on PATH: install it (Debian and Ubuntu: `apt-get install qemu-system-x86`), \
                 or name one in the environment variable {VARIABLE}"
            )
        }),
    }
}

fn on_path(path: Option<&OsStr>) -> Option<PathBuf> {
    env::split_paths(path?)
        .map(|dir| dir.join(PROGRAM))
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

    #[test]
    fn only_new_versions_run_cpus_in_threads() {
        for (version, safe) in [
            ("7.2.22", false),
            ("9.2.0", false),
            ("10.0.0", true),
            ("x", false),
        ] {
            let qemu = Qemu {
                path: PathBuf::new(),
                version: version.into(),
            };
            assert_eq!(qemu.has_safe_threads(), safe, "{version}");
        }
    }

    #[test]
    fn only_executable_files_are_found() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [plain, program] = dirs.each_ref().map(|dir| dir.path().join(PROGRAM));
        let path = env::join_paths(dirs.iter().map(tempfile::TempDir::path)).unwrap();
        std::fs::write(&plain, "").unwrap();
        assert_eq!(on_path(Some(&path)), None);
        std::fs::create_dir(&program).unwrap();
        assert_eq!(on_path(Some(&path)), None);
        std::fs::remove_dir(&program).unwrap();
        std::fs::copy("/bin/true", &program).unwrap();
        assert_eq!(on_path(Some(&path)), Some(program));
        assert_eq!(on_path(None), None);
    }

    #[test]
    fn without_a_qemu_the_error_names_the_package_and_the_variable() {
        let error = locate(Some("".into()), None).unwrap_err().to_string();
        assert!(
            error.contains("qemu-system-x86`") && error.contains("variable QEMU"),
            "{error}"
        );
        assert_eq!(
            locate(Some("/opt/qemu".into()), None).unwrap(),
            Path::new("/opt/qemu")
        );
    }
}
