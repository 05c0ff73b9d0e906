//! Appends exception callbacks to programs: no instruction calls them, so that aya-obj does not link them.

use std::collections::HashSet;

use aya_obj::generated::{BPF_PSEUDO_CALL, bpf_func_info, bpf_insn};
use aya_obj::{Function, Object as Parsed};

use super::{Key, Object, catch_parser_panic, relocation};
use crate::error::ProgramError;

const CALL: u8 = 0x85;
const LD_IMM64: u8 = 0x18;
/// The source register of a 64-bit constant that is the address of a function in the program.
const PSEUDO_FUNC: u8 = 4;

impl Object {
    /// Appends subprograms to the programs that call them, and then exception callbacks, with the subprograms that only they
    /// call, if the kernel can be told of callbacks.
    pub(super) fn link_calls(
        &self,
        object: &mut Parsed,
        with_callbacks: bool,
    ) -> Result<(), ProgramError> {
        let sections: HashSet<usize> = object.functions.keys().map(|key| key.0).collect();
        let callbacks = object.programs.iter().filter_map(|(name, program)| {
            let callback = self.extra.exception_callbacks.of(name)?;
            let callback = linked_alone(object, callback, &sections);
            Some(callback.map(|callback| (program.function_key(), callback)))
        });
        let callbacks = match with_callbacks {
            true => callbacks.collect::<Result<Vec<_>, _>>()?,
            false => Vec::new(),
        };
        relocation(catch_parser_panic(|| object.relocate_calls(&sections)))?;
        for (program, callback) in callbacks {
            if let Some(program) = object.functions.get_mut(&program) {
                append(program, &callback);
            }
        }
        Ok(())
    }
}

/// The callback followed by its subprograms.
fn linked_alone(
    object: &Parsed,
    key: Key,
    sections: &HashSet<usize>,
) -> Result<Function, ProgramError> {
    let mut object = object.clone();
    let any = object.programs.drain().next();
    if let (Some((name, mut program)), Some(function)) = (any, object.functions.get_mut(&key)) {
        // In a section of subprograms, aya-obj leaves the numbers of instructions as they are in the section.
        let start = u32::try_from(function.section_offset / size_of::<bpf_insn>()).unwrap_or(0);
        for info in &mut function.func_info.func_info {
            info.insn_off = info.insn_off.saturating_sub(start);
        }
        for info in &mut function.line_info.line_info {
            info.insn_off = info.insn_off.saturating_sub(start);
        }
        (program.section_index, program.address) = key;
        object.programs.insert(name, program);
    }
    relocation(catch_parser_panic(|| object.relocate_calls(sections)))?;
    object
        .functions
        .remove(&key)
        .ok_or_else(|| ProgramError::Relocation {
            reason: "aya-obj has not found an exception callback".to_owned(),
        })
}

/// A function in the callback's instructions, and where it goes.
struct Part {
    from: usize,
    end: usize,
    to: usize,
    /// Whether the program has it already.
    is_known: bool,
}

/// Appends the functions of `callback` that `program` does not have.
fn append(program: &mut Function, callback: &Function) {
    let infos = &callback.func_info.func_info;
    let mut parts: Vec<Part> = Vec::new();
    let mut to = program.instructions.len();
    for (index, info) in infos.iter().enumerate() {
        let from = info.insn_off as usize;
        let next = infos.get(index + 1).map(|next| next.insn_off as usize);
        let end = next.unwrap_or(callback.instructions.len());
        let known = program.func_info.func_info.iter().skip(1);
        let known = known.clone().find(|known| known.type_id == info.type_id);
        parts.push(Part {
            from,
            end,
            to: known.map_or(to, |known| known.insn_off as usize),
            is_known: known.is_some(),
        });
        to += if known.is_some() {
            0
        } else {
            end.saturating_sub(from)
        };
    }
    for (part, info) in parts.iter().zip(infos).filter(|(part, _)| !part.is_known) {
        let Some(instructions) = callback.instructions.get(part.from..part.end) else {
            continue;
        };
        for (at, insn) in instructions.iter().enumerate() {
            program.instructions.push(moved(*insn, at, part, &parts));
        }
        let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        program.func_info.func_info.push(bpf_func_info {
            insn_off: number(part.to),
            type_id: info.type_id,
        });
        let lines = callback.line_info.line_info.iter();
        let lines = lines.filter(|line| (part.from..part.end).contains(&(line.insn_off as usize)));
        program.line_info.line_info.extend(lines.map(|line| {
            let mut line = *line;
            line.insn_off = number(line.insn_off as usize - part.from + part.to);
            line
        }));
    }
    program.func_info.num_info = u32::try_from(program.func_info.func_info.len()).unwrap_or(0);
    program.line_info.num_info = u32::try_from(program.line_info.line_info.len()).unwrap_or(0);
}

/// An instruction of a part at its new place: calls and addresses of functions are relative.
fn moved(mut insn: bpf_insn, at: usize, part: &Part, parts: &[Part]) -> bpf_insn {
    let source = insn.src_reg();
    let is_relative = insn.code == CALL && u32::from(source) == BPF_PSEUDO_CALL
        || insn.code == LD_IMM64 && source == PSEUDO_FUNC;
    if is_relative {
        let callee = (part.from + at) as i64 + i64::from(insn.imm) + 1;
        let target = parts.iter().find(|target| target.from as i64 == callee);
        if let Some(target) = target {
            let distance = target.to as i64 - (part.to + at) as i64 - 1;
            insn.imm = i32::try_from(distance).unwrap_or(insn.imm);
        }
    }
    insn
}
