//! A disk whose power goes, and one that fails for a while.
