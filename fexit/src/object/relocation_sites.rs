//! The instructions that CO-RE relocations change, and which of them a kernel cannot resolve.

use aya_obj::generated::bpf_insn;

use super::{Key, Object, POISON, Relocated};
use crate::btf::core::CoreRelocation;
use crate::btf::core_spec::{self, CoreRelocationInfo};
use crate::btf::raw::Raw;

const CALL: u8 = 0x85;

/// The instruction that a CO-RE relocation changes.
pub(crate) struct RelocationSite {
    pub(crate) function: Key,
    /// Its index in the function.
    pub(crate) instruction: usize,
    pub(crate) relocation: CoreRelocationInfo,
}

/// The sites of all CO-RE relocations.
pub(crate) fn relocation_sites(object: &Object) -> Vec<RelocationSite> {
    let Ok(local) = Raw::parse(object.extra.btf.clone()) else {
        return Vec::new();
    };
    let site = |relocation: &CoreRelocation| {
        let (function, instruction) = object.site(&local, relocation)?;
        Some(RelocationSite {
            function,
            instruction,
            relocation: core_spec::describe(&local, relocation),
        })
    };
    object.extra.core.iter().filter_map(site).collect()
}

/// The sites that the kernel of `relocated` cannot resolve.
pub(crate) fn poisoned(object: &Object, relocated: &Relocated) -> Vec<RelocationSite> {
    let is_poisoned = |site: &RelocationSite| {
        let function = relocated.object.functions.get(&site.function);
        function
            .and_then(|function| function.instructions.get(site.instruction))
            .is_some_and(|insn: &bpf_insn| insn.code == CALL && insn.imm == POISON)
    };
    let mut sites = relocation_sites(object);
    sites.retain(is_poisoned);
    sites
}

/// The relocations in `program` that this kernel cannot resolve and that the verifier reached, by its log.
///
/// Others do no harm: the program checks before, so that they are not reached.
pub(crate) fn missing(
    object: &Object,
    relocated: &Relocated,
    program: &str,
    log: &str,
) -> Vec<CoreRelocationInfo> {
    if !log.contains(&format!("#{POISON}")) {
        return Vec::new();
    }
    let mut poisoned = poisoned(object, relocated);
    let last = last_poison(log).and_then(|at| original(object, relocated, program, at));
    if let Some((function, instruction)) = last {
        let here = |s: &RelocationSite| s.function == function && s.instruction == instruction;
        if poisoned.iter().any(here) {
            poisoned.retain(here);
        }
    }
    let mut missing: Vec<_> = poisoned.into_iter().map(|site| site.relocation).collect();
    missing.sort();
    missing.dedup();
    missing
}

/// The number of the poisoned instruction that the log ends with: `12: (85) call unknown#195896080`.
fn last_poison(log: &str) -> Option<usize> {
    let call = format!("call unknown#{POISON}");
    let line = log.lines().rev().find(|line| line.contains(&call))?;
    line.split(':').next()?.trim().parse().ok()
}

/// The function that an instruction of a linked program comes from, and its index there.
fn original(
    object: &Object,
    relocated: &Relocated,
    program: &str,
    at: usize,
) -> Option<(Key, usize)> {
    let linked = relocated.function(program)?;
    let own = object.parsed().programs.get(program)?.function_key();
    let types = object.by_type();
    // Subprograms follow the program; func_info has their first instructions.
    let subprograms = linked.func_info.func_info.iter().skip(1);
    let callee = subprograms
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
    fn poisoned_instruction_is_found_in_the_log() {
        let log = "3: (85) call unknown#195896080\n;\n17: (85) call unknown#195896080\ninvalid func unknown#195896080\n";
        assert_eq!(last_poison(log), Some(17));
        assert_eq!(last_poison("17: (85) call unknown#14"), None);
    }
}
