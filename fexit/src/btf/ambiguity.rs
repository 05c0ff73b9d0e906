//! Ambiguous names of kernel functions.
//!
//! BTF lists a name once, even if many static functions have it. The kernel then attaches to the first one that it
//! finds, which may be the wrong one. Only the kernel's symbol table shows that a name is ambiguous.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::kallsyms;
use super::kernel::Btf;
use crate::sys::{self, perf};

/// How a load finds out whether the target's name is ambiguous.
///
/// BTF has one entry for all static functions with a name, and the kernel attaches to the first of them in its symbol
/// table. Set by [`EbpfLoader::ambiguity_policy`](crate::EbpfLoader::ambiguity_policy) for all programs of an object.
/// The answer about a name is cached in the process: functions of the running kernel never change.
///
/// With either policy, a name that BTF itself lists more than once is refused, and the error about an unknown function
/// reads `/proc/kallsyms` for the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AmbiguityPolicy {
    /// Look in the kernel's symbols, and refuse an ambiguous name
    /// ([`BtfError::AmbiguousName`](crate::BtfError::AmbiguousName)). Functions in `__init` sections do not count: they
    /// are freed, or the kernel finds them last.
    ///
    /// In this order:
    ///
    /// 1. A kernel that counts the functions with a name (6.7, and later stable releases) is asked: `perf_event_open` with
    ///    a kprobe at an offset that no function has, whose type is read from
    ///    `/sys/bus/event_source/devices/kprobe/type`. No kprobe is set. This is done if the kernel sorts its symbols
    ///    (6.2, and later stable releases), or if the object has fewer than three fexit programs.
    /// 2. In all other cases, if the kernel gives no answer, if the name is ambiguous, and for globs with `*`,
    ///    `/proc/kallsyms` is read: the code of the kernel once per process; all of it to list the functions, or for a
    ///    module.
    /// 3. If that cannot be read either, the name counts as unambiguous.
    ///
    /// Whether a kernel counts and sorts follows from its BTF.
    ///
    /// Cost: less than 0.1 million instructions for a name if symbols are sorted, 45 million on 5.10; 97 million once
    /// for the table.
    #[default]
    CheckSymbols,
    /// Use names as BTF has them, without a check, as libbpf and aya do. A program may run for another function with
    /// the same name.
    BtfOnly,
}

/// How ambiguity is checked: the policy, and the number of the object's targets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ambiguity {
    pub(crate) policy: AmbiguityPolicy,
    pub(crate) targets: usize,
}

/// From this number of targets on, reading the table takes less time than asking a kernel that does not sort its
/// symbols.
const MANY_TARGETS: usize = 3;

/// The struct with which a kernel counts the functions with a name among symbols that it sorts.
const COUNTS_SORTED: &str = "sym_count_ctx";

/// The struct with which a kernel counts them among all symbols: stable releases before 6.1.
const COUNTS_ALL: &str = "count_symbols_struct";

/// A question about a name.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    Kernel,
    Table,
}

/// How the kernel looks up its symbols.
#[derive(Clone, Copy)]
struct Abilities {
    /// It finds a name in less than 0.1 ms; else it searches all symbols, which takes tens of milliseconds.
    sorts: bool,
    /// It refuses a kprobe on an ambiguous name.
    counts: bool,
}

impl Abilities {
    /// The running kernel's, whose BTF is `btf`.
    fn of(btf: &Btf) -> Self {
        let found = sys::once_per_kernel!(OnceLock<Abilities>, OnceLock::new());
        *found.get_or_init(|| {
            let sorts = btf.mentions(COUNTS_SORTED);
            let counts = sorts || btf.mentions(COUNTS_ALL);
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

    /// Whether the name is ambiguous, including functions of modules; `None` if the kernel is not asked, or gives no
    /// answer.
    fn ask(self, name: &str, btf: &Btf) -> Option<bool> {
        match self.source(Abilities::of(btf)) {
            Source::Kernel => perf::names_several(name),
            Source::Table => None,
        }
    }

    /// The candidates for an ambiguous name of the kernel. `btf` is the kernel's.
    pub(super) fn in_kernel(self, name: &str, btf: &Btf) -> Vec<String> {
        let answers = sys::once_per_kernel!(Answers, Answers::new());
        if self.policy == AmbiguityPolicy::BtfOnly {
            return Vec::new();
        }
        let find_out = || match self.ask(name, btf) {
            Some(false) => Some(false),
            // The kernel counts `__init` functions too.
            Some(true) | None => kallsyms::is_ambiguous(name.as_bytes()),
        };
        match answers.get(name, find_out) {
            Some(true) => btf.symbols().duplicates(name),
            _ => Vec::new(),
        }
    }

    /// The candidates for an ambiguous name of this module.
    pub(super) fn in_module(self, module: &str, name: &str, btf: &Btf) -> Vec<String> {
        if self.policy == AmbiguityPolicy::BtfOnly || self.ask(name, btf) == Some(false) {
            return Vec::new();
        }
        btf.symbols().duplicates_in_module(module, name)
    }

    /// Whether a glob omits this name.
    pub(super) fn is_left_out(self, name: &[u8]) -> bool {
        self.policy == AmbiguityPolicy::CheckSymbols && kallsyms::is_ambiguous(name) == Some(true)
    }
}

/// The cached answers about names.
struct Answers(Mutex<BTreeMap<String, bool>>);

impl Answers {
    const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// The cached answer about this name, or a new one. Concurrent callers wait for it, because it takes long.
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
    fn kernel_is_asked_if_that_is_faster_than_the_table() {
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
    fn answers_are_cached() {
        let answers = Answers::new();
        let mut asked = Vec::new();
        let mut ask = |name: &'static str, answer| {
            let answer = || {
                asked.push(name);
                answer
            };
            answers.get(name, answer)
        };
        // A missing answer is not cached.
        assert_eq!(ask("init_once", None), None);
        assert_eq!(ask("init_once", Some(true)), Some(true));
        assert_eq!(ask("vfs_open", Some(false)), Some(false));
        assert_eq!(ask("init_once", Some(false)), Some(true));
        assert_eq!(ask("vfs_open", None), Some(false));
        assert_eq!(asked, ["init_once", "init_once", "vfs_open"]);
    }
}
