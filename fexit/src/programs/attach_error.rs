//! Diagnosis of a refused attach, and of attachments that never fire.

use std::io;
use std::os::fd::BorrowedFd;

use super::info;
use super::permission::permission;
use super::resolved::Resolved;
use super::tracing_type::{Names, TracingType};
use crate::arch::Arch;
use crate::capabilities;
use crate::error::ProgramError;
use crate::feature::Feature;
use crate::sys::{self, ENOTSUPP};

/// A refused attach of `program`, by its name and, while it is loaded, its descriptor.
pub(super) fn attach(
    program: (&str, Option<BorrowedFd<'_>>),
    kind: &TracingType,
    target: Option<&Resolved>,
    cookie: Option<u64>,
    io_error: io::Error,
) -> ProgramError {
    let errno = io_error.raw_os_error();
    let target_name = target.map_or("its target", |target| target.name.as_str());
    if errno == Some(libc::EPERM) {
        return permission(kind.actions[1], false);
    }
    if cookie.is_some()
        && errno == Some(libc::EINVAL)
        && let Some(refusal) = kind.cookie.missing()
    {
        return refusal.into();
    }
    // The answer for many functions where the architecture has no single link for them.
    if errno == Some(libc::EOPNOTSUPP) && target.is_some_and(|target| !target.many.is_empty()) {
        return Feature::Multi.unsupported().into();
    }
    if errno == Some(ENOTSUPP)
        && let Some(target) = target
        && let Some(feature) = without_trampoline(Arch::current(), target)
    {
        return feature.unsupported().into();
    }
    let reason = match errno {
        Some(libc::EBUSY) => busy(target_name),
        Some(libc::E2BIG) => {
            let counted = target
                .zip(program.1)
                .and_then(|(target, fd)| info::links_on_target(fd, target.owning_program()));
            let many = counted.map_or("36 to 40, by kernel".to_owned(), |links| links.to_string());
            format!(
                "`{target_name}` already has as many programs as one trampoline holds ({many}); detach one"
            )
        }
        Some(libc::ENOENT) => {
            format!("`{target_name}` is gone: its module or program was unloaded")
        }
        Some(ENOTSUPP) => format!(
            "this kernel cannot make a trampoline for `{target_name}`: that takes CONFIG_BPF_JIT{}; or its arguments are \
             more or larger than a trampoline passes on",
            of_arch(Arch::current())
        ),
        _ => io_error.to_string(),
    };
    ProgramError::AttachError {
        name: program.0.to_owned(),
        reason,
        io_error,
    }
}

/// The feature that a kernel lacks which answers with errno 524; `None` if its configuration may be the reason.
fn without_trampoline(arch: Option<Arch>, target: &Resolved) -> Option<Feature> {
    let model = target.function.model();
    let is_late = |arch: Arch| arch.trampolines() > Arch::X86_64.trampolines();
    // The calling convention has six registers for arguments on x86-64, and eight on the others.
    match arch {
        Some(Arch::X86_64) | None => (model.arguments > 6).then_some(Feature::ManyArguments),
        Some(_) if model.arguments > 8 => Some(Feature::ManyArguments),
        Some(_) if model.takes_struct => Some(Feature::StructArguments),
        Some(arch) => (target.is_program && is_late(arch)).then_some(Feature::ProgramTarget),
    }
}

/// What trampolines require on an architecture, where that is a later kernel than on x86-64.
fn of_arch(arch: Option<Arch>) -> String {
    let Some(arch) = arch.filter(|arch| *arch != Arch::X86_64) else {
        return String::new();
    };
    let (programs, functions) = (arch.trampolines(), arch.kernel_functions());
    if programs == functions {
        return format!(" and on {arch} Linux {programs}");
    }
    format!(" and on {arch} Linux {programs}, for functions of the kernel {functions}")
}

/// Why the kernel cannot patch a function.
fn busy(function: &str) -> String {
    const OFF: &str = "ftrace is off in this kernel (`sysctl kernel.ftrace_enabled=1`)";
    const HELD: &str = "something else holds the function, such as a live patch";
    const NOTRACE: &str =
        "ftrace cannot trace the function: it is `notrace`, as every `inline` function is";
    let reason = match is_traceable(function) {
        _ if ftrace_is_off() => OFF.to_owned(),
        Some(false) => format!("{NOTRACE}; attach to one of its callers"),
        Some(true) => HELD.to_owned(),
        None => format!("{OFF}, {NOTRACE}, or {HELD}"),
    };
    format!("`{function}` cannot be patched: {reason}")
}

/// Whether ftrace lists the function; `None` if tracefs is not mounted or not readable.
fn is_traceable(function: &str) -> Option<bool> {
    let name = function.rsplit(':').next()?;
    let functions = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
        .iter()
        .find_map(|tracefs| {
            sys::read_kernel_file(&format!("{tracefs}/available_filter_functions")).ok()
        })?;
    // A function of a module has the module's name behind it.
    let mut names = functions.lines().map(|line| line.split(['\t', ' ']).next());
    Some(names.any(|listed| listed == Some(name)))
}

/// The error for an attachment that the kernel accepts but never fires.
///
/// With ftrace off, 5.x refuses to attach, but 6.1 and 6.12 attach and never call the program. Every kernel attaches to a
/// hook of security modules even if BPF is not one of them.
pub(super) fn never_fires(
    name: &str,
    kind: &TracingType,
    target: Option<&Resolved>,
) -> Option<ProgramError> {
    let is_patched = target.is_some_and(|target| !target.is_program);
    if is_patched && kind.names != Names::TracePoint && ftrace_is_off() {
        let error = io::Error::from_raw_os_error(libc::EBUSY);
        return Some(attach((name, None), kind, target, None, error));
    }
    let modules = (kind.names == Names::Hook).then(capabilities::security_modules)??;
    (!modules.split(',').any(|module| module == "bpf")).then(|| ProgramError::AttachError {
        name: name.to_owned(),
        reason: format!(
            "the program would never run: `bpf` is not among the security modules of this kernel; boot with \
             `lsm={modules},bpf`"
        ),
        io_error: io::Error::from_raw_os_error(libc::EOPNOTSUPP),
    })
}

/// Whether ftrace is off.
fn ftrace_is_off() -> bool {
    sys::read_kernel_file("/proc/sys/kernel/ftrace_enabled").is_ok_and(|on| on.trim() == "0")
}
