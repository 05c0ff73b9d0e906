//! Mounts the file systems that eBPF requires and those that programs expect. An existing mount stays.

use std::ffi::CStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::mount::{MountFlags, mount};

/// Without these nothing can run or be reported.
const REQUIRED: &[(&str, &str)] = &[
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/tmp"),
];

/// Without these some scenarios cannot run, and report so.
const FOR_SCENARIOS: &[(&str, &str)] = &[
    ("bpf", "/sys/fs/bpf"),
    ("debugfs", "/sys/kernel/debug"),
    ("tracefs", "/sys/kernel/tracing"),
    ("securityfs", "/sys/kernel/security"),
];

/// What programs in general expect.
const FOR_COMMANDS: &[(&str, &str)] = &[
    ("devpts", "/dev/pts"),
    ("tmpfs", "/dev/shm"),
    ("cgroup2", "/sys/fs/cgroup"),
];

/// Links that `udev` makes elsewhere.
const LINKS: &[(&str, &str)] = &[
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("/proc/self/mounts", "/etc/mtab"),
];

/// Mounts what scenarios need. Returns a warning for each optional mount that failed.
pub(crate) fn mount_all() -> Result<Vec<String>> {
    for (kind, target) in REQUIRED {
        mount_one(kind, target)?;
    }
    let failed = FOR_SCENARIOS
        .iter()
        .filter_map(|(kind, target)| mount_one(kind, target).err());
    Ok(failed.map(|error| format!("{error:#}")).collect())
}

/// Mounts what commands of the host may need as well. Returns a warning for each mount or link that failed.
pub(crate) fn mount_for_commands() -> Vec<String> {
    let mounts = FOR_COMMANDS
        .iter()
        .filter_map(|(kind, target)| mount_one(kind, target).err());
    let links = LINKS
        .iter()
        .filter_map(|(target, path)| link(target, path).err());
    mounts
        .chain(links)
        .map(|error| format!("{error:#}"))
        .collect()
}

fn link(target: &str, path: &str) -> Result<()> {
    let folder = Path::new(path).parent().map_or(Ok(()), fs::create_dir_all);
    match folder.and_then(|()| symlink(target, path)) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("cannot link {path} to {target}"))
        }
        _ => Ok(()),
    }
}

fn mount_one(kind: &str, target: &str) -> Result<()> {
    if is_mount_point(Path::new(target)) {
        return Ok(());
    }
    if target == "/tmp" && fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_some()) {
        // The initramfs has files there, which a mount would hide.
        return Ok(());
    }
    // Only the kernel creates directories below /sys.
    let made = if target.starts_with("/sys/") {
        Ok(())
    } else {
        fs::create_dir_all(target)
    };
    made.with_context(|| format!("cannot create the directory {target}"))?;
    mount(kind, target, kind, MountFlags::empty(), None::<&CStr>)
        .with_context(|| format!("cannot mount {kind} on {target}"))
}

fn is_mount_point(path: &Path) -> bool {
    let device = |path: &Path| Some(fs::metadata(path).ok()?.dev());
    let (own, parent) = (device(path), path.parent().and_then(device));
    own.is_some() && own != parent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_is_not_a_mount_point() {
        assert!(is_mount_point(Path::new("/proc")));
        for path in ["/proc/self", "/no/such/folder"] {
            assert!(!is_mount_point(Path::new(path)), "{path}");
        }
    }
}
