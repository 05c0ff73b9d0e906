//! Converts the library's errors to reasons in the report.

use fexit::programs::ProgramError;
use fexit::{BtfError, MapError, Unsupported};
use protocol::program::{ProgramTask, Reason, ReasonKind};

/// Why a load failed.
pub(super) fn of(error: &ProgramError) -> Reason {
    let mut reason = Reason::new(kind(error), error.to_string());
    match error {
        ProgramError::Btf(BtfError::UnknownBtfTypeName { suggestions, .. }) => {
            reason.nearest.clone_from(suggestions);
        }
        ProgramError::UnresolvedCoreRelocation { missing, .. } => {
            reason.missing = missing.iter().map(ToString::to_string).collect();
        }
        ProgramError::UnknownHelper { helper, .. } => {
            reason.feature = Some(format!("bpf_{}", helper.name));
            reason.minimum = helper.for_fexit.then(|| helper.minimum.to_string());
        }
        ProgramError::TooNew { too_new, .. } => {
            reason.feature = too_new.first().map(|newest| newest.what.clone());
            reason.minimum = too_new.first().map(|newest| newest.minimum.to_string());
        }
        ProgramError::Unsupported(refusal) | ProgramError::Map(MapError::Unsupported(refusal)) => {
            lacking(&mut reason, refusal);
        }
        _ => {}
    }
    reason
}

/// Why the load of `task` failed.
pub(super) fn at_load(task: &ProgramTask, error: &ProgramError) -> Reason {
    let mut reason = of(error);
    if let ProgramError::NoTarget { section } = error {
        reason.text = format!(
            "its section `{section}` names no target: say --target {}=FUNCTION",
            task.program
        );
    }
    reason
}

/// Why an attach failed.
pub(super) fn at_attach(error: &ProgramError) -> Reason {
    let mut reason = of(error);
    if reason.kind == ReasonKind::Other {
        reason.kind = ReasonKind::Attach;
    }
    reason
}

fn lacking(reason: &mut Reason, refusal: &Unsupported) {
    reason.feature = Some(refusal.feature.name().to_owned());
    reason.minimum = refusal.minimum.map(|minimum| minimum.to_string());
}

fn kind(error: &ProgramError) -> ReasonKind {
    use ProgramError as E;
    match error {
        E::NoTarget { .. } => ReasonKind::NoTarget,
        E::NotLoadable { .. } => ReasonKind::NotCovered,
        E::StructOps { .. }
        | E::Btf(BtfError::UnknownBtfTypeName { .. } | BtfError::UnknownModule { .. }) => {
            ReasonKind::TargetMissing
        }
        E::Btf(BtfError::AmbiguousName { .. }) => ReasonKind::TargetAmbiguous,
        E::TargetRefused { .. } | E::TargetProgram { .. } => ReasonKind::TargetRefused,
        E::UnresolvedCoreRelocation { .. } => ReasonKind::UnresolvedCoreRelocation,
        E::UnknownHelper {
            helper, running, ..
        } if helper.for_fexit && helper.minimum > *running => ReasonKind::TooNew,
        E::TooNew { .. } | E::Unsupported(_) | E::Map(MapError::Unsupported(_)) => {
            ReasonKind::TooNew
        }
        E::Permission { .. } | E::LockedDown { .. } => ReasonKind::Permission,
        E::LoadError { .. } | E::UnknownHelper { .. } => ReasonKind::Verifier,
        E::Relocation { .. } => ReasonKind::Relocation,
        E::Map(_) => ReasonKind::Map,
        E::AttachError { .. } => ReasonKind::Attach,
        _ => ReasonKind::Other,
    }
}
