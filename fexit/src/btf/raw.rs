//! A view of untrusted BTF: no allocation for each type, all bounds are checked.

use std::ops::{ControlFlow, Range};
use std::sync::OnceLock;

use super::bytes::Bytes;
use super::error::BtfError;
use super::format::{self, Sections, TYPE_LEN, sections, word};
use super::iter::{Head, Iter};
pub(crate) use super::kind::Kind;
use super::layout::Sizes;
use super::name_filter::PrefixFilter;

/// The index holds the position of every 64th type: an entry for each would be half a megabyte.
const NOTED: u32 = 64;

/// One type, a view of its record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Type<'a> {
    pub(crate) id: u32,
    pub(crate) kind: Kind,
    /// The whole record.
    pub(crate) bytes: &'a [u8],
}

impl<'a> Type<'a> {
    fn of(head: Head<'a>) -> Option<Self> {
        Some(Self {
            id: head.id,
            kind: head.kind()?,
            bytes: head.bytes,
        })
    }

    pub(crate) fn name_off(&self) -> u32 {
        word(self.bytes, 0)
    }

    pub(crate) fn vlen(&self) -> usize {
        format::vlen(word(self.bytes, 4))
    }

    /// The size of a type that has one, else the id of the type that it refers to.
    pub(crate) fn size_or_type(&self) -> u32 {
        word(self.bytes, 8)
    }

    /// The `index`-th word after the common twelve bytes.
    pub(crate) fn extra(&self, index: usize) -> u32 {
        word(self.bytes, TYPE_LEN + 4 * index)
    }

    /// The word at this position of the record.
    pub(crate) fn word(&self, index: usize) -> u32 {
        word(self.bytes, 4 * index)
    }

    /// The record, word by word.
    pub(crate) fn words(&self) -> impl Iterator<Item = u32> + use<'a> {
        let bytes = self.bytes;
        (0..bytes.len() / 4).map(move |i| word(bytes, 4 * i))
    }

    /// Name offset and type id of the members of a struct or union, or the parameters of a function.
    pub(crate) fn members(&self) -> impl Iterator<Item = (u32, u32)> + use<'a> {
        let stride = match self.kind {
            Kind::Struct | Kind::Union => 3,
            Kind::FuncProto => 2,
            _ => 0,
        };
        let count = if stride == 0 { 0 } else { self.vlen() };
        let this = *self;
        (0..count).map(move |i| (this.extra(stride * i), this.extra(stride * i + 1)))
    }

    /// Where a member of a struct or union begins, in bits, and how many it has if it is a bit field, else 0.
    pub(crate) fn member_bits(&self, index: usize) -> (u32, u32) {
        const HAS_WIDTHS: u32 = 1 << 31;
        let offset = self.extra(3 * index + 2);
        match self.word(1) & HAS_WIDTHS {
            0 => (offset, 0),
            _ => (offset & 0x00ff_ffff, offset >> 24),
        }
    }

    /// Positions in the record, in words, that hold type ids.
    pub(crate) fn reference_words(&self) -> Vec<usize> {
        self.kind.reference_words(self.vlen())
    }

    /// Positions in the record, in words, that hold offsets of names.
    pub(crate) fn name_words(&self) -> Vec<usize> {
        self.kind.name_words(self.vlen())
    }
}

/// One BTF blob.
#[derive(Debug)]
pub(crate) struct Raw {
    data: Bytes,
    types: Range<usize>,
    strings: Range<usize>,
    sizes: Sizes,
    /// The first type id and string offset of this blob: 1 and 0, or those after the base of a split blob.
    first_id: u32,
    first_string: u32,
    /// Built by the first iteration over all types.
    index: OnceLock<Index>,
}

/// The positions of types.
#[derive(Debug, Default)]
struct Index {
    /// The number of types.
    count: u32,
    /// The positions of the first one, and of each [`NOTED`]th from there on.
    positions: Vec<u32>,
    /// The end of the last one.
    end: usize,
}

impl Raw {
    pub(crate) fn parse(data: impl Into<Bytes>) -> Result<Self, BtfError> {
        Self::parse_after(data.into(), Sizes::KNOWN, 1, 0)
    }

    /// Split BTF, as of a module: its ids and strings continue those of `base`.
    pub(crate) fn parse_split(data: Vec<u8>, base: &Self) -> Result<Self, BtfError> {
        base.check()?;
        let first_string = base.first_string + to_u32(base.strings.len());
        let (sizes, first_id) = (base.sizes.clone(), base.first_id + base.count());
        let split = Self::parse_after(data.into(), sizes, first_id, first_string)?;
        split.check()?;
        Ok(split)
    }

    fn parse_after(
        data: Bytes,
        mut sizes: Sizes,
        first_id: u32,
        first_string: u32,
    ) -> Result<Self, BtfError> {
        let Sections {
            types,
            strings,
            layout,
        } = sections(&data, data.len())?;
        sizes.extend(&data[layout]);
        let last = strings.end.checked_sub(1).and_then(|last| data.get(last));
        if strings.is_empty() || last != Some(&0) {
            return Err(BtfError::Malformed {
                what: "its strings do not end with a NUL".to_owned(),
            });
        }
        Ok(Self {
            data,
            types,
            strings,
            sizes,
            first_id,
            first_string,
            index: OnceLock::new(),
        })
    }

    fn records(&self) -> &[u8] {
        &self.data[self.types.clone()]
    }

    /// The types in order, without those of unknown kinds. Ends early at the first record of unknown length, for which
    /// [`Self::check`] returns the error.
    pub(crate) fn types(&self) -> impl Iterator<Item = Type<'_>> {
        self.iter_from(0, self.first_id).filter_map(Type::of)
    }

    /// The heads of the types in order, until told to stop.
    pub(super) fn for_each<'a>(&'a self, mut look: impl FnMut(Head<'a>) -> ControlFlow<()>) {
        // On average a record has twice the common length.
        let mut positions =
            Vec::with_capacity(self.types.len() / (2 * TYPE_LEN) / NOTED as usize + 1);
        let mut iter = self.iter_from(0, self.first_id);
        loop {
            positions.push(to_u32(iter.at()));
            let stop = iter.next_id().saturating_add(NOTED);
            while iter.next_id() != stop {
                let Some(head) = iter.next() else {
                    let count = iter.next_id() - self.first_id;
                    let end = iter.at();
                    // An existing index is the same.
                    let _ = self.index.set(Index {
                        count,
                        positions,
                        end,
                    });
                    return;
                };
                if look(head).is_break() {
                    return;
                }
            }
        }
    }

    /// Checks that all records can be read, so that a type that is not found does not exist.
    pub(crate) fn check(&self) -> Result<(), BtfError> {
        let Index { count, end, .. } = *self.index();
        match self.records().get(end..) {
            None | Some([]) => Ok(()),
            Some(rest) => Err(self.sizes.why_ended(rest, self.first_id + count)),
        }
    }

    fn iter_from(&self, at: usize, id: u32) -> Iter<'_> {
        Iter::new(self.records(), &self.sizes, at, id)
    }

    /// The id of the first type; smaller ids are those of the base.
    pub(crate) fn first_id(&self) -> u32 {
        self.first_id
    }

    fn index(&self) -> &Index {
        if self.index.get().is_none() {
            self.for_each(|_| ControlFlow::Continue(()));
        }
        self.index.get_or_init(Index::default)
    }

    /// The number of types.
    pub(crate) fn count(&self) -> u32 {
        self.index().count
    }

    /// The type with this id, if it is in this blob.
    pub(crate) fn by_id(&self, id: u32) -> Option<Type<'_>> {
        let number = id.checked_sub(self.first_id)?;
        let skipped = number % NOTED;
        let at = *self.index().positions.get((number / NOTED) as usize)? as usize;
        self.iter_from(at, id - skipped)
            .nth(skipped as usize)
            .and_then(Type::of)
    }

    /// Where a type of this BTF is in its [bytes](Self::bytes).
    pub(crate) fn position(&self, t: &Type<'_>) -> usize {
        (t.bytes.as_ptr() as usize).saturating_sub(self.bytes().as_ptr() as usize)
    }

    /// The type behind typedefs and qualifiers.
    pub(crate) fn resolve(&self, id: u32) -> Option<Type<'_>> {
        resolve(id, |id| self.by_id(id))
    }

    /// Size in bytes and sign, if the type is an integer of up to eight bytes or an enum.
    pub(crate) fn integer(&self, id: u32) -> Option<(usize, bool)> {
        const SIGNED: u32 = 1 << 24;
        const ENUM_SIGNED: u32 = 1 << 31;
        let t = self.resolve(id)?;
        let signed = match t.kind {
            Kind::Int => t.extra(0) & SIGNED != 0,
            Kind::Enum | Kind::Enum64 => t.word(1) & ENUM_SIGNED != 0,
            _ => return None,
        };
        let size = t.size_or_type() as usize;
        matches!(size, 1 | 2 | 4 | 8).then_some((size, signed))
    }

    /// The string at this offset, if it is in this blob.
    pub(crate) fn string(&self, offset: u32) -> Option<&[u8]> {
        let at = offset.checked_sub(self.first_string)? as usize;
        let rest = self.data[self.strings.clone()].get(at..)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        Some(&rest[..end])
    }

    /// Whether the string at this offset is `name`.
    pub(crate) fn is_named(&self, offset: u32, name: &[u8]) -> bool {
        self.strings().is(offset, name)
    }

    /// Whether this string exists, not only as the tail of another.
    pub(crate) fn mentions(&self, name: &[u8]) -> bool {
        let needle = [b"\0", name, b"\0"].concat();
        memchr::memmem::find(&self.data[self.strings.clone()], &needle).is_some()
    }

    /// All strings from this offset on.
    pub(crate) fn strings_from(&self, offset: u32) -> &[u8] {
        self.strings().from(offset)
    }

    /// All strings, for an iteration over many names.
    pub(super) fn strings(&self) -> Strings<'_> {
        Strings {
            bytes: &self.data[self.strings.clone()],
            first: self.first_string,
        }
    }

    /// The blob.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.data
    }
}

/// The strings of a blob.
#[derive(Clone, Copy)]
pub(super) struct Strings<'a> {
    bytes: &'a [u8],
    first: u32,
}

impl<'a> Strings<'a> {
    /// The bytes from this offset on.
    #[inline]
    pub(super) fn from(self, offset: u32) -> &'a [u8] {
        // An offset before the first wraps to one after the last.
        let at = offset.wrapping_sub(self.first) as usize;
        self.bytes.get(at..).unwrap_or_default()
    }

    /// Whether the name at this offset may be one with these prefixes. True near the end of the strings.
    #[inline]
    pub(super) fn may_be(self, offset: u32, prefixes: &PrefixFilter) -> bool {
        offset != 0
            && match self.from(offset).first_chunk() {
                Some(prefix) => prefixes.have(*prefix),
                None => true,
            }
    }

    /// Whether the string at this offset is `name`.
    #[inline]
    pub(super) fn is(self, offset: u32, name: &[u8]) -> bool {
        let rest = self.from(offset);
        rest.get(name.len()) == Some(&0) && rest.starts_with(name)
    }
}

/// Follows typedefs and qualifiers to the underlying type.
pub(super) fn resolve<'a>(
    mut id: u32,
    by_id: impl Fn(u32) -> Option<Type<'a>>,
) -> Option<Type<'a>> {
    // A longer chain of modifiers is a loop.
    for _ in 0..32 {
        let t = by_id(id)?;
        if !t.kind.is_modifier() {
            return Some(t);
        }
        id = t.size_or_type();
    }
    None
}

fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
