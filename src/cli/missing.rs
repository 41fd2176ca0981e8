//! A store that cannot be opened at the start: it is tried again, and taken over while headroom runs.
//!
//! The file may be there and know more of this hour than this process, because its disk was full, or it was another
//! headroom's until now. So first its meters go into those that count already (never is more left afterwards than either
//! knew of), and only then anything is written into it. A newer headroom's file is never taken; somebody may put another in
//! its place.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::ledger::Ledger;
use crate::oauth::{self, Registry};
use crate::state::{OpenError, State, Written};
use crate::warn::Warnings;

/// How often it is tried. Cheap: a folder is looked at, and mostly that is all.
const EVERY: Duration = Duration::from_secs(2);

/// A store that should be there.
pub(super) struct Missing {
    /// What takes its place.
    pub(super) state: State,
    pub(super) folder: PathBuf,
    /// What callers are hashed with in this process.
    pub(super) salt: [u8; 16],
}

impl Missing {
    /// Tries until it is found. `adopt` puts what it has kept in place.
    pub(super) async fn find(
        self,
        ledger: Arc<Ledger>,
        (warnings, registry): (Arc<Warnings>, Arc<Registry>),
        adopt: impl Fn(&Ledger) + Send + Sync + 'static,
    ) {
        let missing = Arc::new(self);
        let adopt = Arc::new(adopt);
        let mut reason = String::new();
        loop {
            tokio::time::sleep(EVERY).await;
            let state = missing.state.clone();
            let (missing, ledger) = (Arc::clone(&missing), Arc::clone(&ledger));
            let (adopt, warnings) = (Arc::clone(&adopt), Arc::clone(&warnings));
            let registry = Arc::clone(&registry);
            let take = move || missing.take_over(&ledger, &warnings, &registry, &*adopt);
            match tokio::task::spawn_blocking(take).await {
                Ok(Ok(moved)) => {
                    let _unkept = moved.await;
                    if !state.is_without_store() {
                        tracing::info!("The state is open now; what is known is written into it.");
                        return;
                    }
                }
                Ok(Err(error)) => {
                    // The same is told once.
                    let error = error.to_string();
                    if error != reason {
                        tracing::warn!("The state cannot be opened yet: {error}");
                        reason = error;
                    }
                }
                Err(error) => {
                    tracing::error!(error = %error, "The state could not be taken over.");
                    return;
                }
            }
        }
    }

    fn take_over(
        &self,
        ledger: &Ledger,
        warnings: &Warnings,
        registry: &Registry,
        adopt: &impl Fn(&Ledger),
    ) -> Result<Written, OpenError> {
        let now_ms = clock::now().as_millisecond();
        let (opened, loaded) = self.state.open_again(&self.folder, self.salt, now_ms)?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        if loaded.salt != self.salt {
            tracing::warn!(
                "The state was kept by a process that hashed credentials in another way: budgets of single credentials are counted from now on, and what was used of them before is known after the provider's next answer."
            );
        }
        ledger.take_over(loaded.meters, loaded.learned);
        adopt(ledger);
        let (tokens, told) = oauth::part(loaded.told);
        warnings.take_over(told);
        let tokens = registry.take_over(&tokens);
        let moved = self.state.go_on_in(opened);
        // In order with everything else; what is not written now is with the next rotation.
        drop(self.state.write_warnings(tokens));
        Ok(moved)
    }
}
