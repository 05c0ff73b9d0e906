//! The libraries that a dynamic program loads, found on the host as `ld.so` finds them.

use std::path::{Path, PathBuf};

use super::{elf::Elf, ld_cache::LdCache};

/// The default folders of loaders: Debian, other distributions, musl.
const STANDARD: [&str; 11] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
    "/usr/local/lib",
    "/lib/i386-linux-gnu",
    "/usr/lib/i386-linux-gnu",
];

/// glibc's cache.
pub(super) const LD_CACHE: &str = "/etc/ld.so.cache";

/// Finds libraries as the loader does.
#[derive(Debug)]
pub(super) struct Libraries {
    library_path: Vec<PathBuf>,
    cache: LdCache,
}

/// A file with its dependencies.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub(super) path: PathBuf,
    pub(super) elf: Elf,
    /// Its RPATH folders, followed by those of the files that load it.
    inherited: Vec<PathBuf>,
}

impl Loaded {
    /// A file, and the file that loads it, if any.
    pub(super) fn new(path: PathBuf, elf: Elf, by: Option<&Self>) -> Self {
        let mut inherited = Vec::new();
        // RUNPATH overrides RPATH.
        if elf.runpath.is_empty() {
            inherited.extend(elf.rpath.iter().map(|folder| expand(folder, &path)));
        }
        inherited.extend(by.into_iter().flat_map(|by| by.inherited.iter().cloned()));
        Self {
            path,
            elf,
            inherited,
        }
    }
}

impl Libraries {
    /// The libraries of this machine and in `LD_LIBRARY_PATH`.
    pub(super) fn new(library_path: Option<&std::ffi::OsStr>) -> Self {
        let folders = library_path.map(|all| std::env::split_paths(all).collect());
        Self {
            library_path: folders.unwrap_or_default(),
            cache: LdCache::read(Path::new(LD_CACHE)),
        }
    }

    /// The files that the loader may load for `name`: the first that exists, or all variants for CPUs in the cache, because
    /// the VM has another CPU than the host.
    pub(super) fn find(&self, name: &str, by: &Loaded) -> Vec<PathBuf> {
        if name.contains('/') {
            let path = expand(name, &by.path);
            return path.exists().then_some(path).into_iter().collect();
        }
        let runpath = by.elf.runpath.iter();
        let mut folders = Vec::new();
        if by.elf.runpath.is_empty() {
            folders.extend(by.inherited.iter().cloned());
        }
        folders.extend(self.library_path.iter().cloned());
        folders.extend(runpath.map(|folder| expand(folder, &by.path)));
        let fits = |path: &PathBuf| {
            let elf = std::fs::read(path).ok().map(|data| Elf::read(&data));
            matches!(elf, Some(Ok(Some(elf))) if elf.machine == by.elf.machine)
        };
        let in_folder = |folder: &Path| Some(folder.join(name)).filter(fits);
        if let Some(path) = folders.iter().find_map(|folder| in_folder(folder)) {
            return vec![path];
        }
        let cached = self.cache.find(name).iter().cloned();
        let cached: Vec<_> = cached.filter(fits).collect();
        if !cached.is_empty() {
            return cached;
        }
        let standard = STANDARD
            .iter()
            .find_map(|folder| in_folder(Path::new(folder)));
        standard.into_iter().collect()
    }
}

/// A folder with its variables replaced. `$LIB` and `$PLATFORM` depend on the loader: here as in Debian.
fn expand(folder: &str, file: &Path) -> PathBuf {
    let mut text = folder.to_owned();
    let origin = file.parent().unwrap_or(Path::new("/")).to_string_lossy();
    for (name, value) in [
        ("ORIGIN", origin.as_ref()),
        ("LIB", "lib/x86_64-linux-gnu"),
        ("PLATFORM", "x86_64"),
    ] {
        text = text.replace(&format!("${{{name}}}"), value);
        text = text.replace(&format!("${name}"), value);
    }
    text.into()
}
