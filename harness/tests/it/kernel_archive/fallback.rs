//! Fallbacks, which the report shows.

use std::fs;
use std::time::{Duration, SystemTime};

use harness::support::error::exit_code;
use harness::{
    kernels::{Kernel, Kernels, Options, operations},
    support::progress::Silent,
};

use super::archive::{Archive, IN_RELEASE, PACKAGES};
use super::server::{Reply, Server};
use super::{assert_contains, get, infra};

fn update(archive: &Archive) -> Vec<operations::Change> {
    operations::update(&archive.open(), &["6.1".to_owned()], &Silent).unwrap()
}

/// Sets the time of the cached index to two days ago.
fn age_index(archive: &Archive) {
    let list = fs::read_dir(archive.path("cache/lists"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let file = fs::File::options()
        .append(true)
        .open(list.join("InRelease"))
        .unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(2 * 24 * 3600))
        .unwrap();
}

#[test]
fn a_kernel_is_locked_after_it_has_booted() {
    let mut archive = Archive::new();
    let booted = std::cell::RefCell::new(Vec::new());
    let lock = |archive: &Archive, works: bool| {
        let boot = |kernel: &Kernel| {
            booted.borrow_mut().push(kernel.version.clone());
            anyhow::ensure!(works, "it panics");
            Ok(())
        };
        let names = ["6.1".to_owned()];
        let mut changes =
            operations::update_booted(&archive.open(), &names, &Silent, &boot).unwrap();
        changes.remove(0).new
    };
    assert_eq!(lock(&archive, true).unwrap(), "6.1.5-1");
    // It has booted before.
    assert_eq!(lock(&archive, false).unwrap(), "6.1.5-1");
    assert_eq!(booted.take(), ["6.1.5"]);

    archive.add("6.1.6");
    let error = format!("{:#}", lock(&archive, false).unwrap_err());
    assert_contains(&error, &["6.1.6-cloud-amd64 does not boot", "it panics"]);
    assert_eq!(get(&archive.open(), "6.1").unwrap().version, "6.1.5");
    assert_eq!(lock(&archive, true).unwrap(), "6.1.6-1");
    assert_eq!(get(&archive.open(), "6.1").unwrap().version, "6.1.6");
}

#[test]
fn next_mirror_is_tried() {
    let archive = Archive::new();
    let broken = Server::start();
    let base = format!("{}/nothing", broken.url);
    archive.matrix(&[&base, &archive.mirror()]);
    let kernels = archive.open();
    let resolved = kernels.resolve("6.1", &Silent).unwrap();
    assert_contains(
        &resolved.source.notes.join("\n"),
        &["skipped", &base, "not found"],
    );
    let kernel = kernels.fetch(&resolved, &Silent).unwrap();
    let notes = kernel.source.notes.join("\n");
    assert_contains(
        &notes,
        &["linux-image-6.1.5-cloud-amd64_6.1.5-1_amd64.deb: not found"],
    );
    let url = kernel.source.artifacts[0].url.clone().unwrap();
    assert!(url.starts_with(&archive.mirror()), "{url}");
}

#[test]
fn suite_that_moved_to_the_archive_of_old_releases_is_found_there() {
    let mut archive = Archive::new();
    let old_releases = Server::start();
    let base = format!("{}/debian", old_releases.url);
    archive.matrix(&[&archive.mirror(), &base]);
    update(&archive);
    // Nothing there is signed again.
    archive.valid_until("Sat, 21 Nov 2020 02:09:05 UTC");
    for path in archive.server.paths() {
        old_releases.put(&path, Reply::Bytes(archive.server.bytes(&path)));
        archive.server.put(&path, Reply::Status(404));
    }
    let from_there = |kernel: &Kernel| {
        let url = kernel.source.artifacts[0].url.as_ref().unwrap();
        assert!(url.starts_with(&base), "{url}");
        let notes = kernel.source.notes.join("\n");
        assert_contains(&notes, &["skipped", "amd64.deb: not found"]);
    };
    // The locked kernel.
    from_there(&get(&archive.open(), "6.1").unwrap());
    // The newest of the index.
    fs::remove_dir_all(archive.path("cache")).unwrap();
    let newest = || {
        let options = Options {
            newest: true,
            ..archive.options()
        };
        Kernels::open(options).unwrap()
    };
    let kernels = newest();
    let resolved = kernels.resolve("6.1", &Silent).unwrap();
    let notes = resolved.source.notes.join("\n");
    assert_contains(&notes, &["is out of date", "/dists/test-backports"]);
    from_there(&kernels.fetch(&resolved, &Silent).unwrap());
    // It is verified there too.
    old_releases.change(PACKAGES, |mut bytes| {
        bytes[60] ^= 1;
        Reply::Bytes(bytes)
    });
    fs::remove_dir_all(archive.path("cache")).unwrap();
    assert_contains(
        &infra(&newest(), "6.1"),
        &["the signed release file promises"],
    );
}

#[test]
fn mirror_with_wrong_content_is_skipped() {
    let archive = Archive::new();
    let liar = Server::start();
    for path in archive.server.paths() {
        let mut bytes = archive.server.bytes(&path);
        bytes[60] ^= 1;
        liar.put(&path, Reply::Bytes(bytes));
    }
    let base = format!("{}/debian", liar.url);
    archive.matrix(&[&base, &archive.mirror()]);
    let kernel = get(&archive.open(), "6.1").unwrap();
    assert_contains(
        &kernel.source.notes.join("\n"),
        &["skipped", &base, "refused"],
    );
}

#[test]
fn lock_needs_no_index() {
    let mut archive = Archive::new();
    let changes = update(&archive);
    assert_eq!(
        (
            changes[0].old.as_deref(),
            changes[0].new.as_deref().unwrap()
        ),
        (None, "6.1.5-1")
    );
    archive.add("6.1.6");
    archive.server.put(IN_RELEASE, Reply::Status(500));
    let kernel = get(&archive.open(), "6.1").unwrap();
    assert_eq!(kernel.version, "6.1.5");
    assert_contains(&kernel.source.verified_by, &["kernels.lock", "OpenPGP key"]);
    assert_eq!(get(&archive.open(), "6.1.5").unwrap().version, "6.1.5");

    archive.publish();
    let newest = Kernels::open(Options {
        newest: true,
        ..archive.options()
    })
    .unwrap();
    assert_eq!(get(&newest, "6.1").unwrap().version, "6.1.6");
    let changes = update(&archive);
    assert_eq!(
        (
            changes[0].old.as_deref(),
            changes[0].new.as_deref().unwrap()
        ),
        (Some("6.1.5-1"), "6.1.6-1")
    );
    assert_eq!(get(&archive.open(), "6.1").unwrap().version, "6.1.6");
}

#[test]
fn locked_version_gone_from_the_archive_is_replaced_by_the_newest() {
    // Some servers forbid what they do not have.
    for (status, says) in [(404, "not found"), (403, "has nothing of this name")] {
        locked_version_is_replaced(status, says);
    }
}

fn locked_version_is_replaced(status: u16, says: &str) {
    let mut archive = Archive::new();
    update(&archive);
    archive
        .server
        .put(&Archive::deb_path("6.1.5"), Reply::Status(status));
    // The archive has no other.
    assert_contains(
        &infra(&archive.open(), "6.1"),
        &["linux-image-6.1.5-cloud-amd64", says],
    );

    // The cached index is fresh, but a package that left the pool must leave the index too.
    archive.forget_all();
    archive.add("6.1.6");
    let kernel = get(&archive.open(), "6.1").unwrap();
    assert_eq!(kernel.version, "6.1.6");
    let notes = kernel.source.notes.join("\n");
    assert_contains(
        &notes,
        &["6.1.5-1", says, "using 6.1.6-1 instead", "kernels update"],
    );
    assert_eq!(get(&archive.offline(), "6.1").unwrap().version, "6.1.6");

    // A request for an exact version gets no other one.
    assert_contains(&infra(&archive.open(), "6.1.5"), &[says]);
}

#[test]
fn network_failure_does_not_replace_the_locked_kernel() {
    let mut archive = Archive::new();
    update(&archive);
    archive.add("6.1.6");
    archive
        .server
        .put(&Archive::deb_path("6.1.5"), Reply::Status(503));
    assert_contains(&infra(&archive.open(), "6.1"), &["status 503"]);
    // The snapshot archive is for removed packages, not for a slow server.
    assert!(
        !archive
            .server
            .requests()
            .iter()
            .any(|path| path.starts_with("/snap/"))
    );
}

#[test]
fn series_that_cannot_be_resolved_stays_locked_as_it_was() {
    let mut archive = Archive::new();
    update(&archive);
    archive.forget_all();
    let release = "7.3.4-cloud-amd64";
    let binary = super::archive::deb(&[(
        &format!("./usr/lib/modules/{release}/vmlinuz"),
        &super::archive::image(release),
    )]);
    archive.add_package("linux-binary-7.3.4-cloud-amd64", "7.3.4", binary);
    let changes = operations::update(&archive.open(), &[], &Silent).unwrap();
    let error = format!("{:#}", changes[0].new.as_ref().unwrap_err());
    assert_contains(&error, &["series 6.1", "no kernel of the series"]);
    assert_eq!(changes[1].new.as_ref().unwrap(), "7.3.4-1");
    let list = operations::list(&archive.open()).unwrap();
    let versions: Vec<_> = list
        .iter()
        .map(|series| series.version.as_deref())
        .collect();
    assert_eq!(versions, [Some("6.1.5"), Some("7.3.4")]);

    let error = operations::update(&archive.open(), &["6.1.5".into()], &Silent).unwrap_err();
    assert_eq!(exit_code(&error), 2);
    assert_contains(
        &error.to_string(),
        &[
            "only a series or the tag of an image can be locked",
            "6.1.5",
        ],
    );
}

#[test]
fn exact_version_is_looked_up() {
    let mut archive = Archive::new();
    archive.add("6.1.6");
    archive.add("6.1.10");
    assert_eq!(get(&archive.open(), "6.1").unwrap().version, "6.1.10");
    let kernel = get(&archive.open(), "6.1.6").unwrap();
    assert_eq!(
        (kernel.version.as_str(), kernel.release.as_str()),
        ("6.1.6", "6.1.6-cloud-amd64")
    );
    assert_eq!(get(&archive.open(), "6.1.5-1").unwrap().version, "6.1.5");

    let error = archive.open().resolve("6.1.7", &Silent).unwrap_err();
    assert_eq!(exit_code(&error), 2);
    assert_contains(
        &error.to_string(),
        &["no kernel 6.1.7", "6.1.10, 6.1.6, 6.1.5"],
    );

    // A verified kernel is found without an index.
    archive.forget_all();
    fs::remove_dir_all(archive.path("cache/lists")).unwrap();
    assert_eq!(get(&archive.offline(), "6.1.6").unwrap().version, "6.1.6");
}

#[test]
fn optional_packages_may_be_missing() {
    let mut archive = Archive::empty();
    let release = "7.3.4-cloud-amd64";
    let binary = super::archive::deb(&[(
        &format!("./usr/lib/modules/{release}/vmlinuz"),
        &super::archive::image(release),
    )]);
    archive.add_package("linux-binary-7.3.4-cloud-amd64", "7.3.4", binary);
    let kernel = get(&archive.open(), "7.3").unwrap();
    assert_eq!(kernel.modules, None);
    assert_contains(
        &kernel.source.notes.join("\n"),
        &["linux-modules-*-cloud-amd64"],
    );
    let error = harness::kernels::files::modules::closure(&kernel, &["veth"]).unwrap_err();
    assert_contains(&error.to_string(), &["has no modules", "veth"]);

    let modules =
        super::archive::deb(&[(&format!("./usr/lib/modules/{release}/kernel/a.ko"), b"x")]);
    archive.add_package("linux-modules-7.3.4-cloud-amd64", "7.3.4", modules);
    let newest = Kernels::open(Options {
        newest: true,
        ..archive.options()
    })
    .unwrap();
    let kernel = get(&newest, "7.3").unwrap();
    assert_eq!(kernel.source.notes, Vec::<String>::new());
    assert!(kernel.modules.unwrap().join("kernel/a.ko").exists());
}

#[test]
fn fresh_index_is_not_fetched_again() {
    let archive = Archive::new();
    archive.open().resolve("6.1", &Silent).unwrap();
    archive.server.requests();
    archive.open().resolve("6.1", &Silent).unwrap();
    assert_eq!(archive.server.requests(), Vec::<String>::new());
    age_index(&archive);
    archive.open().resolve("6.1", &Silent).unwrap();
    assert!(archive.server.requests().contains(&IN_RELEASE.to_owned()));
}

#[test]
fn stale_index_is_used_offline_but_not_instead_of_a_tampered_one() {
    let archive = Archive::new();
    archive.open().resolve("6.1", &Silent).unwrap();
    age_index(&archive);
    let good = archive.server.bytes(IN_RELEASE);
    for problem in [
        Reply::Status(500),
        Reply::Status(404),
        Reply::Truncated(good.clone()),
    ] {
        archive.server.put(IN_RELEASE, problem);
        let resolved = archive.open().resolve("6.1", &Silent).unwrap();
        assert_contains(
            &resolved.source.notes.join("\n"),
            &["no mirror", "using the cached one"],
        );
    }
    archive.server.put(IN_RELEASE, Reply::Bytes(good));
    archive.server.change(PACKAGES, |mut bytes| {
        bytes[100] ^= 1;
        Reply::Bytes(bytes)
    });
    assert_contains(
        &infra(&archive.open(), "6.1"),
        &["the signed release file promises"],
    );
}

#[test]
fn expired_index_prints_a_note() {
    let mut archive = Archive::new();
    archive.valid_until("Sat, 21 Nov 2015 00:00:00 UTC");
    let resolved = archive.open().resolve("6.1", &Silent).unwrap();
    assert_contains(
        &resolved.source.notes.join("\n"),
        &["out of date", "21 Nov 2015"],
    );
}
