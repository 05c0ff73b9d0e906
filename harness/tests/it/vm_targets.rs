//! The user's objects with BPF programs as targets, on real kernels.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::objects::{compile, program};
use crate::support::{build_programs, harness, run};
use serde_json::Value;

/// An XDP program with a subprogram.
const XDP: &str = r#"
    struct xdp_md { u32 data, data_end, rest[4]; };
    __attribute__((noinline)) int length(struct xdp_md *xdp) { return xdp->data_end - xdp->data; }
    SEC("xdp") int pass(struct xdp_md *xdp) { return length(xdp) ? 2 : 1; }
"#;

const TRACERS: &str = r#"
    u64 hits;
    SEC("fexit") int on_exit(u64 *ctx) { __sync_fetch_and_add(&hits, 1); return 0; }
    SEC("fexit") int on_length(u64 *ctx) { return 0; }
    SEC("fexit") int aimless(u64 *ctx) { return 0; }
    SEC("fexit/vfs_open") int on_open(u64 *ctx) { return 0; }
"#;

fn objects(dir: &Path) -> [PathBuf; 2] {
    [compile(dir, "tracers", TRACERS), compile(dir, "xdp", XDP)]
}

#[test]
fn program_of_another_object_is_a_target_and_one_without_a_target_is_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let [tracers, xdp] = objects(dir.path());
    let ran = run(harness(&["--kernel", "5.10,6.12"])
        .arg("--object")
        .arg(&tracers)
        .arg("--object")
        .arg(&xdp)
        .args(["--target", "on_exit=prog:pass"])
        .args(["--target", "on_length=prog:pass/length"])
        .args(["--trigger", "true"]));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let report = ran.report();
    for kernel in report["kernels"].as_array().unwrap() {
        assert_eq!(
            (&kernel["verdict"], &kernel["error"]),
            (&"ok".into(), &Value::Null)
        );
        for (name, target) in [
            ("on_exit", "prog:pass"),
            ("on_length", "prog:pass/length"),
            ("on_open", "vfs_open"),
        ] {
            let program = program(kernel, name);
            assert_eq!(
                (&program["outcome"], &program["target"]),
                (&"works".into(), &target.into()),
                "{program}"
            );
        }
        // Both are attached to the same XDP program.
        let alongside = program(kernel, "on_exit")["alongside"].as_array().unwrap();
        assert!(alongside.contains(&"on_length".into()), "{alongside:?}");
        let aimless = program(kernel, "aimless");
        assert_eq!(
            (&aimless["outcome"], &aimless["verdict"], &aimless["target"]),
            (&"skipped".into(), &"unknown".into(), &"".into())
        );
        assert_eq!(aimless["reason"]["kind"], "no-target");
        let text = aimless["reason"]["text"].as_str().unwrap();
        assert!(text.contains("--target aimless=FUNCTION"), "{text}");
    }
    ran.says(&["--target aimless=FUNCTION"]);
}

/// Builds the example `pin` of the library, which loads and pins a program, without debugging information, in this folder.
fn pin(folder: &Path) -> PathBuf {
    let pin = folder.join("pin");
    let mut strip = Command::new("strip");
    strip.arg(build_programs().join("examples/pin"));
    assert!(strip.arg("-o").arg(&pin).status().unwrap().success());
    pin
}

#[test]
fn program_that_another_loader_pinned_is_a_target() {
    let dir = tempfile::tempdir().unwrap();
    let [tracers, xdp] = objects(dir.path());
    let pin = pin(dir.path());
    let place = |path: &Path, place: &str| format!("{}:{place}", path.display());
    let harness = |prepare: &str| {
        let mut command = harness(&["--kernel", "5.10", "--prepare", prepare]);
        command.arg("--object").arg(&tracers);
        command.args(["--file", &place(&pin, "/usr/bin/pin")]);
        command.args(["--file", &place(&xdp, "/xdp.o")]);
        command.args(["--target", "on_exit=prog:pinned:/sys/fs/bpf/xdp"]);
        command.args(["--target", "on_length=prog:pinned:/sys/fs/bpf/xdp/length"]);
        command.args(["--target", "aimless=prog:id:4000000000"]);
        command.args(["--target", "on_open=prog:pinned:/sys/fs/bpf/xdp/width"]);
        run(&mut command)
    };
    let ran = harness("pin /xdp.o pass /sys/fs/bpf/xdp");
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    let report = ran.report();
    let kernel = &report["kernels"][0];
    for name in ["on_exit", "on_length"] {
        let program = program(kernel, name);
        assert_eq!(program["outcome"], "works", "{program}");
    }
    for (name, text) in [
        ("aimless", "no program with id 4000000000"),
        ("on_open", "no function `width`"),
    ] {
        let program = program(kernel, name);
        let reason = &program["reason"];
        assert_eq!(
            (&program["outcome"], &reason["kind"]),
            (&"refused".into(), &"target-refused".into()),
            "{program}"
        );
        assert!(reason["text"].as_str().unwrap().contains(text), "{reason}");
    }

    // If --prepare fails, the programs are skipped with the reason.
    let ran = harness("pin /xdp.o passed /sys/fs/bpf/xdp");
    assert_eq!(ran.status, 3, "{}", ran.stderr);
    let report = ran.report();
    let kernel = &report["kernels"][0];
    for program in kernel["programs"].as_array().unwrap() {
        assert_eq!(program["outcome"], "skipped", "{program}");
        let text = program["reason"]["text"].as_str().unwrap();
        assert!(
            text.contains("--prepare") && text.contains("`passed`"),
            "{text}"
        );
    }
    let error = kernel["error"].as_str().unwrap();
    assert!(error.contains("--prepare failed"), "{error}");
}

/// In 6.12 `blk_account_io_start` is `inline`, has a copy of its own, and BTF lists it.
#[test]
fn function_that_ftrace_cannot_trace_is_refused_with_that_reason() {
    let dir = tempfile::tempdir().unwrap();
    let source = r#"
        SEC("fentry/blk_account_io_start") int untraceable(u64 *ctx) { return 0; }
        SEC("fentry/vfs_open") int traceable(u64 *ctx) { return 0; }
    "#;
    let object = compile(dir.path(), "inline", source);
    let object = object.to_str().unwrap();
    let ran = run(&mut harness(&["--kernel", "6.12", "--object", object]));
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    let report = ran.report();
    let kernel = &report["kernels"][0];
    let reason = &program(kernel, "untraceable")["reason"];
    assert_eq!(reason["kind"], "attach", "{reason}");
    let text = reason["text"].as_str().unwrap();
    assert!(text.contains("it is `notrace`"), "{text}");
    assert_eq!(program(kernel, "traceable")["outcome"], "works");
}
