//! What `fetch` and `pipe` both open, warn about and close.

use std::sync::Arc;

use crate::ending::Ending;
use crate::error::{Error, ExitCode, Result};
use crate::origin::Origin;
use crate::run::pace::Pace;
use crate::run::stop::Stop;
use crate::run::{Tools, Watch};
use crate::store::{Share, Store};
use crate::terminal::Progress;
use crate::warehouse::UrlSource;

use super::options::FetchConfig;
use super::output::Output;

/// The parts of a run that do not depend on its books.
pub(super) struct Session {
    pub(super) stop: Stop,
    pub(super) progress: Progress,
    origin: Origin,
}

impl Session {
    /// Listens for signals, and gets ready to ask the origin; says what the user should know before.
    pub(super) fn open(config: &FetchConfig) -> Result<Self> {
        let stop = Stop::listen(config.max_runtime).map_err(|cause| Error::new("start", "signals", cause))?;
        let mut progress = Progress::new(config.style, config.verbose);
        config.warnings.iter().for_each(|warning| progress.notice(warning));
        let origin = Origin::new(&config.origin)?;
        if let Some(warning) = origin.warning() {
            progress.notice(warning);
        }
        Ok(Self { stop, progress, origin })
    }

    /// Opens the destination, and says what the user should know about it.
    pub(super) fn store(&mut self, config: &FetchConfig, run_id: &str, share: Share) -> Result<Store> {
        let store = Store::open(config.layout.clone(), run_id, share, config.sync)?;
        if let Some(warning) = store.warning() {
            self.progress.notice(warning);
        }
        Ok(store)
    }

    /// Begins the list that `--failed-list` names, if it does.
    pub(super) fn list_failed(&mut self, config: &FetchConfig) -> Result<()> {
        if let Some(path) = config.failed_list.as_deref() {
            let list = Output::begin(path).map_err(|cause| Error::new("failed list", path.display(), cause))?;
            self.progress.list_failed(Box::new(list));
        }
        Ok(())
    }

    /// Says what is fetched, from where, to where, and by which run.
    pub(super) fn say_what_begins(&mut self, config: &FetchConfig, what: &str, run_id: &str) {
        let from = match &config.urls {
            UrlSource::Template(template) => template.as_str().to_owned(),
            UrlSource::Column(column) => format!("the URLs of column {column}"),
            UrlSource::None => "the URLs beside them".into(),
        };
        let (dest, workers) = (config.layout.dest.display(), config.run.workers);
        let connections = if workers == 1 { "connection" } else { "connections" };
        self.progress.begin(&format!("fetching {what} from {from} to {dest}, {workers} {connections}, run {run_id}"));
    }

    /// What the workers share, and the rest.
    pub(super) fn tools(self, config: &FetchConfig, store: Store) -> (Arc<Tools>, Stop, Progress) {
        let pace = Pace::new(config.rate, config.bandwidth);
        let template = config.template().cloned();
        let tools = Arc::new(Tools {
            origin: self.origin,
            store,
            pace,
            template,
            expect: config.expect,
            digest: config.digest,
            placeholders: config.placeholders.clone(),
        });
        (tools, self.stop, self.progress)
    }
}

/// Stopped before anything was begun.
pub(super) fn stopped(stop: &Stop) -> ExitCode {
    stop.requested().map_or(ExitCode::Partial, |reason| Ending::Asked(reason).code())
}
