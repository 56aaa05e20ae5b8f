//! Features of posts: facts that are derived from a post alone, without a state.

mod characters;
mod entities;
mod extract;
mod language;
mod links;
mod sentiment;
mod stop_words;
mod terms;
mod text;

pub(crate) use self::extract::{Extractor, FeatureLists, NeededFeatures, PostFeatures};
