//! The user's own kernels.

#![allow(clippy::unwrap_used, reason = "tests are to panic")]

use std::fs;
use std::path::{Path, PathBuf};

use harness::kernels::{Kernel, Kind, files::modules, sources::local};
use harness::support::error::exit_code;
use tempfile::TempDir;

const RELEASE: &str = "6.6.7-mine";

/// A folder with empty files in it, and images where a path ends like one.
fn tree(paths: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for path in paths {
        let full = dir.path().join(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        let is_image = path.contains("vmlinuz") || path.ends_with("bzImage");
        fs::write(full, if is_image { image(RELEASE) } else { Vec::new() }).unwrap();
    }
    dir
}

fn image(release: &str) -> Vec<u8> {
    let mut image = vec![0; 0x1000];
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x20e..0x210].copy_from_slice(&0x300u16.to_le_bytes());
    image[0x500..0x500 + release.len()].copy_from_slice(release.as_bytes());
    image
}

fn modules_of(kernel: &Kernel, root: &TempDir) -> Option<PathBuf> {
    kernel
        .modules
        .as_ref()
        .map(|dir| dir.strip_prefix(root.path()).unwrap().to_owned())
}

#[test]
fn installed_kernel_has_its_modules() {
    for base in ["lib/modules", "usr/lib/modules"] {
        let order = format!("{base}/{RELEASE}/modules.order");
        let config = format!("boot/config-{RELEASE}");
        let root = tree(&[&format!("boot/vmlinuz-{RELEASE}"), &config, &order]);
        let image = root.path().join(format!("boot/vmlinuz-{RELEASE}"));
        let kernel = local::open(&image, None).unwrap();
        assert_eq!(
            (kernel.release.as_str(), kernel.version.as_str()),
            (RELEASE, "6.6.7")
        );
        assert_eq!(
            modules_of(&kernel, &root),
            Some(Path::new(base).join(RELEASE))
        );
        assert_eq!(kernel.config, Some(root.path().join(config)));
        assert_eq!(kernel.image, image);
        assert_eq!(kernel.source.kind, Kind::Local);
        let artifact = &kernel.source.artifacts[0];
        assert_eq!((artifact.size, artifact.sha256.len()), (Some(0x1000), 64));
    }
    let image = format!("usr/lib/modules/{RELEASE}/vmlinuz");
    let root = tree(&[&image, &format!("usr/lib/modules/{RELEASE}/modules.order")]);
    let kernel = local::open(&root.path().join(&image), None).unwrap();
    assert_eq!(
        modules_of(&kernel, &root),
        Some(Path::new("usr/lib/modules").join(RELEASE))
    );
}

#[test]
fn build_tree_is_accepted_as_a_kernel() {
    let root = tree(&[
        "arch/x86/boot/bzImage",
        ".config",
        "modules.order",
        "modules.builtin",
    ]);
    let kernel = local::open(root.path(), None).unwrap();
    assert_eq!(kernel.image, root.path().join("arch/x86/boot/bzImage"));
    assert_eq!(modules_of(&kernel, &root), Some(PathBuf::new()));
    assert_eq!(kernel.config, Some(root.path().join(".config")));
    // Only the image works too.
    let kernel = local::open(&root.path().join("arch/x86/boot/bzImage"), None).unwrap();
    assert_eq!(modules_of(&kernel, &root), Some(PathBuf::new()));
    // A kernel without modules is valid.
    let root = tree(&["arch/x86/boot/bzImage"]);
    let kernel = local::open(root.path(), None).unwrap();
    assert_eq!(kernel.modules, None);
    assert!(modules::closure(&kernel, &["veth"]).is_err());
    assert_eq!(modules::closure(&kernel, &[]).unwrap(), []);
}

#[test]
fn modules_option_names_another_folder() {
    let root = tree(&[
        "vmlinuz",
        &format!("out/lib/modules/{RELEASE}/modules.order"),
    ]);
    let image = root.path().join("vmlinuz");
    for given in [
        "out",
        "out/lib/modules",
        &format!("out/lib/modules/{RELEASE}"),
    ] {
        let kernel = local::open(&image, Some(&root.path().join(given))).unwrap();
        assert_eq!(
            modules_of(&kernel, &root),
            Some(Path::new("out/lib/modules").join(RELEASE)),
            "{given}"
        );
    }
    assert_eq!(local::open(&image, None).unwrap().modules, None);
}

#[test]
fn invalid_local_kernels_are_refused_with_a_reason() {
    let root = tree(&["vmlinuz", "text", "lib/modules/6.6.8/x"]);
    let path = |name: &str| root.path().join(name);
    let cases = [
        (path("missing"), None, "cannot read the kernel image"),
        (path("text"), None, "not a kernel image"),
        (path("lib"), None, "without arch/x86/boot/bzImage"),
        (
            path("vmlinuz"),
            Some(path("missing")),
            "cannot read the folder of modules",
        ),
        (
            path("vmlinuz"),
            Some(path("text")),
            "cannot read the folder of modules",
        ),
        (
            path("vmlinuz"),
            Some(path("lib")),
            "there are no modules for 6.6.7-mine in",
        ),
        (
            path("vmlinuz"),
            Some(root.path().to_owned()),
            "there are no modules for 6.6.7-mine in",
        ),
    ];
    for (image, modules, message) in cases {
        let error = local::open(&image, modules.as_deref()).unwrap_err();
        assert_eq!(exit_code(&error), 2, "{error:#}");
        assert!(
            format!("{error:#}").contains(message),
            "{error:#} should say {message}"
        );
    }
}
