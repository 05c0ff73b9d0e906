//! A small Debian archive, signed with a key of its own, and a matrix that names it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use harness::kernels::{Kernels, Options, Patience};
use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, DetachedSignature, KeyType, SecretKeyParamsBuilder,
    SignedPublicKey, SignedSecretKey, SubkeyParamsBuilder,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::types::Password;
use rand::thread_rng;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::server::{Reply, Server};

pub(crate) const SUITE: &str = "test-backports";
pub(crate) const IN_RELEASE: &str = "/debian/dists/test-backports/InRelease";
pub(crate) const PACKAGES: &str = "/debian/dists/test-backports/main/binary-amd64/Packages.xz";

/// A key like those of Debian: the primary one certifies, a subkey signs.
pub(crate) fn new_key() -> SignedSecretKey {
    let mut signing = SubkeyParamsBuilder::default();
    signing.key_type(KeyType::Ed25519Legacy).can_sign(true);
    let mut params = SecretKeyParamsBuilder::default();
    params
        .key_type(KeyType::Ed25519Legacy)
        .can_certify(true)
        .can_sign(false)
        .primary_user_id("Test Archive <test@example.com>".into())
        .subkeys(vec![signing.build().unwrap()]);
    params.build().unwrap().generate(thread_rng()).unwrap()
}

pub(crate) fn armored(key: &SignedSecretKey) -> String {
    SignedPublicKey::from(key.clone())
        .to_armored_string(ArmorOptions::default())
        .unwrap()
}

pub(crate) fn sign_inline(key: &SignedSecretKey, text: &str) -> Vec<u8> {
    let subkey = &key.secret_subkeys[0].key;
    let message =
        CleartextSignedMessage::sign(thread_rng(), text, subkey, &Password::empty()).unwrap();
    message.to_armored_bytes(ArmorOptions::default()).unwrap()
}

pub(crate) fn sign_detached(key: &SignedSecretKey, data: &[u8]) -> Vec<u8> {
    let subkey = &key.secret_subkeys[0].key;
    DetachedSignature::sign_binary_data(
        thread_rng(),
        subkey,
        &Password::empty(),
        HashAlgorithm::Sha256,
        data,
    )
    .unwrap()
    .to_armored_bytes(ArmorOptions::default())
    .unwrap()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

pub(crate) fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    std::io::Read::read_to_end(&mut liblzma::read::XzEncoder::new(bytes, 1), &mut out).unwrap();
    out
}

/// The setup header of a bzImage, with enough behind it to be worth a checksum.
pub(crate) fn image(release: &str) -> Vec<u8> {
    let mut image = vec![0; 0x400];
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x20e..0x210].copy_from_slice(&0x100u16.to_le_bytes());
    image[0x300..0x300 + release.len()].copy_from_slice(release.as_bytes());
    let rest = format!(" (builder@host) #1 SMP {release}");
    image[0x300 + release.len()..][..rest.len()].copy_from_slice(rest.as_bytes());
    image.extend(release.bytes().cycle().take(200_000));
    image
}

/// A Debian package of these files.
pub(crate) fn deb(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, *content).unwrap();
    }
    let data = xz(&tar.into_inner().unwrap());
    let mut ar = ar::Builder::new(Vec::new());
    for (name, content) in [
        ("debian-binary", &b"2.0\n"[..]),
        ("control.tar.xz", &xz(b"")[..]),
        ("data.tar.xz", &data[..]),
    ] {
        ar.append(&ar::Header::new(name.into(), content.len() as u64), content)
            .unwrap();
    }
    ar.into_inner().unwrap()
}

pub(crate) struct Archive {
    pub(crate) server: Server,
    pub(crate) key: SignedSecretKey,
    /// Holds `kernels.toml`, its lock, `keys/` and `cache/`.
    pub(crate) dir: TempDir,
    packages: String,
    valid_until: String,
}

impl Archive {
    /// An archive with one kernel, 6.1.5.
    pub(crate) fn new() -> Self {
        let mut archive = Self::empty();
        archive.add("6.1.5");
        archive
    }

    pub(crate) fn empty() -> Self {
        let archive = Self {
            server: Server::start(),
            key: new_key(),
            dir: tempfile::tempdir().unwrap(),
            packages: String::new(),
            valid_until: "Fri, 01 Jan 2100 00:00:00 UTC".to_owned(),
        };
        fs::create_dir(archive.dir.path().join("keys")).unwrap();
        fs::write(
            archive.dir.path().join("keys/test.asc"),
            armored(&archive.key),
        )
        .unwrap();
        archive.matrix(&[&archive.mirror()]);
        archive
    }

    pub(crate) fn mirror(&self) -> String {
        format!("{}/debian", self.server.url)
    }

    pub(crate) fn matrix(&self, mirrors: &[&str]) {
        let text = format!(
            "[source.test]\nkind = 'debian'\nmirrors = {mirrors:?}\nsuite = '{SUITE}'\nkeyring = 'test'\n\
             snapshot = {{ base = '{}/snap', archive = 'debian', package = 'linux-signed' }}\n\
             [packages.one]\nrequired = ['linux-image-{{abi}}-cloud-amd64']\n\
             [packages.split]\nrequired = ['linux-binary-{{abi}}-cloud-amd64']\n\
             optional = ['linux-modules-{{abi}}-cloud-amd64']\n\
             [[series]]\nnames = ['6.1']\nsource = 'test'\npackages = 'one'\n\
             [[series]]\nnames = ['7.3']\nsource = 'test'\npackages = 'split'\n",
            self.server.url
        );
        fs::write(self.path("kernels.toml"), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn deb_path(version: &str) -> String {
        format!("/debian/pool/main/l/linux/linux-image-{version}-cloud-amd64_{version}-1_amd64.deb")
    }

    /// Adds a kernel that is one package, and publishes the index.
    pub(crate) fn add(&mut self, version: &str) {
        let release = format!("{version}-cloud-amd64");
        let module = format!("./lib/modules/{release}/kernel/net/veth.ko");
        let builtin = format!("./lib/modules/{release}/modules.builtin");
        let deb = deb(&[
            (&format!("./boot/vmlinuz-{release}"), &image(&release)),
            (&format!("./boot/config-{release}"), b"CONFIG_BPF=y\n"),
            (&module, &[7; 1000]),
            (&builtin, b"kernel/drivers/virtio/virtio.ko\n"),
            ("./usr/share/doc/copyright", b"no"),
        ]);
        self.add_package(&format!("linux-image-{version}-cloud-amd64"), version, deb);
    }

    pub(crate) fn add_package(&mut self, name: &str, version: &str, deb: Vec<u8>) {
        let path = format!("pool/main/l/linux/{name}_{version}-1_amd64.deb");
        self.packages += &format!(
            "Package: {name}\nVersion: {version}-1\nFilename: {path}\nSize: {}\nSHA256: {}\n\n",
            deb.len(),
            sha256(&deb)
        );
        self.server
            .put(&format!("/debian/{path}"), Reply::Bytes(deb));
        self.publish();
    }

    pub(crate) fn forget_all(&mut self) {
        self.packages.clear();
        self.publish();
    }

    pub(crate) fn valid_until(&mut self, date: &str) {
        self.valid_until = date.to_owned();
        self.publish();
    }

    pub(crate) fn publish(&self) {
        let packages = xz(self.packages.as_bytes());
        let release = self.release(&packages, SUITE);
        self.server.put(PACKAGES, Reply::Bytes(packages));
        self.server
            .put(IN_RELEASE, Reply::Bytes(sign_inline(&self.key, &release)));
    }

    pub(crate) fn release(&self, packages: &[u8], suite: &str) -> String {
        format!(
            "Origin: Test\nSuite: {suite}\nCodename: {suite}\nDate: Sun, 22 Nov 2026 02:09:05 UTC\n\
             Valid-Until: {}\nSHA256:\n {} {} main/binary-amd64/Packages.xz\n",
            self.valid_until,
            sha256(packages),
            packages.len()
        )
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            cache_dir: Some(self.path("cache")),
            matrix: Some(self.path("kernels.toml")),
            patience: Patience {
                stall: Duration::from_secs(2),
                total: Duration::from_secs(20),
                attempts: 2,
                pause: Duration::from_millis(1),
                retry_after: Duration::from_secs(2),
            },
            ..Options::default()
        }
    }

    pub(crate) fn open(&self) -> Kernels {
        Kernels::open(self.options()).unwrap()
    }

    pub(crate) fn offline(&self) -> Kernels {
        Kernels::open(Options {
            offline: true,
            ..self.options()
        })
        .unwrap()
    }
}
