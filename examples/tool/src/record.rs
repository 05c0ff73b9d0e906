//! Parses records, and prints text without control characters.

use std::fmt::Write as _;
use std::io;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// A record that a program sends.
pub trait Record: Sized {
    /// The columns of [`Record::text`].
    const HEADER: &str;

    /// Parses the bytes of a record.
    ///
    /// # Errors
    ///
    /// The record is too short.
    fn parse(bytes: &[u8]) -> Result<Self>;

    /// The record as JSON.
    fn json(&self) -> Value;

    /// The record as one line for people.
    fn text(&self) -> String;
}

/// Reads the fields of a record one after the other. A record has no padding between fields.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The fields of this record.
    pub fn new(record: &'a [u8]) -> Self {
        Self(record)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (first, rest) = self
            .0
            .split_first_chunk()
            .context("a record is too short")?;
        self.0 = rest;
        Ok(*first)
    }

    /// The next bytes.
    ///
    /// # Errors
    ///
    /// The record is too short.
    pub fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take()
    }

    /// A C string in an array of `N` bytes.
    ///
    /// # Errors
    ///
    /// The record is too short.
    pub fn text<const N: usize>(&mut self) -> Result<String> {
        let bytes = self.take::<N>()?;
        let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(text).into_owned())
    }
}

macro_rules! numbers {
    ($($type:ident),+) => {
        impl Fields<'_> { $(
            /// A number.
            ///
            /// # Errors
            ///
            /// The record is too short.
            pub fn $type(&mut self) -> Result<$type> {
                Ok($type::from_ne_bytes(self.take()?))
            }
        )+ }
    };
}
numbers!(u16, u32, i32, u64, i64);

/// The text of an error number, as `No such file or directory`.
pub fn errno(number: i32) -> String {
    let text = io::Error::from_raw_os_error(number).to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Escapes control characters: a file name could otherwise control the terminal.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_order_and_not_beyond_the_end() {
        let mut record = 7u64.to_ne_bytes().to_vec();
        record.extend((-2i32).to_ne_bytes());
        record.extend(*b"cat\0old\0");
        let mut fields = Fields::new(&record);
        assert_eq!(fields.u64().unwrap(), 7);
        assert_eq!(fields.i32().unwrap(), -2);
        assert_eq!(fields.text::<8>().unwrap(), "cat");
        assert!(fields.u16().is_err());
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(printable("grüße"), "grüße");
    }

    #[test]
    fn errno_is_printed_as_text() {
        assert_eq!(errno(2), "No such file or directory");
    }
}
