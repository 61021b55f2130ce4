//! The push gateway's life: made from flags, filled from its file, written back now and then and at the end.
//! Must never lose what a file holds because it cannot be read.

use crate::flags::Flags;
use crate::run::Failure;
use hearth_scrape::push::{Gateway, GatewayOptions, PersistError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// A gateway that runs, or none.
pub struct Pushed {
    gateway: Option<Arc<Gateway>>,
    keeper: Option<(JoinHandle<()>, PathBuf)>,
}

/// Makes the gateway that the flags ask for.
pub async fn start(flags: &Flags) -> Result<Pushed, Failure> {
    if !flags.switch("push.enable") {
        return Ok(Pushed { gateway: None, keeper: None });
    }
    let ttl_ms = i64::try_from(flags.duration("push.ttl").as_millis()).unwrap_or(i64::MAX);
    let gateway = Arc::new(Gateway::new(GatewayOptions {
        clock: Arc::new(|| jiff::Timestamp::now().as_millisecond()),
        job: flags.text("push.job").to_owned(),
        ttl_ms: (ttl_ms > 0).then_some(ttl_ms),
        check: !flags.switch("push.disable-consistency-check"),
        utf8_names: flags.switch("push.enable-utf8-names"),
    }));
    let path = PathBuf::from(flags.text("push.persistence.file"));
    if path.as_os_str().is_empty() {
        return Ok(Pushed { gateway: Some(gateway), keeper: None });
    }
    let (reader, from) = (Arc::clone(&gateway), path.clone());
    let loaded = tokio::task::spawn_blocking(move || load(&reader, &from)).await;
    loaded
        .map_err(|error| error.to_string())
        .and_then(|result| result)
        .map_err(|why| Failure::run(format!("reading pushed groups from {}: {why}", path.display())))?;
    let interval = flags.duration("push.persistence.interval").max(Duration::from_secs(1));
    let task = tokio::spawn(keep(Arc::clone(&gateway), path.clone(), interval));
    Ok(Pushed { gateway: Some(gateway), keeper: Some((task, path)) })
}

/// A file that makes no sense is set aside, for a person to look at.
fn load(gateway: &Gateway, path: &Path) -> Result<(), String> {
    match gateway.load(path) {
        Ok(()) => Ok(()),
        Err(PersistError::Io(error)) => Err(error.to_string()),
        Err(PersistError::Content(why)) => {
            let mut aside = path.as_os_str().to_owned();
            aside.push(".broken");
            std::fs::rename(path, &aside).map_err(|error| error.to_string())?;
            tracing::error!(file = %path.display(), aside = %Path::new(&aside).display(), err = %why, "Pushed groups cannot be read and are set aside");
            Ok(())
        }
    }
}

async fn keep(gateway: Arc<Gateway>, path: PathBuf, interval: Duration) {
    let mut since = None;
    loop {
        tokio::time::sleep(interval).await;
        since = save(&gateway, &path, since).await.or(since);
    }
}

async fn save(gateway: &Arc<Gateway>, path: &Path, since: Option<u64>) -> Option<u64> {
    let (gateway, to) = (Arc::clone(gateway), path.to_owned());
    let saved = tokio::task::spawn_blocking(move || gateway.save(&to, since)).await;
    match saved.map_err(|error| error.to_string()).and_then(|r| r.map_err(|error| error.to_string())) {
        Ok(changes) => Some(changes),
        Err(why) => {
            tracing::error!(file = %path.display(), err = %why, "Pushed groups cannot be written");
            None
        }
    }
}

impl Pushed {
    pub fn gateway(&self) -> Option<Arc<Gateway>> {
        self.gateway.clone()
    }

    /// Writes what there is; nothing is pushed any more.
    pub async fn close(self) {
        if let (Some(gateway), Some((keeper, path))) = (self.gateway, self.keeper) {
            keeper.abort();
            let _told = save(&gateway, &path, None).await;
        }
    }
}
