//! The template of a path that no adapter describes: what looks like an identifier becomes `*`.
