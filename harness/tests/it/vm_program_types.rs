//! Objects with programs of many types, commands and modules of the user on real kernels.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use crate::support::objects::{compile, program};
use crate::support::{harness, run};
use harness::kernels::{Kernels, files::modules};
use harness::support::progress::Silent;
use serde_json::json;

/// Programs of many types in one object.
const MIXED: &str = r#"
    u64 entries, exits;
    SEC("fentry/filename_lookup") int on_entry(u64 *ctx) { __sync_fetch_and_add(&entries, 1); return 0; }
    SEC("fexit/filename_lookup") int on_exit(u64 *ctx) { __sync_fetch_and_add(&exits, 1); return 0; }
    SEC("fentry/filename_lookup_of_old") int old_name(u64 *ctx) { entries++; return 0; }
    SEC("tp_btf/sched_switch") int on_switch(u64 *ctx) { return 0; }
    SEC("kprobe/filename_lookup") int probed(void *ctx) { return 0; }
    SEC("kprobe/filename_lookup") int uncheckable(u64 *ctx) { return ctx[1000]; }
    SEC("xdp") int on_frame(void *ctx) { return 2; }
    SEC("own_section") int own(void *ctx) { return 0; }
    struct tcp_congestion_ops___part { u32 (*undo_cwnd)(void *sk); u32 (*absent)(void *sk); };
    SEC("struct_ops/undo_cwnd") int implements(u64 *ctx) { return 1; }
    SEC("struct_ops/absent") int for_absent(u64 *ctx) { return 1; }
    SEC(".struct_ops") struct tcp_congestion_ops___part ops = {
        .undo_cwnd = (void *)implements, .absent = (void *)for_absent,
    };
"#;

/// Maps of which the loader chooses the size, as tools of bcc do.
#[test]
fn maps_without_a_size_get_one_and_the_report_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let source = r#"
        static long (*get_stackid)(void *, void *, u64) = (void *)27;
        struct { int (*type)[7]; int (*key_size)[4]; } stacks SEC(".maps");
        struct { int (*type)[27]; } ring SEC(".maps");
        struct { int (*type)[1]; int (*max_entries)[8]; u32 *key; } sizeless SEC(".maps");
        SEC("kprobe/filename_lookup") int sampled(void *ctx) { return get_stackid(ctx, &stacks, 0) > 0; }
        SEC("kprobe/filename_lookup") int ringed(void *ctx) { return map_lookup_elem(&ring, ctx) != 0; }
        SEC("kprobe/filename_lookup") int vague(void *ctx) { u32 k = 0; return map_lookup_elem(&sizeless, &k) != 0; }
    "#;
    let object = compile(dir.path(), "sizes", source);
    let ran = run(&mut harness(&[
        "--kernel",
        "6.12",
        "--object",
        object.to_str().unwrap(),
    ]));
    let report = ran.report();
    let kernel = &report["kernels"][0];
    let sampled = program(kernel, "sampled");
    assert_eq!(sampled["outcome"], "verified", "{sampled}");
    let notes = sampled["notes"].to_string();
    for note in [
        "max_entries of map `stacks` to its loader; 1 ",
        "value size of map `stacks` to its loader; 1016 ",
        "max_entries of map `ring` to its loader; 1 ",
    ] {
        assert!(notes.contains(note), "{note}: {notes}");
    }
    // The ring exists, and the verifier refuses to look up in it.
    assert_eq!(program(kernel, "ringed")["reason"]["kind"], "verifier");
    // Nobody but the loader knows how long the values of a hash map are.
    assert_eq!(program(kernel, "vague")["reason"]["kind"], "map");
}

#[test]
fn every_program_of_an_object_has_a_row_whatever_its_type() {
    let dir = tempfile::tempdir().unwrap();
    let object = compile(dir.path(), "mixed", MIXED);
    let object = object.to_str().unwrap();
    let options = ["--kernel", "5.10,7.3", "--object", object];
    let trigger = ["--trigger", "ls / > /dev/null"];
    let ran = run(harness(&options)
        .args(trigger)
        .args(["--any-of", "on_entry,old_name"]));
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    let report = ran.report();
    for kernel in report["kernels"].as_array().unwrap() {
        for (name, kind, outcome, verdict) in [
            ("on_entry", "fentry", "works", "ok"),
            ("on_exit", "fexit", "works", "ok"),
            ("old_name", "fentry", "refused", "ok"),
            ("on_switch", "tp_btf", "works", "ok"),
            ("probed", "kprobe", "verified", "ok"),
            ("uncheckable", "kprobe", "refused", "not-ok"),
            ("on_frame", "xdp", "verified", "ok"),
            ("implements", "struct_ops", "verified", "ok"),
            ("for_absent", "struct_ops", "refused", "not-ok"),
            ("own", "own_section", "skipped", "unknown"),
        ] {
            let row = program(kernel, name);
            let seen = [&row["kind"], &row["outcome"], &row["verdict"]];
            assert_eq!(seen, [kind, outcome, verdict], "{row}");
            if outcome == "works" || outcome == "verified" {
                let figures = &row["verifier"];
                assert!(
                    figures["instructions_processed"].as_u64() >= Some(2),
                    "{row}"
                );
                assert!(figures["instructions"].as_u64() >= Some(2), "{row}");
                assert!(figures["jited_bytes"].as_u64() > Some(0), "{row}");
            }
        }
        assert_eq!(program(kernel, "uncheckable")["reason"]["kind"], "verifier");
        let absent = &program(kernel, "for_absent")["reason"];
        assert_eq!(absent["kind"], "target-missing", "{absent}");
        assert_eq!(program(kernel, "own")["reason"]["kind"], "not-covered");
        // Those that are attached run together.
        let exit = program(kernel, "on_exit");
        assert_eq!(exit["alongside"], json!(["on_entry", "on_switch"]));
        let global = |name: &str| {
            let globals = exit["globals"].as_array().unwrap();
            globals.iter().find(|g| g["name"] == name).unwrap()["value"].as_u64()
        };
        assert!(
            global("entries") > Some(0) && global("exits") > Some(0),
            "{exit}"
        );
    }
    assert_eq!(report["objects"][0]["not_ours"][0]["name"], "own");

    let selected = [
        "--program",
        "on_*",
        "--program",
        "uncheckable",
        "--optional",
        "uncheck*",
    ];
    let ran = run(harness(&options).args(selected));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let report = ran.report();
    let programs = report["kernels"][0]["programs"].as_array().unwrap();
    let names: Vec<_> = programs
        .iter()
        .map(|p| p["program"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "on_entry",
            "on_exit",
            "on_frame",
            "on_switch",
            "uncheckable"
        ]
    );

    // Twice the instructions is a growth of 100 %.
    let (old, new) = (dir.path().join("old.json"), dir.path().join("new.json"));
    fs::write(&old, report.to_string()).unwrap();
    let mut grown = report.clone();
    let processed = &mut grown["kernels"][1]["programs"][0]["verifier"]["instructions_processed"];
    *processed = (processed.as_u64().unwrap() * 2).into();
    fs::write(&new, grown.to_string()).unwrap();
    let compare = ["compare", old.to_str().unwrap(), new.to_str().unwrap()];
    for (growth, status) in [
        (&["--verifier-growth", "99"][..], 1),
        (&["--verifier-growth", "100"], 0),
        (&[], 0),
    ] {
        let ran = run(harness(&compare).args(growth));
        assert_eq!(ran.status, status, "{}", ran.stdout);
        assert_eq!(
            ran.stdout.contains("on 7.3: instructions_processed"),
            status == 1,
            "{}",
            ran.stdout
        );
    }
    let markdown = dir.path().join("report.md");
    let merge = [
        "report",
        old.to_str().unwrap(),
        "--markdown",
        markdown.to_str().unwrap(),
    ];
    run(&mut harness(&merge));
    let page = fs::read_to_string(markdown).unwrap();
    assert!(
        page.contains("### Verifier") && page.contains("| peak_states |"),
        "{page}"
    );

    let ran = run(harness(&options).args(["--program", "own"]));
    assert_eq!(ran.status, 3, "nothing was learned: {}", ran.stderr);
    ran.says(&["no program was tried"]);
}

#[test]
fn veristat_has_a_row_for_each_program_and_kernel_refused_ones_included() {
    let dir = tempfile::tempdir().unwrap();
    let object = compile(dir.path(), "mixed", MIXED);
    let veristat = ["veristat", object.to_str().unwrap()];
    let kernels = ["-k", "5.10,6.12"];
    let programs = ["-f", "on_*", "--filter", "uncheckable", "-f", "old_name"];
    let csv = ["-s", "kernel,insns", "-o", "csv"];
    let ran = run(harness(&veristat).args(kernels).args(programs).args(csv));
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    let rows: Vec<Vec<&str>> = ran.stdout.lines().map(|l| l.split(',').collect()).collect();
    assert_eq!(
        rows[0][1..6].join(","),
        "prog,kernel,verdict,duration,insns"
    );
    assert_eq!(rows.len(), 1 + 2 * 6, "{}", ran.stdout);
    for (kernel, rows) in [("5.10", &rows[1..7]), ("6.12", &rows[7..])] {
        let number = |row: &[&str], at: usize| row[at].parse::<u64>().ok();
        let insns: Vec<_> = rows.iter().map(|row| number(row, 5)).collect();
        assert!(insns.is_sorted_by(|a, b| a >= b), "{}", ran.stdout);
        for row in rows {
            let (prog, verdict) = (row[1], row[3]);
            assert_eq!(row[2], kernel);
            let refused = ["uncheckable", "old_name"].contains(&prog);
            assert_eq!(
                verdict,
                if refused { "failure" } else { "success" },
                "{row:?}"
            );
            // The verifier saw the program with the bad access; one without its target it never saw.
            assert_eq!(number(row, 5).is_some(), prog != "old_name", "{row:?}");
            assert_eq!(number(row, 13) > Some(0), !refused, "{row:?}");
        }
    }

    let json = run(harness(&veristat)
        .args(kernels)
        .args(["-f", "on_*", "-o", "json"]));
    assert_eq!(json.status, 0, "{}", json.stderr);
    assert_eq!(
        program(&json.report()["kernels"][1], "on_frame")["outcome"],
        "verified"
    );
    let table = run(harness(&veristat).args(["-k", "6.12", "-f", "on_frame"]));
    assert_eq!(table.stdout.lines().count(), 2, "{}", table.stdout);
    assert!(table.stdout.contains("  success  "), "{}", table.stdout);
}

#[test]
fn command_works_if_it_exits_with_status_0_and_is_timed_out_at_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let object = compile(dir.path(), "mixed", MIXED);
    let junit = dir.path().join("junit.xml");
    let command = "test -s \"$BPF_OBJECTS\" && uname -r";
    let options = ["--kernel", "5.10,7.3", "--object", object.to_str().unwrap()];
    let ran = run(harness(&options).args(["--command", command]));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let report = ran.report();
    for kernel in report["kernels"].as_array().unwrap() {
        let rows = kernel["programs"].as_array().unwrap();
        assert_eq!(rows.len(), 1, "the command alone: {rows:?}");
        let row = program(kernel, command);
        assert_eq!(
            (&row["outcome"], &row["kind"]),
            (&"works".into(), &"command".into())
        );
        assert_eq!(row["trigger"]["output"], kernel["release"], "{row}");
    }

    let options = ["--kernel", "5.10", "--junit", junit.to_str().unwrap()];
    let ran = run(harness(&options).args(["--command", "echo the last words; exit 3"]));
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    let row = ran.report()["kernels"][0]["programs"][0].clone();
    assert_eq!(
        (&row["outcome"], &row["reason"]["kind"]),
        (&"refused".into(), &"command".into())
    );
    let text = row["reason"]["text"].as_str().unwrap();
    assert!(
        text.contains("exit status: 3") && text.contains("the last words"),
        "{text}"
    );
    let junit = fs::read_to_string(junit).unwrap();
    assert!(
        junit.contains("the last words") && junit.contains("failures=\"1\""),
        "{junit}"
    );

    let limit = ["--command", "sleep 1000", "--command-timeout", "2"];
    let ran = run(harness(&["--kernel", "5.10"]).args(limit));
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    ran.says(&["--command sleep 1000", "still running after 2 s"]);
    let row = ran.report()["kernels"][0]["programs"][0].clone();
    assert_eq!(
        (&row["outcome"], &row["verdict"], &row["reason"]["kind"]),
        (&"timed-out".into(), &"not-ok".into(), &"command".into())
    );
}

#[test]
fn module_option_loads_the_module_and_refuses_one_of_another_kernel() {
    let dir = tempfile::tempdir().unwrap();
    let kernels = Kernels::open(crate::support::kernel_options()).unwrap();
    let resolved = kernels.resolve("6.12", &Silent).unwrap();
    let kernel = kernels.fetch(&resolved, &Silent).unwrap();
    let (name, path) = modules::closure(&kernel, &["tun"]).unwrap().pop().unwrap();
    let own = dir.path().join(format!("{name}.ko"));
    fs::write(&own, modules::read_module(&path).unwrap()).unwrap();
    let source = r#"SEC("fexit/tun:tun_chr_open") int on_open(u64 *ctx) { return 0; }"#;
    let object = compile(dir.path(), "of_module", source);
    let module = ["--module", own.to_str().unwrap()];
    let options = ["--kernel", "6.12,7.3", "--object", object.to_str().unwrap()];
    let ran = run(harness(&options).args(module));
    assert_eq!(ran.status, 3, "{}", ran.stderr);
    let report = ran.report();
    let row = |number: usize| report["kernels"][number]["programs"][0].clone();
    assert_eq!(row(0)["outcome"], "works", "{}", row(0));
    assert_eq!(row(1)["outcome"], "skipped", "{}", row(1));
    let why = row(1)["reason"]["text"].as_str().unwrap().to_owned();
    assert!(
        why.contains("cannot load module tun") && why.contains("another kernel"),
        "{why}"
    );
}
