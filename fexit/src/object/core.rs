//! Applies CO-RE relocations.
//!
//! aya-obj applies the field-based and enum-based ones. The type-based ones are applied here.

use std::collections::BTreeMap;

use aya_obj::Object as Parsed;
use aya_obj::generated::bpf_insn;

use super::parts::Part;
use super::{Object, catch_parser_panic, relocation};
use crate::btf::core::{CoreRelocation, OfType};
use crate::btf::core_spec::short_arrays;
use crate::btf::raw::{Kind, Raw};
use crate::btf::{Btf, Counterpart, min_core_btf};
use crate::elf::patch;
use crate::error::ProgramError;

/// The first half of a 64-bit constant.
const LD_IMM64: u8 = 0x18;

const CALL: u8 = 0x85;

/// Where the number of elements is in the record of an array: `nelems` of `struct btf_array`.
const LENGTH_AT: usize = 20;

/// A call of a helper that does not exist. It replaces an instruction whose relocation the kernel cannot resolve; the
/// program must check before, so that it never runs. libbpf uses the same number.
pub(crate) const POISON: i32 = 0x0bad_2310;

impl Object {
    pub(super) fn apply_core(
        &self,
        object: &mut Parsed,
        part: &Part,
        kernel: &Btf,
        module: Option<&str>,
    ) -> Result<(), ProgramError> {
        let local = Raw::parse(self.extra.btf.clone())?;
        let (of_members, others): (Vec<_>, Vec<_>) = part
            .core
            .iter()
            .copied()
            .partition(CoreRelocation::is_of_member);
        if !of_members.is_empty() {
            let modules = kernel.modules(module);
            let min_btf = min_core_btf::build(kernel, modules, &local, &of_members)?;
            let bytes = match &min_btf {
                Some(min_btf) => min_btf.as_slice(),
                None => kernel.raw()?.bytes(),
            };
            let target = relocation(catch_parser_panic(|| {
                aya_obj::btf::Btf::parse(bytes, object.endianness)
            }))?;
            lengthen_arrays(object, &local, &of_members)?;
            relocation(catch_parser_panic(|| object.relocate_btf(&target)))?;
        }
        for asked in others {
            let Some(what) = asked.of_type() else {
                return Err(ProgramError::Relocation {
                    reason: format!(
                        "it holds a CO-RE relocation of kind {}, which is newer than this library; update it",
                        asked.kind
                    ),
                });
            };
            let found = match what {
                OfType::LocalId => Vec::new(),
                _ => kernel.counterparts(&local, asked.type_id, module)?,
            };
            let number = answer(what, asked.type_id, &found).ok_or_else(|| {
                let t = local.by_id(asked.type_id);
                let name = t
                    .and_then(|t| local.string(t.name_off()))
                    .unwrap_or_default();
                ProgramError::Relocation {
                    reason: format!(
                        "the kernel has {} types `{}`, for which the relocation has different values",
                        found.len(),
                        String::from_utf8_lossy(name)
                    ),
                }
            })?;
            let site = self.site(&local, &asked);
            let instructions = site.and_then(|(function, at)| {
                let function = object.functions.get_mut(&function)?;
                function.instructions.get_mut(at..)
            });
            set(instructions.unwrap_or_default(), number);
        }
        Ok(())
    }
}

/// Gives arrays of no declared length the length that the relocations need.
///
/// aya-obj lets a relocation read any element of such an array if the array is the last member of its struct, but compares
/// the index of the element with the number of members (btf/relocation.rs:828, `InvalidAccessIndex`).
fn lengthen_arrays(
    object: &mut Parsed,
    local: &Raw,
    relocations: &[CoreRelocation],
) -> Result<(), ProgramError> {
    let mut lengths = BTreeMap::new();
    for (id, length) in relocations.iter().flat_map(|r| short_arrays(local, r)) {
        let longest: &mut u32 = lengths.entry(id).or_default();
        *longest = length.max(*longest);
    }
    let Some(btf) = object.btf.as_ref().filter(|_| !lengths.is_empty()) else {
        return Ok(());
    };
    let mut bytes = btf.to_bytes();
    let raw = Raw::parse(bytes.clone())?;
    for (id, length) in lengths {
        if let Some(array) = raw.by_id(id).filter(|t| t.kind == Kind::Array) {
            patch(
                &mut bytes,
                raw.position(&array) + LENGTH_AT,
                &length.to_ne_bytes(),
            );
        }
    }
    object.btf = Some(relocation(catch_parser_panic(|| {
        aya_obj::btf::Btf::parse(&bytes, object.endianness)
    }))?);
    Ok(())
}

/// The value of a relocation: `Some(None)` if the kernel has no such type, `None` if the value is ambiguous.
fn answer(what: OfType, local: u32, found: &[Counterpart]) -> Option<Option<u32>> {
    let the_one = |number: &dyn Fn(&Counterpart) -> Option<u32>| {
        let mut numbers: Vec<_> = found.iter().map(number).collect();
        numbers.dedup();
        match numbers.as_slice() {
            [] => Some(None),
            [one] => Some(*one),
            _ => None,
        }
    };
    match what {
        OfType::LocalId => Some(Some(local)),
        OfType::Exists => Some(Some((!found.is_empty()).into())),
        OfType::Matches => Some(Some(found.iter().any(|t| t.matches).into())),
        OfType::KernelId => the_one(&|t| Some(t.id)),
        OfType::Size => the_one(&|t| t.size),
    }
}

/// Writes the value into the first of these instructions. Without a value it is poisoned: the verifier refuses a program
/// that reaches it.
fn set(instructions: &mut [bpf_insn], number: Option<u32>) {
    let poison = |insn: &mut bpf_insn| {
        (insn.code, insn.off, insn.imm) = (CALL, 0, POISON);
        insn.set_dst_reg(0);
        insn.set_src_reg(0);
    };
    match (instructions, number) {
        ([first, second, ..], Some(number)) if first.code == LD_IMM64 => {
            (first.imm, second.imm) = (number.cast_signed(), 0);
        }
        ([first, ..], Some(number)) => first.imm = number.cast_signed(),
        ([first, second, ..], None) if first.code == LD_IMM64 => {
            poison(first);
            poison(second);
        }
        ([first, ..], None) => poison(first),
        ([], _) => {}
    }
}
