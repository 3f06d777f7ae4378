//! A connection cache for programs that run their own mio event loop.
