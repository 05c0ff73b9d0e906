//! Building kernels from the releases of kernel.org.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use harness::support::error::exit_code;
use harness::{
    commands::kernel_table,
    kernels::{Kernel, Kind, Tree, operations},
    support::progress::Silent,
};

use super::archive::{armored, new_key, sign_inline};
use super::build_job::{
    Job, KEY, SUMS, TARBALL, does_not_work, files, publish, tarball, tree, works,
};
use super::server::Reply;
use super::{assert_contains, get};

#[test]
fn release_is_verified_built_tested_and_cached() {
    let job = Job::new();
    let seen = RefCell::new(None);
    let built = job
        .build(Some("5.5"), &|kernel| {
            *seen.borrow_mut() = Some(kernel.clone());
            assert!(kernel.image.exists() && kernel.config.as_ref().unwrap().exists());
            assert!(
                !job.archive
                    .offline()
                    .resolve("5.5", &Silent)
                    .is_ok_and(|_| true),
                "it is in the cache before it was tested"
            );
            works(kernel)
        })
        .unwrap();
    assert!(!built.was_there);
    assert_eq!(seen.into_inner().unwrap().release, "5.5.19-built");
    assert!(job.unfinished().is_empty());

    // It is found by series, by version and by release, without network.
    for name in ["5.5", "5.5.19", "5.5.19-built"] {
        let kernel = get(&job.archive.offline(), name).unwrap();
        assert_eq!(kernel.version, "5.5.19");
        assert_eq!(kernel.release, "5.5.19-built");
        assert_eq!(kernel.source.kind, Kind::Built);
        assert_eq!(kernel.source.tree(&kernel.release), Tree::Mainline);
        assert!(kernel.modules.unwrap().join("kernel/tun.ko").exists());
        assert!(kernel.image.with_file_name("build.log").exists());
        assert_contains(
            &kernel.source.verified_by,
            &["OpenPGP key", "sha256sums.asc of v5.x"],
        );
        let artifact = &kernel.source.artifacts[0];
        assert!(artifact.url.as_ref().unwrap().ends_with(TARBALL));
        let build = kernel.source.build.unwrap();
        assert_eq!(build.proof, ["filename_lookup passed"]);
        assert!(build.workarounds.iter().any(|w| w.starts_with("objtool: ")));
        assert!(build.make.iter().any(|v| v.contains("thunk_64.o=y")));
        assert_contains(&build.pahole_flags.join(" "), &["enum64"]);
        let config = fs::read_to_string(kernel.config.unwrap()).unwrap();
        assert_contains(&config, &["CONFIG_DEBUG_INFO_BTF=y", "# CONFIG_DRM is not"]);
    }
    let built = job.archive.offline().expand(&["built".to_owned()]);
    assert_eq!(built.unwrap(), ["5.5.19-built"]);
    let listed = operations::list(&job.archive.offline()).unwrap();
    assert_eq!(listed[0].built.as_deref(), Some("5.5.19-built"));
    assert_eq!(listed[1].built, None);
    assert!(!listed[0].lower_side);

    // The second request neither builds nor downloads it.
    job.archive.server.requests();
    assert!(job.build(Some("5.5.19"), &does_not_work).unwrap().was_there);
    assert!(!job.archive.server.requests().contains(&TARBALL.to_owned()));
}

#[test]
fn kernel_that_refuses_fexit_as_expected_is_cached_and_marked() {
    let job = Job::new();
    let refuses = |_: &Kernel| Ok(vec!["filename_lookup unsupported".to_owned()]);
    job.build(Some("5.5"), &refuses).unwrap();
    let listed = operations::list(&job.archive.offline()).unwrap();
    assert_eq!(listed[0].built.as_deref(), Some("5.5.19-built"));
    assert!(listed[0].lower_side);
    assert!(kernel_table::of(&listed).contains("5.5.19-built is here, without fexit"));
}

#[test]
fn each_configuration_is_a_build_with_a_name_of_its_own() {
    let mut job = Job::new();
    job.build(Some("5.5"), &works).unwrap();
    let fragment = job.archive.path("more.config");
    fs::write(&fragment, "CONFIG_MORE=y\n").unwrap();
    job.options.fragment = vec![fragment];
    // It does not silently replace the other one.
    let error = job.build(Some("5.5"), &works).unwrap_err();
    assert_eq!(exit_code(&error), 2, "{error:#}");
    assert_contains(
        &error.to_string(),
        &["has 5.5.19-built", "--again", "--name"],
    );

    job.options.name = Some("more".to_owned());
    let built = job.build(Some("5.5"), &works).unwrap();
    assert!(!built.was_there);
    assert_eq!(built.kernel.release, "5.5.19-more-built");
    assert!(job.build(Some("5.5"), &does_not_work).unwrap().was_there);
    assert!(job.unfinished().is_empty());
    let offline = job.archive.offline();
    for (name, release) in [
        ("5.5", "5.5.19-built"),
        ("more", "5.5.19-more-built"),
        ("5.5.19-more-built", "5.5.19-more-built"),
    ] {
        assert_eq!(get(&offline, name).unwrap().release, release);
    }
    let config = fs::read_to_string(built.kernel.config.unwrap()).unwrap();
    assert_contains(&config, &["CONFIG_MORE=y"]);
    let all = offline.expand(&["built".to_owned()]).unwrap();
    assert_eq!(all, ["5.5.19-built", "5.5.19-more-built"]);

    job.options.again = true;
    job.options.fragment = Vec::new();
    assert!(!job.build(Some("5.5"), &works).unwrap().was_there);
    let config = get(&job.archive.offline(), "more").unwrap().config.unwrap();
    assert!(!fs::read_to_string(config).unwrap().contains("CONFIG_MORE"));
    assert_eq!(
        job.archive.offline().expand(&["built".to_owned()]).unwrap(),
        all
    );
}

#[test]
fn another_compiler_is_another_input() {
    let mut job = Job::new();
    job.build(Some("5.5"), &works).unwrap();
    job.tools.compiler = "gcc 13".to_owned();
    let error = job.build(Some("5.5"), &works).unwrap_err();
    assert_contains(&error.to_string(), &["by other tools", "--again"]);
    job.options.again = true;
    assert!(!job.build(Some("5.5"), &works).unwrap().was_there);
}

#[test]
fn tampering_is_refused() {
    let job = Job::new();
    let good = job.archive.server.bytes(TARBALL);
    let mut bad = good.clone();
    bad[300] ^= 1;
    job.archive.server.put(TARBALL, Reply::Bytes(bad));
    assert_contains(
        &job.fails(3, &works),
        &["linux-5.5.19.tar.xz", "its SHA-256 is"],
    );

    job.archive.server.put(TARBALL, Reply::Bytes(good));
    let sums = job.archive.server.bytes(SUMS);
    let text = String::from_utf8(sums.clone()).unwrap();
    let forged = text.replace("linux-5.5.2.tar", "linux-5.5.3.tar");
    job.archive.server.put(SUMS, Reply::Bytes(forged.into()));
    assert_contains(&job.fails(3, &works), &["sha256sums.asc", "BAD signature"]);

    job.archive.server.put(
        SUMS,
        Reply::Bytes(sign_inline(&new_key(), "ab  linux-5.5.19.tar.xz\n")),
    );
    assert_contains(&job.fails(3, &works), &["none of the keys"]);

    job.archive.server.put(SUMS, Reply::Bytes(sums));
    job.build(Some("5.5"), &works).unwrap();
}

#[test]
fn key_with_another_fingerprint_is_refused() {
    let job = Job::new();
    let other = armored(&new_key());
    job.archive.server.put(KEY, Reply::Bytes(other.into()));
    assert_contains(
        &job.fails(3, &works),
        &["cannot get key", "there is no key"],
    );
}

#[test]
fn unbuildable_requests_are_usage_errors() {
    let job = Job::new();
    for (kernel, message) in [
        ("5.5.77", "has released no Linux 5.5.77"),
        ("latest", "cannot be built: name a series"),
    ] {
        let error = job.build(Some(kernel), &works).unwrap_err();
        assert_eq!(exit_code(&error), 2, "{error:#}");
        assert_contains(&format!("{error:#}"), &[message]);
    }
    let error = job
        .archive
        .open()
        .expand(&["built".to_owned()])
        .unwrap_err();
    assert_eq!(exit_code(&error), 2);
    // A request for a kernel that is not built names the command that builds it.
    let error = job.archive.open().resolve("5.5", &Silent).unwrap_err();
    assert_eq!(exit_code(&error), 2);
    assert_contains(&error.to_string(), &["`harness kernels build 5.5`"]);
    let error = operations::update(&job.archive.open(), &["5.5".to_owned()], &Silent).unwrap_err();
    assert_contains(&error.to_string(), &["`harness kernels build 5.5`"]);
}

#[test]
fn lost_config_option_is_named() {
    let mut job = Job::new();
    let fragment = job.archive.path("more.config");
    fs::write(&fragment, "CONFIG_DROPPED=y\n").unwrap();
    job.options.fragment = vec![fragment];
    let error = job.fails(3, &works);
    assert_contains(
        &error,
        &["5.5.19-built does not accept", "CONFIG_DROPPED=y (is off)"],
    );
    assert!(!error.contains("CONFIG_BPF"), "{error}");
}

#[test]
fn kernel_in_which_fexit_fails_is_not_cached() {
    let job = Job::new();
    let error = job.fails(3, &does_not_work);
    assert_contains(&error, &["is not in the cache", "it never fired"]);
    // The error names its folder, and the next build reuses it.
    let kept = fs::read_dir(&job.unfinished()[0]).unwrap();
    let mut kept = kept.map(|dir| dir.unwrap().path().join("kernel"));
    let kept = kept.find(|dir| dir.join("vmlinuz").exists()).unwrap();
    assert!(error.contains(kept.to_str().unwrap()), "{error}");
    job.archive.server.requests();
    assert!(!job.build(Some("5.5"), &works).unwrap().was_there);
    assert!(!job.archive.server.requests().contains(&TARBALL.to_owned()));
    assert!(job.unfinished().is_empty());
}

#[test]
fn compiler_error_is_shown_and_the_build_can_resume() {
    let job = Job::new();
    let mut broken = files();
    broken.push(("refuse", Vec::new()));
    publish(&job.archive, &tarball(&broken));
    let error = job.fails(3, &works);
    assert_contains(
        &error,
        &[
            "5.5.19-built was not built",
            "build.log",
            "kernel/fork.c:1: error: no such thing",
            "the same command continues",
        ],
    );
    fs::remove_file(job.unfinished()[0].join("source/refuse")).unwrap();
    job.archive.server.put(TARBALL, Reply::Status(500));
    job.build(Some("5.5"), &works).unwrap();
}

#[test]
fn interrupt_ends_the_compiler() {
    let mut job = Job::new();
    let source = tree(&job.archive.path("own"));
    fs::write(source.join("linger"), "").unwrap();
    job.options.source = Some(source);
    let stop = job.stop.clone();
    let builds = job.archive.path("cache/builds");
    let pid = thread::spawn(move || {
        loop {
            let dirs = |dir: &Path| {
                let entries = fs::read_dir(dir).into_iter().flatten().flatten();
                entries.map(|entry| entry.path()).collect::<Vec<_>>()
            };
            let mut pids = dirs(&builds)
                .into_iter()
                .flat_map(|source| dirs(&source))
                .filter_map(|dir| fs::read_to_string(dir.join("out/pid")).ok());
            if let Some(pid) = pids.find(|pid| pid.ends_with('\n')) {
                stop.request();
                return pid.trim().to_owned();
            }
            thread::sleep(Duration::from_millis(10));
        }
    });
    let error = job.build(None, &works).unwrap_err();
    assert_contains(&format!("{error:#}"), &["interrupted"]);
    let stat = Path::new("/proc").join(pid.join().unwrap()).join("stat");
    let alive = || fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z"));
    // The compiler was killed; init may take a moment to reap it.
    for _ in 0..200 {
        if !alive() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("{} is still there", stat.display());
}
