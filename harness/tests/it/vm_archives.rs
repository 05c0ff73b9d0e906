//! Archives made by the tools of the distributions, of a kernel that boots: from the name to a run in a VM.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::kernels::Kernels;
use harness::support::progress::Silent;

use crate::kernel_archive::server::{Reply, Server};
use crate::support::{harness, kernel_options, run, workspace};

/// An archive on a local server, and a matrix that names it.
struct Archive {
    dir: tempfile::TempDir,
    server: Server,
}

/// Runs a script of `tests/data/archives`, and returns its output.
fn script(name: &str, args: &[&Path]) -> String {
    let path = workspace().join("harness/tests/data/archives").join(name);
    let output = Command::new(path).args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// The folder of a kernel of Debian.
pub(crate) fn debian(series: &str) -> PathBuf {
    let kernels = Kernels::open(kernel_options()).unwrap();
    let resolved = kernels.resolve(series, &Silent).unwrap();
    let kernel = kernels.fetch(&resolved, &Silent).unwrap();
    kernel.image.parent().unwrap().to_owned()
}

impl Archive {
    /// The archive that a script makes of a kernel. The matrix may contain `URL` and `FINGERPRINT`.
    fn new(make: &str, series: &str, matrix: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let (gnupg, out) = (path("gnupg"), path("out"));
        let fingerprint = script("key.sh", &[&gnupg, Path::new("archive")]);
        fs::create_dir(&out).unwrap();
        script(make, &[&debian(series), &out, &gnupg]);
        let server = Server::start();
        fs::copy(gnupg.join("archive.asc"), out.join("key.asc")).unwrap();
        serve(&server, &out, "");
        let matrix = matrix
            .replace("URL", &server.url)
            .replace("FINGERPRINT", fingerprint.trim());
        fs::write(path("kernels.toml"), matrix).unwrap();
        Self { dir, server }
    }

    /// Boots the kernel of this name.
    fn boots(&self, name: &str) -> serde_json::Value {
        let ran = run(&mut self.command(name));
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        ran.report()["kernels"][0].clone()
    }

    /// The harness with this archive and an empty cache.
    fn command(&self, name: &str) -> Command {
        let cache = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        let mut command = harness(&["--kernel", name, "--scenario", "attach,module_target"]);
        command
            .arg("--matrix")
            .arg(self.dir.path().join("kernels.toml"));
        command.arg("--cache-dir").arg(cache);
        command
    }

    /// Changes a byte in the middle of a file whose path contains `part`, for one run, which must fail with `message`.
    #[track_caller]
    fn refuses(&self, name: &str, part: &str, message: &str) {
        let paths = self.server.paths();
        let path = paths.iter().find(|path| path.contains(part)).unwrap();
        let good = self.server.bytes(path);
        self.server.change(path, |mut bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] = if bytes[middle] == b'0' { b'1' } else { b'0' };
            Reply::Bytes(bytes)
        });
        let ran = run(&mut self.command(name));
        assert_eq!(ran.status, 3, "{part}: {}", ran.stderr);
        assert!(ran.stderr.contains(message), "{part}: {}", ran.stderr);
        self.server.put(path, Reply::Bytes(good));
    }
}

/// Serves all files below a folder.
fn serve(server: &Server, dir: &Path, prefix: &str) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{prefix}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            serve(server, &entry.path(), &path);
        } else {
            server.put(&path, Reply::Bytes(fs::read(entry.path()).unwrap()));
        }
    }
}

#[test]
fn kernel_of_an_archive_like_ubuntus_boots() {
    let archive = Archive::new(
        "ubuntu.sh",
        "6.1",
        "[source.jammy]\nkind = 'debian'\nmirrors = ['URL']\nsuites = ['jammy-updates', 'jammy-security']\n\
         keys = [{ fingerprint = 'FINGERPRINT', url = 'URL/key.asc' }]\n\
         [packages.ubuntu]\n\
         required = ['linux-image-unsigned-{abi}-generic', 'linux-modules-{abi}-generic']\n\
         [[series]]\nnames = ['ubuntu-22.04']\nsource = 'jammy'\npackages = 'ubuntu'\nversion = '6.1'\n",
    );
    let kernel = archive.boots("ubuntu-22.04");
    assert_eq!(kernel["source"]["package_version"], "6.1.0-99.99");
    let verified_by = kernel["source"]["verified_by"].as_str().unwrap();
    assert!(verified_by.contains("jammy-updates of"), "{verified_by}");

    let name = "ubuntu-22.04";
    archive.refuses(name, "jammy-updates/InRelease", "jammy-updates");
    archive.refuses(
        name,
        "jammy-updates/main/binary-amd64/Packages.xz",
        "the signed release file promises",
    );
    archive.refuses(name, "linux-modules-", "its SHA-256 is");
}

#[test]
fn kernel_of_an_rpm_repository_boots() {
    let archive = Archive::new(
        "rpm.sh",
        "6.1",
        "[source.el9]\nkind = 'rpm'\nmirrors = ['URL']\nrepositories = ['9/BaseOS/x86_64/os']\n\
         keys = [{ fingerprint = 'FINGERPRINT', url = 'URL/key.asc' }]\nsigned_metadata = true\n\
         [packages.el9]\n\
         required = ['kernel-core-{abi}', 'kernel-modules-core-{abi}', 'kernel-modules-{abi}']\n\
         [[series]]\nnames = ['el9']\nsource = 'el9'\npackages = 'el9'\n",
    );
    let kernel = archive.boots("el9");
    assert_eq!(kernel["source"]["package_version"], "6.1.0-570.12.1.el9_6");
    assert_eq!(kernel["source"]["kind"], "rpm");
    let verified_by = kernel["source"]["verified_by"].as_str().unwrap();
    assert!(
        verified_by.contains("repomd.xml of 9/BaseOS"),
        "{verified_by}"
    );

    archive.refuses("el9", "repodata/repomd.xml.asc", "repomd.xml");
    archive.refuses("el9", "primary.xml", "repomd.xml promises");
    archive.refuses("el9", "kernel-modules-core-", "its SHA-256 is");
}
