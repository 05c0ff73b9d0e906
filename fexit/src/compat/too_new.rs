//! Newer helpers and instructions in a program that the kernel refused.

use std::collections::BTreeSet;
use std::fmt;

use aya_obj::generated::{bpf_insn, bpf_prog_type};

use super::Helper;
use super::instructions::{self, Found};
use crate::btf::Btf;
use crate::kernel_version::KernelVersion;
use crate::probe;

/// A helper or a kind of instruction that the running kernel does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TooNew {
    /// Its name: `bpf_loop`, `a callback`.
    pub what: String,
    /// The first upstream release that has it.
    pub minimum: KernelVersion,
}

impl fmt::Display for TooNew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (from Linux {} on)", self.what, self.minimum)
    }
}

/// The verifier's messages about unknown instructions.
const UNKNOWN_INSTRUCTION: [&str; 6] = [
    "unknown opcode",
    "unknown insn class",
    "uses reserved fields",
    "uses invalid",
    "invalid atomic operand",
    "unrecognized bpf_ld_imm64 insn",
];

/// The helpers and instructions of a refused program that the running kernel lacks, the newest first, if they are the
/// reason.
///
/// The verifier checks every instruction before it follows the program, and its error about an unknown one may name
/// something else: a kernel without callbacks does not count a callback as a subprogram. A program may check for a
/// helper before it calls it. So helpers count only if the verifier did not follow the program; otherwise its error
/// names the unknown one.
pub(crate) fn too_new(instructions: &[bpf_insn], log: &str, btf: &Btf) -> Vec<TooNew> {
    let mut found = Found::default();
    found.look_at(instructions);
    let helpers = btf.enum_values("bpf_func_id");
    let has =
        |name: &str| helpers.is_empty() || helpers.contains(format!("BPF_FUNC_{name}").as_bytes());
    let is_unknown = UNKNOWN_INSTRUCTION.iter().any(|words| log.contains(words));
    let lacks = |what: &str, instruction: bpf_insn| match what {
        // Both came with the same commit.
        instructions::CALLBACK => !has("for_each_map_elem"),
        _ => is_unknown && is_refused(instruction),
    };
    let instructions: BTreeSet<(KernelVersion, String)> = found
        .features
        .iter()
        .filter(|((what, ..), instruction)| lacks(what, **instruction))
        .map(|((what, (major, minor), _), _)| {
            (KernelVersion::new(*major, *minor, 0), (*what).to_owned())
        })
        .collect();
    if instructions.is_empty() && was_followed(log) {
        return Vec::new();
    }
    let helpers = found
        .helpers
        .iter()
        .filter_map(|&number| Helper::by_number(number));
    let helpers = helpers
        .filter(|helper| !has(helper.name))
        .map(|helper| (helper.minimum, format!("bpf_{}", helper.name)));
    let all: BTreeSet<_> = helpers.chain(instructions).collect();
    all.into_iter()
        .rev()
        .map(|(minimum, what)| TooNew { what, minimum })
        .collect()
}

/// Whether the verifier does not know an instruction. It is asked: the instructions of a program may be of several releases.
fn is_refused(mut instruction: bpf_insn) -> bool {
    const JUMPS: [u8; 2] = [5, 6];
    const CALL: u8 = 0x85;
    const LD_IMM64: u8 = 0x18;
    // Every kernel with fexit knows these.
    if [CALL, LD_IMM64].contains(&instruction.code) {
        return false;
    }
    if JUMPS.contains(&(instruction.code & 7)) {
        // To the next instruction.
        (instruction.off, instruction.imm) = (0, 0);
    }
    let [mov, exit] = probe::return_0();
    let insns = [instruction, mov, exit];
    let program = probe::program(bpf_prog_type::BPF_PROG_TYPE_SOCKET_FILTER, &insns);
    // An instruction that the verifier knows may be refused for its registers.
    probe::load(&program)
        .is_err_and(|log| UNKNOWN_INSTRUCTION.iter().any(|words| log.contains(words)))
}

/// Whether the verifier followed the program, after it checked every instruction.
fn was_followed(log: &str) -> bool {
    let is_instruction = |line: &str| {
        let number = line.split_once(": (").map_or("", |(number, _)| number);
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    log.lines().any(is_instruction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::attr::ProgLoadAttr;
    use crate::sys::fake;
    use crate::testing::compile;
    use crate::{Ebpf, Endianness};

    /// The types of a kernel that has these helpers.
    fn kernel(helpers: &str) -> Btf {
        let source = format!(
            "enum bpf_func_id {{ BPF_FUNC_map_lookup_elem = 1, {helpers} }}; enum bpf_func_id id;
             SEC(\"fexit/f\") int p(void *ctx) {{ return id; }}"
        );
        let btf = crate::elf::examine(&compile(&source)).unwrap().1.btf;
        Btf::parse(&btf, Endianness::default()).unwrap()
    }

    fn found(btf: &Btf, log: &str, body: &str) -> Vec<String> {
        let object = compile(&format!(
            "static long add(u32 i, void *c) {{ return i; }}
             SEC(\"fexit/f\") int p(void *ctx) {{ {body} }}"
        ));
        let object = Ebpf::load(&object).unwrap();
        let linked = object.shared.object.linked().unwrap();
        let key = linked.programs["p"].function_key();
        let found = too_new(&linked.functions[&key].instructions, log, btf);
        found.iter().map(ToString::to_string).collect()
    }

    const LOOP: &str = "((long (*)(u32, void *, void *, u64))181)(9, add, 0, 0); return 0;";
    const SUBPROGS: &str = "number of funcs in func_info doesn't match number of subprogs\n";

    #[test]
    fn newer_callback_and_helper_precede_the_verifier_message() {
        let old = kernel("BPF_FUNC_snprintf = 165");
        assert_eq!(
            found(&old, SUBPROGS, LOOP),
            [
                "bpf_loop (from Linux 5.17 on)",
                "a callback (from Linux 5.13 on)"
            ]
        );
        let newer = kernel("BPF_FUNC_for_each_map_elem = 164");
        assert_eq!(
            found(&newer, SUBPROGS, LOOP),
            ["bpf_loop (from Linux 5.17 on)"]
        );
        let new = kernel("BPF_FUNC_for_each_map_elem = 164, BPF_FUNC_loop = 181");
        assert!(found(&new, SUBPROGS, LOOP).is_empty());
    }

    #[test]
    fn unreached_helper_is_not_the_reason() {
        let old = kernel("BPF_FUNC_snprintf = 165");
        let call = "((long (*)(void))174)(); return 0;";
        let cookie = ["bpf_get_attach_cookie (from Linux 5.19 on)"];
        assert_eq!(found(&old, "invalid program\n", call), cookie);
        assert!(found(&old, "0: (95) exit\nR0 !read_ok\n", call).is_empty());
    }

    #[test]
    fn newer_instruction_is_the_reason_only_if_the_verifier_reports_an_unknown_one() {
        let none = kernel("BPF_FUNC_loop = 181");
        let jump = "asm volatile(\".8byte 0x1000000000106\"); return 0;";
        assert!(found(&none, "back-edge from insn 1 to 0\n", jump).is_empty());
        // A kernel that refuses may_goto, and, as a vendor's may, jumps of 32 bits or not.
        let both = "asm volatile(\".8byte 0x100000006; .8byte 0x1000000e5\"); return 0;";
        let may_goto = "may_goto (from Linux 6.9 on)";
        let jump = "a jump of 32 bits (from Linux 6.6 on)";
        for (unknown, expected) in [
            (&[0xe5][..], &[may_goto][..]),
            (&[0xe5, 0x06], &[may_goto, jump]),
            (&[], &[]),
        ] {
            let _kernel = fake::kernel(move |call| {
                let load: &mut ProgLoadAttr = call.attr();
                let instruction = fake::memory(load.insns, 8);
                let is_known = !unknown.contains(&instruction[0]);
                let log: &[u8] = if is_known {
                    b"R1 !read_ok\n\0"
                } else {
                    b"unknown opcode\n\0"
                };
                fake::write(load.log_buf, log);
                assert_eq!(instruction[2..], [0; 6], "it jumps to the next instruction");
                Some(libc::EINVAL)
            });
            assert_eq!(found(&none, "unknown opcode e5\n", both), expected);
        }
    }

    #[test]
    fn types_without_a_list_of_helpers_tell_nothing() {
        let source = "SEC(\"fexit/f\") int p(void *ctx) { return 0; }";
        let btf = crate::elf::examine(&compile(source)).unwrap().1.btf;
        let btf = Btf::parse(&btf, Endianness::default()).unwrap();
        assert!(found(&btf, SUBPROGS, LOOP).is_empty());
    }
}
