//! Infrastructure failures: exit status 3, one error, and a report that lists everything.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use crate::support::{Ran, harness, objects::compile, run, stalled::Stalled, workspace};

/// The report has the verdict `infra` with the reason, and the scenario as not reached.
#[track_caller]
fn is_infra(ran: &Ran, why: &[&str]) {
    assert_eq!(ran.status, 3, "{}", ran.stderr);
    let report = ran.report();
    assert_eq!(report["verdict"], "infra");
    for kernel in report["kernels"].as_array().unwrap() {
        assert_eq!(kernel["verdict"], "infra");
        let error = kernel["error"].as_str().unwrap();
        for part in why {
            assert!(error.contains(part), "no `{part}` in {error}");
        }
        let scenarios = kernel["scenarios"].as_array().unwrap();
        assert_eq!(scenarios.len(), 1);
        assert_eq!(scenarios[0]["verdict"], "unknown");
    }
}

#[test]
fn missing_qemu_exits_3_and_names_the_package() {
    let empty = tempfile::tempdir().unwrap();
    let args = ["--kernel", "5.10,6.1", "--scenario", "attach", "--offline"];
    let ran = run(harness(&args).env("PATH", empty.path()));
    ran.one_error(3, &["qemu-system-x86_64 is not on PATH", "install"]);
    is_infra(&ran, &["qemu-system-x86_64 is not on PATH"]);
    assert_eq!(ran.report()["kernels"].as_array().unwrap().len(), 2);
}

#[test]
fn invalid_qemu_exits_3() {
    let args = ["--kernel", "5.10", "--scenario", "attach", "--offline"];
    let ran = run(harness(&args).env("QEMU", "/bin/false"));
    ran.one_error(3, &["/bin/false"]);
    is_infra(&ran, &["/bin/false"]);
}

#[test]
fn kvm_asked_for_is_used_or_refused_with_a_way_out() {
    let args = ["--kernel", "5.10", "--scenario", "attach", "--accel", "kvm"];
    let ran = run(&mut harness(&args));
    if ran.status == 0 {
        assert_eq!(ran.report()["kernels"][0]["accelerator"], "kvm");
    } else {
        ran.one_error(3, &["KVM is not usable", "`--accel auto` or `--accel tcg`"]);
        is_infra(&ran, &["KVM is not usable"]);
    }
}

#[test]
fn cache_that_cannot_be_written_is_infra() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let cache = file.path().join("cache").display().to_string();
    let args = [
        "--kernel",
        "5.10",
        "--scenario",
        "attach",
        "--cache-dir",
        &cache,
    ];
    let ran = run(&mut harness(&args));
    ran.says(&[&cache]);
    is_infra(&ran, &[&cache, "--cache-dir names another folder"]);
}

#[test]
fn full_disk_under_the_cache_is_infra() {
    let kernels = tempfile::tempdir().unwrap();
    let matrix = matrix_with_mirror(kernels.path(), &serve(vec![0; 1 << 20]));
    let cache = tempfile::tempdir().unwrap();
    let args = [
        "--kernel",
        "5.10",
        "--scenario",
        "attach",
        "--matrix",
        &matrix,
    ];
    let mut command = harness(&args);
    command.arg("--cache-dir").arg(cache.path());
    let Some(mut command) = on_small_disk(&command, cache.path(), "128k") else {
        return;
    };
    let ran = run(&mut command);
    let place = cache.path().display().to_string();
    is_infra(
        &ran,
        &[
            "No space left on device",
            &place,
            "--cache-dir names another folder",
        ],
    );
}

#[test]
fn full_disk_under_the_report_prints_it_to_stdout() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("report.json");
    let mut command = harness(&["--kernel", "5.10", "--offline", "--output"]);
    command.arg(&output).env("QEMU", "/bin/false");
    let Some(mut command) = on_small_disk(&command, dir.path(), "4k") else {
        return;
    };
    let ran = run(&mut command);
    ran.one_error(
        3,
        &["cannot write", "report.json", "No space left on device"],
    );
    // The report goes to stdout instead.
    assert_eq!(ran.report()["verdict"], "infra");
}

#[test]
fn exit_statuses_of_the_kernels_commands() {
    let kernels = tempfile::tempdir().unwrap();
    let matrix = matrix_with_mirror(kernels.path(), &serve(b"this is no kernel".to_vec()));
    let cache = tempfile::tempdir().unwrap();
    let kernels = |args: &[&str]| {
        let mut command = harness(&["kernels"]);
        command
            .args(args)
            .args(["--matrix", &matrix, "--cache-dir"]);
        run(command.arg(cache.path()))
    };
    let verified = kernels(&["verify", "5.10"]);
    assert_eq!(verified.status, 3, "{}", verified.stderr);
    assert!(verified.stdout.contains("not in the cache"));
    let fetched = kernels(&["fetch", "5.10"]);
    assert_eq!(fetched.status, 3, "{}", fetched.stderr);
    fetched.says(&["5.10", "cannot be downloaded", "it ended after 17 of"]);
    kernels(&["fetch", "5.11"]).one_error(2, &["unknown kernel \"5.11\""]);
    kernels(&["update", "5.11"]).one_error(2, &["unknown kernel \"5.11\""]);
    kernels(&["update", "5.10.3"])
        .one_error(2, &["only a series or the tag of an image can be locked"]);
    let updated = kernels(&["update"]);
    assert_eq!(updated.status, 3, "{}", updated.stderr);
    assert!(updated.stdout.contains("not updated"), "{}", updated.stdout);
    let listed = kernels(&["list", "--json"]);
    assert_eq!(listed.status, 0, "{}", listed.stderr);
    assert!(listed.stdout.starts_with("[{\"kernel\":\"5.10\""));
}

#[test]
fn offline_with_nothing_in_the_cache() {
    let cache = tempfile::tempdir().unwrap();
    let cache = cache.path().display().to_string();
    let args = [
        "--kernel",
        "5.10",
        "--scenario",
        "attach",
        "--offline",
        "--cache-dir",
        &cache,
    ];
    let ran = run(&mut harness(&args));
    ran.says(&["--offline"]);
    is_infra(&ran, &["--offline"]);
}

#[test]
fn corrupt_download_is_refused_by_its_checksum() {
    let cache = tempfile::tempdir().unwrap();
    let kernels = tempfile::tempdir().unwrap();
    let matrix = matrix_with_mirror(kernels.path(), &serve(vec![0; locked_size()]));
    let cache = cache.path().display().to_string();
    let args = [
        "--kernel",
        "5.10",
        "--scenario",
        "attach",
        "--matrix",
        &matrix,
        "--cache-dir",
        &cache,
    ];
    let ran = run(&mut harness(&args));
    is_infra(&ran, &["linux-image-5.10", "127.0.0.1", "its SHA-256 is"]);
    let kept = fs::read_dir(Path::new(&cache).join("kernels"));
    assert_eq!(
        kept.map_or(0, Iterator::count),
        0,
        "something of it was kept"
    );
}

#[test]
fn download_that_stalls_can_be_interrupted() {
    stalls_and_is_interrupted(true);
}

#[test]
fn index_that_stalls_can_be_interrupted() {
    stalls_and_is_interrupted(false);
}

/// A locked kernel is downloaded at once; for another one the index is downloaded first.
fn stalls_and_is_interrupted(locked: bool) {
    let cache = tempfile::tempdir().unwrap();
    let kernels = tempfile::tempdir().unwrap();
    let stalled = Stalled::new();
    let matrix = matrix_with_mirror(kernels.path(), &stalled.url);
    if !locked {
        fs::remove_file(kernels.path().join("kernels.lock")).unwrap();
    }
    let cache = cache.path().display().to_string();
    let args = [
        "--kernel",
        "5.10",
        "--scenario",
        "attach",
        "--matrix",
        &matrix,
        "--cache-dir",
        &cache,
    ];
    let ran = stalled.interrupt(&mut harness(&args));
    assert_eq!(ran.report()["kernels"][0]["error"], "interrupted");
}

#[test]
fn so_can_what_a_program_in_a_vm_waits_for() {
    let dir = tempfile::tempdir().unwrap();
    let source = r#"SEC("fexit/vfs_read") int on_read(u64 *ctx) { return 0; }"#;
    let object = compile(dir.path(), "demo", source).display().to_string();
    for args in [
        &["exec", "--kernel", "5.10"][..],
        &["shell", "--kernel", "5.10"],
        &["minimum", "--kernel", "5.10", "--object", &object],
    ] {
        for locked in [true, false] {
            let kernels = tempfile::tempdir().unwrap();
            let stalled = Stalled::new();
            let matrix = matrix_with_mirror(kernels.path(), &stalled.url);
            if !locked {
                fs::remove_file(kernels.path().join("kernels.lock")).unwrap();
            }
            let mut command = harness(args);
            command.args(["--matrix", &matrix, "--cache-dir"]);
            command.arg(kernels.path().join("cache"));
            if args[0] == "exec" {
                command.args(["--", "true"]);
            }
            let ran = stalled.interrupt(command.stdin(Stdio::null()));
            ran.says(&["interrupted"]);
            assert_eq!(ran.stdout, "", "{args:?}");
        }
    }
}

#[test]
fn report_that_cannot_be_printed_is_infra() {
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let args = ["--kernel", "5.10", "--scenario", "attach", "--offline"];
    let mut command = harness(&args);
    command
        .env("QEMU", "/bin/false")
        .stdout(full)
        .stderr(Stdio::piped());
    let ran: Ran = command.spawn().unwrap().wait_with_output().unwrap().into();
    ran.one_error(3, &["cannot write the report to stdout", "/bin/false"]);
}

/// A matrix of one kernel, the locked 5.10, whose only mirror is `url`; returns its path.
fn matrix_with_mirror(dir: &Path, url: &str) -> String {
    let text = format!(
        "[source.bullseye-security]\n\
         kind = \"debian\"\n\
         mirrors = [\"{url}\"]\n\
         suite = \"bullseye-security\"\n\
         keyring = \"debian-security\"\n\
         [packages.cloud]\n\
         required = [\"linux-image-{{abi}}-cloud-amd64\"]\n\
         [[series]]\n\
         names = [\"5.10\"]\n\
         source = \"bullseye-security\"\n\
         packages = \"cloud\"\n"
    );
    let original = workspace().join("kernels");
    fs::write(dir.join("kernels.toml"), text).unwrap();
    fs::copy(original.join("kernels.lock"), dir.join("kernels.lock")).unwrap();
    fs::create_dir(dir.join("keys")).unwrap();
    let key = "keys/debian-security.asc";
    fs::copy(original.join(key), dir.join(key)).unwrap();
    dir.join("kernels.toml").display().to_string()
}

/// The size of the locked 5.10.
fn locked_size() -> usize {
    let ran = run(&mut harness(&["kernels", "list", "5.10", "--json"]));
    let list: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    usize::try_from(list[0]["size"].as_u64().unwrap()).unwrap()
}

/// The same command, with a separate disk of that size on `dir`. `None`, with a message, if only root may mount one.
fn on_small_disk(command: &Command, dir: &Path, size: &str) -> Option<Command> {
    let own = || {
        let mut unshare = Command::new("unshare");
        unshare.args(["--map-root-user", "--mount"]);
        unshare
    };
    if !own()
        .arg("true")
        .status()
        .is_ok_and(|status| status.success())
    {
        eprintln!("left out: this system lets us mount nothing");
        return None;
    }
    let script = r#"mount -t tmpfs -o "size=$1" none "$2" && shift 2 && exec "$@""#;
    let mut small = own();
    small.args(["sh", "-c", script, "sh", size]).arg(dir);
    small.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => small.env(name, value),
            None => small.env_remove(name),
        };
    }
    Some(small)
}

/// A web server that answers every request with `body`; its address.
fn serve(body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let head = BufReader::new(&stream).lines().map_while(Result::ok);
            head.take_while(|line| !line.is_empty()).for_each(drop);
            let length = body.len();
            // The harness may close the connection at any time.
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            let _ = stream.write_all(&body);
        }
    });
    url
}
