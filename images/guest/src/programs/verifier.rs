//! The verifier's figures of a program in the report.

use fexit::programs::{Program, VerifierStats};
use protocol::program::VerifierFigures;

/// The size of an instruction in bytes.
const INSTRUCTION_SIZE: u32 = 8;

/// The figures of a loaded program.
pub(super) fn accepted(program: &Program) -> Option<VerifierFigures> {
    let mut figures = refused(program.verifier_log())?;
    if let Some(size) = program.size() {
        figures.instructions = Some(size.instructions as u64);
        figures.longest_function = Some(size.longest_function as u64);
    }
    if let Ok(info) = program.info() {
        let translated = info.size_translated();
        figures.instructions_translated = translated.map(|size| u64::from(size / INSTRUCTION_SIZE));
        figures.jited_bytes = Some(u64::from(info.size_jitted()));
    }
    Some(figures)
}

/// The figures of a program that the verifier refused with this log.
pub(super) fn refused(log: &str) -> Option<VerifierFigures> {
    let stats = VerifierStats::parse(log)?;
    Some(VerifierFigures {
        instructions_processed: stats.instructions_processed,
        instruction_limit: stats.instruction_limit,
        total_states: stats.total_states,
        peak_states: stats.peak_states,
        max_states_per_instruction: stats.max_states_per_instruction,
        stack_depth: stats.max_stack_depth(),
        verification_time_us: stats.verification_time_us,
        ..VerifierFigures::default()
    })
}
