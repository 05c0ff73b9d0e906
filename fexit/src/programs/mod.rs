//! The programs of an object.

mod attach_error;
mod attach_types;
mod data;
mod diagnose;
mod externs;
mod fd_link;
pub mod fentry;
pub mod fexit;
#[cfg(test)]
mod fexit_tests;
pub mod fmod_ret;
mod info;
mod link;
pub mod links;
#[cfg(test)]
mod load_tests;
pub(crate) mod log_level;
pub mod lsm;
mod other;
mod permission;
pub(crate) mod pin;
mod resolved;
mod shared;
mod target;
pub mod tp_btf;
mod tracing_type;
mod trampoline;
#[cfg(test)]
mod type_tests;
mod verifier_stats;

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

pub use self::fexit::FExit;
pub use fentry::{FEntry, FEntryLink, FEntryLinkId};
pub use fmod_ret::{FModRet, FModRetLink, FModRetLinkId};
pub use info::{LinkInfo, ProgramInfo, loaded_links, loaded_programs};
pub use links::{FExitLink, FExitLinkId, LinkError, LinkId, PinnedLink, TracingLink};
pub use lsm::{Lsm, LsmLink, LsmLinkId};
pub use other::OtherProgram;
pub use target::Target;
pub use tp_btf::{BtfTracePoint, BtfTracePointLink, BtfTracePointLinkId};
pub use verifier_stats::VerifierStats;

pub use crate::error::ProgramError;
pub use crate::sys::TestRun;

pub use data::ProgramSize;

use crate::btf::Btf;
pub(crate) use data::ProgramData;
pub(crate) use shared::{Kconfig, Shared};
use trampoline::Trampoline;

/// A program of an object, of any type.
///
/// ```no_run
/// # let mut ebpf = fexit::Ebpf::load_file("prog.bpf.o")?;
/// use fexit::programs::FExit;
/// let program: &mut FExit = ebpf.program_mut("on_open").unwrap().try_into()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Program {
    /// An fentry program.
    FEntry(FEntry),
    /// An fexit program or a session.
    FExit(FExit),
    /// An fmod_ret program.
    FModRet(FModRet),
    /// An lsm program.
    Lsm(Lsm),
    /// A tp_btf program.
    BtfTracePoint(BtfTracePoint),
    /// A program of another type: it can be loaded, for example as a target.
    Other(OtherProgram),
}

impl Program {
    pub(crate) fn all(shared: &Arc<Shared>) -> BTreeMap<String, Self> {
        let extra = &shared.object.extra;
        let known = extra
            .sections
            .iter()
            .filter(|(name, _)| shared.object.parsed().programs.contains_key(name.as_str()));
        let program = |(name, section): (&String, &String)| {
            let data = ProgramData::new(name, section, Arc::clone(shared));
            let program = match data.kind() {
                "fentry" | "fentry.multi" => Self::FEntry(FEntry::new(data)),
                "fexit" | "fexit.multi" | "fsession" | "fsession.multi" => {
                    Self::FExit(FExit::new(data))
                }
                "fmod_ret" => Self::FModRet(FModRet::new(data)),
                "lsm" => Self::Lsm(Lsm::new(data)),
                "tp_btf" => Self::BtfTracePoint(BtfTracePoint::new(data)),
                _ => Self::Other(OtherProgram::new(data)),
            };
            (name.clone(), program)
        };
        known.chain(&extra.other_programs).map(program).collect()
    }

    pub(crate) fn data(&self) -> &ProgramData {
        match self {
            Self::FEntry(program) => program.data(),
            Self::FExit(program) => program.data(),
            Self::FModRet(program) => program.data(),
            Self::Lsm(program) => program.data(),
            Self::BtfTracePoint(program) => program.data(),
            Self::Other(program) => program.data(),
        }
    }

    /// The name of its C function.
    pub fn name(&self) -> &str {
        &self.data().name
    }

    /// Its section, as `fexit/filename_lookup`, without the `?` of an optional one.
    pub fn section(&self) -> &str {
        &self.data().section
    }

    /// Whether its section marks it as optional (`SEC("?fexit/...")`): the object works without it if it cannot be
    /// loaded.
    pub fn is_optional(&self) -> bool {
        self.data().is_optional()
    }

    /// Its type: the part of its section before the slash, as `fexit` or `xdp`.
    pub fn kind(&self) -> &str {
        self.data().kind()
    }

    /// Whether this library attaches programs of its type; others are only loaded.
    pub fn is_attachable(&self) -> bool {
        !matches!(self, Self::Other(_))
    }

    /// Whether this library loads programs of its type.
    pub fn is_loadable(&self) -> bool {
        match self {
            Self::Other(program) => program.is_loadable(),
            _ => true,
        }
    }

    fn trampoline(&mut self) -> Result<&mut Trampoline, ProgramError> {
        Ok(match self {
            Self::FEntry(program) => &mut program.program,
            Self::FExit(program) => &mut program.program,
            Self::FModRet(program) => &mut program.program,
            Self::Lsm(program) => &mut program.program,
            Self::BtfTracePoint(program) => &mut program.program,
            Self::Other(_) => {
                return Err(wrong_kind(self, "a type that this library attaches"));
            }
        })
    }

    /// Loads a program of any type. A program that [is not attached](Self::is_attachable) has no target: it
    /// loads for [`Target::Section`] only.
    ///
    /// # Errors
    ///
    /// As [`FExit::load_target`] and [`OtherProgram::load`].
    pub fn load_target(&mut self, target: &Target<'_>, btf: &Btf) -> Result<(), ProgramError> {
        match (self, target) {
            (Self::Other(program), Target::Section) => program.load(),
            (program, target) => program.trampoline()?.load_target(target, btf),
        }
    }

    /// Attaches the program to its target, as [`FExit::attach`] does.
    ///
    /// # Errors
    ///
    /// As [`FExit::attach`]; [`ProgramError::UnexpectedProgramType`] if it [is not attached](Self::is_attachable).
    pub fn attach(&mut self) -> Result<LinkId, ProgramError> {
        self.trampoline()?.attach(None)
    }

    /// Ends an attachment that the program owns, as [`FExit::detach`] does.
    ///
    /// # Errors
    ///
    /// As [`FExit::detach`]; [`ProgramError::UnexpectedProgramType`] if it [is not attached](Self::is_attachable).
    #[allow(clippy::needless_pass_by_value)] // an id is used once
    pub fn detach(&mut self, link_id: LinkId) -> Result<(), ProgramError> {
        self.trampoline()?.detach(&link_id)
    }

    /// Detaches the links that the program owns and closes it.
    ///
    /// # Errors
    ///
    /// [`ProgramError::NotLoaded`].
    pub fn unload(&mut self) -> Result<(), ProgramError> {
        match self {
            Self::Other(program) => program.unload(),
            program => program.trampoline()?.unload(),
        }
    }

    /// Its descriptor once it is loaded.
    ///
    /// # Errors
    ///
    /// [`ProgramError::NotLoaded`].
    pub fn fd(&self) -> Result<BorrowedFd<'_>, ProgramError> {
        self.data().fd()
    }

    /// The kernel's information on it.
    ///
    /// # Errors
    ///
    /// [`ProgramError::NotLoaded`], or what the kernel answered.
    pub fn info(&self) -> Result<ProgramInfo, ProgramError> {
        ProgramInfo::of(self.fd()?)
    }

    /// Pins it at `path`, a free name in a BPF file system. It stays loaded until the pin is removed.
    ///
    /// # Errors
    ///
    /// [`ProgramError::NotLoaded`], [`ProgramError::Pin`].
    pub fn pin<P: AsRef<std::path::Path>>(&self, path: P) -> Result<(), ProgramError> {
        self.data().pin(path.as_ref())
    }

    /// The verifier log of the load that succeeded; empty unless
    /// [`EbpfLoader::verifier_log_level`](crate::EbpfLoader::verifier_log_level) is set. [`VerifierStats::parse`] reads
    /// the figures in it.
    pub fn verifier_log(&self) -> &str {
        self.data().verifier_log()
    }

    /// Its size as it was loaded; `None` if it is not loaded.
    pub fn size(&self) -> Option<ProgramSize> {
        self.data().size()
    }

    /// Runs it once on `data`, an Ethernet frame for a network program. See [`FExit::test_run`].
    ///
    /// # Minimum kernel version
    ///
    /// 4.12 for network programs, 5.7 for tracing ones. Source: kernel commit 1cf1cae963c2 ("bpf: introduce
    /// BPF_PROG_TEST_RUN command").
    ///
    /// # Errors
    ///
    /// [`ProgramError::NotLoaded`], or what the kernel answered.
    pub fn test_run(&self, data: &[u8]) -> Result<TestRun, ProgramError> {
        self.data().test_run(data)
    }
}

impl<'a> Target<'a> {
    /// A program of this library.
    ///
    /// # Errors
    ///
    /// [`ProgramError::NotLoaded`] when it is not loaded.
    pub fn program(program: &'a Program, function: Option<&'a str>) -> Result<Self, ProgramError> {
        Ok(Self::Program {
            fd: program.fd()?,
            function,
        })
    }
}

macro_rules! conversions {
    ($variant:ident, $type:ident, $expected:literal, $($data:ident).+) => {
        impl<'a> TryFrom<&'a Program> for &'a $type {
            type Error = ProgramError;

            fn try_from(program: &'a Program) -> Result<Self, ProgramError> {
                match program {
                    Program::$variant(program) => Ok(program),
                    other => Err(wrong_kind(other, $expected)),
                }
            }
        }

        impl<'a> TryFrom<&'a mut Program> for &'a mut $type {
            type Error = ProgramError;

            fn try_from(program: &'a mut Program) -> Result<Self, ProgramError> {
                match program {
                    Program::$variant(program) => Ok(program),
                    other => Err(wrong_kind(other, $expected)),
                }
            }
        }

        impl $type {
            pub(super) fn data(&self) -> &ProgramData {
                &self.$($data).+
            }

            /// The name of its C function.
            pub fn name(&self) -> &str {
                &self.data().name
            }

            /// Its descriptor once it is loaded.
            ///
            /// # Errors
            ///
            /// [`ProgramError::NotLoaded`] before `load` and after `unload`.
            pub fn fd(&self) -> Result<BorrowedFd<'_>, ProgramError> {
                self.data().fd()
            }

            /// The number of its descriptor while it is loaded.
            pub fn raw_fd(&self) -> Option<std::os::fd::RawFd> {
                self.data().fd().ok().map(|fd| fd.as_raw_fd())
            }

            /// Pins it at `path`, a free name in a BPF file system. It stays loaded until the pin is removed.
            ///
            /// # Minimum kernel version
            ///
            /// 4.4. Source: kernel commit b2197755b263 ("bpf: add support for persistent maps/progs").
            ///
            /// # Errors
            ///
            /// [`ProgramError::NotLoaded`]; [`ProgramError::Pin`] when the name is taken or not in a BPF file system.
            pub fn pin<P: AsRef<std::path::Path>>(&self, path: P) -> Result<(), ProgramError> {
                self.data().pin(path.as_ref())
            }

            /// The kernel's information on it: id, run count and time, target.
            ///
            /// # Minimum kernel version
            ///
            /// 4.13; fields of later kernels name theirs, see [`ProgramInfo`].
            ///
            /// # Errors
            ///
            /// [`ProgramError::NotLoaded`], or what the kernel answered.
            pub fn info(&self) -> Result<ProgramInfo, ProgramError> {
                ProgramInfo::of(self.fd()?)
            }

            /// The verifier log of the load that succeeded; empty unless
            /// [`EbpfLoader::verifier_log_level`](crate::EbpfLoader::verifier_log_level) asked for it.
            pub fn verifier_log(&self) -> &str {
                self.data().verifier_log()
            }
        }
    };
}

conversions!(FEntry, FEntry, "fentry", program.data);
conversions!(FExit, FExit, "fexit", program.data);
conversions!(FModRet, FModRet, "fmod_ret", program.data);
conversions!(Lsm, Lsm, "lsm", program.data);
conversions!(BtfTracePoint, BtfTracePoint, "tp_btf", program.data);
conversions!(
    Other,
    OtherProgram,
    "a type that this library only loads",
    data
);

fn wrong_kind(program: &Program, expected: &'static str) -> ProgramError {
    ProgramError::UnexpectedProgramType {
        name: program.name().to_owned(),
        expected,
        found: program.kind().to_owned(),
    }
}
