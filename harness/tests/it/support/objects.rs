//! Objects for the tests, compiled by clang.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, and none uses all of this"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// The first lines of each source: helpers by number, so that no kernel header is needed.
const PRELUDE: &str = r#"
#define SEC(name) __attribute__((section(name), used))
#define CORE __attribute__((preserve_access_index))
typedef unsigned int u32;
typedef unsigned long long u64;
static void *(*map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static u64 (*get_current_pid_tgid)(void) = (void *)14;
static u64 (*get_attach_cookie)(void *ctx) = (void *)174;
char _license[] SEC("license") = "GPL";
"#;

/// Compiles C with BTF, as `clang -O2 -g -target bpf` does, into `dir`.
pub(crate) fn compile(dir: &Path, name: &str, source: &str) -> PathBuf {
    clang(
        dir,
        name,
        &format!("{PRELUDE}{source}"),
        &["-O2", "-g", "-x", "c"],
    )
}

/// Runs clang for the BPF target, in the language of `options`.
pub(crate) fn clang(dir: &Path, name: &str, source: &str, options: &[&str]) -> PathBuf {
    let input = dir.join(format!("{name}.in"));
    let object = dir.join(format!("{name}.bpf.o"));
    fs::write(&input, source).unwrap();
    let output = Command::new("clang")
        .args(["-target", "bpf"])
        .args(options)
        .arg("-c")
        .arg(&input)
        .arg("-o")
        .arg(&object)
        .output()
        .expect("these tests need clang: apt-get install clang");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "clang refused {name}:\n{stderr}");
    object
}

/// The program with that name, in the report of a kernel.
pub(crate) fn program<'a>(kernel: &'a Value, name: &str) -> &'a Value {
    let programs = kernel["programs"].as_array().unwrap();
    programs.iter().find(|p| p["program"] == name).unwrap()
}
