//! `harness inspect`: what it says of sound objects, and that it bears all others.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use crate::support::objects::{clang, compile};
use crate::support::{Ran, harness, run};
use serde_json::Value;

fn inspect(object: &Path, more: &[&str]) -> Ran {
    run(harness(&["inspect", object.to_str().unwrap()]).args(more))
}

fn json(object: &Path) -> Value {
    let ran = inspect(object, &["--json"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let all: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(all["inspect_version"], 1);
    all["objects"][0].clone()
}

const SOURCE: &str = r#"
    struct file { long f_pos; } CORE;
    u64 hits;
    struct {
        int (*type)[1]; int (*max_entries)[1024]; u32 *key; u64 *value;
    } counts SEC(".maps");
    SEC("fexit/vfs_read") int on_read(u64 *ctx) {
        struct file *file = (void *)ctx[0];
        u32 key = get_attach_cookie(ctx);
        u64 *count = map_lookup_elem(&counts, &key);
        if (count)
            *count += file->f_pos;
        hits++;
        return 0;
    }
    SEC("fexit.s/nf_conntrack:nf_conntrack_in") int on_packet(u64 *ctx) { return 0; }
    SEC("fexit") int no_target(u64 *ctx) { return 0; }
    SEC("fentry/vfs_read") int on_entry(u64 *ctx) { return 0; }
    SEC("fmod_ret/vfs_read") int on_change(u64 *ctx) { return 0; }
    SEC("xdp") int on_frame(void *ctx) { return 2; }
    SEC("freplace/main") int on_replace(void *ctx) { return 2; }
    struct tcp_congestion_ops { void *pad; void (*init)(void *sk); };
    SEC("struct_ops/any") int on_init(u64 *ctx) { return 0; }
    SEC(".struct_ops") struct tcp_congestion_ops ops = { .init = (void *)on_init };
"#;

#[test]
fn inspect_lists_requirements_and_reasons() {
    let dir = tempfile::tempdir().unwrap();
    let object = compile(dir.path(), "wants", SOURCE);
    let info = json(&object);
    assert_eq!(
        (&info["license"], &info["minimum"]),
        (&"GPL".into(), &"5.19".into())
    );
    let programs = info["programs"].as_array().unwrap();
    let program = |name: &str| programs.iter().find(|p| p["name"] == name).unwrap();
    let on_read = program("on_read");
    assert_eq!(on_read["target"], "vfs_read");
    assert_eq!(on_read["core"][0]["type"], "struct file");
    assert_eq!(on_read["core"][0]["member"], "f_pos");
    assert_eq!(on_read["requirements"][0]["minimum"], "5.19");
    assert_eq!(
        on_read["requirements"][0]["what"],
        "it calls bpf_get_attach_cookie"
    );
    assert_eq!(on_read["maps"], serde_json::json!([".bss", "counts"]));
    assert_eq!(program("on_packet")["minimum"], "5.11"); // a module, though sleeping asks for 5.10 only
    assert_eq!(program("on_packet")["may_sleep"], true);
    assert_eq!(program("no_target")["target"], Value::Null);
    let on_frame = program("on_frame");
    assert_eq!(
        (&on_frame["program_type"], &on_frame["minimum"]),
        (&"XDP".into(), &"4.8".into())
    );
    let on_change = program("on_change");
    assert_eq!(
        (&on_change["attach_type"], &on_change["minimum"]),
        (&"MODIFY_RETURN".into(), &"5.7".into())
    );
    let on_init = program("on_init");
    assert_eq!(
        (&on_init["target"], &on_init["minimum"]),
        (&"tcp_congestion_ops.init".into(), &"5.6".into())
    );
    assert_eq!(info["not_ours"][0]["kind"], "freplace");
    assert_eq!(info["not_ours"][1], Value::Null);
    let counts = info["maps"]
        .as_array()
        .unwrap()
        .iter()
        .find(|m| m["name"] == "counts")
        .unwrap();
    assert_eq!(
        (&counts["type"], &counts["max_entries"]),
        (&"hash".into(), &1024.into())
    );
    assert_eq!(info["globals"][0]["name"], "hits");

    let page = inspect(&object, &[]).stdout;
    for line in [
        "earliest kernel of x86_64 for all programs: 5.19",
        "    5.19   it calls bpf_get_attach_cookie (kernel commit 2fcc82411e74)",
        "  types     struct file.f_pos (offset)",
        "  target    tcp_congestion_ops.init",
        "  on_replace                freplace (section freplace/main)",
    ] {
        assert!(page.lines().any(|l| l == line), "no `{line}` in\n{page}");
    }
}

/// Without types, with the maps of old in their section, as aya-ebpf builds them; with the types but no lines of the
/// source, as bpf2go strips them.
#[test]
fn inspect_reads_objects_of_other_toolchains() {
    let dir = tempfile::tempdir().unwrap();
    let bare = r#"
        #define SEC(name) __attribute__((section(name), used))
        struct { unsigned type, key_size, value_size, max_entries, flags, id, pinning; } COUNTS
            SEC("maps") = { 1, 4, 8, 16, 0, 0, 0 };
        __attribute__((noinline)) long in_another_section(long x);
        SEC("fexit/vfs_read") int on_read(unsigned long *ctx) {
            unsigned key = 0;
            void *(*lookup)(void *, void *) = (void *)1;
            return lookup(&COUNTS, &key) ? in_another_section(ctx[0]) : 0;
        }
        __attribute__((noinline, section(".text.unlikely"))) long in_another_section(long x) {
            long (*pid)(void) = (void *)14;
            return x + pid();
        }
        char _license[] SEC("license") = "GPL";
    "#;
    let info = json(&clang(dir.path(), "bare", bare, &["-O2", "-x", "c"]));
    let program = &info["programs"][0];
    assert_eq!(program["maps"], serde_json::json!(["COUNTS"]));
    let helpers: Vec<_> = program["helpers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|h| &h["number"])
        .collect();
    assert_eq!(helpers, [1, 14], "helpers of the other section count");

    let stripped = compile(dir.path(), "stripped", SOURCE);
    let mut strip = std::process::Command::new("llvm-strip");
    if let Ok(status) = strip.arg("-g").arg(&stripped).status() {
        assert!(status.success());
        assert_eq!(json(&stripped)["minimum"], "5.19");
    }
}

#[test]
fn file_that_is_no_object_gives_one_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let sound = fs::read(compile(dir.path(), "sound", SOURCE)).unwrap();
    let missing = dir.path().join("missing.bpf.o");
    let huge = dir.path().join("huge");
    fs::File::create(&huge).unwrap().set_len(1 << 40).unwrap(); // a hole: it takes no room
    for (path, part) in [
        (&missing, "No such file"),
        (&dir.path().to_owned(), "it is not a file"),
        (&huge, "larger than 32 MiB"),
        (&file("empty", b""), "not a 64-bit ELF file"),
        (
            &file("text", b"int main() { return 0; }"),
            "not a 64-bit ELF file",
        ),
        (
            &file("half", &sound[..sound.len() / 2]),
            "not a 64-bit ELF file",
        ),
        (&env!("CARGO_BIN_EXE_harness").into(), "32 MiB"),
        (&"/bin/true".into(), "another machine"),
    ] {
        let ran = inspect(path, &[]);
        if part != "32 MiB" || ran.stderr.contains(part) {
            ran.one_error(2, &[part]);
        }
        assert_eq!(ran.stdout, "");
    }
    run(&mut harness(&["inspect"])).one_error(2, &["<OBJECT>"]);
}

/// Every byte of the headers and tables turned over in turn: an error or an answer, never a crash or a hang.
#[test]
fn damaged_objects_do_not_panic() {
    let dir = tempfile::tempdir().unwrap();
    let sound = fs::read(compile(dir.path(), "sound", SOURCE)).unwrap();
    for step in 0..60 {
        let mut bytes = sound.clone();
        let at = step * (bytes.len() - 1) / 59;
        bytes[at] ^= 0xff;
        let path = dir.path().join("damaged.bpf.o");
        fs::write(&path, bytes).unwrap();
        let ran = inspect(&path, &[]);
        assert!([0, 2].contains(&ran.status), "byte {at}: {}", ran.stderr);
        ran.says(&[]);
    }
}

#[test]
fn control_characters_in_names_are_escaped() {
    let dir = tempfile::tempdir().unwrap();
    let source = r#"
        int evil(void *ctx) __asm__("../../x\x1b]0;owned\x07\nsecond");
        SEC("fexit/\x1b[2J../../etc/passwd") int evil(void *ctx) { return 0; }
        u64 giant[4096] SEC(".bss.\x1b[1m");
    "#;
    let object = compile(dir.path(), "evil", source);
    let ran = inspect(&object, &[]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(
        ran.stdout
            .contains("../../x\\u{1b}]0;owned\\u{7}\\u{a}second"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.chars().all(|c| c == '\n' || !c.is_control()),
        "{:?}",
        ran.stdout
    );
    // In JSON they are escaped, and whole.
    let raw = inspect(&object, &["--json"]).stdout;
    assert!(!raw.contains('\x1b'), "{raw}");
    assert_eq!(
        json(&object)["programs"][0]["name"],
        "../../x\x1b]0;owned\x07\nsecond"
    );
    // An error that quotes a name is as harmless.
    let bytes = fs::read(&object).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(text.contains('\x1b'));
    let odd = dir.path().join("odd\x1b[2J.bpf.o");
    let ran = inspect(&odd, &[]);
    ran.one_error(2, &["odd\\u{1b}[2J.bpf.o"]);
}

#[test]
fn huge_map_sizes_and_recursive_subprograms_are_handled() {
    let dir = tempfile::tempdir().unwrap();
    let source = r#"
        struct {
            int (*type)[1]; int (*max_entries)[0x7fffffff]; u32 *key; struct { char b[1 << 20]; } *value;
        } giant SEC(".maps");
        SEC("fexit/vfs_read") int p(u64 *ctx) { u32 k = 0; return map_lookup_elem(&giant, &k) ? 1 : 0; }
    "#;
    let page = inspect(&compile(dir.path(), "giant", source), &[]).stdout;
    assert!(page.contains("2147483647 entries, about 2251"), "{page}");

    // Subprograms that call each other round and round, which a linker must not follow for ever.
    let round = r#"
        __attribute__((noinline)) static long b(long x);
        __attribute__((noinline)) static long a(long x) { return x > 100 ? x : b(x + 1) + 1; }
        __attribute__((noinline)) static long b(long x) { return x > 100 ? x : a(x + 2) + 2; }
        SEC("fexit/vfs_read") int p(u64 *ctx) { return a(ctx[0]); }
    "#;
    assert_eq!(inspect(&compile(dir.path(), "round", round), &[]).status, 0);

    let many = ".macro prog\n.globl p\\@\n.type p\\@,@function\np\\@:\n r0 = 0\n exit\n.size p\\@, 16\n.endm\n\
                .section \"fexit/vfs_read\",\"ax\",@progbits\n.rept 100000\nprog\n.endr\n\
                .section license,\"aw\",@progbits\n.asciz \"GPL\"\n";
    let page = inspect(&clang(dir.path(), "many", many, &["-x", "assembler"]), &[]).stdout;
    assert!(
        page.contains("... and 99800 more: --json has all"),
        "{}",
        &page[..200]
    );
    assert!(page.len() < 100_000);
}

#[test]
fn kernel_that_is_not_in_the_cache_is_one_error_offline() {
    let dir = tempfile::tempdir().unwrap();
    let object = compile(dir.path(), "demo", SOURCE).display().to_string();
    let cache = dir.path().join("cache").display().to_string();
    for command in [["inspect", &object], ["functions", "vfs_*"]] {
        let place = ["--kernel", "5.10", "--offline", "--cache-dir", &cache];
        let ran = run(harness(&command).args(place));
        ran.one_error(3, &["5.10", "not in the cache", "--offline"]);
        assert_eq!(ran.stdout, "");
    }
}
