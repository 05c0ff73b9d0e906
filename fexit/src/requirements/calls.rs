//! What the helpers and kfuncs that a program calls require.

use std::fmt::Write as _;

use super::Requirement;
use crate::arch::Arch;
use crate::compat::{self, Helper, KFUNC_CALL};
use crate::kernel_version::KernelVersion;

/// The program that calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// Whether it is on a function: then it is known from which release on it may call each helper and kfunc.
    pub(super) is_of_function: bool,
    /// Whether the object's licence is compatible with the GPL.
    pub(super) gpl: bool,
    /// The architecture of the kernel.
    pub(super) arch: Arch,
}

impl Caller {
    pub(super) fn helper_minimum(self, helper: &Helper) -> Option<KernelVersion> {
        match self.is_of_function {
            true => helper.for_fexit.then_some(helper.minimum),
            false => Some(helper.first().0),
        }
    }

    pub(super) fn helper(self, number: u32) -> Vec<Requirement> {
        let Some(helper) = Helper::by_number(number) else {
            return vec![Requirement {
                what: format!("it calls helper number {number}, which no kernel has"),
                minimum: None,
                source: "include/uapi/linux/bpf.h of 6.2, when the list was closed".to_owned(),
                feature: None,
            }];
        };
        let mut requirements = vec![match self.is_of_function {
            true => on_function(&helper),
            false => Requirement {
                what: format!("it calls bpf_{}", helper.name),
                minimum: Some(helper.first().0),
                source: format!("kernel commit {}", helper.first().1),
                feature: None,
            },
        }];
        requirements.extend((!self.gpl).then(|| licence(&helper)).flatten());
        requirements
    }

    pub(super) fn kfunc(self, name: &str) -> Option<Requirement> {
        let what = format!("it calls the kernel's function {name}");
        if !self.is_of_function {
            // Kfuncs are opened to one program type after the other.
            let first = (KernelVersion::new(5, 13, 0), "e6ac2450d6de");
            let (minimum, commit) = compat::first_release(self.arch, KFUNC_CALL, first);
            return Some(Requirement {
                what,
                minimum: Some(minimum),
                source: format!(
                    "kernel commit {commit}, which lets programs call kernel functions"
                ),
                feature: None,
            });
        }
        if compat::is_lsm_only(name) {
            return Some(Requirement {
                what: format!("{what}, which fexit programs may not"),
                minimum: None,
                source: "the filter of its set in the kernel: for LSM programs alone".to_owned(),
                feature: None,
            });
        }
        let (minimum, commit) = compat::first_release(self.arch, KFUNC_CALL, compat::kfunc(name)?);
        Some(Requirement {
            what,
            minimum: Some(minimum),
            source: format!("kernel commit {commit}"),
            feature: None,
        })
    }
}

/// A call in a program on a function.
fn on_function(helper: &Helper) -> Requirement {
    let mut source = format!("kernel commit {}", helper.commit);
    let limit = match compat::fexit_until(helper.name) {
        Some((until, commit)) => {
            let _ = write!(source, ", withdrawn by {commit}");
            format!(", which fexit programs may only before Linux {until}")
        }
        None if helper.for_fexit => String::new(),
        None => ", which fexit programs may not".to_owned(),
    };
    Requirement {
        what: format!("it calls bpf_{}{limit}", helper.name),
        minimum: helper.for_fexit.then_some(helper.minimum),
        source,
        feature: None,
    }
}

/// What a helper asks of an object whose licence is not compatible with the GPL.
fn licence(helper: &Helper) -> Option<Requirement> {
    if helper.gpl_only {
        return Some(Requirement {
            what: format!(
                "it calls bpf_{}, for which the object's licence must be compatible with the GPL",
                helper.name
            ),
            minimum: None,
            source: format!("kernel commit {}", helper.commit),
            feature: None,
        });
    }
    let (minimum, commit) = compat::gpl_until(helper.name)?;
    Some(Requirement {
        what: format!(
            "it calls bpf_{}, for which the object's licence had to be compatible with the GPL before",
            helper.name
        ),
        minimum: Some(minimum),
        source: format!("kernel commit {commit}"),
        feature: None,
    })
}
