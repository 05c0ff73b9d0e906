//! The configuration that a kernel was built with, where loaders look for it: values of it may be in a BPF object
//! (`__kconfig`).

use std::fs;

use crate::initramfs::cpio::{ImageError, Initramfs};
use crate::kernels::Kernel;

/// Puts it into the image as `/boot/config-RELEASE`, if it is known and nothing is there.
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

/// The options that are set. What is not is most of the rest, in comments.
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
