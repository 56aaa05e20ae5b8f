//! Tests a store on disk when errors occur.

mod damage;
mod fake;
mod folder;
mod power;
mod versions;
