//! RPM repositories: signed or unsigned metadata, and packages with signatures of their own (`tests/data/rpm`).

use std::fs;
use std::io::Write as _;

use harness::support::error::exit_code;
use harness::{
    kernels::{Kind, operations},
    support::progress::Silent,
};
use pgp::types::KeyDetails;

use super::archive::{Archive, armored, new_key, sha256, sign_detached, xz};
use super::server::Reply;
use super::{assert_contains, get, infra};

const KEY: &[u8] = include_bytes!("../../data/rpm/key.asc");
const SIGNED: &[u8] = include_bytes!("../../data/rpm/signed.rpm");
const UNSIGNED: &[u8] = include_bytes!("../../data/rpm/unsigned.rpm");
const OTHER: &[u8] = include_bytes!("../../data/rpm/other.rpm");

const REPOMD: &str = "/el/9/os/repodata/repomd.xml";
const PRIMARY: &str = "/el/9/os/repodata/primary.xml";
const PACKAGE: &str = "/el/9/os/Packages/kernel-core.rpm";

/// A repository with one package, whose metadata is signed.
fn repository(package: &[u8]) -> Archive {
    let archive = Archive::empty();
    matrix(&archive, "repositories = ['9/os']", true);
    publish(&archive, package, "6.1.5", xz);
    archive
}

/// The matrix, with the key that signs packages and that of the metadata.
fn matrix(archive: &Archive, repositories: &str, signed_metadata: bool) {
    let ours = armored(&archive.key);
    // AlmaLinux 8 publishes two keys, each in a block of its own.
    let packages = [ours.as_bytes(), KEY].concat();
    for (name, key) in [("packages", packages), ("metadata", ours.into_bytes())] {
        archive
            .server
            .put(&format!("/{name}.asc"), Reply::Bytes(key));
    }
    let url = &archive.server.url;
    let metadata = archive.key.fingerprint().to_string();
    let text = format!(
        "[source.el]\nkind = 'rpm'\nmirrors = ['{url}/el']\n{repositories}\nsigned_metadata = {signed_metadata}\n\
         keys = [{{ fingerprint = '{FINGERPRINT}', url = '{url}/packages.asc' }},\n\
         {{ fingerprint = '{metadata}', url = '{url}/metadata.asc' }}]\n\
         [packages.el]\nrequired = ['kernel-core-{{abi}}']\n\
         [[series]]\nnames = ['el9']\nsource = 'el'\npackages = 'el'\n"
    );
    fs::write(archive.path("kernels.toml"), text).unwrap();
}

/// Publishes metadata that lists the signed package at this place.
fn publish_at(archive: &Archive, href: &str) {
    publish_as(archive, SIGNED, ("6.1.5", href), xz);
}

/// Publishes metadata that lists the package as this version.
fn publish(archive: &Archive, package: &[u8], version: &str, compress: fn(&[u8]) -> Vec<u8>) {
    publish_as(
        archive,
        package,
        (version, "Packages/kernel-core.rpm"),
        compress,
    );
}

fn publish_as(
    archive: &Archive,
    package: &[u8],
    (version, href): (&str, &str),
    compress: fn(&[u8]) -> Vec<u8>,
) {
    let primary = format!(
        "<metadata><package type='rpm'><name>kernel-core</name><arch>x86_64</arch>\
         <version epoch='0' ver='{version}' rel='1.el9'/><checksum type='sha256' pkgid='YES'>{}</checksum>\
         <size package='{}'/><location href='{href}'/></package></metadata>",
        sha256(package),
        package.len()
    );
    let primary = compress(primary.as_bytes());
    let repomd = format!(
        "<repomd><data type='primary'><checksum type='sha256'>{}</checksum>\
         <location href='repodata/primary.xml'/><size>{}</size></data></repomd>",
        sha256(&primary),
        primary.len()
    );
    let signature = sign_detached(&archive.key, repomd.as_bytes());
    for (path, bytes) in [
        (REPOMD.to_owned(), repomd.into_bytes()),
        (format!("{REPOMD}.asc"), signature),
        (PRIMARY.to_owned(), primary),
        (PACKAGE.to_owned(), package.to_vec()),
    ] {
        archive.server.put(&path, Reply::Bytes(bytes));
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zst(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

#[test]
fn kernel_of_a_signed_package() {
    for compress in [gzip, xz, zst, |bytes: &[u8]| bytes.to_vec()] {
        let archive = repository(SIGNED);
        publish(&archive, SIGNED, "6.1.5", compress);
        let kernel = get(&archive.open(), "el9").unwrap();
        assert_eq!(kernel.release, "6.1.5-1.el9.x86_64");
        assert_eq!(kernel.source.package_version, "6.1.5-1.el9");
        assert_eq!(kernel.source.kind, Kind::Rpm);
        assert!(kernel.config.is_some());
        assert!(kernel.modules.unwrap().join("kernel/net/veth.ko").exists());
        let fingerprint = archive.key.secret_subkeys[0].key.fingerprint();
        assert_contains(
            &kernel.source.verified_by,
            &[
                &fingerprint.to_string().to_uppercase(),
                "repomd.xml of 9/os",
            ],
        );
        get(&archive.offline(), "el9").unwrap();
        let exact = get(&archive.offline(), "el9-6.1.5-1.el9").unwrap();
        assert_eq!(exact.release, kernel.release);
    }
    let archive = repository(SIGNED);
    let error = archive.open().resolve("el9-6.1.4", &Silent).unwrap_err();
    assert_eq!(exit_code(&error), 2, "{error:#}");
    assert_contains(&error.to_string(), &["no kernel 6.1.4", "it has 6.1.5"]);
}

#[test]
fn changed_metadata_is_refused() {
    let flip = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        Reply::Bytes(text.replace("<size>", "<size >").into())
    };
    let archive = repository(SIGNED);
    archive.server.change(REPOMD, flip);
    assert_contains(&infra(&archive.open(), "el9"), &["BAD signature", REPOMD]);

    let archive = repository(SIGNED);
    let signature = format!("{REPOMD}.asc");
    archive.server.put(&signature, Reply::Status(404));
    assert_contains(
        &infra(&archive.open(), "el9"),
        &["repomd.xml.asc", "not found"],
    );

    let archive = repository(SIGNED);
    let repomd = archive.server.bytes(REPOMD);
    let by_other = sign_detached(&new_key(), &repomd);
    archive.server.put(&signature, Reply::Bytes(by_other));
    assert_contains(&infra(&archive.open(), "el9"), &["none of the keys in"]);

    let archive = repository(SIGNED);
    archive.server.change(PRIMARY, |mut bytes| {
        bytes[60] ^= 1;
        Reply::Bytes(bytes)
    });
    assert_contains(
        &infra(&archive.open(), "el9"),
        &[PRIMARY, "repomd.xml promises", "refused"],
    );
}

#[test]
fn a_changed_package_is_refused_by_its_checksum() {
    let archive = repository(SIGNED);
    archive.server.change(PACKAGE, |mut bytes| {
        bytes[5000] ^= 1;
        Reply::Bytes(bytes)
    });
    assert_contains(
        &infra(&archive.open(), "el9"),
        &[PACKAGE, "its SHA-256 is", "refused"],
    );
}

/// The package with another byte where `text` is.
fn changed(package: &[u8], text: &[u8]) -> Vec<u8> {
    let mut bytes = package.to_vec();
    let at = bytes.windows(text.len()).rposition(|part| part == text);
    bytes[at.unwrap()] ^= 1;
    bytes
}

#[test]
fn a_package_that_no_known_key_has_signed_is_refused() {
    let mut payload = SIGNED.to_vec();
    *payload.last_mut().unwrap() ^= 1;
    for (package, message) in [
        (UNSIGNED.to_vec(), "there is no signature in it"),
        (OTHER.to_vec(), "none of the keys in"),
        (changed(SIGNED, b"GPL-2.0"), "BAD signature"),
        (payload, "its payload differs"),
        (b"no package".to_vec(), "this is not an RPM package"),
    ] {
        // The metadata has the checksum of this very package; it may be signed or not.
        for signed_metadata in [true, false] {
            let archive = repository(&package);
            matrix(&archive, "repositories = ['9/os']", signed_metadata);
            assert_contains(
                &infra(&archive.open(), "el9"),
                &["the package kernel-core-6.1.5-1.el9 is refused", message],
            );
        }
    }
}

#[test]
fn a_signed_package_is_not_accepted_for_another() {
    let archive = repository(SIGNED);
    publish(&archive, SIGNED, "6.1.6", xz);
    assert_contains(
        &infra(&archive.open(), "el9"),
        &["it is kernel-core-6.1.5-1.el9 instead of kernel-core-6.1.6-1.el9"],
    );
}

#[test]
fn unsigned_metadata_leaves_it_to_the_signature_of_the_package() {
    let archive = repository(SIGNED);
    matrix(&archive, "repositories = ['9/os']", false);
    archive
        .server
        .put(&format!("{REPOMD}.asc"), Reply::Status(404));
    let kernel = get(&archive.open(), "el9").unwrap();
    assert_contains(
        &kernel.source.verified_by,
        &[
            "the signature of each package",
            FINGERPRINT,
            "9/os has no other",
        ],
    );
}

#[test]
fn the_lock_does_not_replace_the_signature_of_a_package() {
    let archive = repository(UNSIGNED);
    operations::update(&archive.open(), &["el9".into()], &Silent).unwrap();
    assert_contains(
        &infra(&archive.open(), "el9"),
        &["is refused", "there is no signature in it"],
    );
}

#[test]
fn a_mirror_list_names_the_repository() {
    let archive = repository(SIGNED);
    matrix(&archive, "repositories = ['latest/mirror.list']", true);
    let list = "/el/latest/mirror.list";
    let url = |archive: &Archive| format!("{}/el/9/os/\n", archive.server.url).into_bytes();
    archive.server.put(list, Reply::Bytes(url(&archive)));
    let kernel = get(&archive.open(), "el9").unwrap();
    assert_eq!(kernel.release, "6.1.5-1.el9.x86_64");

    // Amazon's packages are elsewhere on the server.
    let archive = repository(SIGNED);
    matrix(&archive, "repositories = ['latest/mirror.list']", true);
    archive.server.put(list, Reply::Bytes(url(&archive)));
    publish_at(&archive, "../../../blobstore/kernel-core.rpm");
    archive
        .server
        .put("/blobstore/kernel-core.rpm", Reply::Bytes(SIGNED.into()));
    archive.server.put(PACKAGE, Reply::Status(404));
    let kernel = get(&archive.open(), "el9").unwrap();
    assert_eq!(kernel.release, "6.1.5-1.el9.x86_64");
    let artifact = &kernel.source.artifacts[0];
    assert_eq!(
        artifact.path,
        format!("{}/blobstore/kernel-core.rpm", archive.server.url)
    );

    let archive = repository(SIGNED);
    matrix(&archive, "repositories = ['latest/mirror.list']", true);
    archive.server.put(list, Reply::Bytes("<html>".into()));
    assert_contains(
        &infra(&archive.open(), "el9"),
        &["does not begin with the URL"],
    );
}

/// That of `key.asc`.
const FINGERPRINT: &str = "14A0D592455E4E09D157BE84DDC5D9913337725B";
