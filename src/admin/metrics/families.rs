//! What is told: names, units and labels. Labels are bounded: connections, consumers, the first strangers, statuses and
//! policies. Never a path, a query or a credential.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;

use super::Numbers;
use super::text::{Family, secs};
use crate::history::tally::{Caller, DURATIONS, Histogram, OVERHEADS, Timings};
use crate::ledger::report::MeterReport;

/// The text in the format of OpenMetrics.
pub(super) fn write(numbers: Numbers) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(numbers));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        self.calls(encoder)?;
        self.times(encoder)?;
        self.meters(encoder)?;
        self.warnings(encoder)?;
        self.house(encoder)
    }
}

type Encoder<'a> = DescriptorEncoder<'a>;

impl Numbers {
    fn calls(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        let tally = &self.tally;
        let requests = tally.requests.iter().map(|((caller, status), count)| {
            let status = match status {
                0 => "none".to_owned(),
                status => status.to_string(),
            };
            let labels: Vec<(&str, Cow<'_, str>)> = labels(caller)
                .map(|(name, value)| (name, Cow::Borrowed(value)))
                .into_iter()
                .chain([("status", Cow::Owned(status))])
                .collect();
            (labels, *count)
        });
        let name = "headroom_requests";
        let help = "Calls by the status that the caller got; none: it went away before";
        Family::new(name, help).counters(encoder, requests)?;

        let refusals = tally.refusals.iter().map(|((caller, refusal), count)| {
            let [connection, provider, consumer] = labels(caller);
            let policy = refusal.policy.as_deref().unwrap_or_default();
            let by = ("refused_by", refusal.by.as_str());
            let labels = [connection, provider, consumer, by, ("policy", policy)];
            (labels, *count)
        });
        let name = "headroom_refusals";
        let help = "Calls that had no quota, by whose word: headroom did not send them, or the provider refused them";
        Family::new(name, help).counters(encoder, refusals)?;

        let callers = || tally.callers.iter();
        let name = "headroom_broken_answers";
        let help = "Answers that did not reach their caller whole";
        let rows = callers().map(|(caller, sums)| (labels(caller), sums.broken));
        Family::new(name, help).counters(encoder, rows)?;
        let name = "headroom_waits";
        let help = "Calls that were held until there was quota, or until they gave up";
        let rows = callers().map(|(caller, sums)| (labels(caller), sums.waited));
        Family::new(name, help).counters(encoder, rows)?;
        let name = "headroom_wait";
        let help = "How long calls were held for quota";
        let rows = callers().map(|(caller, sums)| (labels(caller), sums.waited_us));
        let family = Family::new(name, help).seconds();
        family.counters_of_micros(encoder, rows)?;
        let name = "headroom_request";
        let help = "Bodies of requests";
        let rows = callers().map(|(caller, sums)| (labels(caller), sums.bytes_in));
        Family::new(name, help).bytes().counters(encoder, rows)?;
        let name = "headroom_response";
        let help = "Bodies of answers";
        let rows = callers().map(|(caller, sums)| (labels(caller), sums.bytes_out));
        Family::new(name, help).bytes().counters(encoder, rows)
    }

    fn times(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        let rows = |histogram: fn(&Timings) -> &Histogram| {
            let timings = self.tally.timings.iter();
            timings.map(move |((connection, provider), timings)| {
                let labels = [("connection", &**connection), ("provider", &**provider)];
                (labels, histogram(timings))
            })
        };
        let name = "headroom_request_duration";
        let help = "From the head of a request to the end of its answer";
        let family = Family::new(name, help).seconds();
        family.histograms(encoder, &DURATIONS, rows(|timings| &timings.duration))?;
        let name = "headroom_upstream_duration";
        let help = "From sending a call to the head of the provider's answer";
        let family = Family::new(name, help).seconds();
        family.histograms(encoder, &DURATIONS, rows(|timings| &timings.upstream))?;
        let name = "headroom_overhead_duration";
        let help = "What headroom itself added until it had a head to hand over: neither the provider, nor the wait for quota, nor what was read ahead of bodies";
        let family = Family::new(name, help).seconds();
        family.histograms(encoder, &OVERHEADS, rows(|timings| &timings.overhead))
    }

    fn meters(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        let rows = |value: fn(&MeterReport) -> Option<u64>| {
            let meters = self.meters.meters.iter();
            meters.filter_map(move |meter| Some((meter_labels(meter), value(meter)?)))
        };
        let name = "headroom_quota_limit";
        let help = "The quota that holds, in its unit";
        Family::new(name, help).gauges(encoder, rows(|meter| meter.limit))?;
        let name = "headroom_quota_used";
        let help = "Used in this window, by others too, as far as headroom knows";
        Family::new(name, help).gauges(encoder, rows(|meter| Some(meter.used)))?;
        let name = "headroom_quota_remaining";
        let help = "What is left, as far as anybody knows";
        Family::new(name, help).gauges(encoder, rows(|meter| meter.remaining))?;
        let name = "headroom_quota_reset";
        let help = "How long until quota comes back";
        let family = Family::new(name, help).seconds();
        family.gauges(encoder, rows(|meter| meter.reset))?;
        let name = "headroom_quota_suspended";
        let help = "How long the provider wants no call; only where it does not";
        let family = Family::new(name, help).seconds();
        family.gauges(encoder, rows(|meter| meter.suspended))?;
        let name = "headroom_quota_in_flight";
        let help = "What was let through and is not answered yet";
        Family::new(name, help).gauges(encoder, rows(|meter| Some(meter.in_flight)))?;
        let name = "headroom_quota_waiting_calls";
        let help = "Calls that wait for it";
        let waiting = |meter: &MeterReport| u64::try_from(meter.waiting).ok();
        Family::new(name, help).gauges(encoder, rows(waiting))?;

        let (all, told) = (self.meters.total, self.meters.meters.len());
        let name = "headroom_quota_meters";
        let help = "Meters that there are";
        Family::new(name, help).gauge(encoder, all)?;
        let name = "headroom_quota_meters_omitted";
        let help =
            "Meters that are not told of here, because others are nearer to having nothing left";
        Family::new(name, help).gauge(encoder, all.saturating_sub(told))
    }

    fn warnings(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        let counters = self.warnings.counters();
        let raised = counters.raised();
        let rows = raised.iter().map(|(raised, count)| {
            let threshold = raised.threshold.map(|percent| f64::from(percent) / 100.0);
            let labels = [
                ("kind", Cow::Borrowed(raised.kind.as_str())),
                ("connection", Cow::Borrowed(&*raised.connection)),
                ("provider", Cow::Borrowed(&*raised.provider)),
                ("policy", Cow::Borrowed(&*raised.policy)),
                (
                    "threshold",
                    Cow::Owned(threshold.map_or_else(String::new, |part| part.to_string())),
                ),
            ];
            (labels, *count)
        });
        let name = "headroom_warnings";
        let help =
            "Warnings of quotas, by what they were about; the threshold is a part of the quota";
        Family::new(name, help).counters(encoder, rows)?;
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let rows = [
            ("delivered", of(&counters.delivered)),
            ("given_up", of(&counters.given_up)),
            ("dropped", of(&counters.dropped)),
        ];
        let rows = rows.map(|(outcome, count)| ([("outcome", outcome)], count));
        let name = "headroom_webhooks";
        let help = "Webhooks by what became of them";
        Family::new(name, help).counters(encoder, rows)?;
        let name = "headroom_webhook_failures";
        let help = "Attempts to deliver a webhook that failed; it is tried again";
        Family::new(name, help).counter(encoder, of(&counters.failed))?;
        let name = "headroom_webhooks_waiting";
        let help = "Webhooks that wait to be delivered";
        Family::new(name, help).gauge(encoder, of(&counters.waiting))
    }

    fn house(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        let name = "headroom_store_up";
        let help = "Whether the last write worked: 1 or 0";
        let rows = self.stores.iter();
        let rows = rows.map(|(store, is_up)| ([("store", *store)], u64::from(*is_up)));
        Family::new(name, help).gauges(encoder, rows)?;
        let name = "headroom_store";
        let help = "What the store holds, without its log";
        let family = Family::new(name, help).bytes();
        family.gauge(encoder, self.bytes)?;
        let name = "headroom_history_pending_rows";
        let help = "Sums and events that wait to be written";
        Family::new(name, help).gauge(encoder, self.waiting)?;
        let name = "headroom_history_events_dropped";
        let help = "Calls that are in the sums but not in the list of events, because there were too many at a time";
        Family::new(name, help).counter(encoder, self.dropped)?;

        if let Some([exported, dropped]) = self.spans {
            let name = "headroom_trace_spans_exported";
            let help = "Spans that the collector has taken";
            Family::new(name, help).counter(encoder, exported)?;
            let name = "headroom_trace_spans_dropped";
            let help =
                "Spans that are lost: too many at a time, or the collector did not take them";
            Family::new(name, help).counter(encoder, dropped)?;
        }

        let name = "headroom_config_last_reload_successful";
        let help = "Whether the files that were read last are in place: 1 or 0";
        let is_in_place = u64::from(self.reloads.trouble().is_none());
        Family::new(name, help).gauge(encoder, is_in_place)?;
        let name = "headroom_config_last_reload_success_timestamp";
        let help = "When files were put in place for the last time, in seconds since 1970";
        let succeeded = u64::try_from(self.reloads.succeeded_ms()).unwrap_or(0);
        let family = Family::new(name, help).seconds();
        family.gauge(encoder, secs(succeeded.saturating_mul(1_000)))?;

        let labels = [("version", env!("CARGO_PKG_VERSION"))];
        Family::new("headroom_build", "What runs").info(encoder, labels)?;
        let name = "process_start_time";
        let help = "When the process began, in seconds since 1970";
        let started = u64::try_from(self.started.wall_ms).unwrap_or(0);
        let family = Family::new(name, help).seconds();
        family.gauge(encoder, secs(started.saturating_mul(1_000)))?;
        let name = "headroom_uptime";
        let help = "How long the process has been running";
        let uptime = self.now.steady.since(self.started.steady).0 / 1_000;
        let family = Family::new(name, help).seconds();
        family.gauge(encoder, secs(uptime))
    }
}

type Label<'a> = (&'static str, &'a str);

fn labels(caller: &Caller) -> [Label<'_>; 3] {
    [
        ("connection", &caller.connection),
        ("provider", &caller.provider),
        ("consumer", &caller.consumer),
    ]
}

pub(super) fn meter_labels(meter: &MeterReport) -> [Label<'_>; 5] {
    [
        ("connection", &meter.connection),
        ("provider", &meter.provider),
        ("policy", &meter.policy),
        ("partition", &meter.partition),
        ("unit", &meter.unit),
    ]
}
