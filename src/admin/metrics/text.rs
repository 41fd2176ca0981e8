//! Families of numbers, in the words of their encoder.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, MetricEncoder,
    NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::history::tally::{DURATIONS, Histogram};

/// What a family of numbers is.
pub(super) struct Family {
    /// Without unit and without `_total`.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) unit: Option<Unit>,
}

impl Family {
    pub(super) const fn new(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            unit: None,
        }
    }

    pub(super) fn seconds(self) -> Self {
        Self {
            unit: Some(Unit::Seconds),
            ..self
        }
    }

    pub(super) fn bytes(self) -> Self {
        Self {
            unit: Some(Unit::Bytes),
            ..self
        }
    }

    fn begin<'a>(
        &'a self,
        encoder: &'a mut DescriptorEncoder<'_>,
        kind: MetricType,
    ) -> Result<MetricEncoder<'a>, fmt::Error> {
        encoder.encode_descriptor(self.name, self.help, self.unit.as_ref(), kind)
    }

    /// What only rises.
    pub(super) fn counters<L: EncodeLabelSet>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        rows: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        self.rising(encoder, rows)
    }

    /// A length of time that only rises.
    pub(super) fn counters_of_micros<L: EncodeLabelSet>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        rows: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let rows = rows.into_iter();
        self.rising(encoder, rows.map(|(labels, value)| (labels, secs(value))))
    }

    fn rising<L: EncodeLabelSet, V: EncodeCounterValue>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        rows: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut metric = self.begin(encoder, MetricType::Counter)?;
        for (labels, value) in rows {
            let mut metric = metric.encode_family(&labels)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    /// A single one that only rises.
    pub(super) fn counter(&self, encoder: &mut DescriptorEncoder<'_>, value: u64) -> fmt::Result {
        let mut metric = self.begin(encoder, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    /// What rises and falls.
    pub(super) fn gauges<L: EncodeLabelSet>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        rows: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.begin(encoder, MetricType::Gauge)?;
        for (labels, value) in rows {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// A single one that rises and falls.
    pub(super) fn gauge(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        value: impl EncodeGaugeValue,
    ) -> fmt::Result {
        self.begin(encoder, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// What does not change and is told by its labels.
    pub(super) fn info(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        labels: impl EncodeLabelSet,
    ) -> fmt::Result {
        self.begin(encoder, MetricType::Info)?.encode_info(&labels)
    }

    /// Lengths of time by class.
    pub(super) fn histograms<'a, L: EncodeLabelSet>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        ends: &[u64; DURATIONS.len()],
        rows: impl IntoIterator<Item = (L, &'a Histogram)>,
    ) -> fmt::Result {
        let mut metric = self.begin(encoder, MetricType::Histogram)?;
        for (labels, histogram) in rows {
            let ends = ends.iter().map(|end| secs(*end)).chain([f64::INFINITY]);
            let classes: Vec<(f64, u64)> = ends.zip(histogram.counts).collect();
            metric
                .encode_family(&labels)?
                .encode_histogram::<NoLabelSet>(
                    secs(histogram.sum_us),
                    histogram.count(),
                    &classes,
                    None,
                )?;
        }
        Ok(())
    }
}

/// Microseconds in seconds.
pub(super) fn secs(micros: u64) -> f64 {
    micros as f64 / 1e6
}
