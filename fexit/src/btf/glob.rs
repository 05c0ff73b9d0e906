//! Globs for names.

/// Whether `name` matches `glob`, in which `*` matches any characters.
pub(super) fn matches(glob: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // The last star, and the characters that it matches so far. On a mismatch only this one matches more.
    let mut star = None;
    while n < name.len() {
        if glob.get(p) == Some(&b'*') {
            star = Some((p, n));
            p += 1;
        } else if glob.get(p) == Some(&name[n]) {
            (p, n) = (p + 1, n + 1);
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            (p, n) = (at + 1, taken + 1);
        } else {
            return false;
        }
    }
    glob[p..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn star_matches_any_characters() {
        let matches = |glob: &str, name: &str| matches(glob.as_bytes(), name.as_bytes());
        assert!(matches("bpf_fentry_test*", "bpf_fentry_test1"));
        assert!(matches("*open*", "do_filp_open"));
        assert!(matches("vfs_open", "vfs_open"));
        assert!(!matches("vfs_*d", "vfs_write"));
        assert!(!matches("vfs_open", "vfs_open2"));
        assert!(matches("*", "") && matches("**", "x") && matches("", ""));
        assert!(matches("*ab", "aab") && matches("a*b*", "ab"));
        assert!(!matches("", "x") && !matches("x", ""));
        // Naive backtracking would take exponential time.
        let many_stars = "*a".repeat(40) + "b";
        assert!(!matches(&many_stars, &"a".repeat(200)));
    }
}
