//! Parses any bytes as BTF of a kernel, and as BTF of a module.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    fexit::fuzzing::btf(data, include_bytes!("../seeds/btf/kernel-6.1.btf"));
});
