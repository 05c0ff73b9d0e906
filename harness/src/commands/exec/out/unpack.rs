//! Unpacks an archive that a guest has sent, which may be hostile: nothing is written but files and folders below the copy,
//! and the copy gets its name only when it is complete.

use std::{
    fs::{DirBuilder, File, OpenOptions, rename},
    io::{self, Seek as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Component, Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use protocol::job::OUT;
use tar::{Archive, EntryType};

use crate::support::atomic;

/// The limits for the entries of an archive, for the length of a path in it, and for the bytes of its files, which the
/// archive cannot have as holes.
const ENTRIES: usize = 100_000;
const PATH: u64 = 4096;

/// Unpacks the archive, and gives the result its name. Returns how many entries are neither files nor folders.
pub(super) fn unpack(mut archive: File, host: &Path) -> Result<usize> {
    check(&mut archive).context("the guest sent an invalid archive")?;
    let partial = atomic::partial(host)?;
    archive.rewind()?;
    let mut skipped = 0;
    for entry in Archive::new(&archive).entries()? {
        let mut entry = entry?;
        let path = partial.path().join(inside(&entry.path()?)?);
        let mode = entry.header().mode()? & 0o777;
        let context = || format!("cannot write {}", path.display());
        match entry.header().entry_type() {
            EntryType::Directory => {
                let mut builder = DirBuilder::new();
                builder
                    .mode(mode | 0o700)
                    .create(&path)
                    .with_context(context)?;
            }
            EntryType::Regular => {
                let mut options = OpenOptions::new();
                options.write(true).create_new(true).mode(mode | 0o600);
                let mut file = options.open(&path).with_context(context)?;
                io::copy(&mut entry, &mut file).with_context(context)?;
            }
            _ => skipped += 1,
        }
    }
    rename(partial.path().join(OUT), host)
        .with_context(|| format!("cannot create {}", host.display()))?;
    Ok(skipped)
}

/// Checks the entries as they are in the archive, before any is read into memory or expanded.
fn check(archive: &mut File) -> Result<()> {
    archive.rewind()?;
    for (number, entry) in Archive::new(archive).entries()?.raw(true).enumerate() {
        let entry = entry?;
        ensure!(number < ENTRIES, "it has more than {ENTRIES} entries");
        let kind = entry.header().entry_type();
        match kind {
            EntryType::Regular | EntryType::Directory | EntryType::Symlink => {}
            EntryType::GNULongName => {
                ensure!(entry.size() <= PATH, "a path has {} bytes", entry.size());
            }
            _ => bail!("it has an entry of type {kind:?}"),
        }
    }
    Ok(())
}

/// The path of an entry, which must be that of the copy or below it.
fn inside(path: &Path) -> Result<PathBuf> {
    let mut parts = path.components();
    ensure!(
        parts.next() == Some(Component::Normal(OUT.as_ref()))
            && parts.all(|part| matches!(part, Component::Normal(_))),
        "the guest sent a path that leads out of the copy: {}",
        path.display()
    );
    Ok(path.to_owned())
}
