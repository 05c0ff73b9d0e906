//! Finds measurements that grew in runs that counted instructions (`--icount`).
//!
//! There a nanosecond is one instruction of the guest, and a measurement repeats to within a percent however busy the
//! machine is. So a growth of a few percent is real.

use std::fmt;

use super::model::Report;

/// The suffix of measurements in nanoseconds.
const SUFFIX: &str = "_ns";

/// A measurement grew if it is larger by this factor and by this many instructions.
const MIN_FACTOR: f64 = 1.03;
const MIN_INSTRUCTIONS: f64 = 3.0;

/// A measurement that has more instructions than before.
#[derive(Clone, Debug, PartialEq)]
pub struct MoreInstructions {
    /// The requested name of the kernel.
    pub kernel: String,
    /// The scenario's id.
    pub scenario: String,
    /// The measurement's name.
    pub measurement: String,
    /// Its value before, in instructions.
    pub before: f64,
    /// Its value now.
    pub now: f64,
}

/// The measurements that grew, on kernels that ran with `--icount` both times.
pub(super) fn more_instructions(before: &Report, now: &Report) -> Vec<MoreInstructions> {
    let mut grown = Vec::new();
    for kernel in now.kernels.iter().filter(|kernel| kernel.icount) {
        let old = before.kernel(&kernel.requested);
        let Some(old) = old.filter(|old| old.icount) else {
            continue;
        };
        for scenario in &kernel.scenarios {
            for (name, value) in &scenario.measurements {
                let was = old
                    .scenario(&scenario.id)
                    .and_then(|old| old.measurements.get(name));
                let both = was.and_then(|was| was.as_f64().zip(value.as_f64()));
                let (Some((was, is)), true) = (both, name.ends_with(SUFFIX)) else {
                    continue;
                };
                if is > was * MIN_FACTOR && is >= was + MIN_INSTRUCTIONS {
                    grown.push(MoreInstructions {
                        kernel: kernel.requested.clone(),
                        scenario: scenario.id.clone(),
                        measurement: name.clone(),
                        before: was,
                        now: is,
                    });
                }
            }
        }
    }
    grown
}

impl fmt::Display for MoreInstructions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kernel,
            scenario,
            measurement,
            before,
            now,
        } = self;
        write!(f, "{scenario} on {kernel}: {measurement} {before} -> {now}")
    }
}

#[cfg(test)]
mod tests {
    use protocol::event::Outcome;

    use super::*;
    use crate::report::testing;

    fn report(icount: bool, figures: &[(&str, f64)]) -> Report {
        let mut scenario = testing::scenario("overhead", "fexit", "5.5", "6.1.0", Outcome::Passed);
        for (name, value) in figures {
            scenario
                .measurements
                .insert((*name).to_owned(), (*value).into());
        }
        let mut kernel = testing::kernel("6.1", vec![scenario]);
        kernel.icount = icount;
        Report::new(vec![kernel])
    }

    #[test]
    fn instruction_counts_differ_from_three_percent_on() {
        let old = report(
            true,
            &[
                ("a_ns", 100.0),
                ("b_ns", 100.0),
                ("c_ns", 9.0),
                ("calls", 1.0),
            ],
        );
        let new = report(
            true,
            &[
                ("a_ns", 104.0),
                ("b_ns", 102.0),
                ("c_ns", 11.0),
                ("calls", 9.0),
            ],
        );
        let grown = more_instructions(&old, &new);
        let lines: Vec<_> = grown.iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["overhead on 6.1: a_ns 100 -> 104"]);
        assert_eq!(more_instructions(&new, &old), []);
    }

    #[test]
    fn reports_without_icount_are_not_compared() {
        let (old, new) = (&[("a_ns", 100.0)], &[("a_ns", 200.0)]);
        assert_eq!(
            more_instructions(&report(false, old), &report(true, new)),
            []
        );
        assert_eq!(
            more_instructions(&report(true, old), &report(false, new)),
            []
        );
        assert_eq!(
            more_instructions(&report(true, old), &report(true, new)).len(),
            1
        );
    }
}
