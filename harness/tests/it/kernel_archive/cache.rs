//! The cache: reuse, sharing, damage, killed downloads.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, SystemTime};

use harness::kernels::operations::{self, Health};
use harness::{
    kernels::{Kernels, Options},
    support::progress::{Progress, Silent},
};

use super::archive::Archive;
use super::server::Reply;
use super::{assert_contains, get, infra};
use crate::support::{harness, run};

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Progress for Log {
    fn note(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

#[test]
fn kernel_is_unpacked_and_found_again() {
    let archive = Archive::new();
    let kernel = get(&archive.open(), "6.1").unwrap();
    assert_eq!(kernel.requested, "6.1");
    assert_eq!(kernel.version, "6.1.5");
    assert_eq!(kernel.release, "6.1.5-cloud-amd64");
    assert_eq!(
        fs::read(&kernel.image).unwrap(),
        super::archive::image("6.1.5-cloud-amd64")
    );
    assert_eq!(
        fs::read(kernel.config.as_ref().unwrap()).unwrap(),
        b"CONFIG_BPF=y\n"
    );
    let modules = kernel.modules.as_ref().unwrap();
    assert!(
        modules.ends_with("lib/modules/6.1.5-cloud-amd64"),
        "{modules:?}"
    );
    assert_eq!(
        fs::read(modules.join("kernel/net/veth.ko")).unwrap(),
        [7; 1000]
    );
    assert!(modules.join("modules.builtin").exists());
    assert_eq!(kernel.source.notes, Vec::<String>::new());

    archive.server.requests();
    for kernels in [archive.open(), archive.offline()] {
        let again = get(&kernels, "6.1").unwrap();
        assert_eq!(
            (again.image, again.source),
            (kernel.image.clone(), kernel.source.clone())
        );
    }
    assert_eq!(archive.server.requests(), Vec::<String>::new());

    // Documentation and the package are not kept.
    let mut kept = files(archive.path("cache/kernels"));
    kept.sort();
    let names: Vec<_> = kept
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "config",
            "kernel.json",
            "veth.ko",
            "modules.builtin",
            "manifest",
            "vmlinuz"
        ]
    );
}

fn files(dir: PathBuf) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files(path)
            } else {
                vec![path]
            }
        })
        .collect()
}

#[test]
fn damaged_kernel_is_detected_and_downloaded_again() {
    let archive = Archive::new();
    let kernel = get(&archive.open(), "6.1").unwrap();
    let modules = kernel.modules.clone().unwrap();
    let entry = kernel.image.parent().unwrap().to_owned();
    let damages: [&dyn Fn(); 5] = [
        &|| fs::write(&kernel.image, "short").unwrap(),
        &|| {
            // The size stays the same.
            let mut bytes = fs::read(&kernel.image).unwrap();
            bytes[1000] ^= 1;
            fs::write(&kernel.image, bytes).unwrap();
        },
        &|| fs::remove_file(modules.join("kernel/net/veth.ko")).unwrap(),
        &|| fs::write(entry.join("manifest"), "rubbish\n").unwrap(),
        &|| fs::remove_file(entry.join("manifest")).unwrap(),
    ];
    for damage in damages {
        damage();
        assert_contains(
            &infra(&archive.offline(), "6.1"),
            &["is damaged", "--offline"],
        );
        let again = get(&archive.open(), "6.1").unwrap();
        assert_contains(
            &again.source.notes.join("\n"),
            &["is damaged", "downloading it again"],
        );
        assert_eq!(
            fs::read(&again.image).unwrap(),
            super::archive::image("6.1.5-cloud-amd64")
        );
        assert!(modules.join("kernel/net/veth.ko").exists());
        assert_eq!(
            get(&archive.offline(), "6.1").unwrap().source.notes,
            Vec::<String>::new()
        );
    }
    // Without this file it is not an entry.
    fs::write(entry.join("kernel.json"), "{").unwrap();
    get(&archive.open(), "6.1").unwrap();
}

#[test]
fn list_fetch_and_verify_report_the_cache() {
    let mut archive = Archive::new();
    let cached = |archive: &Archive| operations::list(&archive.open()).unwrap()[0].clone();
    let before = cached(&archive);
    assert_eq!(
        (
            before.name.as_str(),
            before.version,
            before.cached,
            before.in_all
        ),
        ("6.1", None, false, true)
    );
    operations::update(&archive.open(), &["6.1".into()], &Silent).unwrap();
    let locked = cached(&archive);
    assert_eq!(
        (locked.version.as_deref(), locked.cached),
        (Some("6.1.5"), false)
    );
    assert_eq!(
        locked.size,
        Some(archive.server.bytes(&Archive::deb_path("6.1.5")).len() as u64)
    );

    let verify = |archive: &Archive| operations::verify(&archive.open(), &["6.1".into()]).unwrap();
    let status = |archive: &Archive| {
        let mut verify = harness(&["kernels", "verify", "6.1", "--offline", "--matrix"]);
        verify.arg(archive.path("kernels.toml"));
        run(verify.arg("--cache-dir").arg(archive.path("cache"))).status
    };
    assert_eq!(status(&archive), 3);
    assert_eq!(verify(&archive), [("6.1".into(), Health::Absent)]);
    archive.add("6.1.6");
    let error = operations::fetch(&archive.open(), &["6.1.7".into()], &Silent).unwrap_err();
    assert_eq!(harness::support::error::exit_code(&error), 2, "{error:#}");
    let requests = ["6.1".into(), "6.1.6".into()];
    let fetched = operations::fetch(&archive.open(), &requests, &Silent).unwrap();
    let versions: Vec<_> = fetched
        .iter()
        .map(|(_, kernel)| kernel.as_ref().ok().map(|k| &*k.version))
        .collect();
    assert_eq!(versions, [Some("6.1.5"), Some("6.1.6")]);
    assert!(cached(&archive).cached);
    let kernel = fetched[0].1.as_ref().unwrap();
    let image_sha256 = kernel.sha256.clone();
    let good = || Health::Good {
        image_sha256: image_sha256.clone(),
    };
    assert_eq!(verify(&archive), [("6.1".into(), good())]);

    assert_eq!(status(&archive), 0);

    // A run does not notice: size and time stay the same.
    let before = fs::metadata(&kernel.image).unwrap().modified().unwrap();
    let write = |bytes: &[u8]| {
        fs::write(&kernel.image, bytes).unwrap();
        let image = fs::File::options().append(true).open(&kernel.image);
        image.unwrap().set_modified(before).unwrap();
    };
    let intact = fs::read(&kernel.image).unwrap();
    let mut changed = intact.clone();
    changed[1000] ^= 1;
    write(&changed);
    get(&archive.offline(), "6.1").unwrap();
    let damage = || match verify(&archive).remove(0).1 {
        Health::Damaged(reason) => reason,
        health => panic!("{health:?}"),
    };
    let entry = kernel.image.parent().unwrap().file_name().unwrap();
    let remove = format!("`harness cache clear {}` removes", entry.display());
    assert_contains(&damage(), &["vmlinuz", "contents have changed", &remove]);
    assert_eq!(status(&archive), 1);
    write(&intact);
    assert_eq!(verify(&archive), [("6.1".into(), good())]);

    // The image of this archive has no payload that could be unpacked.
    let unpacked = archive.path(&format!("cache/vmlinux/{}", kernel.sha256));
    fs::create_dir(unpacked.parent().unwrap()).unwrap();
    fs::write(&unpacked, "x").unwrap();
    assert_contains(&damage(), &["vmlinux", "payload", "`harness cache clear`"]);
    assert_eq!(status(&archive), 1);
}

#[test]
fn copied_cache_is_valid() {
    let archive = Archive::new();
    let kernel = get(&archive.open(), "6.1").unwrap();
    let touched = SystemTime::now() - Duration::from_secs(3600);
    for path in files(archive.path("cache/kernels")) {
        fs::File::options()
            .append(true)
            .open(path)
            .unwrap()
            .set_modified(touched)
            .unwrap();
    }
    let manifest = kernel.image.with_file_name("manifest");
    let before = fs::read(&manifest).unwrap();
    get(&archive.offline(), "6.1").unwrap();
    let after = fs::read(&manifest).unwrap();
    assert_ne!(before, after, "the new times should be kept");
    get(&archive.offline(), "6.1").unwrap();
    assert_eq!(fs::read(&manifest).unwrap(), after);
}

#[test]
fn two_harnesses_share_one_download() {
    let archive = Archive::new();
    let deb = Archive::deb_path("6.1.5");
    archive.server.change(&deb, Reply::Stall);
    let patient = || {
        let mut options = archive.options();
        options.patience.stall = Duration::from_secs(60);
        Kernels::open(options).unwrap()
    };
    // The second one finds the index in the cache.
    let (first, second) = (patient(), patient());
    let (first_resolved, second_resolved) = (
        first.resolve("6.1", &Silent).unwrap(),
        second.resolve("6.1", &Silent).unwrap(),
    );
    let log = Log::default();
    thread::scope(|scope| {
        let one = scope.spawn(|| first.fetch(&first_resolved, &Silent));
        archive.server.wait_for(&deb);
        let two = scope.spawn(|| second.fetch(&second_resolved, &log));
        while log.0.lock().unwrap().is_empty() {
            thread::yield_now();
        }
        archive.server.go_on();
        assert_eq!(
            one.join().unwrap().unwrap().image,
            two.join().unwrap().unwrap().image
        );
    });
    assert_contains(
        &log.0.lock().unwrap()[0],
        &["waiting for another harness", "6.1.5-1"],
    );
    let downloads = archive
        .server
        .requests()
        .into_iter()
        .filter(|path| *path == deb)
        .count();
    assert_eq!(downloads, 1);
}

/// The process that the next test kills.
#[test]
#[ignore = "is run by another test"]
fn victim() {
    let Ok(dir) = std::env::var("HARNESS_TEST_DIR").map(PathBuf::from) else {
        return;
    };
    let mut options = Options {
        cache_dir: Some(dir.join("cache")),
        matrix: Some(dir.join("kernels.toml")),
        ..Options::default()
    };
    options.patience.stall = Duration::from_secs(600);
    let _ = get(&Kernels::open(options).unwrap(), "6.1");
}

#[test]
fn killed_download_is_restarted() {
    let archive = Archive::new();
    let deb = Archive::deb_path("6.1.5");
    let bytes = archive.server.bytes(&deb);
    archive.server.put(&deb, Reply::Stall(bytes.clone()));
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "kernel_archive::cache::victim"])
        .env("HARNESS_TEST_DIR", archive.dir.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    archive.server.wait_for(&deb);
    victim.kill().unwrap();
    victim.wait().unwrap();
    // The state after a later kill.
    let partial = fs::read_dir(archive.path("cache/kernels"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    fs::write(partial.join("vmlinuz"), "half").unwrap();

    assert_contains(&infra(&archive.offline(), "6.1"), &["not in the cache"]);
    archive.server.put(&deb, Reply::Bytes(bytes));
    get(&archive.open(), "6.1").unwrap();
    let names: Vec<_> = fs::read_dir(archive.path("cache/kernels"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(names[0].starts_with("6.1.5-1_"), "{names:?}");
}

#[test]
fn leftovers_of_dead_processes_are_removed_and_live_builds_kept() {
    let archive = Archive::new();
    let locks = archive.path("cache/locks");
    fs::create_dir_all(&locks).unwrap();
    let begun = |name: &str| {
        let lock = fs::File::create(locks.join(name)).unwrap();
        let partial = archive.path(&format!("cache/kernels/.{name}.x1Y2z3.partial"));
        fs::create_dir_all(&partial).unwrap();
        fs::write(partial.join("vmlinuz"), "half").unwrap();
        (lock, partial)
    };
    let (_, dead) = begun("5.10.1-1_0123456789abcdef");
    let (lock, living) = begun("5.10.2-1_0123456789abcdef");
    lock.lock().unwrap();
    get(&archive.open(), "6.1").unwrap();
    assert!(!dead.exists());
    assert!(living.join("vmlinuz").exists());
}

#[test]
fn cache_that_cannot_be_written_is_named() {
    let archive = Archive::new();
    fs::write(archive.path("file"), "").unwrap();
    let options = Options {
        cache_dir: Some(archive.path("file/cache")),
        ..archive.options()
    };
    assert_contains(
        &infra(&Kernels::open(options).unwrap(), "6.1"),
        &["file/cache", "--cache-dir"],
    );
}
