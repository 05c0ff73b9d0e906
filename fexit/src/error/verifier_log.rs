//! Extracts from a verifier log the reason of a refusal and the refused instruction.

/// The reason and the instruction; `None` if the verifier gave no reason.
///
/// Up to 7.2 the log ends with the reason. From 7.3 on a report follows, whose paragraph "Reason:" has more.
pub(super) fn summary(log: &str) -> Option<String> {
    let (trace, report) = match log.split_once("\nVerification failed: ") {
        Some((trace, report)) => (trace, Some(report)),
        None => (log, None),
    };
    let lines: Vec<&str> = trace.lines().filter(|line| !is_statistics(line)).collect();
    let start = lines
        .iter()
        .rposition(|line| is_trace(line))
        .map_or(0, |at| at + 1);
    let (before, said) = lines.split_at(start);
    let said = &said[said.len().saturating_sub(LINES)..];
    let said = said.join("; ");
    let reason = match (report.and_then(paragraph), said.is_empty()) {
        (Some(reason), true) => reason,
        (Some(reason), false) => format!("{reason} ({said})"),
        (None, false) => said,
        // A truncated log.
        (None, true) => return before.last().map(|line| without_state(line).to_owned()),
    };
    let place = [instruction(before), source(before)];
    let place: Vec<String> = place.into_iter().flatten().collect();
    Some(if place.is_empty() {
        reason
    } else {
        format!("{reason}; at {}", place.join(", "))
    })
}

/// The most lines of a reason: some reasons have two lines, some have long lists.
const LINES: usize = 3;

/// Whether a line is a statistic of the verifier, or empty.
fn is_statistics(line: &str) -> bool {
    const STARTS: [&str; 5] = [
        "processed ",
        "verification time ",
        "stack depth ",
        "peak_states ",
        "func#",
    ];
    line.trim().is_empty() || STARTS.iter().any(|start| line.starts_with(start))
}

/// Whether a line is part of the trace: source, instructions, registers.
fn is_trace(line: &str) -> bool {
    const STARTS: [&str; 10] = [
        ";",
        " ",
        "Unrecognized arg#",
        "arg#0 type is not a struct",
        "reg type unsupported for arg#",
        "from ",
        "mark_precise",
        "regs=",
        "last_idx",
        "parent ",
    ];
    const HEADINGS: [&str; 5] = [
        "caller:",
        "callee:",
        "cur state:",
        "old state:",
        "returning from callee:",
    ];
    let is_state = |text: &str| {
        let rest =
            number_after("frame", text).map_or(text, |rest| rest.trim_start_matches([':', ' ']));
        number_after("R", rest).is_some_and(|rest| rest.starts_with(['=', '_']))
    };
    let is_instruction = |rest: &str| rest.is_empty() || rest.starts_with('(') || is_state(rest);
    after_number(line).is_some_and(is_instruction)
        || is_state(line)
        || line.starts_with("func '") && line.contains(" has btf_id ")
        || STARTS.iter().any(|start| line.starts_with(start))
        || HEADINGS.contains(&line.trim_end())
}

/// The rest of a line after `12: `.
fn after_number(line: &str) -> Option<&str> {
    let (number, rest) = line.split_once(':')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| rest.trim_start())
}

/// The rest of a line after `start` and a number: `R10`, `frame1`.
fn number_after<'a>(start: &str, text: &'a str) -> Option<&'a str> {
    let number = text.strip_prefix(start)?;
    let rest = number.trim_start_matches(|c: char| c.is_ascii_digit());
    (rest.len() < number.len()).then_some(rest)
}

/// The last instruction: `4: (85) call bpf_d_path#147`.
fn instruction(trace: &[&str]) -> Option<String> {
    let is_instruction =
        |line: &&&str| after_number(line).is_some_and(|rest| rest.starts_with('('));
    let line = trace.iter().rev().find(is_instruction)?;
    Some(format!("`{}`", without_state(line)))
}

/// An instruction without the register state after it.
fn without_state(line: &str) -> &str {
    line.split_once(" ; ").map_or(line, |(line, _)| line).trim()
}

/// The source line of the last instruction. Kernels from 6.9 on print file and line number too.
fn source(trace: &[&str]) -> Option<String> {
    let lines = trace
        .iter()
        .rev()
        .filter_map(|line| line.strip_prefix("; "));
    let mut lines = lines
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('@'));
    Some(format!("`{}`", lines.next()?))
}

/// The paragraph "Reason:" of a report, on one line.
fn paragraph(report: &str) -> Option<String> {
    let mut lines = report.lines().skip_while(|line| *line != "Reason:").skip(1);
    let lines: Vec<&str> = lines
        .by_ref()
        .take_while(|line| !line.trim().is_empty())
        .map(str::trim)
        .collect();
    (!lines.is_empty()).then(|| lines.join(" ").trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::summary;

    /// Logs of real kernels.
    const D_PATH_5_10: &str = "arg#0 type is not a struct
Unrecognized arg#0 type PTR
; SEC(\"fexit/vfs_open\") int BPF_PROG(d_path, struct path *path, struct file *file, int ret)
0: (79) r1 = *(u64 *)(r1 +0)
func 'vfs_open' arg0 has btf_id 724 type STRUCT 'path'
1: (bf) r2 = r10
; 
2: (07) r2 += -64
; bpf_d_path(path, name, sizeof(name));
3: (b7) r3 = 64
4: (85) call bpf_d_path#147
helper call is not allowed in probe
processed 5 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
";
    const READ_6_1: &str = "reg type unsupported for arg#0 function uninitialized#7
0: R1=ctx(off=0,imm=0) R10=fp0
; SEC(\"fexit/vfs_open\") int BPF_PROG(uninitialized, const struct path *path, struct file *file, int ret)
0: (95) exit
R0 !read_ok
processed 1 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
";
    const RETURN_6_12: &str = "0: R1=ctx() R10=fp0
; int p(u64 *ctx) { return 77; } @ refused.bpf.c:20
0: (b7) r0 = 77                       ; R0_w=77
1: (95) exit
At program exit the register R0 has smin=77 smax=77 should have been in [0, 0]
processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
";
    const D_PATH_7_3: &str = "0: R1=ctx() R10=fp0
; bpf_d_path(path, name, sizeof(name)); @ refused.bpf.c:11
3: (b7) r3 = 64                       ; R3=64
4: (85) call bpf_d_path#147
helper call is not allowed in probe

Verification failed: Policy: Operation is not allowed

Reason:
  The helper bpf_d_path#147 is not allowed: the helper-specific policy callback rejected this
  program.

At:
  d_path @ refused.bpf.c:11:2
  Instruction context:
      3 | (b7) r3 = 64
  >>> 4 | (85) call bpf_d_path#147

Suggestion:
  Use the helper only from an allowed attach point or program configuration.

processed 5 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
";

    #[test]
    fn reason_precedes_the_instruction_on_every_kernel() {
        assert_eq!(
            summary(D_PATH_5_10).unwrap(),
            "helper call is not allowed in probe; at `4: (85) call bpf_d_path#147`, \
             `bpf_d_path(path, name, sizeof(name));`"
        );
        assert_eq!(
            summary(READ_6_1).unwrap(),
            "R0 !read_ok; at `0: (95) exit`, `SEC(\"fexit/vfs_open\") int BPF_PROG(uninitialized, const struct path \
             *path, struct file *file, int ret)`"
        );
        assert_eq!(
            summary(RETURN_6_12).unwrap(),
            "At program exit the register R0 has smin=77 smax=77 should have been in [0, 0]; at `1: (95) exit`, \
             `int p(u64 *ctx) { return 77; } @ refused.bpf.c:20`"
        );
    }

    #[test]
    fn reason_paragraph_of_a_report_is_used() {
        assert_eq!(
            summary(D_PATH_7_3).unwrap(),
            "The helper bpf_d_path#147 is not allowed: the helper-specific policy callback rejected this program \
             (helper call is not allowed in probe); at `4: (85) call bpf_d_path#147`, `bpf_d_path(path, name, \
             sizeof(name)); @ refused.bpf.c:11`"
        );
        let only_report = "Verification failed: x\n\nReason:\n  It is\n  so.\n\nAt:\n  here\n";
        assert_eq!(summary(&format!("\n{only_report}")).unwrap(), "It is so");
    }

    #[test]
    fn reason_of_two_lines_is_kept_and_a_list_is_shortened() {
        let log = "3: (71) r1 = *(u8 *)(r0 +8)\ninvalid access to map value, value_size=8 off=8 size=1\nR0 min value is outside of the allowed memory range\n";
        assert_eq!(
            summary(log).unwrap(),
            "invalid access to map value, value_size=8 off=8 size=1; R0 min value is outside of the allowed memory \
             range; at `3: (71) r1 = *(u8 *)(r0 +8)`"
        );
        let list =
            "9: (95) exit\n".to_owned() + &"Unreleased reference id=2 alloc_insn=5\n".repeat(9);
        assert_eq!(summary(&list).unwrap().matches("Unreleased").count(), 3);
    }

    #[test]
    fn states_of_registers_are_no_reason() {
        let log = "1: (b7) r1 = 0\nR0 unbounded memory access\n R6_w=ctx\nR0=scalar() R1_w=1\ncaller:\n frame1: R6=1\n2: R1=1\n";
        assert_eq!(summary(log).unwrap(), "2: R1=1");
        let verbose = "2: (07) r2 += -64\nmark_precise: frame0: last_idx 2\nfrom 2 to 4: R1=0\nR2 invalid mem access 'scalar'\n";
        assert_eq!(
            summary(verbose).unwrap(),
            "R2 invalid mem access 'scalar'; at `2: (07) r2 += -64`"
        );
        for reason in [
            "frame pointer is read only",
            "func 'vfs_open' doesn't have 4-th argument",
            "R1 !read_ok",
        ] {
            assert_eq!(
                summary(&format!("0: R1=ctx()\nframe1: R6=1\n{reason}\n")).unwrap(),
                reason
            );
        }
    }

    #[test]
    fn log_without_a_message_has_no_reason() {
        for log in ["", "\n", "func#0 @0\nprocessed 0 insns (limit 1000000)\n"] {
            assert_eq!(summary(log), None);
        }
        assert_eq!(
            summary(
                "number of funcs in func_info doesn't match number of subprogs\nprocessed 0 insns\n"
            )
            .unwrap(),
            "number of funcs in func_info doesn't match number of subprogs"
        );
    }
}
