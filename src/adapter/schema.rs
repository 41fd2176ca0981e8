//! The JSON Schema of the adapter language, made from [`super::language`]. Draft 7: editors' TOML plug-ins stop there.
