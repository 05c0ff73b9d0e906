//! The external symbols of an object: values of the kernel's configuration (`__kconfig`), variables and functions of the
//! kernel (`__ksym`).

use crate::btf::raw::{Kind, Raw};

/// The longest name of an option.
const LONGEST_TEXT: usize = 1 << 20;

/// An external symbol. Instructions refer to it by its index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extern {
    pub(crate) name: String,
    /// Whether the object works without it (`__weak`).
    pub(crate) is_weak: bool,
    pub(crate) kind: ExternKind,
}

/// The kind of an external symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExternKind {
    /// A value of the kernel's configuration; none if no such value can have its type.
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

/// The kind of the extern with this name by the object's BTF. Without BTF, `is_called` decides.
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
                // Qualifiers without a type: it is void.
                _ if local.resolve(id).is_none() => ExternKind::Address,
                _ => ExternKind::Variable(id),
            });
        }
    }
    None
}

/// The declared type of a configuration value.
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

/// A configuration value that the object reads: its declared type and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) kind: Type,
    pub(crate) size: usize,
}

/// The declared type of the variable; `None` if it cannot hold a configuration value.
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
