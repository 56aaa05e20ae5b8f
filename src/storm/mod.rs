//! Topologies of Storm in this engine, and topologies of this engine on Storm.
//!
//! `flux` reads Flux files with the place of each element, and `import` makes topologies of them.
//! `export` makes Flux files of topologies: `groups` decides which components stay together, and
//! `component` is the shell component that runs such a group in a worker of Storm.

mod bridge;
mod builder;
pub mod component;
pub mod export;
mod flux;
mod groups;
pub mod import;
mod inside;
mod wire;
