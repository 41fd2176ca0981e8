//! `headroom usage`: who used how much, from a running gateway.

mod table;
mod view;

use clap::Args;

use super::ink::Ink;
use super::quota::{document, runtime, size};
use super::running::{Address, Gateway};
use super::{Failure, print};
use view::Report;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    address: Address,
    /// By what, with commas: consumer, connection, provider, method, endpoint, status, upstream_status, refused_by or
    /// policy, and minute, hour or day
    #[arg(long, value_name = "LIST")]
    by: Option<String>,
    /// `24h` or `90m`: until now; `7d`: seven dates with today
    #[arg(long, value_name = "LENGTH", conflicts_with_all = ["from", "to"])]
    last: Option<String>,
    /// From a date or a moment (2026-11-22T01:30:00Z)
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Until the end of a date, or until a moment [default: now]
    #[arg(long, value_name = "TIME", requires = "from")]
    to: Option<String>,
    /// Whose dates and hours, as IANA calls it [default: UTC]
    #[arg(long, value_name = "ZONE")]
    tz: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// The JSON of /-/usage as it came
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Comma-separated values
    #[arg(long)]
    csv: bool,
}

/// Which calls: several of one kind are any of them.
#[derive(Debug, Args)]
struct Filter {
    /// Only calls of this connection
    #[arg(long, value_name = "NAME")]
    connection: Vec<String>,
    /// Only calls of this consumer
    #[arg(long, value_name = "NAME")]
    consumer: Vec<String>,
    /// Only calls of this provider
    #[arg(long, value_name = "ID")]
    provider: Vec<String>,
    /// Only calls with this method
    #[arg(long, value_name = "METHOD")]
    method: Vec<String>,
    /// Only calls of this endpoint
    #[arg(long, value_name = "PATH")]
    endpoint: Vec<String>,
    /// Only calls with this answer: 429, 4xx or none
    #[arg(long, value_name = "STATUS")]
    status: Vec<String>,
    /// Only calls that the provider answered otherwise, with this
    #[arg(long, value_name = "STATUS")]
    upstream_status: Vec<String>,
    /// Only calls refused by headroom, by the provider, or by none
    #[arg(long, value_name = "WHO")]
    refused_by: Vec<String>,
    /// Only what this policy counted, with --by policy
    #[arg(long, value_name = "NAME")]
    policy: Vec<String>,
}

type Parameters<'a> = Vec<(&'a str, &'a str)>;

impl Arguments {
    fn is_plain(&self) -> bool {
        self.by.is_none() && self.last.is_none() && self.from.is_none()
    }

    fn range(&self) -> Parameters<'_> {
        let given = [
            ("by", &self.by),
            ("last", &self.last),
            ("from", &self.from),
            ("to", &self.to),
        ];
        let given = given.into_iter();
        given
            .filter_map(|(name, value)| Some((name, value.as_deref()?)))
            .collect()
    }

    fn filters(&self) -> Parameters<'_> {
        let filter = &self.filter;
        let lists = [
            ("connection", &filter.connection),
            ("consumer", &filter.consumer),
            ("provider", &filter.provider),
            ("method", &filter.method),
            ("endpoint", &filter.endpoint),
            ("status", &filter.status),
            ("upstream_status", &filter.upstream_status),
            ("refused_by", &filter.refused_by),
            ("policy", &filter.policy),
        ];
        let of = |(name, values): (&'static str, &'_ Vec<String>)| -> Vec<_> {
            values.iter().map(|_| name).collect()
        };
        let names = lists.into_iter().flat_map(of);
        let values = lists.into_iter().flat_map(|(_, values)| values);
        let zone = self.tz.as_deref().map(|tz| ("tz", tz));
        names.zip(values.map(String::as_str)).chain(zone).collect()
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let gateway = Gateway::new(&arguments.address)?;
    let filters = arguments.filters();
    let page = |more: &[(&str, &str)]| {
        let parameters: Vec<_> = more.iter().chain(&filters).copied().collect();
        gateway.page("usage", &parameters)
    };
    runtime()?.block_on(async {
        if arguments.json || arguments.csv {
            let format = if arguments.csv { "csv" } else { "json" };
            let mut parameters = arguments.range();
            parameters.push(("format", format));
            return print(&document(gateway.text(&page(&parameters)).await?));
        }
        let (width, _) = size();
        let ink = Ink::for_stdout();
        if !arguments.is_plain() {
            let report: Report = gateway.document(&page(&arguments.range())).await?;
            return print(&view::text(&report, "", width, ink));
        }
        let day = page(&[("by", "connection"), ("last", "24h")]);
        let week = page(&[("by", "consumer,day"), ("last", "7d")]);
        let (day, week): (Report, Report) = (
            gateway.document(&day).await?,
            gateway.document(&week).await?,
        );
        let text = view::text(&day, "Last 24 hours", width, ink)
            + "\n"
            + &view::text(&week, "Last 7 days", width, ink);
        print(&text)
    })
}
