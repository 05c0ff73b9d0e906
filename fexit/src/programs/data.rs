//! Loads programs of all types.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use super::externs::Instructions;
use super::log_level::VerifierLogLevel;
use super::shared::Shared;
use crate::btf::core_spec::CoreRelocationInfo;
use crate::btf::{Ambiguity, Btf};
use crate::compat::{self, TooNew};
use crate::elf::map_values::Value;
use crate::error::ProgramError;
use crate::object::relocation_sites;
use crate::sys::{self, ProgLoad, TestRun};

/// The first size of the buffer for the verifier's log, which grows until the log fits.
const LOG_SIZE: usize = 64 << 10;

/// The largest size. A longer log is truncated: at its end, from Linux 6.4 on at its beginning.
const MAX_LOG_SIZE: usize = 16 << 20;

/// The bits of the log level for the trace, not only for the statistics.
const TRACE: u32 = VerifierLogLevel::VERBOSE.bits();
const DEBUG: u32 = VerifierLogLevel::DEBUG.bits();

pub(crate) struct ProgramData {
    pub(crate) name: String,
    pub(crate) section: String,
    shared: Arc<Shared>,
    loaded: Option<Loaded>,
}

struct Loaded {
    fd: OwnedFd,
    log: String,
    size: ProgramSize,
}

/// The size of a program as it was loaded, before the verifier changed it, in instructions of 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProgramSize {
    /// All functions.
    pub instructions: usize,
    /// Its longest function.
    pub longest_function: usize,
}

/// The attributes of a load that depend on the program type and the target.
#[derive(Clone, Copy, Default)]
pub(crate) struct Kind<'a> {
    pub(crate) prog_type: u32,
    pub(crate) attach_type: u32,
    pub(crate) flags: u32,
    pub(crate) attach_btf_id: u32,
    pub(crate) attach_fd: Option<BorrowedFd<'a>>,
    /// The module that the target is in.
    pub(crate) module: Option<&'a str>,
}

/// A load that the kernel refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) error: io::Error,
    pub(crate) log: String,
    /// The types and fields that the program reads and this kernel lacks.
    pub(crate) missing: Vec<CoreRelocationInfo>,
    /// The newer features that the program uses, if it was refused for that.
    pub(crate) too_new: Vec<TooNew>,
}

impl ProgramData {
    pub(crate) fn new(name: &str, section: &str, shared: Arc<Shared>) -> Self {
        Self {
            name: name.to_owned(),
            section: section.to_owned(),
            shared,
            loaded: None,
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn is_optional(&self) -> bool {
        self.shared.object.extra.optional.contains(&self.name)
    }

    /// The part of the section's name before the slash, without the mark for programs that may sleep.
    pub(crate) fn kind(&self) -> &str {
        let kind = self.section.split('/').next().unwrap_or_default();
        kind.strip_suffix(".s").unwrap_or(kind)
    }

    /// The part of the section's name after the slash.
    pub(crate) fn section_target(&self) -> Option<&str> {
        self.section
            .split_once('/')
            .map(|(_, target)| target)
            .filter(|target| !target.is_empty())
    }

    pub(crate) fn is_sleepable(&self) -> bool {
        self.section
            .split('/')
            .next()
            .is_some_and(|kind| kind.ends_with(".s"))
    }

    pub(crate) fn fd(&self) -> Result<BorrowedFd<'_>, ProgramError> {
        self.loaded
            .as_ref()
            .map(|loaded| loaded.fd.as_fd())
            .ok_or(ProgramError::NotLoaded)
    }

    pub(crate) fn is_loaded(&self) -> bool {
        self.loaded.is_some()
    }

    pub(crate) fn verifier_log(&self) -> &str {
        self.loaded.as_ref().map_or("", |loaded| &loaded.log)
    }

    pub(crate) fn size(&self) -> Option<ProgramSize> {
        self.loaded.as_ref().map(|loaded| loaded.size)
    }

    pub(crate) fn unload(&mut self) -> Result<(), ProgramError> {
        self.loaded.take().map(drop).ok_or(ProgramError::NotLoaded)
    }

    pub(crate) fn pin(&self, path: &Path) -> Result<(), ProgramError> {
        super::pin::pin(self.fd()?, path).map_err(|io_error| ProgramError::Pin {
            path: path.to_owned(),
            io_error,
        })
    }

    pub(crate) fn test_run(&self, data: &[u8]) -> Result<TestRun, ProgramError> {
        sys::prog_test_run(self.fd()?, data, 1).map_err(|io_error| ProgramError::SyscallError {
            call: "BPF_PROG_TEST_RUN",
            io_error,
        })
    }

    /// Whether it runs on a function, so that it may call the same helpers as fexit programs.
    pub(crate) fn is_of_function(&self) -> bool {
        is_of_function(&self.section)
    }

    /// The policy for ambiguous names of targets.
    pub(crate) fn ambiguity(&self) -> Ambiguity {
        Ambiguity {
            policy: self.shared.ambiguity,
            targets: self.sibling_targets().count(),
        }
    }

    /// The targets that the sections of the object's programs name after the slash.
    pub(crate) fn sibling_targets(&self) -> impl Iterator<Item = &str> {
        let sections = self.shared.object.extra.sections.values();
        sections
            .filter(|section| is_of_function(section))
            .map(|section| section.split_once('/').map_or("", |(_, target)| target))
    }

    /// Looks up these functions, the kernel functions that the object calls, and the types of its CO-RE relocations in one
    /// pass over the kernel's BTF.
    pub(crate) fn prefetch_names(&self, btf: &Btf, functions: &[&str]) -> Result<(), ProgramError> {
        let object = &self.shared.object;
        let kfuncs = object.extra.functions();
        let functions: Vec<&str> = functions.iter().copied().chain(kfuncs).collect();
        match &self.shared.btf {
            None => object.prefetch_names(btf, &functions)?,
            // Its relocations use the types of another kernel.
            Some(_) => btf.prefetch_names(&functions, Vec::new())?,
        }
        Ok(())
    }

    /// Whether the object's relocations use the types of `btf`.
    pub(crate) fn needs_types(&self) -> bool {
        let extra = &self.shared.object.extra;
        !extra.core.is_empty() || extra.functions().next().is_some()
    }

    /// Loads the program. `btf` is called only if it [needs types](Self::needs_types).
    ///
    /// The outer error is the library's, the inner one the kernel's, which the caller diagnoses.
    pub(crate) fn load(
        &mut self,
        kind: &Kind<'_>,
        btf: impl Fn() -> Result<Btf, ProgramError>,
    ) -> Result<Result<(), Refusal>, ProgramError> {
        let callbacks = &self.shared.object.extra.exception_callbacks;
        if let Some(reason) = callbacks.error(&self.name)
            && self.shared.object.has_decl_tags()?
        {
            return Err(ProgramError::Relocation { reason });
        }
        let kernel = || match &self.shared.btf {
            Some(types) => Ok(types.clone()),
            None => btf(),
        };
        let object = &self.shared.object;
        let relocated = object.relocated(&self.name, kind.module, kernel)?;
        let function = relocated
            .function(&self.name)
            .ok_or(ProgramError::NotLoaded)?;
        let resolved =
            Instructions::resolve(&function.instructions, &self.name, &self.shared, &btf)?;
        let fd_array = resolved.fd_array();
        let license = &self.shared.object.extra.license;
        let func_info = function.func_info.func_info_bytes();
        let line_info = function.line_info.line_info_bytes();
        let size = |size: usize| u32::try_from(size).unwrap_or(0);
        let attr = ProgLoad {
            prog_type: kind.prog_type,
            expected_attach_type: kind.attach_type,
            insns: &resolved.insns,
            license,
            name: &self.name,
            flags: kind.flags,
            kern_version: 0,
            btf: self.shared.object.btf_fd(),
            func_info: (&func_info, size(function.func_info_rec_size)),
            line_info: (&line_info, size(function.line_info_rec_size)),
            attach_btf_id: kind.attach_btf_id,
            attach_fd: kind.attach_fd,
            fd_array: &fd_array,
            log_level: self.shared.log_level,
        };
        match load_with_log(&attr) {
            Ok((fd, log)) => {
                let starts = function.func_info.func_info.iter();
                let starts = starts.map(|info| info.insn_off as usize);
                let size = program_size(resolved.insns.len(), starts);
                self.fill_program_arrays(fd.as_fd())?;
                self.loaded = Some(Loaded { fd, log, size });
            }
            Err((error, log)) => {
                if let Some(error) = resolved.refused(&error, &log) {
                    return Err(error);
                }
                let missing = relocation_sites::missing(object, &relocated, &self.name, &log);
                let too_new = btf().map_or_else(
                    |_| Vec::new(),
                    |btf| compat::too_new(&function.instructions, &log, &btf),
                );
                return Ok(Err(Refusal {
                    error,
                    log,
                    missing,
                    too_new,
                }));
            }
        }
        Ok(Ok(()))
    }
}

impl ProgramData {
    /// Puts the program into the arrays of programs that the object declares it in.
    fn fill_program_arrays(&self, program: BorrowedFd<'_>) -> Result<(), ProgramError> {
        for initial in &self.shared.object.extra.map_values {
            let maps = &mut self.shared.maps.iter();
            if initial.value == Value::Program(self.name.clone())
                && let Some(map) = maps.find(|map| map.name() == initial.map)
            {
                map.set_program(initial.index, program)?;
            }
        }
        Ok(())
    }
}

/// Whether the programs of a section are on functions: fentry, fexit, fmod_ret, and sessions.
fn is_of_function(section: &str) -> bool {
    ["fentry", "fexit", "fmod_ret", "fsession"]
        .iter()
        .any(|kind| section.starts_with(kind))
}

/// Without the object, which other programs share.
impl fmt::Debug for ProgramData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgramData")
            .field("name", &self.name)
            .field("section", &self.section)
            .field("fd", &self.loaded.as_ref().map(|loaded| &loaded.fd))
            .finish_non_exhaustive()
    }
}

/// The size of a program whose functions begin at these instructions.
fn program_size(instructions: usize, starts: impl Iterator<Item = usize>) -> ProgramSize {
    let mut starts: Vec<usize> = starts.chain([0, instructions]).collect();
    starts.sort_unstable();
    let lengths = starts.windows(2).map(|pair| pair[1] - pair[0]);
    ProgramSize {
        instructions,
        longest_function: lengths.max().unwrap_or(instructions),
    }
}

/// Loads without the verifier's trace first, which is faster, and with it if the program was refused.
///
/// A buffer that is too small for the log fails the load of a valid program too: then the load is repeated.
fn load_with_log(attr: &ProgLoad<'_>) -> Result<(OwnedFd, String), (io::Error, String)> {
    let load = |log_level, log: &mut [u8]| {
        sys::with_memlock(|| sys::prog_load(&ProgLoad { log_level, ..*attr }, log))
    };
    let silently = || load(0, &mut []);
    let is_full = |result: &io::Result<_>| matches!(result, Err(error) if error.raw_os_error() == Some(libc::ENOSPC));
    let mut verdict = None;
    if attr.log_level & TRACE == 0 {
        let mut log = vec![0; if attr.log_level == 0 { 0 } else { LOG_SIZE }];
        match load(attr.log_level, &mut log) {
            Ok(fd) => return Ok((fd, sys::log_text(&log))),
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                return Err((error, String::new()));
            }
            refused => verdict = (attr.log_level == 0 || !is_full(&refused)).then_some(refused),
        }
    }
    let mut log = vec![0; LOG_SIZE];
    loop {
        let result = load(attr.log_level | DEBUG, &mut log);
        let full = is_full(&result);
        if full && log.len() < MAX_LOG_SIZE {
            log = vec![0; log.len() * 4];
            continue;
        }
        let text = sys::log_text(&log);
        let result = if full {
            verdict.unwrap_or_else(silently)
        } else {
            result
        };
        return match result {
            Ok(fd) => Ok((fd, text)),
            Err(error) => Err((error, text)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_function_is_the_largest_gap_between_starts() {
        let size = |instructions, starts: &[usize]| {
            let size = program_size(instructions, starts.iter().copied());
            (size.instructions, size.longest_function)
        };
        assert_eq!(size(10, &[]), (10, 10));
        assert_eq!(size(10, &[0]), (10, 10));
        assert_eq!(size(10, &[0, 3]), (10, 7));
        assert_eq!(size(10, &[0, 8, 9]), (10, 8));
    }
}
