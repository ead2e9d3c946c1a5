//! Where a region's memory comes from, as a word on a command line.
