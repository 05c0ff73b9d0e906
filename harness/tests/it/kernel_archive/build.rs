//! Building kernels of releases as kernel.org publishes them. The tree is a small one: its Makefile does what a
//! kernel's does with a configuration, an image and modules, and no compiler is needed.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use harness::kernels::build::{BuildOptions, Built, Tools};
use harness::support::error::exit_code;
use harness::support::stop::Stop;
use harness::{
    commands::kernels,
    kernels::{Kernel, Kind, operations},
    support::progress::Silent,
};
use pgp::types::KeyDetails;

use super::archive::{Archive, armored, image, new_key, sha256, sign_inline, xz};
use super::server::Reply;
use super::{assert_contains, get};

const KEY: &str = "/key";
const SUMS: &str = "/pub/v5.x/sha256sums.asc";
const TARBALL: &str = "/pub/v5.x/linux-5.5.19.tar.xz";

/// What a kernel's Makefile does, as far as the harness can tell.
const MAKEFILE: &str = "\
VERSION = 5
PATCHLEVEL = 5
SUBLEVEL = 19
EXTRAVERSION =
BOOT = $(O)/arch/x86/boot
MODULES = $(INSTALL_MOD_PATH)/lib/modules/5.5.19$(LOCALVERSION)

olddefconfig:
\tsed -i /CONFIG_DROPPED=/d $(O)/.config

bzImage:
\techo '  CC      kernel/fork.o'
\t[ ! -e refuse ] || { echo 'kernel/fork.c:1: error: no such thing' >&2; exit 1; }
\t[ ! -e linger ] || { echo $$$$ > $(O)/pid; sleep 300; }
\tmkdir -p $(BOOT)
\tcp image $(BOOT)/bzImage
\techo made >> $(O)/times

modules:
\techo '  LD [M]  tun.ko'

modules_install:
\tmkdir -p $(MODULES)/kernel
\techo tun > $(MODULES)/kernel/tun.ko
\tln -s $(CURDIR) $(MODULES)/build
";

/// A tree of kernel sources, as files.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("Makefile", MAKEFILE.into()),
        ("Kconfig", b"config FOO\n".to_vec()),
        ("arch/x86/Kconfig", b"config X86\n".to_vec()),
        ("image", image("5.5.19-built")),
    ]
}

fn tarball(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("linux-5.5.19/{path}"), &content[..])
            .unwrap();
    }
    xz(&tar.into_inner().unwrap())
}

fn tree(dir: &Path) -> PathBuf {
    for (path, content) in files() {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir.to_owned()
}

/// A server as kernel.org, with one release.
fn kernel_org() -> Archive {
    let archive = Archive::empty();
    let url = &archive.server.url;
    let fingerprint = archive.key.fingerprint();
    fs::write(
        archive.path("kernels.toml"),
        format!(
            "[source.kernel-org]\nkind = 'kernel-org'\nmirrors = ['{url}/pub']\n\
             [source.kernel-org.key]\nfingerprint = '{fingerprint}'\nurl = '{url}{KEY}'\n\
             [[series]]\nnames = ['5.5', '5.6']\nsource = 'kernel-org'\n"
        ),
    )
    .unwrap();
    let put = |path: &str, bytes| archive.server.put(path, Reply::Bytes(bytes));
    put(KEY, armored(&archive.key).into());
    publish(&archive, &tarball(&files()));
    archive
}

fn publish(archive: &Archive, tarball: &[u8]) {
    let sums = format!(
        "{}  linux-5.5.19.tar.xz\n{}  linux-5.5.2.tar.xz\n",
        sha256(tarball),
        "0".repeat(64)
    );
    let put = |path: &str, bytes| archive.server.put(path, Reply::Bytes(bytes));
    put(SUMS, sign_inline(&archive.key, &sums));
    put(TARBALL, tarball.to_vec());
}

fn works(_: &Kernel) -> Result<Vec<String>> {
    Ok(vec!["filename_lookup passed".to_owned()])
}

fn does_not_work(_: &Kernel) -> Result<Vec<String>> {
    bail!("filename_lookup: it never fired")
}

/// What is to be built, and by what.
struct Job {
    archive: Archive,
    tools: Tools,
    stop: Stop,
    source: Option<PathBuf>,
    fragments: Vec<PathBuf>,
    again: bool,
}

impl Job {
    fn new() -> Self {
        Self {
            archive: kernel_org(),
            tools: Tools {
                compiler: "gcc 12.2.0".to_owned(),
                linker: "ld 2.40".to_owned(),
                pahole: "v1.24".to_owned(),
            },
            stop: Stop::new().unwrap(),
            source: None,
            fragments: Vec::new(),
            again: false,
        }
    }

    fn build(
        &self,
        kernel: Option<&str>,
        prove: &dyn Fn(&Kernel) -> Result<Vec<String>>,
    ) -> Result<Built> {
        let options = BuildOptions {
            kernel: kernel.map(str::to_owned),
            source: self.source.clone(),
            config: self.fragments.clone(),
            jobs: Some(1),
            again: self.again,
        };
        let kernels = self.archive.open();
        kernels.build(&options, &self.tools, &self.stop, &Silent, prove)
    }

    /// The whole message of the failure, after which nothing is in the cache.
    #[track_caller]
    fn fails(&self, status: u8, prove: &dyn Fn(&Kernel) -> Result<Vec<String>>) -> String {
        let error = self.build(Some("5.5"), prove).unwrap_err();
        assert_eq!(exit_code(&error), status, "{error:#}");
        assert!(self.archive.offline().resolve("5.5", &Silent).is_err());
        format!("{error:#}")
    }

    /// Folders of builds that are not finished.
    fn unfinished(&self) -> Vec<PathBuf> {
        let dirs = fs::read_dir(self.archive.path("cache/builds")).unwrap();
        dirs.map(|dir| dir.unwrap().path()).collect()
    }
}

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
                "it is in the cache before it was proven"
            );
            works(kernel)
        })
        .unwrap();
    assert!(!built.was_there);
    assert_eq!(seen.into_inner().unwrap().release, "5.5.19-built");
    assert!(job.unfinished().is_empty());

    // By the name of the series, of the release, and of the kernel; all without network.
    for name in ["5.5", "5.5.19", "5.5.19-built"] {
        let kernel = get(&job.archive.offline(), name).unwrap();
        assert_eq!(kernel.version, "5.5.19");
        assert_eq!(kernel.release, "5.5.19-built");
        assert_eq!(kernel.source.kind, Kind::Built);
        assert!(kernel.source.is_upstream());
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
        assert_contains(&build.pahole_flags.join(" "), &["enum64"]);
        let config = fs::read_to_string(kernel.config.unwrap()).unwrap();
        assert_contains(
            &config,
            &["CONFIG_DEBUG_INFO_BTF=y", "# CONFIG_RETPOLINE is not"],
        );
    }
    let built = job.archive.offline().expand(&["built".to_owned()]);
    assert_eq!(built.unwrap(), ["5.5.19-built"]);
    let listed = operations::list(&job.archive.offline()).unwrap();
    assert_eq!(listed[0].built.as_deref(), Some("5.5.19-built"));
    assert_eq!(listed[1].built, None);
    assert!(!listed[0].lower_side);

    // It need not be built twice, nor downloaded.
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
    assert!(kernels::table(&listed).contains("5.5.19-built is here, without fexit"));
}

#[test]
fn changed_build_inputs_cause_a_rebuild() {
    let mut job = Job::new();
    job.build(Some("5.5"), &works).unwrap();
    let fragment = job.archive.path("more.config");
    fs::write(&fragment, "CONFIG_MORE=y\n").unwrap();
    job.fragments = vec![fragment];
    let built = job.build(Some("5.5"), &works).unwrap();
    assert!(!built.was_there);
    let config = fs::read_to_string(built.kernel.config.unwrap()).unwrap();
    assert_contains(&config, &["CONFIG_MORE=y"]);
    assert!(job.build(Some("5.5"), &works).unwrap().was_there);
    job.tools.compiler = "gcc 13".to_owned();
    assert!(!job.build(Some("5.5"), &works).unwrap().was_there);
    job.again = true;
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
fn a_key_with_another_fingerprint_is_refused() {
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
    // And who asks for one that is not there is told how it comes about.
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
    job.fragments = vec![fragment];
    let error = job.fails(3, &works);
    assert_contains(
        &error,
        &["5.5.19 does not accept", "CONFIG_DROPPED=y (is off)"],
    );
    assert!(!error.contains("CONFIG_BPF"), "{error}");
}

#[test]
fn kernel_in_which_fexit_fails_is_not_cached() {
    let job = Job::new();
    let error = job.fails(3, &does_not_work);
    assert_contains(&error, &["is not in the cache", "it never fired"]);
    // It is where the error says, to be looked at; and the next try begins with it.
    let kept = job.unfinished()[0].join("kernel/vmlinuz");
    assert!(kept.exists() && error.contains(kept.parent().unwrap().to_str().unwrap()));
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
            "5.5.19 was not built",
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
    job.source = Some(source);
    let stop = job.stop.clone();
    let builds = job.archive.path("cache/builds");
    let pid = thread::spawn(move || {
        loop {
            let dirs = fs::read_dir(&builds).into_iter().flatten().flatten();
            let mut pids =
                dirs.filter_map(|dir| fs::read_to_string(dir.path().join("out/pid")).ok());
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
    // Killed it is; the system may take a moment to bury it.
    for _ in 0..200 {
        if !alive() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("{} is still there", stat.display());
}

#[test]
fn source_option_builds_the_users_tree() {
    let mut job = Job::new();
    let source = tree(&job.archive.path("own"));
    job.source = Some(source.clone());
    let error = job.build(Some("5.6"), &works).unwrap_err();
    assert_eq!(exit_code(&error), 2);
    assert_contains(&error.to_string(), &["is Linux 5.5.19, not 5.6"]);

    let kernel = job.build(None, &works).unwrap().kernel;
    assert_eq!(kernel.release, "5.5.19-built");
    assert_contains(&kernel.source.verified_by, &["the user's own"]);
    assert!(!kernel.source.is_upstream());
    assert!(job.build(Some("5.5"), &works).unwrap().was_there);
    fs::write(source.join("arch/x86/new.c"), "").unwrap();
    assert!(!job.build(Some("5.5"), &works).unwrap().was_there);

    let path = job.archive.path("linux-source.tar.xz");
    fs::write(&path, tarball(&files())).unwrap();
    job.source = Some(path.clone());
    assert!(!job.build(Some("5.5"), &works).unwrap().was_there);
    fs::write(&path, xz(b"no archive")).unwrap();
    assert!(job.build(Some("5.5"), &works).is_err());

    fs::write(source.join(".config"), "").unwrap();
    for (source, message) in [
        (source, "mrproper"),
        (job.archive.path("keys"), "not a kernel source tree"),
        (job.archive.path("nothing"), "cannot be read"),
    ] {
        job.source = Some(source);
        let error = job.build(None, &works).unwrap_err();
        assert_eq!(exit_code(&error), 2, "{error:#}");
        assert_contains(&format!("{error:#}"), &[message]);
    }
}
