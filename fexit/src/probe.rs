//! Small programs that are loaded to find out what the kernel knows.

use aya_obj::generated::{bpf_insn, bpf_prog_type};

use crate::sys::{self, ProgLoad};

const LOG_SIZE: usize = 16 << 10;

/// An instruction without offset and source register.
pub(crate) fn instruction(code: u8, destination: u8, imm: i32) -> bpf_insn {
    let mut instruction = bpf_insn {
        code,
        _bitfield_align_1: [],
        _bitfield_1: bpf_insn::new_bitfield_1(0, 0),
        off: 0,
        imm,
    };
    instruction.set_dst_reg(destination);
    instruction
}

/// `return 0`.
pub(crate) fn return_0() -> [bpf_insn; 2] {
    [instruction(0xb7, 0, 0), instruction(0x95, 0, 0)]
}

/// A program of these instructions.
pub(crate) fn program(prog_type: bpf_prog_type, insns: &[bpf_insn]) -> ProgLoad<'_> {
    ProgLoad {
        prog_type: prog_type as u32,
        expected_attach_type: 0,
        insns,
        license: c"GPL",
        name: "",
        flags: 0,
        kern_version: 0,
        btf: None,
        func_info: (&[], 0),
        line_info: (&[], 0),
        attach_btf_id: 0,
        attach_fd: None,
        fd_array: &[],
        log_level: 1,
    }
}

/// Loads a program and closes it. Returns the verifier's log if it is refused.
pub(crate) fn load(program: &ProgLoad<'_>) -> Result<(), String> {
    let mut log = vec![0; LOG_SIZE];
    let loaded = sys::with_memlock(|| sys::prog_load(program, &mut log));
    loaded.map(drop).map_err(|_| sys::log_text(&log))
}
