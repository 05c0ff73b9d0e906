//! The templates in the cache, with a limit for their size.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use serde_json::Value;

use super::key::{key, prefix};
use super::restore::{NOTE, Note, RAM, STATE, Template, ram_sha256, window_for};
use super::save::{Saved, save};
use crate::{
    support::{
        atomic, last_used,
        lock::{lock, try_lock},
        stop::Stop,
    },
    vm::{Accelerator, Config, Qemu},
};

/// The limit for all templates on the disk, in bytes. The longest unused are removed first.
const ROOM: u64 = 2 << 30;

/// The suffix of a file that has the reason why there is no template.
const NEVER: &str = "never";
/// The prefix of the name of the lock of each template.
const LOCK: &str = "template-";

/// The folder of all templates.
#[derive(Clone, Debug)]
pub struct Templates {
    cache: PathBuf,
}

/// A template in a list.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The release of the kernel.
    pub kernel: String,
    /// Bytes on the disk.
    pub bytes: u64,
    /// When it was last used.
    pub used: SystemTime,
    /// Its folder.
    pub path: PathBuf,
    /// The name of its lock.
    pub lock: String,
    key: String,
}

impl Templates {
    /// The templates in a cache folder; `None` for KVM, where a boot is fast and restoring a VM is not tested.
    pub fn if_they_pay(cache: &Path, accelerator: Accelerator) -> Option<Self> {
        (accelerator == Accelerator::Tcg).then(|| Self::new(cache))
    }

    /// The templates in a cache folder, which need not exist.
    pub fn new(cache: &Path) -> Self {
        Self {
            cache: cache.to_owned(),
        }
    }

    fn root(&self) -> PathBuf {
        self.cache.join("templates")
    }

    /// The template for such a VM. Makes it if it is missing or damaged; calls `say` with each step.
    pub fn obtain(
        &self,
        qemu: &Qemu,
        config: &Config<'_>,
        kernel: &crate::kernels::Kernel,
        stop: &Stop,
        say: &mut dyn FnMut(&str),
    ) -> Result<Template> {
        let window = window_for(config.initramfs)?;
        let key = key(qemu, config, &kernel.sha256, window)?;
        if let Ok(Some(template)) = Template::open(&self.root().join(&key)) {
            template.mark_used();
            return Ok(template);
        }
        let never = self.root().join(format!("{key}.{NEVER}"));
        if let Ok(why) = fs::read_to_string(&never) {
            bail!("{why} (cached result)");
        }
        atomic::sweep(&self.cache, &self.root(), LOCK);
        let _guard = lock(&self.cache, &lock_name(&key), Some(stop), || {
            say("waiting for another harness that makes the template");
        })?;
        let dir = self.root().join(&key);
        // The other harness may have made it.
        match Template::open(&dir) {
            Ok(Some(template)) => {
                template.mark_used();
                return Ok(template);
            }
            Ok(None) => {}
            Err(why) => say(&format!("the template is damaged and made again: {why:#}")),
        }
        say("making a template");
        let partial = atomic::partial(&dir)?;
        let release = &kernel.release;
        if let Some(why) = make(partial.path(), qemu, config, release, window, stop)? {
            let _ = fs::write(&never, &why);
            bail!(why);
        }
        atomic::replace(partial.path(), &dir)?;
        self.trim(&key, ROOM);
        Template::open(&dir)?.context("the new template has disappeared")
    }

    /// Removes a template that failed to restore.
    pub fn discard(&self, template: &Template) -> Result<()> {
        let key = template
            .dir
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        // Another process that holds the lock makes a new one.
        match try_lock(&self.cache, &lock_name(&key))? {
            Some(_guard) => atomic::remove(&template.dir),
            None => Ok(()),
        }
    }

    /// All templates, the longest unused first.
    pub fn list(&self) -> Vec<Kept> {
        let dirs = fs::read_dir(self.root()).into_iter().flatten().flatten();
        let mut all: Vec<_> = dirs.filter_map(|dir| kept(&dir.path())).collect();
        all.sort_by_key(|kept| kept.used);
        all
    }

    /// Reads every byte of the templates of the kernel whose image has this SHA-256. The error names the first that was
    /// changed, and what to do.
    pub fn verify(&self, kernel_sha256: &str) -> Result<()> {
        let prefix = prefix(kernel_sha256);
        for kept in self.list() {
            if !kept.key.starts_with(&prefix) {
                continue;
            }
            Template::open(&kept.path)
                .and_then(|template| template.map_or(Ok(()), |template| template.verify()))
                .with_context(|| {
                    format!(
                        "the template {} is damaged; `harness cache clear` removes it, and the next run makes a new one",
                        kept.path.display()
                    )
                })?;
        }
        Ok(())
    }

    /// Removes all templates, and the reasons why kernels have none.
    pub fn clear(&self) -> Result<()> {
        match fs::read_dir(self.root()) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).context("cannot list the templates"),
            Ok(entries) => entries
                .flatten()
                .try_for_each(|entry| atomic::remove(&entry.path())),
        }
    }

    /// Removes the longest unused templates until the rest is below `room`. A running VM keeps its open files.
    fn trim(&self, just_made: &str, room: u64) {
        let mut all = self.list();
        let mut bytes: u64 = all.iter().map(|kept| kept.bytes).sum();
        all.retain(|kept| kept.key != just_made);
        for kept in all {
            if bytes <= room {
                return;
            }
            if atomic::remove(&kept.path).is_ok() {
                bytes -= kept.bytes;
            }
        }
    }
}

fn lock_name(key: &str) -> String {
    format!("{LOCK}{key}")
}

/// Makes a template in `dir`. Returns the reason if this kernel never can have one.
fn make(
    dir: &Path,
    qemu: &Qemu,
    config: &Config<'_>,
    kernel: &str,
    window: u64,
    stop: &Stop,
) -> Result<Option<String>> {
    let context = || format!("cannot write {}", dir.display());
    let ram = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(dir.join(RAM))
        .with_context(context)?;
    ram.set_len(u64::from(config.memory_mib) << 20)
        .with_context(context)?;
    let state = match save(qemu, config, window, &ram, stop)? {
        Saved::State(state) => state,
        Saved::Never(why) => return Ok(Some(why)),
    };
    fs::write(dir.join(STATE), &state).with_context(context)?;
    let sum = ram_sha256(&ram).with_context(context)?;
    let note = Note::new(kernel, window, (&ram, sum), &state)?;
    fs::write(dir.join(NOTE), serde_json::to_vec_pretty(&note)?).with_context(context)?;
    Ok(None)
}

fn kept(dir: &Path) -> Option<Kept> {
    let key = dir.file_name()?.to_str()?.to_owned();
    if key.starts_with('.') {
        return None;
    }
    let note = dir.join(NOTE);
    let used = last_used::of(&note)?;
    // A template of an older harness is listed too, so that it can be removed.
    let note: Value = serde_json::from_slice(&fs::read(note).ok()?).unwrap_or_default();
    let size = |name: &str| fs::metadata(dir.join(name)).map_or(0, |file| file.blocks() * 512);
    Some(Kept {
        kernel: note["kernel"].as_str().unwrap_or("unknown").to_owned(),
        bytes: [RAM, STATE, NOTE].into_iter().map(size).sum(),
        used,
        path: dir.to_owned(),
        lock: lock_name(&key),
        key,
    })
}

#[cfg(test)]
mod tests {
    use std::fs::FileTimes;
    use std::time::Duration;

    use super::*;

    /// A folder with templates `a`, `b` and so on, each used an hour after the one before.
    fn filled(count: u8) -> (tempfile::TempDir, Templates) {
        let cache = tempfile::tempdir().unwrap();
        let templates = Templates::new(cache.path());
        for number in 0..count {
            let dir = templates.root().join(char::from(b'a' + number).to_string());
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(RAM), vec![1; 1 << 16]).unwrap();
            let ram = File::open(dir.join(RAM)).unwrap();
            fs::write(dir.join(STATE), "state").unwrap();
            let sum = ram_sha256(&ram).unwrap();
            let note = Note::new("5.10", 1, (&ram, sum), b"state").unwrap();
            fs::write(dir.join(NOTE), serde_json::to_vec(&note).unwrap()).unwrap();
            let used = SystemTime::UNIX_EPOCH + Duration::from_secs(3600 * u64::from(number));
            let file = File::options().append(true).open(dir.join(NOTE)).unwrap();
            file.set_times(FileTimes::new().set_modified(used)).unwrap();
        }
        (cache, templates)
    }

    fn keys(templates: &Templates) -> String {
        templates.list().into_iter().map(|kept| kept.key).collect()
    }

    #[test]
    fn least_recently_used_templates_are_evicted_but_never_the_newest() {
        let (_cache, templates) = filled(4);
        assert_eq!(keys(&templates), "abcd");
        templates.trim("a", ROOM);
        assert_eq!(keys(&templates), "abcd");
        templates.trim("a", 3 << 16);
        assert_eq!(keys(&templates), "ad");
        templates.trim("a", 0);
        assert_eq!(keys(&templates), "a");
        templates.clear().unwrap();
        assert_eq!(keys(&templates), "");
    }

    #[test]
    fn verify_finds_a_changed_byte_in_every_file_of_a_template() {
        let (_cache, templates) = filled(1);
        let sum = "0123456789abcdef01234567";
        let dir = templates.root().join("0123456789abcdef_key");
        fs::rename(templates.root().join("a"), &dir).unwrap();
        templates.verify(sum).unwrap();
        for name in [RAM, STATE, NOTE] {
            let path = dir.join(name);
            let before = fs::read(&path).unwrap();
            let time = fs::metadata(&path).unwrap().modified().unwrap();
            let change = |content: &[u8]| {
                fs::write(&path, content).unwrap();
                let file = File::options().append(true).open(&path).unwrap();
                file.set_modified(time).unwrap();
            };
            let mut changed = before.clone();
            changed[0] ^= 1;
            change(&changed);
            let error = format!("{:#}", templates.verify(sum).unwrap_err());
            for part in [dir.to_str().unwrap(), "damaged", "harness cache clear"] {
                assert!(error.contains(part), "{name}: {error}");
            }
            templates.verify("another kernel").unwrap();
            change(&before);
            templates.verify(sum).unwrap();
        }
    }
}
