//! The instructions that CO-RE relocations change, and which of them a kernel cannot resolve.

use aya_obj::generated::bpf_insn;

use super::{Key, Object, POISON, Relocated};
use crate::btf::core::CoreRelocation;
use crate::btf::core_spec::{self, CoreRelocationInfo};
use crate::btf::raw::Raw;

const CALL: u8 = 0x85;

/// A CO-RE relocation, and the instruction that it is for.
pub(crate) struct Placed {
    pub(crate) function: Key,
    /// Counted from the start of the function.
    pub(crate) instruction: usize,
    pub(crate) need: CoreRelocationInfo,
}

/// The CO-RE relocations, each with its place.
pub(crate) fn placed(object: &Object) -> Vec<Placed> {
    let Ok(local) = Raw::parse(object.extra.btf.clone()) else {
        return Vec::new();
    };
    let place = |relocation: &CoreRelocation| {
        let (function, instruction) = object.place(&local, relocation)?;
        Some(Placed {
            function,
            instruction,
            need: core_spec::describe(&local, relocation),
        })
    };
    object.extra.core.iter().filter_map(place).collect()
}

/// What the verifier, as its log tells, came upon in `program` that this kernel does not have.
///
/// What is missing elsewhere in it does no harm: the program asked before, and that part is never reached.
pub(crate) fn missing(
    object: &Object,
    relocated: &Relocated,
    program: &str,
    log: &str,
) -> Vec<CoreRelocationInfo> {
    if !log.contains(&format!("#{POISON}")) {
        return Vec::new();
    }
    let is_poisoned = |placed: &Placed| {
        let function = relocated.object.functions.get(&placed.function);
        function
            .and_then(|function| function.instructions.get(placed.instruction))
            .is_some_and(|insn: &bpf_insn| insn.code == CALL && insn.imm == POISON)
    };
    let mut poisoned = placed(object);
    poisoned.retain(is_poisoned);
    let place = last_poison(log).and_then(|at| original(object, relocated, program, at));
    if let Some((function, instruction)) = place {
        let here = |p: &Placed| p.function == function && p.instruction == instruction;
        if poisoned.iter().any(here) {
            poisoned.retain(here);
        }
    }
    let mut needs: Vec<CoreRelocationInfo> =
        poisoned.into_iter().map(|placed| placed.need).collect();
    needs.sort();
    needs.dedup();
    needs
}

/// The number of the poisoned instruction that the log ends with: `12: (85) call unknown#195896080`.
fn last_poison(log: &str) -> Option<usize> {
    let call = format!("call unknown#{POISON}");
    let line = log.lines().rev().find(|line| line.contains(&call))?;
    line.split(':').next()?.trim().parse().ok()
}

/// The function that an instruction of a linked program comes from, and its place there.
fn original(
    object: &Object,
    relocated: &Relocated,
    program: &str,
    at: usize,
) -> Option<(Key, usize)> {
    let linked = relocated.function(program)?;
    let own = object.parsed().programs.get(program)?.function_key();
    let types = object.by_type();
    // Subprograms stand behind the program, each noted with where it begins.
    let behind = linked.func_info.func_info.iter().skip(1);
    let callee = behind
        .filter(|info| info.insn_off as usize <= at)
        .max_by_key(|info| info.insn_off);
    match callee {
        Some(info) => Some((*types.get(&info.type_id)?, at - info.insn_off as usize)),
        None => Some((own, at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_says_which_instruction_it_was() {
        let log = "3: (85) call unknown#195896080\n;\n17: (85) call unknown#195896080\ninvalid func unknown#195896080\n";
        assert_eq!(last_poison(log), Some(17));
        assert_eq!(last_poison("17: (85) call unknown#14"), None);
    }
}
