//! The archive, read back by the `cpio` tool.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::initramfs::cpio::{self, Initramfs};
use protocol::job::{Job, Work};

/// Runs `cpio` in `dir` on `archive`; it must succeed without a word on stderr.
fn cpio(arguments: &[&str], dir: &Path, archive: &[u8]) -> String {
    let mut child = Command::new("cpio")
        .arg("--quiet")
        .args(arguments)
        .current_dir(dir)
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the cpio tool: apt-get install cpio");
    child.stdin.take().unwrap().write_all(archive).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && errors.is_empty(),
        "cpio: {}: {errors}",
        output.status
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Each entry as mode and, for a device, its number; and the names in the order of the archive.
fn list(archive: &[u8]) -> (BTreeMap<String, (String, String)>, Vec<String>) {
    let listing = cpio(&["-itv", "--numeric-uid-gid"], Path::new("/"), archive);
    let mut entries = BTreeMap::new();
    for line in listing.lines() {
        let fields: Vec<_> = line.split_whitespace().collect();
        assert_eq!(fields[2..4], ["0", "0"], "owner and group: {line}");
        let date = fields
            .iter()
            .position(|field| *field == "Jan")
            .expect("1 January 1970");
        assert_eq!(fields[date..date + 3], ["Jan", "1", "1970"], "{line}");
        let size = fields[4..date].join(" ");
        let name = line.split_once("1970 ").unwrap().1;
        entries.insert(name.to_owned(), (fields[0].to_owned(), size));
    }
    let names = cpio(&["-it"], Path::new("/"), archive);
    (entries, names.lines().map(str::to_owned).collect())
}

#[test]
fn cpio_keeps_names_modes_and_devices() {
    let mut image = Initramfs::new();
    image
        .char_device("/dev/console", 0o600, (5, 1))
        .and_then(|image| image.char_device("/dev/null", 0o666, (1, 3)))
        .and_then(|image| image.dir("/private", 0o700))
        .and_then(|image| image.file("/private/secret", 0o400, &b"x"[..]))
        .and_then(|image| image.file("/init", 0o755, &b"#!"[..]))
        .and_then(|image| image.file("/empty", 0o644, &b""[..]))
        .unwrap();
    let (entries, names) = list(&image.to_bytes());
    assert_eq!(
        names,
        [
            ".",
            "dev",
            "dev/console",
            "dev/null",
            "empty",
            "init",
            "private",
            "private/secret"
        ]
    );
    let entry = |name: &str| {
        let (mode, size) = &entries[name];
        (mode.as_str(), size.as_str())
    };
    assert_eq!(entry(".").0, "drwxr-xr-x");
    assert_eq!(entry("dev").0, "drwxr-xr-x");
    assert_eq!(entry("dev/console"), ("crw-------", "5, 1"));
    assert_eq!(entry("dev/null"), ("crw-rw-rw-", "1, 3"));
    assert_eq!(entry("private").0, "drwx------");
    assert_eq!(entry("private/secret"), ("-r--------", "1"));
    assert_eq!(entry("init"), ("-rwxr-xr-x", "2"));
    assert_eq!(entry("empty"), ("-rw-r--r--", "0"));
}

#[test]
fn cpio_keeps_contents_of_any_length_and_unusual_names() {
    let mut image = Initramfs::new();
    let mut files = BTreeMap::new();
    // Lengths on both sides of the format's 4 bytes and of cpio's 512; names of every length modulo 4.
    for length in [0, 1, 2, 3, 4, 5, 511, 512, 513, 4096, 70_001] {
        let content: Vec<u8> = (0..length).map(|i| (i * 7 % 251) as u8).collect();
        files.insert(format!("f{}", "n".repeat(files.len())), content);
    }
    for name in [
        "two words",
        " leading",
        "trailing ",
        "tab\there",
        "new\nline",
        "ünïcode-✓",
        "-n",
        "a.b..c",
        "TRAILER",
    ] {
        files.insert(format!("odd/{name}"), name.as_bytes().to_vec());
    }
    files.insert(
        format!("{}/deep", "d/".repeat(40).trim_end_matches('/')),
        b"deep".to_vec(),
    );
    for (name, content) in &files {
        image.file(&format!("/{name}"), 0o644, content).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    cpio(&["-id"], dir.path(), &image.to_bytes());
    for (name, content) in &files {
        let path = dir.path().join(name);
        assert!(fs::read(&path).unwrap() == *content, "{name:?}");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o644,
            "{name:?}"
        );
    }
}

#[test]
fn built_image_has_init_job_modules_and_extras() {
    let job = Job {
        work: Work::Scenarios {
            ids: vec!["attach".into()],
            serial: true,
            timeout_s: Some(7),
            own_modules: Vec::new(),
            programs: Vec::new(),
            tried: Vec::new(),
            crashed: Vec::new(),
            prepare: None,
            trigger: None,
        },
        modules: vec!["veth".into()],
        token: String::new(),
    };
    let modules = [("veth.ko".to_owned(), vec![7; 1000])];
    let extra = [("/objects/user.bpf.o".to_owned(), b"elf".to_vec())];
    let bytes = cpio::build(b"init", &job, &modules, &extra).unwrap();
    assert_eq!(bytes, cpio::build(b"init", &job, &modules, &extra).unwrap());

    let (entries, names) = list(&bytes);
    assert_eq!(
        names,
        [
            ".",
            "dev",
            "dev/console",
            "dev/null",
            "init",
            "job.json",
            "modules",
            "modules/veth.ko",
            "objects",
            "objects/user.bpf.o"
        ]
    );
    assert_eq!(entries["init"].0, "-rwxr-xr-x");

    let dir = tempfile::tempdir().unwrap();
    // Devices need root; the files do not.
    cpio(&["-id", "--nonmatching", "dev/*"], dir.path(), &bytes);
    let read = |path: &str| fs::read(dir.path().join(path)).unwrap();
    assert_eq!(read("init"), b"init");
    assert_eq!(
        serde_json::from_slice::<Job>(&read("job.json")).unwrap(),
        Job {
            token: cpio::token().to_owned(),
            ..job
        }
    );
    assert_eq!(read("modules/veth.ko"), modules[0].1);
    assert_eq!(read("objects/user.bpf.o"), b"elf");
}
