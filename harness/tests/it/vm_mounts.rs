//! `harness exec --mount`: folders of the host by virtiofs.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Command,
};

use crate::{
    support::{harness, run},
    vm_options::exec,
};

/// The virtiofsd of this machine; not every one can keep a VM from writing.
fn has_read_only() -> bool {
    let places = [
        "/usr/libexec/virtiofsd",
        "/usr/lib/virtiofsd",
        "/usr/lib/qemu/virtiofsd",
    ];
    let named = std::env::var("VIRTIOFSD").ok().into_iter();
    let mut all = named.chain(places.map(str::to_owned));
    let found = all.find(|path| Path::new(path).exists()).unwrap();
    let help = Command::new(found).arg("--help").output().unwrap();
    String::from_utf8_lossy(&help.stdout).contains("--readonly")
}

#[test]
fn mounted_folder_is_the_hosts_and_changes_stay() {
    let dir = tempfile::tempdir().unwrap();
    let (shared, other) = (dir.path().join("shared"), dir.path().join("other"));
    for folder in [&shared, &other] {
        fs::create_dir(folder).unwrap();
    }
    fs::write(shared.join("data"), "from the host\n").unwrap();
    fs::write(other.join("more"), "more\n").unwrap();
    // What a hostile program finds outside of the folder is the VM's.
    symlink("/etc/hostname", shared.join("link")).unwrap();
    let script = "cat data /other/more; test -e link || echo no link; mkdir new; echo from the VM > new/file; \
        echo again >> /other/more; exit 3";
    for kernel in ["5.10", "7.3"] {
        let _ = fs::remove_dir_all(shared.join("new"));
        fs::write(other.join("more"), "more\n").unwrap();
        let mut exec = harness(&["exec", "--kernel", kernel, "--mount", "."]);
        let second = format!("{}:/other", other.display());
        let exec = exec.args(["--mount", &second, "--", "sh", "-c", script]);
        let ran = run(exec.current_dir(&shared));
        assert_eq!(ran.status, 3, "{}", ran.stderr);
        assert_eq!(ran.stdout, "from the host\nmore\nno link\n");
        assert_eq!(
            fs::read_to_string(shared.join("new/file")).unwrap(),
            "from the VM\n"
        );
        assert_eq!(
            fs::read_to_string(other.join("more")).unwrap(),
            "more\nagain\n"
        );
    }
}

#[test]
fn read_only_mount_cannot_be_written_even_after_a_remount() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("data"), "data\n").unwrap();
    let mount = format!("--mount={}:/data:ro", dir.path().display());
    let script = "cat /data/data; echo x > /data/new; mount -o remount,rw /data; (echo x > /data/new) || echo refused";
    let ran = run(&mut exec(&[&mount], &["sh", "-c", script]));
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "the VM has written"
    );
    if has_read_only() {
        assert_eq!(
            (ran.status, ran.stdout.as_str()),
            (0, "data\nrefused\n"),
            "{}",
            ran.stderr
        );
    } else {
        ran.one_error(125, &["`:ro`", "virtiofsd 1.11 or later"]);
    }
}

#[test]
fn missing_virtiofsd_or_virtiofs_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let mount = format!("--mount={}", dir.path().display());
    let with = |program: &str, options: &[&str]| {
        let mut exec = exec(&[options, &[&mount]].concat(), &["true"]);
        run(exec.env("VIRTIOFSD", program))
    };
    with("/nowhere/virtiofsd", &[]).one_error(125, &["cannot run /nowhere/virtiofsd"]);
    with("/bin/true", &[]).one_error(125, &["/bin/true cannot be used as virtiofsd"]);
    let fails = dir.path().join("fails");
    fs::write(
        &fails,
        "#!/bin/sh\necho --socket-path --shared-dir; echo not today >&2; exit 4\n",
    )
    .unwrap();
    fs::set_permissions(&fails, fs::Permissions::from_mode(0o755)).unwrap();
    let ran = with(fails.to_str().unwrap(), &[]);
    ran.one_error(125, &["virtiofsd for ", "exit status: 4: not today"]);
    // A kernel whose modules do not have it.
    let cache = crate::support::cache_dir().join("kernels");
    let kernels = fs::read_dir(cache)
        .unwrap()
        .map(|kernel| kernel.unwrap().path());
    let kernel = kernels
        .into_iter()
        .find(|path| path.join("vmlinuz").exists())
        .unwrap();
    let modules = dir.path().join("modules");
    fs::create_dir(&modules).unwrap();
    fs::write(modules.join("modules.builtin"), "").unwrap();
    let image = kernel.join("vmlinuz").display().to_string();
    let mut exec = harness(&[
        "exec",
        "--kernel-image",
        &image,
        "--modules",
        modules.to_str().unwrap(),
    ]);
    let ran = run(exec.args([&mount, "--", "true"]));
    ran.one_error(125, &["--mount needs a kernel with virtiofs", "virtio_pci"]);
}
