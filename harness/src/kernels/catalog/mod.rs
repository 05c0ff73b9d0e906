//! The known kernels: `kernels/kernels.toml`, the lock, and the names that a user may give.

pub(crate) mod lock;
pub(crate) mod matrix;
pub(crate) mod request;
