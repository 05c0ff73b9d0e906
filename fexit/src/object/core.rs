//! CO-RE: instructions that depend on the kernel's types.

use aya_obj::Object as Parsed;
use aya_obj::generated::bpf_insn;

use super::parts::Part;
use super::{Object, relocation, shielded};
use crate::btf::core::CoreRelocation;
use crate::btf::{Btf, cut, raw::Raw};
use crate::error::ProgramError;

/// The first half of a 64-bit constant.
const LD_IMM64: u8 = 0x18;

impl Object {
    pub(super) fn apply_core(
        &self,
        object: &mut Parsed,
        part: &Part,
        kernel: &Btf,
        module: Option<&str>,
    ) -> Result<(), ProgramError> {
        let local = Raw::parse(self.extra.btf.clone())?;
        let (known, others): (Vec<_>, Vec<_>) = part
            .core
            .iter()
            .copied()
            .partition(CoreRelocation::is_known_to_parser);
        if let Some(unknown) = others.iter().find(|r| !r.is_type_match()) {
            return Err(ProgramError::Relocation {
                reason: format!(
                    "it holds a CO-RE relocation of kind {}, which is newer than this library; update it",
                    unknown.kind
                ),
            });
        }
        if !known.is_empty() {
            let modules = kernel.modules(module);
            let cut = cut::cut(kernel, modules, &local, &known)?;
            let bytes = match &cut {
                Some(cut) => cut.bytes.as_slice(),
                None => kernel.raw()?.bytes(),
            };
            let target = relocation(shielded(|| {
                aya_obj::btf::Btf::parse(bytes, object.endianness)
            }))?;
            relocation(shielded(|| object.relocate_btf(&target)))?;
            if let Some(cut) = cut {
                self.restore_type_ids(object, &local, &known, &cut.kernel_ids);
            }
        }
        for asked in others {
            let matches = kernel.has_match(&local, asked.type_id, module)?;
            self.set(object, &local, &asked, i32::from(matches));
        }
        Ok(())
    }

    /// Relocations that ask for a type id have got that of the cut: put the kernel's in its place.
    fn restore_type_ids(
        &self,
        object: &mut Parsed,
        local: &Raw,
        relocations: &[CoreRelocation],
        kernel_ids: &[u32],
    ) {
        for relocation in relocations.iter().filter(|r| r.wants_target_id()) {
            let instruction = self.instructions(object, local, relocation);
            let Some(instruction) = instruction.and_then(|from| from.first()) else {
                continue;
            };
            // Else it was poisoned, for the kernel has no such type.
            if instruction.code == LD_IMM64 || instruction.code & 7 != 5 {
                let id = usize::try_from(instruction.imm).ok();
                let id = id.and_then(|id| kernel_ids.get(id.checked_sub(1)?));
                if let Some(&id) = id {
                    self.set(object, local, relocation, id.cast_signed());
                }
            }
        }
    }

    /// The instructions from the relocation's on, to the end of its function.
    fn instructions<'a>(
        &self,
        object: &'a mut Parsed,
        local: &Raw,
        relocation: &CoreRelocation,
    ) -> Option<&'a mut [bpf_insn]> {
        let (function, at) = self.place(local, relocation)?;
        let function = object.functions.get_mut(&function)?;
        function.instructions.get_mut(at..)
    }

    /// Puts a number into an instruction that holds one.
    fn set(&self, object: &mut Parsed, local: &Raw, relocation: &CoreRelocation, number: i32) {
        match self.instructions(object, local, relocation) {
            Some([first, second, ..]) if first.code == LD_IMM64 => {
                (first.imm, second.imm) = (number, 0);
            }
            Some([first, ..]) => first.imm = number,
            _ => {}
        }
    }
}
