//! A plain boot for comparison: the distribution's kernel image and the harness's initramfs, nothing tuned.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::tools::Harness;

pub(super) struct PlainBoot<'a> {
    qemu: &'a str,
    kernel: String,
    pub(super) image: PathBuf,
    initramfs: PathBuf,
}

impl<'a> PlainBoot<'a> {
    /// Lets the harness write its initramfs, with a scenario that does nothing, into `folder`.
    pub(super) fn prepare(harness: &'a Harness, kernel: &str, folder: &Path) -> Result<Self> {
        let keep = folder
            .to_str()
            .context("the temporary folder is not UTF-8")?;
        let report = harness.report(
            kernel,
            &[
                "--scenario",
                "selftest_skip",
                "--no-template",
                "--keep",
                keep,
            ],
        )?;
        let release = report["kernels"][0]["release"].as_str();
        let release = release.with_context(|| format!("{kernel} did not boot"))?;
        Ok(Self {
            qemu: &harness.qemu,
            kernel: kernel.to_owned(),
            image: cached_image(release)?,
            initramfs: folder.join(kernel).join("initramfs.cpio"),
        })
    }

    pub(super) fn boot(&self) -> Result<()> {
        let status = Command::new(self.qemu)
            .args(["-accel", "tcg", "-cpu", "max", "-m", "512"])
            .args(["-display", "none", "-no-reboot", "-kernel"])
            .arg(&self.image)
            .arg("-initrd")
            .arg(&self.initramfs)
            .args(["-append", "console=ttyS0 panic=-1"])
            .args(["-serial", "file:/dev/null", "-serial", "file:/dev/null"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()?;
        ensure!(
            status.success(),
            "the plain boot of {} ended with {status}",
            self.kernel
        );
        Ok(())
    }
}

/// The compressed image that the harness keeps for this release.
fn cached_image(release: &str) -> Result<PathBuf> {
    let cache = match std::env::var_os("HARNESS_CACHE_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let home = std::env::var_os("HOME").context("HOME is not set")?;
            PathBuf::from(home).join(".cache/fexit-harness")
        }
    };
    let kernels = cache.join("kernels");
    for entry in fs::read_dir(&kernels)
        .with_context(|| format!("cannot read the kernel cache {}", kernels.display()))?
    {
        let folder = entry?.path();
        let Ok(manifest) = fs::read(folder.join("kernel.json")) else {
            continue;
        };
        let manifest: Value = serde_json::from_slice(&manifest)
            .with_context(|| format!("{}/kernel.json", folder.display()))?;
        if manifest["release"] == release {
            return Ok(folder.join("vmlinuz"));
        }
    }
    anyhow::bail!("kernel {release} is not in the cache {}", kernels.display())
}
