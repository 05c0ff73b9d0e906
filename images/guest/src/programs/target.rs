//! The objects of one attempt, and the targets of their programs.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;

use super::map_sizes;
use fexit::programs::{Program, ProgramError, Target};
use fexit::{Btf, Ebpf, EbpfError, EbpfLoader, VerifierLogLevel};
use protocol::program::{OBJECTS_DIR, ProgramTask, TargetSpec};

/// Objects by file name, each loaded on first use.
#[derive(Default)]
pub(super) struct Objects {
    loaded: BTreeMap<String, Ebpf>,
    /// The maps that were given a size.
    pub(super) notes: Vec<String>,
}

impl Objects {
    pub(super) fn get(&mut self, file: &str) -> Result<&mut Ebpf, EbpfError> {
        if !self.loaded.contains_key(file) {
            let mut loader = EbpfLoader::new();
            loader.verifier_log_level(VerifierLogLevel::STATS);
            let path = Path::new(OBJECTS_DIR).join(file);
            let mut object = loader.load_file(&path)?;
            let mut notes = map_sizes::set_missing(&object, &mut loader);
            if !notes.is_empty() {
                object = loader.load_file(&path)?;
                self.notes.append(&mut notes);
            }
            self.loaded.insert(file.to_owned(), object);
        }
        self.loaded
            .get_mut(file)
            .ok_or_else(|| EbpfError::Malformed {
                what: format!("{file} disappeared from the list of objects"),
            })
    }

    /// Loads a program for the target of the task, or else that of its section.
    pub(super) fn load(&mut self, task: &ProgramTask, btf: &Btf) -> Result<(), ProgramError> {
        self.load_program(&task.file, &task.program, task.target.as_ref(), btf)
    }

    fn load_program(
        &mut self,
        file: &str,
        name: &str,
        target: Option<&TargetSpec>,
        btf: &Btf,
    ) -> Result<(), ProgramError> {
        let target = match target {
            Some(target) => self.target(target, btf)?,
            None => Target::Section,
        };
        self.program(file, name)?.load_target(&target, btf)
    }

    fn target<'a>(
        &mut self,
        target: &'a TargetSpec,
        btf: &Btf,
    ) -> Result<Target<'a>, ProgramError> {
        match target {
            TargetSpec::Function(name) => Ok(Target::Function(name)),
            TargetSpec::Program {
                file,
                program,
                target,
                function,
            } => Ok(Target::OwnedProgram {
                fd: self.loaded(file, program, target.as_deref(), btf)?,
                function: function.as_deref(),
            }),
            TargetSpec::Id { id, function } => Target::program_id(*id, function.as_deref()),
            TargetSpec::Pinned(path) => {
                let (pin, function) = split_pin(path, Path::is_dir);
                Target::pinned(pin, function)
            }
        }
    }

    /// A descriptor of a program, which is loaded if necessary.
    fn loaded(
        &mut self,
        file: &str,
        name: &str,
        target: Option<&TargetSpec>,
        btf: &Btf,
    ) -> Result<OwnedFd, ProgramError> {
        let program = self.program(file, name)?;
        if program.fd().is_err() {
            self.load_program(file, name, target, btf)?;
        }
        let fd = self.program(file, name)?.fd()?.try_clone_to_owned();
        fd.map_err(|io_error| ProgramError::SyscallError {
            call: "dup",
            io_error,
        })
    }

    pub(super) fn program(&mut self, file: &str, name: &str) -> Result<&mut Program, ProgramError> {
        let refused = |reason: String| ProgramError::TargetProgram { reason };
        let object = self
            .get(file)
            .map_err(|error| refused(format!("cannot read its object: {error}")))?;
        object
            .program_mut(name)
            .ok_or_else(|| refused(format!("the object has no program `{name}`")))
    }
}

/// Splits a path into pin and subprogram: the last part is a subprogram unless its parent is a directory.
fn split_pin(path: &str, is_dir: impl Fn(&Path) -> bool) -> (&str, Option<&str>) {
    match path.rsplit_once('/') {
        Some((pin, function)) if !pin.is_empty() && !is_dir(Path::new(pin)) => {
            (pin, Some(function))
        }
        _ => (path, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_after_a_pin_is_a_subprogram() {
        let is_dir = |path: &Path| {
            ["/sys/fs/bpf", "/sys/fs/bpf/net"]
                .map(Path::new)
                .contains(&path)
        };
        for (path, expected) in [
            ("/sys/fs/bpf/xdp", ("/sys/fs/bpf/xdp", None)),
            ("/sys/fs/bpf/net/xdp", ("/sys/fs/bpf/net/xdp", None)),
            (
                "/sys/fs/bpf/xdp/length",
                ("/sys/fs/bpf/xdp", Some("length")),
            ),
            ("/xdp", ("/xdp", None)),
        ] {
            assert_eq!(split_pin(path, is_dir), expected);
        }
    }
}
