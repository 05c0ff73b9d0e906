//! Lazy reading of the kernel's BTF.
//!
//! Most loads use only the id of one function. A kernel that cannot map its BTF (before 6.16) copies it, and allocating
//! the pages for the copy takes as long again: together more than the rest of a load. So the first function is searched
//! in chunks, with one small buffer, and reading ends where it is found.

use std::fs::File;
use std::io::{self, Read};
use std::ops::{ControlFlow, Range};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use memchr::memmem;

use super::chunked::read_chunked;
use super::error::BtfError;
use super::format::{self, Sections};
use super::iter::{Head, Iter};
use super::kind::Kind;
use super::layout::Sizes;
use super::raw::Raw;
use crate::sys::{self, mmap::Mapped};

/// A file of BTF whose header has been read.
#[derive(Debug)]
pub(super) struct LazyBtf {
    file: File,
    len: usize,
    sections: Sections,
    sizes: Sizes,
}

/// A range of a file, for reading.
struct Part<'a> {
    file: &'a File,
    range: Range<usize>,
}

impl Read for Part<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let len = to.len().min(self.range.len());
        let read = self.file.read_at(&mut to[..len], self.range.start as u64)?;
        self.range.start += read;
        Ok(read)
    }
}

impl LazyBtf {
    pub(super) fn open(path: &Path) -> Result<Self, BtfError> {
        let error = |error| BtfError::FileError {
            path: path.to_owned(),
            error,
        };
        let file = File::open(path).map_err(error)?;
        let len = usize::try_from(file.metadata().map_err(error)?.len()).unwrap_or(usize::MAX);
        let mut header = [0; format::LONG_HEADER_LEN];
        let header = &mut header[..len.min(format::LONG_HEADER_LEN)];
        file.read_exact_at(header, 0).map_err(error)?;
        let sections = format::sections(header, len)?;
        let mut sizes = Sizes::KNOWN;
        if !sections.layout.is_empty() {
            let mut layout = vec![0; sections.layout.len()];
            file.read_exact_at(&mut layout, sections.layout.start as u64)
                .map_err(error)?;
            sizes.extend(&layout);
        }
        Ok(Self {
            file,
            len,
            sections,
            sizes,
        })
    }

    /// The length in bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All of it in mapped memory; `None` if this kernel cannot map it.
    pub(super) fn mapped(&self) -> Option<Result<Raw, BtfError>> {
        let mapped = Mapped::read_only(&self.file, self.len).ok()?;
        Some(Raw::parse(mapped))
    }

    /// All of it, copied.
    pub(super) fn read(&self, path: &Path) -> Result<Raw, BtfError> {
        if let Some(raw) = self.at_once() {
            return Ok(raw);
        }
        let mut data = vec![0; self.len];
        self.file
            .read_exact_at(&mut data, 0)
            .map_err(|error| BtfError::FileError {
                path: path.to_owned(),
                error,
            })?;
        Raw::parse(data)
    }

    /// All of it by one call of bpf(2), while the file is read page by page; `None` if the call fails, or returns other
    /// bytes.
    fn at_once(&self) -> Option<Raw> {
        let fd = sys::kernel_btf("vmlinux").ok()??;
        let data = sys::btf_info(fd.as_fd(), true).ok()?.data;
        let sections = format::sections(&data, data.len()).ok()?;
        let is_same = (data.len(), &sections) == (self.len, &self.sections);
        is_same.then(|| Raw::parse(data).ok())?
    }

    /// The id of the first function with this name.
    ///
    /// `None` does not mean that there is none: a name may be the tail of another string.
    pub(super) fn function(&self, name: &[u8]) -> Option<u32> {
        let name_off = self.string(name)?;
        let types = Part {
            file: &self.file,
            range: self.sections.types.clone(),
        };
        let mut first = 1;
        read_chunked(types, |chunk| {
            let mut iter = Iter::new(chunk, &self.sizes, 0, first);
            let is_it =
                |head: &Head<'_>| head.name_off == name_off && head.kind() == Some(Kind::Func);
            if let Some(found) = iter.find(is_it) {
                return ControlFlow::Break(found.id);
            }
            first = iter.next_id();
            ControlFlow::Continue(iter.at())
        })
    }

    /// The offset of this string, unless it is the tail of another.
    pub(super) fn string(&self, name: &[u8]) -> Option<u32> {
        let needle = [b"\0", name, b"\0"].concat();
        let finder = memmem::Finder::new(&needle);
        let strings = Part {
            file: &self.file,
            range: self.sections.strings.clone(),
        };
        let mut before = 0;
        let found = read_chunked(strings, |chunk| {
            if let Some(at) = finder.find(chunk) {
                return ControlFlow::Break(before + at + 1);
            }
            let done = chunk.len().saturating_sub(needle.len() - 1);
            before += done;
            ControlFlow::Continue(done)
        });
        u32::try_from(found?).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::io::Write as _;
    use std::sync::OnceLock;

    use super::*;
    use crate::btf::kernel::{Btf, Kernel};
    use crate::elf;
    use crate::sys::fake;
    use crate::testing::compile;

    /// BTF of more than one chunk, with functions with these names at the end.
    ///
    /// The kernel has only the file.
    fn file(last: &[&str]) -> (tempfile::NamedTempFile, Raw) {
        fake::kernel(|_| None);
        let mut source = String::new();
        for i in 0..1500 {
            let name = format!("a_function_with_a_rather_long_name_number_{i}");
            writeln!(
                source,
                "__attribute__((noinline)) int {name}(int a) {{ return a + {i}; }}"
            )
            .unwrap();
        }
        for name in last {
            writeln!(
                source,
                "__attribute__((noinline)) int {name}(int a, long b) {{ return a - b; }}"
            )
            .unwrap();
        }
        let (_, extra) = elf::examine(&compile(&source)).unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&extra.btf).unwrap();
        assert!(extra.btf.len() > 100_000);
        (file, Raw::parse(extra.btf).unwrap())
    }

    #[test]
    fn function_is_found_without_reading_all_types() {
        let (file, raw) = file(&["the_last"]);
        let lazy = LazyBtf::open(file.path()).unwrap();
        let functions: Vec<_> = raw.types().filter(|t| t.kind == Kind::Func).collect();
        assert_eq!(functions.len(), 1501);
        for function in functions.iter().step_by(100).chain(functions.last()) {
            let name = raw.string(function.name_off()).unwrap();
            assert_eq!(lazy.function(name), Some(function.id));
        }
        for absent in ["the_las", "he_last", "a_function", "int"] {
            assert_eq!(lazy.function(absent.as_bytes()), None, "{absent}");
        }
    }

    #[test]
    fn first_repeated_and_failed_lookups_agree() {
        let (file, raw) = file(&["the_last"]);
        let kernel = Kernel {
            lazy: Some(LazyBtf::open(file.path()).unwrap()),
            ..Kernel::default()
        };
        let running = Kernel {
            is_running: true,
            raw: OnceLock::from(Raw::parse(raw.bytes().to_vec()).unwrap()),
            ..Kernel::default()
        };
        let (lazy, running, copied) = (Btf::from(kernel), Btf::from(running), Btf::from(raw));
        assert!(lazy.mentions("the_last") && copied.mentions("the_last"));
        assert!(!lazy.mentions("he_last") && !copied.mentions("he_last"));
        for _ in 0..4 {
            for name in [
                "the_last",
                "a_function_with_a_rather_long_name_number_7",
                "no_such",
                "int",
            ] {
                let id = copied.function_id(name);
                assert_eq!(lazy.function_id(name), id, "{name}");
                assert_eq!(running.function_id(name), id, "{name}");
            }
        }
        assert!(copied.function_id("the_last").is_some());
        assert_eq!(copied.function_id("int"), None);
    }

    #[test]
    fn second_lookup_of_a_function_reads_nothing() {
        let (file, _) = file(&["the_last"]);
        let lazy = Btf::from(Kernel {
            lazy: Some(LazyBtf::open(file.path()).unwrap()),
            ..Kernel::default()
        });
        let id = lazy.function_id("the_last");
        assert!(id.is_some());
        assert_eq!(lazy.function_id("the_last"), id);
        assert!(lazy.kernel.raw.get().is_none());
        assert_ne!(
            lazy.function_id("a_function_with_a_rather_long_name_number_7"),
            id
        );
        assert!(lazy.kernel.raw.get().is_some());
    }

    #[test]
    fn file_is_read_if_bpf_does_not_return_the_btf() {
        let (file, raw) = file(&[]);
        let lazy = LazyBtf::open(file.path()).unwrap();
        for answer in [Some(libc::EPERM), None] {
            fake::kernel(move |_| answer);
            assert!(lazy.at_once().is_none());
            let read = lazy.read(file.path()).unwrap();
            assert_eq!(read.bytes(), raw.bytes());
        }
    }

    #[test]
    fn every_type_is_found_by_its_id() {
        let (_, raw) = file(&[]);
        let base = Raw::parse(raw.bytes().to_vec()).unwrap();
        let split = Raw::parse_split(raw.bytes().to_vec(), &base).unwrap();
        for raw in [raw, split] {
            let before = raw.first_id() - 1;
            assert!(raw.by_id(before).is_none() && raw.by_id(0).is_none());
            let mut last = before;
            for t in raw.types() {
                assert_eq!(t.id, last + 1);
                last = t.id;
                assert_eq!(raw.by_id(t.id).map(|t| t.bytes), Some(t.bytes));
            }
            assert!(raw.count() > 3000 && raw.count() == last - before);
            assert!(raw.by_id(last + 1).is_none());
        }
    }

    #[test]
    fn file_without_btf_is_refused_when_it_is_opened() {
        for (content, reason) in [(&b""[..], "shorter"), (&[0x7f; 64], "magic number")] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(content).unwrap();
            let error = LazyBtf::open(file.path()).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn truncated_file_is_an_error() {
        let (file, _) = file(&["the_last"]);
        let lazy = LazyBtf::open(file.path()).unwrap();
        file.as_file().set_len(1000).unwrap();
        assert_eq!(lazy.function(b"the_last"), None);
        assert!(matches!(
            lazy.read(file.path()),
            Err(BtfError::FileError { .. })
        ));
    }
}
