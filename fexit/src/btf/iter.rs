//! An iterator over the records of BTF. A kernel has 100,000, so each step takes few instructions.

use super::format::TYPE_LEN;
use super::kind::Kind;
use super::layout::Sizes;

/// The head of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    pub(super) id: u32,
    pub(super) name_off: u32,
    info: u32,
    pub(super) bytes: &'a [u8],
}

impl Head<'_> {
    #[inline]
    pub(super) fn kind(&self) -> Option<Kind> {
        Kind::from_info(self.info)
    }
}

/// The records in order. Ends early at a record of unknown length, or one that ends outside of the blob.
#[derive(Clone, Debug)]
pub(super) struct Iter<'a> {
    rest: &'a [u8],
    sizes: &'a Sizes,
    /// The length of the bytes from the first type on.
    end: usize,
    id: u32,
}

impl<'a> Iter<'a> {
    /// Starts at the record with this position and id.
    pub(super) fn new(types: &'a [u8], sizes: &'a Sizes, at: usize, id: u32) -> Self {
        Self {
            rest: types.get(at..).unwrap_or_default(),
            sizes,
            end: types.len(),
            id,
        }
    }

    /// The position of the next record.
    pub(super) fn at(&self) -> usize {
        self.end - self.rest.len()
    }

    /// The id of the next record.
    pub(super) fn next_id(&self) -> u32 {
        self.id
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Head<'a>;

    #[inline]
    fn next(&mut self) -> Option<Head<'a>> {
        let [a, b, c, d, e, f, g, h, ..] = *self.rest.first_chunk::<TYPE_LEN>()?;
        let info = u32::from_ne_bytes([e, f, g, h]);
        let (bytes, rest) = self.rest.split_at_checked(self.sizes.of(info)?)?;
        let head = Head {
            id: self.id,
            name_off: u32::from_ne_bytes([a, b, c, d]),
            info,
            bytes,
        };
        self.rest = rest;
        self.id = self.id.wrapping_add(1);
        Some(head)
    }
}
