//! With no more rights than it takes, and with less.

use anyhow::{Result, ensure};
use fexit::programs::ProgramError;
use fexit::{Btf, Feature};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use super::counter::{Counter, FUNCTION, expect, expect_error};
use crate::scenario::{Context, Scenario};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "least_privilege",
        "CAP_BPF and CAP_PERFMON are enough to load, attach and detach; a low limit on locked memory is lifted",
        Feature::Capabilities,
        least_privilege,
    ),
    Scenario::new(
        "no_privilege",
        "without them the refusal names the capability that is missing",
        Feature::Capabilities,
        no_privilege,
    ),
];

/// Gives up all capabilities but these.
fn keep_only(set: CapabilitySet) -> Result<()> {
    let sets = CapabilitySets {
        effective: set,
        permitted: set,
        inheritable: CapabilitySet::empty(),
    };
    Ok(set_capabilities(None, sets)?)
}

fn least_privilege(_: &mut Context) -> Result<()> {
    // Before 5.11 locked memory counts, and lifting the hard limit takes a capability more; the soft one none.
    const LITTLE: Option<u64> = Some(4096);
    let limit = |current, maximum| setrlimit(Resource::Memlock, Rlimit { current, maximum });
    let btf = Btf::from_sys_fs()?;
    limit(LITTLE, LITTLE)?;
    let (counter, _id) = Counter::attached(&btf)?;
    expect(&[&counter.calls()], &[])?;
    drop(counter);
    limit(LITTLE, None)?;
    keep_only(CapabilitySet::BPF | CapabilitySet::PERFMON)?;
    let (mut counter, id) = Counter::attached(&btf)?;
    expect(&[&counter.calls()], &[])?;
    Ok(counter.program()?.detach(id)?)
}

fn no_privilege(_: &mut Context) -> Result<()> {
    setrlimit(
        Resource::Memlock,
        Rlimit {
            current: None,
            maximum: None,
        },
    )?;
    let btf = Btf::from_sys_fs()?;
    // The map is made while that is still allowed, so that it is the load that is refused.
    let mut counter = Counter::parsed()?;
    keep_only(CapabilitySet::BPF)?;
    let error = match counter.program()?.load(FUNCTION, &btf) {
        Err(refusal @ ProgramError::Unsupported(_)) => return Err(refusal.into()),
        other => expect_error("a load without CAP_PERFMON", other, |error| {
            matches!(error, ProgramError::Permission { .. })
        })?,
    };
    let text = error.to_string();
    ensure!(
        text.contains("lacks CAP_PERFMON"),
        "the error names another: {text}"
    );
    Ok(())
}
