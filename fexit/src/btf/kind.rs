//! The kinds of types that BTF has.

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

    pub(super) fn from_info(info: u32) -> Option<Self> {
        Self::ALL.get(number(info)).copied()
    }

    /// Bytes that follow the common twelve: a fixed number, and so many for each of the `vlen` things in the type.
    const fn extra(self) -> (u8, u8) {
        match self {
            Self::Int | Self::Var | Self::DeclTag => (4, 0),
            Self::Array => (12, 0),
            Self::Struct | Self::Union | Self::DataSec | Self::Enum64 => (0, 12),
            Self::Enum | Self::FuncProto => (0, 8),
            Self::Ptr
            | Self::Fwd
            | Self::Typedef
            | Self::Volatile
            | Self::Const
            | Self::Restrict
            | Self::Func
            | Self::Float
            | Self::TypeTag => (0, 0),
        }
    }

    /// Whether there can be data of such a type.
    pub(crate) const fn is_data(self) -> bool {
        !matches!(
            self,
            Self::Func | Self::Var | Self::DataSec | Self::DeclTag | Self::FuncProto
        )
    }

    /// Whether the type merely gives another one a name or a qualifier.
    pub(crate) const fn is_modifier(self) -> bool {
        matches!(
            self,
            Self::Typedef | Self::Volatile | Self::Const | Self::Restrict | Self::TypeTag
        )
    }
}

/// The place in [`Kind::ALL`] of the kind that a record's second word names, if it is there.
fn number(info: u32) -> usize {
    ((info >> 24 & 0x1f) as usize).wrapping_sub(1)
}

/// [`Kind::extra`] by number: a walk over a hundred thousand records asks it of each.
const EXTRA: [(u8, u8); Kind::ALL.len()] = {
    let mut extra = [(0, 0); Kind::ALL.len()];
    let mut kind = 0;
    while kind < extra.len() {
        extra[kind] = Kind::ALL[kind].extra();
        kind += 1;
    }
    extra
};

/// [`Kind::extra`] of the kind that a record's second word names.
#[inline]
pub(super) fn extra(info: u32) -> Option<(u8, u8)> {
    EXTRA.get(number(info)).copied()
}
