//! What the definitions of maps say that aya-obj does not keep: initial values, and 64-bit `map_extra`.

use std::collections::BTreeMap;

use object::elf::{STT_FUNC, STT_OBJECT};

use super::relocations::{Relocation, Relocations};
use crate::btf::raw::{Kind, Raw, Type};
use crate::error::EbpfError;

/// Bytes of a pointer in the array of initial values.
const POINTER: u64 = 8;

/// An initial value of an array of programs or of maps: `.values = { [INDEX] = &NAME }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MapValue {
    pub(crate) map: String,
    pub(crate) index: u32,
    pub(crate) value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Program(String),
    Map(String),
}

/// The initial values of the maps in `.maps`: each is a relocation of that section.
pub(super) fn values(relocations: &Relocations<'_>, btf: &Raw) -> Result<Vec<MapValue>, EbpfError> {
    let mut values = Vec::new();
    for relocation in relocations.of(|section| section.name == ".maps")? {
        let Relocation {
            section,
            offset,
            symbol,
        } = relocation;
        let Some(map) = relocations.variable_at(section, offset) else {
            continue;
        };
        let value = match symbol.kind {
            STT_FUNC => Value::Program(symbol.name.clone()),
            STT_OBJECT => Value::Map(symbol.name.clone()),
            _ => continue,
        };
        let first = definition(btf, &map.name).and_then(|map| values_at(btf, map));
        let at = first.and_then(|first| offset.checked_sub(map.start + first));
        if let Some(index) = at.and_then(|at| u32::try_from(at / POINTER).ok()) {
            values.push(MapValue {
                map: map.name.clone(),
                index,
                value,
            });
        }
    }
    Ok(values)
}

/// The members of map definitions that aya-obj fails on (obj.rs:1205 and 1410, `UnexpectedBtfType`): the place of the
/// name of each, as a word of its struct. It looks for a map in `values`, where an array of programs has functions, and
/// for a pointer to an array in `map_extra`, where `__ulong` makes an enum.
pub(super) fn unknown_members<'a>(btf: &'a Raw) -> Vec<(Type<'a>, usize)> {
    let mut unknown = Vec::new();
    for map in definitions(btf) {
        for (index, (name, id)) in map.members().enumerate() {
            let is_unknown = match btf.string(name) {
                Some(b"values") => {
                    let element = btf.resolve(id).map(|array| array.extra(0));
                    let pointer = element.and_then(|id| btf.resolve(id));
                    let pointee = pointer.and_then(|pointer| btf.resolve(pointer.size_or_type()));
                    pointee.is_some_and(|pointee| pointee.kind == Kind::FuncProto)
                }
                Some(b"map_extra") => long(btf, id).is_some(),
                _ => false,
            };
            if is_unknown {
                unknown.push((map, 3 + 3 * index));
            }
        }
    }
    unknown
}

/// The `map_extra` of each map that declares it by `__ulong`.
pub(super) fn extras(btf: &Raw) -> BTreeMap<String, u64> {
    let variables = btf.types().filter(|t| t.kind == Kind::Var);
    let extras = variables.filter_map(|variable| {
        let map = btf.resolve(variable.size_or_type())?;
        let mut members = map.members();
        let (_, extra) = members.find(|(name, _)| btf.is_named(*name, b"map_extra"))?;
        let name = btf.string(variable.name_off())?;
        Some((
            String::from_utf8_lossy(name).into_owned(),
            long(btf, extra)?,
        ))
    });
    extras.collect()
}

/// The only value of an enum: what `__ulong` declares.
fn long(btf: &Raw, id: u32) -> Option<u64> {
    let t = btf.resolve(id)?;
    match t.kind {
        Kind::Enum => Some(t.extra(1).into()),
        Kind::Enum64 => Some(u64::from(t.extra(2)) << 32 | u64::from(t.extra(1))),
        _ => None,
    }
}

/// The structs that define maps: the types of the variables in `.maps`.
fn definitions(btf: &Raw) -> impl Iterator<Item = Type<'_>> {
    let section = btf
        .types()
        .find(|t| t.kind == Kind::DataSec && btf.is_named(t.name_off(), b".maps"));
    let variables = section
        .map(|section| (0..section.vlen()).filter_map(move |i| btf.by_id(section.extra(3 * i))));
    let maps = variables.into_iter().flatten();
    maps.filter_map(|variable| btf.resolve(variable.size_or_type()))
}

/// The struct that defines the map of this name.
fn definition<'a>(btf: &'a Raw, map: &str) -> Option<Type<'a>> {
    let variable = btf
        .types()
        .find(|t| t.kind == Kind::Var && btf.is_named(t.name_off(), map.as_bytes()))?;
    btf.resolve(variable.size_or_type())
}

/// The offset of `values` in a map's definition.
fn values_at(btf: &Raw, map: Type<'_>) -> Option<u64> {
    let mut members = map.members();
    let index = members.position(|(name, _)| btf.is_named(name, b"values"))?;
    Some(u64::from(map.extra(3 * index + 2)) / 8)
}
