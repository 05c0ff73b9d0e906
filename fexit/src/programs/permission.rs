//! The error of a call that the process may not make.

use crate::capabilities;
use crate::error::ProgramError;
use crate::feature::Feature;

pub(super) fn permission(action: &'static str, by_id: bool) -> ProgramError {
    if !by_id && capabilities::only_administrators() {
        return Feature::Capabilities.unsupported().into();
    }
    ProgramError::Permission {
        action,
        missing: capabilities::missing(by_id),
    }
}
