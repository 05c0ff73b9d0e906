//! The verifier's figures of a program, read from the end of its log.

use std::str::FromStr;

/// The verifier's statistics of a program.
///
/// # Minimum kernel version
///
/// 5.2. Source: kernel commit 06ee7115b0d1 ("bpf: add verifier stats and log_level bit 2"); the lines are printed by
/// `print_verification_stats` in kernel/bpf/verifier.c.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifierStats {
    /// The instructions that the verifier processed, over all paths.
    pub instructions_processed: u64,
    /// The most that it processes before it gives up: 1,000,000. Source: `BPF_COMPLEXITY_LIMIT_INSNS` in
    /// include/linux/bpf.h.
    pub instruction_limit: u64,
    /// The states that it kept, over all of the verification.
    pub total_states: u64,
    /// The most states that it kept at a time.
    pub peak_states: u64,
    /// The most states that it kept for one instruction.
    pub max_states_per_instruction: u64,
    /// The stack of each function in bytes, in the order of the program; empty before the kernel prints it.
    pub stack_depths: Vec<u32>,
    /// The duration of the verification in microseconds.
    pub verification_time_us: Option<u64>,
}

impl VerifierStats {
    /// Reads the figures at the end of a verifier log; `None` if the log has none.
    ///
    /// The log has them if [`VerifierLogLevel::STATS`](crate::VerifierLogLevel::STATS) is set.
    pub fn parse(log: &str) -> Option<Self> {
        let line = |start: &str| log.lines().rev().find_map(|line| line.strip_prefix(start));
        let mut words = line("processed ")?.split([' ', '(', ')']);
        let mut stats = Self {
            instructions_processed: words.next()?.parse().ok()?,
            stack_depths: line("stack depth ")
                .map_or_else(Vec::new, |depths| stack_depths(depths, log)),
            verification_time_us: line("verification time ").and_then(first_number),
            ..Self::default()
        };
        while let Some(name) = words.next() {
            let value = match name {
                "limit" => &mut stats.instruction_limit,
                "max_states_per_insn" => &mut stats.max_states_per_instruction,
                "total_states" => &mut stats.total_states,
                "peak_states" => &mut stats.peak_states,
                _ => continue,
            };
            *value = words.next()?.parse().ok()?;
        }
        Some(stats)
    }

    /// The largest stack of a function in bytes.
    pub fn max_stack_depth(&self) -> Option<u32> {
        self.stack_depths.iter().copied().max()
    }
}

fn first_number<T: FromStr>(text: &str) -> Option<T> {
    text.split(' ').next()?.parse().ok()
}

/// `8+16+0`, or `max 24`, the most of a chain of calls (seen on 7.3): then each function has a line of its own, as
/// `subprog 1 (parse) static insns_self 8 insns_total 16 stack 16`.
fn stack_depths(depths: &str, log: &str) -> Vec<u32> {
    if !depths.starts_with("max ") {
        let depths = depths.split(' ').next().unwrap_or_default().split('+');
        return depths.filter_map(|depth| depth.parse().ok()).collect();
    }
    let functions = log.lines().filter(|line| line.starts_with("subprog "));
    functions
        .filter_map(|line| first_number(line.rsplit_once(" stack ")?.1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_the_end_of_a_log() {
        let log = "0: (95) exit\nprocessed by mistake\nverification time 123 usec\nstack depth 8+16+0\nprocessed 42 insns \
                   (limit 1000000) max_states_per_insn 1 total_states 5 peak_states 4 mark_read 2\n";
        let stats = VerifierStats::parse(log).unwrap();
        assert_eq!(
            stats,
            VerifierStats {
                instructions_processed: 42,
                instruction_limit: 1_000_000,
                total_states: 5,
                peak_states: 4,
                max_states_per_instruction: 1,
                stack_depths: vec![8, 16, 0],
                verification_time_us: Some(123),
            }
        );
        assert_eq!(stats.max_stack_depth(), Some(16));
    }

    #[test]
    fn stack_depths_are_read_from_the_lines_of_the_functions() {
        let log = "verification time 24380 usec\nstack depth max 48\n\
                   subprog 0 (prog) main insns_self 9 insns_total 25 stack 16\n\
                   subprog 1 (a stack 9) static insns_self 8 insns_total 16 stack 24\n\
                   subprog 2 (leaf) static insns_self 8 insns_total 8 stack 8\n\
                   processed 25 insns (limit 1000000) max_states_per_insn 0 total_states 2 peak_states 2 mark_read 0\n";
        let stats = VerifierStats::parse(log).unwrap();
        assert_eq!(stats.stack_depths, [16, 24, 8]);
        assert_eq!(stats.max_stack_depth(), Some(24));
        let none = VerifierStats::parse("stack depth max 8\nsubprog 0 (p) main\nprocessed 1 insns");
        assert_eq!(none.unwrap().max_stack_depth(), None);
    }

    #[test]
    fn figures_without_time_and_stack_are_read_and_a_log_without_figures_has_none() {
        let stats = VerifierStats::parse("processed 7 insns (limit 100) total_states 1").unwrap();
        assert_eq!(
            (stats.instructions_processed, stats.instruction_limit),
            (7, 100)
        );
        assert_eq!(
            (stats.max_stack_depth(), stats.verification_time_us),
            (None, None)
        );
        for log in [
            "",
            "processed many insns",
            "processed 7 insns (limit x)",
            "stack depth 8\n",
        ] {
            assert_eq!(VerifierStats::parse(log), None, "{log}");
        }
    }
}
