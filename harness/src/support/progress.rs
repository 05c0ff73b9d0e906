//! Progress of slow operations, which print nothing themselves.

use std::cell::RefCell;

/// A receiver of progress. The default methods do nothing.
pub trait Progress: Sync {
    /// A download begins. `total` is in bytes.
    fn start(&self, _what: &str, _total: Option<u64>) {}
    /// More bytes have arrived.
    fn advance(&self, _bytes: u64) {}
    /// The download has ended or failed.
    fn finish(&self) {}
    /// A step begins, and ends with the next step.
    fn step(&self, _what: &str) {}
    /// A message for the user, which is also in the report.
    fn note(&self, _message: &str) {}
}

/// Ignores progress.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}

/// Passes notes to the user at once, and keeps them for the report.
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
