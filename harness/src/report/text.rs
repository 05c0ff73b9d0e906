//! Text for people: escaped, and coloured if the terminal shows colours.

use std::fmt::{self, Display};

use anstyle::{AnsiColor, Style};

use super::verdict::{KernelVerdict, ScenarioVerdict};
use crate::support::sanitize::plain;

/// A text in parts, each with its own style. Control characters in a part are escaped: names in an object and messages of
/// a guest may contain them.
#[derive(Clone, Debug, Default)]
pub struct Text(Vec<(Style, String)>);

impl Text {
    /// Adds a part.
    pub(super) fn push(&mut self, part: impl Display) {
        self.0.push((Style::new(), part.to_string()));
    }

    /// Adds a part with a style.
    pub(super) fn push_styled(&mut self, style: Style, part: impl Display) {
        self.0.push((style, part.to_string()));
    }

    /// The text with the escape sequences of its styles.
    pub(super) fn colored(&self) -> String {
        let parts = self.0.iter();
        let parts = parts.map(|(style, part)| format!("{style}{}{style:#}", plain(part)));
        parts.collect()
    }
}

impl<T: Into<String>> From<T> for Text {
    fn from(text: T) -> Self {
        Self(vec![(Style::new(), text.into())])
    }
}

impl Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = self.0.iter();
        parts.try_for_each(|(_, part)| f.write_str(&plain(part)))
    }
}

const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default();

impl ScenarioVerdict {
    /// Its style.
    pub(super) fn style(self) -> Style {
        match self {
            Self::Ok => GREEN,
            Self::NotOk => RED,
            Self::Unknown => YELLOW,
        }
    }
}

impl KernelVerdict {
    /// Its style.
    pub(super) fn style(self) -> Style {
        match self {
            Self::Ok => GREEN,
            Self::NotOk => RED,
            Self::Infra => YELLOW,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untrusted_text_cannot_end_or_add_a_style() {
        let mut text = Text::default();
        text.push_styled(RED, "not-ok");
        text.push("  \x1b[32mok");
        assert_eq!(text.to_string(), "not-ok  \\u{1b}[32mok");
        let colored = text.colored();
        assert_eq!(colored, format!("{RED}not-ok{RED:#}  \\u{{1b}}[32mok"));
    }
}
