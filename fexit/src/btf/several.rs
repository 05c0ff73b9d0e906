//! Whether several functions bear a name.
//!
//! BTF lists a name once, however many static functions bear it, and the kernel then attaches to the first that it
//! finds: likely another one than was meant. Kernels that check this for kprobes (6.7, and stable ones since) tell at
//! once. For the others there is only the symbol table.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::{Btf, symbols};
use crate::sys::perf;

/// Whether several functions of a module may bear this name.
pub(super) fn may_be_several_in_module(name: &str, btf: &Btf) -> bool {
    // Asked for a name alone, the kernel counts the functions of modules as well.
    kernel_says_several(name, btf) != Some(false)
}

/// Whether several functions of the kernel bear this name. `btf` is the kernel's.
///
/// The running kernel's own functions never change, so it is asked once for each name in the life of a process.
pub(super) fn are_several(name: &str, btf: &Btf) -> bool {
    static ANSWERS: Answers = Answers::new();
    let ask =
        || kernel_says_several(name, btf).or_else(|| symbols::table_says_several(name.as_bytes()));
    ANSWERS.get(name, ask).unwrap_or(false)
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

/// A kernel that looks through all its symbols for a name needs tens of milliseconds; one that keeps them sorted (6.2, and
/// stable ones since) less than a tenth of one.
const SLOW: Duration = Duration::from_millis(2);

/// What the kernel says when asked for a kprobe on that name; `None` when it does not count names, or when that would
/// take longer than to read the table, which has all names.
fn kernel_says_several(name: &str, btf: &Btf) -> Option<bool> {
    static SORTED: OnceLock<bool> = OnceLock::new();
    static COUNTS: OnceLock<bool> = OnceLock::new();
    static ASKED: AtomicU32 = AtomicU32::new(0);
    // What those that keep them sorted look them up with.
    let sorted = || btf.mentions("kallsyms_lookup_names");
    if COUNTS.get() == Some(&false) {
        return None;
    }
    let asked = ASKED.load(Ordering::Relaxed);
    if table_pays(asked, btf.expects_many()) && !*SORTED.get_or_init(sorted) {
        return None;
    }
    let start = Instant::now();
    let several = perf::names_several(name)?;
    ASKED.fetch_add(1, Ordering::Relaxed);
    let slow = start.elapsed() > SLOW;
    let counts = || {
        // What the answers are counted with.
        let evident = slow && btf.mentions("count_symbols_struct");
        evident || kernel_counts()
    };
    (several || *COUNTS.get_or_init(counts)).then_some(several)
}

/// Whether to read the table, which takes as long as two questions, after so many: at once, if the object has many programs,
/// for then most are wanted.
fn table_pays(asked: u32, expects_many: bool) -> bool {
    expects_many || asked >= 2
}

/// Whether the kernel counts, to be seen where every kernel has several: slab constructors of file systems.
fn kernel_counts() -> bool {
    perf::names_several("init_once") == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_where_more_questions_would_take_longer() {
        for expects_many in [false, true] {
            let asked = (0..5).filter(|&asked| !table_pays(asked, expects_many));
            assert_eq!(asked.count(), if expects_many { 0 } else { 2 });
        }
    }

    #[test]
    fn what_was_answered_is_not_asked_again() {
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
        // What would be said now is never heard.
        assert_eq!(ask("init_once", Some(false)), Some(true));
        assert_eq!(ask("vfs_open", None), Some(false));
        assert_eq!(asked, ["init_once", "init_once", "vfs_open"]);
    }
}
