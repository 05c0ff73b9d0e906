//! The user's objects on real kernels: which programs work, and the reason why the others do not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::objects::{compile, program};
use crate::support::{harness, run};
use harness::{kernels::Kernels, support::progress::Silent};
use serde_json::{Value, json};

/// Each program shows one way in which a program works or fails.
const SOURCE: &str = r#"
    struct gone { long never; } CORE;
    struct file { long f_pos; long f_never_was; } CORE;
    u64 hits;
    int negative = -5;
    struct {
        int (*type)[1]; int (*max_entries)[64]; u32 *key; u64 *value;
    } by_result SEC(".maps");

    SEC("fexit/filename_lookup") int works(u64 *ctx) {
        u32 key = ctx[4] == 0;
        u64 one = 1, *count = map_lookup_elem(&by_result, &key);
        if (count)
            __sync_fetch_and_add(count, 1);
        else
            map_update_elem(&by_result, &key, &one, 0);
        __sync_fetch_and_add(&hits, 1);
        return 0;
    }
    SEC("fexit/filename_lookup") int cookie(u64 *ctx) { hits += get_attach_cookie(ctx); return 0; }
    SEC("fexit/filename_lookupp") int no_target(u64 *ctx) { return 0; }
    SEC("fexit/vfs_read") int no_field(u64 *ctx) {
        struct file *file = (void *)ctx[0];
        hits += file->f_never_was;
        return 0;
    }
    SEC("fexit/vfs_read") int asks_first(u64 *ctx) {
        struct file *file = (void *)ctx[0];
        if (__builtin_preserve_field_info(file->f_never_was, 2))
            hits += file->f_never_was;
        return 0;
    }
    SEC("fexit/vfs_read") int refused(u64 *ctx) { hits += ctx[20]; return 0; }
    SEC("fexit/tun:tun_chr_open") int of_module(u64 *ctx) { hits++; return 0; }
    SEC("fexit/on_frame") int of_program(u64 *ctx) { hits++; return 0; }
    SEC("xdp") int on_frame(void *ctx) { return 2; }
    SEC("fentry/vfs_read") int on_entry(u64 *ctx) { return 0; }
"#;

#[test]
fn each_program_works_or_is_refused_with_the_expected_reason() {
    let dir = tempfile::tempdir().unwrap();
    let object = compile(dir.path(), "each", SOURCE);
    let ran = run(
        harness(&["--kernel", "5.10,6.1", "--object", object.to_str().unwrap()]).args([
            "--target",
            "of_program=prog:on_frame",
            "--trigger",
            "for i in 1 2 3; do ls / > /dev/null; done; echo said; exit 7",
        ]),
    );
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    let report = ran.report();
    for (number, old) in [(0, true), (1, false)] {
        let kernel = &report["kernels"][number];
        assert_eq!(
            (&kernel["verdict"], &kernel["error"]),
            (&"not-ok".into(), &Value::Null)
        );
        let outcome = |name: &str| program(kernel, name)["outcome"].as_str().unwrap();
        let reason = |name: &str| program(kernel, name)["reason"].clone();
        for name in ["works", "asks_first", "of_program"] {
            assert_eq!(outcome(name), "works", "{}", program(kernel, name));
        }
        let works = program(kernel, "works");
        for stage in ["load", "attach", "detach"] {
            assert_eq!(works["stages"][stage]["ok"], true, "{works}");
        }
        let runs = works["run_count"].as_u64().unwrap();
        assert!(runs >= 3, "{works}");
        assert!(works["mean_ns"].as_u64().unwrap() > 0, "{works}");
        let trigger = &works["trigger"];
        assert_eq!(
            (&trigger["ok"], &trigger["output"]),
            (&false.into(), &"said".into())
        );
        assert!(
            trigger["ended"].as_str().unwrap().contains('7'),
            "{trigger}"
        );
        let global = |name: &str| {
            let globals = works["globals"].as_array().unwrap();
            globals.iter().find(|g| g["name"] == name).unwrap()["value"].clone()
        };
        let hits = global("hits").as_u64().unwrap();
        // Other processes call the function too, until the end.
        assert!(hits >= runs, "{hits} hits, {runs} runs");
        let map = &works["maps"][0];
        assert_eq!(
            (&map["name"], &map["type"]),
            (&"by_result".into(), &"hash".into())
        );
        let counted = map["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e[1].as_u64().unwrap());
        assert_eq!(counted.sum::<u64>(), hits, "{map}");

        assert_eq!(
            (outcome("no_target"), &reason("no_target")["kind"]),
            ("refused", &"target-missing".into())
        );
        assert_eq!(reason("no_target")["nearest"][0], "filename_lookup");
        assert_eq!(reason("no_field")["kind"], "core-missing");
        assert_eq!(
            reason("no_field")["missing"],
            json!(["struct file.f_never_was"])
        );
        assert_eq!(reason("refused")["kind"], "verifier");
        let text = reason("refused")["text"].as_str().unwrap().to_owned();
        assert!(text.contains("invalid bpf_context access"), "{text}");
        let log = program(kernel, "refused")["log"].as_str().unwrap();
        assert!(
            log.contains("invalid bpf_context access") && log.len() > text.len() / 2,
            "{log}"
        );
        if old {
            for (name, feature, minimum) in [
                ("cookie", "cookie", "5.19"),
                ("of_module", "module-target", "5.11"),
            ] {
                let reason = reason(name);
                assert_eq!(reason["kind"], "too-new", "{reason}");
                assert_eq!(
                    (&reason["feature"], &reason["minimum"]),
                    (&feature.into(), &minimum.into())
                );
            }
        } else {
            assert_eq!(
                (outcome("cookie"), outcome("of_module")),
                ("works", "works")
            );
        }
    }
    ran.says(&["on_entry of each.bpf.o", "fired "]);
}

/// Programs that the kernel refuses, or whose target does not exist under that name.
const REASONS: &str = r#"
    u64 sum;
    static long add(u32 round, void *context) { sum += round; return 0; }
    SEC("fexit/vfs_open") int callback(u64 *ctx) {
        ((long (*)(u32, void *, void *, u64))181)(10, add, 0, 0);
        return 0;
    }
    SEC("fexit/vfs_open") int uninitialized(u64 *ctx) { asm volatile("r0 = r3" ::: "r0"); return 0; }
    SEC("fexit/do_execve") int prefix(u64 *ctx) { return 0; }
    SEC("fexit/finish_task_switch") int copy(u64 *ctx) { return 0; }
    SEC("fexit/do_unlinkat") int renamed(u64 *ctx) { return 0; }
    SEC("fexit/VFS_OPEN") int letter_case(u64 *ctx) { return 0; }
    SEC("fexit/vfs_open+0x4") int offset(u64 *ctx) { return 0; }
    SEC("fexit/vmlinux:vfs_open") int of_vmlinux(u64 *ctx) { return 0; }
"#;

#[test]
fn reason_is_the_first_error_and_suggestions_name_the_intended_function() {
    let dir = tempfile::tempdir().unwrap();
    let object = compile(dir.path(), "reasons", REASONS);
    let object = object.to_str().unwrap();
    let ran = run(&mut harness(&["--kernel", "5.10,7.3", "--object", object]));
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    let report = ran.report();
    let of = |number: usize, name: &str| {
        let program = program(&report["kernels"][number], name);
        let reason = &program["reason"];
        let text = |field: &str| reason[field].as_str().unwrap_or_default().to_owned();
        (
            text("kind"),
            text("text"),
            reason["nearest"].clone(),
            program["outcome"].clone(),
        )
    };
    let callback = program(&report["kernels"][0], "callback")["reason"].clone();
    assert_eq!(
        (
            &callback["kind"],
            &callback["feature"],
            &callback["minimum"]
        ),
        (&json!("too-new"), &json!("bpf_loop"), &json!("5.17")),
        "{callback}"
    );
    assert!(
        callback["text"]
            .as_str()
            .unwrap()
            .contains("a callback (from Linux 5.13 on)")
    );
    for number in [0, 1] {
        let (kind, text, ..) = of(number, "uninitialized");
        assert_eq!(kind, "verifier", "{text}");
        let (reason, instruction) = (text.find("R3 !read_ok"), text.find("(bf) r0 = r3"));
        assert!(reason.is_some() && reason < instruction, "{text}");
        for name in ["letter_case", "offset"] {
            let (kind, text, nearest, _) = of(number, name);
            assert_eq!(
                (kind.as_str(), &nearest[0]),
                ("target-missing", &json!("vfs_open")),
                "{text}"
            );
        }
        assert!(of(number, "offset").1.contains("has no offset"));
        let (_, text, nearest, _) = of(number, "prefix");
        assert!(nearest[0].as_str().unwrap().contains("execve"), "{text}");
        assert_eq!(of(number, "of_vmlinux").3, "works");
    }
    let (_, text, ..) = of(1, "uninitialized");
    assert!(
        text.contains("never been initialized") && !text.contains("Suggestion"),
        "{text}"
    );
    let (kind, text, ..) = of(1, "copy");
    assert_eq!(kind, "target-refused", "{text}");
    assert!(text.contains("`finish_task_switch.isra.0`"), "{text}");
    let (_, text, nearest, _) = of(1, "renamed");
    assert!(
        nearest
            .as_array()
            .unwrap()
            .contains(&json!("filename_unlinkat")),
        "{text}"
    );
    for name in ["copy", "renamed"] {
        assert_eq!(of(0, name).3, "works");
    }
    assert_eq!(of(1, "callback").3, "works");
}

#[test]
fn minimum_finds_the_boundary_and_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let source = r#"
        SEC("fexit/filename_lookup") int cookie(u64 *ctx) { get_attach_cookie(ctx); return 0; }
    "#;
    let object = compile(dir.path(), "cookie", source);
    let path = object.to_str().unwrap();
    // The older kernel is given as --kernel-image.
    let kernels = Kernels::open(crate::support::kernel_options()).unwrap();
    let resolved = kernels.resolve("5.10", &Silent).unwrap();
    let old = kernels.fetch(&resolved, &Silent).unwrap().image;
    let old = old.to_str().unwrap();
    let ran = run(
        harness(&["minimum", "--object", path, "--kernel", "6.1"]).args([
            "--kernel-image",
            old,
            "--json",
        ]),
    );
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let found: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(found["boots"], 2);
    let program = &found["programs"][0];
    assert_eq!(
        (&program["oldest"]["kernel"], &program["newest"]["kernel"]),
        (&"6.1".into(), &"6.1".into())
    );
    let below = &program["refused_below"];
    assert_eq!(
        (&below["kernel"], &below["kind"]),
        (&old.into(), &"too-new".into())
    );
    assert!(
        below["reason"].as_str().unwrap().contains("5.19"),
        "{below}"
    );
    assert_eq!(program["refused_above"], Value::Null);
}

/// The second program records only while the first one runs, and the command does not end.
#[test]
fn hanging_trigger_is_killed_and_program_results_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let source = r#"
        static long (*ringbuf_output)(void *ring, void *data, u64 size, u64 flags) = (void *)130;
        struct { int (*type)[27]; int (*max_entries)[4096]; } ring SEC(".maps");
        u64 mark;
        SEC("fexit/vfs_read") int marks(u64 *ctx) { mark = 77; return 0; }
        SEC("fexit/filename_lookup") int records(u64 *ctx) {
            u64 seen = mark;
            if (seen)
                ringbuf_output(&ring, &seen, sizeof seen, 0);
            return 0;
        }
    "#;
    let object = compile(dir.path(), "pair", source);
    let path = object.to_str().unwrap();
    let ran = run(harness(&["--kernel", "6.1", "--object", path]).args([
        "--trigger",
        "ls / > /dev/null; echo begun; cat; sleep 999",
        "--trigger-timeout",
        "3",
    ]));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let report = ran.report();
    let records = program(&report["kernels"][0], "records");
    assert_eq!(
        (&records["outcome"], &records["alongside"]),
        (&"works".into(), &json!(["marks"]))
    );
    let trigger = &records["trigger"];
    assert_eq!(
        (&trigger["ok"], &trigger["output"]),
        (&false.into(), &"begun".into())
    );
    let ended = "it was still running after 3 s and was killed";
    assert_eq!(trigger["ended"], ended);
    ran.says(&[ended]);
    assert!(records["run_count"].as_u64() > Some(0), "{records}");
    let ring = &records["maps"][0]["records"];
    let count = ring["count"].as_u64().unwrap();
    assert!(count > 0 && ring["bytes"] == 8 * count, "{records}");
    assert_eq!(ring["first"][0], 77);
}
