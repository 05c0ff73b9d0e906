//! Folders of the host that a VM mounts by virtiofs: a `virtiofsd` process for each, which serves the VM's requests.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{File, Permissions},
    io::{Read as _, Seek as _},
    os::{
        fd::AsRawFd as _,
        unix::{ffi::OsStrExt as _, fs::PermissionsExt as _, net::UnixListener},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::process::Process;
use crate::support::error::usage;

/// The modules of the kernel for it.
pub const MODULES: [&str; 2] = ["virtio_pci", "virtiofs"];

/// The environment variable that names another program than the first of [`PLACES`].
const VARIABLE: &str = "VIRTIOFSD";

/// Where distributions install it, since it is on no `PATH`: Debian 13, Ubuntu 24.04 and Fedora; Arch; Debian 12.
const PLACES: [&str; 3] = [
    "/usr/libexec/virtiofsd",
    "/usr/lib/virtiofsd",
    "/usr/lib/qemu/virtiofsd",
];

/// How long it may take to end after QEMU.
const PATIENCE: Duration = Duration::from_millis(500);

/// One `--mount`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The folder of the host.
    pub host: PathBuf,
    /// The absolute path in the VM.
    pub guest: PathBuf,
    /// Whether the VM cannot write to it.
    pub read_only: bool,
}

impl Mount {
    /// Reads `HOST[:GUEST][:ro]`. Every error is a usage error.
    pub fn parse(option: &OsStr) -> Result<Self> {
        let shown = option.to_string_lossy();
        let refuse = |why: &str| Err(usage(format!("--mount {shown}: {why}")));
        let mut parts: Vec<_> = option.as_bytes().split(|byte| *byte == b':').collect();
        let read_only = parts.len() > 1 && parts.last() == Some(&b"ro".as_slice());
        if read_only {
            parts.pop();
        }
        let paths: Vec<_> = parts.iter().map(|part| OsStr::from_bytes(part)).collect();
        let (host, guest) = match paths.as_slice() {
            [host] if !host.is_empty() => (Path::new(host), None),
            [host, guest] if !host.is_empty() => (Path::new(host), Some(Path::new(guest))),
            _ => return refuse("it must be HOST[:GUEST][:ro]"),
        };
        if !host.is_dir() {
            return refuse("HOST must be a folder");
        }
        let Ok(host) = std::path::absolute(host) else {
            return refuse("there is no current directory");
        };
        let guest = guest.map_or_else(|| host.clone(), Path::to_owned);
        if !guest.is_absolute() || guest.parent().is_none() {
            return refuse("GUEST must be an absolute path other than `/`");
        }
        Ok(Self {
            host,
            guest,
            read_only,
        })
    }
}

/// The program that serves a folder.
#[derive(Debug)]
pub struct Virtiofsd {
    path: PathBuf,
    /// Whether it is the older program in C, which comes with QEMU 5 to 7.
    is_of_qemu: bool,
    has_read_only: bool,
}

impl Virtiofsd {
    /// Finds it, and checks that it can do what these mounts need.
    pub fn find(mounts: &[Mount]) -> Result<Self> {
        let named = env::var_os(VARIABLE).filter(|named| !named.is_empty());
        let mut places = PLACES.iter().map(PathBuf::from);
        let path = named.map_or_else(
            || places.find(|path| path.exists()),
            |named| Some(named.into()),
        );
        let found = Self::at(&path.with_context(|| {
            format!(
                "--mount needs virtiofsd, which is not on this machine: install it (Debian 12: `apt-get install \
                 qemu-system-common`; others: the package `virtiofsd`), or name it in the environment variable {VARIABLE}"
            )
        })?)?;
        if !found.has_read_only && mounts.iter().any(|mount| mount.read_only) {
            bail!(
                "--mount: {} cannot keep the VM from writing (`:ro`), since it has no option --readonly: install \
                 virtiofsd 1.11 or later, or leave out `:ro`",
                found.path.display()
            );
        }
        Ok(found)
    }

    fn at(path: &Path) -> Result<Self> {
        let shown = path.display();
        let output = Command::new(path).arg("--help").output();
        let output = output.with_context(|| format!("cannot run {shown}"))?;
        let help =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        let has = |option: &str| help.contains(option);
        if !has("--socket-path") {
            let said = help.trim().lines().next().unwrap_or("nothing");
            bail!(
                "{shown} cannot be used as virtiofsd: its --help has no option --socket-path, and prints: {said}"
            );
        }
        Ok(Self {
            path: path.to_owned(),
            is_of_qemu: !has("--shared-dir"),
            has_read_only: has("--readonly"),
        })
    }

    /// Its arguments, with the descriptor of its socket.
    fn arguments(&self, mount: &Mount, socket: i32) -> Vec<OsString> {
        let mut arguments = vec![OsString::from(format!("--fd={socket}"))];
        if self.is_of_qemu {
            let mut source = OsString::from("source=");
            source.push(&mount.host);
            arguments.extend(["-f".into(), "-o".into(), source]);
        } else {
            arguments.extend(["--shared-dir".into(), mount.host.clone().into()]);
        }
        if mount.read_only {
            arguments.push("--readonly".into());
        }
        arguments
    }
}

/// The processes that serve the folders of a VM. They end when this is dropped.
#[derive(Debug)]
pub struct Shares {
    folder: TempDir,
    running: Vec<Share>,
}

#[derive(Debug)]
struct Share {
    host: PathBuf,
    process: Process,
    stderr: File,
}

impl Shares {
    /// Starts a process for each mount, with a socket in a folder that only the user can enter.
    pub fn start(program: &Virtiofsd, mounts: &[Mount]) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("harness-mount-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir();
        let folder = folder.context("cannot create a folder for the sockets of virtiofsd")?;
        let mut running = Vec::new();
        for (number, mount) in mounts.iter().enumerate() {
            let socket = UnixListener::bind(folder.path().join(number.to_string()))
                .context("cannot create a socket for virtiofsd")?;
            let stderr = tempfile::tempfile().context("cannot create a file")?;
            let mut command = Command::new(&program.path);
            command
                .args(program.arguments(mount, socket.as_raw_fd()))
                .stdin(Stdio::null())
                .stdout(stderr.try_clone()?)
                .stderr(stderr.try_clone()?);
            let process = Process::spawn(command, &[socket.as_raw_fd()])
                .with_context(|| format!("cannot run {}", program.path.display()))?;
            running.push(Share {
                host: mount.host.clone(),
                process,
                stderr,
            });
        }
        Ok(Self { folder, running })
    }

    /// The sockets for QEMU, in the order of the mounts.
    pub fn sockets(&self) -> Vec<PathBuf> {
        let numbers = 0..self.running.len();
        let path = |number: usize| self.folder.path().join(number.to_string());
        numbers.map(path).collect()
    }

    /// Why a folder could not be served, after QEMU has failed.
    pub fn failure(&mut self) -> Option<String> {
        self.running.iter_mut().find_map(Share::failure)
    }
}

impl Share {
    fn failure(&mut self) -> Option<String> {
        if !self.process.wait(PATIENCE).unwrap_or(false) {
            return None;
        }
        let status = self.process.end().ok()?;
        let mut said = String::new();
        self.stderr.rewind().ok()?;
        let _ = (&self.stderr).take(64 << 10).read_to_string(&mut said);
        let last = said.trim_end().lines().last().unwrap_or_default();
        (!status.success()).then(|| {
            let host = self.host.display();
            format!("virtiofsd for {host} failed, {status}: {last}")
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn mounts_have_a_folder_a_path_in_the_vm_and_perhaps_ro() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().display().to_string();
        let of = |text: &str| Mount::parse(text.as_ref());
        for (text, guest, read_only) in [
            (here.clone(), here.as_str(), false),
            (format!("{here}:ro"), &here, true),
            (format!("{here}:/data"), "/data", false),
            (format!("{here}:/data:ro"), "/data", true),
        ] {
            let mount = of(&text).unwrap();
            assert_eq!(mount.host, dir.path());
            assert_eq!(
                (mount.guest.as_path(), mount.read_only),
                (Path::new(guest), read_only)
            );
        }
        assert!(of("ro").is_err() && of(".").unwrap().host.is_absolute());
        for (text, why) in [
            ("", "must be HOST[:GUEST][:ro]"),
            (":/data", "must be HOST"),
            (&format!("{here}:/a:/b"), "must be HOST"),
            (&format!("{here}:rw"), "GUEST must be an absolute path"),
            (&format!("{here}:/"), "other than `/`"),
            ("/nowhere/at/all", "HOST must be a folder"),
            ("/etc/passwd", "HOST must be a folder"),
        ] {
            let error = of(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    /// A script in the place of virtiofsd, with this help.
    fn program(dir: &Path, help: &str) -> Result<Virtiofsd> {
        let path = dir.join("virtiofsd");
        let text = format!(
            "#!/bin/sh\n[ $1 = --help ] && exec echo {help}\necho cannot do that >&2; exit 3\n"
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        Virtiofsd::at(&path)
    }

    #[test]
    fn both_programs_get_their_arguments() {
        let dir = tempfile::tempdir().unwrap();
        let mount = Mount {
            host: "/share".into(),
            guest: "/data".into(),
            read_only: true,
        };
        let newer = program(dir.path(), "--socket-path --shared-dir --readonly").unwrap();
        let expected = ["--fd=7", "--shared-dir", "/share", "--readonly"];
        assert_eq!(newer.arguments(&mount, 7), expected);
        let older = program(dir.path(), "--socket-path").unwrap();
        let writable = Mount {
            read_only: false,
            ..mount
        };
        assert_eq!(
            older.arguments(&writable, 7),
            ["--fd=7", "-f", "-o", "source=/share"]
        );
        assert!(!older.has_read_only);
        let error = program(dir.path(), "something").unwrap_err().to_string();
        assert!(error.ends_with("and prints: something"), "{error}");
    }

    #[test]
    fn failure_of_the_process_is_reported_in_its_words() {
        let dir = tempfile::tempdir().unwrap();
        let program = program(dir.path(), "--socket-path --shared-dir").unwrap();
        let mount = Mount::parse(dir.path().as_os_str()).unwrap();
        let mut shares = Shares::start(&program, std::slice::from_ref(&mount)).unwrap();
        let sockets = shares.sockets();
        assert_eq!(sockets.len(), 1);
        let folder = sockets[0].parent().unwrap().metadata().unwrap();
        assert_eq!(folder.permissions().mode() & 0o777, 0o700);
        let failed = (0..100).find_map(|_| shares.failure()).unwrap();
        assert!(
            failed.ends_with("failed, exit status: 3: cannot do that"),
            "{failed}"
        );
    }
}
