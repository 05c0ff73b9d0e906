//! Loading on a fake kernel: BTF that it refuses, logs, and the debug output of a program.

use aya_obj::generated::bpf_cmd::{BPF_BTF_LOAD, BPF_PROG_LOAD};

use super::fexit_tests::{count, fexit, fixture, kernel};
use crate::programs::{FExit, OtherProgram, ProgramError, Target};
use crate::testing::compile;
use crate::{Btf, Ebpf, EbpfLoader, Feature, VerifierLogLevel};

#[test]
fn btf_without_newer_kinds_is_loaded_on_an_older_kernel() {
    let (mut ebpf, btf) = fixture();
    let calls = kernel(|cmd, before| (cmd == BPF_BTF_LOAD && before < 3).then_some(libc::EINVAL));
    fexit(&mut ebpf).load("traced", &btf).unwrap();
    assert_eq!(count(&calls, BPF_BTF_LOAD), 4);
}

#[test]
fn refused_load_returns_the_verifier_log() {
    let (mut ebpf, btf) = fixture();
    let calls = kernel(|cmd, _| (cmd == BPF_PROG_LOAD).then_some(libc::EACCES));
    let error = fexit(&mut ebpf).load("traced", &btf).unwrap_err();
    assert!(matches!(error, ProgramError::LoadError { .. }), "{error}");
    assert_eq!(
        count(&calls, BPF_PROG_LOAD),
        2,
        "once without, once with a log"
    );
}

#[test]
fn lack_of_memory_does_not_mark_the_btf_as_refused() {
    let (mut ebpf, btf) = fixture();
    let calls = kernel(|cmd, before| (cmd == BPF_BTF_LOAD && before == 0).then_some(libc::EMFILE));
    let error = fexit(&mut ebpf).load("traced", &btf).unwrap_err();
    assert!(error.to_string().contains("BPF_BTF_LOAD"), "{error}");
    fexit(&mut ebpf).load("traced", &btf).unwrap();
    assert_eq!(count(&calls, BPF_BTF_LOAD), 2);
}

/// A log starts with 64 KiB and grows by four up to 16 MiB.
const LOGS: usize = 5;

#[test]
fn truncated_log_does_not_hide_the_reason_of_a_refusal() {
    let (mut ebpf, btf) = fixture();
    let calls = kernel(|cmd, before| match (cmd, before) {
        (BPF_PROG_LOAD, 0) => Some(libc::EACCES),
        (BPF_PROG_LOAD, _) => Some(libc::ENOSPC),
        _ => None,
    });
    let error = fexit(&mut ebpf).load("traced", &btf).unwrap_err();
    let ProgramError::LoadError { io_error, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(io_error.raw_os_error(), Some(libc::EACCES));
    assert_eq!(count(&calls, BPF_PROG_LOAD), 1 + LOGS);
}

#[test]
fn truncated_log_does_not_fail_a_valid_program() {
    let (_, btf) = fixture();
    let object = compile("SEC(\"fexit/f\") int one(u64 *ctx) { return 0; }");
    let mut ebpf = EbpfLoader::new()
        .verifier_log_level(VerifierLogLevel::VERBOSE)
        .load(&object)
        .unwrap();
    let calls =
        kernel(|cmd, before| (cmd == BPF_PROG_LOAD && before < LOGS).then_some(libc::ENOSPC));
    fexit(&mut ebpf).load("traced", &btf).unwrap();
    assert_eq!(count(&calls, BPF_PROG_LOAD), LOGS + 1);
}

#[test]
fn silence_is_taken_for_the_deny_list_only_of_functions_of_the_kernel() {
    let (mut ebpf, btf) = fixture();
    let refuse = || kernel(|cmd, _| (cmd == BPF_PROG_LOAD).then_some(libc::EINVAL));
    refuse();
    let error = fexit(&mut ebpf).load("traced", &btf).unwrap_err();
    assert!(
        matches!(error, ProgramError::TargetRefused { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("most likely"), "{error}");

    let packet = ebpf.program_mut("packet").unwrap();
    let error = <&mut OtherProgram>::try_from(packet)
        .unwrap()
        .load()
        .unwrap_err();
    assert!(matches!(error, ProgramError::LoadError { .. }), "{error}");
    assert!(!error.to_string().contains("deny list"), "{error}");
}

#[test]
fn debug_output_of_an_object_is_short_and_has_its_names() {
    let (mut ebpf, btf) = fixture();
    kernel(|_, _| None);
    fexit(&mut ebpf)
        .load_target(&Target::Section, &btf)
        .unwrap();
    let shown = |what: &dyn std::fmt::Debug, names: &[&str]| {
        let text = format!("{what:?}");
        assert!(text.len() < 2000, "{} characters: {text}", text.len());
        for name in names {
            assert!(text.contains(name), "{name}: {text}");
        }
    };
    shown(fexit(&mut ebpf), &["\"one\"", "fexit/traced", "OwnedFd"]);
    shown(&ebpf, &["\"one\"", "\"packet\"", "fsomething/new"]);
    shown(&btf, &["Btf", "bytes"]);
}

#[test]
fn missing_feature_fexit_is_reported_before_maps_and_btf_are_used() {
    let (mut ebpf, btf) = fixture();
    let calls = kernel(|_, _| None);
    calls.lacks(&[Feature::Fexit, Feature::ProgramTarget], "");
    let mut refusal = |target: &Target<'_>| fexit(&mut ebpf).load_target(target, &btf).unwrap_err();
    for target in [
        Target::Section,
        Target::Function("no_such_function"),
        Target::Functions(&["traced"]),
    ] {
        let error = refusal(&target);
        let feature = error.unsupported().map(|refusal| refusal.feature);
        assert_eq!(feature, Some(Feature::Fexit), "{target:?}");
    }
    assert_eq!(calls.commands(), []);
    // An error about a target program is reported on any kernel.
    let fd = std::fs::File::open("/dev/null").unwrap().into();
    let program = Target::OwnedProgram { fd, function: None };
    let error = refusal(&program).to_string();
    assert!(error.contains("without BTF"), "{error}");
}

/// An object of three programs, the functions that they trace, and the types of both.
fn three(read: &str) -> (Ebpf, Btf) {
    let function = |name: &str| {
        format!(
            "int {name}(int a) {{ return a; }} SEC(\"fexit/{name}\") int on_{name}(u64 *ctx) {{ {read} }}"
        )
    };
    let functions = ["first", "second", "third"].map(function).concat();
    let types = "struct s { int a; int b; } __attribute__((preserve_access_index));";
    let object = compile(&format!(
        "{types} int f(struct s *s) {{ return 0; }} {functions}"
    ));
    let btf = crate::elf::examine(&object).unwrap().1.btf;
    let btf = Btf::parse(&btf, crate::Endianness::default()).unwrap();
    (Ebpf::load(&object).unwrap(), btf)
}

#[test]
fn functions_are_looked_for_at_once_when_more_than_one_is_or_all_types_are_read_anyway() {
    kernel(|_, _| None);
    let load = |ebpf: &mut Ebpf, name: &str, btf: &Btf| {
        let program: &mut FExit = ebpf.program_mut(name).unwrap().try_into().unwrap();
        program.load_target(&Target::Section, btf).unwrap();
        format!("{program:?}")
    };
    let id = |btf: &Btf, name| format!("btf_id: {}", btf.function_id(name).unwrap());
    let (mut ebpf, btf) = three("return 0;");
    let first = load(&mut ebpf, "on_first", &btf);
    assert!(btf.knows("first") && !btf.knows("third"));
    load(&mut ebpf, "on_second", &btf);
    assert!(btf.knows("first") && btf.knows("second") && btf.knows("third"));
    let third = load(&mut ebpf, "on_third", &btf);
    assert!(first.contains(&id(&btf, "first")), "{first}");
    assert!(third.contains(&id(&btf, "third")), "{third}");

    let (mut ebpf, btf) = three("return ((struct s *)ctx[0])->b;");
    load(&mut ebpf, "on_second", &btf);
    assert!(btf.knows("first") && btf.knows("second") && btf.knows("third"));
}
