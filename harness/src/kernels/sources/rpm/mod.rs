//! RPM repositories: `repomd.xml`, the list of packages that it names, and packages with signatures of their own.

mod metadata;
pub(crate) mod package;
pub(crate) mod repository;
