//! The bytes of BTF: a copy, or the kernel's file in mapped memory.

use std::fmt;
use std::ops::Deref;

use crate::sys::mmap::Mapped;

/// The bytes of a BTF blob.
pub(crate) enum Bytes {
    Owned(Vec<u8>),
    Mapped(Mapped),
}

impl From<Vec<u8>> for Bytes {
    fn from(data: Vec<u8>) -> Self {
        Self::Owned(data)
    }
}

impl From<Mapped> for Bytes {
    fn from(data: Mapped) -> Self {
        Self::Mapped(data)
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Owned(data) => data,
            Self::Mapped(data) => data.bytes(),
        }
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}
