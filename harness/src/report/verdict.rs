//! Verdicts: outcomes compared with the claimed minimum kernels.

use std::fmt;

use fexit::{Feature, KernelVersion};
use protocol::event::{Outcome, Refusal};
use protocol::scenario::Scenario;
use serde::{Deserialize, Serialize};

use crate::kernels::{Arch, Tree};

/// The outcome that a scenario's claimed minimum predicts on the running kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// The kernel is at or above the minimum.
    Passed,
    /// The kernel is below the minimum: the library must refuse, and say why.
    Unsupported,
}

/// The kernel that results are judged for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// The upstream version.
    pub version: KernelVersion,
    /// Whose tree it was built from. Only a vendor's kernel has backports.
    pub tree: Tree,
    /// Its architecture, which may have features from a later release on than x86-64.
    pub arch: Arch,
}

impl Running {
    /// A mainline or stable release, for x86-64.
    pub fn mainline(version: KernelVersion) -> Self {
        let tree = Tree::Mainline;
        let arch = Arch::X86_64;
        Self {
            version,
            tree,
            arch,
        }
    }
}

/// The verdict on one scenario or program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScenarioVerdict {
    /// The outcome is the expected one.
    Ok,
    /// The outcome is not the expected one, in either direction.
    NotOk,
    /// It did not run.
    Unknown,
}

/// The verdict on a kernel, or on a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KernelVerdict {
    /// Everything that ran is ok, and the run finished.
    Ok,
    /// The run did not finish for a reason that is not fexit's: download, QEMU, boot.
    #[default]
    Infra,
    /// Something is not-ok.
    NotOk,
}

/// On which kernels of an architecture a scenario claims to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// On every one.
    Every,
    /// From a release on.
    From(KernelVersion),
    /// On none: no release has what it requires.
    Never,
}

impl Claim {
    /// The claim of a scenario. The guest's list has the minimums of x86-64.
    pub fn of(planned: &Scenario, arch: Arch) -> Self {
        let feature = planned.feature.as_deref().and_then(Feature::from_name);
        let (Some(feature), Some((major, minor))) = (feature, planned.minimum) else {
            return Self::Every;
        };
        if arch == Arch::X86_64 {
            return Self::From(KernelVersion::new(major, minor, 0));
        }
        let base = planned.traces_functions.then_some(Feature::Fexit);
        let minimum = |feature: Feature| feature.minimum_on(arch.into());
        match (minimum(feature), base.map_or(minimum(feature), minimum)) {
            (Some(own), Some(base)) => Self::From(own.max(base)),
            _ => Self::Never,
        }
    }

    /// The release, if it claims one.
    pub fn minimum(self) -> Option<KernelVersion> {
        match self {
            Self::From(minimum) => Some(minimum),
            Self::Every | Self::Never => None,
        }
    }

    /// The expected outcome on the running kernel.
    pub fn expected(self, running: KernelVersion) -> Expected {
        match self {
            Self::Every => Expected::Passed,
            Self::From(minimum) if running >= minimum => Expected::Passed,
            Self::From(_) | Self::Never => Expected::Unsupported,
        }
    }
}

/// Compares an outcome with the expected one, which is `None` when the running kernel's version is not known.
pub fn scenario(expected: Option<Expected>, outcome: Outcome) -> ScenarioVerdict {
    match (outcome, expected) {
        (Outcome::Skipped, _) => ScenarioVerdict::Unknown,
        (Outcome::Passed, Some(Expected::Passed))
        | (Outcome::Unsupported, Some(Expected::Unsupported)) => ScenarioVerdict::Ok,
        (Outcome::Passed | Outcome::Unsupported, None) => ScenarioVerdict::Unknown,
        _ => ScenarioVerdict::NotOk,
    }
}

/// Why a refusal is not a clean one, if so: it must name a minimum kernel newer than the running one.
pub fn flaw_of_refusal(refusal: Option<&Refusal>, running: KernelVersion) -> Option<String> {
    let Some(Refusal { feature, minimum }) = refusal else {
        return Some("refused without naming a feature and its minimum kernel".to_owned());
    };
    let Some(minimum) = minimum else {
        return None; // no release has it
    };
    match minimum.parse::<KernelVersion>() {
        Ok(named) if named > running => None,
        Ok(_) => Some(format!(
            "refused because {feature} requires {minimum}, but the kernel is {running}: the library's claim is wrong"
        )),
        Err(_) => Some(format!(
            "refused, naming \"{minimum}\", which is no kernel version"
        )),
    }
}

/// The verdict on the scenarios of one kernel. `finished` means that the guest reported `done`.
pub fn kernel(scenarios: &[ScenarioVerdict], finished: bool) -> KernelVerdict {
    if scenarios.contains(&ScenarioVerdict::NotOk) {
        KernelVerdict::NotOk
    } else if finished && scenarios.contains(&ScenarioVerdict::Ok) {
        KernelVerdict::Ok
    } else {
        KernelVerdict::Infra // also when all were skipped
    }
}

impl KernelVerdict {
    /// The worst of these verdicts; `infra` if there are none.
    pub fn worst(verdicts: impl Iterator<Item = Self>) -> Self {
        verdicts.max().unwrap_or(Self::Infra)
    }

    /// The exit status of a run with this verdict.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::NotOk => 1,
            Self::Infra => 3,
        }
    }
}

impl fmt::Display for KernelVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::NotOk => "not-ok",
            Self::Infra => "infra",
        })
    }
}

impl fmt::Display for ScenarioVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::NotOk => "not-ok",
            Self::Unknown => "unknown",
        })
    }
}

/// The name of an outcome, as the report spells it.
pub fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Unsupported => "unsupported",
        Outcome::Failed => "failed",
        Outcome::Skipped => "skipped",
        Outcome::TimedOut => "timed-out",
        Outcome::Panicked => "panicked",
        Outcome::Splat => "splat",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(s: &str) -> KernelVersion {
        s.parse().unwrap()
    }

    #[test]
    fn every_outcome_against_every_expectation() {
        use Expected::{Passed as P, Unsupported as U};
        use Outcome as O;
        use ScenarioVerdict::{NotOk, Ok, Unknown};
        let table = [
            // outcome, expected passed, expected unsupported, version not known
            (O::Passed, Ok, NotOk, Unknown),
            (O::Unsupported, NotOk, Ok, Unknown),
            (O::Failed, NotOk, NotOk, NotOk),
            (O::Skipped, Unknown, Unknown, Unknown),
            (O::TimedOut, NotOk, NotOk, NotOk),
            (O::Panicked, NotOk, NotOk, NotOk),
            (O::Splat, NotOk, NotOk, NotOk),
        ];
        for (outcome, at_or_above, below, no_version) in table {
            assert_eq!(
                scenario(Some(P), outcome),
                at_or_above,
                "{outcome:?}, expected passed"
            );
            assert_eq!(
                scenario(Some(U), outcome),
                below,
                "{outcome:?}, expected unsupported"
            );
            assert_eq!(
                scenario(None, outcome),
                no_version,
                "{outcome:?}, nothing expected"
            );
        }
    }

    #[test]
    fn verdicts_serialize_to_the_names_of_the_report_format() {
        use Outcome::{Failed, Panicked, Passed, Skipped, Splat, TimedOut, Unsupported};
        for outcome in [
            Passed,
            Unsupported,
            Failed,
            Skipped,
            TimedOut,
            Panicked,
            Splat,
        ] {
            assert_eq!(
                serde_json::to_value(outcome).unwrap(),
                outcome_name(outcome)
            );
        }
        for verdict in [
            KernelVerdict::Ok,
            KernelVerdict::NotOk,
            KernelVerdict::Infra,
        ] {
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.to_string());
        }
        for verdict in [
            ScenarioVerdict::Ok,
            ScenarioVerdict::NotOk,
            ScenarioVerdict::Unknown,
        ] {
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.to_string());
        }
    }

    #[test]
    fn kernel_at_its_minimum_is_expected_to_pass() {
        for (minimum, running, outcome) in [
            ("5.5", "5.4.302", Expected::Unsupported),
            ("5.5", "5.5.0", Expected::Passed),
            ("5.10", "5.9.16", Expected::Unsupported), // as numbers, not as text
            ("5.10", "5.10.0", Expected::Passed),
            ("6.0", "5.19.17", Expected::Unsupported),
            ("5.19", "6.1.192", Expected::Passed),
        ] {
            assert_eq!(
                Claim::From(version(minimum)).expected(version(running)),
                outcome,
                "{minimum} on {running}"
            );
        }
    }

    #[test]
    fn claim_on_arm64_is_that_of_the_feature_and_of_what_it_traces() {
        let claim = |feature: &str, traces_functions, arch| {
            let planned = Scenario {
                feature: Some(feature.into()),
                minimum: Feature::from_name(feature).map(|feature| {
                    let minimum = feature.minimum();
                    (minimum.major, minimum.minor)
                }),
                traces_functions,
                ..Scenario::default()
            };
            Claim::of(&planned, arch)
        };
        let from = |text| Claim::From(version(text));
        for (feature, traces, x86_64, arm64) in [
            ("fexit", true, from("5.5"), from("6.4")),
            ("ring-buffer", true, from("5.8"), from("6.4")),
            ("ring-buffer", false, from("5.8"), from("5.8")),
            ("tracing-target", true, from("6.8"), from("6.8")),
            ("multi", true, from("7.2"), Claim::Never),
        ] {
            assert_eq!(claim(feature, traces, Arch::X86_64), x86_64, "{feature}");
            assert_eq!(claim(feature, traces, Arch::Arm64), arm64, "{feature}");
        }
        assert_eq!(Claim::of(&Scenario::default(), Arch::Arm64), Claim::Every);
        assert_eq!(
            Claim::Never.expected(version("99.0")),
            Expected::Unsupported
        );
        assert_eq!(Claim::Every.expected(version("4.1")), Expected::Passed);
    }

    #[test]
    fn refusal_that_names_an_older_kernel_is_not_ok() {
        let refusal = |minimum: &str| Refusal {
            feature: "cookie".into(),
            minimum: Some(minimum.into()),
        };
        let running = version("5.10.262");
        assert_eq!(flaw_of_refusal(Some(&refusal("5.19")), running), None);
        let never = Refusal {
            minimum: None,
            ..refusal("")
        };
        assert_eq!(flaw_of_refusal(Some(&never), running), None);
        for (given, part) in [
            (
                Some(refusal("5.10")),
                "cookie requires 5.10, but the kernel is 5.10.262",
            ),
            (Some(refusal("soon")), "no kernel version"),
            (None, "without naming a feature"),
        ] {
            let flaw = flaw_of_refusal(given.as_ref(), running).unwrap();
            assert!(flaw.contains(part), "{flaw}");
        }
    }

    #[test]
    fn overall_verdict_is_the_worst_and_not_ok_outweighs_infra() {
        use KernelVerdict::{Infra, NotOk, Ok};
        for (kernels, worst, exit) in [
            (vec![Ok, Ok], Ok, 0),
            (vec![Ok, Infra], Infra, 3),
            (vec![NotOk, Infra, Ok], NotOk, 1),
            (vec![Infra, NotOk], NotOk, 1),
            (vec![], Infra, 3),
        ] {
            let verdict = KernelVerdict::worst(kernels.iter().copied());
            assert_eq!((verdict, verdict.exit_code()), (worst, exit), "{kernels:?}");
        }
    }
}
