//! A copy of the kernel's symbol table.
//!
//! The kernel writes `/proc/kallsyms` anew for each reader, in 0.2 to 0.5 billion instructions, and a full run reads it
//! more than twenty times. A template has a copy, which scenarios without modules see in place of the table: the symbols
//! of the kernel itself do not change. In a VM that booted they read the table itself.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};

use crate::sys;

const TABLE: &str = "/proc/kallsyms";
const COPY: &str = "/kallsyms";

/// Makes the copy.
///
/// # Errors
///
/// The table cannot be read, or the copy not written.
pub fn save() -> Result<()> {
    let table = fs::read(TABLE).with_context(|| format!("cannot read {TABLE}"))?;
    fs::write(COPY, table).with_context(|| format!("cannot write {COPY}"))
}

/// Removes the copy, if there is one, before a program of the user's runs.
pub fn remove_copy() {
    let _ = fs::remove_file(COPY);
}

/// Shows this process and its descendants the copy, if there is one.
///
/// # Errors
///
/// The copy cannot be mounted.
pub fn show_copy() -> Result<()> {
    if !Path::new(COPY).exists() {
        return Ok(());
    }
    sys::unshare_mounts()
        .and_then(|()| {
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            Ok(mount_change("/", private)?)
        })
        .and_then(|()| Ok(mount_bind(COPY, TABLE)?))
        .with_context(|| format!("cannot mount {COPY} on {TABLE}"))
}
