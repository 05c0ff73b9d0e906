//! A host program with its dependencies for a VM: libraries and their loader, the interpreter of a script, the commands in
//! a shell script, and files that the user adds.
//!
//! All files keep their paths. A file is at its real path, and its other names are symbolic links, so that `$ORIGIN` and
//! `/proc/self/exe` are the same as on the host.

mod elf;
pub mod error;
mod files;
mod ld_cache;
mod libraries;
mod script;

use std::{
    collections::HashSet,
    env,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

pub use self::error::ProgramError;
use self::{
    elf::Elf,
    files::{Entry, Files, absolute, mode, name_of, unreadable},
    libraries::{LD_CACHE, Libraries, Loaded},
};
use crate::initramfs::cpio::{ImageError, Initramfs};
use crate::kernels::Arch;

/// The limit for a program on PATH whose name is only a word of a script. A path means a program.
const GUESS_LIMIT: u64 = 16 << 20;

/// The host files of a VM.
#[derive(Debug)]
pub struct HostFiles {
    arch: Arch,
    path: OsString,
    libraries: Libraries,
    files: Files,
    /// Files whose dependencies are added.
    seen: HashSet<PathBuf>,
    notes: Vec<String>,
}

impl HostFiles {
    /// No files, for a VM of this architecture. Programs will be found in `PATH`, libraries also in `LD_LIBRARY_PATH`.
    pub fn new(arch: Arch) -> Self {
        let mut path = env::var_os("PATH").unwrap_or_default();
        // The PATH of a user may not have the programs of root.
        for folder in ["/usr/local/sbin", "/usr/sbin", "/sbin"] {
            path.push(if path.is_empty() { "" } else { ":" });
            path.push(folder);
        }
        Self {
            arch,
            path,
            libraries: Libraries::new(env::var_os("LD_LIBRARY_PATH").as_deref()),
            files: Files::new(),
            seen: HashSet::new(),
            notes: Vec::new(),
        }
    }

    /// Adds the program of a command with its dependencies, and for `sh -c 'SCRIPT'` the commands in the script. Returns the
    /// absolute path of the program.
    pub fn command(&mut self, command: &[OsString]) -> Result<PathBuf, ProgramError> {
        let Some((name, arguments)) = command.split_first() else {
            return Err(ProgramError::NotFound(String::new()));
        };
        let path = self.program(name)?;
        let is_shell = path
            .file_name()
            .and_then(OsStr::to_str)
            .is_some_and(script::is_shell);
        if is_shell {
            // A script follows an option that ends with `c` (`-ec`).
            let mut words = arguments.iter().filter_map(|word| word.to_str());
            let is_c = |word: &str| word.starts_with('-') && word.ends_with('c');
            if let Some(script) = words.find(|word| is_c(word)).and(words.next()) {
                self.add_words(script)?;
            }
        }
        Ok(path)
    }

    /// Adds a program with its dependencies, by its path or its name on PATH. Returns its absolute path.
    pub fn program(&mut self, name: &OsStr) -> Result<PathBuf, ProgramError> {
        let shown = || name.to_string_lossy().into_owned();
        let path = self
            .locate(name)
            .ok_or_else(|| ProgramError::NotFound(shown()))?;
        let refused = |why: String| ProgramError::NotExecutable { path: shown(), why };
        let meta = fs::metadata(&path).map_err(|error| unreadable(&path, error))?;
        if !meta.is_file() {
            return Err(refused("it is not a file".to_owned()));
        }
        if meta.permissions().mode() & 0o111 == 0 {
            return Err(refused("it is not executable".to_owned()));
        }
        self.add(&path, None)?;
        Ok(path)
    }

    /// Adds a file or a folder with its contents, at its own path or at another, with the dependencies of programs and
    /// libraries in it.
    pub fn file(&mut self, from: &Path, to: Option<&Path>) -> Result<(), ProgramError> {
        let from = absolute(from);
        let to = to.map_or_else(|| from.clone(), absolute);
        let meta = fs::metadata(&from).map_err(|error| unreadable(&from, error))?;
        if meta.is_dir() {
            self.folder(&from, &to)
        } else if meta.is_file() && from == to {
            self.add(&from, None)
        } else if meta.is_file() {
            let content = self.files.content(&from)?;
            self.add_dependencies(&from, &content, None)?;
            self.files.insert(&to, Entry::File(mode(&meta), content))
        } else {
            let error = io::Error::other("it is neither a file nor a folder");
            Err(unreadable(&from, error))
        }
    }

    /// Adds a file or a folder that an option names as `PATH` or `PATH:PLACE`.
    pub fn named_file(&mut self, named: &str) -> Result<(), ProgramError> {
        match named.rsplit_once(':') {
            Some((from, to)) if !Path::new(named).exists() => {
                self.file(Path::new(from), Some(Path::new(to)))
            }
            _ => self.file(Path::new(named), None),
        }
    }

    /// Adds a folder, unless there is one.
    pub fn dir(&mut self, path: &Path, permissions: u32) -> Result<(), ProgramError> {
        self.files.dir(path, permissions)
    }

    /// Adds the working directory of the program, unless there is one. The VM itself makes those in `/dev`, `/proc` and
    /// `/sys`. Returns its absolute path without `.` and `..`.
    pub fn working_dir(&mut self, path: &Path) -> Result<PathBuf, ProgramError> {
        let path = absolute(path);
        match self.dir(&path, 0o755) {
            Ok(()) | Err(ProgramError::Hidden(_)) => Ok(path),
            Err(error) => Err(error),
        }
    }

    /// Adds a file with this content, unless there is one.
    pub fn text(&mut self, path: &str, content: &str) -> &mut Self {
        self.files.text(path, content);
        self
    }

    /// Whether it has no file.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Bytes of all files together.
    pub fn size(&self) -> u64 {
        self.files.size()
    }

    /// Notes on what was left out: missing libraries, large programs.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Adds everything to an initramfs.
    pub fn add_to<'a>(&'a self, image: &mut Initramfs<'a>) -> Result<(), ImageError> {
        self.files.add_to(image)
    }

    fn locate(&self, name: &OsStr) -> Option<PathBuf> {
        if name.to_string_lossy().contains('/') {
            return Some(absolute(Path::new(name))).filter(|path| path.exists());
        }
        let is_program = |path: &PathBuf| {
            fs::metadata(path)
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        };
        let all = || env::split_paths(&self.path).map(|folder| absolute(&folder.join(name)));
        // One for another machine is found if there is no other, for the error.
        let fitting = all().find(|path| is_program(path) && self.fits(path));
        fitting.or_else(|| all().find(is_program))
    }

    fn fits(&self, path: &Path) -> bool {
        let mut start = [0; 20];
        let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
        read.is_err() || Elf::fits(&start, self.arch)
    }

    /// Adds the programs whose names are words of a shell script.
    fn add_words(&mut self, script: &str) -> Result<(), ProgramError> {
        for word in script::words(script) {
            let Some(path) = self.locate(word.as_ref()) else {
                continue;
            };
            let Ok(meta) = fs::metadata(&path) else {
                continue;
            };
            let runs = meta.is_file() && meta.permissions().mode() & 0o111 != 0;
            if meta.len() > GUESS_LIMIT && runs && !word.contains('/') {
                self.notes.push(format!(
                    "{} is left out because it is large: add it with --file if the script runs it",
                    path.display()
                ));
            } else if runs {
                match self.add(&path, None) {
                    // The script may not run it, or the shell may have such a command.
                    Err(error @ ProgramError::NotExecutable { .. }) => {
                        self.notes.push(format!("{word} is left out: {error}"));
                    }
                    added => added?,
                }
            }
        }
        Ok(())
    }

    /// Adds a file at its own path, with its dependencies.
    fn add(&mut self, path: &Path, by: Option<&Loaded>) -> Result<(), ProgramError> {
        if !self.seen.insert(path.to_owned()) {
            return Ok(());
        }
        let added = self.add_unseen(path, by);
        if added.is_err() {
            self.seen.remove(path);
        }
        added
    }

    fn add_unseen(&mut self, path: &Path, by: Option<&Loaded>) -> Result<(), ProgramError> {
        let real = fs::canonicalize(path).map_err(|error| unreadable(path, error))?;
        let meta = fs::metadata(&real).map_err(|error| unreadable(&real, error))?;
        let content = self.files.content(&real)?;
        // For a program `$ORIGIN` is the folder of its real path, for a library that of the path where it was found.
        let origin = if by.is_some() { path } else { &real };
        self.add_dependencies(origin, &content, by)?;
        if real != self.files.place(path) {
            self.files
                .insert(path, Entry::Symlink(name_of(&real)?.to_owned()))?;
        }
        self.files.insert(&real, Entry::File(mode(&meta), content))
    }

    /// Adds the dependencies of a file.
    fn add_dependencies(
        &mut self,
        path: &Path,
        content: &[u8],
        by: Option<&Loaded>,
    ) -> Result<(), ProgramError> {
        let refused = |why: String| ProgramError::NotExecutable {
            path: path.display().to_string(),
            why,
        };
        match Elf::read(content) {
            // A program loads it as data.
            Ok(Some(elf)) if elf.is_bpf() => Ok(()),
            Ok(Some(elf)) if !elf.runs_on(self.arch) => Err(refused(format!(
                "it is for another machine (ELF machine {}) than the VM, which is {1}; name a program for {1}, or begin PATH \
                 with a folder of such programs",
                elf.machine, self.arch
            ))),
            Ok(Some(elf)) => self.libraries_of(&Loaded::new(path.to_owned(), elf, by)),
            Ok(None) => self.interpreter_of(path, content),
            Err(error) => Err(refused(format!("it is damaged: {error}"))),
        }
    }

    fn libraries_of(&mut self, loaded: &Loaded) -> Result<(), ProgramError> {
        if let Some(interpreter) = &loaded.elf.interpreter {
            let interpreter = absolute(interpreter);
            if interpreter.exists() {
                self.add(&interpreter, Some(loaded))?;
            } else {
                self.note_missing(&interpreter.to_string_lossy(), &loaded.path);
            }
            if Path::new(LD_CACHE).exists() {
                self.add(Path::new(LD_CACHE), None)?;
            }
        }
        for name in &loaded.elf.needed {
            let found = self.libraries.find(name, loaded);
            if found.is_empty() {
                self.note_missing(name, &loaded.path);
            }
            for path in found {
                self.add(&absolute(&path), Some(loaded))?;
            }
        }
        Ok(())
    }

    fn note_missing(&mut self, name: &str, by: &Path) {
        self.notes.push(format!(
            "{} needs {name}, which this machine does not have",
            by.display()
        ));
    }

    fn interpreter_of(&mut self, path: &Path, content: &[u8]) -> Result<(), ProgramError> {
        let Some((program, argument)) = script::interpreter(content) else {
            return Ok(());
        };
        let program = absolute(&path.parent().unwrap_or(Path::new("/")).join(program));
        if !program.exists() {
            self.note_missing(&program.to_string_lossy(), path);
            return Ok(());
        }
        self.add(&program, None)?;
        let mut name = file_name(&program);
        if name == "env" {
            let argument = argument.unwrap_or_default();
            let mut words = argument.split_whitespace();
            let found = words.find(|word| !word.starts_with('-') && !word.contains('='));
            if let Some(program) = found.and_then(|word| self.locate(word.as_ref())) {
                self.add(&program, None)?;
                name = file_name(&program);
            }
        }
        match std::str::from_utf8(content) {
            Ok(script) if script::is_shell(&name) => self.add_words(script),
            _ => Ok(()),
        }
    }

    fn folder(&mut self, from: &Path, to: &Path) -> Result<(), ProgramError> {
        let meta = fs::metadata(from).map_err(|error| unreadable(from, error))?;
        self.files.insert(to, Entry::Dir(mode(&meta)))?;
        let entries = fs::read_dir(from).map_err(|error| unreadable(from, error))?;
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(from, error))?;
            let (path, to) = (entry.path(), to.join(entry.file_name()));
            let kind = entry
                .file_type()
                .map_err(|error| unreadable(&path, error))?;
            if kind.is_symlink() {
                let target = fs::read_link(&path).map_err(|error| unreadable(&path, error))?;
                let target = target.to_str().ok_or(ProgramError::Name(path))?.to_owned();
                self.files.insert(&to, Entry::Symlink(target))?;
            } else if kind.is_dir() {
                self.folder(&path, &to)?;
            } else if kind.is_file() {
                self.file(&path, Some(&to))?;
            } else {
                let kind = if kind.is_socket() {
                    "socket"
                } else {
                    "device or pipe"
                };
                let note = format!("{} is left out, a {kind}", path.display());
                self.notes.push(note);
            }
        }
        Ok(())
    }
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_program_is_added_by_its_path_and_left_out_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("large");
        let file = File::create(&program).unwrap();
        file.set_len(GUESS_LIMIT + 1).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();

        for (word, is_added) in [(program.to_str().unwrap(), true), ("large", false)] {
            let mut files = HostFiles::new(Arch::host());
            files.path = dir.path().into();
            files.add_words(word).unwrap();
            assert_eq!(files.size() > GUESS_LIMIT, is_added, "{word}");
            let notes = files.notes().join("\n");
            assert_eq!(
                notes.contains("large: add it with --file"),
                !is_added,
                "{notes}"
            );
        }
    }

    #[test]
    fn refused_program_is_refused_again_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("sh");
        std::os::unix::fs::symlink("/bin/sh", &link).unwrap();
        let other = Arch::ALL.into_iter().find(|arch| *arch != Arch::host());
        let mut files = HostFiles::new(other.unwrap());
        for _ in 0..2 {
            let error = files.program(link.as_os_str()).unwrap_err().to_string();
            assert!(error.contains("for another machine"), "{error}");
            assert!(files.is_empty());
        }
        // A script may have a word that is the name of such a program, and not run it.
        files.path = dir.path().into();
        files.add_words("sh").unwrap();
        let notes = files.notes().join("\n");
        assert!(notes.starts_with("sh is left out: `"), "{notes}");
        HostFiles::new(Arch::host())
            .program(link.as_os_str())
            .unwrap();
    }
}
