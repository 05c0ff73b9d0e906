//! How the slow parts tell what they are doing. They never print.

use std::cell::RefCell;

/// Is told of progress. Every method may be left as it is.
pub trait Progress: Sync {
    /// A download begins. `total` is in bytes.
    fn start(&self, _what: &str, _total: Option<u64>) {}
    /// So many more bytes have arrived.
    fn advance(&self, _bytes: u64) {}
    /// The download has ended, one way or another.
    fn finish(&self) {}
    /// What is being done now, until the next such word.
    fn step(&self, _what: &str) {}
    /// Something that the user should know; it is in the report, too.
    fn note(&self, _message: &str) {}
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}

/// Passes notes on at once and keeps them for the report.
pub(crate) struct Notes<'a> {
    pub(crate) progress: &'a dyn Progress,
    taken: RefCell<Vec<String>>,
}

impl<'a> Notes<'a> {
    pub(crate) fn new(progress: &'a dyn Progress) -> Self {
        Self {
            progress,
            taken: RefCell::default(),
        }
    }

    pub(crate) fn add(&self, message: impl Into<String>) {
        let message = message.into();
        let mut taken = self.taken.borrow_mut();
        if !taken.contains(&message) {
            self.progress.note(&message);
            taken.push(message);
        }
    }

    pub(crate) fn take(&self) -> Vec<String> {
        self.taken.take()
    }
}
