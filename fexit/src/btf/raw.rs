//! BTF read in place: no allocation for each type, bounds checked at every step, nothing trusted.

use std::sync::OnceLock;

use super::BtfError;

pub(super) const MAGIC: u16 = 0xeb9f;
const HEADER_LEN: usize = 24;
const TYPE_LEN: usize = 12;

/// `BTF_KIND_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    Ptr,
    Array,
    Struct,
    Union,
    Enum,
    Fwd,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Func,
    FuncProto,
    Var,
    DataSec,
    Float,
    DeclTag,
    TypeTag,
    Enum64,
}

impl Kind {
    const ALL: [Self; 19] = [
        Self::Int,
        Self::Ptr,
        Self::Array,
        Self::Struct,
        Self::Union,
        Self::Enum,
        Self::Fwd,
        Self::Typedef,
        Self::Volatile,
        Self::Const,
        Self::Restrict,
        Self::Func,
        Self::FuncProto,
        Self::Var,
        Self::DataSec,
        Self::Float,
        Self::DeclTag,
        Self::TypeTag,
        Self::Enum64,
    ];

    fn from_info(info: u32) -> Option<Self> {
        let number = (info >> 24 & 0x1f) as usize;
        Self::ALL.get(number.checked_sub(1)?).copied()
    }

    /// Bytes that follow the common twelve.
    const fn extra(self, vlen: usize) -> usize {
        match self {
            Self::Int | Self::Var | Self::DeclTag => 4,
            Self::Array => 12,
            Self::Struct | Self::Union | Self::DataSec | Self::Enum64 => 12 * vlen,
            Self::Enum | Self::FuncProto => 8 * vlen,
            Self::Ptr
            | Self::Fwd
            | Self::Typedef
            | Self::Volatile
            | Self::Const
            | Self::Restrict
            | Self::Func
            | Self::Float
            | Self::TypeTag => 0,
        }
    }

    /// Whether the type merely gives another one a name or a qualifier.
    pub(crate) const fn is_modifier(self) -> bool {
        matches!(
            self,
            Self::Typedef | Self::Volatile | Self::Const | Self::Restrict | Self::TypeTag
        )
    }
}

/// One type, where it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Type<'a> {
    pub(crate) id: u32,
    pub(crate) kind: Kind,
    /// The whole record.
    pub(crate) bytes: &'a [u8],
}

impl<'a> Type<'a> {
    pub(crate) fn name_off(&self) -> u32 {
        word(self.bytes, 0)
    }

    pub(crate) fn vlen(&self) -> usize {
        (word(self.bytes, 4) & 0xffff) as usize
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

    /// Positions in the record, in words, that hold type ids.
    pub(crate) fn reference_words(&self) -> Vec<usize> {
        let first = TYPE_LEN / 4;
        match self.kind {
            Kind::Ptr
            | Kind::Typedef
            | Kind::Volatile
            | Kind::Const
            | Kind::Restrict
            | Kind::Func
            | Kind::Var
            | Kind::DeclTag
            | Kind::TypeTag => vec![2],
            Kind::Array => vec![first, first + 1],
            Kind::Struct | Kind::Union => (0..self.vlen()).map(|i| first + 3 * i + 1).collect(),
            Kind::FuncProto => std::iter::once(2)
                .chain((0..self.vlen()).map(|i| first + 2 * i + 1))
                .collect(),
            Kind::DataSec => (0..self.vlen()).map(|i| first + 3 * i).collect(),
            Kind::Int | Kind::Enum | Kind::Fwd | Kind::Float | Kind::Enum64 => Vec::new(),
        }
    }

    /// Positions in the record, in words, that hold offsets of names.
    pub(crate) fn name_words(&self) -> Vec<usize> {
        let first = TYPE_LEN / 4;
        let stride = match self.kind {
            Kind::Struct | Kind::Union | Kind::Enum64 => 3,
            Kind::Enum | Kind::FuncProto => 2,
            _ => return vec![0],
        };
        std::iter::once(0)
            .chain((0..self.vlen()).map(|i| first + stride * i))
            .collect()
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    match bytes.get(at..at + 4) {
        Some(&[a, b, c, d]) => u32::from_ne_bytes([a, b, c, d]),
        _ => 0,
    }
}

/// One BTF blob.
#[derive(Debug)]
pub(crate) struct Raw {
    data: Vec<u8>,
    types: std::ops::Range<usize>,
    strings: std::ops::Range<usize>,
    /// Where this blob's ids and strings begin: 1 and 0, or behind those of the base of a split blob.
    first_id: u32,
    first_string: u32,
    /// Offset of each type in `data`, made when a type is first asked for by id.
    index: OnceLock<Vec<u32>>,
}

impl Raw {
    pub(crate) fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        Self::parse_after(data, 1, 0)
    }

    /// A blob that goes on where another one ends, as a module's does.
    pub(crate) fn parse_split(data: Vec<u8>, base: &Self) -> Result<Self, BtfError> {
        let first_string = base.first_string + to_u32(base.strings.len());
        Self::parse_after(data, base.first_id + base.count(), first_string)
    }

    fn parse_after(data: Vec<u8>, first_id: u32, first_string: u32) -> Result<Self, BtfError> {
        let malformed = |what: &str| BtfError::Malformed {
            what: what.to_owned(),
        };
        if data.len() < HEADER_LEN {
            return Err(malformed("it is shorter than its header"));
        }
        let magic = u16::from_ne_bytes([data[0], data[1]]);
        if magic == MAGIC.swap_bytes() {
            return Err(malformed("it is of the other byte order"));
        }
        if magic != MAGIC {
            return Err(malformed("it does not begin with the BTF magic number"));
        }
        let header = word(&data, 4) as usize;
        let section = |at: usize| {
            let start = header.checked_add(word(&data, at) as usize)?;
            let end = start.checked_add(word(&data, at + 4) as usize)?;
            (header >= HEADER_LEN && end <= data.len()).then_some(start..end)
        };
        let types = section(8).ok_or_else(|| malformed("its types lie outside of it"))?;
        let strings = section(16).ok_or_else(|| malformed("its strings lie outside of it"))?;
        if data
            .get(strings.end.wrapping_sub(1))
            .is_none_or(|&last| last != 0)
            || strings.is_empty()
        {
            return Err(malformed("its strings do not end with a NUL"));
        }
        Ok(Self {
            data,
            types,
            strings,
            first_id,
            first_string,
            index: OnceLock::new(),
        })
    }

    /// The types in order. Ends early at the first record that is not one; [`Self::check`] says which.
    pub(crate) fn types(&self) -> impl Iterator<Item = Type<'_>> {
        let mut rest = &self.data[self.types.clone()];
        let mut id = self.first_id;
        std::iter::from_fn(move || {
            let (record, after) = split_record(rest)?;
            let this = Type { id, ..record };
            rest = after;
            id = id.checked_add(1)?;
            Some(this)
        })
    }

    /// Whether every record is a known type that ends inside the blob.
    pub(crate) fn check(&self) -> Result<(), BtfError> {
        let mut rest = &self.data[self.types.clone()];
        let mut id = u64::from(self.first_id);
        while !rest.is_empty() {
            (_, rest) = split_record(rest).ok_or_else(|| BtfError::Malformed {
                what: format!("type {id} is cut off or of an unknown kind"),
            })?;
            id += 1;
        }
        Ok(())
    }

    fn index(&self) -> &[u32] {
        self.index.get_or_init(|| {
            let base = self.data.as_ptr() as usize;
            self.types()
                .map(|t| to_u32(t.bytes.as_ptr() as usize - base))
                .collect()
        })
    }

    /// How many types there are.
    pub(crate) fn count(&self) -> u32 {
        to_u32(self.index().len())
    }

    /// The type with this id, if it is in this blob.
    pub(crate) fn by_id(&self, id: u32) -> Option<Type<'_>> {
        let at = *self.index().get(id.checked_sub(self.first_id)? as usize)? as usize;
        let (record, _) = split_record(self.data.get(at..self.types.end)?)?;
        Some(Type { id, ..record })
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
        let Some(at) = offset.checked_sub(self.first_string) else {
            return false;
        };
        self.data[self.strings.clone()]
            .get(at as usize..)
            .is_some_and(|rest| rest.get(name.len()) == Some(&0) && rest.starts_with(name))
    }

    /// Whether the string at this offset begins with one of these bytes: a quick way to pass over most.
    pub(crate) fn starts_with_any(&self, offset: u32, first: &[bool; 256]) -> bool {
        let at = offset.wrapping_sub(self.first_string) as usize;
        self.data[self.strings.clone()]
            .get(at)
            .is_some_and(|&byte| first[usize::from(byte)])
    }

    /// The blob.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.data
    }
}

/// Follows typedefs and qualifiers to the type that they stand for.
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

fn split_record(data: &[u8]) -> Option<(Type<'_>, &[u8])> {
    let info = word(data.get(..TYPE_LEN)?, 4);
    let kind = Kind::from_info(info)?;
    let len = TYPE_LEN + kind.extra((info & 0xffff) as usize);
    let (bytes, rest) = data.split_at_checked(len)?;
    Some((Type { id: 0, kind, bytes }, rest))
}

fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
