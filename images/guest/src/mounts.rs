//! The file systems that eBPF needs.

use std::ffi::CStr;
use std::fs;

use anyhow::{Context as _, Result};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

/// Without these nothing can be run or reported.
const NEEDED: &[(&str, &str)] = &[
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/tmp"),
];

/// Without these some scenarios cannot run, and will say so themselves.
const WANTED: &[(&str, &str)] = &[
    ("bpf", "/sys/fs/bpf"),
    ("debugfs", "/sys/kernel/debug"),
    ("tracefs", "/sys/kernel/tracing"),
];

/// Mounts all of them; returns a warning for each that could have been left out and was.
pub(crate) fn mount_all() -> Result<Vec<String>> {
    for (kind, target) in NEEDED {
        mount_one(kind, target)?;
    }
    let failed = WANTED
        .iter()
        .filter_map(|(kind, target)| mount_one(kind, target).err());
    Ok(failed.map(|error| format!("{error:#}")).collect())
}

fn mount_one(kind: &str, target: &str) -> Result<()> {
    // Below /sys the kernel makes the folders, and nobody else can.
    let made = if target.starts_with("/sys/") {
        Ok(())
    } else {
        fs::create_dir_all(target)
    };
    made.with_context(|| format!("cannot make {target}"))?;
    match mount(kind, target, kind, MountFlags::empty(), None::<&CStr>) {
        // The kernel may have mounted /dev itself.
        Ok(()) | Err(Errno::BUSY) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot mount {kind} on {target}")),
    }
}
