//! From layers to the files of a kernel.

use std::fs;

use harness::kernels::Kind;

use super::image::{Entry, Image, Packing, digest, index, tar};
use super::{REPOSITORY, name, serve};
use crate::kernel_archive::archive::{Archive, image as kernel};
use crate::kernel_archive::server::Reply;
use crate::kernel_archive::{assert_contains, get, infra};

/// The paths of a kernel's files below its folder in the cache.
fn files(archive: &Archive, name: &str) -> Vec<String> {
    let kernel = get(&archive.open(), name).unwrap();
    let manifest = fs::read_to_string(kernel.image.with_file_name("manifest")).unwrap();
    let mut files: Vec<_> = manifest
        .lines()
        .map(|line| line.rsplit(' ').next().unwrap().to_owned())
        .collect();
    files.sort();
    files
}

#[test]
fn image_like_those_of_ci_kernels() {
    for packing in [
        Packing::Plain,
        Packing::Gzip,
        Packing::Zstd,
        Packing::DockerGzip,
    ] {
        let image = Image::like_ci_kernels(packing, "6.6.134");
        let (archive, name) = serve(&image, "6.6");
        let kernel = get(&archive.open(), &name).unwrap();
        assert_eq!((&*kernel.version, &*kernel.release), ("6.6.134", "6.6.134"));
        assert_eq!(kernel.source.kind, Kind::Oci);
        let version = format!("6.6@{}", image.digest());
        assert_eq!(kernel.source.package_version, version);
        assert_contains(
            &kernel.source.verified_by,
            &[&image.digest(), "plain HTTP, no signature"],
        );
        assert_eq!(
            files(&archive, &name),
            ["lib/modules/6.6.134/extra/bpf_testmod.ko", "vmlinuz"]
        );
    }
}

#[test]
fn image_like_those_of_little_vm_helper() {
    let image = Image::like_lvh(Packing::Gzip, "6.6", "6.6.25");
    let (archive, name) = serve(&image, "6.6-main");
    assert_eq!(
        files(&archive, &name),
        [
            "config",
            "lib/modules/6.6.25/kernel/a.ko",
            "lib/modules/6.6.25/modules.builtin",
            "vmlinuz"
        ]
    );
}

#[test]
fn upper_layers_replace_and_remove_files() {
    let (old, new) = (kernel("6.1.4"), kernel("6.1.5"));
    let file = Entry::File(b"module");
    let base = tar(&[
        ("boot/vmlinuz", Entry::File(&old)),
        ("boot/config", Entry::File(b"old")),
        ("lib/modules/6.1.5/a.ko", file),
        ("lib/modules/6.1.5/b.ko", file),
        ("lib/modules/6.1.5/folder/c.ko", file),
        ("lib/modules/6.1.5/link/d.ko", file),
        ("lib/modules/6.1.5/opaque/e.ko", file),
        ("lib/modules/6.1.4/f.ko", file),
        ("lib/modules/6.1.40/g.ko", file),
    ]);
    let upper = tar(&[
        ("boot/vmlinuz", Entry::File(&new)),
        ("boot/.wh.config", Entry::File(b"")),
        ("lib/modules/6.1.5/.wh.b.ko", Entry::File(b"")),
        ("lib/modules/6.1.5/folder/", Entry::Folder),
        ("lib/modules/6.1.5/link", Entry::Symlink("/etc")),
        // A whiteout does not apply to its own layer.
        ("lib/modules/6.1.5/opaque/h.ko", file),
        ("lib/modules/6.1.5/opaque/.wh..wh..opq", Entry::File(b"")),
        ("lib/modules/.wh.6.1.4", Entry::File(b"")),
        (
            "lib/modules/6.1.5/i.ko",
            Entry::HardLink("lib/modules/6.1.5/a.ko"),
        ),
    ]);
    let top = tar(&[("lib/modules/.wh.6.1.40", Entry::File(b""))]);
    let image = Image::new(Packing::Gzip, &[base, upper, top]);
    let (archive, name) = serve(&image, "1");
    assert_eq!(
        files(&archive, &name),
        [
            "lib/modules/6.1.5/a.ko",
            "lib/modules/6.1.5/folder/c.ko",
            "lib/modules/6.1.5/i.ko",
            "lib/modules/6.1.5/opaque/h.ko",
            "vmlinuz"
        ]
    );
    assert_eq!(get(&archive.open(), &name).unwrap().version, "6.1.5");
}

#[test]
fn paths_and_links_lead_nowhere_outside() {
    let module = Entry::File(b"module");
    let image = Image::new(
        Packing::Plain,
        &[
            tar(&[
                ("boot/vmlinuz", Entry::File(&kernel("6.1.5"))),
                ("/lib/modules/6.1.5/absolute.ko", module),
                ("lib/modules/6.1.5/../../../../../../escaped.ko", module),
                ("../boot/vmlinuz", Entry::File(b"escaped")),
                (
                    "lib/modules/6.1.5/away",
                    Entry::Symlink("../../../../../.."),
                ),
                ("lib/modules/6.1.5/away/escaped.ko", module),
                ("boot/config", Entry::Symlink("/etc/passwd")),
            ]),
            tar(&[("lib/modules/6.1.5/away/again.ko", module)]),
        ],
    );
    let (archive, name) = serve(&image, "1");
    assert_eq!(
        files(&archive, &name),
        [
            "lib/modules/6.1.5/absolute.ko",
            "lib/modules/6.1.5/away/again.ko",
            "lib/modules/6.1.5/away/escaped.ko",
            "vmlinuz"
        ]
    );
    let found = std::process::Command::new("find")
        .arg(archive.dir.path())
        .args(["-name", "*escaped*"])
        .output()
        .unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    // The folder `away` is a folder of the cache.
    assert_eq!(found.lines().count(), 1, "{found}");
    assert_contains(&found, &["/lib/modules/6.1.5/away/escaped.ko"]);
}

#[test]
fn images_without_one_kernel_are_refused() {
    let (one, two) = (kernel("6.1.5"), kernel("6.1.6"));
    let secret = Entry::HardLink("etc/shadow");
    let cases: [(&[(&str, Entry<'_>)], &str); 4] = [
        (&[("bin/sh", Entry::File(b"sh"))], "the image has no kernel"),
        (
            &[
                ("boot/vmlinuz-6.1.5", Entry::File(&one)),
                ("boot/vmlinuz-6.1.6", Entry::File(&two)),
            ],
            "more than one kernel: boot/vmlinuz-6.1.5 and boot/vmlinuz-6.1.6",
        ),
        (
            &[
                ("boot/vmlinuz", Entry::File(&one)),
                ("lib/modules/6.1.6/a.ko", Entry::File(b"")),
            ],
            "lib/modules/6.1.6/a.ko",
        ),
        (
            &[("boot/vmlinuz", secret)],
            "boot/vmlinuz is a hard link to etc/shadow",
        ),
    ];
    for (entries, message) in cases {
        let image = Image::new(Packing::Gzip, &[tar(entries)]);
        let (archive, name) = serve(&image, "1");
        assert_contains(&infra(&archive.open(), &name), &[message]);
    }
    // The same kernel in two places is one kernel.
    let image = Image::new(
        Packing::Gzip,
        &[tar(&[
            ("boot/vmlinuz-6.1.5", Entry::File(&one)),
            ("usr/lib/modules/6.1.5/vmlinuz", Entry::File(&one)),
        ])],
    );
    let (archive, name) = serve(&image, "1");
    assert_eq!(files(&archive, &name), ["vmlinuz"]);
}

#[test]
fn the_image_for_this_platform() {
    let ours = Image::like_ci_kernels(Packing::Gzip, "6.6.134");
    let arm = Image::of(Packing::Gzip, "arm64", &[tar(&[])]);
    let archive = Archive::empty();
    let images = [arm, ours];
    let all = index(&images);
    let put = |tag: &str, bytes: &[u8]| {
        let path = format!("/v2/{REPOSITORY}/manifests/{tag}");
        archive.server.put(&path, Reply::Bytes(bytes.to_vec()));
    };
    for image in &images {
        image.serve(&archive.server, REPOSITORY, "unused");
    }
    put("6.6", &all);
    let kernel = get(&archive.open(), &name(&archive, "6.6")).unwrap();
    assert_eq!(kernel.version, "6.6.134");
    // The index is what the tag means.
    let version = format!("6.6@{}", digest(&all));
    assert_eq!(kernel.source.package_version, version);

    let [arm, _] = images;
    put("arm", &arm.manifest);
    put("index-of-arm", &index(&[arm]));
    for (tag, message) in [
        ("arm", "the image is for linux/arm64, not for linux/amd64"),
        (
            "index-of-arm",
            "the image is not for linux/amd64, but for linux/arm64",
        ),
    ] {
        assert_contains(&infra(&archive.open(), &name(&archive, tag)), &[message]);
    }
}
