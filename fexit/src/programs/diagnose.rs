//! Diagnosis of a refused load: the reason, and what to do.

use super::data::{ProgramData, Refusal};
use super::permission::permission;
use super::resolved::Resolved;
use super::tracing_type::{Names, TracingType};
use crate::btf::Btf;
use crate::capabilities::{self, Lockdown};
use crate::compat::{Helper, TooNew};
use crate::error::ProgramError;
use crate::feature::Feature;
use crate::kernel_version::KernelVersion;

/// `BPF_FUNC_get_attach_cookie`.
const GET_ATTACH_COOKIE: u32 = 174;

/// Helpers that are newer than fexit, by number, with their features.
const HELPERS: [(u32, Feature); 6] = [
    (130, Feature::RingBuf),
    (173, Feature::FuncIp),
    (GET_ATTACH_COOKIE, Feature::Cookie),
    (183, Feature::FuncArgs),
    (184, Feature::FuncArgs),
    (185, Feature::FuncArgs),
];

/// For this refusal, kernels up to 6.12 return `EINVAL` with an empty log; 7.3 has it in the log.
const DENIED: &str = "it is on the kernel's deny list of functions that tracing itself depends on, such as \
                      migrate_disable; choose a caller of it";

/// The usual reason for `EINVAL` with an empty log, if the kernel lacks nothing that the program uses.
const LIKELY_DENIED: &str = "the kernel gives no reason; most likely it is on its deny list of functions that tracing \
                             itself depends on, such as migrate_disable; choose a caller of it";

/// For a BPF program as target; functions of the kernel can be targets without a JIT too.
const INTERPRETED: &str = "it is interpreted, for the JIT was off when it was loaded; `sysctl \
                           net.core.bpf_jit_enable=1`, and load it again";

/// The requirement of a sleepable program for its target.
const NOT_SLEEPABLE: &str = "needs a function that may sleep or whose errors can be injected";

/// The same for a kernel without error injection.
const NEVER_SLEEPABLE: &str = "needs a function whose errors can be injected, and this kernel, built without \
                               CONFIG_FUNCTION_ERROR_INJECTION, has none (from Linux 6.3 on a few by name)";

/// The same for a hook.
const HOOK_NEVER_SLEEPS: &str = "needs a hook that may sleep";

/// For a function that `fmod_ret` programs may not replace.
const NOT_MODIFIABLE: &str = "only a function whose errors can be injected (ALLOW_ERROR_INJECTION, in a kernel built \
                              with CONFIG_FUNCTION_ERROR_INJECTION), or that decides for the security modules \
                              (`security_*`), may be replaced";

/// For a hook whose result BPF programs may not decide.
const HOOK_DISABLED: &str = "the kernel keeps BPF programs away from this hook";

/// For a tracing program that is attached to another one.
const NESTED: &str = "it is a tracing program that is itself attached to one; one level is allowed";

/// The verifier's messages about targets that no program of the type may have, each with the reason for the error.
const REFUSED_TARGETS: [(&str, &str); 5] = [
    (
        "__noreturn function",
        "it never returns, so no program can run when it does",
    ),
    ("Attaching tracing programs to function", DENIED),
    ("is not modifiable", NOT_MODIFIABLE),
    (
        "can't modify return codes of BPF programs",
        "an fmod_ret program cannot replace a BPF program",
    ),
    ("points to disabled hook", HOOK_DISABLED),
];

/// `MAX_BPF_FUNC_ARGS` of include/linux/bpf.h.
const MOST_ARGUMENTS: usize = 12;

/// A refusal that has nothing to do with a target.
pub(super) fn refused(program: &ProgramData, refusal: Refusal) -> ProgramError {
    if refusal.error.raw_os_error() == Some(libc::EPERM) {
        return permission("load a BPF program", false);
    }
    if !refusal.missing.is_empty() {
        return ProgramError::UnresolvedCoreRelocation {
            name: program.name.clone(),
            missing: refusal.missing,
        };
    }
    let number = unknown_helper(&refusal.log);
    if let Some(error) = locked_down(&program.name, number) {
        return error;
    }
    if !refusal.too_new.is_empty() {
        return ProgramError::TooNew {
            name: program.name.clone(),
            too_new: refusal.too_new,
            running: KernelVersion::current(),
        };
    }
    if let Some(feature) = number.and_then(feature).filter(|f| f.missing().is_some()) {
        return feature.unsupported().into();
    }
    if let Some(helper) = number.and_then(Helper::by_number) {
        let running = KernelVersion::current();
        let btf = Btf::from_sys_fs().ok();
        if program.is_of_function() && helper.is_withheld(btf.as_ref(), running) {
            return ProgramError::UnknownHelper {
                name: program.name.clone(),
                helper,
                running,
            };
        }
        // The kernel has no name for it.
        if refusal.log.contains(&format!("unknown#{}", helper.number)) {
            return ProgramError::TooNew {
                name: program.name.clone(),
                too_new: vec![TooNew {
                    what: format!("bpf_{}", helper.name),
                    minimum: helper.first().0,
                }],
                running,
            };
        }
    }
    ProgramError::LoadError {
        name: program.name.clone(),
        io_error: refusal.error,
        verifier_log: refusal.log,
    }
}

/// Whether a kernel that does not know a flag may refuse like this.
pub(super) fn is_unknown_flag(refusal: &Refusal) -> bool {
    is_silent(&refusal.log) || refusal.log.contains("can be sleepable")
}

/// A refused load of a program with a target.
pub(super) fn load(
    program: &ProgramData,
    kind: &TracingType,
    target: &Resolved,
    refusal: Refusal,
) -> ProgramError {
    let errno = refusal.error.raw_os_error();
    let log = refusal.log.as_str();
    if errno == Some(libc::EPERM) {
        return permission(kind.actions[0], false);
    }
    // The log is empty if the kernel refused before it verified.
    if is_silent(log)
        && let Some(refusal) = kind.feature.missing()
    {
        return refusal.into();
    }
    if program.is_sleepable()
        && let Some(refusal) = Feature::Sleepable.missing()
    {
        return refusal.into();
    }
    let by_log = of_message(kind, target, log).or_else(|| of_signature(kind, target, log));
    if let Some(error) = by_log {
        return error;
    }
    let without_reason = errno == Some(libc::EINVAL) && is_silent(log);
    if without_reason && target.is_program && is_tracing(target) {
        return Feature::TracingTarget.unsupported().into();
    }
    if without_reason && !target.is_program && kind.names == Names::Function {
        return target_refused(target, LIKELY_DENIED);
    }
    refused(program, refusal)
}

fn target_refused(target: &Resolved, reason: &str) -> ProgramError {
    ProgramError::TargetRefused {
        target: target.name.clone(),
        reason: reason.to_owned(),
    }
}

/// The error by the verifier's message about the target.
fn of_message(kind: &TracingType, target: &Resolved, log: &str) -> Option<ProgramError> {
    let is_in_log = |(message, _): &&(&str, &str)| log.contains(message);
    if let Some((_, reason)) = REFUSED_TARGETS.iter().find(is_in_log) {
        return Some(target_refused(target, reason));
    }
    if let Some(name) = without_address(log) {
        let btf = Btf::from_sys_fs().ok();
        let reason = btf.and_then(|btf| btf.without_address(name, target.module.as_deref()));
        let inlined = || {
            format!(
                "its BTF has `{name}`, but its symbol table does not: it was inlined; choose a function that calls it"
            )
        };
        return Some(target_refused(target, &reason.unwrap_or_else(inlined)));
    }
    if unknown_helper(log) == Some(GET_ATTACH_COOKIE)
        && let Some(refusal) = kind.cookie.missing()
    {
        return Some(refusal.into());
    }
    if log.contains("is not sleepable") {
        let requirement = match kind.names {
            Names::Hook => HOOK_NEVER_SLEEPS,
            _ if injects_errors() => NOT_SLEEPABLE,
            _ => NEVER_SLEEPABLE,
        };
        let name = kind.name;
        let reason = format!("a program that may sleep (`{name}.s`) {requirement}; use `{name}`");
        return Some(target_refused(target, &reason));
    }
    if log.contains("only JITed") {
        let reason = INTERPRETED.to_owned();
        return Some(ProgramError::TargetProgram { reason });
    }
    if log.contains("Cannot recursively attach") && target.is_program {
        return Some(Feature::TracingTarget.unsupported().into());
    }
    let is_nested =
        log.contains("Cannot recursively attach") || log.contains("Cannot nest tracing");
    is_nested.then(|| target_refused(target, NESTED))
}

/// The error if no trampoline can be built for the signature of the target.
fn of_signature(kind: &TracingType, target: &Resolved, log: &str) -> Option<ProgramError> {
    if target.function.model().takes_struct
        && let Some(refusal) = Feature::StructArguments.missing()
    {
        return Some(refusal.into());
    }
    let message = signature(log)?;
    // Kernels with a limit of six already printed this message for more than twelve.
    if message.contains("Too many") && target.function.model().arguments <= MOST_ARGUMENTS {
        return Some(Feature::ManyArguments.unsupported().into());
    }
    let reason = format!(
        "a trampoline cannot pass on what it takes or returns ({message}; at most {MOST_ARGUMENTS} arguments, from Linux \
         6.6 on), so no {} program can run on it",
        kind.name
    );
    Some(target_refused(target, &reason))
}

/// Whether the log has no message of the verifier: it is empty, or holds its statistics only.
fn is_silent(log: &str) -> bool {
    log.lines()
        .all(|line| line.is_empty() || line.starts_with("processed "))
}

/// The verifier's message about a function that no trampoline can be built for: `has 14 arguments. Too many.`, `return
/// type STRUCT is unsupported.`, ...
fn signature(log: &str) -> Option<&str> {
    log.lines().find_map(|line| {
        let (_, message) = line.strip_prefix("The function ")?.split_once(' ')?;
        Some(message.trim_end_matches('.'))
    })
}

/// Whether the kernel has error injection; true if unknown.
fn injects_errors() -> bool {
    Btf::from_sys_fs().map_or(true, |btf| btf.has_function("within_error_injection_list"))
}

fn is_tracing(target: &Resolved) -> bool {
    let info = target
        .owning_program()
        .and_then(|fd| crate::sys::prog_info(fd).ok());
    let tracing = aya_obj::generated::bpf_prog_type::BPF_PROG_TYPE_TRACING as u32;
    info.is_some_and(|(info, _)| info.type_ == tracing)
}

/// The helper that the verifier does not know, or does not allow for this program type: `unknown func
/// bpf_get_func_ret#184`.
fn unknown_helper(log: &str) -> Option<u32> {
    let line = log.lines().rev().find(|line| {
        line.contains("unknown func")
            || line.contains("invalid func")
            || line.contains("cannot use helper")
            || line.starts_with("The helper ")
    })?;
    let number = line.rsplit('#').next()?;
    let end = number.find(|digit: char| !digit.is_ascii_digit());
    number[..end.unwrap_or(number.len())].parse().ok()
}

/// The function without an address: `The address of function finish_task_switch cannot be found`.
fn without_address(log: &str) -> Option<&str> {
    log.lines().find_map(|line| {
        let name = line.strip_prefix("The address of function ")?;
        name.strip_suffix(" cannot be found")
    })
}

/// Helpers that lockdown forbids: those that read kernel memory, and from 5.14 on the one that writes user memory.
/// Sources: kernel commits ff40e51043af ("bpf, lockdown, audit: Fix buggy SELinux lockdown permission checks") and
/// 51e1bb9eeaf7 ("bpf: Add lockdown check for probe_write_user helper").
const FORBIDDEN_READS: [u32; 4] = [4, 45, 113, 115];
const FORBIDDEN_WRITE: u32 = 36;

/// The error about a helper that the verifier does not know because of lockdown: every kernel with fexit has these
/// helpers.
fn locked_down(program: &str, helper: Option<u32>) -> Option<ProgramError> {
    let number = helper.filter(|n| FORBIDDEN_READS.contains(n) || *n == FORBIDDEN_WRITE)?;
    let level = match capabilities::lockdown() {
        Lockdown::Level(level) => Some(level),
        Lockdown::Unknown if number != FORBIDDEN_WRITE => None,
        Lockdown::Unknown | Lockdown::Off => return None,
    };
    Some(ProgramError::LockedDown {
        name: program.to_owned(),
        helper: Helper::by_number(number)?,
        level,
    })
}

/// The feature that a helper belongs to.
fn feature(helper: u32) -> Option<Feature> {
    let ring_buffer = 130..=134;
    HELPERS
        .into_iter()
        .find(|(number, _)| *number == helper)
        .map(|(_, feature)| feature)
        .or_else(|| ring_buffer.contains(&helper).then_some(Feature::RingBuf))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_helper_names_its_feature() {
        let log = "4: (85) call unknown#184\ninvalid func unknown#184\nprocessed 5 insns\n";
        assert_eq!(unknown_helper(log), Some(184));
        let log = "program of this type cannot use helper bpf_ringbuf_output#130";
        assert_eq!(
            unknown_helper(log).and_then(feature),
            Some(Feature::RingBuf)
        );
        assert_eq!(feature(181), None);
        assert_eq!(unknown_helper("R1 type=ctx expected=fp"), None);
    }

    #[test]
    fn features_and_helpers_name_the_same_release() {
        for (number, feature) in HELPERS {
            let helper = Helper::by_number(number).unwrap();
            assert_eq!(helper.minimum, feature.minimum(), "{}", helper.name);
        }
    }

    #[test]
    fn function_without_an_address_is_named() {
        let log = "The address of function finish_task_switch cannot be found\nprocessed 0 insns\n";
        assert_eq!(without_address(log), Some("finish_task_switch"));
        assert_eq!(
            without_address("The function f has 14 arguments. Too many.\n"),
            None
        );
    }

    #[test]
    fn lockdown_is_the_reason_only_for_helpers_that_it_forbids() {
        for helper in FORBIDDEN_READS {
            let name = Helper::by_number(helper).unwrap().name;
            assert!(name.starts_with("probe_read"), "{name}");
        }
        assert_eq!(
            Helper::by_number(FORBIDDEN_WRITE).unwrap().name,
            "probe_write_user"
        );
        assert!(locked_down("p", Some(184)).is_none());
        assert!(locked_down("p", None).is_none());
    }

    #[test]
    fn verifier_message_about_a_signature_is_found() {
        let log = "The function rtnl_fill_ifinfo has 14 arguments. Too many.\nprocessed 0 insns\n";
        assert_eq!(signature(log), Some("has 14 arguments. Too many"));
        assert_eq!(signature("0: R1=ctx()\n; The function\n"), None);
    }

    #[test]
    fn silence_is_no_word_but_the_figures() {
        assert!(is_silent(""));
        assert!(is_silent(
            "processed 0 insns (limit 1000000) max_states_per_insn 0\n"
        ));
        assert!(!is_silent("Cannot recursively attach\nprocessed 0 insns\n"));
    }
}
