//! Which keys and hashes are strong enough. docs/trust.md has the same list.

use anyhow::{Context, Result, bail};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::Signature;
use pgp::ser::Serialize;
use pgp::types::{EcdsaPublicParams, EddsaLegacyPublicParams, KeyDetails, PublicParams};

/// Bits of the shortest RSA key that is accepted, as NIST SP 800-131A and GnuPG have it.
const MIN_RSA_BITS: u16 = 2048;

/// An error if the algorithm or the size of the key does not keep others from signing in its place.
pub(super) fn check_key(key: &impl KeyDetails) -> Result<()> {
    let weakness = match key.public_params() {
        PublicParams::RSA(rsa) => {
            // It begins with the modulus, and that with its number of bits.
            let modulus = rsa.to_bytes()?;
            let bits = modulus
                .first_chunk()
                .context("an RSA key without a modulus")?;
            match u16::from_be_bytes(*bits) {
                MIN_RSA_BITS.. => return Ok(()),
                bits => format!("RSA of {bits} bits, fewer than {MIN_RSA_BITS}"),
            }
        }
        PublicParams::ECDSA(EcdsaPublicParams::Unsupported { curve, .. })
        | PublicParams::EdDSALegacy(EddsaLegacyPublicParams::Unsupported { curve, .. }) => {
            format!("on the unknown curve {curve}")
        }
        PublicParams::ECDSA(_)
        | PublicParams::EdDSALegacy(_)
        | PublicParams::Ed25519(_)
        | PublicParams::Ed448(_) => return Ok(()),
        _ => format!("{:?}", key.algorithm()),
    };
    bail!(
        "key {} is {weakness}: what it signed is not accepted",
        key.fingerprint()
    )
}

/// An error for a hash of which collisions can be made.
pub(super) fn check_hash(signature: &Signature) -> Result<()> {
    use HashAlgorithm::{Sha3_256, Sha3_512, Sha256, Sha384, Sha512};
    match signature.hash_alg() {
        Some(Sha256 | Sha384 | Sha512 | Sha3_256 | Sha3_512) => Ok(()),
        other => bail!("its signature uses a weak or unknown hash ({other:?})"),
    }
}
