//! The kernel's types that match a type of the object.

use super::compare::Compare;
use super::error::BtfError;
use super::kernel::Btf;
use super::name_filter::{NameFilter, strip_flavor};
use super::raw::{Kind, Raw, Type};
use super::scope::Scope;

/// A type of the kernel, or of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counterpart {
    pub(crate) id: u32,
    /// In bytes; none if no value can have this type.
    pub(crate) size: Option<u32>,
    /// Whether it has all members of the object's type.
    pub(crate) matches: bool,
}

impl Btf {
    /// The kernel's types with that name and kind. If there are none, those of modules; the module `first` comes first.
    pub(crate) fn counterparts(
        &self,
        local: &Raw,
        id: u32,
        first: Option<&str>,
    ) -> Result<Vec<Counterpart>, BtfError> {
        let Some(local_type) = local.by_id(id) else {
            return Ok(Vec::new());
        };
        let name = local.string(local_type.name_off()).unwrap_or_default();
        let raw = self.raw()?;
        let named = self.types_named(&NameFilter::new([name]))?;
        let named = named.into_iter().map(|(id, kind, _)| (id, kind));
        let mut found = fitting(compare(local, None, raw), &local_type, named);
        let mut groups = self.modules(first);
        while found.is_empty()
            && let Some(group) = groups.next()
        {
            for own in &group? {
                let compare = compare(local, Some(raw), own);
                let is_named = |t: &Type<'_>| {
                    let found = compare.kernel.string(t.name_off()).unwrap_or_default();
                    strip_flavor(found) == strip_flavor(name)
                };
                let named = own.types().filter(is_named).map(|t| (t.id, t.kind));
                found.extend(fitting(compare, &local_type, named));
            }
        }
        Ok(found)
    }
}

fn compare<'a>(local: &'a Raw, base: Option<&'a Raw>, own: &'a Raw) -> Compare<'a> {
    let local = Scope {
        base: None,
        own: local,
    };
    Compare {
        local,
        kernel: Scope { base, own },
    }
}

/// The types of the same kind that are compatible with the object's type.
fn fitting(
    compare: Compare<'_>,
    local_type: &Type<'_>,
    named: impl Iterator<Item = (u32, Kind)>,
) -> Vec<Counterpart> {
    let is_enum = |kind| matches!(kind, Kind::Enum | Kind::Enum64);
    let alike = |kind: Kind| kind == local_type.kind || is_enum(kind) && is_enum(local_type.kind);
    named
        .filter(|(id, kind)| alike(*kind) && compare.are_compatible(local_type.id, *id))
        .map(|(id, _)| Counterpart {
            id,
            size: compare.kernel.size(id),
            matches: compare.matches(local_type.id, id),
        })
        .collect()
}
