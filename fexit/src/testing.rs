//! Objects for the tests, compiled by clang.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use crate::Feature;
use crate::btf::raw::Raw;
use crate::sys::fake::Kernel;

impl Kernel {
    /// Gives the fake kernel BTF with all features but these, and the functions of `source`.
    pub(crate) fn lacks(&self, features: &[Feature], source: &str) {
        let there = Feature::ALL.into_iter();
        let there = Feature::in_c(there.filter(|feature| !features.contains(feature)));
        self.file("/sys/kernel/btf/vmlinux", btf(&(there + source)));
        if features.contains(&Feature::Fexit) {
            self.probe.set(libc::E2BIG);
        }
    }
}

/// Split BTF of a module on the base `base`, from C: ids of types and offsets of names continue those of the base.
pub(crate) fn split_btf(base: &Raw, source: &str) -> Vec<u8> {
    let strings = &base.bytes()[20..24];
    let strings = u32::from_ne_bytes(strings.try_into().unwrap());
    let ids = base.first_id() + base.count() - 1;
    let own = Raw::parse(btf(source)).unwrap();
    let mut bytes = own.bytes().to_vec();
    for t in own.types() {
        for (words, before) in [(t.reference_words(), ids), (t.name_words(), strings)] {
            for word in words.into_iter().filter(|word| t.word(*word) != 0) {
                let value = t.word(word) + before;
                crate::elf::patch(
                    &mut bytes,
                    own.position(&t) + 4 * word,
                    &value.to_ne_bytes(),
                );
            }
        }
    }
    bytes
}

/// The BTF of an object that is compiled from C.
pub(crate) fn btf(source: &str) -> Vec<u8> {
    crate::elf::examine(&compile(source)).unwrap().1.btf
}

/// Compiles C to a BPF object, with the macros of the tests.
pub(crate) fn compile(source: &str) -> Vec<u8> {
    compile_without_license(&format!(
        "{source}\nchar _license[] SEC(\"license\") = \"GPL\";\n"
    ))
}

/// As [`compile`], without a licence. Each source is compiled once.
pub(crate) fn compile_without_license(source: &str) -> Vec<u8> {
    static OBJECTS: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let known = OBJECTS.lock().unwrap().get(source).cloned();
    known.unwrap_or_else(|| {
        let object = run_clang(source);
        OBJECTS
            .lock()
            .unwrap()
            .insert(source.to_owned(), object.clone());
        object
    })
}

fn run_clang(source: &str) -> Vec<u8> {
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
