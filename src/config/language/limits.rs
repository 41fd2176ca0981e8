//! `[limits]` as data.

use crate::document::{Kind, Shape, key};

/// `[limits]`.
pub(super) static LIMITS: Shape = Shape {
    title: "limits",
    keys: &[
        key(
            "header_bytes",
            Kind::Integer,
            "The head of a request at the most, its target and its fields, in bytes; 65536 (64 KiB) if left out, from 8192 to 1048576. More is a 431, or a 414 where it is the target.",
        ),
        key(
            "header_fields",
            Kind::Integer,
            "Fields in the head of a request (431) or of an answer (502) at the most; 512 if left out, from 32 to 8192.",
        ),
        key(
            "body_bytes",
            Kind::Integer,
            "The body of a request at the most, in bytes; no limit if left out. More is a 413.",
        ),
        key(
            "head_timeout",
            Kind::Text,
            "From the first byte of a request to the end of its head; \"10s\" if left out. Then the connection is closed.",
        ),
        key(
            "body_timeout",
            Kind::Text,
            "How long nothing may come of a request's body while the provider would take more; \"30s\" if left out. Then it is a 408.",
        ),
        key(
            "send_timeout",
            Kind::Text,
            "How long a caller may take nothing of an answer that is there; \"60s\" if left out. Then the connection is closed.",
        ),
        key(
            "idle_timeout",
            Kind::Text,
            "How long a caller's connection is kept without a call; \"75s\" if left out.",
        ),
        key(
            "connect_timeout",
            Kind::Text,
            "For a connection to a provider with its TLS handshake, and for a free one of `connections_per_origin`; \"10s\" if left out. Then it is a 504, or a 503 where none was free.",
        ),
        key(
            "answer_timeout",
            Kind::Text,
            "From the last byte of a request to the whole head of the provider's answer; \"120s\" if left out. Then it is a 504.",
        ),
        key(
            "silence_timeout",
            Kind::Text,
            "How long nothing may come of a provider's answer in the middle of its body; \"300s\" if left out. Then the transfer is broken off.",
        ),
        key(
            "concurrent_calls",
            Kind::Integer,
            "Calls to providers under way at the most, with those that wait for quota; 10000 if left out. One more is a 503 with `Retry-After`, before its body is read.",
        ),
        key(
            "connections_per_origin",
            Kind::Integer,
            "Connections in use at a time at one origin of a provider, at the most; 1000 if left out. Streams count until their end, and a call over HTTP/2 like a connection. More calls wait for one.",
        ),
        key(
            "drain_delay",
            Kind::Text,
            "How long calls are still taken after the order to stop, while `/-/readyz` says 503, so that a load balancer can look elsewhere first; \"0s\" if left out. Only then the addresses close.",
        ),
        key(
            "drain_timeout",
            Kind::Text,
            "How long calls in flight may go on after the order to stop and the `drain_delay`; \"30s\" if left out.",
        ),
    ],
};
