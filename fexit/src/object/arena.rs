//! The map of global variables in an arena.

use aya_obj::generated::{BPF_PSEUDO_MAP_VALUE, bpf_map_type};
use aya_obj::{Map, Object as Parsed};

use crate::elf::arena::ARENA;
use crate::elf::{ARENA_SECTION, Extra};
use crate::error::EbpfError;
use crate::sys;

/// The first half of a 64-bit constant.
const LD_IMM64: u8 = 0x18;

pub(crate) fn is_arena(map: &Map) -> bool {
    map.map_type() == bpf_map_type::BPF_MAP_TYPE_ARENA as u32
}

/// The size of an arena in bytes.
pub(crate) fn size(map: &Map) -> usize {
    map.max_entries() as usize * sys::page_size()
}

/// Makes global variables in an arena, and instructions that refer to them, refer to the object's arena, and gives it the
/// initial values.
///
/// As in libbpf, the object must declare exactly one arena, which is large enough.
pub(super) fn resolve(parsed: &mut Parsed, extra: &mut Extra) -> Result<(), EbpfError> {
    let Some(data) = extra.arena.take() else {
        return Ok(());
    };
    let malformed = |what: String| EbpfError::Malformed { what };
    let mut arenas = parsed.maps.iter_mut().filter(|(_, map)| is_arena(map));
    let (Some((name, map)), None) = (arenas.next(), arenas.next()) else {
        return Err(malformed(
            "it has global variables in an arena; declare one map of type BPF_MAP_TYPE_ARENA for them".to_owned(),
        ));
    };
    let name = name.clone();
    if data.len() > size(map) {
        return Err(malformed(format!(
            "its arena `{name}` has {} bytes, and its global variables in an arena take {}",
            size(map),
            data.len()
        )));
    }
    *map.data_mut() = data;
    let number = parsed.maps.keys().filter(|other| **other < name).count();
    let number = i32::try_from(number).unwrap_or(i32::MAX);
    for function in parsed.functions.values_mut() {
        let of_arena = function.instructions.iter_mut().filter(|insn| {
            insn.code == LD_IMM64
                && u32::from(insn.src_reg()) == BPF_PSEUDO_MAP_VALUE
                && insn.imm == ARENA
        });
        of_arena.for_each(|insn| insn.imm = number);
    }
    let globals = extra.globals.values_mut();
    for global in globals.filter(|global| global.section == ARENA_SECTION) {
        global.section.clone_from(&name);
    }
    Ok(())
}
