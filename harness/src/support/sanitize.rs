//! Text from outside, made safe to show.
//!
//! Names in an object file, what a guest prints, what a kernel says: all of it may hold the escape sequences by which a
//! terminal is told to clear itself, to change its title or to paste. None of it reaches the terminal as it came.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` with every character that is no plain one spelt out, but for line ends and tabs.
pub fn plain(text: &str) -> Cow<'_, str> {
    spelt(text, |c| c == '\n' || c == '\t')
}

/// `text` on one line, with every character that is no plain one spelt out.
pub fn one_line(text: &str) -> Cow<'_, str> {
    spelt(text, |_| false)
}

fn spelt(text: &str, allowed: impl Fn(char) -> bool) -> Cow<'_, str> {
    let odd = |c: char| !allowed(c) && (c.is_control() || turns(c));
    if !text.contains(odd) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if odd(c) {
            let _ = write!(out, "{}", c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Characters without a shape of their own that change how the ones beside them are shown.
fn turns(c: char) -> bool {
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
