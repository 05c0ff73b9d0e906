//! Unverified files are refused.

use std::fs;

use harness::kernels::{Kernels, operations};

use super::archive::{
    Archive, IN_RELEASE, PACKAGES, SUITE, armored, new_key, sign_detached, sign_inline, xz,
};
use super::server::Reply;
use super::{assert_contains, get, infra};

/// Files with their final name in the cache are trusted, so there must be none.
fn nothing_is_cached(archive: &Archive) {
    let entries = fs::read_dir(archive.path("cache/kernels")).map(|dir| dir.flatten().count());
    assert_eq!(entries.unwrap_or(0), 0);
    assert!(get(&archive.offline(), "6.1").is_err());
}

#[test]
fn changed_release_file_is_refused() {
    let archive = Archive::new();
    archive.server.change(IN_RELEASE, |bytes| {
        Reply::Bytes(
            String::from_utf8(bytes)
                .unwrap()
                .replace("Origin: Test", "Origin: Best")
                .into(),
        )
    });
    assert_contains(
        &infra(&archive.open(), "6.1"),
        &["BAD signature of key", "no mirror has a usable index"],
    );
    nothing_is_cached(&archive);
}

#[test]
fn unsigned_text_around_the_signed_part_is_refused() {
    let archive = Archive::new();
    let forged = archive.release(&xz(b""), SUITE);
    for (before, after) in [(forged.as_str(), ""), ("", forged.as_str())] {
        let archive = Archive::new();
        archive.server.change(IN_RELEASE, |bytes| {
            Reply::Bytes([before.as_bytes(), &bytes[..], after.as_bytes()].concat())
        });
        assert_contains(
            &infra(&archive.open(), "6.1"),
            &["not text signed with OpenPGP"],
        );
        nothing_is_cached(&archive);
    }
}

#[test]
fn unsigned_release_file_is_refused() {
    let archive = Archive::new();
    let release = archive.release(&archive.server.bytes(PACKAGES), SUITE);
    archive.server.put(IN_RELEASE, Reply::Bytes(release.into()));
    assert_contains(
        &infra(&archive.open(), "6.1"),
        &["not text signed with OpenPGP"],
    );
    nothing_is_cached(&archive);
}

#[test]
fn unknown_key_is_refused() {
    let archive = Archive::new();
    let release = archive.release(&archive.server.bytes(PACKAGES), SUITE);
    archive
        .server
        .put(IN_RELEASE, Reply::Bytes(sign_inline(&new_key(), &release)));
    assert_contains(
        &infra(&archive.open(), "6.1"),
        &["none of the keys in test has signed it"],
    );
    nothing_is_cached(&archive);

    // The same, once that key is trusted.
    let archive = Archive::new();
    let other = new_key();
    archive
        .server
        .put(IN_RELEASE, Reply::Bytes(sign_inline(&other, &release)));
    fs::write(archive.path("keys/test.asc"), armored(&other)).unwrap();
    let packages = archive.server.bytes(PACKAGES);
    let release = archive.release(&packages, SUITE);
    archive
        .server
        .put(IN_RELEASE, Reply::Bytes(sign_inline(&other, &release)));
    get(&archive.open(), "6.1").unwrap();
}

#[test]
fn release_file_of_another_suite_is_refused() {
    let archive = Archive::new();
    let release = archive.release(&archive.server.bytes(PACKAGES), "test-old");
    archive.server.put(
        IN_RELEASE,
        Reply::Bytes(sign_inline(&archive.key, &release)),
    );
    assert_contains(
        &infra(&archive.open(), "6.1"),
        &["test-old instead of test-backports"],
    );
    nothing_is_cached(&archive);
}

#[test]
fn detached_signature_is_accepted() {
    let archive = Archive::new();
    let release = archive.release(&archive.server.bytes(PACKAGES), SUITE);
    let base = IN_RELEASE.trim_end_matches("InRelease");
    archive.server.put(IN_RELEASE, Reply::Status(404));
    archive.server.put(
        &format!("{base}Release"),
        Reply::Bytes(release.clone().into()),
    );
    let signature = sign_detached(&archive.key, release.as_bytes());
    archive
        .server
        .put(&format!("{base}Release.gpg"), Reply::Bytes(signature));
    let kernel = get(&archive.open(), "6.1").unwrap();
    assert_contains(&kernel.source.verified_by, &["OpenPGP key", SUITE]);
    get(&archive.offline(), "6.1").unwrap();

    let archive2 = Archive::new();
    archive2.server.put(IN_RELEASE, Reply::Status(404));
    archive2
        .server
        .put(&format!("{base}Release"), Reply::Bytes(release.into()));
    let signature = sign_detached(&archive2.key, b"something else");
    archive2
        .server
        .put(&format!("{base}Release.gpg"), Reply::Bytes(signature));
    assert_contains(&infra(&archive2.open(), "6.1"), &["BAD signature"]);
    nothing_is_cached(&archive2);
}

#[test]
fn changed_index_is_refused() {
    let archive = Archive::new();
    archive.server.change(PACKAGES, |mut bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        Reply::Bytes(bytes)
    });
    assert_contains(
        &infra(&archive.open(), "6.1"),
        &["Packages.xz", "the signed release file promises", "refused"],
    );
    nothing_is_cached(&archive);
}

#[test]
fn changed_package_is_refused() {
    let deb = Archive::deb_path("6.1.5");
    type Change = fn(&mut Vec<u8>);
    let flip: Change = |bytes| bytes[100] ^= 1;
    let lengthen: Change = |bytes| bytes.push(0);
    for (change, message) in [(flip, "its SHA-256 is"), (lengthen, "it is larger than")] {
        let archive = Archive::new();
        archive.server.change(&deb, |mut bytes| {
            change(&mut bytes);
            Reply::Bytes(bytes)
        });
        let error = infra(&archive.open(), "6.1");
        assert_contains(&error, &[message, "refused", &deb, "OpenPGP key"]);
        nothing_is_cached(&archive);
    }
}

#[test]
fn changed_lock_is_refused() {
    let archive = Archive::new();
    operations::update(
        &archive.open(),
        &["6.1".into()],
        &harness::support::progress::Silent,
    )
    .unwrap();
    let lock = fs::read_to_string(archive.path("kernels.lock")).unwrap();
    let at = lock.find("sha256 = \"").unwrap() + 10;
    let wrong = format!("{}{}{}", &lock[..at], "0".repeat(64), &lock[at + 64..]);
    fs::write(archive.path("kernels.lock"), wrong).unwrap();
    assert_contains(
        &infra(&archive.open(), "6.1"),
        &["kernels.lock", &"0".repeat(64), "refused"],
    );
    nothing_is_cached(&archive);

    // A lock that cannot be parsed is a usage error.
    for text in [
        "version = 1\n[[kernel]]\n".to_owned(),
        lock.replacen("sha256 = \"", "sha256 = \"x", 1),
    ] {
        fs::write(archive.path("kernels.lock"), text).unwrap();
        let error = Kernels::open(archive.options()).unwrap_err();
        assert_eq!(harness::support::error::exit_code(&error), 2, "{error:#}");
        assert_contains(&format!("{error:#}"), &["kernels.lock"]);
    }
}

#[test]
fn modules_of_another_kernel_are_refused() {
    let mut archive = Archive::empty();
    let release = "6.1.5-cloud-amd64";
    let evil = super::archive::deb(&[
        (
            &format!("./boot/vmlinuz-{release}"),
            &super::archive::image(release),
        ),
        ("./lib/modules/6.1.4-cloud-amd64/kernel/other.ko", b"x"),
    ]);
    archive.add_package("linux-image-6.1.5-cloud-amd64", "6.1.5", evil);
    assert_contains(
        &infra(&archive.open(), "6.1"),
        &["its image is 6.1.5-cloud-amd64", "6.1.4-cloud-amd64"],
    );
    nothing_is_cached(&archive);
}

#[test]
fn package_without_a_kernel_is_named() {
    for (files, message) in [
        (vec![("./usr/share/doc/x", &b"x"[..])], "no kernel image"),
        (
            vec![("./boot/vmlinuz-6.1.5", &b"not a kernel"[..])],
            "not a kernel image",
        ),
    ] {
        let mut archive = Archive::empty();
        archive.add_package(
            "linux-image-6.1.5-cloud-amd64",
            "6.1.5",
            super::archive::deb(&files),
        );
        assert_contains(&infra(&archive.open(), "6.1"), &[message]);
        nothing_is_cached(&archive);
    }
    let mut archive = Archive::empty();
    archive.add_package(
        "linux-image-6.1.5-cloud-amd64",
        "6.1.5",
        b"no package at all".to_vec(),
    );
    assert_contains(&infra(&archive.open(), "6.1"), &["not a kernel image"]);
}

#[test]
fn replaced_index_in_the_cache_is_fetched_again() {
    let archive = Archive::new();
    get(&archive.open(), "6.1").unwrap();
    let list = fs::read_dir(archive.path("cache/lists"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    // Valid, but not the signed file.
    fs::write(
        list.join("Packages.xz"),
        xz(b"Package: linux-image-6.1.9-cloud-amd64\n"),
    )
    .unwrap();
    makes_do_with_the_cached_one(&archive);
    assert_eq!(get(&archive.open(), "6.1").unwrap().version, "6.1.5");
}

#[test]
fn damaged_index_in_the_cache_is_fetched_again() {
    let archive = Archive::new();
    get(&archive.open(), "6.1").unwrap();
    for name in ["InRelease", "Packages.xz"] {
        let list = fs::read_dir(archive.path("cache/lists"))
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        fs::write(list.join(name), "rubbish").unwrap();
        archive.server.requests();
        get(&archive.open(), "6.1").unwrap();
        assert!(archive.server.requests().contains(&IN_RELEASE.to_owned()));
        fs::write(list.join(name), "rubbish").unwrap();
        makes_do_with_the_cached_one(&archive);
    }
}

/// Without network, and with an untrusted index.
fn makes_do_with_the_cached_one(archive: &Archive) {
    let kernel = get(&archive.offline(), "6.1").unwrap();
    assert_eq!(kernel.version, "6.1.5");
    assert_contains(
        &kernel.source.notes.join("\n"),
        &["--offline", "using 6.1.5-1 from the cache"],
    );
}
