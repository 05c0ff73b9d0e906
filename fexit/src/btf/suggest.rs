//! Suggestions: names that are similar to one that the kernel does not have.

use std::borrow::Cow;

use super::raw::Kind;
use super::scope::Scope;

/// The most names that an error lists.
const LISTED: usize = 3;

/// The functions of `scope` whose names are most like `name`, best first. `is_there` tells whether the kernel has a
/// function: BTF also lists functions of which the compiler kept only a changed copy.
pub(super) fn functions(
    scope: Scope<'_>,
    name: &str,
    is_there: impl Fn(&str) -> bool,
) -> Vec<String> {
    suggest(name, &names(scope, Kind::Func), is_there)
}

/// The tracepoints of `scope` whose types have names most like `name`, best first, each without `prefix`.
pub(super) fn tracepoints(scope: Scope<'_>, name: &str, prefix: &str) -> Vec<String> {
    let names = names(scope, Kind::Typedef).into_iter();
    let names: Vec<&str> = names.filter_map(|name| name.strip_prefix(prefix)).collect();
    suggest(name, &names, |_| true)
}

fn names(scope: Scope<'_>, kind: Kind) -> Vec<&str> {
    let types = scope.own.types().filter(|t| t.kind == kind);
    let names = types.filter_map(|t| scope.string(t.name_off()));
    names
        .filter_map(|name| std::str::from_utf8(name).ok())
        .collect()
}

/// How similar two names are; the first that applies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    /// Equal except for letter case and leading underscores.
    Spelling,
    /// One begins with the other.
    Prefix,
    /// One ends with the other.
    Suffix,
    /// They share more than half of the query's letters in whole words; the number of letters that they do not share.
    Words(usize),
    /// A few edits turn one into the other.
    Edits,
}

fn suggest(name: &str, candidates: &[&str], is_there: impl Fn(&str) -> bool) -> Vec<String> {
    let query = name.to_ascii_lowercase();
    let mut found = ranked(candidates, |candidate| likeness(&query, candidate), &query);
    if found.is_empty() {
        found = ranked(candidates, |candidate| edits(&query, candidate), &query);
    }
    found
        .into_iter()
        .filter(|name| is_there(name))
        .take(LISTED)
        .collect()
}

/// The candidates that are like `query`, best first; equally good ones by edit distance.
fn ranked(
    candidates: &[&str],
    likeness: impl Fn(&str) -> Option<Likeness>,
    query: &str,
) -> Vec<String> {
    let like = candidates
        .iter()
        .filter_map(|name| Some((likeness(name)?, *name)));
    let mut like: Vec<_> = like
        .map(|(likeness, name)| (likeness, strsim::osa_distance(query, name), name))
        .collect();
    like.sort_unstable();
    like.dedup();
    like.into_iter()
        .map(|(_, _, name)| name.to_owned())
        .collect()
}

fn likeness(query: &str, candidate: &str) -> Option<Likeness> {
    let lower = if candidate.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::from(candidate.to_ascii_lowercase())
    } else {
        Cow::from(candidate)
    };
    if lower.trim_start_matches('_') == query.trim_start_matches('_') {
        return Some(Likeness::Spelling);
    }
    // One or two letters are not similar to anything, and a part of the query must be most of it.
    let is_part = |part: &str, of: &str, end: fn(&str, &str) -> bool| {
        part.len() > 2 && end(of, part) && (of != query || part.len() * 3 >= of.len() * 2)
    };
    let either = |end| is_part(query, &lower, end) || is_part(&lower, query, end);
    if either(|of, part| of.starts_with(part)) {
        return Some(Likeness::Prefix);
    }
    if either(|of, part| of.ends_with(part)) {
        return Some(Likeness::Suffix);
    }
    let words = || query.split('_').filter(|word| !word.is_empty());
    let has = |word: &&str| lower.split('_').any(|other| other == *word);
    let letters: usize = words().map(str::len).sum();
    let shared: usize = words().filter(has).map(str::len).sum();
    (shared * 2 > letters).then_some(Likeness::Words(letters - shared))
}

fn edits(query: &str, candidate: &str) -> Option<Likeness> {
    let most = query.len() / 3;
    // The distance takes long: first those that cannot be near are left out.
    let near = candidate.len().abs_diff(query.len()) <= most
        && other_letters(query, candidate) <= 2 * most
        && strsim::osa_distance(query, candidate) <= most;
    near.then_some(Likeness::Edits)
}

/// At most twice the edits between two names: how many letters one has that the other has not, both ways. An edit adds or
/// removes a letter, or does both.
fn other_letters(one: &str, other: &str) -> usize {
    // Letters with one number count as equal.
    let mut surplus = [0_i16; 32];
    for letter in one.bytes() {
        surplus[usize::from(letter % 32)] += 1;
    }
    for letter in other.bytes() {
        surplus[usize::from(letter % 32)] -= 1;
    }
    surplus.iter().map(|n| usize::from(n.unsigned_abs())).sum()
}

#[cfg(test)]
mod tests {
    use super::{other_letters, suggest};

    const NAMES: [&str; 19] = [
        "__ia32_sys_unlinkat",
        "__vfs_open_helper",
        "__x64_sys_execve",
        "__x64_sys_unlinkat",
        "bprm_execve",
        "do_execveat_common",
        "do_exit",
        "do_select",
        "do_tee",
        "filemap_add_folio",
        "filemap_alloc_folio_noprof",
        "filename_lookup",
        "filename_unlinkat",
        "io_unlinkat",
        "ip_rcv_core",
        "ip_rcv_finish_core",
        "vfs_open",
        "vfs_open_tree",
        "vfs_read",
    ];

    fn first(name: &str) -> Vec<String> {
        suggest(name, &NAMES, |name| name != "bprm_execve")
    }

    #[test]
    fn letter_case_and_underscores_come_first() {
        assert_eq!(first("VFS_OPEN")[..2], ["vfs_open", "vfs_open_tree"]);
        assert_eq!(first("__vfs_open")[0], "vfs_open");
    }

    #[test]
    fn prefix_and_suffix_come_before_shared_words_and_edits() {
        assert_eq!(
            first("do_execve"),
            ["do_execveat_common", "__x64_sys_execve"]
        );
        assert_eq!(
            first("filemap_alloc_folio")[0],
            "filemap_alloc_folio_noprof"
        );
        assert_eq!(first("filename_lookupp")[0], "filename_lookup");
        assert_eq!(first("sys_execve")[0], "__x64_sys_execve");
    }

    #[test]
    fn renamed_function_is_found_by_a_common_word() {
        let found = first("do_unlinkat");
        assert_eq!(found[0], "io_unlinkat");
        assert!(found.contains(&"filename_unlinkat".to_owned()), "{found:?}");
        assert_eq!(
            first("ip_rcv_finsh_core"),
            ["ip_rcv_finish_core", "ip_rcv_core"]
        );
    }

    #[test]
    fn mistyped_name_is_found_by_edits() {
        assert_eq!(first("vfs_opne"), ["vfs_open"]);
        assert_eq!(first("filename_lokup")[0], "filename_lookup");
    }

    #[test]
    fn no_near_name_is_left_out_by_its_letters() {
        for one in NAMES {
            for other in NAMES {
                let edits = strsim::osa_distance(one, other);
                assert!(other_letters(one, other) <= 2 * edits, "{one} {other}");
            }
        }
        assert_eq!(other_letters("abc", "acd"), 2);
    }

    #[test]
    fn dissimilar_name_has_no_suggestion() {
        for name in ["", "_", "x", "unlike_everything_else"] {
            assert!(first(name).is_empty(), "{name}: {:?}", first(name));
        }
    }
}
