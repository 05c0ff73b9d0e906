//! OpenPGP keys and signatures, which verify kernels.

mod accepted;
pub(crate) mod keys;
pub(crate) mod openpgp;
