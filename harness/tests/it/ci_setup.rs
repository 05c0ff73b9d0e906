//! `ci/setup` prints nothing on stdout: the command after it in the README prints JSON there.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::{Command, Output},
};

/// The real tools that the script may use; a test provides all others on its PATH.
const REAL: [&str; 9] = [
    "chmod", "cut", "dirname", "grep", "id", "mkdir", "sed", "sh", "sort",
];

const CARGO: &str = "echo cargo $(sed -n 1p \"$HOME/version\" || echo 1.0.0)";
const APT_GET: &str = "echo apt-get out; echo apt-get err >&2";
const SUDO: &str = "exec \"$@\"";

/// Runs the script with only these tools.
fn setup(tools: &[(&str, &str)]) -> Output {
    setup_with(&[], tools)
}

/// Runs the script with these arguments and only these tools.
fn setup_with(args: &[&str], tools: &[(&str, &str)]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    for name in REAL {
        let found = ["/usr/bin", "/bin"]
            .map(|dir| Path::new(dir).join(name))
            .into_iter()
            .find(|path| path.exists());
        symlink(found.unwrap(), bin.join(name)).unwrap();
    }
    for (name, body) in tools {
        let path = bin.join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../ci/setup"))
        .args(args)
        .env_clear()
        .env("PATH", &bin)
        .env("HOME", dir.path())
        .output()
        .unwrap()
}

/// It ended with `status`, printed nothing on stdout, and all of `lines` on stderr.
#[track_caller]
fn prints_to_stderr_alone(output: &Output, status: i32, lines: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    for line in lines {
        assert!(stderr.contains(line), "no `{line}` in\n{stderr}");
    }
}

#[test]
fn installing_packages_and_updating_rust_prints_to_stderr_alone() {
    let rustup = "echo rustup $1 out; echo rustup $1 err >&2; echo 99.0.0 > \"$HOME/version\"";
    let output = setup(&[
        ("apt-get", APT_GET),
        ("sudo", SUDO),
        ("cargo", CARGO),
        ("rustup", rustup),
    ]);
    let lines = [
        "apt-get out",
        "apt-get err",
        "rustup update out",
        "rustup default err",
    ];
    prints_to_stderr_alone(&output, 0, &lines);
}

#[test]
fn installing_rust_prints_to_stderr_alone() {
    let install = r##"echo '
        echo installer out
        echo installer err >&2
        mkdir -p "$HOME/.cargo/bin"
        echo "#!/bin/sh
            echo cargo 99.0.0" > "$HOME/.cargo/bin/cargo"
        chmod +x "$HOME/.cargo/bin/cargo"'"##;
    let output = setup(&[("apt-get", APT_GET), ("sudo", SUDO), ("curl", install)]);
    let lines = [
        "apt-get out",
        "installer out",
        "installer err",
        "Rust is installed",
    ];
    prints_to_stderr_alone(&output, 0, &lines);
}

#[test]
fn failure_prints_only_to_stderr() {
    let apt_get = format!("{APT_GET}; exit 100");
    let output = setup(&[("apt-get", &apt_get), ("sudo", SUDO)]);
    prints_to_stderr_alone(&output, 100, &["apt-get out"]);
    let output = setup(&[]);
    prints_to_stderr_alone(&output, 1, &["please install with your package manager"]);
}

#[test]
fn only_tests_require_archive_tools_registry_and_browser() {
    let tools = [("cargo", CARGO)];
    for (args, required) in [(&[] as &[&str], false), (&["--tests"], true)] {
        let output = setup_with(args, &tools);
        prints_to_stderr_alone(&output, 1, &["qemu-system-x86", "clang"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        for package in ["createrepo-c", "docker-registry", "chromium"] {
            assert_eq!(stderr.contains(package), required, "{args:?}\n{stderr}");
        }
    }
    let output = setup_with(&["--arm64"], &tools);
    prints_to_stderr_alone(&output, 1, &["qemu-system-arm"]);
    let browser = [("cargo", CARGO), ("google-chrome", "")];
    let output = setup_with(&["--tests"], &browser);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("chromium"));
    prints_to_stderr_alone(
        &setup_with(&["--test"], &tools),
        2,
        &["unknown argument --test"],
    );
}

#[test]
fn fedora_and_arch_install_packages_by_their_own_names() {
    let record = "echo \"$0 $*\"";
    for (manager, command, packages) in [
        (
            "dnf",
            "install",
            ["qemu-system-x86-core", "gcc-c++", "createrepo_c"],
        ),
        ("pacman", "-S", ["qemu-system-x86", "clang", "rpm-tools"]),
    ] {
        let rust = ("cargo", "echo cargo 99.0.0");
        let tools = [(manager, record), ("sudo", SUDO), rust, ("curl", "exit 9")];
        let output = setup_with(&["--tests"], &tools);
        let no_package = "no package has apt-ftparchive docker-registry";
        prints_to_stderr_alone(&output, 0, &[no_package, &format!("/{manager} {command} ")]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let install = stderr.lines().find(|line| line.contains(command)).unwrap();
        let words: Vec<_> = install.split(' ').collect();
        for package in packages {
            assert!(words.contains(&package), "no {package} in {install}");
        }
        for other in ["-", "qemu-system-x86_64", "g++", "libc6-dev", "curl"] {
            assert!(!words.contains(&other), "{other} is in {install}");
        }
    }
}
