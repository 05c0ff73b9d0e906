//! eBPF programs that run when a function returns: load them, attach them, own their links.
//!
//! An fexit program sees the arguments and the return value of the function that it is attached to. The function may be
//! one of the kernel, of a kernel module, or another BPF program. The kernel calls it through a *trampoline*, a few
//! instructions made for that one function, so it costs next to nothing where a kretprobe costs a trap.
//!
//! Other programs are attached in the same way: [`programs::FEntry`] at the entry of functions, [`programs::FModRet`] in
//! their place, [`programs::Lsm`] at the hooks of security modules, [`programs::BtfTracePoint`] on tracepoints.
//!
//! # The life of a program
//!
//! ```text
//!  object file --Ebpf::load--> parsed --FExit::load--> loaded --attach--> attached --take_link--> FExitLink
//!  (clang -target bpf)                  (verifier)        ^    <--detach--    |                      | drop
//!                                            ^            '------- unload ----'                      v
//!                                            '---------------- detached, closed                  detached
//! ```
//!
//! # Example
//!
//! ```no_run
//! # #[derive(thiserror::Error, Debug)]
//! # enum Error {
//! #     #[error(transparent)]
//! #     BtfError(#[from] fexit::BtfError),
//! #     #[error(transparent)]
//! #     Program(#[from] fexit::programs::ProgramError),
//! #     #[error(transparent)]
//! #     Ebpf(#[from] fexit::EbpfError),
//! # }
//! # let mut bpf = Bpf::load_file("ebpf_programs.o")?;
//! use fexit::{Bpf, programs::FExit, BtfError, Btf};
//!
//! let btf = Btf::from_sys_fs()?;
//! let program: &mut FExit = bpf.program_mut("filename_lookup").unwrap().try_into()?;
//! program.load("filename_lookup", &btf)?;
//! program.attach()?;
//! # Ok::<(), Error>(())
//! ```
//!
//! Compared with other libraries: [`comparison`]. To move a program from aya or libbpf-rs: [`migrating`].
//!
//! # Minimum kernel version
//!
//! Linux 5.5 on x86-64 and 6.4 on arm64 ([`Feature::minimum_on`]), built with `CONFIG_DEBUG_INFO_BTF`, `CONFIG_BPF_JIT` and `CONFIG_DYNAMIC_FTRACE`. What came later
//! is a [`Feature`]; a kernel that lacks one gives [`Unsupported`], which says from which release on it exists.
//!
//! # Locked memory
//!
//! Before Linux 5.11 maps and programs count as locked memory, of which a process may have little (`ulimit -l`). When the
//! kernel refuses a call with `EPERM`, the limit `RLIMIT_MEMLOCK` is raised for the whole process, as far as the process may, and
//! the call is repeated. Source: kernel commit 97306be45fbe ("switch to memcg-based memory accounting").

#[cfg(not(target_os = "linux"))]
compile_error!(
    "fexit loads programs by bpf(2), which only Linux has: compile it for a Linux target"
);

mod arch;
mod btf;
#[doc = include_str!("comparison.md")]
pub mod comparison {}
mod capabilities;
mod compat;
mod ebpf;
mod elf;
mod error;
mod feature;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod kernel_version;
mod loader;
pub mod maps;
#[doc = include_str!("migrating.md")]
pub mod migrating {}
mod object;
#[cfg(test)]
mod object_tests;
mod probe;
pub mod programs;
mod requirements;
mod sys;
#[cfg(test)]
mod syscall_tests;
#[cfg(test)]
mod testing;
pub mod util;

pub use ::object::Endianness;
pub use arch::Arch;
pub use btf::core_spec::CoreRelocationInfo;
pub use btf::{AmbiguityPolicy, Btf, BtfError, ListedFunction};
pub use compat::{Helper, TooNew};
pub use ebpf::{Bpf, Ebpf, GlobalVariable};
pub use error::EbpfError;
pub use feature::{Feature, Unsupported};
pub use kernel_version::{KernelVersion, ParseKernelVersionError};
pub use loader::{BpfLoader, EbpfLoader, GlobalData};
pub use maps::{Map, MapError, Pod};
pub use programs::log_level::VerifierLogLevel;
pub use requirements::{
    Effect, KernelFiles, KernelTarget, Missing, MissingKind, Requirement, Requirements, TargetKind,
};

/// The example of the README, compiled as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExample;

/// Includes the bytes of a file, as `include_bytes!`, at an address at which an ELF file can be read in place.
///
/// ```text
/// let ebpf = Ebpf::load(include_bytes_aligned!(concat!(env!("OUT_DIR"), "/prog.bpf.o")))?;
/// ```
#[macro_export]
macro_rules! include_bytes_aligned {
    ($path:expr) => {{
        #[repr(C, align(32))]
        struct Aligned<T: ?Sized>(T);
        const FILE: &Aligned<[u8]> = &Aligned(*include_bytes!($path));
        &FILE.0
    }};
}
