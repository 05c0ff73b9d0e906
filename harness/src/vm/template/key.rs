//! The key of a template: all that its VMs must have in common.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::initramfs::guest;
use crate::support::hex::hex;
use crate::vm::{Config, Qemu, command::arguments_anywhere};

/// Raised when older templates become useless.
const FORMAT: &str = "2";

/// The first part of the key of each template of a kernel.
pub(super) fn prefix(kernel_sha256: &str) -> String {
    format!("{kernel_sha256:.16}_")
}

/// The key of the template for such a VM. It covers kernel, waiting init, QEMU, CPU model, accelerator, memory, devices
/// and command line: all arguments of QEMU but the paths of its files.
pub(super) fn key(
    qemu: &Qemu,
    config: &Config<'_>,
    kernel_sha256: &str,
    window: u64,
) -> Result<String> {
    let qemu_file = fs::metadata(&qemu.path)
        .with_context(|| format!("cannot look at {}", qemu.path.display()))?;
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    add(FORMAT.as_bytes());
    add(kernel_sha256.as_bytes());
    add(&Sha256::digest(guest::of(config.arch)?.stage1));
    add(qemu.path.as_os_str().as_encoded_bytes());
    add(qemu.version.as_bytes());
    for number in [
        qemu_file.len(),
        qemu_file.mtime().cast_unsigned(),
        qemu_file.mtime_nsec().cast_unsigned(),
        window,
    ] {
        add(&number.to_le_bytes());
    }
    let config = Config {
        kernel: Path::new(""),
        ..config.like()
    };
    for argument in arguments_anywhere(&config) {
        add(argument.as_encoded_bytes());
    }
    let digest = hash.finalize();
    Ok(prefix(kernel_sha256) + &hex(&digest[..16]))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;
    use crate::vm::{Accelerator, Streams};

    #[test]
    fn different_vms_have_different_template_keys() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("qemu");
        fs::write(&program, "one").unwrap();
        let qemu = Qemu {
            path: program.clone(),
            version: "7.2".into(),
            has_sandbox: false,
        };
        let newer = Qemu {
            version: "7.3".into(),
            ..qemu.clone()
        };
        let config = Config::new(Path::new("/vmlinuz"), b"", Accelerator::Tcg);
        let of = |change: &dyn Fn(&mut Config<'static>)| {
            let mut changed = Config::new(Path::new("/vmlinuz"), b"", Accelerator::Tcg);
            change(&mut changed);
            key(&qemu, &changed, "sum", 1).unwrap()
        };
        let mut keys = vec![
            of(&|_| {}),
            of(&|config| config.accelerator = Accelerator::Kvm),
            of(&|config| config.memory_mib = 513),
            of(&|config| config.cpus = 2),
            of(&|config| config.streams = Some(Streams::default())),
            of(&|config| config.kernel_args = vec!["acpi=off".into()]),
            key(&qemu, &config, "other sum", 1).unwrap(),
            key(&qemu, &config, "sum", 2).unwrap(),
            key(&newer, &config, "sum", 1).unwrap(),
        ];
        // The path of the kernel and the job of the VM do not count.
        assert_eq!(
            of(&|config| config.kernel = Path::new("/elsewhere")),
            keys[0]
        );
        assert_eq!(of(&|config| config.initramfs = b"archive"), keys[0]);
        let pipe = std::io::pipe().unwrap();
        let streams = Streams {
            output: Some(pipe.1.as_fd()),
            input: None,
            memory: Some(pipe.0.as_fd()),
        };
        let with_streams = Config {
            streams: Some(streams),
            ..config.clone()
        };
        assert_eq!(key(&qemu, &with_streams, "sum", 1).unwrap(), keys[4]);
        fs::write(&program, "another").unwrap();
        keys.push(of(&|_| {}));
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }
}
