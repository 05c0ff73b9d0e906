//! A device: its arguments for QEMU and for the kernel.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// A device: its arguments for QEMU and for the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) qemu: Vec<OsString>,
    pub(super) kernel: Vec<String>,
}

impl Device {
    pub(super) fn new(qemu: &[&str], kernel: &[&str]) -> Self {
        Self {
            qemu: qemu.iter().map(OsString::from).collect(),
            kernel: kernel.iter().map(|&arg| arg.to_owned()).collect(),
        }
    }
}

/// Doubles the commas in the value of an option, as QEMU requires.
pub(super) fn escape(value: &OsStr) -> OsString {
    let mut escaped = Vec::with_capacity(value.len());
    for &byte in value.as_bytes() {
        escaped.extend_from_slice(if byte == b',' {
            b",,"
        } else {
            std::slice::from_ref(&byte)
        });
    }
    OsString::from_vec(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_paths_are_doubled() {
        let path = OsString::from_vec(b"a,\xff,,".to_vec());
        assert_eq!(escape(&path).into_vec(), b"a,,\xff,,,,");
    }
}
