//! BTF of the kernel, of its modules and of loaded programs: lookup of type ids by name.

mod ambiguity;
mod bytes;
mod chunked;
mod compare;
pub(crate) mod core;
pub(crate) mod core_spec;
mod counterparts;
mod diagnose;
mod error;
mod format;
mod function;
mod glob;
mod iter;
mod kallsyms;
mod kernel;
mod kind;
mod ksyms;
mod layout;
#[cfg(test)]
mod layout_tests;
mod lazy;
pub(crate) mod min_core_btf;
#[cfg(test)]
mod min_core_btf_tests;
mod name_filter;
mod names;
mod offline;
mod prototype;
pub(crate) mod raw;
mod scope;
pub(crate) mod struct_ops;
mod suggest;
mod tracepoint;

pub(crate) use ambiguity::Ambiguity;
pub use ambiguity::AmbiguityPolicy;
pub(crate) use counterparts::Counterpart;
pub use error::BtfError;
pub(crate) use function::{FunctionId, Module, describe};
pub use kernel::Btf;
pub(crate) use kernel::Identity;
pub(crate) use ksyms::Symbol;
pub use offline::ListedFunction;
pub(crate) use scope::FuncModel;
