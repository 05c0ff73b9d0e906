//! Packages that left the archive, from a server like snapshot.debian.org.

use harness::support::error::exit_code;
use harness::{
    kernels::{Kind, operations},
    support::progress::Silent,
};

use super::archive::{Archive, IN_RELEASE, PACKAGES, sha256};
use super::server::Reply;
use super::{assert_contains, get, infra};

const SEEN: &str = "20261115T223000Z";
const LATER: &str = "20261201T000000Z";

/// Moves all files of the archive into a snapshot, and leaves the archive empty.
fn leave(archive: &mut Archive, time: &str) {
    for path in archive.server.paths() {
        if let Some(rest) = path.strip_prefix("/debian/") {
            let bytes = archive.server.bytes(&path);
            archive.server.put(
                &format!("/snap/archive/debian/{time}/{rest}"),
                Reply::Bytes(bytes),
            );
        }
    }
    archive.forget_all();
}

/// Adds a package to the snapshot service, and removes the file from the pool.
fn archive_file(archive: &Archive, name: &str, version: &str) {
    let path = format!("/debian/pool/main/l/linux/{name}_{version}-1_amd64.deb");
    let bytes = archive.server.bytes(&path);
    // The service names files by their SHA-1; any name will do.
    let hash = &sha256(&bytes)[..40];
    let answer = format!(
        r#"{{"result": [{{"architecture": "arm64", "hash": "00"}}, {{"architecture": "amd64", "hash": "{hash}"}}],
            "fileinfo": {{"{hash}": [
                {{"archive_name": "debian-ports", "first_seen": "20200101T000000Z", "size": 1}},
                {{"archive_name": "debian", "first_seen": "{SEEN}", "size": 1}}]}}}}"#
    );
    let info = format!("/snap/mr/binary/{name}/{version}-1/binfiles?fileinfo=1");
    archive.server.put(&info, Reply::Bytes(answer.into()));
    archive
        .server
        .put(&format!("/snap/file/{hash}"), Reply::Bytes(bytes));
    archive.server.put(&path, Reply::Status(404));
}

fn know_source(archive: &Archive, name: &str, version: &str) {
    let sources = format!(
        r#"{{"package": "linux-signed", "result": [{{"version": "6.1.4+1"}}, {{"version": "{version}+1"}}]}}"#
    );
    archive.server.put(
        "/snap/mr/package/linux-signed/",
        Reply::Bytes(sources.into()),
    );
    let binaries = format!(
        r#"{{"result": [{{"name": "linux-doc", "version": "1"}}, {{"name": "{name}", "version": "{version}-1"}}]}}"#
    );
    let path = format!("/snap/mr/package/linux-signed/{version}+1/binpackages");
    archive.server.put(&path, Reply::Bytes(binaries.into()));
}

const IMAGE: &str = "linux-image-6.1.5-cloud-amd64";

#[test]
fn locked_kernel_gone_from_the_pool_comes_from_the_snapshot_archive() {
    let archive = Archive::new();
    operations::update(&archive.open(), &["6.1".into()], &Silent).unwrap();
    archive_file(&archive, IMAGE, "6.1.5");
    let kernel = get(&archive.open(), "6.1").unwrap();
    assert_eq!(kernel.version, "6.1.5");
    let notes = kernel.source.notes.join("\n");
    assert_contains(
        &notes,
        &[IMAGE, "not found", "downloaded from the snapshot archive"],
    );
    let url = kernel.source.artifacts[0].url.as_deref().unwrap();
    assert_contains(url, &["/snap/file/"]);
}

#[test]
fn snapshot_downloads_are_verified() {
    let archive = Archive::new();
    operations::update(&archive.open(), &["6.1".into()], &Silent).unwrap();
    archive_file(&archive, IMAGE, "6.1.5");
    let path = archive
        .server
        .paths()
        .into_iter()
        .find(|path| path.starts_with("/snap/file/"))
        .unwrap();
    archive.server.change(&path, |mut bytes| {
        bytes[100] ^= 1;
        Reply::Bytes(bytes)
    });
    assert_contains(
        &infra(&archive.open(), "6.1"),
        &["/snap/file/", "kernels.lock", "refused"],
    );
}

#[test]
fn kernel_missing_from_the_snapshot_archive_is_replaced_by_the_newest() {
    for answer in ["not json", r#"{"result": []}"#] {
        let mut archive = Archive::new();
        operations::update(&archive.open(), &["6.1".into()], &Silent).unwrap();
        archive.add("6.1.6");
        archive
            .server
            .put(&Archive::deb_path("6.1.5"), Reply::Status(404));
        let info = format!("/snap/mr/binary/{IMAGE}/6.1.5-1/binfiles?fileinfo=1");
        archive.server.put(&info, Reply::Bytes(answer.into()));
        std::fs::remove_dir_all(archive.path("cache")).unwrap();
        let kernel = get(&archive.open(), "6.1").unwrap();
        assert_eq!(kernel.version, "6.1.6");
        let notes = kernel.source.notes.join("\n");
        assert_contains(
            &notes,
            &[
                "the request to the snapshot archive failed",
                "using 6.1.6-1 instead",
            ],
        );
    }
}

#[test]
fn version_gone_from_the_index_is_found_in_the_snapshot_archive() {
    for time in [SEEN, LATER] {
        let mut archive = Archive::new();
        know_source(&archive, IMAGE, "6.1.5");
        leave(&mut archive, time);
        archive_file(&archive, IMAGE, "6.1.5");
        if time == LATER {
            // The first index with the file is newer than the file.
            for path in [IN_RELEASE, PACKAGES] {
                let rest = path.strip_prefix("/debian/").unwrap();
                let bytes = archive.server.bytes(path);
                archive.server.put(
                    &format!("/snap/archive/debian/{SEEN}/{rest}"),
                    Reply::Bytes(bytes),
                );
            }
        }
        let kernel = get(&archive.open(), "6.1.5").unwrap();
        assert_eq!(
            (kernel.version.as_str(), kernel.source.kind),
            ("6.1.5", Kind::DebianSnapshot)
        );
        assert_contains(
            &kernel.source.verified_by,
            &["OpenPGP key", "test-backports"],
        );
        assert_contains(&kernel.source.notes.join("\n"), &[time]);
        get(&archive.offline(), "6.1.5").unwrap();

        let error = archive.open().resolve("6.1.3", &Silent).unwrap_err();
        assert_eq!(exit_code(&error), 2, "{error:#}");
        assert_contains(&error.to_string(), &["no kernel 6.1.3"]);
    }
}

#[test]
fn snapshot_index_must_be_signed() {
    let mut archive = Archive::new();
    know_source(&archive, IMAGE, "6.1.5");
    leave(&mut archive, SEEN);
    archive_file(&archive, IMAGE, "6.1.5");
    let path = format!("/snap/archive/debian/{SEEN}/dists/test-backports/InRelease");
    archive.server.change(&path, |bytes| {
        Reply::Bytes(
            String::from_utf8(bytes)
                .unwrap()
                .replace("Origin: Test", "Origin: Best")
                .into(),
        )
    });
    let error = infra(&archive.open(), "6.1.5");
    assert_contains(&error, &["no kernel 6.1.5", "BAD signature"]);
}

#[test]
fn snapshot_service_failure_is_infra() {
    let archive = Archive::new();
    archive
        .server
        .put("/snap/mr/package/linux-signed/", Reply::Status(500));
    let error = infra(&archive.open(), "6.1.4");
    assert_contains(
        &error,
        &[
            "no kernel 6.1.4",
            "the request to the snapshot archive failed",
            "status 500",
        ],
    );
    archive.server.put(
        "/snap/mr/package/linux-signed/",
        Reply::RetryAfter(429, "600"),
    );
    assert_contains(
        &infra(&archive.open(), "6.1.4"),
        &[
            "no kernel 6.1.4",
            "127.0.0.1 limits requests (status 429) and asks to wait 600 s",
            "try again later",
        ],
    );
}

#[test]
fn packages_missing_from_the_index_come_from_the_snapshot_archive() {
    let mut archive = Archive::empty();
    let release = "7.3.4-cloud-amd64";
    let path = |file: &str| format!("./usr/lib/modules/{release}/{file}");
    let binary = super::archive::deb(&[(&path("vmlinuz"), &super::archive::image(release))]);
    let modules = super::archive::deb(&[(&path("modules.builtin"), b"")]);
    archive.add_package("linux-binary-7.3.4-cloud-amd64", "7.3.4", binary.clone());
    archive.add_package("linux-modules-7.3.4-cloud-amd64", "7.3.4", modules);
    leave(&mut archive, SEEN);
    archive.add_package("linux-binary-7.3.4-cloud-amd64", "7.3.4", binary);
    let without = get(&archive.open(), "7.3").unwrap();
    assert_eq!(without.modules, None);

    know_source(&archive, "linux-binary-7.3.4-cloud-amd64", "7.3.4");
    archive_file(&archive, "linux-binary-7.3.4-cloud-amd64", "7.3.4");
    archive_file(&archive, "linux-modules-7.3.4-cloud-amd64", "7.3.4");
    let with = get(&archive.open(), "7.3").unwrap();
    assert_eq!(with.version, "7.3.4");
    assert!(with.modules.unwrap().join("modules.builtin").exists());
    assert_eq!(with.source.artifacts.len(), 2);
}
