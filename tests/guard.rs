//! What headroom keeps to itself: its own pages, its connections' origins, the operator's network.

mod browsers;
mod origins;
mod pages;

use headroom::consumer::{hash_key, key_of, to_hex};

/// A key and the hash of it that the configuration takes.
fn key(number: u8) -> (String, String) {
    let key = key_of(&[number; 32]);
    let hash = to_hex(&hash_key(&key));
    (key, hash)
}
