//! The references and the newer instructions of a program.

use std::collections::{BTreeMap, BTreeSet};

use aya_obj::generated::{
    BPF_PSEUDO_BTF_ID, BPF_PSEUDO_CALL, BPF_PSEUDO_KFUNC_CALL, BPF_PSEUDO_MAP_FD,
    BPF_PSEUDO_MAP_VALUE, bpf_insn,
};

const CALL: u8 = 0x85;
const LD_IMM64: u8 = 0x18;
/// The source register of a 64-bit constant that is the address of a function in the program.
const PSEUDO_FUNC: u8 = 4;

/// The address of a function of the program, for a helper to call.
pub(crate) const CALLBACK: &str = "a callback";

/// Name, release and kernel commit of an instruction.
pub(crate) type Instruction = (&'static str, (u16, u16), &'static str);

/// The references of a program's instructions.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) helpers: BTreeSet<u32>,
    pub(crate) kfuncs: BTreeSet<i32>,
    pub(crate) externs: BTreeSet<i32>,
    pub(crate) maps: BTreeSet<i32>,
    /// Each with the first such instruction.
    pub(crate) features: BTreeMap<Instruction, bpf_insn>,
}

impl Found {
    pub(crate) fn look_at(&mut self, instructions: &[bpf_insn]) {
        let mut rest = instructions.iter();
        while let Some(insn) = rest.next() {
            if let Some(newer) = first_release(insn) {
                self.features.entry(newer).or_insert(*insn);
            }
            match (insn.code, u32::from(insn.src_reg())) {
                (CALL, 0) => {
                    self.helpers.insert(insn.imm.cast_unsigned());
                }
                (CALL, BPF_PSEUDO_KFUNC_CALL) => {
                    self.kfuncs.insert(insn.imm);
                }
                (LD_IMM64, BPF_PSEUDO_BTF_ID) => {
                    self.externs.insert(insn.imm);
                }
                (LD_IMM64, BPF_PSEUDO_MAP_FD | BPF_PSEUDO_MAP_VALUE) => {
                    self.maps.insert(insn.imm);
                }
                _ => {}
            }
            if insn.code == LD_IMM64 {
                rest.next(); // its second half
            }
        }
    }
}

/// Instructions that came after the first program types. The encodings are those of
/// Documentation/bpf/standardization/instruction-set.rst.
fn first_release(insn: &bpf_insn) -> Option<Instruction> {
    const LDX: u8 = 1;
    const STX: u8 = 3;
    const V4: (u16, u16) = (6, 6);
    let (class, mode) = (insn.code & 7, insn.code & 0xe0);
    match insn.code {
        LD_IMM64 if insn.src_reg() == PSEUDO_FUNC => {
            return Some((CALLBACK, (5, 13), "69c087ba6225"));
        }
        LD_IMM64 if u32::from(insn.src_reg()) == BPF_PSEUDO_MAP_VALUE => {
            return Some(("a global variable", (5, 2), "d8eca5bbb2be"));
        }
        CALL if u32::from(insn.src_reg()) == BPF_PSEUDO_CALL => {
            return Some(("a call of a function of its own", (4, 16), "cc8b0b92a169"));
        }
        0x06 => return Some(("a jump of 32 bits", V4, "4cd58e9af8b9")),
        0xd7 => return Some(("an unconditional byte swap", V4, "0845c3db7bf5")),
        0xe5 => return Some(("may_goto", (6, 9), "011832b97b31")),
        // Division and remainder, of registers and constants, of 32 and 64 bits.
        0x34 | 0x37 | 0x3c | 0x3f | 0x94 | 0x97 | 0x9c | 0x9f if insn.off == 1 => {
            return Some(("a signed division", V4, "ec0e2da95f72"));
        }
        0xbc | 0xbf if matches!(insn.off, 8 | 16 | 32) => {
            return Some(("a move with sign extension", V4, "8100928c8814"));
        }
        0xbf if insn.off == 1 => {
            return Some(("a cast between address spaces", (6, 9), "6082b6c328b5"));
        }
        _ => {}
    }
    // A comparison of the lower halves of registers; jumps have other codes.
    if class == 6 && !matches!(insn.code, 0x06 | 0xe6) {
        return Some(("a comparison of 32 bits", (5, 1), "092ed0968bb6"));
    }
    match (class, mode, insn.imm) {
        (LDX, 0x80, _) => Some(("a load with sign extension", V4, "1f9a1ea821ff")),
        (STX, 0xc0, 0) => None, // Adding without a result: as old as BPF itself.
        (STX, 0xc0, 0x100 | 0x110) => {
            Some(("a load-acquire or store-release", (6, 15), "880442305a39"))
        }
        (STX, 0xc0, _) => Some((
            "an atomic operation other than adding",
            (5, 12),
            "5ca419f2864a",
        )),
        _ => None,
    }
}
