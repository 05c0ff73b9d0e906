//! Escapes untrusted text for the terminal.
//!
//! Names in object files and the output of guests may contain escape sequences, which make a terminal clear the screen,
//! change its title or paste.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Escapes all control characters of `text` but line ends and tabs.
pub fn plain(text: &str) -> Cow<'_, str> {
    escape(text, |c| c == '\n' || c == '\t')
}

/// Escapes all control characters of `text`, line ends included.
pub fn one_line(text: &str) -> Cow<'_, str> {
    escape(text, |_| false)
}

fn escape(text: &str, allowed: impl Fn(char) -> bool) -> Cow<'_, str> {
    let unsafe_char = |c: char| !allowed(c) && (c.is_control() || is_invisible(c));
    if !text.contains(unsafe_char) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if unsafe_char(c) {
            let _ = write!(out, "{}", c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Invisible characters that change how their neighbours are displayed.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert!(matches!(
            plain("ordinary, öäü ✅\n\tnext"),
            Cow::Borrowed(_)
        ));
        assert_eq!(plain("\x1b]0;title\x07"), "\\u{1b}]0;title\\u{7}");
        assert_eq!(plain("a\rb\u{9b}2J"), "a\\u{d}b\\u{9b}2J");
        assert_eq!(plain("x\u{202e}y"), "x\\u{202e}y");
        assert_eq!(one_line("two\nlines\t"), "two\\u{a}lines\\u{9}");
    }
}
