//! Who vouches for a kernel: OpenPGP keys and signatures.

mod accepted;
pub(crate) mod keys;
pub(crate) mod openpgp;
