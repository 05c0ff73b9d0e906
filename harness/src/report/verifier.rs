//! The verifier's figures of programs that grew since another report.

use std::fmt;

use protocol::program::VerifierFigures;

use super::model::Report;

/// A figure of a program that grew by more than was allowed.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifierGrowth {
    /// The requested name of the kernel.
    pub kernel: String,
    /// The program: `OBJECT:PROGRAM`.
    pub program: String,
    /// The name of the figure in the report.
    pub figure: &'static str,
    /// Its value before.
    pub before: u64,
    /// Its value now.
    pub now: u64,
}

/// The figures that repeat exactly: the verification time does not.
fn figures(of: &VerifierFigures) -> impl Iterator<Item = (&'static str, Option<u64>)> {
    [
        ("instructions_processed", Some(of.instructions_processed)),
        ("total_states", Some(of.total_states)),
        ("peak_states", Some(of.peak_states)),
        ("stack_depth", of.stack_depth.map(u64::from)),
        ("instructions", of.instructions),
        ("instructions_translated", of.instructions_translated),
        ("jited_bytes", of.jited_bytes),
    ]
    .into_iter()
}

/// The figures that grew by more than `percent`, of programs that were verified on the same kernel both times.
pub(super) fn growth(before: &Report, now: &Report, percent: f64) -> Vec<VerifierGrowth> {
    let mut grown = Vec::new();
    for kernel in &now.kernels {
        let Some(old) = before.kernel(&kernel.requested) else {
            continue;
        };
        for program in &kernel.programs {
            let id = program.id();
            let old = old
                .program(&id)
                .and_then(|old| old.result.verifier.as_ref());
            let Some((old, new)) = old.zip(program.result.verifier.as_ref()) else {
                continue;
            };
            for ((figure, was), (_, is)) in figures(old).zip(figures(new)) {
                if let Some((was, is)) = was.zip(is)
                    && is as f64 > was as f64 * (1.0 + percent / 100.0)
                {
                    grown.push(VerifierGrowth {
                        kernel: kernel.requested.clone(),
                        program: id.clone(),
                        figure,
                        before: was,
                        now: is,
                    });
                }
            }
        }
    }
    grown
}

impl fmt::Display for VerifierGrowth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kernel,
            program,
            figure,
            before,
            now,
        } = self;
        write!(f, "{program} on {kernel}: {figure} {before} -> {now}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::initramfs::bpf_objects::Programs;
    use crate::report::{model::KernelReport, observed};

    fn report(figures: VerifierFigures) -> Report {
        let mut kernel = KernelReport {
            requested: "6.1".into(),
            programs: observed::programs::none_reached(&Programs::named(&["a", "b"]), "test"),
            ..KernelReport::default()
        };
        kernel.programs[0].result.verifier = Some(figures);
        Report::new(vec![kernel])
    }

    fn with(instructions_processed: u64, stack_depth: Option<u32>, time: u64) -> Report {
        report(VerifierFigures {
            instructions_processed,
            stack_depth,
            verification_time_us: Some(time),
            jited_bytes: Some(425),
            ..VerifierFigures::default()
        })
    }

    #[test]
    fn figures_that_grow_by_more_than_the_percentage_are_found() {
        let old = with(100, Some(8), 1);
        let lines = |new: &Report, percent| -> Vec<String> {
            let grown = growth(&old, new, percent);
            grown.iter().map(ToString::to_string).collect()
        };
        assert_eq!(lines(&with(110, Some(8), 99), 10.0), [""; 0]);
        assert_eq!(
            lines(&with(111, Some(16), 1), 10.0),
            [
                "test.bpf.o:a on 6.1: instructions_processed 100 -> 111",
                "test.bpf.o:a on 6.1: stack_depth 8 -> 16"
            ]
        );
        assert_eq!(lines(&with(90, None, 1), 0.0), [""; 0]);
        assert_eq!(lines(&Report::new(Vec::new()), 0.0), [""; 0]);
        assert_eq!(growth(&with(0, None, 1), &with(1, None, 1), 50.0).len(), 1);
    }
}
