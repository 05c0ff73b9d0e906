//! Signatures of archives.

use std::io::Read as _;

use anyhow::{Context, Result, anyhow, bail, ensure};
use memchr::memmem;
use pgp::armor::Dearmor;
use pgp::composed::{
    CleartextSignedMessage, Deserializable, DetachedSignature, SignedPublicKey, SignedPublicSubKey,
};
use pgp::packet::{Signature, SignatureType};
use pgp::types::{KeyDetails, VerifyingKey};

use super::accepted::{check_hash, check_key};

/// The keys whose signature we accept, all of them equally.
///
/// docs/trust.md lists what is accepted. An expired key is: old snapshots of an archive are signed by keys that were
/// valid then. A revoked one is not, whenever it signed: its owner says that somebody else may have it.
#[derive(Debug)]
pub(crate) struct Keyring {
    name: String,
    keys: Vec<SignedPublicKey>,
}

/// A text together with the key that signed it.
#[derive(Debug)]
pub(crate) struct Signed {
    /// What was signed, and nothing around it.
    pub(crate) text: String,
    /// The fingerprint of the key or subkey whose signature was found good.
    pub(crate) fingerprint: String,
}

impl Keyring {
    /// Reads keys in ASCII armour.
    pub(crate) fn parse(name: &str, armored: &str) -> Result<Self> {
        let context = || format!("the keyring {name} cannot be read");
        let keys = read_keys(armored.as_bytes()).with_context(context)?;
        let keys = keys
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
            .with_context(context)?;
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

    /// Takes one key out of the file of a vendor, or out of what a keyserver answered. Anybody can add to that, so whatever
    /// its owner has not signed is left out.
    pub(crate) fn with_fingerprint(fingerprint: &str, keys: &[u8]) -> Result<Self> {
        let context = "this is not an OpenPGP key";
        let keys = read_keys(keys).context(context)?;
        let keys: Vec<_> = keys.into_iter().filter_map(Result::ok).collect();
        ensure!(!keys.is_empty(), context);
        for mut key in keys {
            if !key
                .fingerprint()
                .to_string()
                .eq_ignore_ascii_case(fingerprint)
            {
                continue;
            }
            let primary = key.primary_key.clone();
            key.public_subkeys
                .retain(|subkey| subkey.verify_bindings(&primary).is_ok());
            return Ok(Self {
                name: fingerprint.to_owned(),
                keys: vec![key],
            });
        }
        bail!("there is no key {fingerprint} in it")
    }

    /// The name of the keyring, or the fingerprints of its keys.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The keys of both.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.name = format!("{}, {}", self.name, other.name);
        self.keys.extend(other.keys);
        self
    }

    /// Verifies a text that is signed inline (`InRelease`).
    pub(crate) fn verify_inline(&self, message: &str) -> Result<Signed> {
        let (message, _) = CleartextSignedMessage::from_string(message)
            .context("this is not text signed with OpenPGP")?;
        let text = message.signed_text();
        let fingerprint = self.verify(message.signatures(), text.as_bytes())?;
        Ok(Signed { text, fingerprint })
    }

    /// Verifies data whose signature is apart from it (`Release.gpg`). Returns the key's fingerprint.
    pub(crate) fn verify_detached(&self, data: &[u8], armored: &str) -> Result<String> {
        let context = "this is not an OpenPGP signature";
        let (signatures, _) =
            DetachedSignature::from_armor_many(armored.as_bytes()).context(context)?;
        let signatures: Vec<_> = signatures
            .map(|s| s.map(|s| s.signature))
            .collect::<Result<_, _>>()
            .context(context)?;
        self.verify(&signatures, data)
    }

    /// Verifies data by signatures that are not in ASCII armour. Those that cannot be read count as absent.
    pub(crate) fn verify_binary<S: AsRef<[u8]>>(
        &self,
        data: &[u8],
        signatures: &[S],
    ) -> Result<String> {
        let read = |bytes: &S| DetachedSignature::from_bytes(bytes.as_ref()).ok();
        let signatures: Vec<_> = signatures
            .iter()
            .filter_map(read)
            .map(|detached| detached.signature)
            .collect();
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
            if is_by(signature, key) {
                refuse_revoked(key, None)?;
                check_key(&key.primary_key)?;
                return check(signature, key, data).map(Some);
            }
            let can_sign = |subkey: &&SignedPublicSubKey| {
                let mut bindings = subkey.signatures.iter();
                bindings.any(|binding| binding.key_flags().sign())
            };
            let mut subkeys = key.public_subkeys.iter().filter(can_sign);
            if let Some(subkey) = subkeys.find(|subkey| is_by(signature, *subkey)) {
                refuse_revoked(key, Some(subkey))?;
                // Who can forge signatures of the primary key can add a subkey.
                check_key(&key.primary_key)?;
                check_key(&subkey.key)?;
                return check(signature, subkey, data).map(Some);
            }
        }
        Ok(None)
    }
}

/// The keys in a file: binary, or in one or more blocks of ASCII armour.
fn read_keys(file: &[u8]) -> pgp::errors::Result<Vec<pgp::errors::Result<SignedPublicKey>>> {
    const BEGIN: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----";
    let mut starts: Vec<_> = memmem::find_iter(file, BEGIN).collect();
    starts.push(file.len());
    let mut binary = Vec::new();
    for block in starts.windows(2) {
        Dearmor::new(&file[block[0]..block[1]]).read_to_end(&mut binary)?;
    }
    let packets = match starts.len() {
        1 => file,
        _ => &binary,
    };
    Ok(SignedPublicKey::from_bytes_many(packets)?.collect())
}

/// An error if the key has revoked itself, or the subkey that is asked about. What others added does not count.
fn refuse_revoked(key: &SignedPublicKey, subkey: Option<&SignedPublicSubKey>) -> Result<()> {
    let mut revocations = key.details.revocation_signatures.iter();
    if revocations.any(|revocation| revocation.verify_key(&key.primary_key).is_ok()) {
        bail!(
            "key {} is revoked by its owner: what it signed is not accepted",
            key.fingerprint()
        );
    }
    let Some(subkey) = subkey else { return Ok(()) };
    let mut revocations = subkey
        .signatures
        .iter()
        .filter(|signature| signature.typ() == Some(SignatureType::SubkeyRevocation));
    if revocations.any(|r| {
        r.verify_subkey_binding(&key.primary_key, &subkey.key)
            .is_ok()
    }) {
        bail!(
            "subkey {} of key {} is revoked by its owner: what it signed is not accepted",
            subkey.fingerprint(),
            key.fingerprint()
        );
    }
    Ok(())
}

/// The fingerprint of the key if the signature is good.
fn check(signature: &Signature, key: &impl VerifyingKey, data: &[u8]) -> Result<String> {
    let fingerprint = key.fingerprint().to_string();
    if !matches!(
        signature.typ(),
        Some(SignatureType::Text | SignatureType::Binary)
    ) {
        bail!("the signature of key {fingerprint} is not one of a document");
    }
    check_hash(signature)?;
    match signature.verify(key, data) {
        Ok(()) => Ok(fingerprint),
        Err(_) => {
            bail!("BAD signature of key {fingerprint}: the text was changed after it was signed")
        }
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

#[cfg(test)]
mod tests;
