//! Global variables in an arena: the section `.addr_space.1`.

use aya_obj::generated::BPF_PSEUDO_MAP_VALUE;

use super::relocations::Relocations;
use super::sections::{Role, Section};
use super::write::patch;
use crate::error::EbpfError;

/// The number of the arena's map in instructions, until the number of the map is known.
pub(crate) const ARENA: i32 = i32::MAX;

/// The first half of a 64-bit constant.
const LD_IMM64: u8 = 0x18;

/// Makes instructions that refer to such variables refer to places of the map [`ARENA`], and returns the initial values;
/// none if there are no such variables.
///
/// aya-obj knows no such section, and fails on a relocation that refers to it (relocation.rs:256, `SectionNotFound`). It
/// skips symbols without a section.
pub(super) fn preprocess(
    copy: &mut [u8],
    relocations: &Relocations<'_>,
    data: &[u8],
    sections: &[Section],
) -> Result<Option<Vec<u8>>, EbpfError> {
    let Some(arena) = sections
        .iter()
        .position(|section| section.role == Role::Arena)
    else {
        return Ok(None);
    };
    for relocation in relocations.of(|section| section.role.is_code())? {
        let at = usize::try_from(relocation.offset).ok();
        let at = at.and_then(|at| sections[relocation.section].file.start.checked_add(at));
        let instruction = at.and_then(|at| Some((at, data.get(at..at.checked_add(16)?)?)));
        let Some((at, &[LD_IMM64, registers, _, _, a, b, c, d, ..])) = instruction else {
            continue;
        };
        if relocation.symbol.section != arena {
            continue;
        }
        let start = i32::try_from(relocation.symbol.start).unwrap_or(i32::MAX);
        let place = i32::from_ne_bytes([a, b, c, d]).wrapping_add(start);
        patch(
            copy,
            at + 1,
            &[(BPF_PSEUDO_MAP_VALUE as u8) << 4 | registers & 0xf],
        );
        patch(copy, at + 4, &ARENA.to_ne_bytes());
        patch(copy, at + 12, &place.to_ne_bytes());
    }
    relocations.undefine(copy, arena);
    let file = sections[arena].file.clone();
    Ok(Some(data.get(file).unwrap_or_default().to_vec()))
}
