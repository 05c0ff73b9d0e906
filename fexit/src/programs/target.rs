//! Targets of programs.

use std::mem::offset_of;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use aya_obj::generated::bpf_prog_info;

use super::data::ProgramData;
use super::permission::permission;
use super::pin;
use super::resolved::Resolved;
use super::tracing_type::{Names, TracingType};
use crate::arch::Arch;
use crate::btf::raw::{Kind, Raw};
use crate::btf::{Ambiguity, Btf, BtfError, FuncModel, FunctionId, Module};
use crate::error::ProgramError;
use crate::feature::Feature;
use crate::sys::{self, IdKind};

/// The target of a program: a function, a hook for an `lsm` program, a tracepoint for a `tp_btf` program.
///
/// ```no_run
/// # let mut ebpf = fexit::Ebpf::load_file("prog.bpf.o")?;
/// # let xdp = fexit::Ebpf::load_file("xdp.bpf.o")?;
/// # let xdp_id = 7;
/// use fexit::{Btf, programs::{FExit, Target}};
///
/// let btf = Btf::from_sys_fs()?;
/// let program: &mut FExit = ebpf.program_mut("on_return").unwrap().try_into()?;
///
/// // The function that the program's section names.
/// program.load_target(&Target::Section, &btf)?;
/// program.unload()?;
///
/// // A function of the kernel, or of a module.
/// program.load_target(&Target::Function("vfs_open"), &btf)?;
/// program.unload()?;
/// program.load_target(&Target::Function("nf_conntrack:nf_conntrack_in"), &btf)?;
/// program.unload()?;
///
/// // A program of this library, and a subprogram of any other: by id, by pinned path, by descriptor.
/// let verdict = xdp.program("verdict").unwrap();
/// program.load_target(&Target::program(verdict, None)?, &btf)?;
/// program.unload()?;
/// program.load_target(&Target::program_id(xdp_id, Some("parse_ip"))?, &btf)?;
/// program.unload()?;
/// program.load_target(&Target::pinned("/sys/fs/bpf/xdp", Some("parse_ip"))?, &btf)?;
/// program.unload()?;
/// let fd = verdict.fd()?;
/// program.load_target(&Target::Program { fd, function: None }, &btf)?;
/// program.unload()?;
///
/// // Many functions by one link, from 7.2 on.
/// program.load_target(&Target::Functions(&["vfs_read", "vfs_write"]), &btf)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Target<'a> {
    /// The function that the program's section names: `SEC("fexit/filename_lookup")`.
    Section,
    /// A function of the kernel, or of any loaded module if the kernel has no such function; `module:function` for a
    /// function of that module. Minimum kernel 5.5, for modules 5.11. Source: see [`Feature::Fexit`] and
    /// [`Feature::ModuleTarget`].
    Function(&'a str),
    /// Many functions of the kernel, by one link; `*` in a name matches any characters. Ambiguous names are left out.
    /// Minimum kernel 7.2.
    ///
    /// `SEC("fexit.multi/bpf_fentry_test*")` says the same in the section.
    ///
    /// The program must read its arguments by `bpf_get_func_arg` and similar helpers, because the functions may have
    /// different parameters. Source: `BPF_TRACE_FEXIT_MULTI` in include/uapi/linux/bpf.h.
    Functions(&'a [&'a str]),
    /// A loaded BPF program, or the subprogram of that name in it. It needs BTF (`clang -g`) and the JIT. Minimum
    /// kernel 5.5; 6.8 if it is a tracing program itself. Source: see [`Feature::ProgramTarget`] and
    /// [`Feature::TracingTarget`].
    Program {
        /// The program.
        fd: BorrowedFd<'a>,
        /// The subprogram; the program itself if none.
        function: Option<&'a str>,
    },
    /// As [`Target::Program`], with an owned descriptor.
    OwnedProgram {
        /// The program.
        fd: OwnedFd,
        /// The subprogram; the program itself if none.
        function: Option<&'a str>,
    },
}

impl<'a> Target<'a> {
    /// The feature that all targets of this variant require.
    fn feature(&self, kind: &TracingType) -> Feature {
        match self {
            Self::Section | Self::Function(_) | Self::Functions(_) => kind.feature,
            Self::Program { .. } | Self::OwnedProgram { .. } => Feature::ProgramTarget,
        }
    }

    /// The program with this id, as `bpftool prog` lists it.
    ///
    /// # Errors
    ///
    /// [`ProgramError::TargetProgram`] when there is none.
    pub fn program_id(id: u32, function: Option<&'a str>) -> Result<Self, ProgramError> {
        let fd = sys::fd_by_id(IdKind::Prog, id).map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM) => permission("look up a program by its id", true),
            _ => ProgramError::TargetProgram {
                reason: format!("no program with id {id} ({error}); `bpftool prog` lists them"),
            },
        })?;
        Ok(Self::OwnedProgram { fd, function })
    }

    /// The program that is pinned at `path` in a BPF file system.
    ///
    /// # Errors
    ///
    /// [`ProgramError::Pin`] when there is none.
    pub fn pinned<P: AsRef<Path>>(
        path: P,
        function: Option<&'a str>,
    ) -> Result<Self, ProgramError> {
        let path = path.as_ref();
        let fd = pin::open(path).map_err(|io_error| ProgramError::Pin {
            path: path.to_owned(),
            io_error,
        })?;
        Ok(Self::OwnedProgram { fd, function })
    }
}

/// From this number of programs on, the targets of an object are looked up in one pass.
const MANY: usize = 3;

/// Finds the target in the kernel.
///
/// An error in the choice of a target program (an unknown subprogram, no BTF) is reported on every kernel. A kernel
/// without targets is refused before anything else is looked up.
pub(super) fn find(
    target: &Target<'_>,
    kind: &TracingType,
    tracer: &ProgramData,
    btf: &Btf,
) -> Result<Resolved, ProgramError> {
    let feature = target.feature(kind);
    let found = match feature {
        Feature::ProgramTarget => Some(resolve(target, kind, tracer, btf)?),
        _ => None,
    };
    feature.require_targets()?;
    let is_patched = found.is_none() && kind.names != Names::TracePoint;
    if is_patched {
        feature.require_kernel_functions(Arch::current(), btf)?;
    }
    prefetch_names(target, kind, tracer, btf)?;
    found.map_or_else(|| resolve(target, kind, tracer, btf), Ok)
}

/// Looks up the names of this program's targets, and of the targets of the object's other programs, in one pass over
/// the kernel's BTF.
///
/// A single function is found faster without this: most types are not read. So the first load, which may be the only
/// one, does not look ahead, unless it reads all types anyway.
fn prefetch_names(
    target: &Target<'_>,
    kind: &TracingType,
    tracer: &ProgramData,
    btf: &Btf,
) -> Result<(), ProgramError> {
    let sibling_targets: Vec<&str> = tracer.sibling_targets().collect();
    let are_many = sibling_targets.len() >= MANY;
    let own = match target {
        // These are not names of functions.
        _ if kind.names != Names::Function => Vec::new(),
        Target::Section => tracer.section_target().into_iter().collect(),
        Target::Function(name) => vec![*name],
        Target::Functions(names) => names.to_vec(),
        Target::Program { .. } | Target::OwnedProgram { .. } => Vec::new(),
    };
    let is_another = btf.was_asked() && !own.iter().all(|name| btf.knows(name));
    if !(tracer.needs_types() || are_many && is_another) {
        return Ok(());
    }
    let mut names = own;
    if !names.is_empty() {
        names.extend(sibling_targets);
    }
    let names = names.into_iter();
    let names: Vec<&str> = names
        .map(|name| name.strip_prefix("vmlinux:").unwrap_or(name))
        .filter(|name| !name.is_empty() && !name.contains([':', '*']))
        .collect();
    tracer.prefetch_names(btf, &names)
}

fn resolve(
    target: &Target<'_>,
    kind: &TracingType,
    tracer: &ProgramData,
    btf: &Btf,
) -> Result<Resolved, ProgramError> {
    let ambiguity = tracer.ambiguity();
    let name = match target {
        Target::Section => tracer
            .section_target()
            .ok_or_else(|| ProgramError::NoTarget {
                section: tracer.section.clone(),
            })?,
        Target::Function(name) => name,
        Target::Functions(names) if kind.multi_attach_type.is_some() => {
            return functions(names, btf, ambiguity);
        }
        Target::Functions(names) => {
            let many = "one link for many functions takes fentry, fexit and fsession programs only";
            return Err(refused(&names.join(", "), many));
        }
        Target::Program { .. } | Target::OwnedProgram { .. } if kind.names != Names::Function => {
            let text = format!("{} programs do not run on other programs", kind.name);
            return Err(refused("a BPF program", &text));
        }
        Target::Program { fd, function } => return program(*fd, *function),
        Target::OwnedProgram { fd, function } => return program(fd.as_fd(), *function),
    };
    match kind.names {
        Names::Function
            if tracer.kind().ends_with(".multi") && matches!(target, Target::Section) =>
        {
            functions(&[name], btf, ambiguity)
        }
        Names::Function => of_any_module(name, name, btf.function(name, ambiguity), btf),
        Names::Hook => hook(name, btf, ambiguity),
        Names::TracePoint => {
            // The function that calls the programs of a tracepoint.
            let caller = format!("__traceiter_{name}");
            of_any_module(name, &caller, btf.tracepoint(name), btf)
        }
    }
}

fn refused(target: &str, reason: &str) -> ProgramError {
    ProgramError::TargetRefused {
        target: target.to_owned(),
        reason: reason.to_owned(),
    }
}

/// The function that the kernel calls at a hook of its security modules.
fn hook(name: &str, btf: &Btf, ambiguity: Ambiguity) -> Result<Resolved, ProgramError> {
    const PREFIX: &str = "bpf_lsm_";
    // Every kernel with BPF LSM has this hook.
    const ANY: &str = "bpf_lsm_file_open";
    match btf.function(&format!("{PREFIX}{name}"), ambiguity) {
        Ok(function) => Ok(Resolved::of_kernel(name, function)),
        Err(BtfError::UnknownBtfTypeName { .. }) if !btf.has_function(ANY) => Err(refused(
            name,
            "this kernel is built without CONFIG_BPF_LSM, so BPF programs cannot run at its hooks",
        )),
        Err(error) => Err(error.into()),
    }
}

/// What was found for the name of a function or tracepoint. A kernel that has no BTF of modules lacks that feature, if a
/// module has the function `symbol`.
fn of_any_module(
    name: &str,
    symbol: &str,
    found: Result<FunctionId, BtfError>,
    btf: &Btf,
) -> Result<Resolved, ProgramError> {
    let mut function = found.map_err(|error| {
        let in_module = || match &error {
            BtfError::UnknownModule { .. } => true,
            BtfError::UnknownBtfTypeName { .. } => !btf.modules_with(symbol).is_empty(),
            _ => false,
        };
        match Feature::ModuleTarget.is_in(btf) {
            Some(false) if in_module() => Feature::ModuleTarget.unsupported().into(),
            _ if error.is_permission() => permission("look up the BTF of a kernel module", true),
            _ => ProgramError::Btf(error),
        }
    })?;
    let module = function.module.take();
    let (module, owner) = module.map(|Module { name, btf }| (name, btf)).unzip();
    Ok(Resolved {
        name: name.to_owned(),
        function,
        owner,
        is_program: false,
        module,
        many: Vec::new(),
    })
}

fn functions(names: &[&str], btf: &Btf, ambiguity: Ambiguity) -> Result<Resolved, ProgramError> {
    Feature::Multi.require(btf)?;
    let mut many = Vec::new();
    for name in names {
        if name.contains('*') {
            many.extend(btf.functions_like(name, ambiguity)?);
            continue;
        }
        let found = btf.function(name, ambiguity)?;
        if found.module.is_some() {
            return Err(ProgramError::TargetRefused {
                target: (*name).to_owned(),
                reason: "one link for many functions takes those of the kernel itself only"
                    .to_owned(),
            });
        }
        many.push(found.btf_id);
    }
    many.sort_unstable();
    many.dedup();
    if many.is_empty() {
        return Err(ProgramError::TargetRefused {
            target: names.join(", "),
            reason: "no function of the kernel has such a name".to_owned(),
        });
    }
    Ok(Resolved {
        name: names.join(", "),
        function: FunctionId {
            model: Some(FuncModel::default()),
            ..FunctionId::of_kernel(0)
        },
        owner: None,
        is_program: false,
        module: None,
        many,
    })
}

fn program(fd: BorrowedFd<'_>, function: Option<&str>) -> Result<Resolved, ProgramError> {
    let failed = |call| {
        move |io_error: std::io::Error| match io_error.raw_os_error() {
            Some(libc::EPERM) => permission("look up the BTF of the target program", true),
            _ => ProgramError::SyscallError { call, io_error },
        }
    };
    let (info, known) = sys::prog_info(fd).map_err(|error| ProgramError::TargetProgram {
        reason: format!("the descriptor is not a BPF program's ({error})"),
    })?;
    if known <= offset_of!(bpf_prog_info, btf_id) {
        // Before 5.0 programs have no BTF.
        return Err(Feature::ProgramTarget.unsupported().into());
    }
    if info.btf_id == 0 {
        let reason =
            "it was loaded without BTF; compile it with `clang -g`, and load it with its BTF";
        return Err(ProgramError::TargetProgram {
            reason: reason.to_owned(),
        });
    }
    let btf_fd = sys::fd_by_id(IdKind::Btf, info.btf_id).map_err(failed("BPF_BTF_GET_FD_BY_ID"))?;
    let data = sys::btf_info(btf_fd.as_fd(), true)
        .map_err(failed("BPF_OBJ_GET_INFO_BY_FD"))?
        .data;
    let raw = Raw::parse(data)?;
    raw.check()?;
    let functions = sys::prog_functions(fd).map_err(failed("BPF_OBJ_GET_INFO_BY_FD"))?;
    let name_of = |id: u32| {
        let function = raw.by_id(id).filter(|t| t.kind == Kind::Func)?;
        Some(String::from_utf8_lossy(raw.string(function.name_off())?).into_owned())
    };
    let names: Vec<(u32, String)> = functions
        .into_iter()
        .filter_map(|id| Some((id, name_of(id)?)))
        .collect();
    let matches: Vec<_> = names
        .iter()
        .filter(|(_, name)| Some(name.as_str()) == function)
        .collect();
    if let (Some(function), true) = (function, matches.len() > 1) {
        let candidate = |(id, name): &&(u32, String)| format!("{name}, type {id} of its BTF");
        return Err(ProgramError::Btf(BtfError::AmbiguousName {
            name: function.to_owned(),
            candidates: matches.iter().map(candidate).collect(),
        }));
    }
    let found = match function {
        None => names.first(),
        Some(_) => matches.first().copied(),
    };
    let Some((id, name)) = found else {
        let known: Vec<&str> = names.iter().map(|(_, name)| name.as_str()).collect();
        let reason = format!(
            "it has no function `{}` left (a static one may have been inlined); it has {}",
            function.unwrap_or("main"),
            if known.is_empty() {
                "no function information".to_owned()
            } else {
                known.join(", ")
            }
        );
        return Err(ProgramError::TargetProgram { reason });
    };
    let function = crate::btf::describe(&raw, *id);
    let owner = fd.try_clone_to_owned().map_err(failed("dup"))?;
    Ok(Resolved {
        name: name.clone(),
        function,
        owner: Some(owner),
        is_program: true,
        module: None,
        many: Vec::new(),
    })
}
