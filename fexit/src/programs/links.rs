//! Links, with aya's traits and types for them.

pub use super::fd_link::{FdLink, Link};
pub use super::fexit::{FExitLink, FExitLinkId};
pub use super::link::{LinkError, LinkId, PinnedLink, TracingLink};
