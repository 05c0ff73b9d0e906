//! A CO-RE relocation as text: `struct task_struct.mm.flags`.

use super::core::CoreRelocation;
use super::raw::{Kind, Raw, Type};

/// Deeper types are a loop.
const DEPTH: usize = 64;

/// `BPF_CORE_FIELD_RSHIFT_U64`, the last field-based relocation.
const LAST_FIELD_KIND: u32 = 5;

/// A CO-RE relocation: a type or field of the kernel that an object uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct CoreRelocationInfo {
    /// The type, as `struct task_struct`.
    pub type_name: String,
    /// The field in it, as `mm.flags`, or the value of an enum; none if it is type-based.
    pub member: Option<String>,
    /// The requested value: `offset`, `size`, `exists`, ...
    pub what: &'static str,
    /// Whether the program only checks that it exists, so that it loads without it.
    pub optional: bool,
}

impl std::fmt::Display for CoreRelocationInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.type_name)?;
        match &self.member {
            Some(member) => write!(f, ".{member}"),
            None => Ok(()),
        }
    }
}

/// Describes a relocation by the object's own types.
pub(crate) fn describe(local: &Raw, relocation: &CoreRelocation) -> CoreRelocationInfo {
    let (what, optional) = what(relocation.kind);
    let steps = steps(local, relocation);
    let root = local.by_id(relocation.type_id);
    let member = match relocation.kind {
        0..=LAST_FIELD_KIND => root.and_then(|root| path(local, root, &steps)),
        10 | 11 => root.and_then(|root| enum_value(local, &root, *steps.first()?)),
        _ => None,
    };
    CoreRelocationInfo {
        type_name: root.map_or_else(
            || format!("type {}", relocation.type_id),
            |t| type_name(local, &t),
        ),
        member,
        what,
        optional,
    }
}

/// `enum bpf_core_relo_kind` of include/uapi/linux/bpf.h, and whether a program loads without it.
fn what(kind: u32) -> (&'static str, bool) {
    match kind {
        0 => ("offset", false),
        1 => ("size", false),
        2 => ("exists", true),
        3 => ("signedness", false),
        4 | 5 => ("bits", false),
        6 => ("local type id", true),
        7 => ("type id", false),
        8 => ("exists", true),
        9 => ("size", false),
        10 => ("exists", true),
        11 => ("value", false),
        12 => ("matches", true),
        _ => ("unknown", false),
    }
}

fn type_name(local: &Raw, t: &Type<'_>) -> String {
    let keyword = match t.kind {
        Kind::Struct => "struct ",
        Kind::Union => "union ",
        Kind::Enum | Kind::Enum64 => "enum ",
        _ => "",
    };
    let name = local.string(t.name_off()).unwrap_or_default();
    if name.is_empty() {
        format!("{keyword}(anonymous)")
    } else {
        format!("{keyword}{}", String::from_utf8_lossy(name))
    }
}

/// The offsets of the names of the members that a relocation goes through.
pub(super) fn members(local: &Raw, relocation: &CoreRelocation) -> Vec<u32> {
    let mut names = Vec::new();
    if relocation.kind <= LAST_FIELD_KIND
        && let Some(root) = local.by_id(relocation.type_id)
    {
        let steps = steps(local, relocation);
        let _ = follow(local, root, &steps, |step| {
            if let Step::Member(name) = step {
                names.push(name);
            }
        });
    }
    names
}

/// The arrays whose end a relocation reads beyond, as it may in an array of no declared length: the type's id, and the
/// length that it would need.
pub(crate) fn short_arrays(local: &Raw, relocation: &CoreRelocation) -> Vec<(u32, u32)> {
    let mut short = Vec::new();
    if relocation.kind <= LAST_FIELD_KIND
        && let Some(root) = local.by_id(relocation.type_id)
    {
        let steps = steps(local, relocation);
        let _ = follow(local, root, &steps, |step| {
            if let Step::Element { array, index } = step
                && array.extra(2) == 0
                && let Ok(length) = u32::try_from(index + 1)
            {
                short.push((array.id, length));
            }
        });
    }
    short
}

fn steps(local: &Raw, relocation: &CoreRelocation) -> Vec<usize> {
    let access = local.string(relocation.access).unwrap_or_default();
    let access = String::from_utf8_lossy(access).into_owned();
    access.split(':').map_while(|n| n.parse().ok()).collect()
}

/// The names of the members in an access string.
fn path(local: &Raw, root: Type<'_>, steps: &[usize]) -> Option<String> {
    let mut text = String::new();
    follow(local, root, steps, |step| match step {
        Step::Element { index, .. } => text.push_str(&format!("[{index}]")),
        Step::Member(name) => {
            let name = local.string(name).unwrap_or_default();
            if !name.is_empty() {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(&String::from_utf8_lossy(name));
            }
        }
    })?;
    (!text.is_empty()).then_some(text)
}

/// A step of an access string.
enum Step<'a> {
    /// To the member whose name is at this offset.
    Member(u32),
    /// To this element of an array.
    Element { array: Type<'a>, index: usize },
}

/// Follows an access string. Its first step is an index into an array of the type.
fn follow<'a>(
    local: &'a Raw,
    root: Type<'a>,
    steps: &[usize],
    mut visit: impl FnMut(Step<'a>),
) -> Option<()> {
    let mut at = if root.kind.is_modifier() {
        local.resolve(root.size_or_type())?
    } else {
        root
    };
    for &step in steps.get(1..)?.iter().take(DEPTH) {
        let next = match at.kind {
            Kind::Struct | Kind::Union => {
                let (name, id) = at.members().nth(step)?;
                visit(Step::Member(name));
                id
            }
            Kind::Array => {
                let element = at.extra(0);
                visit(Step::Element {
                    array: at,
                    index: step,
                });
                element
            }
            _ => return None,
        };
        at = local.resolve(next)?;
    }
    Some(())
}

fn enum_value(local: &Raw, t: &Type<'_>, index: usize) -> Option<String> {
    let word = *t.name_words().get(index.checked_add(1)?)?;
    let name = local.string(t.word(word))?;
    Some(String::from_utf8_lossy(name).into_owned())
}
