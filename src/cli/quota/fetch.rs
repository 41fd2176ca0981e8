//! The meters of a running gateway.

use clap::Args;
use url::Url;

use crate::cli::Failure;
use crate::cli::running::{Address, Gateway};
use crate::ledger::report::Report;

/// Which gateway, and which of its meters.
#[derive(Debug, Args)]
pub(in crate::cli) struct Question {
    #[command(flatten)]
    address: Address,
    /// Only meters of this connection
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// Only meters of which this consumer used something
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,
    /// Only meters of this policy
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
}

/// Meters that can be asked for again and again.
#[derive(Debug)]
pub(in crate::cli) struct Meters {
    gateway: Gateway,
    page: Url,
}

impl Meters {
    pub(in crate::cli) fn new(question: &Question) -> Result<Self, Failure> {
        let gateway = Gateway::new(&question.address)?;
        let wanted = [
            ("connection", &question.connection),
            ("consumer", &question.consumer),
            ("policy", &question.policy),
        ];
        let given = wanted
            .iter()
            .filter_map(|(name, value)| Some((*name, value.as_deref()?)));
        let page = gateway.page("quota", &given.collect::<Vec<_>>());
        Ok(Self { gateway, page })
    }

    /// As the gateway writes them.
    pub(in crate::cli) async fn json(&self) -> Result<String, Failure> {
        self.gateway.text(&self.page).await
    }

    /// The meters.
    pub(in crate::cli) async fn report(&self) -> Result<Report, Failure> {
        self.gateway.document(&self.page).await
    }
}
