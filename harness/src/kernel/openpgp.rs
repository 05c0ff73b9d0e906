//! Signatures of archives.

use anyhow::{Context, Result, anyhow, bail};
use pgp::composed::{CleartextSignedMessage, Deserializable, DetachedSignature, SignedPublicKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::Signature;
use pgp::types::KeyDetails;

/// The keys whose signature we accept, all of them equally.
///
/// An expired key is still accepted: old snapshots of an archive are signed by keys that were valid then, and a
/// key is trusted because it is in the keyring, not because of its date. Who distrusts a key removes it.
#[derive(Debug)]
pub struct Keyring {
    name: String,
    keys: Vec<SignedPublicKey>,
}

/// A text together with the key that vouches for it.
#[derive(Debug)]
pub struct Signed {
    /// What was signed, and nothing around it.
    pub text: String,
    /// The fingerprint of the key or subkey whose signature was found good.
    pub fingerprint: String,
}

impl Keyring {
    /// Reads keys in ASCII armour.
    pub fn parse(name: &str, armored: &str) -> Result<Self> {
        let context = || format!("the keyring {name} cannot be read");
        let (keys, _) =
            SignedPublicKey::from_armor_many(armored.as_bytes()).with_context(context)?;
        let keys = keys.collect::<Result<Vec<_>, _>>().with_context(context)?;
        if keys.is_empty() {
            bail!("the keyring {name} holds no key");
        }
        for key in &keys {
            key.verify_bindings()
                .with_context(|| format!("the keyring {name} holds a damaged key"))?;
        }
        Ok(Self {
            name: name.to_owned(),
            keys,
        })
    }

    /// Verifies a text that is signed inline (`InRelease`).
    pub fn verify_inline(&self, message: &str) -> Result<Signed> {
        let (message, _) = CleartextSignedMessage::from_string(message)
            .context("this is no text signed with OpenPGP")?;
        let text = message.signed_text();
        let fingerprint = self.verify(message.signatures(), text.as_bytes())?;
        Ok(Signed { text, fingerprint })
    }

    /// Verifies data whose signature is apart from it (`Release.gpg`). Returns the key's fingerprint.
    pub fn verify_detached(&self, data: &[u8], armored: &str) -> Result<String> {
        let context = "this is no OpenPGP signature";
        let (signatures, _) =
            DetachedSignature::from_armor_many(armored.as_bytes()).context(context)?;
        let signatures: Vec<_> = signatures
            .map(|s| s.map(|s| s.signature))
            .collect::<Result<_, _>>()
            .context(context)?;
        self.verify(&signatures, data)
    }

    /// One good signature suffices; those of keys that we do not have say nothing.
    fn verify(&self, signatures: &[Signature], data: &[u8]) -> Result<String> {
        let mut bad = None;
        for signature in signatures {
            match self.verify_one(signature, data) {
                Ok(Some(fingerprint)) => return Ok(fingerprint),
                Ok(None) => {}
                Err(error) => bad = Some(error),
            }
        }
        let keyring = &self.name;
        match bad {
            Some(error) => Err(error),
            None if signatures.is_empty() => bail!("there is no signature in it"),
            None => Err(anyhow!(
                "none of the keys in {keyring} has signed it, but {}",
                issuers(signatures)
            )),
        }
    }

    /// The fingerprint if the signature is good, `None` if it is of an unknown key.
    fn verify_one(&self, signature: &Signature, data: &[u8]) -> Result<Option<String>> {
        for key in &self.keys {
            let subkeys = key.public_subkeys.iter().filter(|subkey| {
                subkey
                    .signatures
                    .iter()
                    .any(|binding| binding.key_flags().sign())
            });
            if is_by(signature, key) {
                check_hash(signature)?;
                signature
                    .verify(key, data)
                    .map_err(|_| bad_signature(key))?;
                return Ok(Some(key.fingerprint().to_string()));
            }
            for subkey in subkeys {
                if is_by(signature, subkey) {
                    check_hash(signature)?;
                    signature
                        .verify(subkey, data)
                        .map_err(|_| bad_signature(subkey))?;
                    return Ok(Some(subkey.fingerprint().to_string()));
                }
            }
        }
        Ok(None)
    }
}

fn is_by(signature: &Signature, key: &impl KeyDetails) -> bool {
    let fingerprints = signature.issuer_fingerprint();
    if fingerprints.is_empty() {
        signature.issuer_key_id().contains(&&key.legacy_key_id())
    } else {
        fingerprints.contains(&&key.fingerprint())
    }
}

/// Collisions can be made for older ones.
fn check_hash(signature: &Signature) -> Result<()> {
    use HashAlgorithm::{Sha3_256, Sha3_512, Sha256, Sha384, Sha512};
    match signature.hash_alg() {
        Some(Sha256 | Sha384 | Sha512 | Sha3_256 | Sha3_512) => Ok(()),
        other => bail!("its signature uses a weak or unknown hash ({other:?})"),
    }
}

fn bad_signature(key: &impl KeyDetails) -> anyhow::Error {
    anyhow!(
        "BAD signature of key {}: the text was changed after it was signed",
        key.fingerprint()
    )
}

fn issuers(signatures: &[Signature]) -> String {
    let names: Vec<_> = signatures
        .iter()
        .flat_map(|s| s.issuer_key_id().into_iter().map(ToString::to_string))
        .collect();
    if names.is_empty() {
        "a key that it does not name".to_owned()
    } else {
        names.join(", ")
    }
}
