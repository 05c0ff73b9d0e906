//! What an object refers to outside of it: values of the kernel's configuration (`__kconfig`), variables and functions
//! of the kernel (`__ksym`).

use crate::btf::raw::{Kind, Raw};

/// No option is longer.
const LONGEST_TEXT: usize = 1 << 20;

/// Something outside the object that its code refers to. Instructions hold its number among all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extern {
    pub(crate) name: String,
    /// Whether the object does without it (`__weak`).
    pub(crate) is_weak: bool,
    pub(crate) kind: ExternKind,
}

/// What it is declared as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExternKind {
    /// A value of the kernel's configuration; none if its type is none that such a value can have.
    Kconfig(Option<Declared>),
    /// A function of the kernel, and its type in the object's BTF; zero if there is none.
    Function(u32),
    /// A variable of the kernel, and its type in the object's BTF.
    Variable(u32),
    /// A symbol of the kernel without a type: an address.
    Address,
    /// A variable that is neither `__kconfig` nor `__ksym`.
    Unknown,
}

/// The kind of the extern of this name, by the object's BTF; `is_called` tells for what has none.
pub(crate) fn kind(local: Option<&Raw>, name: &str, is_called: bool) -> ExternKind {
    let found = local.and_then(|local| find(local, name.as_bytes()));
    match found {
        Some(kind) => kind,
        None if is_called => ExternKind::Function(0),
        None => ExternKind::Unknown,
    }
}

fn find(local: &Raw, name: &[u8]) -> Option<ExternKind> {
    for section in local.types().filter(|t| t.kind == Kind::DataSec) {
        let in_section = |name| local.is_named(section.name_off(), name);
        let (kconfig, ksyms) = (in_section(b".kconfig"), in_section(b".ksyms"));
        if !kconfig && !ksyms {
            continue;
        }
        let ids = (0..section.vlen()).map(|i| section.extra(3 * i));
        let mut named = ids
            .filter_map(|id| local.by_id(id))
            .filter(|t| local.is_named(t.name_off(), name));
        if let Some(t) = named.next() {
            let id = t.size_or_type();
            return Some(match t.kind {
                Kind::Func => ExternKind::Function(id),
                _ if kconfig => ExternKind::Kconfig(declared(local, id)),
                // Behind qualifiers there is no type: it is void.
                _ if local.resolve(id).is_none() => ExternKind::Address,
                _ => ExternKind::Variable(id),
            });
        }
    }
    None
}

/// What a value is declared as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// `bool`.
    Bool,
    /// `enum libbpf_tristate`.
    Tristate,
    /// `char` and `unsigned char`.
    Char,
    /// An integer of two, four or eight bytes.
    Int { signed: bool },
    /// An array of characters.
    Text,
}

/// A value that the object asks for: what it is declared as, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) kind: Type,
    pub(crate) size: usize,
}

/// What the variable with this type may hold; `None` if it may hold none of a configuration's values.
pub(crate) fn declared(local: &Raw, id: u32) -> Option<Declared> {
    const SIGNED: u32 = 1;
    const BOOL: u32 = 4;
    let t = local.resolve(id)?;
    let size = t.size_or_type() as usize;
    let tristate = || local.is_named(t.name_off(), b"libbpf_tristate");
    let (kind, size) = match t.kind {
        Kind::Int => {
            let encoding = t.extra(0) >> 24;
            let kind = match size {
                1 if encoding & BOOL != 0 => Type::Bool,
                1 => Type::Char,
                2 | 4 | 8 if encoding & BOOL == 0 => Type::Int {
                    signed: encoding & SIGNED != 0,
                },
                _ => return None,
            };
            (kind, size)
        }
        Kind::Enum if size == 4 && tristate() => (Type::Tristate, size),
        Kind::Enum64 if size == 8 && tristate() => (Type::Tristate, size),
        Kind::Array => {
            let element = declared(local, t.extra(0))?;
            let length = t.extra(2) as usize;
            if element.kind != Type::Char || length == 0 || length > LONGEST_TEXT {
                return None;
            }
            (Type::Text, length)
        }
        _ => return None,
    };
    Some(Declared { kind, size })
}
