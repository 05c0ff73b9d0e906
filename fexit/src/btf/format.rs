//! The binary format of BTF: the header and the words of a record.

use std::ops::Range;

use super::error::BtfError;

pub(super) const MAGIC: u16 = 0xeb9f;
pub(super) const HEADER_LEN: usize = 24;
/// The same with the fields for the layout section.
pub(super) const LONG_HEADER_LEN: usize = 32;
pub(super) const TYPE_LEN: usize = 12;

pub(super) fn word(bytes: &[u8], at: usize) -> u32 {
    match bytes.get(at..at + 4) {
        Some(&[a, b, c, d]) => u32::from_ne_bytes([a, b, c, d]),
        _ => 0,
    }
}

/// The number of the kind, from a record's second word.
#[inline]
pub(super) const fn number(info: u32) -> usize {
    (info >> 24 & 0x7f) as usize
}

/// The `vlen` in a record's second word: 24 bits, of which older kernels leave the upper eight zero.
#[inline]
pub(super) const fn vlen(info: u32) -> usize {
    (info & MAX_VLEN) as usize
}

pub(super) const MAX_VLEN: u32 = 0xff_ffff;

/// The positions of the sections of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sections {
    pub(super) types: Range<usize>,
    pub(super) strings: Range<usize>,
    /// The lengths of records by kind; most blobs do not have it.
    pub(super) layout: Range<usize>,
}

/// The positions of the sections in a blob of `len` bytes that begins with `header`.
pub(super) fn sections(header: &[u8], len: usize) -> Result<Sections, BtfError> {
    let malformed = |what: &str| BtfError::Malformed {
        what: what.to_owned(),
    };
    if header.len() < HEADER_LEN {
        return Err(malformed("it is shorter than its header"));
    }
    let magic = u16::from_ne_bytes([header[0], header[1]]);
    if magic == MAGIC.swap_bytes() {
        return Err(malformed("it is of the other byte order"));
    }
    if magic != MAGIC {
        return Err(malformed("it does not begin with the BTF magic number"));
    }
    let header_len = word(header, 4) as usize;
    let section = |at: usize| {
        let start = header_len.checked_add(word(header, at) as usize)?;
        let end = start.checked_add(word(header, at + 4) as usize)?;
        (header_len >= HEADER_LEN && end <= len).then_some(start..end)
    };
    let types = section(8).ok_or_else(|| malformed("its types lie outside of it"))?;
    let strings = section(16).ok_or_else(|| malformed("its strings lie outside of it"))?;
    let layout = if header_len >= LONG_HEADER_LEN && header.len() >= LONG_HEADER_LEN {
        section(24).ok_or_else(|| malformed("its layout section lies outside of it"))?
    } else {
        0..0
    };
    Ok(Sections {
        types,
        strings,
        layout,
    })
}
