//! Links: what owns an attachment, and the traits and types that aya has for them.

pub use super::fd_link::{FdLink, Link};
pub use super::fexit::{FExitLink, FExitLinkId};
pub use super::link::{LinkError, LinkId, PinnedLink, TracingLink};
