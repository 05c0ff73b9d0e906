//! Tags, digests and the lock.

use std::fs;

use harness::kernels::{Kernel, Kernels, Options, operations};
use harness::support::error::exit_code;
use harness::support::progress::Silent;

use super::image::{Image, Packing};
use super::{REPOSITORY, name, serve};
use crate::kernel_archive::archive::Archive;
use crate::kernel_archive::server::Reply;
use crate::kernel_archive::{assert_contains, get, infra};

fn image(release: &str) -> Image {
    Image::like_ci_kernels(Packing::Gzip, release)
}

fn version(archive: &Archive, name: &str) -> String {
    get(&archive.open(), name).unwrap().version
}

#[test]
fn a_locked_tag_moves_only_by_an_update() {
    let first = image("6.6.134");
    let (archive, name) = serve(&first, "6.6");
    let names = [name.clone()];
    let changes = operations::update(&archive.open(), &names, &Silent).unwrap();
    let locked = format!("6.6@{}", first.digest());
    assert_eq!((&changes[0].series, &changes[0].old), (&name, &None));
    assert_eq!(changes[0].new.as_ref().unwrap(), &locked);

    image("6.6.135").serve(&archive.server, REPOSITORY, "6.6");
    let kernel = get(&archive.open(), &name).unwrap();
    assert_eq!(kernel.version, "6.6.134");
    assert_contains(
        &kernel.source.verified_by,
        &["kernels.lock", &first.digest()],
    );
    // Nobody asked what the tag means now.
    let manifests = |path: &String| path.contains("/manifests/");
    archive.server.requests();
    assert_eq!(version(&archive, &name), "6.6.134");
    assert!(!archive.server.requests().iter().any(manifests));

    let newest = Options {
        newest: true,
        ..archive.options()
    };
    let newest = Kernels::open(newest).unwrap();
    assert_eq!(get(&newest, &name).unwrap().version, "6.6.135");

    // An update of other names keeps it.
    let other = super::name(&archive, "6.7");
    image("6.7.1").serve(&archive.server, REPOSITORY, "6.7");
    operations::update(&archive.open(), std::slice::from_ref(&other), &Silent).unwrap();
    assert_eq!(version(&archive, &name), "6.6.134");
    let boot = |kernel: &Kernel| {
        assert_eq!(kernel.version, "6.6.135");
        Ok(())
    };
    let changes = operations::update_booted(&archive.open(), &names, &Silent, &boot).unwrap();
    assert_eq!(changes[0].old.as_ref().unwrap(), &locked);
    assert_eq!(version(&archive, &name), "6.6.135");
    let listed = operations::list(&archive.open()).unwrap();
    let listed = |name: &str| listed.iter().find(|series| series.name == name).unwrap();
    assert_eq!(listed(&name).version.as_deref(), Some("6.6.135"));
    assert!(listed(&name).cached && !listed(&other).cached);
}

#[test]
fn a_locked_image_that_is_gone_names_the_update() {
    let first = image("6.6.134");
    let (archive, name) = serve(&first, "6.6");
    operations::update(&archive.open(), std::slice::from_ref(&name), &Silent).unwrap();
    for path in archive.server.paths() {
        if path.contains("/blobs/") {
            archive.server.put(&path, Reply::Status(404));
        }
    }
    let update = format!("harness kernels update {name}");
    assert_contains(&infra(&archive.open(), &name), &["not found", &update]);
}

#[test]
fn without_a_lock_a_tag_means_what_the_registry_has() {
    let (archive, name) = serve(&image("6.6.134"), "6.6");
    assert_contains(&infra(&archive.offline(), &name), &["--offline"]);
    assert_eq!(version(&archive, &name), "6.6.134");
    image("6.6.135").serve(&archive.server, REPOSITORY, "6.6");
    assert_eq!(version(&archive, &name), "6.6.135");

    // Of those in the cache, the one that was used last.
    let offline = get(&archive.offline(), &name).unwrap();
    assert_eq!(offline.version, "6.6.135");
    assert_contains(&offline.source.verified_by, &["for its tag"]);
    let tag = format!("/v2/{REPOSITORY}/manifests/6.6");
    archive.server.put(&tag, Reply::Status(500));
    let kernels = archive.open();
    let resolved = kernels.resolve(&name, &Silent).unwrap();
    assert_contains(
        &resolved.source.notes.join("\n"),
        &["status 500", "from the cache"],
    );
    assert_eq!(
        kernels.fetch(&resolved, &Silent).unwrap().version,
        "6.6.135"
    );
}

#[test]
fn a_digest_needs_no_registry_once_it_is_cached() {
    let first = image("6.6.134");
    let (archive, tag) = serve(&first, "6.6");
    image("6.6.135").serve(&archive.server, REPOSITORY, "6.6");
    let by_digest = format!("{tag}@{}", first.digest());
    let kernel = get(&archive.open(), &by_digest).unwrap();
    assert_eq!(kernel.version, "6.6.134");
    assert_contains(&kernel.source.verified_by, &["in its name"]);
    let no_request = |name: &str, expected: &str| {
        archive.server.requests();
        assert_eq!(version(&archive, name), expected);
        assert_eq!(archive.server.requests(), Vec::<String>::new());
    };
    no_request(&by_digest, "6.6.134");
    // Whatever the name was under which it was downloaded.
    let without_tag = by_digest.replace(":6.6@", "@");
    no_request(&without_tag, "6.6.134");
    assert_eq!(version(&archive, &tag), "6.6.135");
    let digest = image("6.6.135").digest();
    no_request(&format!("{tag}@{digest}"), "6.6.135");
    no_request(&by_digest, "6.6.134");

    let error = operations::update(&archive.open(), &[by_digest], &Silent).unwrap_err();
    assert_eq!(exit_code(&error), 2);
    assert_contains(&error.to_string(), &["nothing to lock"]);
}

#[test]
fn short_names_are_in_the_matrix() {
    let (archive, _) = serve(&Image::like_lvh(Packing::Gzip, "6.6", "6.6.25"), "6.6-main");
    let registry = archive.server.url.clone();
    let matrix = fs::read_to_string(archive.path("kernels.toml")).unwrap();
    let matrix =
        format!("{matrix}[images.lvh]\nrepository = '{registry}/{REPOSITORY}'\nnewest = '-main'\n");
    fs::write(archive.path("kernels.toml"), &matrix).unwrap();
    let expanded = archive.open().expand(&["lvh:6.6".to_owned()]).unwrap();
    assert_eq!(expanded, ["lvh:6.6"]);
    for name in ["lvh:6.6", "lvh:6.6-main"] {
        assert_eq!(version(&archive, name), "6.6.25", "{name}");
    }
    let matrix = matrix.replace("images.lvh", "images.oci");
    fs::write(archive.path("kernels.toml"), matrix).unwrap();
    let error = Kernels::open(archive.options()).unwrap_err();
    assert_contains(&error.to_string(), &["oci means any image"]);
}

#[test]
fn unknown_tags_are_usage_errors() {
    let (archive, _) = serve(&image("6.6.134"), "6.6");
    for tag in ["6.7", "6.6-debug"] {
        let error = archive.open().resolve(&name(&archive, tag), &Silent);
        let error = error.unwrap_err();
        assert_eq!(exit_code(&error), 2, "{error:#}");
        assert_contains(
            &format!("{error:#}"),
            &[&format!("/manifests/{tag}: not found")],
        );
    }
    let error = archive.open().resolve("oci:a.example/UPPER:1", &Silent);
    assert_eq!(exit_code(&error.unwrap_err()), 2);
}
