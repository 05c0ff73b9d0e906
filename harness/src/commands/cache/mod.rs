//! `harness cache`: lists and removes cached files.

mod items;
mod prune;

use std::io::{self, Write as _};
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, Result};

use self::items::{BUILDS, KERNELS, UNPACKED, entries, is_built, megabytes, name};
use crate::{
    cli::cache::CacheCommand,
    kernels::cache::default_dir,
    support::{atomic, error::usage},
    vm::Templates,
};

/// The folders that `clear --all` removes, in addition to downloaded kernels.
const DOWNLOADED: [&str; 3] = [BUILDS, "lists", "keys"];

/// Runs the command, and returns the exit status.
pub fn command(command: &CacheCommand) -> Result<u8> {
    let (CacheCommand::List { place }
    | CacheCommand::Clear { place, .. }
    | CacheCommand::Prune { place, .. }) = command;
    let root = match &place.cache_dir {
        Some(dir) => dir.clone(),
        None => default_dir()?,
    };
    match command {
        CacheCommand::List { .. } => io::stdout()
            .write_all(list(&root).as_bytes())
            .context("cannot write to stdout")?,
        CacheCommand::Clear { names, .. } if !names.is_empty() => remove(&root, names)?,
        CacheCommand::Clear { all, .. } => clear(&root, *all)?,
        CacheCommand::Prune { max_size, .. } => prune::prune(&root, *max_size)?,
    }
    Ok(0)
}

fn list(root: &Path) -> String {
    let mut lines = vec![format!("{}", root.display())];
    let mut total = 0;
    for item in items::all(root) {
        total += item.bytes;
        let size = megabytes(item.bytes);
        let ago = item.used.map_or_else(String::new, |used| {
            let since = SystemTime::now().duration_since(used).unwrap_or_default();
            format!(", used {} min ago", since.as_secs() / 60)
        });
        lines.push(format!("{:<9} {size:>8}  {}{ago}", item.kind, item.name));
    }
    lines.push(format!("total     {:>8}", megabytes(total)));
    lines.join("\n") + "\n"
}

fn clear(root: &Path, all: bool) -> Result<()> {
    Templates::new(root).clear()?;
    let downloaded = DOWNLOADED.iter().filter(|_| all);
    for name in std::iter::once(&UNPACKED).chain(downloaded) {
        atomic::remove(&root.join(name))?;
    }
    if all {
        let kernels = entries(&root.join(KERNELS));
        for kernel in kernels.iter().filter(|kernel| !is_built(kernel)) {
            atomic::remove(kernel)?;
        }
    }
    Ok(())
}

/// Removes kernels and builds by name, but none if a name is wrong.
fn remove(root: &Path, names: &[String]) -> Result<()> {
    let entries: Vec<_> = [KERNELS, BUILDS]
        .iter()
        .flat_map(|dir| entries(&root.join(dir)))
        .collect();
    let find = |requested: &String| {
        let path = entries.iter().find(|path| name(path) == *requested);
        path.ok_or_else(|| {
            usage(format!(
                "the cache {} has no kernel and no build {requested:?}; `harness cache list` shows their names",
                root.display()
            ))
        })
    };
    let paths = names.iter().map(find).collect::<Result<Vec<_>>>()?;
    paths.into_iter().try_for_each(|path| atomic::remove(path))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn list_shows_the_cache_and_clear_empties_it() {
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
        assert_eq!(
            entries(&root.join(KERNELS)),
            Vec::<std::path::PathBuf>::new()
        );
        assert!(!root.join("keys").exists());
        clear(root, true).unwrap();
    }

    #[test]
    fn built_kernel_is_removed_only_by_name() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let built = r#"{"source": {"kind": "built"}}"#;
        let downloaded = r#"{"source": {"kind": "debian"}}"#;
        for (file, content) in [
            ("kernels/5.5_abc/kernel.json", built),
            ("kernels/5.10_abc/kernel.json", downloaded),
            ("builds/linux-5.5_abc/tree", ""),
            ("builds/linux-5.6_abc/tree", ""),
        ] {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let text = list(root);
        for line in [
            "built ",
            "  5.5_abc",
            "kernel ",
            "  5.10_abc",
            "build ",
            "  linux-5.5_abc",
        ] {
            assert!(text.contains(line), "no {line} in {text}");
        }
        let there = |path: &str| root.join(path).exists();

        remove(root, &["linux-5.5_abc".to_owned()]).unwrap();
        assert!(!there("builds/linux-5.5_abc") && there("builds/linux-5.6_abc"));
        clear(root, false).unwrap();
        assert!(there("kernels/5.10_abc") && there("builds/linux-5.6_abc"));
        clear(root, true).unwrap();
        assert!(!there("kernels/5.10_abc") && !there("builds"));
        assert!(there("kernels/5.5_abc"));

        let wrong = ["5.5_abc".to_owned(), "../kernels".to_owned()];
        let error = remove(root, &wrong).unwrap_err().to_string();
        assert!(
            error.contains("no kernel and no build \"../kernels\""),
            "{error}"
        );
        assert!(there("kernels/5.5_abc"), "one wrong name: none is removed");
        remove(root, &wrong[..1]).unwrap();
        assert!(!there("kernels/5.5_abc"));
    }
}
