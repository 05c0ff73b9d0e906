//! What `inspect --kernel` and `functions` say of cached kernels, compared with what these kernels answer.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::support::objects::compile;
use crate::support::{harness, run};
use serde_json::{Value, json};

const SOURCE: &str = r#"
    struct file { long f_never_was; } CORE;
    struct { int (*type)[30]; int (*max_entries)[64]; u64 *value; } bloom SEC(".maps");
    SEC("fexit/filename_lookup") int works(u64 *ctx) { return 0; }
    SEC("fexit/filename_lookupp") int no_target(u64 *ctx) { return 0; }
    SEC("fexit/tun:tun_chr_open") int of_module(u64 *ctx) { return 0; }
    SEC("fexit/do_unlinkat") int removed(u64 *ctx) { return 0; }
    SEC("fexit/vfs_read") int no_field(u64 *ctx) { return ((struct file *)ctx[0])->f_never_was; }
    SEC("tp_btf/no_such_event") int no_event(u64 *ctx) { return 0; }
    SEC("kprobe/vfs_read") int cookie(void *ctx) { return get_attach_cookie(ctx) & 1; }
    SEC("kprobe/vfs_read") int filter(void *ctx) {
        long (*push)(void *, void *, u64) = (void *)87;
        u64 one = 1;
        return push(&bloom, &one, 0);
    }
    SEC("tcx/ingress") int packet(void *ctx) { return 0; }
    SEC("netfilter") int hook(void *ctx) { return 1; }
    SEC("xdp") int frame(void *ctx) { return 2; }
"#;

#[test]
fn what_is_missing_offline_is_refused_by_the_kernel() {
    let dir = tempfile::tempdir().unwrap();
    let object = compile(dir.path(), "offline", SOURCE).display().to_string();
    let kernels = "5.10,6.1,7.3";
    let offline = run(&mut harness(&[
        "inspect", &object, "--kernel", kernels, "--json",
    ]));
    assert_eq!(offline.status, 0, "{}", offline.stderr);
    let offline: Value = serde_json::from_str(&offline.stdout).unwrap();
    let booted = run(&mut harness(&["--kernel", kernels, "--object", &object])).report();
    for kernel in booted["kernels"].as_array().unwrap() {
        for program in kernel["programs"].as_array().unwrap() {
            let told = offline["objects"][0]["programs"].as_array().unwrap();
            let told = told
                .iter()
                .find(|p| p["name"] == program["program"])
                .unwrap();
            let told = told["kernels"].as_array().unwrap().iter();
            let told = told
                .clone()
                .find(|k| k["kernel"] == kernel["requested"])
                .unwrap();
            let works = program["outcome"] == "works" || program["outcome"] == "verified";
            let expected = match told["verdict"].as_str().unwrap() {
                "fine" => true,
                "refused" => false,
                // There is no BTF of modules before 5.11.
                "depends" if program["program"] == "of_module" => false,
                other => panic!("{other}: {told}"),
            };
            assert_eq!(works, expected, "{program} {told}");
        }
    }
}

#[test]
fn functions_shows_where_a_function_went_and_how_its_signature_changed() {
    let list = |patterns: &[&str]| -> Value {
        let args = [&["functions", "--json", "--kernel", "5.10,7.3"], patterns].concat();
        let ran = run(&mut harness(&args));
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let all = list(&["do_unlinkat", "filename_unlinkat", "vfs_open"]);
    let present = |name: &str| -> Vec<Value> {
        let functions = all["functions"].as_array().unwrap();
        let function = functions.iter().find(|f| f["name"] == name).unwrap();
        let kernels = function["kernels"].as_array().unwrap();
        kernels.iter().map(|k| k["present"].clone()).collect()
    };
    assert_eq!(present("do_unlinkat"), [json!(true), json!(false)]);
    assert_eq!(present("filename_unlinkat"), [json!(false), json!(true)]);
    assert_eq!(present("vfs_open"), [json!(true), json!(true)]);
    let module = list(&["tun:tun_chr_open"]);
    let function = &module["functions"][0];
    assert_eq!(function["module"], "tun");
    assert_eq!(function["kernels"][1]["traceable"], true);
    let signature = "int tun_chr_open(struct inode *inode, struct file *file)";
    assert_eq!(function["signatures"][0], signature);
    run(&mut harness(&["functions", "vfs_opne", "--kernel", "7.3"])).one_error(3, &["vfs_open"]);
}

/// Debian's 6.1 has no FPROBE, and its arm64 kernel no direct calls of ftrace, which came with 6.4; that of 6.12 has these,
/// and no FPROBE, which arm64 has from 6.14 on. `cargo xtask check` boots both of arm64, and their reports say the same.
#[test]
fn inspect_tells_on_which_architecture_a_program_can_be_attached() {
    let dir = tempfile::tempdir().unwrap();
    let source = r#"
        SEC("fexit/vfs_read") int on_read(u64 *ctx) { return 0; }
        SEC("kprobe.multi/vfs_rea*") int many(void *ctx) { return 0; }
    "#;
    let object = compile(dir.path(), "arm64", source).display().to_string();
    let args = ["inspect", &object, "--json", "--kernel", "6.1,6.12"];
    let ran = run(harness(&args).args(["--arch", "x86_64,arm64"]));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let all: Value = serde_json::from_str(&ran.stdout).unwrap();
    let (refused, fine) = ("not-attached", "fine");
    for (number, arch, minimums, verdicts) in [
        (
            0,
            "x86_64",
            ["5.5", "5.18"],
            [[fine, fine], [refused, fine]],
        ),
        (
            1,
            "arm64",
            ["6.4", "6.14"],
            [[refused, fine], [refused, refused]],
        ),
    ] {
        let told = &all["objects"][number];
        assert_eq!(
            (&told["arch"], &told["minimum"]),
            (&arch.into(), &minimums[1].into())
        );
        for (at, name) in ["on_read", "many"].into_iter().enumerate() {
            let programs = told["programs"].as_array().unwrap();
            let program = programs.iter().find(|p| p["name"] == name).unwrap();
            assert_eq!(program["minimum"], minimums[at], "{arch} {name}");
            let told = program["kernels"].as_array().unwrap().iter();
            let told: Vec<_> = told.map(|kernel| kernel["verdict"].clone()).collect();
            assert_eq!(told, verdicts[at], "{arch} {name}: {program}");
        }
    }
}
