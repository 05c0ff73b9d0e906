//! Exit statuses, as those of `timeout` and shells.

pub(super) const TIMED_OUT: u8 = 124;
pub(super) const FAILED: u8 = 125;
pub(super) const CANNOT_RUN: u8 = 126;
pub(super) const NOT_FOUND: u8 = 127;
pub(super) const BY_SIGNAL: u8 = 128;
pub(super) const SIGINT: u8 = 2;
pub(super) const SIGPIPE: u8 = 13;
