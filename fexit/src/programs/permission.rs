//! The error for a call without the required capabilities.

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
