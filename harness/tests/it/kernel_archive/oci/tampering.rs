//! Each link of the chain is verified: the digest in a name, the index, the manifest, the configuration, the layers.

use std::fs;

use serde_json::json;

use super::image::{Image, Packing, digest, index, tar};
use super::{REPOSITORY, name, serve};
use crate::kernel_archive::archive::Archive;
use crate::kernel_archive::server::Reply;
use crate::kernel_archive::{assert_contains, get, infra};

fn path(kind: &str, name: &str) -> String {
    format!("/v2/{REPOSITORY}/{kind}/{name}")
}

/// Serves something else under a path for one run, which must fail.
#[track_caller]
fn refuses(archive: &Archive, name: &str, path: &str, message: &str) {
    let good = archive.server.bytes(path);
    let same_size = |mut bytes: Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    };
    let longer = |bytes: Vec<u8>| [bytes, b" ".to_vec()].concat();
    let shorter = |mut bytes: Vec<u8>| {
        bytes.pop();
        bytes
    };
    let messages = [message, "larger than", "it ended after"];
    for (change, also) in [same_size, longer, shorter].into_iter().zip(messages) {
        archive.server.put(path, Reply::Bytes(change(good.clone())));
        let error = infra(&archive.open(), name);
        assert!(error.contains(message) || error.contains(also), "{error}");
        let entries = fs::read_dir(archive.path("cache/kernels"));
        assert_eq!(entries.map_or(0, Iterator::count), 0);
    }
    archive.server.put(path, Reply::Bytes(good));
}

#[test]
fn a_changed_file_is_refused_at_each_link() {
    let image = Image::like_ci_kernels(Packing::Gzip, "6.6.134");
    let (archive, tag) = serve(&image, "6.6");
    let [config, layer] = &image.blobs[..] else {
        unreachable!()
    };
    refuses(
        &archive,
        &tag,
        &path("blobs", &digest(config)),
        "its SHA-256 is",
    );
    refuses(
        &archive,
        &tag,
        &path("blobs", &digest(layer)),
        "its SHA-256 is",
    );
    let by_digest = format!("{tag}@{}", image.digest());
    let manifest = path("manifests", &image.digest());
    refuses(&archive, &by_digest, &manifest, "but its name promises");

    let index = index(std::slice::from_ref(&image));
    let by_digest = format!("{}@{}", name(&archive, "6.6"), digest(&index));
    let top = path("manifests", &digest(&index));
    archive.server.put(&top, Reply::Bytes(index));
    refuses(&archive, &by_digest, &top, "but its name promises");
    refuses(&archive, &by_digest, &manifest, "its SHA-256 is");
    get(&archive.open(), &by_digest).unwrap();
}

#[test]
fn documents_that_are_no_image_are_refused() {
    let image = || Image::like_ci_kernels(Packing::Gzip, "6.6.134");
    let edited = |edit: &dyn Fn(&mut serde_json::Value)| {
        let mut image = image();
        image.edit(edit);
        image
    };
    let cases = [
        (
            edited(&|manifest| manifest["manifests"] = json!([])),
            "neither an index nor a manifest",
        ),
        (
            edited(&|manifest| manifest["layers"] = json!([])),
            "0 layers",
        ),
        (
            edited(&|manifest| {
                manifest["config"]["mediaType"] = json!("application/vnd.cncf.helm");
            }),
            "it is no container image: its configuration is of type application/vnd.cncf.helm",
        ),
        (
            edited(&|manifest| manifest["layers"][0]["mediaType"] = json!("application/x")),
            "layer 1 of",
        ),
        (
            edited(&|manifest| manifest["layers"][0]["size"] = json!(5_u64 << 30)),
            "more than the limit",
        ),
        (
            edited(&|manifest| manifest["config"]["size"] = json!(5 << 20)),
            "more than the limit",
        ),
        (
            edited(&|manifest| manifest["layers"][0]["digest"] = json!("sha256:../../../etc")),
            "is not an image's index or manifest",
        ),
        (
            edited(&|manifest| {
                manifest["layers"][0]["digest"] = json!(format!("sha512:{}", "ab".repeat(64)));
            }),
            "a digest by sha512 is not supported",
        ),
        (
            edited(&|manifest| *manifest = json!("no object")),
            "is not an image's index or manifest",
        ),
    ];
    for (image, message) in cases {
        let (archive, name) = serve(&image, "6.6");
        assert_contains(&infra(&archive.open(), &name), &[message]);
    }
    let (archive, name) = serve(&image(), "6.6");
    let manifest = path("manifests", "6.6");
    archive
        .server
        .put(&manifest, Reply::Bytes(b"<html>".to_vec()));
    assert_contains(&infra(&archive.open(), &name), &["is not JSON"]);
}

#[test]
fn a_layer_that_is_no_archive_is_refused() {
    let mut image = Image::new(Packing::Plain, &[tar(&[])]);
    image.blobs[1] = vec![7; 4096];
    let layer = image.blobs[1].clone();
    image.edit(|manifest| manifest["layers"][0]["digest"] = json!(digest(&layer)));
    image.edit(|manifest| manifest["layers"][0]["size"] = json!(layer.len()));
    let (archive, name) = serve(&image, "1");
    assert_contains(
        &infra(&archive.open(), &name),
        &["cannot unpack layer 1 of"],
    );
}
