//! The user's objects: errors that are found before a VM boots.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::objects::{clang, compile};
use crate::support::{harness, run};

const SOURCE: &str = r#"
    SEC("fexit/vfs_read") int on_read(u64 *ctx) { return 0; }
    SEC("xdp") int on_frame(void *ctx) { return 2; }
"#;

#[test]
fn inconsistent_object_options_fail_before_booting() {
    let dir = tempfile::tempdir().unwrap();
    let sound = compile(dir.path(), "sound", SOURCE);
    let sound = sound.to_str().unwrap();
    let empty = compile(dir.path(), "empty", "int unused;");
    let vague = compile(
        dir.path(),
        "vague",
        r#"SEC("fexit") int vague(u64 *ctx) { return 0; }"#,
    );
    let many = ".macro prog\n.globl p\\@\n.type p\\@,@function\np\\@:\n r0 = 0\n exit\n.size p\\@, 16\n.endm\n\
                .section \"fexit/vfs_read\",\"ax\",@progbits\n.rept 300\nprog\n.endr\n";
    let many = clang(dir.path(), "many", many, &["-x", "assembler"]);
    for (args, parts) in [
        (
            vec!["--object", "/no/such.bpf.o"],
            vec!["/no/such.bpf.o", "No such file"],
        ),
        (
            vec!["--object", empty.to_str().unwrap()],
            vec!["no program at all"],
        ),
        (
            vec!["--object", vague.to_str().unwrap()],
            vec!["names no target", "--target vague=FUNCTION"],
        ),
        (
            vec!["--object", many.to_str().unwrap()],
            vec!["300 programs", "256", "--program"],
        ),
        (
            vec!["--object", sound, "--target", "on_read"],
            vec!["PROG=FUNCTION"],
        ),
        (
            vec!["--object", sound, "--program", "on_write*"],
            vec![
                "--program `on_write*` matches no program",
                "on_frame, on_read",
            ],
        ),
        (
            vec!["--object", sound, "--optional", "[on"],
            vec!["--optional `[on` is not a pattern"],
        ),
        (
            vec!["--object", sound, "--any-of", "on_read,on_write"],
            vec!["--any-of", "`on_write` matches no program"],
        ),
        (
            vec!["--object", sound, "--target", "on_write=vfs_write"],
            vec!["`on_write`", "on_read"],
        ),
        (
            vec!["--object", sound, "--target", "on_read=prog:nothing"],
            vec!["no other program", "on_frame (xdp)"],
        ),
        (
            vec!["--object", sound, "--target", "on_read=prog:on_frame/"],
            vec!["`on_read=prog:on_frame/`", "/SUBPROGRAM"],
        ),
        (
            vec!["--object", sound, "--target", "on_read=prog:id:seven"],
            vec!["no number", "bpftool prog"],
        ),
        (
            vec!["--object", sound, "--target", "on_read=prog:pinned:xdp"],
            vec!["no absolute path", "/sys/fs/bpf/"],
        ),
        (vec!["--prepare", "true"], vec!["--object"]),
        (
            vec!["--object", sound, "--file", "/no/such"],
            vec!["--file /no/such", "No such file"],
        ),
        (
            vec!["--object", sound, "--target", "on_read=prog:on_read"],
            vec!["no other program"],
        ),
        (vec!["--trigger", "true"], vec!["--object"]),
        (vec!["--target", "a=b"], vec!["--object"]),
    ] {
        let ran = run(harness(&["--kernel", "5.10"]).args(&args));
        ran.one_error(2, &parts);
        assert_eq!(ran.stdout, "", "{args:?}");
    }
    run(&mut harness(&["minimum"])).one_error(2, &["--object"]);
    run(&mut harness(&["minimum", "--object", "/bin/true"])).one_error(2, &["another machine"]);
}

/// Programs as targets of others are resolved before a VM boots.
#[test]
fn ambiguous_target_program_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let object = |name: &str, source: &str| {
        let object = compile(dir.path(), name, source);
        object.to_str().unwrap().to_owned()
    };
    let xdp = r#"SEC("xdp") int pass(void *ctx) { return 2; }"#;
    let (first, second) = (object("first", xdp), object("second", xdp));
    let tracers = object(
        "tracers",
        r#"
            SEC("fexit") int on_exit(u64 *ctx) { return 0; }
            SEC("fexit") int outer(u64 *ctx) { return 0; }
        "#,
    );
    let own = object(
        "own",
        r#"
            SEC("fexit") int on_exit(u64 *ctx) { return 0; }
            SEC("xdp") int pass(void *ctx) { return 2; }
        "#,
    );
    let refused = |objects: &[&str], targets: &[&str], parts: &[&str]| {
        let mut command = harness(&["--kernel", "5.10"]);
        for object in objects {
            command.args(["--object", object]);
        }
        for target in targets {
            command.args(["--target", target]);
        }
        run(&mut command).one_error(2, parts);
    };
    refused(
        &[&tracers, &first, &second],
        &["on_exit=prog:pass"],
        &["ambiguous", &first, &second, "pass only one"],
    );
    refused(
        &[&tracers, &first],
        &["on_exit=prog:past"],
        &["no other program", "pass (xdp)"],
    );
    refused(
        &[&tracers],
        &["on_exit=prog:outer"],
        &["`outer`", "has no target itself", "--target outer=FUNCTION"],
    );
    refused(
        &[&tracers],
        &["on_exit=prog:outer", "outer=prog:on_exit"],
        &["outer=prog:on_exit", "form a cycle"],
    );

    let inspect = |args: &[&str]| {
        let ran = run(harness(&["inspect", "--json"]).args(args));
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        let info: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let program = info["objects"][0]["programs"].as_array().unwrap();
        let found = program.iter().find(|p| p["name"] == "on_exit").unwrap();
        (found["target"].clone(), found["minimum"].clone())
    };
    // The program of the same object comes first.
    let target = ["--target", "on_exit=prog:pass"];
    let ran = inspect(&[&[own.as_str(), &first, &second], &target[..]].concat());
    assert_eq!(ran, ("prog:pass".into(), "5.5".into()));
    let target = [
        "--target",
        "on_exit=prog:outer",
        "--target",
        "outer=vfs_read",
    ];
    let ran = inspect(&[&[tracers.as_str()], &target[..]].concat());
    assert_eq!(ran, ("prog:outer".into(), "6.8".into()));
    let ran = inspect(&[&tracers]);
    assert_eq!(ran, (serde_json::Value::Null, "5.5".into()));
    run(&mut harness(&[
        "inspect",
        &tracers,
        "--target",
        "on_entry=vfs_read",
    ]))
    .one_error(2, &["`on_entry`", "on_exit, outer"]);
}

/// A kernel that cannot be downloaded does not count against the program; the report lists every program.
#[test]
fn kernel_that_cannot_be_downloaded_is_infra() {
    let dir = tempfile::tempdir().unwrap();
    let object = compile(dir.path(), "sound", SOURCE);
    let mut command = harness(&[
        "--kernel",
        "5.10",
        "--offline",
        "--object",
        object.to_str().unwrap(),
    ]);
    let ran = run(command.args(["--cache-dir", dir.path().to_str().unwrap()]));
    assert_eq!(ran.status, 3, "{}", ran.stderr);
    let report = ran.report();
    let rows = report["kernels"][0]["programs"].as_array().unwrap();
    let program = rows.iter().find(|row| row["program"] == "on_read").unwrap();
    assert_eq!(
        (&program["outcome"], &program["verdict"]),
        (&"skipped".into(), &"unknown".into())
    );
    assert_eq!(program["target"], "vfs_read");
    assert_eq!(
        report["kernels"][0]["scenarios"],
        serde_json::json!([]),
        "no scenario was requested"
    );
    assert_eq!(rows.len(), 2, "every program has a row");
    assert_eq!(report["objects"][0]["not_ours"], serde_json::json!([]));
}
