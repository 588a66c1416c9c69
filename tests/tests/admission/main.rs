//! What the API server admits: every rule of the definitions, with manifests that keep it and that break it.

mod cases;
mod defaults;
mod kinds;
mod rules;
