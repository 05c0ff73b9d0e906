//! What is to be built, and how.

use std::path::{Path, PathBuf};

use super::tools::Tools;
use crate::support::stop::Stop;

/// What is to be built, and how.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// A series (`5.5`) or a release (`5.5.19`); with a source of the user's own, what that must be.
    pub kernel: Option<&'a str>,
    /// A tree of kernel sources, or a tarball of one; kernel.org's release if absent.
    pub source: Option<&'a Path>,
    /// More fragments of configuration.
    pub fragments: &'a [PathBuf],
    /// What builds it.
    pub tools: &'a Tools,
    /// How many compilers at once.
    pub jobs: usize,
    /// Forget what an earlier build left.
    pub again: bool,
    /// Ends the build.
    pub stop: &'a Stop,
}
