//! Kernel modules: which files make a module and what it needs, in the order in which they load.
//!
//! Debian's packages carry no `modules.dep` (it is made where they are installed), so the modules themselves are
//! asked: each names what it depends on in its `.modinfo` section.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use object::{Object, ObjectSection};

use super::Kernel;

/// The files to load for `names` to be there, each after what it depends on.
///
/// What is built into the kernel needs no file. `-` and `_` are the same in the name of a module.
pub fn closure(kernel: &Kernel, names: &[&str]) -> Result<Vec<(String, PathBuf)>> {
    let Some(dir) = &kernel.modules else {
        bail!(
            "kernel {} came without modules: {} cannot be loaded",
            kernel.release,
            names.join(", ")
        );
    };
    let tree = Tree::read(dir)?;
    let mut order = Order {
        tree: &tree,
        visited: HashSet::new(),
        loaded: Vec::new(),
    };
    for name in names {
        order
            .visit(&normal(name))
            .with_context(|| format!("kernel {}", kernel.release))?;
    }
    Ok(order.loaded)
}

/// The module itself, from a file that may be compressed (`.ko`, `.ko.xz`, `.ko.zst`, `.ko.gz`).
pub fn read_module(path: &Path) -> Result<Vec<u8>> {
    let context = || format!("cannot read the module {}", path.display());
    let bytes = fs::read(path).with_context(context)?;
    let mut module = Vec::new();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => liblzma::read::XzDecoder::new(&bytes[..]).read_to_end(&mut module),
        Some("zst") => zstd::Decoder::new(&bytes[..]).and_then(|mut d| d.read_to_end(&mut module)),
        Some("gz") => flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut module),
        _ => return Ok(bytes),
    }
    .with_context(context)?;
    Ok(module)
}

/// What there is: files by the name of their module, and the names of what is built in.
struct Tree {
    files: HashMap<String, PathBuf>,
    builtin: HashSet<String>,
}

impl Tree {
    fn read(dir: &Path) -> Result<Self> {
        let mut files = HashMap::new();
        collect(dir, &mut files).with_context(|| format!("cannot read {}", dir.display()))?;
        let list = fs::read_to_string(dir.join("modules.builtin")).unwrap_or_default();
        let builtin = list
            .lines()
            .filter_map(|line| module_name(Path::new(line)))
            .collect();
        Ok(Self { files, builtin })
    }
}

fn collect(dir: &Path, files: &mut HashMap<String, PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let path = entry.path();
        // Links lead to build trees and sources, which may be anywhere.
        if kind.is_dir() {
            collect(&path, files)?;
        } else if kind.is_file()
            && let Some(name) = module_name(&path)
        {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// `virtio_net` of `kernel/drivers/net/virtio-net.ko.xz`.
fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let stem = ["", ".xz", ".zst", ".gz"]
        .iter()
        .find_map(|end| file.strip_suffix(end)?.strip_suffix(".ko"))?;
    Some(normal(stem))
}

fn normal(name: &str) -> String {
    name.replace('-', "_")
}

/// Depth first, so that what is needed comes first.
struct Order<'a> {
    tree: &'a Tree,
    visited: HashSet<String>,
    loaded: Vec<(String, PathBuf)>,
}

impl Order<'_> {
    fn visit(&mut self, name: &str) -> Result<()> {
        if !self.visited.insert(name.to_owned()) {
            return Ok(());
        }
        let Some(path) = self.tree.files.get(name) else {
            if self.tree.builtin.contains(name) {
                return Ok(());
            }
            bail!("there is no module {name}, neither as a file nor built in");
        };
        for needed in depends(path)? {
            self.visit(&needed)
                .with_context(|| format!("module {name} needs {needed}"))?;
        }
        self.loaded.push((name.to_owned(), path.clone()));
        Ok(())
    }
}

/// What a module says that it needs.
fn depends(path: &Path) -> Result<Vec<String>> {
    let module = read_module(path)?;
    let context = || format!("{} is no kernel module", path.display());
    let elf = object::File::parse(&*module).with_context(context)?;
    let section = elf
        .section_by_name(".modinfo")
        .ok_or_else(|| anyhow!("it has no .modinfo"))
        .with_context(context)?;
    let info = section.data().with_context(context)?;
    let lists = info
        .split(|&byte| byte == 0)
        .filter_map(|field| field.strip_prefix(b"depends="));
    Ok(lists
        .flat_map(|list| list.split(|&byte| byte == b','))
        .filter(|name| !name.is_empty())
        .map(|name| normal(&String::from_utf8_lossy(name)))
        .collect())
}
