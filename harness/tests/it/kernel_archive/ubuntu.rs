//! Ubuntu's mainline builds: a folder for each version, with signed checksums.

use std::fs;

use harness::support::error::exit_code;
use harness::{
    kernels::{Kind, operations},
    support::progress::Silent,
};
use pgp::types::KeyDetails;

use super::archive::{Archive, armored, deb, image, new_key, sha256, sign_detached};
use super::server::Reply;
use super::{assert_contains, get, infra};

const KEY: &str = "/keyserver?op=get&search=0x1";

/// A server with builds of these versions, named as their folders are.
fn builds(versions: &[&str]) -> Archive {
    let archive = Archive::empty();
    let url = &archive.server.url;
    let fingerprint = archive.key.fingerprint().to_string().to_uppercase();
    fs::write(
        archive.path("kernels.toml"),
        format!(
            "[source.ubuntu]\nkind = 'ubuntu-mainline'\nmirrors = ['{url}/mainline/']\n\
             [source.ubuntu.key]\nfingerprint = '{fingerprint}'\nurl = '{url}{KEY}'\n\
             [packages.ubuntu]\n\
             required = ['linux-image-unsigned-{{abi}}-generic', 'linux-modules-{{abi}}-generic']\n\
             [[series]]\nnames = ['5.15']\nsource = 'ubuntu'\npackages = 'ubuntu'\n"
        ),
    )
    .unwrap();
    archive
        .server
        .put(KEY, Reply::Bytes(armored(&archive.key).into()));
    for version in versions {
        build(&archive, version);
    }
    let row =
        |version: &&str| format!("<tr><td><a href=\"v{version}/\">v{version}/</a></td></tr>\n");
    let listing: String = versions.iter().map(row).collect();
    let listing = format!(
        "<a href=\"/\">up</a><a href=\"v5.15-rc7/\">rc</a><a href=\"v5.150/\">x</a>{listing}"
    );
    archive
        .server
        .put("/mainline/", Reply::Bytes(listing.into()));
    archive
}

fn build(archive: &Archive, version: &str) {
    let mut numbers: Vec<u32> = version
        .split('.')
        .map(|number| number.parse().unwrap())
        .collect();
    numbers.resize(3, 0);
    let full = numbers
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(".");
    let digits: String = numbers
        .iter()
        .map(|number| format!("{number:02}"))
        .collect();
    let (abi, stamp) = (
        format!("{full}-{digits}"),
        format!("{full}-{digits}.202401011200"),
    );
    let release = format!("{abi}-generic");
    let files = [
        (
            format!("linux-image-unsigned-{release}_{stamp}_amd64.deb"),
            deb(&[(&format!("./boot/vmlinuz-{release}"), &image(&release))]),
        ),
        (
            format!("linux-modules-{release}_{stamp}_amd64.deb"),
            deb(&[(&format!("./lib/modules/{release}/kernel/a.ko.zst"), b"x")]),
        ),
        (format!("linux-headers-{abi}_{stamp}_all.deb"), vec![0]),
    ];
    let mut sums = "# Checksums-Sha1:\n".to_owned();
    for (name, bytes) in &files {
        sums += &format!("{}  {name}\n", &sha256(bytes)[..40]);
    }
    sums += "\n# Checksums-Sha256:\n";
    for (name, bytes) in files {
        sums += &format!("{}  {name}\n", sha256(&bytes));
        archive.server.put(
            &format!("/mainline/v{version}/amd64/{name}"),
            Reply::Bytes(bytes),
        );
    }
    publish(archive, version, &sums);
}

fn publish(archive: &Archive, version: &str, sums: &str) {
    let path = sums_path(version);
    let signature = sign_detached(&archive.key, sums.as_bytes());
    archive
        .server
        .put(&format!("{path}.gpg"), Reply::Bytes(signature));
    archive.server.put(&path, Reply::Bytes(sums.into()));
}

fn sums_path(version: &str) -> String {
    format!("/mainline/v{version}/amd64/CHECKSUMS")
}

#[test]
fn series_resolves_to_its_newest_build() {
    let archive = builds(&["5.15", "5.15.9", "5.15.100", "5.14.200"]);
    let kernel = get(&archive.open(), "5.15").unwrap();
    assert_eq!(kernel.version, "5.15.100");
    assert_eq!(kernel.release, "5.15.100-0515100-generic");
    assert!(kernel.modules.unwrap().join("kernel/a.ko.zst").exists());
    assert_eq!(kernel.source.kind, Kind::UbuntuMainline);
    assert_contains(
        &kernel.source.verified_by,
        &["OpenPGP key", "CHECKSUMS of v5.15.100"],
    );
    assert_eq!(
        get(&archive.offline(), "5.15.100").unwrap().version,
        "5.15.100"
    );
}

#[test]
fn failed_build_is_skipped() {
    let archive = builds(&["5.15.1", "5.15.2", "5.15.3"]);
    archive.server.put(&sums_path("5.15.3"), Reply::Status(404));
    let sums = String::from_utf8(archive.server.bytes(&sums_path("5.15.2"))).unwrap();
    let without: String = sums
        .lines()
        .filter(|line| !line.contains("modules"))
        .map(|l| format!("{l}\n"))
        .collect();
    publish(&archive, "5.15.2", &without);
    assert_eq!(get(&archive.open(), "5.15").unwrap().version, "5.15.1");

    let error = archive.open().resolve("5.15.3", &Silent).unwrap_err();
    assert_eq!(exit_code(&error), 2, "{error:#}");
    assert_contains(&error.to_string(), &["no build of 5.15.3"]);
    archive.server.put(&sums_path("5.15.1"), Reply::Status(404));
    archive.server.requests();
    let error = archive.open().resolve("5.15", &Silent).unwrap_err();
    assert_eq!(exit_code(&error), 3, "{error:#}");
}

#[test]
fn exact_version_resolves_to_itself() {
    let archive = builds(&["5.15", "5.15.9"]);
    // Needs no listing.
    archive.server.put("/mainline/", Reply::Status(500));
    assert_eq!(
        get(&archive.open(), "5.15.9").unwrap().release,
        "5.15.9-051509-generic"
    );
    assert_eq!(
        get(&archive.open(), "5.15.0").unwrap().release,
        "5.15.0-051500-generic"
    );
    fs::remove_dir_all(archive.path("cache/kernels")).unwrap();
    assert_contains(
        &infra(&archive.open(), "5.15"),
        &["no mirror of ubuntu lists it", "status 500"],
    );
}

#[test]
fn tampering_is_refused() {
    let archive = builds(&["5.15.9"]);
    archive.server.change(&sums_path("5.15.9"), |mut bytes| {
        bytes[40] ^= 1;
        Reply::Bytes(bytes)
    });
    assert_contains(
        &infra(&archive.open(), "5.15"),
        &["CHECKSUMS", "BAD signature"],
    );

    // Another version's checksums, with their good signature.
    let archive = builds(&["5.15.8", "5.15.9"]);
    for end in ["", ".gpg"] {
        let old = archive
            .server
            .bytes(&format!("{}{end}", sums_path("5.15.8")));
        archive
            .server
            .put(&format!("{}{end}", sums_path("5.15.9")), Reply::Bytes(old));
    }
    assert_eq!(get(&archive.open(), "5.15").unwrap().version, "5.15.8");
    assert!(archive.open().resolve("5.15.9", &Silent).is_err());

    let archive = builds(&["5.15.9"]);
    let package = archive
        .server
        .paths()
        .into_iter()
        .find(|path| path.contains("linux-modules"))
        .unwrap();
    archive.server.change(&package, |mut bytes| {
        bytes[100] ^= 1;
        Reply::Bytes(bytes)
    });
    assert_contains(
        &infra(&archive.open(), "5.15"),
        &["linux-modules", "refused"],
    );
}

#[test]
fn key_is_accepted_only_by_its_fingerprint() {
    let archive = builds(&["5.15.9"]);
    archive
        .server
        .put(KEY, Reply::Bytes(armored(&new_key()).into()));
    assert_contains(
        &infra(&archive.open(), "5.15"),
        &["cannot get key", "there is no key"],
    );
    archive.server.put(KEY, Reply::Bytes(b"<html>".to_vec()));
    assert_contains(
        &infra(&archive.open(), "5.15"),
        &["cannot get key", "not an OpenPGP key"],
    );
    archive.server.put(KEY, Reply::Status(404));
    assert_contains(
        &infra(&archive.open(), "5.15"),
        &["cannot get key", "not found"],
    );

    archive
        .server
        .put(KEY, Reply::Bytes(armored(&archive.key).into()));
    get(&archive.open(), "5.15").unwrap();
    // The cached file is verified again.
    archive.server.put(KEY, Reply::Status(404));
    get(&archive.open(), "5.15").unwrap();
    let kept = fs::read_dir(archive.path("cache/keys"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    fs::write(kept, armored(&new_key())).unwrap();
    assert_contains(&infra(&archive.open(), "5.15"), &["cannot get key"]);
}

#[test]
fn cached_build_is_used_offline() {
    let archive = builds(&["5.15.9"]);
    get(&archive.open(), "5.15").unwrap();
    build(&archive, "5.15.10");
    archive.server.put("/mainline/", Reply::Status(500));
    for (kernels, why) in [
        (archive.offline(), "--offline"),
        (archive.open(), "status 500"),
    ] {
        let kernel = get(&kernels, "5.15").unwrap();
        assert_eq!(kernel.version, "5.15.9");
        assert_contains(&kernel.source.notes.join("\n"), &[why, "from the cache"]);
    }
    // It is not used for another version.
    assert!(archive.offline().resolve("5.15.10", &Silent).is_err());
}

#[test]
fn key_is_used_even_if_it_cannot_be_cached() {
    let archive = builds(&["5.15.9"]);
    fs::create_dir(archive.path("cache")).unwrap();
    fs::write(archive.path("cache/keys"), "in the way").unwrap();
    get(&archive.open(), "5.15").unwrap();
}

#[test]
fn series_outside_all_is_locked_only_by_name() {
    let archive = builds(&["5.15.9"]);
    let path = archive.path("kernels.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text + "in_all = false\n").unwrap();
    assert!(
        operations::update(&archive.open(), &[], &Silent)
            .unwrap()
            .is_empty()
    );
    let named = operations::update(&archive.open(), &["5.15".to_owned()], &Silent).unwrap();
    assert!(named[0].new.is_ok());
    assert!(archive.open().expand(&["all".to_owned()]).is_err());
    assert_eq!(
        archive.open().expand(&["5.*".to_owned()]).unwrap(),
        ["5.15"]
    );
    // It stays locked when the others are updated.
    operations::update(&archive.open(), &[], &Silent).unwrap();
    let lock = fs::read_to_string(archive.path("kernels.lock")).unwrap();
    assert_contains(&lock, &["5.15.9"]);
}

#[test]
fn build_can_be_locked() {
    let archive = builds(&["5.15.9"]);
    let changes = operations::update(&archive.open(), &[], &Silent).unwrap();
    assert_eq!(
        changes[0].new.as_deref().unwrap(),
        "5.15.9-051509.202401011200"
    );
    archive.server.put("/mainline/", Reply::Status(500));
    archive.server.put(KEY, Reply::Status(500));
    let kernel = get(&archive.open(), "5.15").unwrap();
    assert_eq!(
        (kernel.version.as_str(), kernel.source.kind),
        ("5.15.9", Kind::UbuntuMainline)
    );
    assert_contains(&kernel.source.verified_by, &["kernels.lock"]);
}
