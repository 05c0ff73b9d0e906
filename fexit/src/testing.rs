//! Real objects for the tests, made by the clang that users have.

use std::io::Write;
use std::process::{Command, Stdio};

/// Compiles C to a BPF object. The few macros that tests need stand before the source.
pub(crate) fn compile(source: &str) -> Vec<u8> {
    compile_without_license(&format!(
        "{source}\nchar _license[] SEC(\"license\") = \"GPL\";\n"
    ))
}

/// As [`compile`], but for the licence.
pub(crate) fn compile_without_license(source: &str) -> Vec<u8> {
    const MACROS: &str = "#define SEC(name) __attribute__((section(name), used))\n\
                          typedef unsigned int u32;\ntypedef unsigned long long u64;\n";
    let dir = tempfile::tempdir().unwrap();
    let object = dir.path().join("test.o");
    let mut clang = Command::new("clang")
        .args(["-O2", "-g", "-target", "bpf", "-x", "c", "-c", "-o"])
        .args([object.as_os_str(), "-".as_ref()])
        .stdin(Stdio::piped())
        .spawn()
        .expect("these tests need clang: apt-get install clang");
    let mut stdin = clang.stdin.take().unwrap();
    write!(stdin, "{MACROS}{source}").unwrap();
    drop(stdin);
    assert!(
        clang.wait().unwrap().success(),
        "clang refused the source of the test"
    );
    std::fs::read(object).unwrap()
}
