//! What is cached about this machine: version and sandbox of QEMU, and the speed of KVM.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::support::atomic;

/// How long a measured speed of KVM is valid: the machine may have been busy.
const KEEPS: Duration = Duration::from_secs(3600);

const FILE: &str = "machine.json";
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
const KVM: &str = "/dev/kvm";

/// The cache. Errors are ignored: what cannot be read is measured again.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct MachineCache {
    /// One for each architecture, at most.
    #[serde(default)]
    qemus: Vec<Program>,
    kvm: Option<Speed>,
    #[serde(skip)]
    file: PathBuf,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Program {
    path: PathBuf,
    bytes: u64,
    inode: u64,
    modified: (i64, i64),
    version: String,
    has_sandbox: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Speed {
    boot: String,
    measured: SystemTime,
    instructions_per_second: f64,
}

impl MachineCache {
    /// Reads the cache.
    pub(super) fn read(cache: &Path) -> Self {
        let file = cache.join(FILE);
        let read = fs::read(&file).ok();
        let cached: Option<Self> = read.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self {
            file,
            ..cached.unwrap_or_default()
        }
    }

    fn write(&self) {
        if let Ok(bytes) = serde_json::to_vec_pretty(self) {
            let _ = self.file.parent().map(fs::create_dir_all);
            let _ = atomic::write(&self.file, &bytes);
        }
    }

    /// Version of the QEMU at `path`, and whether it has a sandbox, if the file is unchanged.
    pub(super) fn qemu(&self, path: &Path) -> Option<(&str, bool)> {
        let cached = self.qemus.iter().find(|cached| cached.path == path)?;
        let (version, has_sandbox) = (cached.version.as_str(), cached.has_sandbox);
        (*cached == Program::at(path, version, has_sandbox)?).then_some((version, has_sandbox))
    }

    pub(super) fn learn_qemu(&mut self, path: &Path, version: &str, has_sandbox: bool) {
        self.qemus
            .retain(|cached| cached.path != path && cached.path.exists());
        self.qemus.extend(Program::at(path, version, has_sandbox));
        self.write();
    }

    /// The speed of KVM, if it was measured in this boot and recently, and KVM can be opened.
    pub(super) fn kvm(&self) -> Option<f64> {
        let cached = self.kvm.as_ref()?;
        let fresh = cached.measured.elapsed().is_ok_and(|age| age < KEEPS);
        let open = || File::options().read(true).write(true).open(KVM).is_ok();
        (fresh && boot()? == cached.boot && open()).then_some(cached.instructions_per_second)
    }

    pub(super) fn learn_kvm(&mut self, instructions_per_second: f64) {
        self.kvm = boot().map(|boot| Speed {
            boot,
            measured: SystemTime::now(),
            instructions_per_second,
        });
        self.write();
    }
}

impl Program {
    fn at(path: &Path, version: &str, has_sandbox: bool) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            path: path.to_owned(),
            bytes: metadata.len(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            version: version.to_owned(),
            has_sandbox,
        })
    }
}

/// The id of this boot of the machine.
fn boot() -> Option<String> {
    fs::read_to_string(BOOT).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_qemu_is_dropped_when_the_file_changes() {
        let cache = tempfile::tempdir().unwrap();
        let program = cache.path().join("qemu");
        fs::write(&program, "one").unwrap();
        let mut cached = MachineCache::read(cache.path());
        assert_eq!(cached.qemu(&program), None);
        cached.learn_qemu(&program, "7.2", true);
        let cached = MachineCache::read(cache.path());
        assert_eq!(cached.qemu(&program), Some(("7.2", true)));
        assert_eq!(cached.qemu(cache.path()), None);
        fs::write(&program, "another").unwrap();
        assert_eq!(cached.qemu(&program), None);
    }

    #[test]
    fn cached_kvm_speed_of_another_boot_or_too_old_is_ignored() {
        let cache = tempfile::tempdir().unwrap();
        MachineCache::read(cache.path()).learn_kvm(5e6);
        let mut cached = MachineCache::read(cache.path());
        let usable = File::options().read(true).write(true).open(KVM).is_ok();
        assert_eq!(cached.kvm(), usable.then_some(5e6));
        let speed = cached.kvm.as_mut().unwrap();
        speed.measured -= KEEPS;
        assert_eq!(cached.kvm(), None);
        let speed = cached.kvm.as_mut().unwrap();
        speed.measured = SystemTime::now();
        speed.boot.push('0');
        assert_eq!(cached.kvm(), None);
    }

    #[test]
    fn damaged_machine_cache_is_ignored() {
        let cache = tempfile::tempdir().unwrap();
        fs::write(cache.path().join(FILE), "{").unwrap();
        assert!(MachineCache::read(cache.path()).kvm().is_none());
    }
}
