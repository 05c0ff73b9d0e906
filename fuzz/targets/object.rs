//! Any bytes as an object file: an error or an object, never a panic, a hang or memory without bound.
#![no_main]

use std::sync::LazyLock;

use fexit::Btf;
use libfuzzer_sys::fuzz_target;

/// Types of a real kernel, for the object's relocations to look at.
static KERNEL: LazyLock<Btf> = LazyLock::new(|| {
    Btf::parse(include_bytes!("../seeds/btf/kernel-6.1.btf"), fexit::Endianness::default()).expect("the seed is real BTF")
});

fuzz_target!(init: {
    // The parser is shielded: a panic in it becomes an error. Only one that escapes counts.
    std::panic::set_hook(Box::new(|_| {}));
}, |data: &[u8]| {
    fexit::fuzzing::load(data, &KERNEL);
});
