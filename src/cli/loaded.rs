//! The files: the configuration, what it refers to, and the folders of adapters.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use super::process::Process;
use super::{Failure, colour, files};
use crate::adapter::catalog::Catalog;
use crate::config::{self, Config};
use crate::diagnostic::Mistakes;
use crate::identity;

/// The configuration that is found by itself.
pub(super) const FOUND: &str = "headroom.toml";

/// Everything that was read.
pub(super) struct Loaded {
    pub(super) config: Config,
    pub(super) catalog: Arc<Catalog>,
    /// Certificate authorities of the command line and of the configuration.
    pub(super) roots: Vec<CertificateDer<'static>>,
    /// The folder that paths of the configuration are relative to.
    base: PathBuf,
    fingerprint: u64,
    /// The files that the configuration refers to.
    files: Vec<PathBuf>,
}

/// What is said outside of the file about who can reach headroom.
#[derive(Debug, Clone, Default)]
pub(super) struct Exposure {
    /// All may call.
    pub(super) open_to_all: bool,
    /// Where headroom listens whatever the file says: by the command line, or because it does already.
    pub(super) listen: Vec<SocketAddr>,
}

impl Exposure {
    /// What is wrong in the file.
    pub(super) fn mistakes(&self, config: &Config) -> Mistakes {
        if self.open_to_all {
            return Mistakes::default();
        }
        config.check_exposure(!self.listen.is_empty())
    }

    /// What is wrong beside the file.
    fn check(&self, config: &Config) -> Result<(), Failure> {
        if self.open_to_all || !config.is_private() {
            return Ok(());
        }
        let exposed = |address: &SocketAddr| config::reject_exposed(*address).err();
        match self.listen.iter().find_map(exposed) {
            None => Ok(()),
            Some(problem) => Err(Failure::mistakes(format!(
                "headroom: {problem}; make keys (`headroom key new NAME`), listen on 127.0.0.1, or say that all may call: --open-to-all, or open_to_all = true in headroom.toml"
            ))),
        }
    }
}

/// Where everything is read from.
#[derive(Debug, Clone)]
pub(super) struct Sources {
    /// The configuration; `./headroom.toml` when none is named and it is there.
    pub(super) config: Option<PathBuf>,
    /// Folders of adapters beside those that the configuration names.
    pub(super) folders: Vec<PathBuf>,
    /// Certificate authorities beside those that the configuration names.
    pub(super) ca_file: Option<PathBuf>,
    pub(super) exposure: Exposure,
}

impl Sources {
    /// The file with the configuration, where there is one.
    pub(super) fn path(&self) -> Option<&Path> {
        let found = Path::new(FOUND);
        let named = self.config.as_deref();
        named.or_else(|| found.exists().then_some(found))
    }

    /// Reads everything. No mistake of any file is left out for one of another kind.
    pub(super) fn read(&self) -> Result<Loaded, Failure> {
        let mut hasher = DefaultHasher::new();
        let (mut config, mut base, mut read) = (Config::default(), PathBuf::new(), Vec::new());
        let mut mistakes = Mistakes::default();
        let mut text = None;
        if let Some(path) = self.path() {
            let source = files::read(path)?;
            source.hash(&mut hasher);
            base = path.parent().map(Path::to_path_buf).unwrap_or_default();
            let process = Process::new(&base);
            (config, mistakes) = config::parse(&source, &process);
            read = process.read();
            text = Some((path, source));
        }
        // The command line's folders go last, and so before those of the file.
        let mut all = folders_of(&config, &base);
        all.extend_from_slice(&self.folders);
        let catalog = files::catalog(&all, &mut hasher)?;
        if let Some((path, source)) = text {
            mistakes.append(config.check(&catalog));
            mistakes.append(self.exposure.mistakes(&config));
            if !mistakes.is_empty() {
                return Err(Failure::mistakes(mistakes.render(
                    &path.display().to_string(),
                    &source,
                    colour(),
                )));
            }
        }
        self.exposure.check(&config)?;
        let mut roots = Vec::new();
        if let Some(path) = &self.ca_file {
            roots = authorities(path)?;
            read.push((path.clone(), fingerprint_of(&roots)));
        }
        roots.extend_from_slice(&config.authorities);
        read.hash(&mut hasher);
        Ok(Loaded {
            config,
            catalog: Arc::new(catalog),
            roots,
            base,
            fingerprint: hasher.finish(),
            files: read.into_iter().map(|(path, _)| path).collect(),
        })
    }
}

impl Loaded {
    /// Changes when any file that was read changes.
    pub(super) const fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The folders of adapters that the configuration names.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        folders_of(&self.config, &self.base)
    }

    /// Files that the configuration refers to: certificates, keys, credentials.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.files.clone()
    }

    /// The folder for the state that the configuration names.
    pub(super) fn state_dir(&self) -> Option<PathBuf> {
        let named = self.config.state_dir.as_ref();
        named.map(|folder| self.base.join(folder))
    }
}

/// The certificate authorities in a PEM file.
pub(super) fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let found = identity::authorities(&files::read(path)?);
    found.map_err(|error| {
        Failure::unreadable(format!(
            "headroom: cannot read certificates from {}: {error}",
            path.display()
        ))
    })
}

/// The folders of adapters that a configuration in the folder `base` names.
pub(super) fn folders_of(config: &Config, base: &Path) -> Vec<PathBuf> {
    let named = config.providers.iter();
    named.map(|folder| base.join(folder)).collect()
}

/// Sizes, times and numbers of all files that are read: cheap to look at, and different when one of them was written. Folders are
/// looked at, not watched, because a mounted file is replaced without a word.
pub(super) fn stamp(sources: &Sources, named: &[PathBuf], files: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut add = |path: &Path| {
        // The time of the change of the entry too: that of the content can be set, as those who copy files do.
        let found = std::fs::metadata(path).map(|data| {
            let modified = (data.mtime(), data.mtime_nsec());
            let changed = (data.ctime(), data.ctime_nsec());
            (data.len(), data.ino(), modified, changed)
        });
        (path, found.ok()).hash(&mut hasher);
    };
    add(sources.config.as_deref().unwrap_or(Path::new(FOUND)));
    for path in files {
        add(path);
    }
    for folder in sources.folders.iter().chain(named) {
        for (_, path) in files::adapters_in(folder).unwrap_or_default() {
            add(&path);
        }
    }
    hasher.finish()
}

/// A fingerprint of anything, for comparing what was seen with what is there.
pub(super) fn fingerprint_of(seen: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    seen.hash(&mut hasher);
    hasher.finish()
}
