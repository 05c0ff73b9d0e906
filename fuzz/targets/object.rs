//! Loads any bytes as an object file: no panic, no hang, bounded memory.
#![no_main]

use std::sync::LazyLock;

use fexit::Btf;
use libfuzzer_sys::fuzz_target;

/// BTF of a real kernel, for CO-RE relocation.
static KERNEL: LazyLock<Btf> = LazyLock::new(|| {
    Btf::parse(include_bytes!("../seeds/btf/kernel-6.1.btf"), fexit::Endianness::default()).expect("the seed is real BTF")
});

fuzz_target!(init: {
    // The library turns a panic of the parser into an error. Only a panic that escapes counts.
    std::panic::set_hook(Box::new(|_| {}));
}, |data: &[u8]| {
    fexit::fuzzing::load(data, &KERNEL);
});
