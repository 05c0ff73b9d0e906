//! Kernels in a registry: from the name to a run in a VM.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use crate::kernel_archive::oci::image::{Entry, Image, Packing, tar};
use crate::kernel_archive::oci::registry::Registry;
use crate::support::{Ran, harness, run};
use crate::vm_archives::debian;

/// A layer with a kernel of Debian, whose modules are below `lib`.
fn layer(kernel: &Path, image: &str, lib: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_path_with_name(kernel.join("vmlinuz"), image)
        .unwrap();
    tar.append_dir_all(lib, kernel.join("lib")).unwrap();
    tar.into_inner().unwrap()
}

/// Runs the harness with these names of images.
fn command(dir: &Path, args: &[&str]) -> Ran {
    let mut command = harness(args);
    command.arg("--matrix").arg(dir.join("kernels.toml"));
    command.arg("--cache-dir").arg(dir.join("cache"));
    run(&mut command)
}

#[test]
fn kernels_of_a_registry_boot_and_a_locked_tag_stays() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::start();
    let kernel = debian("6.1");
    let release = fs::read_dir(kernel.join("lib/modules")).unwrap();
    let release = release.last().unwrap().unwrap().file_name();
    let release = release.to_str().unwrap();

    let ci_kernels = [
        Image::of(Packing::Gzip, "arm64", &[tar(&[("a", Entry::Folder)])]),
        Image::new(Packing::Plain, &[layer(&kernel, "boot/vmlinuz", "usr/lib")]),
    ];
    let zstd = ["--format=oci", "--dest-compress-format=zstd"];
    registry.push(&ci_kernels, "cilium/ci-kernels", "6.1", &zstd);
    let path = |file: &str| format!("data/kernels/6.1/{file}");
    let system = tar(&[
        ("bin/busybox", Entry::File(b"program")),
        (&path("boot/config-0"), Entry::File(b"removed")),
    ]);
    let vmlinuz = path(&format!("boot/vmlinuz-{release}"));
    let removed = tar(&[(&path("boot/.wh.config-0"), Entry::File(b""))]);
    let lvh = [Image::new(
        Packing::Plain,
        &[system, layer(&kernel, &vmlinuz, &path("lib")), removed],
    )];
    let repository = "lvh-images/kernel-images";
    registry.push(&lvh, repository, "6.1-main", &["--format=v2s2"]);

    let matrix = format!(
        "series = []\n[source]\n\
         [images.lvh]\nrepository = '{0}/{repository}'\nnewest = '-main'\n\
         [images.ci-kernels]\nrepository = '{0}/cilium/ci-kernels'\n",
        registry.address
    );
    fs::write(dir.path().join("kernels.toml"), matrix).unwrap();
    let names = "lvh:6.1,ci-kernels:6.1";
    let scenarios = ["--scenario", "attach,module_target"];
    let args = [&["--kernel", names], &scenarios[..]].concat();
    let ran = command(dir.path(), &args);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let report = ran.report();
    for (i, [repository, tag]) in [[repository, "6.1-main"], ["cilium/ci-kernels", "6.1"]]
        .into_iter()
        .enumerate()
    {
        let kernel = &report["kernels"][i];
        assert_eq!(kernel["release"], release);
        assert_eq!(kernel["source"]["kind"], "oci");
        let version = format!("{tag}@{}", registry.digest(repository, tag));
        assert_eq!(kernel["source"]["package_version"], version);
    }

    let first = registry.digest(repository, "6.1-main");
    let ran = command(dir.path(), &["kernels", "update", "lvh:6.1"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains(&first), "{}", ran.stdout);
    registry.push(&ci_kernels[1..], repository, "6.1-main", &[]);
    assert_ne!(registry.digest(repository, "6.1-main"), first);
    let args = [&["--kernel", "lvh:6.1"], &scenarios[..]].concat();
    let source = command(dir.path(), &args).report()["kernels"][0]["source"].clone();
    assert_eq!(source["package_version"], format!("6.1-main@{first}"));
    let verified_by = source["verified_by"].as_str().unwrap();
    assert!(verified_by.starts_with("kernels.lock"), "{verified_by}");
}
