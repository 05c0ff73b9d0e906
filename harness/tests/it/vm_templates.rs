//! VMs that start from a saved one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    os::unix::fs::{FileExt as _, symlink},
    path::Path,
    process::Stdio,
    time::SystemTime,
};

use crate::support::{Ran, harness, qemu, run};
use harness::{
    kernels::Kernels,
    support::{progress::Silent, stop::Stop},
    vm::{Accelerator, Config, Templates},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A cache of its own that has the kernels of the usual one.
pub(crate) fn cache() -> tempfile::TempDir {
    let kernels = Kernels::open(crate::support::kernel_options()).unwrap();
    let resolved = kernels.resolve("5.10", &Silent).unwrap();
    kernels.fetch(&resolved, &Silent).unwrap();
    let cache = tempfile::tempdir().unwrap();
    symlink(
        kernels.cache_dir().join("kernels"),
        cache.path().join("kernels"),
    )
    .unwrap();
    cache
}

/// One run under TCG; the part of the report on its one kernel, and what it said with -v.
fn on_5_10(cache: &Path, more: &[&str]) -> (Value, String) {
    let scenarios = ["--kernel", "5.10", "--scenario", "attach,selftest_machine"];
    let ran = run(harness(&scenarios)
        .args(["--offline", "--accel", "tcg", "-v", "--cache-dir"])
        .arg(cache)
        .args(more));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    (ran.report()["kernels"][0].take(), ran.stderr)
}

/// What `selftest_machine` saw: random numbers, and the time in seconds.
fn machine(kernel: &Value) -> ([String; 2], u64) {
    let seen = &kernel["scenarios"][1]["measurements"];
    let text = |name: &str| seen[name].as_str().unwrap().to_owned();
    let time = seen["unix_s"].as_u64().unwrap();
    ([text("random"), text("boot_id")], time)
}

/// The one template of the cache.
pub(crate) fn template(cache: &Path) -> std::path::PathBuf {
    let all: Vec<_> = fs::read_dir(cache.join("templates")).unwrap().collect();
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].as_ref().unwrap().path()
}

/// Damages a template so that only QEMU finds out.
fn damage(template: &Path) {
    fs::write(template.join("state"), "nonsense").unwrap();
    let note = fs::read_to_string(template.join("template.json")).unwrap();
    let mut note: Value = serde_json::from_str(&note).unwrap();
    let digest = Sha256::digest("nonsense");
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    note["state_sha256"] = digest.into();
    fs::write(template.join("template.json"), note.to_string()).unwrap();
}

#[test]
fn vms_from_one_template_differ_in_randomness_and_have_the_current_time() {
    let cache = cache();
    let cache = cache.path();
    let (first, said) = on_5_10(cache, &[]);
    assert_eq!(first["boot"], "template", "{said}");
    assert!(said.contains("making a template"), "{said}");
    // Left by a harness that was killed.
    let key = template(cache);
    let left = format!(
        ".{}.x1Y2z3.partial",
        key.file_name().unwrap().to_str().unwrap()
    );
    let left = cache.join("templates").join(left);
    fs::create_dir(&left).unwrap();

    let (second, said) = on_5_10(cache, &[]);
    assert_eq!(second["boot"], "template", "{said}");
    assert!(!said.contains("making a template"), "{said}");
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let (first, second) = (machine(&first), machine(&second));
    for (one, other) in first.0.iter().zip(&second.0) {
        assert_ne!(one, other);
    }
    assert!(
        second.1.abs_diff(now.as_secs()) < 60,
        "{second:?} at {now:?}"
    );

    // Damaged, and found to be so before it is used.
    fs::write(key.join("state"), "nonsense").unwrap();
    let (third, said) = on_5_10(cache, &[]);
    assert_eq!(third["boot"], "template", "{said}");
    assert!(said.contains("is damaged and made again"), "{said}");
    assert!(!left.exists(), "what a killed harness left is still there");

    // Damaged in the other way: then it boots, and the template is gone.
    damage(&key);
    let (fourth, said) = on_5_10(cache, &[]);
    assert_eq!(fourth["boot"], "cold", "{said}");
    assert!(
        said.contains("restoring the template failed") && !key.exists(),
        "{said}"
    );

    let (fifth, said) = on_5_10(cache, &["--no-template"]);
    assert_eq!(fifth["boot"], "cold", "{said}");
    assert!(fifth["phases_ms"]["template"].is_null() && !key.exists());
}

#[test]
fn verify_finds_a_changed_byte_in_what_is_booted() {
    let cache = cache();
    let cache = cache.path();
    let (report, said) = on_5_10(cache, &[]);
    assert_eq!(report["boot"], "template", "{said}");
    let verify = || {
        run(harness(&["kernels", "verify", "5.10", "--cache-dir"])
            .arg(cache)
            .arg("--offline"))
    };
    assert_eq!(verify().status, 0);
    let template = template(cache);
    let unpacked = fs::read_dir(cache.join("vmlinux")).unwrap().next();
    for file in [
        unpacked.unwrap().unwrap().path(),
        template.join("ram"),
        template.join("state"),
    ] {
        let time = fs::metadata(&file).unwrap().modified().unwrap();
        let flip = || {
            let opened = fs::File::options().read(true).write(true).open(&file);
            let opened = opened.unwrap();
            let mut byte = [0];
            opened.read_exact_at(&mut byte, 3000).unwrap();
            opened.write_all_at(&[byte[0] ^ 1], 3000).unwrap();
            opened.set_modified(time).unwrap();
        };
        flip();
        let Ran { status, stdout, .. } = verify();
        assert_eq!(status, 1, "{}: {stdout}", file.display());
        for part in ["5.10", "damaged", "`harness cache clear`"] {
            assert!(stdout.contains(part), "{}: {stdout}", file.display());
        }
        flip();
        assert_eq!(verify().status, 0, "{}", file.display());
    }
}

#[test]
fn exec_restores_a_template_unless_that_fails_or_is_disabled() {
    let cache = cache();
    let cache = cache.path();
    // The devices through which the archive is handed over, with a template, and the output passes.
    let script = "grep -l 0x1110 /sys/bus/pci/devices/*/device | wc -l; exit 3";
    let exec = |more: &[&str], templates: &str| {
        let mut exec = harness(&["exec", "--kernel", "5.10", "--offline", "--accel", "tcg"]);
        exec.args(["-v", "--cache-dir"]).arg(cache).args(more);
        exec.args(["--", "sh", "-c", script]).stdin(Stdio::null());
        let Ran {
            status,
            stdout,
            stderr,
        } = run(&mut exec);
        assert_eq!((status, stdout.trim()), (3, templates), "{stderr}");
        stderr
    };
    let said = exec(&[], "2");
    assert!(said.contains("making a template"), "{said}");
    let template = template(cache);
    // With an input the VM is the same.
    let said = exec(&["--stdin"], "2");
    assert!(!said.contains("making a template"), "{said}");
    exec(&["--no-template"], "1");
    damage(&template);
    let said = exec(&[], "1");
    assert!(
        said.contains("restoring the template failed") && !template.exists(),
        "{said}"
    );
}

#[test]
fn kernel_without_mappable_devices_has_no_template_and_that_is_cached() {
    let cache = cache();
    let kernels = Kernels::open(crate::support::kernel_options()).unwrap();
    let resolved = kernels.resolve("5.10", &Silent).unwrap();
    let kernel = kernels.fetch(&resolved, &Silent).unwrap();
    let mut config = Config::new(&kernel.image, b"archive", Accelerator::Tcg);
    config.kernel_args = vec!["lockdown=confidentiality".to_owned()];
    let (qemu, stop) = (qemu(), Stop::new().unwrap());
    let templates = Templates::new(cache.path());
    let refusal = || {
        let mut said = Vec::new();
        let mut say = |what: &str| said.push(what.to_owned());
        let error = templates.obtain(&qemu, &config, &kernel, &stop, &mut say);
        (format!("{:#}", error.unwrap_err()), said)
    };
    let (error, said) = refusal();
    assert!(error.contains("is the kernel locked down?"), "{error}");
    assert_eq!(said, ["making a template"]);
    let (error, said) = refusal();
    assert!(
        error.contains("cached result") && said.is_empty(),
        "{error}"
    );
}
