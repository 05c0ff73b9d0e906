//! An archive laid out as Ubuntu's: several suites (its pockets), a key that is downloaded, and kernels of two packages.

use std::fs;

use harness::support::error::exit_code;
use harness::{
    kernels::{Kind, operations},
    support::progress::Silent,
};
use pgp::types::KeyDetails;

use super::archive::{Archive, armored, deb, image, new_key, sha256, sign_inline, xz};
use super::server::Reply;
use super::{assert_contains, get, infra};

const KEY: &str = "/keyserver?search=0x1";

/// A kernel: the abi of its packages, and their version.
type Kernel = (&'static str, &'static str);

const RELEASED: Kernel = ("5.15.0-25", "5.15.0-25.25");
const UPDATED: Kernel = ("5.15.0-164", "5.15.0-164.174");
const SECURE: Kernel = ("5.15.0-165", "5.15.0-165.175");
const HWE: Kernel = ("6.8.0-90", "6.8.0-90.91~22.04.1");

/// The archive, with these kernels in each suite.
fn ubuntu(suites: &[(&str, &[Kernel])]) -> Archive {
    let archive = Archive::empty();
    let url = &archive.server.url;
    let fingerprint = archive.key.fingerprint().to_string().to_uppercase();
    let names: Vec<_> = suites.iter().map(|(name, _)| name).collect();
    let matrix = format!(
        "[source.jammy]\nkind = 'debian'\nmirrors = ['{url}/ubuntu']\nsuites = {names:?}\n\
         keys = [{{ fingerprint = '{fingerprint}', url = '{url}{KEY}' }}]\n\
         [packages.ubuntu]\n\
         required = ['linux-image-unsigned-{{abi}}-generic', 'linux-modules-{{abi}}-generic']\n\
         [[series]]\nnames = ['ubuntu-22.04']\nsource = 'jammy'\npackages = 'ubuntu'\nversion = '5.15'\n\
         [[series]]\nnames = ['ubuntu-22.04-hwe']\nsource = 'jammy'\npackages = 'ubuntu'\n"
    );
    fs::write(archive.path("kernels.toml"), matrix).unwrap();
    let key = armored(&archive.key);
    archive.server.put(KEY, Reply::Bytes(key.into()));
    for (suite, kernels) in suites {
        publish(&archive, suite, kernels);
    }
    archive
}

fn index_path(suite: &str) -> String {
    format!("/ubuntu/dists/{suite}/main/binary-amd64/Packages.xz")
}

fn release_path(suite: &str) -> String {
    format!("/ubuntu/dists/{suite}/InRelease")
}

fn image_path((abi, version): Kernel) -> String {
    format!("/ubuntu/pool/main/l/linux/linux-image-unsigned-{abi}-generic_{version}_amd64.deb")
}

fn publish(archive: &Archive, suite: &str, kernels: &[Kernel]) {
    let mut text = "Package: linux-firmware\nVersion: 1\n\n".to_owned();
    for (abi, version) in kernels {
        let release = format!("{abi}-generic");
        let (vmlinuz, config) = (
            format!("./boot/vmlinuz-{release}"),
            format!("./boot/config-{release}"),
        );
        let module = format!("./lib/modules/{release}/kernel/net/veth.ko.zst");
        let module_bytes = zstd::encode_all(&[7; 100][..], 1).unwrap();
        for (name, files) in [
            ("linux-image-unsigned", vec![(&*vmlinuz, &*image(&release))]),
            (
                "linux-modules",
                vec![(&*config, &b"CONFIG_BPF=y\n"[..]), (&module, &module_bytes)],
            ),
        ] {
            let bytes = deb(&files);
            let path = format!("pool/main/l/linux/{name}-{release}_{version}_amd64.deb");
            text += &format!(
                "Package: {name}-{release}\nVersion: {version}\nFilename: {path}\nSize: {}\nSHA256: {}\n\n",
                bytes.len(),
                sha256(&bytes)
            );
            archive
                .server
                .put(&format!("/ubuntu/{path}"), Reply::Bytes(bytes));
        }
    }
    let packages = xz(text.as_bytes());
    // All pockets of a release have its codename, and Ubuntu's release files have no end of validity.
    let release = format!(
        "Origin: Ubuntu\nSuite: {suite}\nCodename: jammy\nDate: Sun, 22 Nov 2026 02:09:05 UTC\n\
         SHA256:\n {} {} main/binary-amd64/Packages.xz\n",
        sha256(&packages),
        packages.len()
    );
    let signed = sign_inline(&archive.key, &release);
    archive
        .server
        .put(&index_path(suite), Reply::Bytes(packages));
    archive
        .server
        .put(&release_path(suite), Reply::Bytes(signed));
}

fn jammy() -> Archive {
    ubuntu(&[
        ("jammy-updates", &[RELEASED, UPDATED, HWE]),
        ("jammy-security", &[SECURE]),
        ("jammy", &[RELEASED]),
    ])
}

#[test]
fn the_newest_kernel_of_all_suites() {
    let archive = jammy();
    let kernel = get(&archive.open(), "ubuntu-22.04").unwrap();
    assert_eq!(kernel.release, "5.15.0-165-generic");
    assert_eq!(kernel.source.package_version, SECURE.1);
    assert_eq!(kernel.source.kind, Kind::Debian);
    assert_contains(
        &kernel.source.verified_by,
        &["OpenPGP key", "jammy-security of"],
    );
    assert!(kernel.config.is_some());
    let modules = kernel.modules.unwrap();
    assert!(modules.join("kernel/net/veth.ko.zst").exists());

    let kernel = get(&archive.open(), "ubuntu-22.04-hwe").unwrap();
    assert_eq!(kernel.release, "6.8.0-90-generic");
    assert_contains(&kernel.source.verified_by, &["jammy-updates of"]);
}

#[test]
fn an_exact_version_follows_the_name() {
    let archive = jammy();
    for exact in ["5.15.0-164", "5.15.0-164.174"] {
        let name = format!("ubuntu-22.04-{exact}");
        let kernel = get(&archive.open(), &name).unwrap();
        assert_eq!(kernel.release, "5.15.0-164-generic");
        assert_eq!(kernel.requested, name);
        assert_eq!(get(&archive.offline(), &name).unwrap().requested, name);
    }
    let error = archive.open().resolve("ubuntu-22.04-6.8.0-90", &Silent);
    let error = error.unwrap_err();
    assert_eq!(exit_code(&error), 2, "{error:#}");
    assert_contains(
        &error.to_string(),
        &["jammy has no kernel 6.8.0-90", "of ubuntu-22.04"],
    );
}

#[test]
fn the_lock_has_the_kernel_of_a_name() {
    let archive = jammy();
    let names = ["ubuntu-22.04".to_owned(), "ubuntu-22.04-hwe".to_owned()];
    for change in operations::update(&archive.open(), &names, &Silent).unwrap() {
        change.new.unwrap();
    }
    publish(&archive, "jammy-updates", &[]);
    publish(&archive, "jammy-security", &[]);
    let kernel = get(&archive.open(), "ubuntu-22.04-hwe").unwrap();
    assert_eq!(kernel.release, "6.8.0-90-generic");
    assert_contains(
        &kernel.source.verified_by,
        &["kernels.lock", "jammy-updates"],
    );
}

#[test]
fn a_changed_file_is_refused_at_each_link() {
    let flip: fn(&mut Vec<u8>) = |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    };
    let other_date: fn(&mut Vec<u8>) = |bytes| {
        *bytes = String::from_utf8_lossy(bytes)
            .replace("Nov 2026", "Nov 2027")
            .into_bytes();
    };
    for (path, change, message) in [
        (release_path("jammy-security"), other_date, "BAD signature"),
        (
            index_path("jammy-security"),
            flip,
            "the signed release file promises",
        ),
        (image_path(SECURE), flip, "its SHA-256 is"),
    ] {
        let archive = jammy();
        archive.server.change(&path, |mut bytes| {
            change(&mut bytes);
            Reply::Bytes(bytes)
        });
        assert_contains(&infra(&archive.open(), "ubuntu-22.04"), &[message]);
    }
}

#[test]
fn one_pocket_is_not_accepted_for_another() {
    let archive = jammy();
    let older = archive.server.bytes(&release_path("jammy-updates"));
    let path = release_path("jammy-security");
    archive.server.put(&path, Reply::Bytes(older));
    assert_contains(
        &infra(&archive.open(), "ubuntu-22.04"),
        &["answered for suite", "instead of jammy-security"],
    );
}

#[test]
fn another_key_is_refused() {
    // The server answers with another key than the matrix names.
    let archive = jammy();
    let other = new_key();
    archive
        .server
        .put(KEY, Reply::Bytes(armored(&other).into()));
    let error = infra(&archive.open(), "ubuntu-22.04");
    assert_contains(&error, &["cannot get key", "there is no key"]);

    // Another key has signed a suite.
    let archive = jammy();
    let path = release_path("jammy-security");
    let text = archive.release(b"", "jammy-security");
    let signed = sign_inline(&other, &text);
    archive.server.put(&path, Reply::Bytes(signed));
    assert_contains(
        &infra(&archive.open(), "ubuntu-22.04"),
        &["none of the keys in", "has signed it"],
    );
}
