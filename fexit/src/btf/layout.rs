//! The length of records: of known kinds, and of others by the blob's layout section.
//!
//! A blob may say of each kind that its writer knew how many bytes follow the common twelve. So a kind that came later
//! can be stepped over. Source: kernel commit "btf: Add BTF kind layout encoding to UAPI".

use super::error::BtfError;
use super::format::{TYPE_LEN, number, vlen, word};
use super::kind::Kind;

/// A record's kind has seven bits; older kernels use five and leave the others zero.
const KINDS: usize = 128;

/// The fixed length of a record, and the length of each of its `vlen` parts, by kind; zero for an unknown kind.
#[derive(Clone, Debug)]
pub(super) struct Sizes([(u16, u16); KINDS]);

impl Sizes {
    /// The sizes of known kinds.
    pub(super) const KNOWN: Self = {
        let mut sizes = [(0, 0); KINDS];
        let mut kind = 0;
        while kind < Kind::ALL.len() {
            let (fixed, each) = Kind::ALL[kind].extra();
            sizes[kind + 1] = (TYPE_LEN as u16 + fixed as u16, each as u16);
            kind += 1;
        }
        Self(sizes)
    };

    /// Adds the kinds that only `layout` knows, the layout section of a blob: four bytes for each kind.
    pub(super) fn extend(&mut self, layout: &[u8]) {
        for (size, entry) in self.0.iter_mut().zip(layout.chunks_exact(4)).skip(1) {
            let [fixed, each] = [entry[0], entry[1]].map(u16::from);
            let aligned = fixed.is_multiple_of(4) && each.is_multiple_of(4);
            if size.0 == 0 && aligned {
                *size = (TYPE_LEN as u16 + fixed, each);
            }
        }
    }

    /// The length of the record whose second word is `info`; `None` if its kind is not known.
    ///
    /// It is called for each of 100,000 records.
    #[inline]
    pub(super) fn of(&self, info: u32) -> Option<usize> {
        let (fixed, each) = self.0[number(info)];
        (fixed > 0).then(|| usize::from(fixed) + usize::from(each) * vlen(info))
    }

    /// The error about an iteration that ended before `rest`, at the type `type_id`.
    pub(super) fn why_ended(&self, rest: &[u8], type_id: u32) -> BtfError {
        let info = word(rest, 4);
        if rest.len() >= TYPE_LEN && number(info) > 0 && self.of(info).is_none() {
            return BtfError::UnknownKind {
                kind: number(info) as u32,
                type_id,
            };
        }
        BtfError::Malformed {
            what: format!("type {type_id} is truncated"),
        }
    }
}
