//! The sources of kernels.

pub(crate) mod debian;
pub(crate) mod kernel_org;
pub mod local;
pub(crate) mod packages;
pub(crate) mod ubuntu_mainline;
pub(crate) mod url;
