//! `harness cache`: what is kept on this machine, and its end.

use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result};

use crate::{cli::cache::CacheCommand, kernels::cache::default_dir, vm::Templates};

/// Unpacked kernels, by the checksum of what they were unpacked from.
const UNPACKED: &str = "vmlinux";
/// What a download would bring back.
const DOWNLOADED: [&str; 3] = ["kernels", "lists", "keys"];

/// Does it, and returns the exit status.
pub fn command(command: &CacheCommand) -> Result<u8> {
    let (CacheCommand::List { place } | CacheCommand::Clear { place, .. }) = command;
    let root = match &place.cache_dir {
        Some(dir) => dir.clone(),
        None => default_dir()?,
    };
    match command {
        CacheCommand::List { .. } => io::stdout()
            .write_all(list(&root).as_bytes())
            .context("cannot write to stdout")?,
        CacheCommand::Clear { all, .. } => clear(&root, *all)?,
    }
    Ok(0)
}

fn list(root: &Path) -> String {
    let mut lines = vec![format!("{}", root.display())];
    let mut total = 0;
    let mut add = |kind: &str, name: &str, bytes: u64, more: &str| {
        total += bytes;
        lines.push(format!("{kind:<9} {:>8}  {name}{more}", megabytes(bytes)));
    };
    for (kind, dir) in [("kernel", DOWNLOADED[0]), ("unpacked", UNPACKED)] {
        for path in entries(&root.join(dir)) {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            add(kind, &name, size(&path), "");
        }
    }
    for kept in Templates::new(root).list() {
        let minutes = SystemTime::now()
            .duration_since(kept.used)
            .map_or(0, |since| since.as_secs() / 60);
        add(
            "template",
            &kept.kernel,
            kept.bytes,
            &format!(", used {minutes} min ago"),
        );
    }
    lines.push(format!("total     {:>8}", megabytes(total)));
    lines.join("\n") + "\n"
}

fn clear(root: &Path, all: bool) -> Result<()> {
    Templates::new(root).clear()?;
    let downloaded = DOWNLOADED.iter().filter(|_| all);
    for name in std::iter::once(&UNPACKED).chain(downloaded) {
        let dir = root.join(name);
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", dir.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// What a file or a folder takes on the disk.
fn size(path: &Path) -> u64 {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => entries(path).iter().map(|path| size(path)).sum(),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_listed_and_what_is_cleared_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for file in ["kernels/5.10_abc/vmlinuz", "vmlinux/def", "keys/one.asc"] {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![1; 2_000_000]).unwrap();
        }
        let text = list(root);
        assert!(text.contains("kernel      2.0 MB  5.10_abc"), "{text}");
        assert!(text.contains("unpacked    2.0 MB  def"), "{text}");
        assert!(text.contains("total       4.0 MB"), "{text}");
        clear(root, false).unwrap();
        assert!(!root.join("vmlinux").exists() && root.join("kernels").exists());
        clear(root, true).unwrap();
        assert_eq!(entries(root), Vec::<PathBuf>::new());
        clear(root, true).unwrap();
    }
}
