//! Whether several functions of the kernel have the same name.
//!
//! BTF lists a name once, however many static functions have it. The kernel then attaches to the first that it finds,
//! which may be the wrong one. Only the kernel's symbol table shows that there are several.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::kallsyms;
use super::kernel::Btf;
use crate::kernel_version::KernelVersion;
use crate::sys::{self, perf};

/// How a load finds out whether several functions of the kernel have the target's name.
///
/// BTF holds one entry for all static functions of a name, and the kernel attaches to the first of them in its symbol
/// table. Set by [`EbpfLoader::ambiguity_policy`](crate::EbpfLoader::ambiguity_policy) for all programs of an object. The
/// answer about a name is kept for the life of the process: functions of the running kernel never change.
///
/// With either policy, a name that BTF itself lists more than once is refused, and an error that a function is not there
/// reads `/proc/kallsyms` to say why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AmbiguityPolicy {
    /// Look in the kernel's symbols, and refuse a name that several functions have
    /// ([`BtfError::AmbiguousName`](crate::BtfError::AmbiguousName)). Those in `__init` sections do not count: they are
    /// gone, or the kernel finds them last.
    ///
    /// In this order:
    ///
    /// 1. A kernel that counts the functions of a name (6.7, and stable ones since) is asked: `perf_event_open` with a
    ///    kprobe at an offset that no function has, whose type is read from `/sys/bus/event_source/devices/kprobe/type`.
    ///    Nothing is ever set. This is done if the kernel keeps its symbols sorted (6.2, and stable ones since), or if
    ///    the object has fewer than three fexit programs.
    /// 2. In all other cases, where the kernel gives no answer, where it says that there are several, and for patterns
    ///    with `*`, `/proc/kallsyms` is read, once in the life of the process as far as the code of the kernel goes; all
    ///    of it to list the functions, or for a module.
    /// 3. Where that cannot be read either, the name counts as unambiguous.
    ///
    /// Whether a kernel counts and sorts is told by its release, its BTF, or a question about `init_once`, a name that
    /// every kernel has several times.
    ///
    /// Cost: less than 0.1 million instructions for a name where symbols are sorted; 45 million on 5.10, and 97 million
    /// once for the table.
    #[default]
    CheckSymbols,
    /// Take names as BTF has them, as libbpf and aya do: nothing is asked or read. A program may come to run for another
    /// function of the same name.
    BtfOnly,
}

/// What decides about a name: the policy, and how many targets its object has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ambiguity {
    pub(crate) policy: AmbiguityPolicy,
    pub(crate) targets: usize,
}

/// From this number on, reading the table takes less time than asking a kernel that does not sort its symbols.
const MANY_TARGETS: usize = 3;

/// What is asked about a name.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    Kernel,
    Table,
}

/// What the kernel does with its symbols.
#[derive(Clone, Copy)]
struct Abilities {
    /// It finds a name in less than a tenth of a millisecond; else it looks through all of them, for tens of milliseconds.
    sorts: bool,
    /// It refuses a kprobe on a name that several functions have.
    counts: bool,
}

impl Abilities {
    /// Those of the running kernel, whose BTF is `btf`.
    fn of(btf: &Btf) -> Self {
        let found = sys::once_per_kernel!(OnceLock<Abilities>, OnceLock::new());
        *found.get_or_init(|| {
            // Older ones that have the change tell by the name of its function; to look for it would cost the others.
            let sorts = KernelVersion::current() >= KernelVersion::new(6, 2, 0)
                || btf.mentions("kallsyms_lookup_names");
            let counts = if sorts {
                perf::names_several("init_once") == Some(true)
            } else {
                btf.mentions("count_symbols_struct")
            };
            Self { sorts, counts }
        })
    }
}

impl Ambiguity {
    fn source(self, kernel: Abilities) -> Source {
        if kernel.counts && (kernel.sorts || self.targets < MANY_TARGETS) {
            Source::Kernel
        } else {
            Source::Table
        }
    }

    /// Whether several functions have this name, modules' included; `None` where the kernel is not to be asked, or gives no
    /// answer.
    fn ask(self, name: &str, btf: &Btf) -> Option<bool> {
        match self.source(Abilities::of(btf)) {
            Source::Kernel => perf::names_several(name),
            Source::Table => None,
        }
    }

    /// The functions of the kernel that have this name, if they are several. `btf` is the kernel's.
    pub(super) fn in_kernel(self, name: &str, btf: &Btf) -> Vec<String> {
        let answers = sys::once_per_kernel!(Answers, Answers::new());
        if self.policy == AmbiguityPolicy::BtfOnly {
            return Vec::new();
        }
        let find_out = || match self.ask(name, btf) {
            Some(false) => Some(false),
            // It counts `__init` functions as well.
            Some(true) | None => kallsyms::is_ambiguous(name.as_bytes()),
        };
        match answers.get(name, find_out) {
            Some(true) => btf.symbols().duplicates(name),
            _ => Vec::new(),
        }
    }

    /// The functions of this module that have this name, if they are several.
    pub(super) fn in_module(self, module: &str, name: &str, btf: &Btf) -> Vec<String> {
        if self.policy == AmbiguityPolicy::BtfOnly || self.ask(name, btf) == Some(false) {
            return Vec::new();
        }
        btf.symbols().duplicates_in_module(module, name)
    }

    /// Whether a pattern leaves this name out.
    pub(super) fn is_left_out(self, name: &[u8]) -> bool {
        self.policy == AmbiguityPolicy::CheckSymbols && kallsyms::is_ambiguous(name) == Some(true)
    }
}

/// What was answered about names.
struct Answers(Mutex<BTreeMap<String, bool>>);

impl Answers {
    const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// The answer about this name, asked for if there is none yet. Who asks at the same time waits: it takes long.
    fn get(&self, name: &str, ask: impl FnOnce() -> Option<bool>) -> Option<bool> {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&answer) = answers.get(name) {
            return Some(answer);
        }
        let answer = ask()?;
        answers.insert(name.to_owned(), answer);
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_asked_where_that_takes_less_time_than_the_table() {
        let asked = |sorts, counts, targets| {
            let ambiguity = Ambiguity {
                policy: AmbiguityPolicy::CheckSymbols,
                targets,
            };
            ambiguity.source(Abilities { sorts, counts }) == Source::Kernel
        };
        for targets in [1, 2, 3, 100] {
            assert!(asked(true, true, targets));
            assert_eq!(asked(false, true, targets), targets < 3);
            assert!(!asked(true, false, targets));
            assert!(!asked(false, false, targets));
        }
    }

    #[test]
    fn an_answer_is_not_asked_for_again() {
        let answers = Answers::new();
        let mut asked = Vec::new();
        let mut ask = |name: &'static str, answer| {
            let answer = || {
                asked.push(name);
                answer
            };
            answers.get(name, answer)
        };
        // No answer is none to remember.
        assert_eq!(ask("init_once", None), None);
        assert_eq!(ask("init_once", Some(true)), Some(true));
        assert_eq!(ask("vfs_open", Some(false)), Some(false));
        assert_eq!(ask("init_once", Some(false)), Some(true));
        assert_eq!(ask("vfs_open", None), Some(false));
        assert_eq!(asked, ["init_once", "init_once", "vfs_open"]);
    }
}
