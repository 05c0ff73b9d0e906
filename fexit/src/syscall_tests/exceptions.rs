//! Exception callbacks: the instructions and the debugging information that are loaded.

use std::cell::RefCell;
use std::rc::Rc;

use aya_obj::generated::bpf_cmd::{BPF_BTF_LOAD, BPF_PROG_LOAD};

use super::externs::insns;
use super::{kernel, object_of};
use crate::Feature;
use crate::btf::raw::Raw;
use crate::programs::{OtherProgram, ProgramError};
use crate::sys::attr::ProgLoadAttr;
use crate::sys::fake;

/// Both the program and the callback call `twice`; only the callback calls `more`, by its address too.
const SOURCE: &str = "
    #define CALLBACK(name) __attribute__((btf_decl_tag(\"exception_callback:\" #name)))
    static long (*loop)(u32, void *, void *, u64) = (void *)181;
    __attribute__((noinline)) int before(u64 n) { return n + 1; }
    __attribute__((noinline)) int twice(u64 n) { return n * 2; }
    __attribute__((noinline)) int more(u64 n) { return n + 3; }
    __attribute__((noinline)) static long callee(u64 n, void *ctx) { return n; }
    int caught(u64 cookie) { return more(twice(cookie)) + loop(1, callee, 0, 0); }
    SEC(\"tc\") int plain(void *ctx) { return before(3); }
    SEC(\"tc\") CALLBACK(caught) int p(void *ctx) { return twice(5); }";

/// The functions of a load, and the pairs of functions of which the first one refers to the second one.
type Loaded = (Vec<String>, Vec<(String, String)>);

/// Loads the program `p` on a kernel that refuses BTF this many times.
fn load(source: &str, refusals: usize) -> Result<Loaded, ProgramError> {
    let mut ebpf = object_of(source);
    let local = Raw::parse(ebpf.shared.object.extra.btf.clone()).unwrap();
    let name = move |id: u32| {
        let function = local.by_id(id).unwrap();
        String::from_utf8_lossy(local.string(function.name_off()).unwrap()).into_owned()
    };
    let seen = Rc::new(RefCell::new(Loaded::default()));
    let loads = Rc::clone(&seen);
    let (_kernel, _) = kernel(move |call| {
        if call.cmd == BPF_BTF_LOAD && call.before < refusals {
            return Some(libc::EINVAL);
        }
        if call.cmd == BPF_PROG_LOAD {
            let load: ProgLoadAttr = *call.attr();
            let words = |at, count: u32, size: u32| {
                let bytes = fake::memory(at, u64::from(count * size));
                let words = bytes
                    .as_chunks()
                    .0
                    .iter()
                    .map(|word| u32::from_ne_bytes(*word));
                words.collect::<Vec<_>>()
            };
            let functions = words(load.func_info, load.func_info_cnt, 8);
            let functions: Vec<_> = functions.chunks(2).map(|f| (f[0], name(f[1]))).collect();
            let lines = words(load.line_info, load.line_info_cnt, load.line_info_rec_size);
            let lines: Vec<u32> = lines.chunks(4).map(|line| line[0]).collect();
            assert!(lines.is_sorted_by(|a, b| a < b), "{lines:?}");
            let at = |place: u32| functions.iter().rfind(|f| f.0 <= place).unwrap();
            assert!(functions.iter().all(|f| lines.contains(&f.0)));
            let mut references = Vec::new();
            for (place, insn) in (0u32..).zip(insns(call)) {
                let (code, source) = (insn.0, insn.1 >> 4);
                if (code, source) == (0x85, 1) || (code, source) == (0x18, 4) {
                    let callee = (place + 1).checked_add_signed(insn.3).unwrap();
                    let callee = functions.iter().find(|f| f.0 == callee).unwrap();
                    references.push((at(place).1.clone(), callee.1.clone()));
                }
            }
            let names = functions.iter().map(|f| f.1.clone()).collect();
            *loads.borrow_mut() = (names, references);
        }
        None
    });
    let program: &mut OtherProgram = ebpf.program_mut("p").unwrap().try_into()?;
    program.load()?;
    Ok(seen.take())
}

#[test]
fn callback_and_the_functions_that_only_it_calls_come_last() {
    let (functions, references) = load(SOURCE, 0).unwrap();
    assert_eq!(functions, ["p", "twice", "caught", "more", "callee"]);
    let pairs = [
        ("p", "twice"),
        ("caught", "twice"),
        ("caught", "more"),
        ("caught", "callee"),
    ];
    let pairs = pairs.map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(references, pairs);
}

/// Before 5.16 the kernel refuses declaration tags, without which it does not know that the callback is one.
#[test]
fn kernel_without_declaration_tags_gets_no_callback() {
    let (functions, _) = load(SOURCE, 3).unwrap();
    assert_eq!(functions, ["p", "twice"]);
    let misnamed = SOURCE.replace("CALLBACK(caught)", "CALLBACK(nothing)");
    assert!(load(&misnamed, 3).is_ok());
}

#[test]
fn callback_that_libbpf_refuses_is_refused_with_the_reason() {
    for (from, to, expected) in [
        (
            "CALLBACK(caught)",
            "CALLBACK(nothing)",
            "`nothing` is no function of the section `.text`",
        ),
        (
            "CALLBACK(caught)",
            "CALLBACK(plain)",
            "`plain` is no function of the section `.text`",
        ),
        ("CALLBACK(caught)", "CALLBACK()", "its name is empty"),
        (
            "CALLBACK(caught)",
            "CALLBACK(callee)",
            "`callee` is static or hidden",
        ),
        (
            "int caught(",
            "__attribute__((visibility(\"hidden\"))) int caught(",
            "`caught` is static or hidden",
        ),
        (
            "static long callee",
            "CALLBACK(caught) static long callee",
            "`exception_callback:caught` is on something that is no global function",
        ),
    ] {
        let error = load(&SOURCE.replace(from, to), 0).unwrap_err();
        assert!(matches!(error, ProgramError::Relocation { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{to}: {error}");
    }
    // The verifier refuses more than one.
    let two = SOURCE.replace("CALLBACK(caught)", "CALLBACK(caught) CALLBACK(more)");
    assert_eq!(load(&two, 0).unwrap().0, ["p", "twice"]);
}

/// Loads a program that throws on a kernel with these types, which refuses it with this log.
fn throw(types: &str, log: &'static str) -> ProgramError {
    let (kernel, _) = kernel(move |call| {
        if call.cmd != BPF_PROG_LOAD {
            return None;
        }
        let load: &mut ProgLoadAttr = call.attr();
        if load.log_buf != 0 {
            fake::write(load.log_buf, log.as_bytes());
        }
        Some(libc::EINVAL)
    });
    kernel.lacks(&[Feature::Exceptions], types);
    let mut ebpf = object_of(
        "extern void bpf_throw(u64 cookie) __attribute__((section(\".ksyms\")));
         SEC(\"tc\") int p(void *ctx) { bpf_throw(1); return 0; }",
    );
    let program: &mut OtherProgram = ebpf.program_mut("p").unwrap().try_into().unwrap();
    program.load().unwrap_err()
}

#[test]
fn kernel_in_which_no_program_can_throw_lacks_the_feature() {
    const HAS: &str = "void bpf_throw(u64 cookie) { }";
    for (types, log) in [
        ("", ""),
        (HAS, "calling kernel function bpf_throw is not allowed\n\0"),
        (HAS, "JIT does not support calling kfunc bpf_throw#1234\n\0"),
    ] {
        let error = throw(types, log);
        let feature = error.unsupported().map(|refusal| refusal.feature);
        assert_eq!(feature, Some(Feature::Exceptions), "{error}");
    }
    let other = throw(HAS, "R1 !read_ok\n\0");
    assert!(matches!(other, ProgramError::LoadError { .. }), "{other}");
}
