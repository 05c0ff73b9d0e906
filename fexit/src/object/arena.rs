//! The map of global variables in an arena.

use std::collections::BTreeMap;
use std::sync::Arc;

use aya_obj::generated::{BPF_PSEUDO_MAP_VALUE, bpf_map_type};
use aya_obj::{Map, Object as Parsed};

use crate::elf::arena::ARENA;
use crate::error::EbpfError;
use crate::sys;

/// The first half of a 64-bit constant.
const LD_IMM64: u8 = 0x18;

/// Makes instructions that refer to global variables in an arena refer to the object's arena; returns its name.
///
/// As in libbpf, the object must declare exactly one arena, which is large enough.
pub(super) fn resolve(
    parsed: &mut Parsed,
    maps: &BTreeMap<String, Arc<Map>>,
    data: &[u8],
) -> Result<String, EbpfError> {
    let malformed = |what: String| EbpfError::Malformed { what };
    let is_arena = |map: &Map| map.map_type() == bpf_map_type::BPF_MAP_TYPE_ARENA as u32;
    let mut arenas = maps.iter().zip(0..).filter(|((_, map), _)| is_arena(map));
    let (Some(((name, map), number)), None) = (arenas.next(), arenas.next()) else {
        return Err(malformed(
            "it has global variables in an arena; declare one map of type BPF_MAP_TYPE_ARENA for them".to_owned(),
        ));
    };
    let size = map.max_entries() as usize * sys::page_size();
    if data.len() > size {
        return Err(malformed(format!(
            "its arena `{name}` has {size} bytes, and its global variables in an arena take {}",
            data.len()
        )));
    }
    for function in parsed.functions.values_mut() {
        let of_arena = function.instructions.iter_mut().filter(|insn| {
            insn.code == LD_IMM64
                && u32::from(insn.src_reg()) == BPF_PSEUDO_MAP_VALUE
                && insn.imm == ARENA
        });
        of_arena.for_each(|insn| insn.imm = number);
    }
    Ok(name.clone())
}
