//! Signatures of archives.

use anyhow::{Context, Result, anyhow, bail};
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

    /// Takes one key out of what a keyserver answered. Anybody can add to that, so whatever its owner has not signed
    /// is left out.
    pub(crate) fn with_fingerprint(fingerprint: &str, armored: &str) -> Result<Self> {
        let (keys, _) = SignedPublicKey::from_armor_many(armored.as_bytes())
            .context("this is not an OpenPGP key")?;
        for mut key in keys.filter_map(Result::ok) {
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
mod tests {
    use super::*;
    use pgp::composed::{ArmorOptions, KeyType, SecretKeyParamsBuilder, SignedSecretKey};
    use pgp::packet::SignatureConfig;
    use pgp::types::Password;
    use rand::thread_rng;

    const DEBIAN: &str = include_str!("../../../../kernels/keys/debian.asc");
    const DEBIAN_SECURITY: &str = include_str!("../../../../kernels/keys/debian-security.asc");
    /// As published on 2026-09-12: signed by the keys of bullseye and of bookworm.
    const IN_RELEASE: &str = include_str!("../../../tests/data/bullseye-security.InRelease");

    fn new_key() -> SignedSecretKey {
        let mut params = SecretKeyParamsBuilder::default();
        params
            .key_type(KeyType::Ed25519Legacy)
            .can_sign(true)
            .primary_user_id("Test".into());
        params.build().unwrap().generate(thread_rng()).unwrap()
    }

    fn keyring(keys: &[&SignedSecretKey]) -> Keyring {
        let keys = keys
            .iter()
            .map(|&key| SignedPublicKey::from(key.clone()))
            .collect();
        Keyring {
            name: "test".to_owned(),
            keys,
        }
    }

    fn sign(text: &str, keys: &[&SignedSecretKey]) -> String {
        let message = CleartextSignedMessage::new_many(text, |text| {
            keys.iter()
                .map(|&key| {
                    let mut config = SignatureConfig::from_key(
                        thread_rng(),
                        &key.primary_key,
                        SignatureType::Text,
                    )?;
                    config.hashed_subpackets = vec![pgp::packet::Subpacket::regular(
                        pgp::packet::SubpacketData::IssuerFingerprint(key.fingerprint()),
                    )?];
                    config.sign(&key.primary_key, &Password::empty(), text.as_bytes())
                })
                .collect()
        });
        message
            .unwrap()
            .to_armored_string(ArmorOptions::default())
            .unwrap()
    }

    #[test]
    fn accepts_a_real_debian_signature() {
        let keyring = Keyring::parse("debian-security", DEBIAN_SECURITY).unwrap();
        let signed = keyring.verify_inline(IN_RELEASE).unwrap();
        assert_eq!(
            signed.fingerprint.to_uppercase(),
            "ED541312A33F1128F10B1C6C54404762BBB6E853"
        );
        assert!(
            signed.text.contains("\nCodename: bullseye-security\r\n"),
            "{}",
            &signed.text[..200]
        );
        assert!(!signed.text.contains("-----"));

        let changed = IN_RELEASE.replace("2026", "2025");
        let error = keyring.verify_inline(&changed).unwrap_err().to_string();
        assert!(error.starts_with("BAD signature of key"), "{error}");

        let other = Keyring::parse("debian", DEBIAN).unwrap();
        let error = other.verify_inline(IN_RELEASE).unwrap_err().to_string();
        assert_eq!(
            error,
            "none of the keys in debian has signed it, but 54404762bbb6e853, bde6d2b9216ec7a8"
        );
    }

    #[test]
    fn one_valid_signature_is_enough() {
        let (ours, theirs) = (new_key(), new_key());
        let keyring = keyring(&[&ours]);
        for signers in [vec![&ours], vec![&theirs, &ours], vec![&ours, &theirs]] {
            let signed = keyring
                .verify_inline(&sign("text\n- dash\n", &signers))
                .unwrap();
            assert_eq!(signed.text, "text\r\n- dash\r\n");
            assert_eq!(signed.fingerprint, ours.fingerprint().to_string());
        }
        assert!(keyring.verify_inline(&sign("text", &[&theirs])).is_err());
        assert!(keyring.verify_inline(&sign("text", &[])).is_err());
    }

    #[test]
    fn accepts_a_signature_by_the_primary_key() {
        let ours = new_key();
        let message = sign("text", &[&ours]);
        let changed = message.replace("\ntext\n", "\ntest\n");
        assert_ne!(message, changed);
        let error = keyring(&[&ours])
            .verify_inline(&changed)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("BAD signature of key"), "{error}");
    }

    #[test]
    fn weak_hash_is_refused() {
        // A good signature of a trusted key, but over a SHA-1.
        let keyring =
            Keyring::parse("weak", include_str!("../../../tests/data/weak-key.asc")).unwrap();
        let message = include_str!("../../../tests/data/weak-hash.asc");
        let error = keyring.verify_inline(message).unwrap_err().to_string();
        assert!(error.contains("weak") && error.contains("Sha1"), "{error}");
    }

    /// What GnuPG made, as tests/data/gpg/README.md says.
    macro_rules! gpg {
        ($name:literal) => {
            include_str!(concat!("../../../tests/data/gpg/", $name, ".asc"))
        };
    }

    /// The same from a file of the repository and from a keyserver.
    fn both_ways(armored: &str) -> [Keyring; 2] {
        let parsed = Keyring::parse("test", armored).unwrap();
        let fingerprint = parsed.keys[0].fingerprint().to_string();
        let fetched = Keyring::with_fingerprint(&fingerprint, armored).unwrap();
        [parsed, fetched]
    }

    #[test]
    fn revoked_key_and_its_subkeys_are_refused() {
        for keyring in both_ways(gpg!("good-key")) {
            for message in [gpg!("by-primary"), gpg!("by-subkey")] {
                assert_eq!(keyring.verify_inline(message).unwrap().text, "a text");
            }
        }
        for keyring in both_ways(gpg!("revoked-key")) {
            for message in [gpg!("by-primary"), gpg!("by-subkey")] {
                let error = keyring.verify_inline(message).unwrap_err().to_string();
                assert!(
                    error.starts_with("key ") && error.contains("is revoked"),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn revoked_subkey_is_refused_and_its_primary_key_is_not() {
        for keyring in both_ways(gpg!("revoked-subkey")) {
            let error = keyring
                .verify_inline(gpg!("by-subkey"))
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with("subkey ") && error.contains("is revoked"),
                "{error}"
            );
            keyring.verify_inline(gpg!("by-primary")).unwrap();
        }
    }

    #[test]
    fn revocation_of_another_key_is_ignored() {
        // Anybody can upload one to a keyserver, under a key that is not theirs.
        let mut keyring = Keyring::parse("test", gpg!("good-key")).unwrap();
        let revoked = Keyring::parse("test", gpg!("revoked-key")).unwrap();
        let stranger = Keyring::parse("test", gpg!("expired-key")).unwrap();
        let mut of_stranger = revoked.keys[0].clone();
        of_stranger.primary_key = stranger.keys[0].primary_key.clone();
        assert!(refuse_revoked(&of_stranger, None).is_ok());
        keyring.keys[0].details.revocation_signatures =
            revoked.keys[0].details.revocation_signatures.clone();
        assert!(refuse_revoked(&keyring.keys[0], None).is_err());
    }

    #[test]
    fn expired_key_is_accepted() {
        for keyring in both_ways(gpg!("expired-key")) {
            keyring.verify_inline(gpg!("by-expired")).unwrap();
        }
    }

    #[test]
    fn weak_key_is_refused_with_its_subkeys() {
        for (key, message, reason) in [
            (gpg!("rsa1024-key"), gpg!("by-rsa1024"), "RSA of 1024 bits"),
            (
                gpg!("rsa1024-key"),
                gpg!("by-subkey-of-rsa1024"),
                "RSA of 1024 bits",
            ),
            (gpg!("dsa2048-key"), gpg!("by-dsa2048"), "DSA"),
        ] {
            for keyring in both_ways(key) {
                let error = keyring.verify_inline(message).unwrap_err().to_string();
                assert!(
                    error.contains(reason) && error.contains("not accepted"),
                    "{error}"
                );
            }
        }
        for keyring in both_ways(gpg!("rsa2048-key")) {
            keyring.verify_inline(gpg!("by-rsa2048")).unwrap();
        }
    }

    #[test]
    fn invalid_keyring_is_named() {
        let truncated = &DEBIAN[..DEBIAN.len() / 2];
        for text in ["", "no key", truncated] {
            let error = format!("{:#}", Keyring::parse("mine", text).unwrap_err());
            assert!(error.contains("mine"), "{error}");
        }
    }
}
