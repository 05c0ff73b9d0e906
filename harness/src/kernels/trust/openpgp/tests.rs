use pgp::ser::Serialize as _;

use super::*;
use pgp::composed::{ArmorOptions, KeyType, SecretKeyParamsBuilder, SignedSecretKey};
use pgp::packet::SignatureConfig;
use pgp::types::Password;
use rand::thread_rng;

const DEBIAN: &str = include_str!("../../../../../kernels/keys/debian.asc");
const DEBIAN_SECURITY: &str = include_str!("../../../../../kernels/keys/debian-security.asc");
/// As published on 2026-09-12: signed by the keys of bullseye and of bookworm.
const IN_RELEASE: &str = include_str!("../../../../tests/data/bullseye-security.InRelease");

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
                let mut config =
                    SignatureConfig::from_key(thread_rng(), &key.primary_key, SignatureType::Text)?;
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
        Keyring::parse("weak", include_str!("../../../../tests/data/weak-key.asc")).unwrap();
    let message = include_str!("../../../../tests/data/weak-hash.asc");
    let error = keyring.verify_inline(message).unwrap_err().to_string();
    assert!(error.contains("weak") && error.contains("Sha1"), "{error}");
}

/// What GnuPG made, as tests/data/gpg/README.md says.
macro_rules! gpg {
    ($name:literal) => {
        include_str!(concat!("../../../../tests/data/gpg/", $name, ".asc"))
    };
}

/// The same from a file of the repository and from a keyserver.
fn both_ways(armored: &str) -> [Keyring; 2] {
    let parsed = Keyring::parse("test", armored).unwrap();
    let fingerprint = parsed.keys[0].fingerprint().to_string();
    let fetched = Keyring::with_fingerprint(&fingerprint, armored.as_bytes()).unwrap();
    [parsed, fetched]
}

#[test]
fn key_is_found_in_any_block_and_in_a_binary_file() {
    let (first, second) = (gpg!("revoked-key"), gpg!("good-key"));
    let wanted = Keyring::parse("test", second).unwrap().keys[0].fingerprint();
    let wanted = wanted.to_string();
    let binary: Vec<u8> = [first, second]
        .iter()
        .flat_map(|armored| Keyring::parse("test", armored).unwrap().keys)
        .flat_map(|key| key.to_bytes().unwrap())
        .collect();
    let blocks = format!("Two keys:\n{first}\n{second}");
    for file in [blocks.as_bytes(), &binary] {
        let keyring = Keyring::with_fingerprint(&wanted, file).unwrap();
        assert_eq!(keyring.keys[0].fingerprint().to_string(), wanted);
        let error = Keyring::with_fingerprint(&"0".repeat(40), file).unwrap_err();
        assert!(error.to_string().contains("there is no key 00"), "{error}");
    }
    let truncated = &blocks[..blocks.len() - second.len() / 2];
    for file in [
        "",
        "<html>",
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n?",
        truncated,
    ] {
        let error = Keyring::with_fingerprint(&wanted, file.as_bytes()).unwrap_err();
        assert!(
            error.to_string().contains("not an OpenPGP key"),
            "{file}: {error}"
        );
    }
    let both = Keyring::parse("test", &blocks).unwrap();
    assert_eq!(both.keys.len(), 2);
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
