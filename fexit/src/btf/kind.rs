//! The kinds of BTF types.

use super::format::{TYPE_LEN, number};

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
    pub(super) const ALL: [Self; 19] = [
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
        Self::ALL.get(number(info).checked_sub(1)?).copied()
    }

    /// The bytes after the common twelve: a fixed number, and a number for each of the `vlen` parts of the type.
    pub(super) const fn extra(self) -> (u8, u8) {
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

    /// Positions in the record of a type with `vlen` parts, in words, that hold type ids.
    pub(crate) fn reference_words(self, vlen: usize) -> Vec<usize> {
        let first = TYPE_LEN / 4;
        match self {
            Self::Ptr
            | Self::Typedef
            | Self::Volatile
            | Self::Const
            | Self::Restrict
            | Self::Func
            | Self::Var
            | Self::DeclTag
            | Self::TypeTag => vec![2],
            Self::Array => vec![first, first + 1],
            Self::Struct | Self::Union => (0..vlen).map(|i| first + 3 * i + 1).collect(),
            Self::FuncProto => std::iter::once(2)
                .chain((0..vlen).map(|i| first + 2 * i + 1))
                .collect(),
            Self::DataSec => (0..vlen).map(|i| first + 3 * i).collect(),
            Self::Int | Self::Enum | Self::Fwd | Self::Float | Self::Enum64 => Vec::new(),
        }
    }

    /// Positions in the record of a type with `vlen` parts, in words, that hold offsets of names.
    pub(crate) fn name_words(self, vlen: usize) -> Vec<usize> {
        let first = TYPE_LEN / 4;
        let stride = match self {
            Self::Struct | Self::Union | Self::Enum64 => 3,
            Self::Enum | Self::FuncProto => 2,
            _ => return vec![0],
        };
        std::iter::once(0)
            .chain((0..vlen).map(|i| first + stride * i))
            .collect()
    }

    /// Whether a value can have this type.
    pub(crate) const fn is_data(self) -> bool {
        !matches!(
            self,
            Self::Func | Self::Var | Self::DataSec | Self::DeclTag | Self::FuncProto
        )
    }

    /// Whether it is a typedef or a qualifier of another type.
    pub(crate) const fn is_modifier(self) -> bool {
        matches!(
            self,
            Self::Typedef | Self::Volatile | Self::Const | Self::Restrict | Self::TypeTag
        )
    }
}
