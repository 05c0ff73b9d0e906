//! Limiting the size of a cache.

use std::path::Path;

use anyhow::{Result, ensure};

use super::items::{self, megabytes};
use crate::support::{atomic, lock::try_lock};

/// Removes entries that can be made or downloaded again, the longest unused first, until the rest has at most `max`
/// bytes.
pub(super) fn prune(root: &Path, max: u64) -> Result<()> {
    let mut all = items::all(root);
    let mut bytes: u64 = all.iter().map(|item| item.bytes).sum();
    all.sort_by_key(|item| item.used);
    for item in all {
        let Some(lock) = &item.lock else { continue };
        if bytes <= max {
            break;
        }
        // Another harness is making it.
        let Some(_guard) = try_lock(root, lock)? else {
            continue;
        };
        atomic::remove(&item.path)?;
        bytes -= item.bytes;
        let size = megabytes(item.bytes);
        eprintln!("removed   {:<9} {size:>8}  {}", item.kind, item.name);
    }
    ensure!(
        bytes <= max,
        "the cache {} still has {}: remove built kernels and builds by name, with `harness cache clear NAME`",
        root.display(),
        megabytes(bytes)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File, FileTimes},
        time::{Duration, SystemTime},
    };

    use super::*;
    use crate::support::lock::lock;

    const MB: usize = 1_000_000;

    /// A cache of 10 MB: two kernels that were downloaded, one that was built, a build, and an unpacked kernel.
    fn filled() -> tempfile::TempDir {
        let cache = tempfile::tempdir().unwrap();
        let put = |file: &str, content: &[u8], hours: u64| {
            let path = cache.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            let used = SystemTime::UNIX_EPOCH + Duration::from_secs(hours * 3600);
            let file = File::options().append(true).open(path).unwrap();
            file.set_times(FileTimes::new().set_modified(used)).unwrap();
        };
        for (name, kind, hours) in [
            ("5.10_a", "debian", 3),
            ("6.1_b", "debian", 1),
            ("5.5_c", "built", 0),
        ] {
            let entry = format!(r#"{{"source": {{"kind": "{kind}"}}}}"#);
            put(
                &format!("kernels/{name}/kernel.json"),
                entry.as_bytes(),
                hours,
            );
            put(&format!("kernels/{name}/vmlinuz"), &vec![1; 2 * MB], 9);
        }
        put("builds/linux-5.6_d/tree", &vec![1; 2 * MB], 0);
        put("vmlinux/e", &vec![1; 2 * MB], 2);
        cache
    }

    fn left(cache: &Path) -> Vec<String> {
        items::all(cache)
            .into_iter()
            .map(|item| item.name)
            .collect()
    }

    #[test]
    fn prune_removes_the_longest_unused_and_keeps_built_kernels() {
        let cache = filled();
        let root = cache.path();
        let everything = ["5.10_a", "5.5_c", "6.1_b", "linux-5.6_d", "e"];
        for (max, names) in [
            (11 * MB, &everything[..]),
            (9 * MB, &["5.10_a", "5.5_c", "linux-5.6_d", "e"]),
            (7 * MB, &["5.10_a", "5.5_c", "linux-5.6_d"]),
            (5 * MB, &["5.5_c", "linux-5.6_d"]),
        ] {
            prune(root, max as u64).unwrap();
            assert_eq!(left(root), names, "{max}");
        }
        let error = prune(root, 0).unwrap_err().to_string();
        assert!(error.contains("still has 4.0 MB"), "{error}");
        assert!(error.contains("harness cache clear NAME"), "{error}");
        assert_eq!(left(root), ["5.5_c", "linux-5.6_d"]);
    }

    #[test]
    fn entries_that_another_harness_writes_are_kept() {
        let cache = filled();
        let root = cache.path();
        let _guard = lock(root, "6.1_b", None, || {}).unwrap();
        prune(root, 9 * MB as u64).unwrap();
        assert_eq!(left(root), ["5.10_a", "5.5_c", "6.1_b", "linux-5.6_d"]);
    }
}
