//! Building kernels from the user's own source.

use std::fs;

use harness::kernels::{Tree, operations};
use harness::support::{error::exit_code, progress::Silent};

use super::archive::xz;
use super::build_job::{Job, files, tarball, tree, works};
use super::{assert_contains, get};

#[test]
fn source_option_builds_the_users_tree() {
    let mut job = Job::new();
    let source = tree(&job.archive.path("own"));
    job.options.source = Some(source.clone());
    let error = job.build(Some("5.6"), &works).unwrap_err();
    assert_eq!(exit_code(&error), 2);
    assert_contains(&error.to_string(), &["is Linux 5.5.19, not 5.6"]);
    assert!(
        !job.archive.path("cache/locks").exists(),
        "it took a lock before the refusal"
    );

    let kernel = job.build(None, &works).unwrap().kernel;
    assert_eq!(kernel.release, "5.5.19-built");
    assert_contains(&kernel.source.verified_by, &["the user's own"]);
    assert_eq!(kernel.source.tree(&kernel.release), Tree::Mainline);
    // What the build itself wrote into the tree does not make it another source.
    assert!(source.join("include/generated/uapi/version.h").exists());
    assert!(job.build(Some("5.5"), &works).unwrap().was_there);
    // A changed tree replaces its earlier kernel.
    fs::write(source.join("arch/x86/new.c"), "").unwrap();
    assert!(!job.build(Some("5.5"), &works).unwrap().was_there);
    let built = job.archive.offline().expand(&["built".to_owned()]);
    assert_eq!(built.unwrap(), ["5.5.19-built"]);

    let path = job.archive.path("linux-source.tar.xz");
    fs::write(&path, tarball(&files())).unwrap();
    job.options.source = Some(path.clone());
    let error = job.build(Some("5.5"), &works).unwrap_err();
    assert_contains(&error.to_string(), &["from another source", "--name"]);
    job.options.name = Some("tarball".to_owned());
    assert!(!job.build(Some("5.5"), &works).unwrap().was_there);
    fs::write(&path, xz(b"no archive")).unwrap();
    assert!(job.build(Some("5.5"), &works).is_err());

    fs::write(source.join(".config"), "").unwrap();
    for (source, message) in [
        (source, "mrproper"),
        (job.archive.path("keys"), "not a kernel source tree"),
        (job.archive.path("nothing"), "cannot be read"),
    ] {
        job.options.source = Some(source);
        let error = job.build(None, &works).unwrap_err();
        assert_eq!(exit_code(&error), 2, "{error:#}");
        assert_contains(&format!("{error:#}"), &[message]);
    }
}

#[test]
fn vendors_tree_is_named_and_its_configuration_is_the_base() {
    let mut job = Job::new();
    let source = tree(&job.archive.path("own"));
    let put = |path: &str, text: &str| {
        let path = source.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    put("Makefile.rhelver", "RHEL_MAJOR = 9\nRHEL_MINOR = 6\n");
    put(
        "vendor/kernel-x86_64-rhel.config",
        "CONFIG_OF_VENDOR=m\n# CONFIG_BPF_SYSCALL is not set\n",
    );
    job.options.source = Some(source.clone());
    job.options.make_arg = vec!["KCFLAGS=-O1".to_owned()];
    let small = job.build(None, &works).unwrap().kernel;
    assert_eq!(small.release, "5.5.19-el9.6-built");
    assert_eq!(small.source.tree(&small.release), Tree::Vendor);

    job.options.base_config = Some("vendor".into());
    job.options.name = Some("el9.6-vendor".to_owned());
    let kernel = job.build(None, &works).unwrap().kernel;
    assert_eq!(kernel.release, "5.5.19-el9.6-vendor-built");
    let config = fs::read_to_string(kernel.config.unwrap()).unwrap();
    assert_contains(&config, &["CONFIG_OF_VENDOR=m", "CONFIG_BPF_SYSCALL=y"]);
    assert!(!config.contains("BPF_SYSCALL is not set") && !config.contains("CONFIG_DRM"));
    let build = kernel.source.build.unwrap();
    assert_eq!(
        build.base_config.as_deref(),
        Some("vendor/kernel-x86_64-rhel.config")
    );
    assert_eq!(build.make.last().unwrap(), "KCFLAGS=-O1");

    let offline = job.archive.offline();
    for (name, release) in [
        ("el9.6", "5.5.19-el9.6-built"),
        ("el9.6-vendor", "5.5.19-el9.6-vendor-built"),
        ("5.5.19-el9.6-vendor-built", "5.5.19-el9.6-vendor-built"),
    ] {
        assert_eq!(get(&offline, name).unwrap().release, release);
    }
    // It is not the 5.5 of kernel.org.
    assert!(offline.resolve("5.5", &Silent).is_err());
    let listed = operations::list(&offline).unwrap();
    let named = listed.iter().find(|series| series.name == "el9.6").unwrap();
    assert_eq!(named.built.as_deref(), Some("5.5.19-el9.6-built"));
    assert!(!named.in_all);
    let error = offline.resolve("el9.6-5.14.0", &Silent).unwrap_err();
    assert_contains(&error.to_string(), &["kernels build --source"]);

    // The kernel of another minor release.
    put("Makefile.rhelver", "RHEL_MAJOR = 9\nRHEL_MINOR = 5\n");
    (job.options.base_config, job.options.name) = (None, None);
    let kernel = job.build(None, &works).unwrap().kernel;
    assert_eq!(kernel.release, "5.5.19-el9.5-built");
    assert_eq!(
        job.archive
            .offline()
            .expand(&["built".to_owned()])
            .unwrap()
            .len(),
        3
    );

    for (base, name, message) in [
        (Some("/nothing"), None, "--base-config /nothing"),
        (None, Some("5.5"), "begins with a letter"),
        (None, Some("all"), "something else"),
    ] {
        job.options.base_config = base.map(Into::into);
        job.options.name = name.map(str::to_owned);
        let error = job.build(None, &works).unwrap_err();
        assert_eq!(exit_code(&error), 2, "{error:#}");
        assert_contains(&error.to_string(), &[message]);
    }
}

#[test]
fn what_a_tree_contains_makes_it_a_vendors_whatever_its_name() {
    let mut job = Job::new();
    let source = tree(&job.archive.path("own"));
    job.options.source = Some(source.clone());
    job.options.name = Some("plain".to_owned());
    let kernel = job.build(None, &works).unwrap().kernel;
    assert_eq!(kernel.source.tree(&kernel.release), Tree::Mainline);

    fs::create_dir(source.join("debian.master")).unwrap();
    fs::write(
        source.join("debian.master/changelog"),
        "linux (5.5.0-6.7)\n",
    )
    .unwrap();
    job.options.name = Some("mine".to_owned());
    let kernel = job.build(None, &works).unwrap().kernel;
    assert_eq!(kernel.release, "5.5.19-mine-built");
    let cached = get(&job.archive.offline(), "mine").unwrap();
    for kernel in [&kernel, &cached] {
        assert_eq!(kernel.source.tree(&kernel.release), Tree::Vendor);
        let build = kernel.source.build.as_ref().unwrap();
        assert_eq!(build.vendor.as_deref(), Some("ubuntu"));
    }

    job.options.base_config = Some("vendor".into());
    job.options.again = true;
    let error = job.build(None, &works).unwrap_err();
    assert_eq!(exit_code(&error), 2, "{error:#}");
    assert_contains(
        &error.to_string(),
        &["no complete configuration", "--base-config FILE"],
    );
}

#[test]
fn version_that_kernels_toml_lacks_is_built_from_own_source() {
    let mut job = Job::new();
    let source = tree(&job.archive.path("own"));
    let makefile = fs::read_to_string(source.join("Makefile")).unwrap();
    let makefile = makefile
        .replace("VERSION = 5", "VERSION = 4")
        .replace("PATCHLEVEL = 5", "PATCHLEVEL = 18")
        .replace("5.5.19", "4.18.19");
    fs::write(source.join("Makefile"), makefile).unwrap();
    job.options.source = Some(source);
    let kernel = job.build(Some("4.18"), &works).unwrap().kernel;
    assert_eq!(kernel.release, "4.18.19-built");
    for name in ["4.18", "4.18.19", "4.18.19-built", "built"] {
        let offline = job.archive.offline();
        let names = offline.expand(&[name.to_owned()]).unwrap();
        assert_eq!(get(&offline, &names[0]).unwrap().release, "4.18.19-built");
    }
}
