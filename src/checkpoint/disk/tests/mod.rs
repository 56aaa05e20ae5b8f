//! What a store on disk does when things go wrong.

mod damage;
mod fake;
mod folder;
mod power;
mod versions;
