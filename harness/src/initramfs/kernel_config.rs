//! The configuration of the kernel in the place where loaders read it: a BPF object may use its values (`__kconfig`).

use std::fs;

use crate::initramfs::cpio::{ImageError, Initramfs};
use crate::kernels::Kernel;

/// Adds it as `/boot/config-RELEASE`, if it is known and there is no such file.
pub(crate) fn add(kernel: &Kernel, image: &mut Initramfs<'_>) -> Result<(), ImageError> {
    let text = kernel.config.as_ref().and_then(|path| fs::read(path).ok());
    let Some(text) = text else {
        return Ok(());
    };
    let path = format!("/boot/config-{}", kernel.release);
    match image.file(&path, 0o644, options(&text)) {
        Ok(_) | Err(ImageError::Duplicate(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The options that are set, without the comments.
fn options(text: &[u8]) -> Vec<u8> {
    let lines = text.split_inclusive(|&byte| byte == b'\n');
    lines
        .filter(|line| line.starts_with(b"CONFIG_"))
        .flatten()
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_removed_from_the_kernel_config() {
        let text =
            b"#\n# Automatic\nCONFIG_A=y\n\n# CONFIG_B is not set\nCONFIG_C=\"x # y\"\nCONFIG_D=1";
        let kept = b"CONFIG_A=y\nCONFIG_C=\"x # y\"\nCONFIG_D=1";
        assert_eq!(options(text), kept);
    }
}
