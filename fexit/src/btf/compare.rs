//! Whether a type of an object and a type of the kernel are compatible or match, by libbpf's rules for CO-RE.

use super::name_filter::strip_flavor;
use super::raw::{Kind, Type};
use super::scope::Scope;

/// Types that refer to each other more deeply than this are a loop.
const DEPTH: usize = 32;

/// The two sides of a comparison: the object's types, and the kernel's or a module's.
#[derive(Clone, Copy)]
pub(super) struct Compare<'a> {
    pub(super) local: Scope<'a>,
    pub(super) kernel: Scope<'a>,
}

impl<'a> Compare<'a> {
    /// Whether the types are compatible: kinds, pointers and parameters agree. Members are not compared
    /// (`bpf_core_types_are_compat`).
    pub(super) fn are_compatible(self, local: u32, kernel: u32) -> bool {
        self.compatible(local, kernel, DEPTH)
    }

    fn compatible(self, local: u32, kernel: u32, depth: usize) -> bool {
        let Some(depth) = depth.checked_sub(1) else {
            return false;
        };
        let (local, kernel) = match (self.local.resolve(local), self.kernel.resolve(kernel)) {
            (Some(local), Some(kernel)) => (local, kernel),
            (None, None) => return true, // void
            _ => return false,
        };
        let again = |local, kernel| self.compatible(local, kernel, depth);
        match (local.kind, kernel.kind) {
            (Kind::Enum | Kind::Enum64, Kind::Enum | Kind::Enum64)
            | (Kind::Struct, Kind::Struct)
            | (Kind::Union, Kind::Union)
            | (Kind::Fwd, Kind::Fwd)
            | (Kind::Int, Kind::Int)
            | (Kind::Float, Kind::Float) => true,
            // A program that only passes a pointer on may declare the type without defining it.
            (Kind::Fwd, Kind::Struct | Kind::Union) | (Kind::Struct | Kind::Union, Kind::Fwd) => {
                is_union(&local) == is_union(&kernel)
            }
            (Kind::Ptr, Kind::Ptr) => again(local.size_or_type(), kernel.size_or_type()),
            (Kind::Array, Kind::Array) => again(local.extra(0), kernel.extra(0)),
            (Kind::FuncProto, Kind::FuncProto) => {
                local.vlen() == kernel.vlen()
                    && pairs(&local, &kernel).all(|(local, kernel)| again(local, kernel))
                    && again(local.size_or_type(), kernel.size_or_type())
            }
            _ => false,
        }
    }

    /// Whether the kernel's type has all members of the object's type, by name and type (`bpf_core_types_match`).
    pub(super) fn matches(self, local: u32, kernel: u32) -> bool {
        self.match_types(local, kernel, false, DEPTH)
    }

    fn match_types(self, local: u32, kernel: u32, behind_pointer: bool, depth: usize) -> bool {
        let Some(depth) = depth.checked_sub(1) else {
            return false;
        };
        let (local, kernel) = match (self.local.resolve(local), self.kernel.resolve(kernel)) {
            (Some(local), Some(kernel)) => (local, kernel),
            (None, None) => return true, // void
            _ => return false,
        };
        if !self.same_name(local.name_off(), kernel.name_off()) {
            return false;
        }
        let again = |local, kernel, behind| self.match_types(local, kernel, behind, depth);
        match (local.kind, kernel.kind) {
            (Kind::Enum | Kind::Enum64, Kind::Enum | Kind::Enum64) => {
                self.match_enums(&local, &kernel)
            }
            (Kind::Int, Kind::Int) => {
                let signed = |t: &Type<'_>| t.extra(0) >> 24 & 1;
                local.size_or_type() == kernel.size_or_type() && signed(&local) == signed(&kernel)
            }
            (Kind::Fwd, Kind::Fwd) => is_union(&local) == is_union(&kernel),
            // Behind a pointer a declaration matches the type that it declares.
            (Kind::Fwd, Kind::Struct | Kind::Union) | (Kind::Struct | Kind::Union, Kind::Fwd) => {
                behind_pointer && is_union(&local) == is_union(&kernel)
            }
            (Kind::Struct, Kind::Struct) | (Kind::Union, Kind::Union) => {
                behind_pointer || self.match_members(&local, &kernel, depth)
            }
            (Kind::Ptr, Kind::Ptr) => again(local.size_or_type(), kernel.size_or_type(), true),
            (Kind::Array, Kind::Array) => {
                local.extra(2) == kernel.extra(2)
                    && again(local.extra(0), kernel.extra(0), behind_pointer)
            }
            (Kind::FuncProto, Kind::FuncProto) => {
                local.vlen() == kernel.vlen()
                    && pairs(&local, &kernel)
                        .all(|(local, kernel)| again(local, kernel, behind_pointer))
                    && again(local.size_or_type(), kernel.size_or_type(), behind_pointer)
            }
            _ => false,
        }
    }

    fn match_enums(self, local: &Type<'a>, kernel: &Type<'a>) -> bool {
        let names = |t: &Type<'a>| {
            t.name_words()
                .into_iter()
                .skip(1)
                .map(|at| t.word(at))
                .collect()
        };
        let (local_names, kernel_names): (Vec<u32>, Vec<u32>) = (names(local), names(kernel));
        local.size_or_type() == kernel.size_or_type()
            && local_names.iter().all(|&name| {
                kernel_names
                    .iter()
                    .any(|&other| self.same_name(name, other))
            })
    }

    fn match_members(self, local: &Type<'a>, kernel: &Type<'a>, depth: usize) -> bool {
        local.members().all(|(name, id)| {
            kernel.members().any(|(other, other_id)| {
                self.same_name(name, other) && self.match_types(id, other_id, false, depth)
            })
        })
    }

    fn same_name(self, local: u32, kernel: u32) -> bool {
        let name =
            |scope: Scope<'a>, offset| strip_flavor(scope.string(offset).unwrap_or_default());
        name(self.local, local) == name(self.kernel, kernel)
    }
}

/// Whether a union, or the declaration of one.
fn is_union(t: &Type<'_>) -> bool {
    const OF_A_UNION: u32 = 1 << 31;
    t.kind == Kind::Union || t.kind == Kind::Fwd && t.word(1) & OF_A_UNION != 0
}

/// The types of the parameters.
fn pairs<'a>(local: &Type<'a>, kernel: &Type<'a>) -> impl Iterator<Item = (u32, u32)> + use<'a> {
    let kernel = kernel.members().map(|(_, id)| id);
    local.members().map(|(_, id)| id).zip(kernel)
}
