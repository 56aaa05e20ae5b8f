//! What a post says about itself, parsed on demand.
