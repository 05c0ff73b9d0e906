//! The sources of kernels.

pub(crate) mod debian;
pub(crate) mod index;
pub(crate) mod kernel_org;
pub(crate) mod lists;
pub mod local;
pub(crate) mod oci;
pub(crate) mod packages;
pub(crate) mod rpm;
pub(crate) mod search;
pub(crate) mod ubuntu_mainline;
pub(crate) mod url;
