//! What holds for every input, not only for the recorded ones.

mod documents;
mod headers;
mod meters;
mod translation;
mod windows;
