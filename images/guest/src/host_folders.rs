//! Mounts folders of the host by virtiofs, before the command runs.

use std::ffi::CStr;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use protocol::job::{Mount, tag};
use rustix::mount::{MountFlags, mount};

/// Mounts them, in order.
pub(crate) fn mount_all(folders: &[Mount]) -> Result<()> {
    for (index, Mount { target, read_only }) in folders.iter().enumerate() {
        let target = Path::new(target);
        let flags = match read_only {
            true => MountFlags::RDONLY,
            false => MountFlags::empty(),
        };
        fs::create_dir_all(target)
            .map_err(anyhow::Error::from)
            .and_then(|()| Ok(mount(tag(index), target, "virtiofs", flags, None::<&CStr>)?))
            .with_context(|| {
                format!(
                    "cannot mount a folder of the host on {} by virtiofs",
                    target.display()
                )
            })?;
    }
    Ok(())
}
