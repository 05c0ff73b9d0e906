//! A server like kernel.org with one release, and builds of it. The Makefile of the release writes a configuration, an image
//! and modules, and needs no compiler.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use harness::kernels::Kernel;
use harness::kernels::build::{BuildOptions, Built, Tools};
use harness::support::{error::exit_code, progress::Silent, stop::Stop};
use pgp::types::KeyDetails;

use super::archive::{Archive, armored, image, sha256, sign_inline, xz};
use super::server::Reply;

pub(super) const KEY: &str = "/key";
pub(super) const SUMS: &str = "/pub/v5.x/sha256sums.asc";
pub(super) const TARBALL: &str = "/pub/v5.x/linux-5.5.19.tar.xz";

/// The parts of a kernel's Makefile that the harness uses.
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
\tsed s/@/5.5.19$(LOCALVERSION)/ image > $(BOOT)/bzImage
\tmkdir -p include/generated/uapi
\techo made >> include/generated/uapi/version.h
\techo made >> $(O)/times

modules:
\techo '  LD [M]  tun.ko'

modules_install:
\tmkdir -p $(MODULES)/kernel
\techo tun > $(MODULES)/kernel/tun.ko
\tln -s $(CURDIR) $(MODULES)/build
";

/// A tree of kernel sources, as files.
pub(super) fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("Makefile", MAKEFILE.into()),
        ("Kconfig", b"config FOO\n".to_vec()),
        ("arch/x86/Kconfig", b"config X86\n".to_vec()),
        // What the workarounds look for.
        (
            "include/uapi/linux/btf.h",
            b"#define BTF_KIND_INT 1\n".to_vec(),
        ),
        (
            "tools/objtool/elf.c",
            b"WARN(\"missing symbol table\");\n".to_vec(),
        ),
        ("image", image("@")),
    ]
}

pub(super) fn tarball(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
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

pub(super) fn tree(dir: &Path) -> PathBuf {
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

pub(super) fn publish(archive: &Archive, tarball: &[u8]) {
    let sums = format!(
        "{}  linux-5.5.19.tar.xz\n{}  linux-5.5.2.tar.xz\n",
        sha256(tarball),
        "0".repeat(64)
    );
    let put = |path: &str, bytes| archive.server.put(path, Reply::Bytes(bytes));
    put(SUMS, sign_inline(&archive.key, &sums));
    put(TARBALL, tarball.to_vec());
}

pub(super) fn works(_: &Kernel) -> Result<Vec<String>> {
    Ok(vec!["filename_lookup passed".to_owned()])
}

pub(super) fn does_not_work(_: &Kernel) -> Result<Vec<String>> {
    bail!("filename_lookup: it never fired")
}

/// What is built, and with which tools.
pub(super) struct Job {
    pub(super) archive: Archive,
    pub(super) tools: Tools,
    pub(super) stop: Stop,
    pub(super) options: BuildOptions,
}

impl Job {
    pub(super) fn new() -> Self {
        Self {
            archive: kernel_org(),
            tools: Tools {
                compiler: "gcc 12.2.0".to_owned(),
                linker: "ld 2.40".to_owned(),
                pahole: "v1.24".to_owned(),
            },
            stop: Stop::new().unwrap(),
            options: BuildOptions {
                jobs: Some(1),
                ..BuildOptions::default()
            },
        }
    }

    pub(super) fn build(
        &self,
        kernel: Option<&str>,
        prove: &dyn Fn(&Kernel) -> Result<Vec<String>>,
    ) -> Result<Built> {
        let options = BuildOptions {
            kernel: kernel.map(str::to_owned),
            ..self.options.clone()
        };
        let kernels = self.archive.open();
        kernels.build(&options, &self.tools, &self.stop, &Silent, prove)
    }

    /// The whole message of the failure, after which nothing is in the cache.
    #[track_caller]
    pub(super) fn fails(
        &self,
        status: u8,
        prove: &dyn Fn(&Kernel) -> Result<Vec<String>>,
    ) -> String {
        let error = self.build(Some("5.5"), prove).unwrap_err();
        assert_eq!(exit_code(&error), status, "{error:#}");
        assert!(self.archive.offline().resolve("5.5", &Silent).is_err());
        format!("{error:#}")
    }

    /// Folders of builds that are not finished.
    pub(super) fn unfinished(&self) -> Vec<PathBuf> {
        let dirs = fs::read_dir(self.archive.path("cache/builds")).unwrap();
        dirs.map(|dir| dir.unwrap().path()).collect()
    }
}
