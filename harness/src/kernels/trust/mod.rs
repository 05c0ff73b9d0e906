//! Who vouches for a kernel: OpenPGP keys and signatures.

pub(crate) mod keys;
pub(crate) mod openpgp;
