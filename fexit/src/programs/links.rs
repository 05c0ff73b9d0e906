//! Links: those of fexit programs, and the traits and types that aya has for them.

pub use super::fd_link::{FdLink, Link};
pub use super::fexit_link::{FExitLink, FExitLinkId, LinkError, PinnedLink};
